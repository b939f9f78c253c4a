// Statements, scopes and calls.

#include "format/jinja_internal.h"

// ---- scopes

qw_jinja_scope *qw_jinja_scope_new(qw_jinja_run *r, qw_jinja_scope *parent)
{
    qw_jinja_scope *s = qw_jinja_alloc(r, 1, sizeof *s);
    if (s) s->parent = parent;
    return s;
}

qw_status qw_jinja_scope_set(qw_jinja_run *r, qw_jinja_scope *scope, int32_t name,
                             const qw_jinja_value *v)
{
    QW_JINJA_TRY(qw_jinja_step(r, 1 + scope->n / 16));
    for (uint32_t i = 0; i < scope->n; i++) {
        if (scope->vars[i].name != name) continue;
        scope->vars[i].value = *v;
        return QW_OK;
    }
    if (scope->n == scope->cap) {
        uint32_t cap = scope->cap ? scope->cap * 2 : 8;
        qw_jinja_variable *vars = qw_jinja_alloc(r, cap, sizeof *vars);
        if (!vars) return qw_jinja_failure(r);
        if (scope->n) memcpy(vars, scope->vars, scope->n * sizeof *vars);
        scope->vars = vars;
        scope->cap = cap;
    }
    scope->vars[scope->n++] = (qw_jinja_variable){name, *v};
    return QW_OK;
}

static qw_status assign_namespace(qw_jinja_run *r, const qw_jinja_expr *target,
                                  const qw_jinja_value *v)
{
    qw_jinja_value space, key = qw_jinja_string(target->text);
    QW_JINJA_TRY(qw_jinja_eval(r, target->a, &space));
    if (space.kind != QW_JINJA_NAMESPACE)
        return qw_jinja_fail(r, "cannot assign attribute '%.*s' on a non-namespace object",
                             (int)target->text.len, target->text.ptr);
    return qw_jinja_dict_put(r, space.dict, &key, v);
}

qw_status qw_jinja_assign(qw_jinja_run *r, const qw_jinja_expr *target, const qw_jinja_value *v)
{
    if (target->type == QW_JINJA_EXPR_NAME) return qw_jinja_scope_set(r, r->scope, target->name, v);
    if (target->type == QW_JINJA_EXPR_NAMESPACE) return assign_namespace(r, target, v);
    const qw_jinja_value *items;
    size_t n, i = 0;
    QW_JINJA_TRY(qw_jinja_iterate(r, v, &items, &n));
    if (n != target->n)
        return qw_jinja_fail(r, "cannot unpack %zu values into %" PRIu32 " names", n, target->n);
    for (const qw_jinja_expr *t = target->first; t; t = t->next)
        QW_JINJA_TRY(qw_jinja_assign(r, t, &items[i++]));
    return QW_OK;
}

// Execute `body` in `scope`, then return to the scope before.
static qw_status exec_in(qw_jinja_run *r, qw_jinja_scope *scope, const qw_jinja_stmt *body)
{
    qw_jinja_scope *before = r->scope;
    r->scope = scope;
    QW_JINJA_TRY(qw_jinja_exec(r, body));
    r->scope = before;
    return QW_OK;
}

// The text that `body` writes, in a scope of its own.
static qw_status exec_captured(qw_jinja_run *r, const qw_jinja_stmt *body, qw_jinja_value *out)
{
    qw_jinja_scope *scope = qw_jinja_scope_new(r, r->scope);
    if (!scope) return qw_jinja_failure(r);
    size_t start = r->out.len;
    qw_str text;
    QW_JINJA_TRY(exec_in(r, scope, body));
    QW_JINJA_TRY(qw_jinja_capture(r, start, &text));
    *out = qw_jinja_string(text);
    return QW_OK;
}

// ---- macros

static const qw_jinja_value *find_keyword(const qw_jinja_args *args, qw_str name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (qw_str_eq(args->kw[i].name, name)) return &args->kw[i].value;
    return NULL;
}

// One parameter: positional, keyword, default, or undefined.
static qw_status bind_param(qw_jinja_run *r, const qw_jinja_stmt *s, const qw_jinja_expr *param,
                            size_t i, const qw_jinja_args *args)
{
    qw_jinja_value v;
    const qw_jinja_value *keyword = find_keyword(args, param->text);
    QW_JINJA_TRY(qw_jinja_step(r, 1 + args->n_kw));
    if (i < args->n_pos) {
        if (keyword)
            return qw_jinja_fail(r, "macro '%.*s' got multiple values for argument '%.*s'",
                                 (int)s->text.len, s->text.ptr, (int)param->text.len,
                                 param->text.ptr);
        v = args->pos[i];
    } else if (keyword) {
        v = *keyword;
    } else if (param->a) {
        QW_JINJA_TRY(qw_jinja_eval(r, param->a, &v));
    } else {
        v = (qw_jinja_value){
            .kind = QW_JINJA_UNDEFINED, .missing = QW_JINJA_MISSING_NAME, .str = param->text};
    }
    return qw_jinja_scope_set(r, r->scope, param->name, &v);
}

static bool is_param(const qw_jinja_stmt *s, qw_str name)
{
    for (const qw_jinja_expr *p = s->params; p; p = p->next)
        if (qw_str_eq(p->text, name)) return true;
    return false;
}

// Positional arguments beyond the parameters.
static qw_status bind_varargs(qw_jinja_run *r, const qw_jinja_stmt *s, const qw_jinja_args *args)
{
    size_t n = args->n_pos > s->n_params ? args->n_pos - s->n_params : 0;
    if (!s->uses_varargs) {
        if (n == 0) return QW_OK;
        return qw_jinja_fail(r, "macro '%.*s' takes not more than %" PRIu32 " argument(s)",
                             (int)s->text.len, s->text.ptr, s->n_params);
    }
    qw_jinja_list *list = qw_jinja_list_new(r, n);
    if (!list) return qw_jinja_failure(r);
    if (n) memcpy(list->items, args->pos + s->n_params, n * sizeof *list->items);
    list->n = n;
    qw_jinja_value v = qw_jinja_sequence(QW_JINJA_TUPLE, list);
    return qw_jinja_scope_set(r, r->scope, QW_JINJA_NAME_VARARGS, &v);
}

// Keyword arguments that name no parameter; `caller` is one of them in a call block.
static qw_status bind_kwargs(qw_jinja_run *r, const qw_jinja_stmt *s, const qw_jinja_args *args)
{
    qw_jinja_dict *rest = qw_jinja_dict_new(r);
    if (!rest) return qw_jinja_failure(r);
    qw_jinja_value caller = qw_jinja_hint("no caller is defined: the macro was not used by 'call'");
    for (size_t i = 0; i < args->n_kw; i++) {
        const qw_jinja_keyword *kw = &args->kw[i];
        QW_JINJA_TRY(qw_jinja_step(r, 1 + s->n_params));
        if (is_param(s, kw->name)) continue;
        if (s->uses_caller && qw_str_is(kw->name, "caller")) {
            caller = kw->value;
        } else if (s->uses_kwargs) {
            qw_jinja_value key = qw_jinja_string(kw->name);
            QW_JINJA_TRY(qw_jinja_dict_put(r, rest, &key, &kw->value));
        } else {
            return qw_jinja_fail(r, "macro '%.*s' takes no keyword argument '%.*s'",
                                 (int)s->text.len, s->text.ptr, (int)kw->name.len, kw->name.ptr);
        }
    }
    if (s->uses_caller)
        QW_JINJA_TRY(qw_jinja_scope_set(r, r->scope, QW_JINJA_NAME_CALLER, &caller));
    if (!s->uses_kwargs) return QW_OK;
    qw_jinja_value v = {.kind = QW_JINJA_DICT, .dict = rest};
    return qw_jinja_scope_set(r, r->scope, QW_JINJA_NAME_KWARGS, &v);
}

static qw_status enter_call(qw_jinja_run *r)
{
    if (r->n_calls >= r->opt->max_calls)
        return qw_jinja_fail(r, "more than %d macro calls inside each other", r->opt->max_calls);
    r->n_calls++;
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status bind_macro(qw_jinja_run *r, const qw_jinja_stmt *s,
                                               const qw_jinja_args *args)
{
    size_t i = 0;
    for (const qw_jinja_expr *p = s->params; p; p = p->next)
        QW_JINJA_TRY(bind_param(r, s, p, i++, args));
    QW_JINJA_TRY(bind_varargs(r, s, args));
    return bind_kwargs(r, s, args);
}

static QW_JINJA_OWN_FRAME qw_status call_macro(qw_jinja_run *r, const qw_jinja_macro *m,
                                               const qw_jinja_args *args, qw_jinja_value *out)
{
    qw_jinja_scope *scope = qw_jinja_scope_new(r, m->scope), *before = r->scope;
    if (!scope) return qw_jinja_failure(r);
    QW_JINJA_TRY(enter_call(r));
    size_t start = r->out.len;
    r->scope = scope;
    QW_JINJA_TRY(bind_macro(r, m->stmt, args));
    QW_JINJA_TRY(qw_jinja_exec(r, m->stmt->body));
    r->scope = before;
    r->n_calls--;
    qw_str text;
    QW_JINJA_TRY(qw_jinja_capture(r, start, &text));
    *out = qw_jinja_string(text);
    return QW_OK;
}

// loop(items) of a recursive loop.
static QW_JINJA_OWN_FRAME qw_status call_loop(qw_jinja_run *r, const qw_jinja_loop *loop,
                                              const qw_jinja_args *args, qw_jinja_value *out)
{
    if (!loop->stmt->recursive)
        return qw_jinja_fail(r, "the loop must have the 'recursive' marker to be called");
    if (args->n_pos != 1 || args->n_kw)
        return qw_jinja_fail(r, "a recursive loop is called with one argument");
    QW_JINJA_TRY(enter_call(r));
    size_t start = r->out.len;
    QW_JINJA_TRY(qw_jinja_run_loop(r, loop->stmt, &args->pos[0], loop->outer, loop->depth0 + 1));
    r->n_calls--;
    qw_str text;
    QW_JINJA_TRY(qw_jinja_capture(r, start, &text));
    *out = qw_jinja_string(text);
    return QW_OK;
}

static qw_status call_joiner(qw_jinja_run *r, qw_jinja_joiner *joiner, qw_jinja_value *out)
{
    (void)r;
    *out = qw_jinja_string(joiner->used ? joiner->separator : QW_STR(""));
    joiner->used = true;
    return QW_OK;
}

qw_status qw_jinja_call(qw_jinja_run *r, const qw_jinja_value *callee, const qw_jinja_args *args,
                        qw_jinja_value *out)
{
    switch ((qw_jinja_kind)callee->kind) {
    case QW_JINJA_FUNCTION: return qw_jinja_call_builtin(r, callee->builtin, callee, args, out);
    case QW_JINJA_METHOD:
        return qw_jinja_call_builtin(r, callee->method->builtin, &callee->method->self, args, out);
    case QW_JINJA_MACRO: return call_macro(r, callee->macro, args, out);
    case QW_JINJA_LOOP: return call_loop(r, callee->loop, args, out);
    case QW_JINJA_JOINER: return call_joiner(r, callee->joiner, out);
    case QW_JINJA_UNDEFINED: return qw_jinja_fail_undefined(r, callee);
    default: return qw_jinja_fail(r, "'%s' object is not callable", qw_jinja_type_name(callee));
    }
}

// A macro defined by `s` in the current scope.
static qw_status make_macro(qw_jinja_run *r, const qw_jinja_stmt *s, qw_jinja_value *out)
{
    qw_jinja_macro *m = qw_jinja_alloc(r, 1, sizeof *m);
    if (!m) return qw_jinja_failure(r);
    *m = (qw_jinja_macro){s, r->scope};
    for (qw_jinja_scope *scope = r->scope; scope && !scope->captured; scope = scope->parent)
        scope->captured = true;
    *out = (qw_jinja_value){.kind = QW_JINJA_MACRO, .macro = m};
    return QW_OK;
}

// ---- statements

static QW_JINJA_OWN_FRAME qw_status exec_print(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value v;
    QW_JINJA_TRY(qw_jinja_eval(r, s->expr, &v));
    return qw_jinja_write(r, &v);
}

// One condition after the other; an elif is the only statement of the else part before it.
static QW_JINJA_OWN_FRAME qw_status exec_if(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    for (;;) {
        qw_jinja_value v;
        QW_JINJA_TRY(qw_jinja_eval(r, s->expr, &v));
        if (v.kind == QW_JINJA_UNDEFINED && v.missing == QW_JINJA_MISSING_UNSAFE)
            return qw_jinja_fail_undefined(r, &v);
        if (qw_jinja_truth(&v)) return qw_jinja_exec(r, s->body);
        const qw_jinja_stmt *orelse = s->orelse;
        if (!orelse || orelse->type != QW_JINJA_STMT_IF || orelse->next)
            return qw_jinja_exec(r, orelse);
        s = orelse;
    }
}

static QW_JINJA_OWN_FRAME qw_status exec_for(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value iterable;
    QW_JINJA_TRY(qw_jinja_eval(r, s->expr, &iterable));
    return qw_jinja_run_loop(r, s, &iterable, r->scope, 0);
}

static QW_JINJA_OWN_FRAME qw_status exec_set(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value v;
    QW_JINJA_TRY(qw_jinja_eval(r, s->expr, &v));
    return qw_jinja_assign(r, s->target, &v);
}

static QW_JINJA_OWN_FRAME qw_status exec_set_block(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value v;
    QW_JINJA_TRY(exec_captured(r, s->body, &v));
    if (s->expr) QW_JINJA_TRY(qw_jinja_eval_filters(r, s->expr, &v, &v));
    return qw_jinja_assign(r, s->target, &v);
}

static QW_JINJA_OWN_FRAME qw_status exec_filter(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value v;
    QW_JINJA_TRY(exec_captured(r, s->body, &v));
    QW_JINJA_TRY(qw_jinja_eval_filters(r, s->expr, &v, &v));
    return qw_jinja_write(r, &v);
}

static QW_JINJA_OWN_FRAME qw_status exec_macro(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value macro;
    QW_JINJA_TRY(make_macro(r, s, &macro));
    return qw_jinja_scope_set(r, r->scope, s->name, &macro);
}

static QW_JINJA_OWN_FRAME qw_status exec_call(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_value caller, v;
    QW_JINJA_TRY(make_macro(r, s, &caller));
    QW_JINJA_TRY(qw_jinja_eval_call(r, s->expr, &caller, &v));
    return qw_jinja_write(r, &v);
}

// The values see the scope around the block, not each other.
static QW_JINJA_OWN_FRAME qw_status exec_with(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    qw_jinja_scope *scope = qw_jinja_scope_new(r, r->scope);
    if (!scope) return qw_jinja_failure(r);
    for (const qw_jinja_expr *p = s->params; p; p = p->next) {
        qw_jinja_value v;
        QW_JINJA_TRY(qw_jinja_eval(r, p->a, &v));
        QW_JINJA_TRY(qw_jinja_scope_set(r, scope, p->name, &v));
    }
    return exec_in(r, scope, s->body);
}

static qw_status exec_one(qw_jinja_run *r, const qw_jinja_stmt *s)
{
    switch ((qw_jinja_stmt_type)s->type) {
    case QW_JINJA_STMT_TEXT:
        QW_JINJA_TRY(qw_jinja_work(r, s->text.len));
        qw_buf_append(&r->out, s->text.ptr, s->text.len);
        return qw_jinja_check_output(r);
    case QW_JINJA_STMT_PRINT: return exec_print(r, s);
    case QW_JINJA_STMT_IF: return exec_if(r, s);
    case QW_JINJA_STMT_FOR: return exec_for(r, s);
    case QW_JINJA_STMT_SET: return exec_set(r, s);
    case QW_JINJA_STMT_SET_BLOCK: return exec_set_block(r, s);
    case QW_JINJA_STMT_MACRO: return exec_macro(r, s);
    case QW_JINJA_STMT_CALL: return exec_call(r, s);
    case QW_JINJA_STMT_FILTER: return exec_filter(r, s);
    case QW_JINJA_STMT_WITH: return exec_with(r, s);
    case QW_JINJA_STMT_BREAK: r->flow = QW_JINJA_FLOW_BREAK; return QW_OK;
    case QW_JINJA_STMT_CONTINUE: r->flow = QW_JINJA_FLOW_CONTINUE; return QW_OK;
    case QW_JINJA_STMT_REFUSED:
        return qw_jinja_refuse(r,
                               "the tag '%.*s' cannot be used: a chat template has no other files",
                               (int)s->text.len, s->text.ptr);
    }
    return QW_OK;
}

qw_status qw_jinja_exec(qw_jinja_run *r, const qw_jinja_stmt *body)
{
    QW_JINJA_TRY(qw_jinja_enter(r));
    for (const qw_jinja_stmt *s = body; s && r->flow == QW_JINJA_FLOW_ON; s = s->next) {
        r->line = s->line;
        QW_JINJA_TRY(qw_jinja_step(r, 1));
        QW_JINJA_TRY(exec_one(r, s));
    }
    qw_jinja_leave(r);
    return QW_OK;
}
