// Expressions to values.

#include "format/jinja_internal.h"

qw_status qw_jinja_lookup(qw_jinja_run *r, int32_t name, qw_jinja_value *out)
{
    for (const qw_jinja_scope *s = r->scope; s; s = s->parent) {
        QW_JINJA_TRY(qw_jinja_step(r, s->n / 16));
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->vars[i].name != name) continue;
            *out = s->vars[i].value;
            return QW_OK;
        }
    }
    qw_jinja_value *cached = &r->context_cache[name];
    if (cached->kind == QW_JINJA_ABSENT) {
        qw_str text = r->tmpl->names[name];
        const json_t *json = json_object_getn(r->context, text.ptr, text.len);
        const qw_jinja_builtin *global = json ? NULL : qw_jinja_find_global(text);
        if (json)
            QW_JINJA_TRY(qw_jinja_from_json(r, json, cached));
        else if (global)
            *cached = (qw_jinja_value){.kind = QW_JINJA_FUNCTION, .builtin = global};
        else
            *cached = (qw_jinja_value){
                .kind = QW_JINJA_UNDEFINED, .missing = QW_JINJA_MISSING_NAME, .str = text};
    }
    *out = *cached;
    return QW_OK;
}

// ---- literals

static QW_JINJA_OWN_FRAME qw_status eval_list(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_list *list = qw_jinja_list_new(r, e->n);
    if (!list) return qw_jinja_failure(r);
    for (const qw_jinja_expr *item = e->first; item; item = item->next) {
        QW_JINJA_TRY(qw_jinja_eval(r, item, &list->items[list->n]));
        list->n++;
    }
    *out = qw_jinja_sequence(e->type == QW_JINJA_EXPR_LIST ? QW_JINJA_LIST : QW_JINJA_TUPLE, list);
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status eval_dict(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_dict *d = qw_jinja_dict_new(r);
    if (!d) return qw_jinja_failure(r);
    for (const qw_jinja_expr *item = e->first; item; item = item->next->next) {
        qw_jinja_value key, value;
        QW_JINJA_TRY(qw_jinja_eval(r, item, &key));
        QW_JINJA_TRY(qw_jinja_eval(r, item->next, &value));
        QW_JINJA_TRY(qw_jinja_dict_put(r, d, &key, &value));
    }
    *out = (qw_jinja_value){.kind = QW_JINJA_DICT, .dict = d};
    return QW_OK;
}

// ---- operators

static QW_JINJA_OWN_FRAME qw_status eval_arithmetic(qw_jinja_run *r, const qw_jinja_expr *e,
                                                    qw_jinja_value *out)
{
    qw_jinja_value a, b;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &a));
    QW_JINJA_TRY(qw_jinja_eval(r, e->b, &b));
    return qw_jinja_arithmetic(r, e->op, &a, &b, out);
}

static QW_JINJA_OWN_FRAME qw_status eval_concat(qw_jinja_run *r, const qw_jinja_expr *e,
                                                qw_jinja_value *out)
{
    qw_str text = {"", 0}, part;
    for (const qw_jinja_expr *item = e->first; item; item = item->next) {
        qw_jinja_value v;
        QW_JINJA_TRY(qw_jinja_eval(r, item, &v));
        QW_JINJA_TRY(qw_jinja_to_str(r, &v, &part));
        QW_JINJA_TRY(qw_jinja_concat(r, text, part, &text));
    }
    *out = qw_jinja_string(text);
    return QW_OK;
}

static qw_status compare(qw_jinja_run *r, qw_jinja_compare op, const qw_jinja_value *a,
                         const qw_jinja_value *b, bool *out)
{
    static const char *const names[] = {
        [QW_JINJA_LT] = "<", [QW_JINJA_LE] = "<=", [QW_JINJA_GT] = ">", [QW_JINJA_GE] = ">="};
    if (op == QW_JINJA_EQ || op == QW_JINJA_NE) {
        QW_JINJA_TRY(qw_jinja_equal(r, a, b, out));
        *out = *out == (op == QW_JINJA_EQ);
        return QW_OK;
    }
    if (op == QW_JINJA_IN || op == QW_JINJA_NOT_IN) {
        QW_JINJA_TRY(qw_jinja_contains(r, b, a, out));
        *out = *out == (op == QW_JINJA_IN);
        return QW_OK;
    }
    int order = 0;
    bool unordered = false;
    QW_JINJA_TRY(qw_jinja_order(r, a, b, names[op], &order, &unordered));
    *out = !unordered && ((op == QW_JINJA_LT && order < 0) || (op == QW_JINJA_LE && order <= 0) ||
                          (op == QW_JINJA_GT && order > 0) || (op == QW_JINJA_GE && order >= 0));
    return QW_OK;
}

// a < b < c is a < b and b < c, with b evaluated once.
static QW_JINJA_OWN_FRAME qw_status eval_compare(qw_jinja_run *r, const qw_jinja_expr *e,
                                                 qw_jinja_value *out)
{
    qw_jinja_value left, right;
    bool holds = true;
    QW_JINJA_TRY(qw_jinja_eval(r, e->first, &left));
    for (const qw_jinja_expr *item = e->first->next; item && holds; item = item->next) {
        QW_JINJA_TRY(qw_jinja_eval(r, item, &right));
        QW_JINJA_TRY(compare(r, (qw_jinja_compare)item->compare, &left, &right, &holds));
        left = right;
    }
    *out = qw_jinja_bool(holds);
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status eval_sign(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_value v;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    if (v.kind == QW_JINJA_UNDEFINED) return qw_jinja_fail_undefined(r, &v);
    bool negate = e->type == QW_JINJA_EXPR_NEGATE;
    if (v.kind == QW_JINJA_FLOAT) {
        *out = qw_jinja_float(negate ? -v.real : v.real);
        return QW_OK;
    }
    if (!qw_jinja_is_integral(&v))
        return qw_jinja_fail(r, "bad operand type for unary %c: '%s'", negate ? '-' : '+',
                             qw_jinja_type_name(&v));
    int64_t i = qw_jinja_as_int(&v);
    if (negate && __builtin_sub_overflow((int64_t)0, i, &i))
        return qw_jinja_fail(r, "the result of integer arithmetic does not fit in 64 bits");
    *out = qw_jinja_int(i);
    return QW_OK;
}

static qw_status truth(qw_jinja_run *r, const qw_jinja_value *v, bool *out)
{
    if (v->kind == QW_JINJA_UNDEFINED && v->missing == QW_JINJA_MISSING_UNSAFE)
        return qw_jinja_fail_undefined(r, v);
    *out = qw_jinja_truth(v);
    return QW_OK;
}

// `and`, `or`, `not` and the inline if.
static QW_JINJA_OWN_FRAME qw_status eval_logic(qw_jinja_run *r, const qw_jinja_expr *e,
                                               qw_jinja_value *out)
{
    qw_jinja_value v;
    bool holds = false;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    QW_JINJA_TRY(truth(r, &v, &holds));
    switch ((qw_jinja_expr_type)e->type) {
    case QW_JINJA_EXPR_NOT: *out = qw_jinja_bool(!holds); return QW_OK;
    case QW_JINJA_EXPR_AND:
    case QW_JINJA_EXPR_OR:
        if (holds == (e->type == QW_JINJA_EXPR_AND)) return qw_jinja_eval(r, e->b, out);
        *out = v;
        return QW_OK;
    default: break;
    }
    if (holds) return qw_jinja_eval(r, e->b, out);
    if (e->c) return qw_jinja_eval(r, e->c, out);
    *out = qw_jinja_hint("the inline if-expression evaluated to false and has no else part");
    return QW_OK;
}

// ---- access

static QW_JINJA_OWN_FRAME qw_status eval_attr(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_value v;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    return qw_jinja_get_attr(r, &v, e->text, out);
}

static QW_JINJA_OWN_FRAME qw_status eval_item(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_value v, key;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    QW_JINJA_TRY(qw_jinja_eval(r, e->b, &key));
    return qw_jinja_get_item(r, &v, &key, out);
}

static QW_JINJA_OWN_FRAME qw_status eval_slice(qw_jinja_run *r, const qw_jinja_expr *e,
                                               qw_jinja_value *out)
{
    qw_jinja_value v, start, stop, step;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    QW_JINJA_TRY(qw_jinja_eval(r, e->first, &start));
    QW_JINJA_TRY(qw_jinja_eval(r, e->first->next, &stop));
    QW_JINJA_TRY(qw_jinja_eval(r, e->first->next->next, &step));
    return qw_jinja_get_slice(r, &v, &start, &stop, &step, out);
}

// ---- calls, filters, tests

static qw_status add_positional(qw_jinja_run *r, const qw_jinja_expr *e, qw_jinja_list *pos)
{
    for (const qw_jinja_expr *arg = e->first; arg; arg = arg->next) {
        qw_jinja_value v;
        QW_JINJA_TRY(qw_jinja_eval(r, arg, &v));
        if (!arg->star) {
            QW_JINJA_TRY(qw_jinja_list_push(r, pos, &v));
            continue;
        }
        const qw_jinja_value *items;
        size_t n;
        QW_JINJA_TRY(qw_jinja_iterate(r, &v, &items, &n));
        for (size_t i = 0; i < n; i++) QW_JINJA_TRY(qw_jinja_list_push(r, pos, &items[i]));
    }
    return QW_OK;
}

static qw_status add_keyword(qw_jinja_run *r, qw_jinja_dict *kw, qw_str name,
                             const qw_jinja_value *v)
{
    qw_jinja_value key = qw_jinja_string(name);
    const qw_jinja_value *before;
    QW_JINJA_TRY(qw_jinja_dict_find(r, kw, &key, &before));
    if (before)
        return qw_jinja_fail(r, "the keyword argument '%.*s' is given twice", (int)name.len,
                             name.ptr);
    return qw_jinja_dict_put(r, kw, &key, v);
}

static qw_status add_keywords(qw_jinja_run *r, const qw_jinja_expr *e, qw_jinja_dict *kw)
{
    for (const qw_jinja_expr *arg = e->keywords; arg; arg = arg->next) {
        qw_jinja_value v;
        QW_JINJA_TRY(qw_jinja_eval(r, arg, &v));
        if (!arg->star) {
            QW_JINJA_TRY(add_keyword(r, kw, arg->keyword, &v));
            continue;
        }
        if (v.kind != QW_JINJA_DICT)
            return qw_jinja_fail(r, "argument after ** must be a mapping, not %s",
                                 qw_jinja_type_name(&v));
        const qw_jinja_entry *entries;
        size_t n;
        QW_JINJA_TRY(qw_jinja_entries(r, v.dict, &entries, &n));
        for (size_t i = 0; i < n; i++) {
            if (entries[i].key.kind != QW_JINJA_STRING)
                return qw_jinja_fail(r, "keywords must be strings");
            QW_JINJA_TRY(add_keyword(r, kw, entries[i].key.str, &entries[i].value));
        }
    }
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status collect_args(qw_jinja_run *r, const qw_jinja_expr *e,
                                                 const qw_jinja_value *caller, qw_jinja_args *out)
{
    if (e->first) {
        qw_jinja_list *pos = qw_jinja_list_new(r, e->n);
        if (!pos) return qw_jinja_failure(r);
        QW_JINJA_TRY(add_positional(r, e, pos));
        out->pos = pos->items;
        out->n_pos = pos->n;
    }
    if (!e->keywords && !caller) return QW_OK;
    qw_jinja_dict *kw = qw_jinja_dict_new(r);
    if (!kw) return qw_jinja_failure(r);
    QW_JINJA_TRY(add_keywords(r, e, kw));
    if (caller) QW_JINJA_TRY(add_keyword(r, kw, QW_STR("caller"), caller));
    qw_jinja_keyword *keywords = qw_jinja_alloc(r, kw->n, sizeof *keywords);
    if (!keywords) return qw_jinja_failure(r);
    for (uint32_t i = 0; i < kw->n; i++)
        keywords[i] = (qw_jinja_keyword){kw->entries[i].key.str, kw->entries[i].value};
    out->kw = keywords;
    out->n_kw = kw->n;
    return QW_OK;
}

// The arguments of a call, filter or test, evaluated. Counts as a level of its own, because the
// frames of calls inside arguments are the largest.
static qw_status eval_args(qw_jinja_run *r, const qw_jinja_expr *e, const qw_jinja_value *caller,
                           qw_jinja_args *out)
{
    *out = (qw_jinja_args){0};
    if (!e->first && !e->keywords && !caller) return QW_OK;
    QW_JINJA_TRY(qw_jinja_enter(r));
    QW_JINJA_TRY(collect_args(r, e, caller, out));
    qw_jinja_leave(r);
    return QW_OK;
}

QW_JINJA_OWN_FRAME qw_status qw_jinja_eval_call(qw_jinja_run *r, const qw_jinja_expr *e,
                                                const qw_jinja_value *caller, qw_jinja_value *out)
{
    qw_jinja_value callee;
    qw_jinja_args args;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &callee));
    QW_JINJA_TRY(eval_args(r, e, caller, &args));
    r->line = e->line;
    return qw_jinja_call(r, &callee, &args, out);
}

static QW_JINJA_OWN_FRAME qw_status apply_filter(qw_jinja_run *r, const qw_jinja_expr *e,
                                                 const qw_jinja_value *input, qw_jinja_value *out)
{
    qw_jinja_args args;
    if (!e->builtin)
        return qw_jinja_fail(r, "there is no filter named '%.*s'", (int)e->text.len, e->text.ptr);
    QW_JINJA_TRY(eval_args(r, e, NULL, &args));
    r->line = e->line;
    return qw_jinja_call_builtin(r, e->builtin, input, &args, out);
}

static QW_JINJA_OWN_FRAME qw_status eval_filter(qw_jinja_run *r, const qw_jinja_expr *e,
                                                qw_jinja_value *out)
{
    qw_jinja_value input;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &input));
    return apply_filter(r, e, &input, out);
}

QW_JINJA_OWN_FRAME qw_status qw_jinja_eval_filters(qw_jinja_run *r, const qw_jinja_expr *e,
                                                   const qw_jinja_value *text, qw_jinja_value *out)
{
    qw_jinja_value input = *text;
    QW_JINJA_TRY(qw_jinja_enter(r));
    if (e->a) QW_JINJA_TRY(qw_jinja_eval_filters(r, e->a, text, &input));
    QW_JINJA_TRY(apply_filter(r, e, &input, out));
    qw_jinja_leave(r);
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status eval_test(qw_jinja_run *r, const qw_jinja_expr *e,
                                              qw_jinja_value *out)
{
    qw_jinja_value v;
    qw_jinja_args args;
    bool holds;
    QW_JINJA_TRY(qw_jinja_eval(r, e->a, &v));
    if (!e->builtin)
        return qw_jinja_fail(r, "there is no test named '%.*s'", (int)e->text.len, e->text.ptr);
    QW_JINJA_TRY(eval_args(r, e, NULL, &args));
    QW_JINJA_TRY(qw_jinja_run_test(r, e->builtin, &v, &args, &holds));
    *out = qw_jinja_bool(holds);
    return QW_OK;
}

static qw_status eval_any(qw_jinja_run *r, const qw_jinja_expr *e, qw_jinja_value *out)
{
    switch ((qw_jinja_expr_type)e->type) {
    case QW_JINJA_EXPR_CONST: *out = e->constant; return QW_OK;
    case QW_JINJA_EXPR_NAME: return qw_jinja_lookup(r, e->name, out);
    case QW_JINJA_EXPR_LIST:
    case QW_JINJA_EXPR_TUPLE: return eval_list(r, e, out);
    case QW_JINJA_EXPR_DICT: return eval_dict(r, e, out);
    case QW_JINJA_EXPR_CONCAT: return eval_concat(r, e, out);
    case QW_JINJA_EXPR_COMPARE: return eval_compare(r, e, out);
    case QW_JINJA_EXPR_ARITHMETIC: return eval_arithmetic(r, e, out);
    case QW_JINJA_EXPR_NEGATE:
    case QW_JINJA_EXPR_PLUS: return eval_sign(r, e, out);
    case QW_JINJA_EXPR_NOT:
    case QW_JINJA_EXPR_AND:
    case QW_JINJA_EXPR_OR:
    case QW_JINJA_EXPR_IF: return eval_logic(r, e, out);
    case QW_JINJA_EXPR_ATTR:
    case QW_JINJA_EXPR_NAMESPACE: return eval_attr(r, e, out);
    case QW_JINJA_EXPR_ITEM: return eval_item(r, e, out);
    case QW_JINJA_EXPR_SLICE: return eval_slice(r, e, out);
    case QW_JINJA_EXPR_CALL: return qw_jinja_eval_call(r, e, NULL, out);
    case QW_JINJA_EXPR_FILTER: return eval_filter(r, e, out);
    case QW_JINJA_EXPR_TEST: return eval_test(r, e, out);
    }
    return QW_OK;
}

qw_status qw_jinja_eval(qw_jinja_run *r, const qw_jinja_expr *e, qw_jinja_value *out)
{
    QW_JINJA_TRY(qw_jinja_enter(r));
    QW_JINJA_TRY(qw_jinja_step(r, 1));
    r->line = e->line;
    QW_JINJA_TRY(eval_any(r, e, out));
    qw_jinja_leave(r);
    return QW_OK;
}
