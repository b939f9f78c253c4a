// String algorithms that methods and filters share.

#include "format/jinja_value.h"

#include "format/jinja_text.h"

// ---- case

static size_t put_all(char *to, const int32_t *code_points, int n)
{
    size_t len = 0;
    for (int i = 0; i < n; i++) len += (size_t)qw_utf8_put(to + len, code_points[i]);
    return len;
}

// Greek sigma is written differently at the end of a word: Unicode's Final_Sigma, where characters
// that are neither cased nor letters count as the word's border.
static bool is_final_sigma(qw_str s, size_t start, size_t end)
{
    if (start == 0) return false;
    size_t before;
    if (!qw_jinja_is_cased(qw_jinja_text_before(s, start, &before))) return false;
    return end == s.len || !qw_jinja_is_cased(qw_utf8_next(s, &end));
}

static int lower_in_context(qw_str s, size_t start, size_t end, int32_t c, int32_t out[3])
{
    if (c == 0x3A3) {
        out[0] = is_final_sigma(s, start, end) ? 0x3C2 : 0x3C3;
        return 1;
    }
    return qw_jinja_to_lower(c, out);
}

qw_status qw_jinja_str_case(qw_jinja_run *r, qw_str s, qw_jinja_case to, qw_str *out)
{
    // A code point of n bytes becomes at most three, of 2 n + 2 bytes together.
    size_t cap;
    if (!qw_mul_size(&cap, s.len, 4)) return qw_jinja_fail(r, "a text is too long");
    char *text = qw_jinja_alloc(r, cap + 1, 1);
    if (!text) return qw_jinja_failure(r);
    size_t len = 0;
    bool first = true, in_word = false;
    for (size_t pos = 0; pos < s.len;) {
        size_t start = pos;
        int32_t c = qw_utf8_next(s, &pos), mapped[3];
        int n;
        if (to == QW_JINJA_UPPER || (to == QW_JINJA_SWAPCASE && qw_jinja_is_lower(c)))
            n = qw_jinja_to_upper(c, mapped);
        else if ((to == QW_JINJA_CAPITALIZE && first) || (to == QW_JINJA_TITLE && !in_word))
            n = qw_jinja_to_title(c, mapped);
        else if (to != QW_JINJA_SWAPCASE || qw_jinja_is_upper(c))
            n = lower_in_context(s, start, pos, c, mapped);
        else
            mapped[0] = c, n = 1;
        len += put_all(text + len, mapped, n);
        in_word = qw_jinja_is_cased(c);
        first = false;
    }
    *out = (qw_str){text, len};
    return QW_OK;
}

qw_status qw_jinja_fold_case(qw_jinja_run *r, const qw_jinja_value *v, qw_jinja_value *out)
{
    *out = *v;
    return v->kind == QW_JINJA_STRING ? qw_jinja_str_case(r, v->str, QW_JINJA_LOWER, &out->str)
                                      : QW_OK;
}

// ---- replace, join, pad

// Insert `new_text` before every code point and at the end, as Python does for an empty `old`.
static qw_status replace_empty(qw_jinja_run *r, qw_str s, qw_str new_text, int64_t count,
                               qw_str *out)
{
    qw_buf *b = &r->out;
    size_t start = b->len;
    for (size_t pos = 0; count != 0; count--) {
        QW_JINJA_TRY(qw_jinja_work(r, new_text.len));
        qw_buf_append(b, new_text.ptr, new_text.len);
        QW_JINJA_TRY(qw_jinja_check_output(r));
        if (pos == s.len) return qw_jinja_capture(r, start, out);
        size_t from = pos;
        (void)qw_utf8_next(s, &pos);
        qw_buf_append(b, s.ptr + from, pos - from);
        if (count == 1) qw_buf_append(b, s.ptr + pos, s.len - pos);
    }
    return qw_jinja_capture(r, start, out);
}

qw_status qw_jinja_str_replace(qw_jinja_run *r, qw_str s, qw_str old, qw_str new_text,
                               int64_t count, qw_str *out)
{
    *out = s;
    if (count == 0) return QW_OK;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    if (old.len == 0) return replace_empty(r, s, new_text, count, out);
    size_t hit = qw_jinja_find(s, old, 0), from = 0, start = r->out.len;
    if (hit == SIZE_MAX) return QW_OK;
    for (; hit != SIZE_MAX && count != 0; count--) {
        QW_JINJA_TRY(qw_jinja_work(r, new_text.len));
        qw_buf_append(&r->out, s.ptr + from, hit - from);
        qw_buf_append(&r->out, new_text.ptr, new_text.len);
        QW_JINJA_TRY(qw_jinja_check_output(r));
        from = hit + old.len;
        hit = qw_jinja_find(s, old, from);
    }
    qw_buf_append(&r->out, s.ptr + from, s.len - from);
    return qw_jinja_capture(r, start, out);
}

qw_status qw_jinja_str_join(qw_jinja_run *r, qw_str separator, const qw_jinja_value *items,
                            size_t n, bool convert, qw_str *out)
{
    size_t start = r->out.len;
    for (size_t i = 0; i < n; i++) {
        QW_JINJA_TRY(qw_jinja_work(r, separator.len));
        if (i) qw_buf_append(&r->out, separator.ptr, separator.len);
        QW_JINJA_TRY(qw_jinja_check_output(r));
        if (!convert && items[i].kind != QW_JINJA_STRING)
            return qw_jinja_fail(r, "sequence item %zu: expected str instance, %s found", i,
                                 qw_jinja_type_name(&items[i]));
        QW_JINJA_TRY(qw_jinja_write(r, &items[i]));
    }
    return qw_jinja_capture(r, start, out);
}

qw_status qw_jinja_str_pad(qw_jinja_run *r, qw_str s, int64_t width, qw_str fill, char align,
                           qw_str *out)
{
    size_t len = qw_jinja_text_len(s), left = 0, right = 0;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    *out = s;
    if (width <= 0 || (uint64_t)width <= len) return QW_OK;
    size_t pad = (size_t)width - len;
    if (pad > r->opt->max_output)
        return qw_jinja_fail(
            r, "padding to %" PRId64 " characters is more than the limit of %zu bytes", width,
            r->opt->max_output);
    switch (align) {
    case '<': right = pad; break;
    case '>': left = pad; break;
    case '^': left = pad / 2; break;
    default: left = pad / 2 + (pad & (size_t)width & 1); break; // str.center
    }
    if (align != '<' && align != '>') right = pad - left;
    size_t start = r->out.len;
    qw_str blanks;
    QW_JINJA_TRY(qw_jinja_repeat(r, fill, (int64_t)left, &blanks));
    qw_buf_append(&r->out, blanks.ptr, blanks.len);
    qw_buf_append(&r->out, s.ptr, s.len);
    QW_JINJA_TRY(qw_jinja_repeat(r, fill, (int64_t)right, &blanks));
    qw_buf_append(&r->out, blanks.ptr, blanks.len);
    return qw_jinja_capture(r, start, out);
}

// ---- split

static qw_status push_part(qw_jinja_run *r, qw_jinja_list *list, qw_str s, size_t from, size_t to)
{
    qw_jinja_value part = qw_jinja_string(qw_jinja_sub(s, from, to));
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    return qw_jinja_list_push(r, list, &part);
}

static void reverse(qw_jinja_list *list)
{
    for (size_t i = 0, j = list->n; i + 1 < j; i++) {
        qw_jinja_value v = list->items[i];
        list->items[i] = list->items[--j];
        list->items[j] = v;
    }
}

static qw_status split_at(qw_jinja_run *r, qw_str s, qw_str separator, int64_t max_split,
                          qw_jinja_list *list)
{
    size_t from = 0, hit;
    while (max_split-- != 0 && (hit = qw_jinja_find(s, separator, from)) != SIZE_MAX) {
        QW_JINJA_TRY(push_part(r, list, s, from, hit));
        from = hit + separator.len;
    }
    return push_part(r, list, s, from, s.len);
}

static qw_status split_at_from_right(qw_jinja_run *r, qw_str s, qw_str separator, int64_t max_split,
                                     qw_jinja_list *list)
{
    size_t to = s.len;
    for (size_t i = s.len; i >= separator.len && max_split != 0;) {
        size_t at = i - separator.len;
        if ((i & 63) == 0) QW_JINJA_TRY(qw_jinja_work(r, separator.len));
        if (memcmp(s.ptr + at, separator.ptr, separator.len) != 0) {
            i--;
            continue;
        }
        QW_JINJA_TRY(push_part(r, list, s, at + separator.len, to));
        to = at;
        i = at;
        max_split--;
    }
    QW_JINJA_TRY(push_part(r, list, s, 0, to));
    reverse(list);
    return QW_OK;
}

static qw_status split_at_space(qw_jinja_run *r, qw_str s, int64_t max_split, qw_jinja_list *list)
{
    for (qw_str rest = qw_jinja_trim(s, true, false); rest.len > 0;) {
        size_t end = 0, next = 0;
        while (end < rest.len && !qw_jinja_is_space(qw_utf8_next(rest, &next))) end = next;
        if (max_split-- == 0) return push_part(r, list, rest, 0, rest.len);
        QW_JINJA_TRY(push_part(r, list, rest, 0, end));
        rest = qw_jinja_trim(qw_jinja_sub(rest, end, rest.len), true, false);
    }
    return QW_OK;
}

static qw_status split_at_space_from_right(qw_jinja_run *r, qw_str s, int64_t max_split,
                                           qw_jinja_list *list)
{
    for (qw_str rest = qw_jinja_trim(s, false, true); rest.len > 0;) {
        size_t start = rest.len, before;
        while (start > 0 && !qw_jinja_is_space(qw_jinja_text_before(rest, start, &before)))
            start = before;
        if (max_split-- == 0) {
            QW_JINJA_TRY(push_part(r, list, rest, 0, rest.len));
            break;
        }
        QW_JINJA_TRY(push_part(r, list, rest, start, rest.len));
        rest = qw_jinja_trim(qw_jinja_sub(rest, 0, start), false, true);
    }
    reverse(list);
    return QW_OK;
}

qw_status qw_jinja_str_split(qw_jinja_run *r, qw_str s, const qw_str *separator, int64_t max_split,
                             bool from_right, qw_jinja_list **out)
{
    qw_jinja_list *list = qw_jinja_list_new(r, 0);
    if (!list) return qw_jinja_failure(r);
    *out = list;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    if (!separator)
        return from_right ? split_at_space_from_right(r, s, max_split, list)
                          : split_at_space(r, s, max_split, list);
    if (separator->len == 0) return qw_jinja_fail(r, "empty separator");
    return from_right ? split_at_from_right(r, s, *separator, max_split, list)
                      : split_at(r, s, *separator, max_split, list);
}

qw_status qw_jinja_str_splitlines(qw_jinja_run *r, qw_str s, bool keep_ends, qw_jinja_list **out)
{
    qw_jinja_list *list = qw_jinja_list_new(r, 0);
    if (!list) return qw_jinja_failure(r);
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    size_t from = 0;
    for (size_t pos = 0; pos < s.len;) {
        size_t end = pos;
        int32_t c = qw_utf8_next(s, &pos);
        if (!qw_jinja_is_line_end(c)) continue;
        if (c == '\r' && pos < s.len && s.ptr[pos] == '\n') pos++;
        QW_JINJA_TRY(push_part(r, list, s, from, keep_ends ? pos : end));
        from = pos;
    }
    if (from < s.len) QW_JINJA_TRY(push_part(r, list, s, from, s.len));
    *out = list;
    return QW_OK;
}
