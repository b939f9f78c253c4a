// Methods of strings, dicts and lists. The names that exist in Python but change the object are
// there too, without a function: the sandbox blocks them.

#include "format/jinja_internal.h"
#include "format/jinja_text.h"

#define METHOD(name)                                                                               \
    static qw_status name(jinja_run *r, const jinja_value *self, const jinja_args *args,           \
                          jinja_value *out)

static qw_status give_str(jinja_value *out, qw_str s)
{
    *out = jinja_string(s);
    return QW_OK;
}

static qw_status give_case(jinja_run *r, const jinja_value *self, jinja_case to, jinja_value *out)
{
    qw_str s;
    JINJA_TRY(jinja_str_case(r, self->str, to, &s));
    return give_str(out, s);
}

#define CASE_METHOD(method, to)                                                                    \
    METHOD(method)                                                                                 \
    {                                                                                              \
        (void)args;                                                                                \
        return give_case(r, self, to, out);                                                        \
    }

CASE_METHOD(str_upper, JINJA_UPPER)
CASE_METHOD(str_lower, JINJA_LOWER)
CASE_METHOD(str_title, JINJA_TITLE)
CASE_METHOD(str_capitalize, JINJA_CAPITALIZE)
CASE_METHOD(str_swapcase, JINJA_SWAPCASE)

// ---- prefixes and suffixes

static bool has_affix(qw_str s, qw_str affix, bool at_end)
{
    return at_end ? qw_str_ends_with(s, affix) : qw_str_starts_with(s, affix);
}

// `self` cut to the code points [start, end) that the last two arguments give. Returns the byte
// offset where the cut starts, SIZE_MAX if the range is empty because it starts behind the end.
static qw_status cut_range(jinja_run *r, qw_str s, const jinja_value *start, const jinja_value *end,
                           qw_str *out, size_t *offset, size_t *first)
{
    *offset = *first = 0;
    *out = s;
    bool has_start = start->kind != JINJA_ABSENT && start->kind != JINJA_NONE;
    bool has_end = end->kind != JINJA_ABSENT && end->kind != JINJA_NONE;
    if (!has_start && !has_end) return QW_OK;
    int64_t from = 0, n = (int64_t)jinja_text_len(s), to = n;
    if (has_start) JINJA_TRY(jinja_arg_int(r, start, "the start index", &from));
    if (has_end) JINJA_TRY(jinja_arg_int(r, end, "the end index", &to));
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to = to + n < 0 ? 0 : to + n;
    if (to > n) to = n;
    if (from > to) {
        *offset = SIZE_MAX;
        *out = QW_STR("");
        return QW_OK;
    }
    *first = (size_t)from;
    *offset = jinja_text_offset(s, (size_t)from);
    *out = jinja_sub(s, *offset, jinja_text_offset(s, (size_t)to));
    return QW_OK;
}

static qw_status test_affix(jinja_run *r, const jinja_value *self, const jinja_args *args,
                            bool at_end, jinja_value *out)
{
    qw_str s, affix;
    size_t offset, first;
    bool hit = false;
    JINJA_TRY(jinja_work(r, self->str.len));
    JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (args->v[0].kind == JINJA_TUPLE) {
        const jinja_value *items;
        size_t n;
        JINJA_TRY(jinja_items(r, args->v[0].list, &items, &n));
        for (size_t i = 0; i < n && !hit; i++) {
            JINJA_TRY(jinja_step(r, 1));
            JINJA_TRY(jinja_arg_str(r, &items[i], "each item of the tuple", &affix));
            hit = has_affix(s, affix, at_end);
        }
    } else {
        JINJA_TRY(jinja_arg_str(r, &args->v[0],
                                at_end ? "endswith's argument" : "startswith's argument", &affix));
        hit = has_affix(s, affix, at_end);
    }
    *out = jinja_bool(hit && offset != SIZE_MAX);
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
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the prefix", &prefix));
    return give_str(out, qw_str_starts_with(s, prefix) ? jinja_sub(s, prefix.len, s.len) : s);
}

METHOD(str_removesuffix)
{
    qw_str s = self->str, suffix = {"", 0};
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the suffix", &suffix));
    return give_str(out, qw_str_ends_with(s, suffix) ? jinja_sub(s, 0, s.len - suffix.len) : s);
}

// ---- strip, split, join

static qw_status strip(jinja_run *r, const jinja_value *self, const jinja_args *args, bool left,
                       bool right, jinja_value *out)
{
    if (args->v[0].kind == JINJA_ABSENT || args->v[0].kind == JINJA_NONE) {
        JINJA_TRY(jinja_work(r, self->str.len));
        return give_str(out, jinja_trim(self->str, left, right));
    }
    qw_str chars;
    size_t work;
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the characters to strip", &chars));
    if (!qw_mul_size(&work, self->str.len, 1 + chars.len / 16)) work = SIZE_MAX;
    JINJA_TRY(jinja_work(r, work));
    return give_str(out, jinja_trim_chars(self->str, chars, left, right));
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

static qw_status split(jinja_run *r, const jinja_value *self, const jinja_args *args,
                       bool from_right, jinja_value *out)
{
    qw_str separator;
    int64_t max_split = -1;
    jinja_list *list;
    bool at_space = args->v[0].kind == JINJA_ABSENT || args->v[0].kind == JINJA_NONE;
    if (!at_space) JINJA_TRY(jinja_arg_str(r, &args->v[0], "the separator", &separator));
    JINJA_TRY(jinja_arg_int(r, &args->v[1], "maxsplit", &max_split));
    JINJA_TRY(
        jinja_str_split(r, self->str, at_space ? NULL : &separator, max_split, from_right, &list));
    *out = jinja_sequence(JINJA_LIST, list);
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
    jinja_list *list;
    JINJA_TRY(jinja_str_splitlines(r, self->str, jinja_truth(&args->v[0]), &list));
    *out = jinja_sequence(JINJA_LIST, list);
    return QW_OK;
}

METHOD(str_join)
{
    const jinja_value *items;
    size_t n;
    qw_str s;
    JINJA_TRY(jinja_iterate(r, &args->v[0], &items, &n));
    JINJA_TRY(jinja_str_join(r, self->str, items, n, false, &s));
    return give_str(out, s);
}

METHOD(str_replace)
{
    qw_str old = {"", 0}, new_text = {"", 0}, s;
    int64_t count = -1;
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "replace's first argument", &old));
    JINJA_TRY(jinja_arg_str(r, &args->v[1], "replace's second argument", &new_text));
    JINJA_TRY(jinja_arg_int(r, &args->v[2], "replace's count", &count));
    JINJA_TRY(jinja_str_replace(r, self->str, old, new_text, count, &s));
    return give_str(out, s);
}

// ---- find

// Last occurrence of `needle`; SIZE_MAX when there is none.
static qw_status find_last(jinja_run *r, qw_str s, qw_str needle, size_t *out)
{
    *out = SIZE_MAX;
    if (needle.len > s.len) return QW_OK;
    for (size_t at = s.len - needle.len + 1; at-- > 0;) {
        if ((at & 63) == 0) JINJA_TRY(jinja_work(r, needle.len));
        if (needle.len && memcmp(s.ptr + at, needle.ptr, needle.len) != 0) continue;
        *out = at;
        return QW_OK;
    }
    return QW_OK;
}

// Code point index of the first or last occurrence, -1 when there is none.
static qw_status find_text(jinja_run *r, const jinja_value *self, const jinja_args *args, bool last,
                           int64_t *out)
{
    qw_str needle = {"", 0}, s;
    size_t offset, first, hit;
    *out = -1;
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the text to find", &needle));
    JINJA_TRY(jinja_work(r, self->str.len));
    JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (offset == SIZE_MAX) return QW_OK;
    if (last) {
        JINJA_TRY(find_last(r, s, needle, &hit));
    } else {
        hit = jinja_find(s, needle, 0);
    }
    if (hit != SIZE_MAX) *out = (int64_t)(first + jinja_text_len(jinja_sub(s, 0, hit)));
    return QW_OK;
}

static qw_status find_or_fail(jinja_run *r, const jinja_value *self, const jinja_args *args,
                              bool last, bool must, jinja_value *out)
{
    int64_t at;
    JINJA_TRY(find_text(r, self, args, last, &at));
    if (at < 0 && must) return jinja_fail(r, "substring not found");
    *out = jinja_int(at);
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
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the text to count", &needle));
    JINJA_TRY(jinja_work(r, self->str.len));
    JINJA_TRY(cut_range(r, self->str, &args->v[1], &args->v[2], &s, &offset, &first));
    if (needle.len == 0) {
        n = (int64_t)jinja_text_len(s) + 1;
    } else {
        for (size_t at = 0; (at = jinja_find(s, needle, at)) != SIZE_MAX; at += needle.len) n++;
    }
    *out = jinja_int(offset == SIZE_MAX ? 0 : n);
    return QW_OK;
}

static qw_status partition(jinja_run *r, const jinja_value *self, const jinja_args *args, bool last,
                           jinja_value *out)
{
    qw_str s = self->str, separator = {"", 0};
    size_t hit;
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the separator", &separator));
    if (separator.len == 0) return jinja_fail(r, "empty separator");
    JINJA_TRY(jinja_work(r, s.len));
    if (last) {
        JINJA_TRY(find_last(r, s, separator, &hit));
    } else {
        hit = jinja_find(s, separator, 0);
    }
    jinja_list *list = jinja_list_new(r, 3);
    if (!list) return r->failed;
    list->n = 3;
    for (int i = 0; i < 3; i++) list->items[i] = jinja_text("");
    if (hit == SIZE_MAX) {
        list->items[last ? 2 : 0] = *self;
    } else {
        list->items[0] = jinja_string(jinja_sub(s, 0, hit));
        list->items[1] = jinja_string(separator);
        list->items[2] = jinja_string(jinja_sub(s, hit + separator.len, s.len));
    }
    *out = jinja_sequence(JINJA_TUPLE, list);
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
static qw_status all_are(jinja_run *r, const jinja_value *self, bool (*test)(int32_t),
                         jinja_value *out)
{
    qw_str s = self->str;
    bool all = s.len > 0;
    JINJA_TRY(jinja_work(r, s.len));
    for (size_t pos = 0; pos < s.len && all;) all = test(qw_utf8_next(s, &pos));
    *out = jinja_bool(all);
    return QW_OK;
}

static bool is_alnum(int32_t c)
{
    return jinja_is_alpha(c) || jinja_is_digit(c);
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

ALL_METHOD(str_isdigit, jinja_is_digit)
ALL_METHOD(str_isdecimal, jinja_is_decimal)
ALL_METHOD(str_isalpha, jinja_is_alpha)
ALL_METHOD(str_isalnum, is_alnum)
ALL_METHOD(str_isspace, jinja_is_space)

METHOD(str_isascii)
{
    (void)args;
    JINJA_TRY(all_are(r, self, is_ascii, out));
    if (self->str.len == 0) out->boolean = true;
    return QW_OK;
}

// Some cased character, and none of the other case.
static qw_status all_cased(jinja_run *r, qw_str s, bool (*wanted)(int32_t), jinja_value *out)
{
    bool some = false;
    JINJA_TRY(jinja_work(r, s.len));
    *out = jinja_bool(false);
    for (size_t pos = 0; pos < s.len;) {
        int32_t c = qw_utf8_next(s, &pos);
        if (jinja_is_cased(c) && !wanted(c)) return QW_OK;
        some = some || jinja_is_cased(c);
    }
    out->boolean = some;
    return QW_OK;
}

METHOD(str_isupper)
{
    (void)args;
    return all_cased(r, self->str, jinja_is_upper, out);
}

METHOD(str_islower)
{
    (void)args;
    return all_cased(r, self->str, jinja_is_lower, out);
}

// ---- padding, formatting, encoding

static qw_status pad(jinja_run *r, const jinja_value *self, const jinja_args *args, char align,
                     jinja_value *out)
{
    int64_t width = 0;
    qw_str fill = {" ", 1}, s;
    JINJA_TRY(jinja_arg_int(r, &args->v[0], "the width", &width));
    JINJA_TRY(jinja_arg_str(r, &args->v[1], "the fill character", &fill));
    if (jinja_text_len(fill) != 1)
        return jinja_fail(r, "the fill character must be exactly one character long");
    JINJA_TRY(jinja_str_pad(r, self->str, width, fill, align, &s));
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
    JINJA_TRY(jinja_arg_int(r, &args->v[0], "the width", &width));
    qw_str s = self->str, sign = {"", 0};
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        sign = jinja_sub(s, 0, 1);
        s = jinja_sub(s, 1, s.len);
        if (width > 0) width--;
    }
    JINJA_TRY(jinja_str_pad(r, s, width, QW_STR("0"), '>', &s));
    JINJA_TRY(jinja_concat(r, sign, s, &s));
    return give_str(out, s);
}

METHOD(str_format)
{
    qw_str s;
    JINJA_TRY(jinja_format_braces(r, self->str, args, &s));
    return give_str(out, s);
}

METHOD(str_encode)
{
    qw_str encoding = QW_STR("utf-8");
    JINJA_TRY(jinja_arg_str(r, &args->v[0], "the encoding", &encoding));
    if (!qw_str_is(encoding, "utf-8") && !qw_str_is(encoding, "utf8"))
        return jinja_refuse(r, "encode() knows only 'utf-8', not '%.*s'", (int)encoding.len,
                            encoding.ptr);
    *out = (jinja_value){.kind = JINJA_BYTES, .str = self->str};
    return QW_OK;
}

METHOD(str_refused)
{
    (void)self, (void)args, (void)out;
    return jinja_refuse(r, "the string methods translate, maketrans, expandtabs and casefold are "
                           "not supported in chat templates");
}

static const jinja_builtin str_methods[] = {
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

static qw_status make_view(jinja_run *r, jinja_dict *d, const char *view, jinja_value *out)
{
    const jinja_entry *entries;
    size_t n;
    JINJA_TRY(jinja_entries(r, d, &entries, &n));
    jinja_list *list = jinja_list_new(r, n);
    if (!list) return r->failed;
    list->view = view;
    list->n = n;
    for (size_t i = 0; i < n; i++) {
        if (view[5] == 'k') {
            list->items[i] = entries[i].key;
        } else if (view[5] == 'v') {
            list->items[i] = entries[i].value;
        } else {
            jinja_list *pair = jinja_list_new(r, 2);
            if (!pair) return r->failed;
            pair->n = 2;
            pair->items[0] = entries[i].key;
            pair->items[1] = entries[i].value;
            list->items[i] = jinja_sequence(JINJA_TUPLE, pair);
        }
    }
    *out = jinja_sequence(JINJA_VIEW, list);
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
    const jinja_value *value;
    if (args->v[0].kind == JINJA_LIST || args->v[0].kind == JINJA_DICT)
        return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(&args->v[0]));
    JINJA_TRY(jinja_dict_find(r, self->dict, &args->v[0], &value));
    *out = value ? *value : args->v[1].kind == JINJA_ABSENT ? jinja_none() : args->v[1];
    return QW_OK;
}

METHOD(dict_copy)
{
    (void)args;
    const jinja_entry *entries;
    size_t n;
    JINJA_TRY(jinja_entries(r, self->dict, &entries, &n));
    jinja_dict *copy = jinja_dict_new(r);
    if (!copy) return r->failed;
    for (size_t i = 0; i < n; i++)
        JINJA_TRY(jinja_dict_put(r, copy, &entries[i].key, &entries[i].value));
    *out = (jinja_value){.kind = JINJA_DICT, .dict = copy};
    return QW_OK;
}

static const jinja_builtin dict_methods[] = {
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
    const jinja_value *items;
    size_t n;
    int64_t start = 0, stop = INT64_MAX;
    JINJA_TRY(jinja_items(r, self->list, &items, &n));
    JINJA_TRY(jinja_arg_int(r, &args->v[1], "the start index", &start));
    JINJA_TRY(jinja_arg_int(r, &args->v[2], "the end index", &stop));
    if (start < 0) start = start + (int64_t)n < 0 ? 0 : start + (int64_t)n;
    if (stop < 0) stop += (int64_t)n;
    for (int64_t i = start; i < (int64_t)n && i < stop; i++) {
        bool same;
        JINJA_TRY(jinja_equal(r, &items[i], &args->v[0], &same));
        if (!same) continue;
        *out = jinja_int(i);
        return QW_OK;
    }
    return jinja_fail(r, "%s.index(x): x not in %s", jinja_type_name(self), jinja_type_name(self));
}

METHOD(list_count)
{
    const jinja_value *items;
    size_t n;
    int64_t count = 0;
    JINJA_TRY(jinja_items(r, self->list, &items, &n));
    for (size_t i = 0; i < n; i++) {
        bool same;
        JINJA_TRY(jinja_equal(r, &items[i], &args->v[0], &same));
        count += same;
    }
    *out = jinja_int(count);
    return QW_OK;
}

METHOD(list_copy)
{
    (void)r, (void)args;
    *out = *self; // nothing in a template can change a list
    return QW_OK;
}

static const jinja_builtin list_methods[] = {
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

static const jinja_builtin tuple_methods[] = {
    {"index", "value start? stop?", list_index},
    {"count", "value", list_count},
    {NULL, NULL, NULL},
};

// ---- cycler

METHOD(cycler_next)
{
    (void)args;
    jinja_cycler *c = self->cycler;
    if (c->n == 0) return jinja_fail(r, "the cycler has no items");
    *out = c->items[c->next];
    c->next = (c->next + 1) % c->n;
    return QW_OK;
}

METHOD(cycler_reset)
{
    (void)r, (void)args;
    self->cycler->next = 0;
    *out = jinja_none();
    return QW_OK;
}

static const jinja_builtin cycler_methods[] = {
    {"next", "", cycler_next},
    {"reset", "", cycler_reset},
    {NULL, NULL, NULL},
};

const jinja_builtin *jinja_find_method(const jinja_value *v, qw_str name)
{
    switch ((jinja_kind)v->kind) {
    case JINJA_STRING: return jinja_find_builtin(str_methods, name);
    case JINJA_DICT: return jinja_find_builtin(dict_methods, name);
    case JINJA_LIST: return jinja_find_builtin(list_methods, name);
    case JINJA_TUPLE: return jinja_find_builtin(tuple_methods, name);
    case JINJA_LOOP: return jinja_find_builtin(jinja_loop_methods, name);
    case JINJA_CYCLER: return jinja_find_builtin(cycler_methods, name);
    default: return NULL;
    }
}
