#include "format/added_tokens.h"

#include <utf8proc.h>

int qw_added_compare(qw_str a, qw_str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (order != 0) return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

void qw_added_index_init(qw_added_index *index, const qw_added_token *tokens, size_t n,
                         const char *text)
{
    *index = (qw_added_index){.tokens = tokens, .text = text};
    for (size_t i = 0; i < n; i++) index->first[(unsigned char)text[tokens[i].text_offset] + 1]++;
    for (size_t b = 0; b < 256; b++) index->first[b + 1] += index->first[b];
}

void qw_added_scan_init(qw_added_scan *scan, const qw_added_index *index, qw_str text,
                        bool split_special)
{
    *scan = (qw_added_scan){.index = index, .text = text, .split_special = split_special};
}

// The longest token at `pos`, or NULL. The candidates are a range of the ordered list; each byte
// narrows it. A token that ends here comes first in its range.
static const qw_added_token *longest_at(const qw_added_index *index, qw_str text, size_t pos)
{
    unsigned char byte = (unsigned char)text.ptr[pos];
    uint32_t lo = index->first[byte], hi = index->first[byte + 1];
    const qw_added_token *best = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        if (index->tokens[lo].text_len == depth) best = &index->tokens[lo++];
        if (pos + depth >= text.len) break;
        byte = (unsigned char)text.ptr[pos + depth];
        // First token whose byte at `depth` is at least, then above, the text's.
        uint32_t bounds[2];
        for (unsigned k = 0; k < 2; k++) {
            uint32_t a = lo, b = hi;
            while (a < b) {
                uint32_t mid = a + (b - a) / 2;
                unsigned char c =
                    (unsigned char)index->text[index->tokens[mid].text_offset + depth];
                if (c < byte + k)
                    a = mid + 1;
                else
                    b = mid;
            }
            bounds[k] = a;
        }
        lo = bounds[0];
        hi = bounds[1];
    }
    return best;
}

// White space and word characters as the reference's flags use them.
static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static bool is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    // Joiners, and the symbols that Unicode calls alphabetic: circled and squared letters.
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

// The character before `pos` (> 0) and where it begins.
static int32_t char_before(qw_str text, size_t pos, size_t *begin)
{
    do pos--;
    while (pos > 0 && ((unsigned char)text.ptr[pos] & 0xC0) == 0x80);
    *begin = pos;
    return qw_utf8_next(text, &pos);
}

static bool is_own_word(qw_str text, size_t begin, size_t end)
{
    size_t unused;
    if (begin > 0 && is_word(char_before(text, begin, &unused))) return false;
    return end == text.len || !is_word(qw_utf8_next(text, &end));
}

static bool is_wanted(const qw_added_scan *scan, const qw_added_token *t, size_t begin)
{
    if (scan->split_special && (t->flags & QW_ADDED_SPECIAL)) return false;
    return !(t->flags & QW_ADDED_SINGLE_WORD) ||
           is_own_word(scan->text, begin, begin + t->text_len);
}

static size_t strip_left(qw_str text, size_t begin)
{
    size_t before;
    while (begin > 0 && is_space(char_before(text, begin, &before))) begin = before;
    return begin;
}

static size_t strip_right(qw_str text, size_t end)
{
    for (size_t next = end; end < text.len; end = next)
        if (!is_space(qw_utf8_next(text, &next))) break;
    return end;
}

// Find the next token and the text it takes; false when there is none.
static bool find_next(qw_added_scan *scan, size_t *begin, size_t *end, int32_t *id)
{
    const qw_added_index *index = scan->index;
    while (scan->search < scan->text.len) {
        unsigned char byte = (unsigned char)scan->text.ptr[scan->search];
        const qw_added_token *t = NULL;
        if (index->first[byte] < index->first[byte + 1])
            t = longest_at(index, scan->text, scan->search);
        if (!t) {
            scan->search++;
            continue;
        }
        *begin = scan->search;
        *end = scan->search += t->text_len;
        if (!is_wanted(scan, t, *begin)) continue;
        *id = t->id;
        if (t->flags & QW_ADDED_LSTRIP) *begin = strip_left(scan->text, *begin);
        if (t->flags & QW_ADDED_RSTRIP) *end = strip_right(scan->text, *end);
        // What an earlier token has swallowed is gone.
        if (*begin < scan->done) *begin = scan->done;
        if (*end > *begin) return true;
    }
    return false;
}

bool qw_added_scan_next(qw_added_scan *scan, qw_added_span *span)
{
    if (scan->waiting.text.len > 0) {
        *span = scan->waiting;
        scan->waiting.text.len = 0;
        return true;
    }
    if (scan->done >= scan->text.len) return false;
    size_t begin, end;
    int32_t id;
    qw_str rest = {scan->text.ptr + scan->done, scan->text.len - scan->done};
    if (!find_next(scan, &begin, &end, &id)) {
        *span = (qw_added_span){rest, -1};
        scan->done = scan->text.len;
        return true;
    }
    qw_added_span token = {{scan->text.ptr + begin, end - begin}, id};
    rest.len = begin - scan->done;
    scan->done = end;
    if (rest.len == 0) {
        *span = token;
    } else {
        *span = (qw_added_span){rest, -1};
        scan->waiting = token;
    }
    return true;
}
