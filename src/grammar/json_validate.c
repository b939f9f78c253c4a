// Whether a value satisfies a schema, for enums, and whether two schemas exclude each other.

#include "grammar/json_schema_internal.h"

bool qw_json_same(const json_t *a, const json_t *b)
{
    if (qw_json_is_any_number(a) && qw_json_is_any_number(b)) {
        if (json_is_integer(a) && json_is_integer(b))
            return json_integer_value(a) == json_integer_value(b);
        if (qw_json_is_big_integer(a) || qw_json_is_big_integer(b)) return json_equal(a, b);
        return json_number_value(a) == json_number_value(b);
    }
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++)
            same = qw_json_same(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (json_is_object(a)) {
        const char *key;
        size_t len;
        json_t *v;
        bool same = json_object_size(a) == json_object_size(b);
        json_object_keylen_foreach((json_t *)(uintptr_t)a, key, len, v)
        {
            const json_t *other = json_object_getn(b, key, len);
            same = same && other && qw_json_same(v, other);
        }
        return same;
    }
    return json_equal(a, b);
}

static unsigned type_of(const json_t *v)
{
    if (qw_json_is_big_integer(v) || json_is_integer(v)) return QW_JSON_INTEGER;
    if (json_is_real(v)) {
        double d = json_real_value(v);
        return d == (double)(int64_t)d ? QW_JSON_INTEGER : QW_JSON_FRACTION;
    }
    if (json_is_string(v)) return QW_JSON_STRING;
    if (json_is_array(v)) return QW_JSON_ARRAY;
    if (json_is_object(v)) return QW_JSON_OBJECT;
    return json_is_null(v) ? QW_JSON_NULL : QW_JSON_BOOLEAN;
}

static bool is_listed(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *c = json_object_get(leaf->parts[i], "const");
        const json_t *e = json_object_get(leaf->parts[i], "enum");
        if (c && !qw_json_same(c, value)) return false;
        if (!qw_pda_spend(s->p, json_array_size(e))) return false;
        bool found = !json_is_array(e);
        for (size_t k = 0; !found && k < json_array_size(e); k++)
            found = qw_json_same(json_array_get(e, k), value);
        if (!found) return false;
    }
    return true;
}

static bool number_holds(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    qw_number_bounds b = qw_schema_bounds(s, leaf);
    qw_decimal d;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *v = json_object_get(leaf->parts[i], "multipleOf");
        if (v && !(json_is_number(v) && json_number_value(v) == 1))
            qw_schema_refuse(s, "multipleOf", NULL);
        if (v && type_of(value) != QW_JSON_INTEGER) return false;
    }
    return (!b.has_min && !b.has_max) ||
           (qw_json_decimal(s, value, &d) && qw_decimal_in_bounds(&d, &b));
}

static bool conj_holds(qw_schema *s, const qw_conj *c, const json_t *value)
{
    if (c->never || !qw_pda_spend(s->p, 1)) return false;
    if (c->n == 0) return true;
    if (s->depth >= QW_SCHEMA_MAX_DEPTH) {
        qw_pda_fail(s->p, QW_ERR_USAGE, "the JSON schema has values nested too deeply");
        return false;
    }
    s->depth++;
    qw_leaves l = qw_schema_leaves(s, c);
    bool holds = false;
    for (size_t i = 0; i < l.n && !holds && qw_pda_ok(s->p); i++)
        holds = qw_schema_valid_leaf(s, &l.leaves[i], value);
    s->depth--;
    return holds && qw_pda_ok(s->p);
}

static bool count_holds(qw_schema *s, const qw_conj *leaf, const char *min, const char *max,
                        size_t n)
{
    int64_t least = qw_schema_most(s, leaf, min), most = qw_schema_least(s, leaf, max);
    return (int64_t)n >= least && (most < 0 || (int64_t)n <= most);
}

static bool array_holds(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    for (size_t i = 0; i < leaf->n; i++) {
        if (json_object_get(leaf->parts[i], "contains")) qw_schema_refuse(s, "contains", NULL);
        if (json_is_true(json_object_get(leaf->parts[i], "uniqueItems")))
            for (size_t k = 0; k < json_array_size(value); k++)
                for (size_t j = 0; j < k; j++)
                    if (qw_json_same(json_array_get(value, k), json_array_get(value, j)))
                        return false;
    }
    if (!count_holds(s, leaf, "minItems", "maxItems", json_array_size(value))) return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        qw_conj c = {0};
        qw_schema_item(s, leaf, i, &c);
        if (!conj_holds(s, &c, json_array_get(value, i))) return false;
    }
    return true;
}

static bool object_holds(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    const char *key;
    size_t len;
    json_t *v;
    if (!count_holds(s, leaf, "minProperties", "maxProperties", json_object_size(value)))
        return false;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *required = json_object_get(leaf->parts[i], "required");
        for (size_t k = 0; k < json_array_size(required); k++) {
            const json_t *name = json_array_get(required, k);
            if (qw_json_is_text(name) &&
                !json_object_getn(value, json_string_value(name), json_string_length(name)))
                return false;
        }
    }
    json_object_keylen_foreach((json_t *)(uintptr_t)value, key, len, v)
    {
        qw_conj c = {0};
        qw_schema_member(s, leaf, (qw_str){key, len}, &c);
        if (!conj_holds(s, &c, v)) return false;
    }
    return true;
}

bool qw_schema_valid_leaf(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    return is_listed(s, leaf, value) && qw_schema_valid_unlisted(s, leaf, value);
}

bool qw_schema_valid_unlisted(qw_schema *s, const qw_conj *leaf, const json_t *value)
{
    unsigned type = type_of(value);
    if (!(qw_schema_types(s, leaf) & type)) return false;
    if (type & (QW_JSON_INTEGER | QW_JSON_FRACTION)) return number_holds(s, leaf, value);
    if (type == QW_JSON_ARRAY) return array_holds(s, leaf, value);
    if (type == QW_JSON_OBJECT) return object_holds(s, leaf, value);
    if (type != QW_JSON_STRING) return qw_pda_ok(s->p);
    bool is_any;
    qw_char_dfa d = qw_schema_string_dfa(s, leaf, &is_any);
    return qw_pda_ok(s->p) && (is_any || qw_dfa_matches(&d, qw_json_str(value)));
}

bool qw_schema_valid(qw_schema *s, const json_t *schema, const json_t *value)
{
    qw_conj c = {0};
    qw_conj_add(s, &c, schema);
    return conj_holds(s, &c, value);
}

// ---- disjoint

// The values a leaf lists: all of them satisfy it or not. NULL: it lists none.
static const json_t *list_of(const qw_conj *leaf, bool *is_const)
{
    const json_t *list = NULL;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *c = json_object_get(leaf->parts[i], "const");
        *is_const = c != NULL;
        if (c) return c;
        const json_t *e = json_object_get(leaf->parts[i], "enum");
        if (json_is_array(e)) list = e;
    }
    return list;
}

// True if no value that `a` lists satisfies both.
static bool listed_apart(qw_schema *s, const json_t *list, bool is_const, const qw_conj *a,
                         const qw_conj *b)
{
    size_t n = is_const ? 1 : json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = is_const ? list : json_array_get(list, i);
        if (qw_schema_valid_leaf(s, a, v) && qw_schema_valid_leaf(s, b, v)) return false;
    }
    return qw_pda_ok(s->p);
}

static bool numbers_apart(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    qw_number_bounds x = qw_schema_bounds(s, a), y = qw_schema_bounds(s, b);
    for (int turn = 0; turn < 2; turn++) {
        if (x.has_max && y.has_min) {
            int order = qw_decimal_compare(&x.max, &y.min);
            if (order < 0 || (order == 0 && (x.open_max || y.open_min))) return true;
        }
        qw_number_bounds t = x;
        x = y;
        y = t;
    }
    return false;
}

static bool strings_apart(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    bool any_a, any_b;
    qw_char_dfa x = qw_schema_string_dfa(s, a, &any_a), y = qw_schema_string_dfa(s, b, &any_b);
    if (any_a || any_b) return (!any_a && qw_dfa_is_empty(&x)) || (!any_b && qw_dfa_is_empty(&y));
    qw_char_dfa both = qw_dfa_join_of(s->g, &x, &y, QW_DFA_AND);
    return qw_pda_ok(s->p) && qw_dfa_is_empty(&both);
}

static bool arrays_apart(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    int64_t min_a = qw_schema_most(s, a, "minItems"), max_a = qw_schema_least(s, a, "maxItems");
    int64_t min_b = qw_schema_most(s, b, "minItems"), max_b = qw_schema_least(s, b, "maxItems");
    if ((max_a >= 0 && max_a < min_b) || (max_b >= 0 && max_b < min_a)) return true;
    int64_t sure = min_a > min_b ? min_a : min_b; // items that both have
    for (int64_t i = 0; i < sure && i < 16; i++) {
        qw_conj x = {0}, y = {0};
        qw_schema_item(s, a, (size_t)i, &x);
        qw_schema_item(s, b, (size_t)i, &y);
        if (qw_schema_disjoint(s, &x, &y)) return true;
    }
    return false;
}

static bool objects_apart(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    // A member that one of them requires, with schemas that exclude each other: a constant, mostly.
    // It tells them apart if both require it, or if the other one forbids it whatever it is.
    for (int turn = 0; turn < 2; turn++) {
        const qw_conj *from = turn ? b : a, *other = turn ? a : b;
        for (size_t i = 0; i < from->n; i++) {
            const json_t *required = json_object_get(from->parts[i], "required");
            for (size_t k = 0; k < json_array_size(required); k++) {
                const json_t *name = json_array_get(required, k);
                if (!qw_json_is_text(name)) continue;
                qw_conj x = {0}, y = {0};
                qw_schema_member(s, from, qw_json_str(name), &x);
                qw_schema_member(s, other, qw_json_str(name), &y);
                if (x.never || y.never || qw_schema_disjoint(s, &x, &y)) return true;
            }
        }
    }
    return false;
}

static bool leaves_apart(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    unsigned types = qw_schema_types(s, a) & qw_schema_types(s, b);
    if (types == 0) return true;
    bool is_const;
    const json_t *list = list_of(a, &is_const);
    if (list) return listed_apart(s, list, is_const, a, b);
    list = list_of(b, &is_const);
    if (list) return listed_apart(s, list, is_const, b, a);
    if (types & (QW_JSON_NULL | QW_JSON_BOOLEAN)) return false;
    if (types & (QW_JSON_INTEGER | QW_JSON_FRACTION) && !numbers_apart(s, a, b)) return false;
    if (types & QW_JSON_STRING && !strings_apart(s, a, b)) return false;
    if (types & QW_JSON_ARRAY && !arrays_apart(s, a, b)) return false;
    if (types & QW_JSON_OBJECT && !objects_apart(s, a, b)) return false;
    return true;
}

bool qw_schema_disjoint(qw_schema *s, const qw_conj *a, const qw_conj *b)
{
    if (a->never || b->never) return true;
    if (s->depth >= 20 || !qw_pda_spend(s->p, 1)) return false;
    s->depth++;
    qw_leaves x = qw_schema_leaves(s, a), y = qw_schema_leaves(s, b);
    bool apart = true;
    for (size_t i = 0; i < x.n && apart; i++)
        for (size_t k = 0; k < y.n && apart; k++)
            apart = leaves_apart(s, &x.leaves[i], &y.leaves[k]);
    s->depth--;
    return apart && qw_pda_ok(s->p);
}
