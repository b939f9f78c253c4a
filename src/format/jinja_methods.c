// Methods of strings, dicts and lists. The names that exist in Python but change the object are
// there too, without a function: the sandbox blocks them.

#include "format/jinja_internal.h"
#include "format/jinja_text.h"

#define METHOD(name)                                                                               \
    static qw_status name(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,  \
                          qw_jinja_value *out)

static qw_status give_str(qw_jinja_value *out, qw_str s)
{
    *out = qw_jinja_string(s);
    return QW_OK;
}

static qw_status give_case(qw_jinja_run *r, const qw_jinja_value *self, qw_jinja_case to,
                           qw_jinja_value *out)
{
    qw_str s;
    QW_JINJA_TRY(qw_jinja_str_case(r, self->str, to, &s));
    return give_str(out, s);
}

#define CASE_METHOD(method, to)                                                                    \
    METHOD(method)                                                                                 \
    {                                                                                              \
        (void)args;                                                                                \
        return give_case(r, self, to, out);                                                        \
    }

CASE_METHOD(str_upper, QW_JINJA_UPPER)
CASE_METHOD(str_lower, QW_JINJA_LOWER)
CASE_METHOD(str_title, QW_JINJA_TITLE)
CASE_METHOD(str_capitalize, QW_JINJA_CAPITALIZE)
CASE_METHOD(str_swapcase, QW_JINJA_SWAPCASE)

// ---- prefixes and suffixes

static bool has_affix(qw_str s, qw_str affix, bool at_end)
{
    return at_end ? qw_str_ends_with(s, affix) : qw_str_starts_with(s, affix);
}

// `self` cut to the code points [start, end) that the last two arguments give. Returns the byte
// offset where the cut starts, SIZE_MAX if the range is empty because it starts behind the end.
static qw_status cut_range(qw_jinja_run *r, qw_str s, const qw_jinja_value *start,
                           const qw_jinja_value *end, qw_str *out, size_t *offset, size_t *first)
{
    *offset = *first = 0;
    *out = s;
    bool has_start = start->kind != QW_JINJA_ABSENT && start->kind != QW_JINJA_NONE;
    bool has_end = end->kind != QW_JINJA_ABSENT && end->kind != QW_JINJA_NONE;
    if (!has_start && !has_end) return QW_OK;
    int64_t from = 0, n = (int64_t)qw_jinja_text_len(s), to = n;
    if (has_start) QW_JINJA_TRY(qw_jinja_arg_int(r, start, "the start index", &from));
    if (has_end) QW_JINJA_TRY(qw_jinja_arg_int(r, end, "the end index", &to));
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to = to + n < 0 ? 0 : to + n;
    if (to > n) to = n;
    if (from > to) {
        *offset = SIZE_MAX;
        *out = QW_STR("");
        return QW_OK;
    }
    *first = (size_t)from;
    *offset = qw_jinja_text_offset(s, (size_t)from);
    *out = qw_jinja_sub(s, *offset, qw_jinja_text_offset(s, (size_t)to));
    return QW_OK;
}

static qw_status test_affix(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                            bool at_end, qw_jinja_value *out)
{
    qw_str s, affix;
    size_t offset, first;
    bool hit = false;
    QW_JINJA_TRY(qw_jinja_work(r, self->str.len));
    QW_JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (args->v[0].kind == QW_JINJA_TUPLE) {
        const qw_jinja_value *items;
        size_t n;
        QW_JINJA_TRY(qw_jinja_items(r, args->v[0].list, &items, &n));
        for (size_t i = 0; i < n && !hit; i++) {
            QW_JINJA_TRY(qw_jinja_step(r, 1));
            QW_JINJA_TRY(qw_jinja_arg_str(r, &items[i], "each item of the tuple", &affix));
            hit = has_affix(s, affix, at_end);
        }
    } else {
        QW_JINJA_TRY(qw_jinja_arg_str(
            r, &args->v[0], at_end ? "endswith's argument" : "startswith's argument", &affix));
        hit = has_affix(s, affix, at_end);
    }
    *out = qw_jinja_bool(hit && offset != SIZE_MAX);
    return QW_OK;
}

METHOD(str_startswith)
{
    return test_affix(r, self, args, false, out);
}

METHOD(str_endswith)
{
    return test_affix(r, self, args, true, out);
}

METHOD(str_removeprefix)
{
    qw_str s = self->str, prefix = {"", 0};
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the prefix", &prefix));
    return give_str(out, qw_str_starts_with(s, prefix) ? qw_jinja_sub(s, prefix.len, s.len) : s);
}

METHOD(str_removesuffix)
{
    qw_str s = self->str, suffix = {"", 0};
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the suffix", &suffix));
    return give_str(out, qw_str_ends_with(s, suffix) ? qw_jinja_sub(s, 0, s.len - suffix.len) : s);
}

// ---- strip, split, join

static qw_status strip(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                       bool left, bool right, qw_jinja_value *out)
{
    if (args->v[0].kind == QW_JINJA_ABSENT || args->v[0].kind == QW_JINJA_NONE) {
        QW_JINJA_TRY(qw_jinja_work(r, self->str.len));
        return give_str(out, qw_jinja_trim(self->str, left, right));
    }
    qw_str chars;
    size_t work;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the characters to strip", &chars));
    if (!qw_mul_size(&work, self->str.len, 1 + chars.len / 16)) work = SIZE_MAX;
    QW_JINJA_TRY(qw_jinja_work(r, work));
    return give_str(out, qw_jinja_trim_chars(self->str, chars, left, right));
}

METHOD(str_strip)
{
    return strip(r, self, args, true, true, out);
}

METHOD(str_lstrip)
{
    return strip(r, self, args, true, false, out);
}

METHOD(str_rstrip)
{
    return strip(r, self, args, false, true, out);
}

static qw_status split(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                       bool from_right, qw_jinja_value *out)
{
    qw_str separator;
    int64_t max_split = -1;
    qw_jinja_list *list;
    bool at_space = args->v[0].kind == QW_JINJA_ABSENT || args->v[0].kind == QW_JINJA_NONE;
    if (!at_space) QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the separator", &separator));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[1], "maxsplit", &max_split));
    QW_JINJA_TRY(qw_jinja_str_split(r, self->str, at_space ? NULL : &separator, max_split,
                                    from_right, &list));
    *out = qw_jinja_sequence(QW_JINJA_LIST, list);
    return QW_OK;
}

METHOD(str_split)
{
    return split(r, self, args, false, out);
}

METHOD(str_rsplit)
{
    return split(r, self, args, true, out);
}

METHOD(str_splitlines)
{
    qw_jinja_list *list;
    QW_JINJA_TRY(qw_jinja_str_splitlines(r, self->str, qw_jinja_truth(&args->v[0]), &list));
    *out = qw_jinja_sequence(QW_JINJA_LIST, list);
    return QW_OK;
}

METHOD(str_join)
{
    const qw_jinja_value *items;
    size_t n;
    qw_str s;
    QW_JINJA_TRY(qw_jinja_iterate(r, &args->v[0], &items, &n));
    QW_JINJA_TRY(qw_jinja_str_join(r, self->str, items, n, false, &s));
    return give_str(out, s);
}

METHOD(str_replace)
{
    qw_str old = {"", 0}, new_text = {"", 0}, s;
    int64_t count = -1;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "replace's first argument", &old));
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[1], "replace's second argument", &new_text));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[2], "replace's count", &count));
    QW_JINJA_TRY(qw_jinja_str_replace(r, self->str, old, new_text, count, &s));
    return give_str(out, s);
}

// ---- find

// Last occurrence of `needle`; SIZE_MAX when there is none.
static qw_status find_last(qw_jinja_run *r, qw_str s, qw_str needle, size_t *out)
{
    *out = SIZE_MAX;
    if (needle.len > s.len) return QW_OK;
    for (size_t at = s.len - needle.len + 1; at-- > 0;) {
        if ((at & 63) == 0) QW_JINJA_TRY(qw_jinja_work(r, needle.len));
        if (needle.len && memcmp(s.ptr + at, needle.ptr, needle.len) != 0) continue;
        *out = at;
        return QW_OK;
    }
    return QW_OK;
}

// Code point index of the first or last occurrence, -1 when there is none.
static qw_status find_text(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                           bool last, int64_t *out)
{
    qw_str needle = {"", 0}, s;
    size_t offset, first, hit;
    *out = -1;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the text to find", &needle));
    QW_JINJA_TRY(qw_jinja_work(r, self->str.len));
    QW_JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (offset == SIZE_MAX) return QW_OK;
    if (last) {
        QW_JINJA_TRY(find_last(r, s, needle, &hit));
    } else {
        hit = qw_jinja_find(s, needle, 0);
    }
    if (hit != SIZE_MAX) *out = (int64_t)(first + qw_jinja_text_len(qw_jinja_sub(s, 0, hit)));
    return QW_OK;
}

static qw_status find_or_fail(qw_jinja_run *r, const qw_jinja_value *self,
                              const qw_jinja_args *args, bool last, bool must, qw_jinja_value *out)
{
    int64_t at;
    QW_JINJA_TRY(find_text(r, self, args, last, &at));
    if (at < 0 && must) return qw_jinja_fail(r, "substring not found");
    *out = qw_jinja_int(at);
    return QW_OK;
}

METHOD(str_find)
{
    return find_or_fail(r, self, args, false, false, out);
}

METHOD(str_rfind)
{
    return find_or_fail(r, self, args, true, false, out);
}

METHOD(str_index)
{
    return find_or_fail(r, self, args, false, true, out);
}

METHOD(str_rindex)
{
    return find_or_fail(r, self, args, true, true, out);
}

METHOD(str_count)
{
    qw_str needle = {"", 0}, s;
    size_t offset, first;
    int64_t n = 0;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the text to count", &needle));
    QW_JINJA_TRY(qw_jinja_work(r, self->str.len));
    QW_JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (needle.len == 0) {
        n = (int64_t)qw_jinja_text_len(s) + 1;
    } else {
        for (size_t at = 0; (at = qw_jinja_find(s, needle, at)) != SIZE_MAX; at += needle.len) n++;
    }
    *out = qw_jinja_int(offset == SIZE_MAX ? 0 : n);
    return QW_OK;
}

static qw_status partition(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                           bool last, qw_jinja_value *out)
{
    qw_str s = self->str, separator = {"", 0};
    size_t hit;
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the separator", &separator));
    if (separator.len == 0) return qw_jinja_fail(r, "empty separator");
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    if (last) {
        QW_JINJA_TRY(find_last(r, s, separator, &hit));
    } else {
        hit = qw_jinja_find(s, separator, 0);
    }
    qw_jinja_list *list = qw_jinja_list_new(r, 3);
    if (!list) return qw_jinja_failure(r);
    list->n = 3;
    for (int i = 0; i < 3; i++) list->items[i] = qw_jinja_text("");
    if (hit == SIZE_MAX) {
        list->items[last ? 2 : 0] = *self;
    } else {
        list->items[0] = qw_jinja_string(qw_jinja_sub(s, 0, hit));
        list->items[1] = qw_jinja_string(separator);
        list->items[2] = qw_jinja_string(qw_jinja_sub(s, hit + separator.len, s.len));
    }
    *out = qw_jinja_sequence(QW_JINJA_TUPLE, list);
    return QW_OK;
}

METHOD(str_partition)
{
    return partition(r, self, args, false, out);
}

METHOD(str_rpartition)
{
    return partition(r, self, args, true, out);
}

// ---- predicates

// True if the string is not empty and every code point passes.
static qw_status all_are(qw_jinja_run *r, const qw_jinja_value *self, bool (*test)(int32_t),
                         qw_jinja_value *out)
{
    qw_str s = self->str;
    bool all = s.len > 0;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    for (size_t pos = 0; pos < s.len && all;) all = test(qw_utf8_next(s, &pos));
    *out = qw_jinja_bool(all);
    return QW_OK;
}

static bool is_alnum(int32_t c)
{
    return qw_jinja_is_alpha(c) || qw_jinja_is_digit(c);
}

static bool is_ascii(int32_t c)
{
    return c < 0x80;
}

#define ALL_METHOD(method, test)                                                                   \
    METHOD(method)                                                                                 \
    {                                                                                              \
        (void)args;                                                                                \
        return all_are(r, self, test, out);                                                        \
    }

ALL_METHOD(str_isdigit, qw_jinja_is_digit)
ALL_METHOD(str_isdecimal, qw_jinja_is_decimal)
ALL_METHOD(str_isalpha, qw_jinja_is_alpha)
ALL_METHOD(str_isalnum, is_alnum)
ALL_METHOD(str_isspace, qw_jinja_is_space)

METHOD(str_isascii)
{
    (void)args;
    QW_JINJA_TRY(all_are(r, self, is_ascii, out));
    if (self->str.len == 0) out->boolean = true;
    return QW_OK;
}

// Some cased character, and none of the other case.
static qw_status all_cased(qw_jinja_run *r, qw_str s, bool (*wanted)(int32_t), qw_jinja_value *out)
{
    bool some = false;
    QW_JINJA_TRY(qw_jinja_work(r, s.len));
    *out = qw_jinja_bool(false);
    for (size_t pos = 0; pos < s.len;) {
        int32_t c = qw_utf8_next(s, &pos);
        if (qw_jinja_is_cased(c) && !wanted(c)) return QW_OK;
        some = some || qw_jinja_is_cased(c);
    }
    out->boolean = some;
    return QW_OK;
}

METHOD(str_isupper)
{
    (void)args;
    return all_cased(r, self->str, qw_jinja_is_upper, out);
}

METHOD(str_islower)
{
    (void)args;
    return all_cased(r, self->str, qw_jinja_is_lower, out);
}

// ---- padding, formatting, encoding

static qw_status pad(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                     char align, qw_jinja_value *out)
{
    int64_t width = 0;
    qw_str fill = {" ", 1}, s;
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "the width", &width));
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[1], "the fill character", &fill));
    if (qw_jinja_text_len(fill) != 1)
        return qw_jinja_fail(r, "the fill character must be exactly one character long");
    QW_JINJA_TRY(qw_jinja_str_pad(r, self->str, width, fill, align, &s));
    return give_str(out, s);
}

METHOD(str_ljust)
{
    return pad(r, self, args, '<', out);
}

METHOD(str_rjust)
{
    return pad(r, self, args, '>', out);
}

METHOD(str_center)
{
    return pad(r, self, args, 'c', out);
}

METHOD(str_zfill)
{
    int64_t width = 0;
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[0], "the width", &width));
    qw_str s = self->str, sign = {"", 0};
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        sign = qw_jinja_sub(s, 0, 1);
        s = qw_jinja_sub(s, 1, s.len);
        if (width > 0) width--;
    }
    QW_JINJA_TRY(qw_jinja_str_pad(r, s, width, QW_STR("0"), '>', &s));
    QW_JINJA_TRY(qw_jinja_concat(r, sign, s, &s));
    return give_str(out, s);
}

METHOD(str_format)
{
    qw_str s;
    QW_JINJA_TRY(qw_jinja_format_braces(r, self->str, args, &s));
    return give_str(out, s);
}

METHOD(str_encode)
{
    qw_str encoding = QW_STR("utf-8");
    QW_JINJA_TRY(qw_jinja_arg_str(r, &args->v[0], "the encoding", &encoding));
    if (!qw_str_is(encoding, "utf-8") && !qw_str_is(encoding, "utf8"))
        return qw_jinja_refuse(r, "encode() knows only 'utf-8', not '%.*s'", (int)encoding.len,
                               encoding.ptr);
    *out = (qw_jinja_value){.kind = QW_JINJA_BYTES, .str = self->str};
    return QW_OK;
}

METHOD(str_refused)
{
    (void)self, (void)args, (void)out;
    return qw_jinja_refuse(r,
                           "the string methods translate, maketrans, expandtabs and casefold are "
                           "not supported in chat templates");
}

static const qw_jinja_builtin str_methods[] = {
    {"startswith", "prefix start? end?", str_startswith},
    {"endswith", "suffix start? end?", str_endswith},
    {"split", "sep? maxsplit?", str_split},
    {"strip", "chars?", str_strip},
    {"lstrip", "chars?", str_lstrip},
    {"rstrip", "chars?", str_rstrip},
    {"replace", "old new count?", str_replace},
    {"join", "iterable", str_join},
    {"upper", "", str_upper},
    {"lower", "", str_lower},
    {"title", "", str_title},
    {"capitalize", "", str_capitalize},
    {"swapcase", "", str_swapcase},
    {"find", "sub start? end?", str_find},
    {"rfind", "sub start? end?", str_rfind},
    {"index", "sub start? end?", str_index},
    {"rindex", "sub start? end?", str_rindex},
    {"count", "sub start? end?", str_count},
    {"splitlines", "keepends?", str_splitlines},
    {"rsplit", "sep? maxsplit?", str_rsplit},
    {"partition", "sep", str_partition},
    {"rpartition", "sep", str_rpartition},
    {"isdigit", "", str_isdigit},
    {"isdecimal", "", str_isdecimal},
    {"isnumeric", "", str_isdigit},
    {"isalpha", "", str_isalpha},
    {"isalnum", "", str_isalnum},
    {"isspace", "", str_isspace},
    {"isascii", "", str_isascii},
    {"isupper", "", str_isupper},
    {"islower", "", str_islower},
    {"format", NULL, str_format},
    {"zfill", "width", str_zfill},
    {"ljust", "width fillchar?", str_ljust},
    {"rjust", "width fillchar?", str_rjust},
    {"center", "width fillchar?", str_center},
    {"removeprefix", "prefix", str_removeprefix},
    {"removesuffix", "suffix", str_removesuffix},
    {"encode", "encoding? errors?", str_encode},
    {"translate", NULL, str_refused},
    {"maketrans", NULL, str_refused},
    {"expandtabs", NULL, str_refused},
    {"casefold", NULL, str_refused},
    {NULL, NULL, NULL},
};

// ---- dict

static qw_status make_view(qw_jinja_run *r, qw_jinja_dict *d, const char *view, qw_jinja_value *out)
{
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, d, &entries, &n));
    qw_jinja_list *list = qw_jinja_list_new(r, n);
    if (!list) return qw_jinja_failure(r);
    list->view = view;
    list->n = n;
    for (size_t i = 0; i < n; i++) {
        if (view[5] == 'k') {
            list->items[i] = entries[i].key;
        } else if (view[5] == 'v') {
            list->items[i] = entries[i].value;
        } else {
            qw_jinja_list *pair = qw_jinja_list_new(r, 2);
            if (!pair) return qw_jinja_failure(r);
            pair->n = 2;
            pair->items[0] = entries[i].key;
            pair->items[1] = entries[i].value;
            list->items[i] = qw_jinja_sequence(QW_JINJA_TUPLE, pair);
        }
    }
    *out = qw_jinja_sequence(QW_JINJA_VIEW, list);
    return QW_OK;
}

METHOD(dict_keys)
{
    (void)args;
    return make_view(r, self->dict, "dict_keys", out);
}

METHOD(dict_values)
{
    (void)args;
    return make_view(r, self->dict, "dict_values", out);
}

METHOD(dict_items)
{
    (void)args;
    return make_view(r, self->dict, "dict_items", out);
}

METHOD(dict_get)
{
    const qw_jinja_value *value;
    if (args->v[0].kind == QW_JINJA_LIST || args->v[0].kind == QW_JINJA_DICT)
        return qw_jinja_fail(r, "unhashable type: '%s'", qw_jinja_type_name(&args->v[0]));
    QW_JINJA_TRY(qw_jinja_dict_find(r, self->dict, &args->v[0], &value));
    *out = value ? *value : args->v[1].kind == QW_JINJA_ABSENT ? qw_jinja_none() : args->v[1];
    return QW_OK;
}

METHOD(dict_copy)
{
    (void)args;
    const qw_jinja_entry *entries;
    size_t n;
    QW_JINJA_TRY(qw_jinja_entries(r, self->dict, &entries, &n));
    qw_jinja_dict *copy = qw_jinja_dict_new(r);
    if (!copy) return qw_jinja_failure(r);
    for (size_t i = 0; i < n; i++)
        QW_JINJA_TRY(qw_jinja_dict_put(r, copy, &entries[i].key, &entries[i].value));
    *out = (qw_jinja_value){.kind = QW_JINJA_DICT, .dict = copy};
    return QW_OK;
}

static const qw_jinja_builtin dict_methods[] = {
    {"items", "", dict_items},   {"keys", "", dict_keys},
    {"values", "", dict_values}, {"get", "key default?", dict_get},
    {"copy", "", dict_copy},     {"clear", NULL, NULL},
    {"pop", NULL, NULL},         {"popitem", NULL, NULL},
    {"setdefault", NULL, NULL},  {"update", NULL, NULL},
    {NULL, NULL, NULL},
};

// ---- list and tuple

METHOD(list_index)
{
    const qw_jinja_value *items;
    size_t n;
    int64_t start = 0, stop = INT64_MAX;
    QW_JINJA_TRY(qw_jinja_items(r, self->list, &items, &n));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[1], "the start index", &start));
    QW_JINJA_TRY(qw_jinja_arg_int(r, &args->v[2], "the end index", &stop));
    if (start < 0) start = start + (int64_t)n < 0 ? 0 : start + (int64_t)n;
    if (stop < 0) stop += (int64_t)n;
    for (int64_t i = start; i < (int64_t)n && i < stop; i++) {
        bool same;
        QW_JINJA_TRY(qw_jinja_equal(r, &items[i], &args->v[0], &same));
        if (!same) continue;
        *out = qw_jinja_int(i);
        return QW_OK;
    }
    return qw_jinja_fail(r, "%s.index(x): x not in %s", qw_jinja_type_name(self),
                         qw_jinja_type_name(self));
}

METHOD(list_count)
{
    const qw_jinja_value *items;
    size_t n;
    int64_t count = 0;
    QW_JINJA_TRY(qw_jinja_items(r, self->list, &items, &n));
    for (size_t i = 0; i < n; i++) {
        bool same;
        QW_JINJA_TRY(qw_jinja_equal(r, &items[i], &args->v[0], &same));
        count += same;
    }
    *out = qw_jinja_int(count);
    return QW_OK;
}

METHOD(list_copy)
{
    (void)r, (void)args;
    *out = *self; // nothing in a template can change a list
    return QW_OK;
}

static const qw_jinja_builtin list_methods[] = {
    {"index", "value start? stop?", list_index},
    {"count", "value", list_count},
    {"copy", "", list_copy},
    {"append", NULL, NULL},
    {"clear", NULL, NULL},
    {"extend", NULL, NULL},
    {"insert", NULL, NULL},
    {"pop", NULL, NULL},
    {"remove", NULL, NULL},
    {"reverse", NULL, NULL},
    {"sort", NULL, NULL},
    {NULL, NULL, NULL},
};

static const qw_jinja_builtin tuple_methods[] = {
    {"index", "value start? stop?", list_index},
    {"count", "value", list_count},
    {NULL, NULL, NULL},
};

// ---- cycler

METHOD(cycler_next)
{
    (void)args;
    qw_jinja_cycler *c = self->cycler;
    if (c->n == 0) return qw_jinja_fail(r, "the cycler has no items");
    *out = c->items[c->next];
    c->next = (c->next + 1) % c->n;
    return QW_OK;
}

METHOD(cycler_reset)
{
    (void)r, (void)args;
    self->cycler->next = 0;
    *out = qw_jinja_none();
    return QW_OK;
}

static const qw_jinja_builtin cycler_methods[] = {
    {"next", "", cycler_next},
    {"reset", "", cycler_reset},
    {NULL, NULL, NULL},
};

const qw_jinja_builtin *qw_jinja_find_method(const qw_jinja_value *v, qw_str name)
{
    switch ((qw_jinja_kind)v->kind) {
    case QW_JINJA_STRING: return qw_jinja_find_builtin(str_methods, name);
    case QW_JINJA_DICT: return qw_jinja_find_builtin(dict_methods, name);
    case QW_JINJA_LIST: return qw_jinja_find_builtin(list_methods, name);
    case QW_JINJA_TUPLE: return qw_jinja_find_builtin(tuple_methods, name);
    case QW_JINJA_LOOP: return qw_jinja_find_builtin(qw_jinja_loop_methods, name);
    case QW_JINJA_CYCLER: return qw_jinja_find_builtin(cycler_methods, name);
    default: return NULL;
    }
}
