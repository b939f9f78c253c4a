// Calls as Qwen3-Coder writes them:
//
//   <tool_call>
//   <function=NAME>
//   <parameter=KEY>
//   value, as it is
//   </parameter>
//   </function>
//   </tool_call>
//
// A value may be anything, also text that looks like a tag: its end is "</parameter>" in front of
// another tag, "</function>" in front of "</tool_call>", or a line that begins with "<parameter=".

#include <math.h>

#include "server/tool_calls_internal.h"

#define TOOL_CALL QW_STR("<tool_call>")
#define END_TOOL_CALL QW_STR("</tool_call>")
#define FUNCTION QW_STR("<function=")
#define END_FUNCTION QW_STR("</function>")
#define PARAMETER QW_STR("<parameter=")
#define END_PARAMETER QW_STR("</parameter>")

enum { OUTSIDE, IN_BLOCK, IN_NAME, IN_BODY, IN_KEY, IN_VALUE };
enum { MAX_NAME = 256 };

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t count_space(qw_str s)
{
    size_t n = 0;
    while (n < s.len && is_space(s.ptr[n])) n++;
    return n;
}

static qw_str behind(qw_str s, size_t n)
{
    return (qw_str){s.ptr + n, s.len - n};
}

// ---- values

static void add_types(const json_t *schema, unsigned *types, int depth);

enum {
    TYPE_NULL = 1,
    TYPE_INTEGER = 2,
    TYPE_NUMBER = 4,
    TYPE_BOOLEAN = 8,
    TYPE_OBJECT = 16,
    TYPE_ARRAY = 32,
    TYPE_STRING = 64
};

static unsigned type_named(const json_t *name)
{
    static const struct {
        const char *name;
        unsigned type;
    } rows[] = {{"null", TYPE_NULL},       {"integer", TYPE_INTEGER}, {"number", TYPE_NUMBER},
                {"boolean", TYPE_BOOLEAN}, {"object", TYPE_OBJECT},   {"array", TYPE_ARRAY},
                {"string", TYPE_STRING},   {"int", TYPE_INTEGER},     {"float", TYPE_NUMBER},
                {"bool", TYPE_BOOLEAN},    {"dict", TYPE_OBJECT},     {"list", TYPE_ARRAY}};
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++)
        if (json_is_string(name) && qw_str_is(qw_json_str(name), rows[i].name)) return rows[i].type;
    return 0;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL: return TYPE_NULL;
    case JSON_INTEGER: return TYPE_INTEGER;
    case JSON_REAL: return TYPE_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE: return TYPE_BOOLEAN;
    case JSON_OBJECT: return TYPE_OBJECT;
    case JSON_ARRAY: return TYPE_ARRAY;
    default: return TYPE_STRING;
    }
}

static void add_types_of(const json_t *list, unsigned *types, int depth)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        add_types(json_array_get(list, i), types, depth);
}

// Which types a schema allows, as far as it says so.
static void add_types(const json_t *schema, unsigned *types, int depth)
{
    static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
    const json_t *type = json_object_get(schema, "type"), *values = json_object_get(schema, "enum");
    if (depth > 8) return;
    *types |= type_named(type);
    for (size_t i = 0; i < json_array_size(type); i++)
        *types |= type_named(json_array_get(type, i));
    for (size_t i = 0; !type && i < json_array_size(values); i++)
        *types |= type_of_value(json_array_get(values, i));
    for (size_t i = 0; i < QW_ARRAY_LEN(unions); i++)
        add_types_of(json_object_get(schema, unions[i]), types, depth + 1);
    if (json_object_get(schema, "properties")) *types |= TYPE_OBJECT;
    if (json_object_get(schema, "items")) *types |= TYPE_ARRAY;
}

static bool is_word(qw_str s, const char *word)
{
    size_t n = strlen(word);
    if (s.len != n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = s.ptr[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (c != word[i]) return false;
    }
    return true;
}

static bool write_number(qw_buf *out, qw_str s, bool integral)
{
    int64_t i;
    double f;
    if (qw_str_to_i64(s, &i)) {
        qw_buf_printf(out, "%" PRId64, i);
        return true;
    }
    if (integral || !qw_str_to_f64(s, &f)) return false;
    if (f == floor(f) && fabs(f) < 1e15)
        qw_buf_printf(out, "%.0f", f);
    else
        qw_json_write_f64(out, f);
    return true;
}

static bool write_nested(qw_buf *out, qw_str s, unsigned types)
{
    qw_error ignored;
    json_t *v = NULL;
    if (qw_json_parse_digits(&v, s.ptr, s.len, "a parameter", &ignored) != QW_OK) return false;
    bool fits =
        (json_is_object(v) && types & TYPE_OBJECT) || (json_is_array(v) && types & TYPE_ARRAY);
    if (fits) qw_json_write(out, v, false);
    json_decref(v);
    return fits;
}

void qw_write_coerced(qw_buf *out, qw_str value, const json_t *schema)
{
    unsigned types = 0;
    qw_str bare = value;
    add_types(schema, &types, 0);
    bare = behind(bare, count_space(bare));
    while (bare.len > 0 && is_space(bare.ptr[bare.len - 1])) bare.len--;
    bool is_null = is_word(bare, "null") || is_word(bare, "none");
    if (is_null && types && (types & TYPE_NULL || !(types & TYPE_STRING))) {
        qw_buf_puts(out, "null");
        return;
    }
    if (types & (TYPE_INTEGER | TYPE_NUMBER) && write_number(out, bare, !(types & TYPE_NUMBER)))
        return;
    if (types & TYPE_BOOLEAN && (is_word(bare, "true") || is_word(bare, "false"))) {
        qw_buf_puts(out, is_word(bare, "true") ? "true" : "false");
        return;
    }
    if (types & (TYPE_OBJECT | TYPE_ARRAY) && write_nested(out, bare, types)) return;
    qw_json_write_string(out, value);
}

static const json_t *schema_of(const qw_tool_calls *p, qw_str function, qw_str key)
{
    for (size_t i = 0; i < json_array_size(p->tools); i++) {
        const json_t *f = json_object_get(json_array_get(p->tools, i), "function");
        const json_t *name = json_object_get(f, "name");
        if (!json_is_string(name) || !qw_str_eq(qw_json_str(name), function)) continue;
        const json_t *properties = json_object_get(json_object_get(f, "parameters"), "properties");
        return json_object_getn(properties, key.ptr, key.len);
    }
    return NULL;
}

// A parameter is complete: `value` still has the newlines around it. Of two with the same name the
// first counts.
static void add_parameter(qw_tool_calls *p, qw_str value)
{
    qw_tool_call *call = qw_calls_open(p);
    qw_str key = {p->parameter.data ? p->parameter.data : "", p->parameter.len};
    qw_str function = {call->name.data, call->name.len};
    if (!p->parameters && !(p->parameters = json_object())) p->failed = QW_ERR_NO_MEMORY;
    if (p->failed != QW_OK || json_object_getn(p->parameters, key.ptr, key.len)) return;
    if (json_object_setn_new(p->parameters, key.ptr, key.len, json_true()) != 0) {
        p->failed = QW_ERR_NO_MEMORY;
        return;
    }
    if (value.len > 0 && value.ptr[0] == '\n') value = behind(value, 1);
    if (value.len > 0 && value.ptr[value.len - 1] == '\n') value.len--;
    qw_buf *out = &call->arguments;
    qw_buf_puts(out, out->len == 0 ? "{" : ", ");
    qw_json_write_string(out, key);
    qw_buf_puts(out, ": ");
    qw_write_coerced(out, value, schema_of(p, function, key));
    qw_calls_watch(p, out);
}

// ---- blocks

static void begin_block(qw_tool_calls *p, int state, qw_str tag)
{
    p->at += tag.len;
    p->state = state;
    qw_buf_append(&p->raw, tag.ptr, tag.len);
    json_decref(p->parameters);
    p->parameters = NULL;
}

static bool step_outside(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    qw_str rest = qw_calls_rest(p);
    size_t block = qw_str_find(rest, TOOL_CALL, 0), function = qw_str_find(rest, FUNCTION, 0);
    size_t n = block < function ? block : function;
    bool found = n != SIZE_MAX;
    if (!found) {
        n = rest.len;
        if (end == QW_TEXT_GOES_ON) {
            size_t a = qw_tag_overlap(rest, TOOL_CALL), b = qw_tag_overlap(rest, FUNCTION);
            n -= a > b ? a : b;
        }
    }
    qw_calls_put_text(p, (qw_str){rest.ptr, n}, content);
    p->at += n;
    if (!found) return false;
    if (block < function)
        begin_block(p, IN_BLOCK, TOOL_CALL);
    else
        begin_block(p, IN_NAME, FUNCTION);
    return true;
}

static bool no_call(qw_tool_calls *p, qw_buf *content)
{
    qw_calls_break(p, content);
    p->state = OUTSIDE;
    return true;
}

static bool step_block(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    qw_str rest = qw_calls_rest(p);
    size_t n = count_space(rest);
    qw_buf_append(&p->raw, rest.ptr, n);
    p->at += n;
    rest = behind(rest, n);
    qw_tag_match m = qw_tag_at(rest, FUNCTION);
    if (m == QW_TAG_PART && end == QW_TEXT_GOES_ON) return false;
    if (m != QW_TAG_YES) return no_call(p, content);
    begin_block(p, IN_NAME, FUNCTION);
    return true;
}

// How long the name at the beginning of `s` is, up to ">". SIZE_MAX: it is none; *whole false: it
// has no end yet.
static size_t name_length(qw_str s, bool *whole)
{
    *whole = false;
    for (size_t i = 0; i < s.len && i <= MAX_NAME; i++) {
        if (s.ptr[i] == '>') {
            *whole = i > 0;
            return i > 0 ? i : SIZE_MAX;
        }
        if (is_space(s.ptr[i]) || strchr("{}<\"'", s.ptr[i])) return SIZE_MAX;
    }
    return s.len > MAX_NAME ? SIZE_MAX : s.len;
}

static bool step_name(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    bool whole;
    qw_str rest = qw_calls_rest(p);
    size_t n = name_length(rest, &whole);
    if (n != SIZE_MAX && !whole && end == QW_TEXT_GOES_ON) return false;
    if (!whole) return no_call(p, content);
    if (!qw_calls_begin(p)) return false;
    qw_calls_name(p, (qw_str){rest.ptr, n});
    p->at += n + 1;
    p->state = IN_BODY;
    return true;
}

static bool end_call(qw_tool_calls *p, size_t n)
{
    p->at += n;
    qw_tool_call *call = qw_calls_open(p);
    if (call->arguments.len > 0) qw_buf_putc(&call->arguments, '}');
    qw_calls_end(p);
    p->state = OUTSIDE;
    return true;
}

static bool step_body(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    p->at += count_space(qw_calls_rest(p));
    qw_str rest = qw_calls_rest(p);
    qw_tag_match parameter = qw_tag_at(rest, PARAMETER), function = qw_tag_at(rest, END_FUNCTION),
                 block = qw_tag_at(rest, END_TOOL_CALL);
    if (parameter == QW_TAG_YES) {
        p->at += PARAMETER.len;
        p->state = IN_KEY;
        return true;
    }
    if (function == QW_TAG_YES) return end_call(p, END_FUNCTION.len);
    if (block == QW_TAG_YES) return end_call(p, END_TOOL_CALL.len);
    bool may_come = parameter == QW_TAG_PART || function == QW_TAG_PART || block == QW_TAG_PART;
    if (may_come && end == QW_TEXT_GOES_ON) return false;
    // The last call may lack its end tags, unless a limit cut it.
    if (rest.len == 0) return end == QW_TEXT_ENDED ? end_call(p, 0) : no_call(p, content);
    p->at++; // stray text between parameters
    return true;
}

static bool step_key(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    bool whole;
    qw_str rest = qw_calls_rest(p);
    size_t n = name_length(rest, &whole);
    if (n != SIZE_MAX && !whole && end == QW_TEXT_GOES_ON) return false;
    if (!whole) return no_call(p, content);
    qw_buf_clear(&p->parameter);
    qw_buf_append(&p->parameter, rest.ptr, n);
    qw_calls_watch(p, &p->parameter);
    p->at += n + 1;
    p->scan_from = 0;
    p->state = IN_VALUE;
    return true;
}

// Whether the tags that may stand at the beginning of `s`, behind white space, do.
static qw_tag_match tags_follow(qw_str s, bool all, qw_text_end end)
{
    s = behind(s, count_space(s));
    if (s.len == 0) return end == QW_TEXT_GOES_ON ? QW_TAG_PART : QW_TAG_YES;
    qw_tag_match m = qw_tag_at(s, END_TOOL_CALL);
    if (all && m == QW_TAG_NO) m = qw_tag_at(s, END_FUNCTION);
    if (all && m == QW_TAG_NO) m = qw_tag_at(s, PARAMETER);
    if (m == QW_TAG_PART && end != QW_TEXT_GOES_ON) return QW_TAG_NO;
    return m;
}

// Look at the "<" or newline at `i` of `s`. YES: the value ends there, *skip bytes of tag follow.
// PART: it depends on what comes.
static qw_tag_match value_ends(qw_str s, size_t i, size_t *skip, qw_text_end end)
{
    qw_str here = behind(s, i);
    *skip = 0;
    if (here.ptr[0] == '\n') {
        qw_tag_match m = qw_tag_at(behind(here, 1), PARAMETER);
        return m == QW_TAG_PART && end != QW_TEXT_GOES_ON ? QW_TAG_NO : m;
    }
    qw_tag_match parameter = qw_tag_at(here, END_PARAMETER),
                 function = qw_tag_at(here, END_FUNCTION);
    if (parameter == QW_TAG_YES) {
        *skip = END_PARAMETER.len;
        return tags_follow(behind(here, END_PARAMETER.len), true, end);
    }
    if (function == QW_TAG_YES) return tags_follow(behind(here, END_FUNCTION.len), false, end);
    bool may_come = parameter == QW_TAG_PART || function == QW_TAG_PART;
    return may_come && end == QW_TEXT_GOES_ON ? QW_TAG_PART : QW_TAG_NO;
}

static bool step_value(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    qw_str rest = qw_calls_rest(p);
    for (size_t i = p->scan_from; i < rest.len; i++) {
        size_t skip;
        if (rest.ptr[i] != '<' && rest.ptr[i] != '\n') continue;
        qw_tag_match m = value_ends(rest, i, &skip, end);
        if (m == QW_TAG_NO) continue;
        p->scan_from = i;
        if (m == QW_TAG_PART) return false;
        add_parameter(p, (qw_str){rest.ptr, i});
        p->at += i + skip;
        p->state = IN_BODY;
        return true;
    }
    p->scan_from = rest.len;
    if (end == QW_TEXT_GOES_ON) return false;
    p->at = p->pending.len;
    return no_call(p, content);
}

bool qw_calls_step_xml(qw_tool_calls *p, qw_text_end end, qw_buf *content)
{
    switch (p->state) {
    case OUTSIDE: return step_outside(p, end, content);
    case IN_BLOCK: return step_block(p, end, content);
    case IN_NAME: return step_name(p, end, content);
    case IN_BODY: return step_body(p, end, content);
    case IN_KEY: return step_key(p, end, content);
    default: return step_value(p, end, content);
    }
}
