// The tests of "is".

#include "format/jinja_internal.h"
#include "format/jinja_text.h"

#define TEST(name)                                                                                 \
    static qw_status name(jinja_run *r, const jinja_value *self, const jinja_args *args,           \
                          jinja_value *out)

static qw_status give(jinja_value *out, bool holds)
{
    *out = jinja_bool(holds);
    return QW_OK;
}

#define SIMPLE_TEST(name, condition)                                                               \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)r, (void)args;                                                                       \
        const jinja_value *v = self;                                                               \
        return give(out, condition);                                                               \
    }

SIMPLE_TEST(is_defined, v->kind != JINJA_UNDEFINED)
SIMPLE_TEST(is_undefined, v->kind == JINJA_UNDEFINED)
SIMPLE_TEST(is_none, v->kind == JINJA_NONE)
SIMPLE_TEST(is_boolean, v->kind == JINJA_BOOL)
SIMPLE_TEST(is_true, v->kind == JINJA_BOOL && v->boolean)
SIMPLE_TEST(is_false, v->kind == JINJA_BOOL && !v->boolean)
SIMPLE_TEST(is_string, v->kind == JINJA_STRING)
SIMPLE_TEST(is_number, jinja_is_number(v) || v->kind == JINJA_BIGINT)
SIMPLE_TEST(is_integer, v->kind == JINJA_INT || v->kind == JINJA_BIGINT)
SIMPLE_TEST(is_float, v->kind == JINJA_FLOAT)
SIMPLE_TEST(is_mapping, v->kind == JINJA_DICT)
SIMPLE_TEST(is_iterable, jinja_is_iterable(v))
// What has a length and items by index; an undefined value counts, as in Jinja.
SIMPLE_TEST(is_sequence, v->kind == JINJA_UNDEFINED || v->kind == JINJA_STRING ||
                             v->kind == JINJA_LIST || v->kind == JINJA_TUPLE ||
                             v->kind == JINJA_RANGE || v->kind == JINJA_DICT ||
                             v->kind == JINJA_BYTES)
SIMPLE_TEST(is_callable, v->kind == JINJA_FUNCTION || v->kind == JINJA_METHOD ||
                             v->kind == JINJA_MACRO || v->kind == JINJA_LOOP ||
                             v->kind == JINJA_JOINER || v->kind == JINJA_UNDEFINED)

static qw_status modulo(jinja_run *r, const jinja_value *v, const jinja_value *by, int64_t want,
                        jinja_value *out)
{
    jinja_value rest, expected = jinja_int(want);
    bool same;
    JINJA_TRY(jinja_arithmetic(r, '%', v, by, &rest));
    JINJA_TRY(jinja_equal(r, &rest, &expected, &same));
    return give(out, same);
}

TEST(is_even)
{
    (void)args;
    jinja_value two = jinja_int(2);
    return modulo(r, self, &two, 0, out);
}

TEST(is_odd)
{
    (void)args;
    jinja_value two = jinja_int(2);
    return modulo(r, self, &two, 1, out);
}

TEST(is_divisibleby)
{
    return modulo(r, self, &args->v[0], 0, out);
}

TEST(is_eq)
{
    bool same;
    JINJA_TRY(jinja_equal(r, self, &args->v[0], &same));
    return give(out, same);
}

TEST(is_ne)
{
    bool same;
    JINJA_TRY(jinja_equal(r, self, &args->v[0], &same));
    return give(out, !same);
}

static qw_status order(jinja_run *r, const jinja_value *a, const jinja_value *b, const char *op,
                       jinja_value *out)
{
    int result = 0;
    bool unordered = false;
    JINJA_TRY(jinja_order(r, a, b, op, &result, &unordered));
    bool holds = op[0] == '<' ? result < 0 : result > 0;
    if (op[1] == '=') holds = holds || result == 0;
    return give(out, holds && !unordered);
}

TEST(is_lt)
{
    return order(r, self, &args->v[0], "<", out);
}

TEST(is_le)
{
    return order(r, self, &args->v[0], "<=", out);
}

TEST(is_gt)
{
    return order(r, self, &args->v[0], ">", out);
}

TEST(is_ge)
{
    return order(r, self, &args->v[0], ">=", out);
}

TEST(is_in)
{
    bool found;
    JINJA_TRY(jinja_contains(r, &args->v[0], self, &found));
    return give(out, found);
}

// Identity: scalars by type and value, containers by being the same object.
TEST(is_sameas)
{
    const jinja_value *a = self, *b = &args->v[0];
    bool same = a->kind == b->kind;
    if (!same) return give(out, false);
    switch ((jinja_kind)a->kind) {
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
    case JINJA_STRING:
    case JINJA_BIGINT:
    case JINJA_BYTES:
    case JINJA_NONE:
    case JINJA_UNDEFINED: JINJA_TRY(jinja_equal(r, a, b, &same)); break;
    default: same = a->list == b->list; break; // all others are pointers
    }
    return give(out, same);
}

static qw_status has_case(jinja_run *r, const jinja_value *v, const char *method, jinja_value *out)
{
    jinja_value text;
    text.kind = JINJA_STRING;
    JINJA_TRY(jinja_to_str(r, v, &text.str));
    const jinja_builtin *b = jinja_find_method(&text, qw_str_of(method));
    return b->fn(r, &text, &(jinja_args){0}, out);
}

TEST(is_lower)
{
    (void)args;
    return has_case(r, self, "islower", out);
}

TEST(is_upper)
{
    (void)args;
    return has_case(r, self, "isupper", out);
}

TEST(is_filter)
{
    (void)args;
    qw_str name = {"", 0};
    JINJA_TRY(jinja_arg_str(r, self, "a filter's name", &name));
    return give(out, jinja_find_filter(name) != NULL);
}

TEST(is_test)
{
    (void)args;
    qw_str name = {"", 0};
    JINJA_TRY(jinja_arg_str(r, self, "a test's name", &name));
    return give(out, jinja_find_test(name) != NULL);
}

TEST(is_escaped)
{
    (void)r, (void)self, (void)args;
    return give(out, false); // there is no marked-up text here
}

static const jinja_builtin tests[] = {
    {"defined", "", is_defined},
    {"undefined", "", is_undefined},
    {"none", "", is_none},
    {"boolean", "", is_boolean},
    {"true", "", is_true},
    {"false", "", is_false},
    {"string", "", is_string},
    {"number", "", is_number},
    {"integer", "", is_integer},
    {"float", "", is_float},
    {"mapping", "", is_mapping},
    {"iterable", "", is_iterable},
    {"sequence", "", is_sequence},
    {"callable", "", is_callable},
    {"even", "", is_even},
    {"odd", "", is_odd},
    {"divisibleby", "num", is_divisibleby},
    {"eq", "other", is_eq},
    {"equalto", "other", is_eq},
    {"==", "other", is_eq},
    {"ne", "other", is_ne},
    {"!=", "other", is_ne},
    {"lt", "other", is_lt},
    {"lessthan", "other", is_lt},
    {"<", "other", is_lt},
    {"le", "other", is_le},
    {"<=", "other", is_le},
    {"gt", "other", is_gt},
    {"greaterthan", "other", is_gt},
    {">", "other", is_gt},
    {"ge", "other", is_ge},
    {">=", "other", is_ge},
    {"in", "seq", is_in},
    {"sameas", "other", is_sameas},
    {"lower", "", is_lower},
    {"upper", "", is_upper},
    {"filter", "", is_filter},
    {"test", "", is_test},
    {"escaped", "", is_escaped},
    {NULL, NULL, NULL},
};

const jinja_builtin *jinja_find_test(qw_str name)
{
    return jinja_find_builtin(tests, name);
}

qw_status jinja_run_test(jinja_run *r, const jinja_builtin *test, const jinja_value *v,
                         const jinja_args *args, bool *out)
{
    jinja_value result;
    JINJA_TRY(jinja_call_builtin(r, test, v, args, &result));
    *out = jinja_truth(&result);
    return QW_OK;
}
