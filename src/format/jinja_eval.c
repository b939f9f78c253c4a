// Expressions to values.

#include "format/jinja_internal.h"

qw_status jinja_lookup(jinja_run *r, int32_t name, jinja_value *out)
{
    for (const jinja_scope *s = r->scope; s; s = s->parent) {
        JINJA_TRY(jinja_step(r, s->n / 16));
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->vars[i].name != name) continue;
            *out = s->vars[i].value;
            return QW_OK;
        }
    }
    jinja_value *cached = &r->context_cache[name];
    if (cached->kind == JINJA_ABSENT) {
        qw_str text = r->tmpl->names[name];
        const json_t *json = json_object_getn(r->context, text.ptr, text.len);
        const jinja_builtin *global = json ? NULL : jinja_find_global(text);
        if (json)
            JINJA_TRY(jinja_from_json(r, json, cached));
        else if (global)
            *cached = (jinja_value){.kind = JINJA_FUNCTION, .builtin = global};
        else
            *cached =
                (jinja_value){.kind = JINJA_UNDEFINED, .missing = JINJA_MISSING_NAME, .str = text};
    }
    *out = *cached;
    return QW_OK;
}

// ---- literals

static JINJA_OWN_FRAME qw_status eval_list(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_list *list = jinja_list_new(r, e->n);
    if (!list) return r->failed;
    for (const jinja_expr *item = e->first; item; item = item->next) {
        JINJA_TRY(jinja_eval(r, item, &list->items[list->n]));
        list->n++;
    }
    *out = jinja_sequence(e->type == JINJA_EXPR_LIST ? JINJA_LIST : JINJA_TUPLE, list);
    return QW_OK;
}

static JINJA_OWN_FRAME qw_status eval_dict(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_dict *d = jinja_dict_new(r);
    if (!d) return r->failed;
    for (const jinja_expr *item = e->first; item; item = item->next->next) {
        jinja_value key, value;
        JINJA_TRY(jinja_eval(r, item, &key));
        JINJA_TRY(jinja_eval(r, item->next, &value));
        JINJA_TRY(jinja_dict_put(r, d, &key, &value));
    }
    *out = (jinja_value){.kind = JINJA_DICT, .dict = d};
    return QW_OK;
}

// ---- operators

static JINJA_OWN_FRAME qw_status eval_arithmetic(jinja_run *r, const jinja_expr *e,
                                                 jinja_value *out)
{
    jinja_value a, b;
    JINJA_TRY(jinja_eval(r, e->a, &a));
    JINJA_TRY(jinja_eval(r, e->b, &b));
    return jinja_arithmetic(r, e->op, &a, &b, out);
}

static JINJA_OWN_FRAME qw_status eval_concat(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    qw_str text = {"", 0}, part;
    for (const jinja_expr *item = e->first; item; item = item->next) {
        jinja_value v;
        JINJA_TRY(jinja_eval(r, item, &v));
        JINJA_TRY(jinja_to_str(r, &v, &part));
        JINJA_TRY(jinja_concat(r, text, part, &text));
    }
    *out = jinja_string(text);
    return QW_OK;
}

static qw_status compare(jinja_run *r, jinja_compare op, const jinja_value *a, const jinja_value *b,
                         bool *out)
{
    static const char *const names[] = {
        [JINJA_LT] = "<", [JINJA_LE] = "<=", [JINJA_GT] = ">", [JINJA_GE] = ">="};
    if (op == JINJA_EQ || op == JINJA_NE) {
        JINJA_TRY(jinja_equal(r, a, b, out));
        *out = *out == (op == JINJA_EQ);
        return QW_OK;
    }
    if (op == JINJA_IN || op == JINJA_NOT_IN) {
        JINJA_TRY(jinja_contains(r, b, a, out));
        *out = *out == (op == JINJA_IN);
        return QW_OK;
    }
    int order = 0;
    bool unordered = false;
    JINJA_TRY(jinja_order(r, a, b, names[op], &order, &unordered));
    *out = !unordered && ((op == JINJA_LT && order < 0) || (op == JINJA_LE && order <= 0) ||
                          (op == JINJA_GT && order > 0) || (op == JINJA_GE && order >= 0));
    return QW_OK;
}

// a < b < c is a < b and b < c, with b evaluated once.
static JINJA_OWN_FRAME qw_status eval_compare(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value left, right;
    bool holds = true;
    JINJA_TRY(jinja_eval(r, e->first, &left));
    for (const jinja_expr *item = e->first->next; item && holds; item = item->next) {
        JINJA_TRY(jinja_eval(r, item, &right));
        JINJA_TRY(compare(r, (jinja_compare)item->compare, &left, &right, &holds));
        left = right;
    }
    *out = jinja_bool(holds);
    return QW_OK;
}

static JINJA_OWN_FRAME qw_status eval_sign(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    if (v.kind == JINJA_UNDEFINED) return jinja_fail_undefined(r, &v);
    bool negate = e->type == JINJA_EXPR_NEGATE;
    if (v.kind == JINJA_FLOAT) {
        *out = jinja_float(negate ? -v.real : v.real);
        return QW_OK;
    }
    if (!jinja_is_integral(&v))
        return jinja_fail(r, "bad operand type for unary %c: '%s'", negate ? '-' : '+',
                          jinja_type_name(&v));
    int64_t i = jinja_as_int(&v);
    if (negate && __builtin_sub_overflow((int64_t)0, i, &i))
        return jinja_fail(r, "the result of integer arithmetic does not fit in 64 bits");
    *out = jinja_int(i);
    return QW_OK;
}

static qw_status truth(jinja_run *r, const jinja_value *v, bool *out)
{
    if (v->kind == JINJA_UNDEFINED && v->missing == JINJA_MISSING_UNSAFE)
        return jinja_fail_undefined(r, v);
    *out = jinja_truth(v);
    return QW_OK;
}

// `and`, `or`, `not` and the inline if.
static JINJA_OWN_FRAME qw_status eval_logic(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v;
    bool holds = false;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    JINJA_TRY(truth(r, &v, &holds));
    switch ((jinja_expr_type)e->type) {
    case JINJA_EXPR_NOT: *out = jinja_bool(!holds); return QW_OK;
    case JINJA_EXPR_AND:
    case JINJA_EXPR_OR:
        if (holds == (e->type == JINJA_EXPR_AND)) return jinja_eval(r, e->b, out);
        *out = v;
        return QW_OK;
    default: break;
    }
    if (holds) return jinja_eval(r, e->b, out);
    if (e->c) return jinja_eval(r, e->c, out);
    *out = jinja_hint("the inline if-expression evaluated to false and has no else part");
    return QW_OK;
}

// ---- access

static JINJA_OWN_FRAME qw_status eval_attr(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    return jinja_get_attr(r, &v, e->text, out);
}

static JINJA_OWN_FRAME qw_status eval_item(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v, key;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    JINJA_TRY(jinja_eval(r, e->b, &key));
    return jinja_get_item(r, &v, &key, out);
}

static JINJA_OWN_FRAME qw_status eval_slice(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v, start, stop, step;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    JINJA_TRY(jinja_eval(r, e->first, &start));
    JINJA_TRY(jinja_eval(r, e->first->next, &stop));
    JINJA_TRY(jinja_eval(r, e->first->next->next, &step));
    return jinja_get_slice(r, &v, &start, &stop, &step, out);
}

// ---- calls, filters, tests

static qw_status add_positional(jinja_run *r, const jinja_expr *e, jinja_list *pos)
{
    for (const jinja_expr *arg = e->first; arg; arg = arg->next) {
        jinja_value v;
        JINJA_TRY(jinja_eval(r, arg, &v));
        if (!arg->star) {
            JINJA_TRY(jinja_list_push(r, pos, &v));
            continue;
        }
        const jinja_value *items;
        size_t n;
        JINJA_TRY(jinja_iterate(r, &v, &items, &n));
        for (size_t i = 0; i < n; i++) JINJA_TRY(jinja_list_push(r, pos, &items[i]));
    }
    return QW_OK;
}

static qw_status add_keyword(jinja_run *r, jinja_dict *kw, qw_str name, const jinja_value *v)
{
    jinja_value key = jinja_string(name);
    const jinja_value *before;
    JINJA_TRY(jinja_dict_find(r, kw, &key, &before));
    if (before)
        return jinja_fail(r, "the keyword argument '%.*s' is given twice", (int)name.len, name.ptr);
    return jinja_dict_put(r, kw, &key, v);
}

static qw_status add_keywords(jinja_run *r, const jinja_expr *e, jinja_dict *kw)
{
    for (const jinja_expr *arg = e->keywords; arg; arg = arg->next) {
        jinja_value v;
        JINJA_TRY(jinja_eval(r, arg, &v));
        if (!arg->star) {
            JINJA_TRY(add_keyword(r, kw, arg->keyword, &v));
            continue;
        }
        if (v.kind != JINJA_DICT)
            return jinja_fail(r, "argument after ** must be a mapping, not %s",
                              jinja_type_name(&v));
        const jinja_entry *entries;
        size_t n;
        JINJA_TRY(jinja_entries(r, v.dict, &entries, &n));
        for (size_t i = 0; i < n; i++) {
            if (entries[i].key.kind != JINJA_STRING)
                return jinja_fail(r, "keywords must be strings");
            JINJA_TRY(add_keyword(r, kw, entries[i].key.str, &entries[i].value));
        }
    }
    return QW_OK;
}

// The arguments of a call, filter or test, evaluated.
static JINJA_OWN_FRAME qw_status eval_args(jinja_run *r, const jinja_expr *e,
                                           const jinja_value *caller, jinja_args *out)
{
    *out = (jinja_args){0};
    if (e->first) {
        jinja_list *pos = jinja_list_new(r, e->n);
        if (!pos) return r->failed;
        JINJA_TRY(add_positional(r, e, pos));
        out->pos = pos->items;
        out->n_pos = pos->n;
    }
    if (!e->keywords && !caller) return QW_OK;
    jinja_dict *kw = jinja_dict_new(r);
    if (!kw) return r->failed;
    JINJA_TRY(add_keywords(r, e, kw));
    if (caller) JINJA_TRY(add_keyword(r, kw, QW_STR("caller"), caller));
    jinja_keyword *keywords = jinja_alloc(r, kw->n, sizeof *keywords);
    if (!keywords) return r->failed;
    for (uint32_t i = 0; i < kw->n; i++)
        keywords[i] = (jinja_keyword){kw->entries[i].key.str, kw->entries[i].value};
    out->kw = keywords;
    out->n_kw = kw->n;
    return QW_OK;
}

JINJA_OWN_FRAME qw_status jinja_eval_call(jinja_run *r, const jinja_expr *e,
                                          const jinja_value *caller, jinja_value *out)
{
    jinja_value callee;
    jinja_args args;
    JINJA_TRY(jinja_eval(r, e->a, &callee));
    JINJA_TRY(eval_args(r, e, caller, &args));
    r->line = e->line;
    return jinja_call(r, &callee, &args, out);
}

static JINJA_OWN_FRAME qw_status apply_filter(jinja_run *r, const jinja_expr *e,
                                              const jinja_value *input, jinja_value *out)
{
    jinja_args args;
    if (!e->builtin)
        return jinja_fail(r, "there is no filter named '%.*s'", (int)e->text.len, e->text.ptr);
    JINJA_TRY(eval_args(r, e, NULL, &args));
    r->line = e->line;
    return jinja_call_builtin(r, e->builtin, input, &args, out);
}

static JINJA_OWN_FRAME qw_status eval_filter(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value input;
    JINJA_TRY(jinja_eval(r, e->a, &input));
    return apply_filter(r, e, &input, out);
}

JINJA_OWN_FRAME qw_status jinja_eval_filters(jinja_run *r, const jinja_expr *e,
                                             const jinja_value *text, jinja_value *out)
{
    jinja_value input = *text;
    JINJA_TRY(jinja_enter(r));
    if (e->a) JINJA_TRY(jinja_eval_filters(r, e->a, text, &input));
    JINJA_TRY(apply_filter(r, e, &input, out));
    jinja_leave(r);
    return QW_OK;
}

static JINJA_OWN_FRAME qw_status eval_test(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    jinja_value v;
    jinja_args args;
    bool holds;
    JINJA_TRY(jinja_eval(r, e->a, &v));
    if (!e->builtin)
        return jinja_fail(r, "there is no test named '%.*s'", (int)e->text.len, e->text.ptr);
    JINJA_TRY(eval_args(r, e, NULL, &args));
    JINJA_TRY(jinja_run_test(r, e->builtin, &v, &args, &holds));
    *out = jinja_bool(holds);
    return QW_OK;
}

static qw_status eval_any(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    switch ((jinja_expr_type)e->type) {
    case JINJA_EXPR_CONST: *out = e->constant; return QW_OK;
    case JINJA_EXPR_NAME: return jinja_lookup(r, e->name, out);
    case JINJA_EXPR_LIST:
    case JINJA_EXPR_TUPLE: return eval_list(r, e, out);
    case JINJA_EXPR_DICT: return eval_dict(r, e, out);
    case JINJA_EXPR_CONCAT: return eval_concat(r, e, out);
    case JINJA_EXPR_COMPARE: return eval_compare(r, e, out);
    case JINJA_EXPR_ARITHMETIC: return eval_arithmetic(r, e, out);
    case JINJA_EXPR_NEGATE:
    case JINJA_EXPR_PLUS: return eval_sign(r, e, out);
    case JINJA_EXPR_NOT:
    case JINJA_EXPR_AND:
    case JINJA_EXPR_OR:
    case JINJA_EXPR_IF: return eval_logic(r, e, out);
    case JINJA_EXPR_ATTR:
    case JINJA_EXPR_NAMESPACE: return eval_attr(r, e, out);
    case JINJA_EXPR_ITEM: return eval_item(r, e, out);
    case JINJA_EXPR_SLICE: return eval_slice(r, e, out);
    case JINJA_EXPR_CALL: return jinja_eval_call(r, e, NULL, out);
    case JINJA_EXPR_FILTER: return eval_filter(r, e, out);
    case JINJA_EXPR_TEST: return eval_test(r, e, out);
    }
    return QW_OK;
}

qw_status jinja_eval(jinja_run *r, const jinja_expr *e, jinja_value *out)
{
    JINJA_TRY(jinja_enter(r));
    JINJA_TRY(jinja_step(r, 1));
    r->line = e->line;
    JINJA_TRY(eval_any(r, e, out));
    jinja_leave(r);
    return QW_OK;
}
