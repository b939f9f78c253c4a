// The tests of "is".

#include "format/jinja_internal.h"
#include "format/jinja_text.h"

#define TEST(name)                                                                                 \
    static qw_status name(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,  \
                          qw_jinja_value *out)

static qw_status give(qw_jinja_value *out, bool holds)
{
    *out = qw_jinja_bool(holds);
    return QW_OK;
}

#define SIMPLE_TEST(name, condition)                                                               \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)r, (void)args;                                                                       \
        const qw_jinja_value *v = self;                                                            \
        return give(out, condition);                                                               \
    }

SIMPLE_TEST(is_defined, v->kind != QW_JINJA_UNDEFINED)
SIMPLE_TEST(is_undefined, v->kind == QW_JINJA_UNDEFINED)
SIMPLE_TEST(is_none, v->kind == QW_JINJA_NONE)
SIMPLE_TEST(is_boolean, v->kind == QW_JINJA_BOOL)
SIMPLE_TEST(is_true, v->kind == QW_JINJA_BOOL && v->boolean)
SIMPLE_TEST(is_false, v->kind == QW_JINJA_BOOL && !v->boolean)
SIMPLE_TEST(is_string, v->kind == QW_JINJA_STRING)
SIMPLE_TEST(is_number, qw_jinja_is_number(v) || v->kind == QW_JINJA_BIGINT)
SIMPLE_TEST(is_integer, v->kind == QW_JINJA_INT || v->kind == QW_JINJA_BIGINT)
SIMPLE_TEST(is_float, v->kind == QW_JINJA_FLOAT)
SIMPLE_TEST(is_mapping, v->kind == QW_JINJA_DICT)
SIMPLE_TEST(is_iterable, qw_jinja_is_iterable(v))
// What has a length and items by index; an undefined value counts, as in Jinja.
SIMPLE_TEST(is_sequence, v->kind == QW_JINJA_UNDEFINED || v->kind == QW_JINJA_STRING ||
                             v->kind == QW_JINJA_LIST || v->kind == QW_JINJA_TUPLE ||
                             v->kind == QW_JINJA_RANGE || v->kind == QW_JINJA_DICT ||
                             v->kind == QW_JINJA_BYTES)
SIMPLE_TEST(is_callable, v->kind == QW_JINJA_FUNCTION || v->kind == QW_JINJA_METHOD ||
                             v->kind == QW_JINJA_MACRO || v->kind == QW_JINJA_LOOP ||
                             v->kind == QW_JINJA_JOINER || v->kind == QW_JINJA_UNDEFINED)

static qw_status modulo(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *by,
                        int64_t want, qw_jinja_value *out)
{
    qw_jinja_value rest, expected = qw_jinja_int(want);
    bool same;
    QW_JINJA_TRY(qw_jinja_arithmetic(r, '%', v, by, &rest));
    QW_JINJA_TRY(qw_jinja_equal(r, &rest, &expected, &same));
    return give(out, same);
}

TEST(is_even)
{
    (void)args;
    qw_jinja_value two = qw_jinja_int(2);
    return modulo(r, self, &two, 0, out);
}

TEST(is_odd)
{
    (void)args;
    qw_jinja_value two = qw_jinja_int(2);
    return modulo(r, self, &two, 1, out);
}

TEST(is_divisibleby)
{
    return modulo(r, self, &args->v[0], 0, out);
}

TEST(is_eq)
{
    bool same;
    QW_JINJA_TRY(qw_jinja_equal(r, self, &args->v[0], &same));
    return give(out, same);
}

TEST(is_ne)
{
    bool same;
    QW_JINJA_TRY(qw_jinja_equal(r, self, &args->v[0], &same));
    return give(out, !same);
}

static qw_status order(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                       const char *op, qw_jinja_value *out)
{
    int result = 0;
    bool unordered = false;
    QW_JINJA_TRY(qw_jinja_order(r, a, b, op, &result, &unordered));
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
    QW_JINJA_TRY(qw_jinja_contains(r, &args->v[0], self, &found));
    return give(out, found);
}

// Identity: scalars by type and value, containers by being the same object.
TEST(is_sameas)
{
    const qw_jinja_value *a = self, *b = &args->v[0];
    bool same = a->kind == b->kind;
    if (!same) return give(out, false);
    switch ((qw_jinja_kind)a->kind) {
    case QW_JINJA_BOOL:
    case QW_JINJA_INT:
    case QW_JINJA_FLOAT:
    case QW_JINJA_STRING:
    case QW_JINJA_BIGINT:
    case QW_JINJA_BYTES:
    case QW_JINJA_NONE:
    case QW_JINJA_UNDEFINED: QW_JINJA_TRY(qw_jinja_equal(r, a, b, &same)); break;
    default: same = a->list == b->list; break; // all others are pointers
    }
    return give(out, same);
}

static qw_status has_case(qw_jinja_run *r, const qw_jinja_value *v, const char *method,
                          qw_jinja_value *out)
{
    qw_jinja_value text;
    text.kind = QW_JINJA_STRING;
    QW_JINJA_TRY(qw_jinja_to_str(r, v, &text.str));
    const qw_jinja_builtin *b = qw_jinja_find_method(&text, qw_str_of(method));
    return b->fn(r, &text, &(qw_jinja_args){0}, out);
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
    QW_JINJA_TRY(qw_jinja_arg_str(r, self, "a filter's name", &name));
    return give(out, qw_jinja_find_filter(name) != NULL);
}

TEST(is_test)
{
    (void)args;
    qw_str name = {"", 0};
    QW_JINJA_TRY(qw_jinja_arg_str(r, self, "a test's name", &name));
    return give(out, qw_jinja_find_test(name) != NULL);
}

TEST(is_escaped)
{
    (void)r, (void)self, (void)args;
    return give(out, false); // there is no marked-up text here
}

static const qw_jinja_builtin tests[] = {
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

const qw_jinja_builtin *qw_jinja_find_test(qw_str name)
{
    return qw_jinja_find_builtin(tests, name);
}

qw_status qw_jinja_run_test(qw_jinja_run *r, const qw_jinja_builtin *test, const qw_jinja_value *v,
                            const qw_jinja_args *args, bool *out)
{
    qw_jinja_value result;
    QW_JINJA_TRY(qw_jinja_call_builtin(r, test, v, args, &result));
    *out = qw_jinja_truth(&result);
    return QW_OK;
}
