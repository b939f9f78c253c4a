#include "format/detokenizer.h"

// The rule, as the reference has it: with A = decode(ids[prefix:read]), B = decode(ids[prefix:]),
// give out B behind its first |A| characters if B is longer than A and does not end in U+FFFD, then
// prefix = read, read = end. Decoding again for every id is not needed:
//
// - Text comes out only when B ends with a whole character. From there on A ends at the border of a
//   character and is the beginning of B whatever comes, so B behind A is simply what the bytes
//   since then say: `pending`, plus one U+FFFD for an unfinished character at its end.
// - Only the prompt may end within a character. Its A then has one U+FFFD for the unfinished part,
//   and B has in its place the character, or U+FFFDs, that the part becomes. That first character
//   is counted as A's and dropped: `owes_one`.

enum { REFERENCE_PREFIX = 5 }; // ids of the prompt between prefix and read

qw_status qw_detokenizer_init(qw_detokenizer *d, const qw_tokenizer *tokenizer, bool skip_special,
                              const int32_t *prompt, size_t n, qw_error *err)
{
    qw_detokenizer fresh = {.tokenizer = tokenizer, .skip_special = skip_special};
    qw_buf_init(&fresh.pending, (size_t)1 << 30);
    // Of the last ids, those that are seen; of these, the last few.
    int32_t context[QW_DETOKENIZER_CONTEXT];
    size_t n_context = 0;
    for (size_t i = n > QW_DETOKENIZER_CONTEXT ? n - QW_DETOKENIZER_CONTEXT : 0; i < n; i++)
        if (!skip_special || !qw_tokenizer_is_special(tokenizer, prompt[i]))
            context[n_context++] = prompt[i];
    size_t first = n_context > REFERENCE_PREFIX ? n_context - REFERENCE_PREFIX : 0;
    for (size_t i = first; i < n_context; i++) {
        qw_str bytes = qw_tokenizer_token_bytes(tokenizer, context[i]);
        if (bytes.len) qw_utf8_repair_push(&fresh.repair, &fresh.pending, bytes);
    }
    qw_status st = qw_buf_check(&fresh.pending, "the text of a prompt's end", err);
    if (st != QW_OK) {
        qw_detokenizer_release(&fresh);
        return st;
    }
    qw_buf_clear(&fresh.pending);
    fresh.owes_one = fresh.repair.n_tail > 0;
    *d = fresh;
    return QW_OK;
}

void qw_detokenizer_release(qw_detokenizer *d)
{
    qw_buf_release(&d->pending);
}

qw_status qw_detokenizer_push(qw_detokenizer *d, int32_t id, qw_buf *out, qw_error *err)
{
    if (d->skip_special && qw_tokenizer_is_special(d->tokenizer, id)) return QW_OK;
    qw_str bytes = qw_tokenizer_token_bytes(d->tokenizer, id);
    if (bytes.len == 0) return QW_OK;
    qw_utf8_repair_push(&d->repair, &d->pending, bytes);
    qw_status st = qw_buf_check(&d->pending, "text held back by the detokenizer", err);
    if (st != QW_OK) return st;
    qw_str text = {d->pending.data, d->pending.len};
    if (d->repair.n_tail > 0 || qw_str_ends_with(text, QW_STR("\xEF\xBF\xBD"))) return QW_OK;
    size_t given = 0;
    if (d->owes_one && text.len > 0) (void)qw_utf8_next(text, &given);
    if (given == text.len) return QW_OK;
    qw_buf_append(out, text.ptr + given, text.len - given);
    st = qw_buf_check(out, "generated text", err);
    if (st != QW_OK) return st;
    qw_buf_clear(&d->pending);
    d->owes_one = false;
    return QW_OK;
}
