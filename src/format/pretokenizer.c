#include "format/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/mem.h"
#include "format/unicode_tables.h"

// White space as the reference has it (qwen3-dense 5.3), and everything else: PCRE2 10.42 counts
// U+180E too. For the inside of a character class.
#define SPACES                                                                                     \
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"    \
    "\\x{205F}\\x{3000}"
#define NON_SPACES                                                                                 \
    "\\x{0}-\\x{8}\\x{E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{"     \
    "1FFF}"                                                                                        \
    "\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}"                 \
    "\\x{3001}-\\x{10FFFF}"

struct qw_pretokenizer {
    pcre2_general_context *memory;
    pcre2_code *code;
};

static void *pcre_alloc(size_t size, void *unused)
{
    (void)unused;
    return qw_mem_alloc(size);
}

static void pcre_free(void *ptr, void *unused)
{
    (void)unused;
    qw_mem_free(ptr);
}

// A class escape and what stands for it; `inside` is NULL where a class cannot say it.
typedef struct substitution {
    const char *escape;
    const char *inside, *inside_more;
    bool negated; // outside of a class: [^...] around the positive spelling
} substitution;

static const substitution substitutions[] = {
    {"\\s", SPACES, "", false},
    {"\\S", NON_SPACES, "", false},
    {"\\p{L}", "\\p{L}", qw_unicode_new_letters, false},
    {"\\p{N}", "\\p{N}", qw_unicode_new_numbers, false},
    {"\\P{L}", "\\p{L}", qw_unicode_new_letters, true},
    {"\\p{^L}", "\\p{L}", qw_unicode_new_letters, true},
    {"\\P{N}", "\\p{N}", qw_unicode_new_numbers, true},
    {"\\p{^N}", "\\p{N}", qw_unicode_new_numbers, true},
};

// Rewrites the reference's pattern (Oniguruma) into ours.
typedef struct translation {
    qw_str in;
    size_t pos;
    qw_buf out;
    bool in_class;
} translation;

static qw_status translate_escape(translation *t, qw_error *err)
{
    qw_str rest = {t->in.ptr + t->pos, t->in.len - t->pos};
    for (size_t i = 0; i < QW_ARRAY_LEN(substitutions); i++) {
        const substitution *s = &substitutions[i];
        if (!qw_str_starts_with(rest, qw_str_of(s->escape))) continue;
        if (t->in_class && s->negated)
            return qw_fail(
                err, QW_ERR_UNSUPPORTED,
                "the pre-tokenizer's pattern has '%s' in a character class, which is not "
                "supported",
                s->escape);
        if (!t->in_class) qw_buf_puts(&t->out, s->negated ? "[^" : "[");
        qw_buf_puts(&t->out, s->inside);
        qw_buf_puts(&t->out, s->inside_more);
        if (!t->in_class) qw_buf_putc(&t->out, ']');
        t->pos += strlen(s->escape);
        return QW_OK;
    }
    // Any other escape goes over as it is; a backslash at the end is for PCRE2 to refuse.
    size_t n = rest.len > 1 ? 2 : 1;
    qw_buf_append(&t->out, rest.ptr, n);
    t->pos += n;
    return QW_OK;
}

static qw_status translate_in_class(translation *t, qw_error *err)
{
    qw_str rest = {t->in.ptr + t->pos, t->in.len - t->pos};
    // Oniguruma nests classes and intersects them; PCRE2 takes the same text literally.
    if (qw_str_starts_with(rest, QW_STR("[")) || qw_str_starts_with(rest, QW_STR("&&")))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "the pre-tokenizer's pattern has '%s' in a character class, which is not "
                       "supported",
                       rest.ptr[0] == '[' ? "[" : "&&");
    if (rest.ptr[0] == ']') t->in_class = false;
    qw_buf_putc(&t->out, rest.ptr[0]);
    t->pos++;
    return QW_OK;
}

static void open_class(translation *t)
{
    t->in_class = true;
    // A bracket that closes right behind the opening one, or behind its ^, is an ordinary member.
    static const char *const openings[] = {"[^]", "[]", "[^", "["};
    qw_str rest = {t->in.ptr + t->pos, t->in.len - t->pos};
    size_t i = 0;
    while (!qw_str_starts_with(rest, qw_str_of(openings[i]))) i++;
    qw_buf_puts(&t->out, openings[i]);
    t->pos += strlen(openings[i]);
}

static qw_status translate(translation *t, qw_error *err)
{
    qw_status st = QW_OK;
    while (st == QW_OK && t->pos < t->in.len) {
        char c = t->in.ptr[t->pos];
        if (c == '\\') {
            st = translate_escape(t, err);
        } else if (t->in_class) {
            st = translate_in_class(t, err);
        } else if (c == '[') {
            open_class(t);
        } else {
            qw_buf_putc(&t->out, c);
            t->pos++;
        }
    }
    return st == QW_OK ? qw_buf_check(&t->out, "the pre-tokenizer's pattern", err) : st;
}

static qw_status compile(qw_pretokenizer *p, qw_str pattern, bool jit, qw_error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(p->memory);
    if (!context) return qw_fail_memory(err, sizeof(void *), "a regular expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE offset;
    // ^ and $ match at every line in the reference's dialect.
    p->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &code, &offset, context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return qw_fail_memory(err, pattern.len, "a regular expression");
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(code, why, sizeof why);
        return qw_fail(err, QW_ERR_FORMAT, "the pre-tokenizer's pattern is broken: %s",
                       (const char *)why);
    }
    if (jit) (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); // else the interpreter runs it
    return QW_OK;
}

qw_status qw_pretokenizer_new(qw_pretokenizer **out, qw_str pattern, bool jit, qw_error *err)
{
    translation t = {.in = pattern};
    qw_buf_init(&t.out, 1 << 16);
    qw_status st = translate(&t, err);
    qw_pretokenizer *p = NULL;
    if (st != QW_OK) goto out;
    p = qw_mem_calloc(1, sizeof *p);
    if (p) p->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (!p || !p->memory) {
        st = qw_fail_memory(err, sizeof *p, "a regular expression");
        goto out;
    }
    st = compile(p, (qw_str){t.out.data ? t.out.data : "", t.out.len}, jit, err);
    if (st == QW_OK) {
        *out = p;
        p = NULL;
    }
out:
    qw_pretokenizer_free(p);
    qw_buf_release(&t.out);
    return st;
}

void qw_pretokenizer_free(qw_pretokenizer *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->memory);
    qw_mem_free(p);
}

qw_status qw_piece_walk_init(qw_piece_walk *w, const qw_pretokenizer *p, qw_error *err)
{
    qw_piece_walk walk = {.pretokenizer = p};
    walk.match_data = pcre2_match_data_create(1, p->memory);
    walk.match_context = pcre2_match_context_create(p->memory);
    if (!walk.match_data || !walk.match_context) {
        qw_piece_walk_release(&walk);
        return qw_fail_memory(err, sizeof walk, "a regular expression match");
    }
    *w = walk;
    return QW_OK;
}

void qw_piece_walk_release(qw_piece_walk *w)
{
    pcre2_match_data_free(w->match_data);
    pcre2_match_context_free(w->match_context);
    *w = (qw_piece_walk){0};
}

void qw_piece_walk_start(qw_piece_walk *w, qw_str text)
{
    // An honest pattern tries every position a few times; a text of megabytes may be one piece.
    uint64_t limit = 1000000 + 64 * (uint64_t)text.len;
    if (limit > UINT32_MAX) limit = UINT32_MAX;
    pcre2_set_match_limit(w->match_context, (uint32_t)limit);
    pcre2_set_depth_limit(w->match_context, (uint32_t)limit);
    w->text = text;
    w->piece = w->search = w->next_match = 0;
}

// Find the next match at or after w->search. *begin is SIZE_MAX when there is none.
static qw_status find_match(qw_piece_walk *w, size_t *begin, size_t *end, qw_error *err)
{
    const pcre2_code *code = w->pretokenizer->code;
    PCRE2_SPTR text = (PCRE2_SPTR)w->text.ptr;
    int rc = pcre2_match(code, text, w->text.len, w->search, PCRE2_NO_UTF_CHECK, w->match_data,
                         w->match_context);
    // Compiled code has a small stack, the interpreter takes what it needs from the heap.
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, text, w->text.len, w->search, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         w->match_data, w->match_context);
    *begin = *end = SIZE_MAX;
    if (rc == PCRE2_ERROR_NOMATCH) return QW_OK;
    if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT)
        return qw_fail_memory(err, w->text.len, "a regular expression match");
    if (rc < 0) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(rc, why, sizeof why);
        return qw_fail(err, QW_ERR_FORMAT,
                       "the pre-tokenizer's pattern cannot be matched against %zu bytes of text: "
                       "%s",
                       w->text.len, (const char *)why);
    }
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->match_data);
    *begin = span[0];
    *end = span[1];
    // \K may put the beginning behind the end, and look-behind before what is already cut off.
    if (*begin > *end || *begin < w->piece)
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "the pre-tokenizer's pattern moves the beginning of a match with \\K, which "
                       "is not supported");
    return QW_OK;
}

static qw_str take(qw_piece_walk *w, size_t end)
{
    qw_str piece = {w->text.ptr + w->piece, end - w->piece};
    w->piece = end;
    return piece;
}

qw_status qw_piece_walk_next(qw_piece_walk *w, qw_str *piece, qw_error *err)
{
    if (w->next_match > w->piece) {
        *piece = take(w, w->next_match);
        return QW_OK;
    }
    while (w->search <= w->text.len && w->piece < w->text.len) {
        size_t begin, end;
        qw_status st = find_match(w, &begin, &end, err);
        if (st != QW_OK) return st;
        if (begin == SIZE_MAX) break;
        w->search = end;
        if (begin == end) {
            // An empty match cuts here and holds nothing: look on behind the next character.
            if (end < w->text.len)
                (void)qw_utf8_next(w->text, &w->search);
            else
                w->search = w->text.len + 1;
        }
        if (begin > w->piece) {
            *piece = take(w, begin);
            w->next_match = end;
            return QW_OK;
        }
        if (end > begin) {
            *piece = take(w, end);
            return QW_OK;
        }
    }
    *piece = take(w, w->text.len);
    return QW_OK;
}
