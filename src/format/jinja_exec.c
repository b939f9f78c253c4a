// Statements, scopes and calls.

#include "format/jinja_internal.h"

// ---- scopes

jinja_scope *jinja_scope_new(jinja_run *r, jinja_scope *parent)
{
    jinja_scope *s = jinja_alloc(r, 1, sizeof *s);
    if (s) s->parent = parent;
    return s;
}

qw_status jinja_scope_set(jinja_run *r, jinja_scope *scope, int32_t name, const jinja_value *v)
{
    JINJA_TRY(jinja_step(r, 1 + scope->n / 16));
    for (uint32_t i = 0; i < scope->n; i++) {
        if (scope->vars[i].name != name) continue;
        scope->vars[i].value = *v;
        return QW_OK;
    }
    if (scope->n == scope->cap) {
        uint32_t cap = scope->cap ? scope->cap * 2 : 8;
        jinja_variable *vars = jinja_alloc(r, cap, sizeof *vars);
        if (!vars) return r->failed;
        if (scope->n) memcpy(vars, scope->vars, scope->n * sizeof *vars);
        scope->vars = vars;
        scope->cap = cap;
    }
    scope->vars[scope->n++] = (jinja_variable){name, *v};
    return QW_OK;
}

static qw_status assign_namespace(jinja_run *r, const jinja_expr *target, const jinja_value *v)
{
    jinja_value space, key = jinja_string(target->text);
    JINJA_TRY(jinja_eval(r, target->a, &space));
    if (space.kind != JINJA_NAMESPACE)
        return jinja_fail(r, "cannot assign attribute '%.*s' on a non-namespace object",
                          (int)target->text.len, target->text.ptr);
    return jinja_dict_put(r, space.dict, &key, v);
}

qw_status jinja_assign(jinja_run *r, const jinja_expr *target, const jinja_value *v)
{
    if (target->type == JINJA_EXPR_NAME) return jinja_scope_set(r, r->scope, target->name, v);
    if (target->type == JINJA_EXPR_NAMESPACE) return assign_namespace(r, target, v);
    const jinja_value *items;
    size_t n, i = 0;
    JINJA_TRY(jinja_iterate(r, v, &items, &n));
    if (n != target->n)
        return jinja_fail(r, "cannot unpack %zu values into %" PRIu32 " names", n, target->n);
    for (const jinja_expr *t = target->first; t; t = t->next)
        JINJA_TRY(jinja_assign(r, t, &items[i++]));
    return QW_OK;
}

// Execute `body` in `scope`, then return to the scope before.
static qw_status exec_in(jinja_run *r, jinja_scope *scope, const jinja_stmt *body)
{
    jinja_scope *before = r->scope;
    r->scope = scope;
    JINJA_TRY(jinja_exec(r, body));
    r->scope = before;
    return QW_OK;
}

// The text that `body` writes, in a scope of its own.
static qw_status exec_captured(jinja_run *r, const jinja_stmt *body, jinja_value *out)
{
    jinja_scope *scope = jinja_scope_new(r, r->scope);
    if (!scope) return r->failed;
    size_t start = r->out.len;
    qw_str text;
    JINJA_TRY(exec_in(r, scope, body));
    JINJA_TRY(jinja_capture(r, start, &text));
    *out = jinja_string(text);
    return QW_OK;
}

// ---- macros

static const jinja_value *find_keyword(const jinja_args *args, qw_str name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (qw_str_eq(args->kw[i].name, name)) return &args->kw[i].value;
    return NULL;
}

// One parameter: positional, keyword, default, or undefined.
static qw_status bind_param(jinja_run *r, const jinja_stmt *s, const jinja_expr *param, size_t i,
                            const jinja_args *args)
{
    jinja_value v;
    const jinja_value *keyword = find_keyword(args, param->text);
    JINJA_TRY(jinja_step(r, 1 + args->n_kw));
    if (i < args->n_pos) {
        if (keyword)
            return jinja_fail(r, "macro '%.*s' got multiple values for argument '%.*s'",
                              (int)s->text.len, s->text.ptr, (int)param->text.len, param->text.ptr);
        v = args->pos[i];
    } else if (keyword) {
        v = *keyword;
    } else if (param->a) {
        JINJA_TRY(jinja_eval(r, param->a, &v));
    } else {
        v = (jinja_value){
            .kind = JINJA_UNDEFINED, .missing = JINJA_MISSING_NAME, .str = param->text};
    }
    return jinja_scope_set(r, r->scope, param->name, &v);
}

static bool is_param(const jinja_stmt *s, qw_str name)
{
    for (const jinja_expr *p = s->params; p; p = p->next)
        if (qw_str_eq(p->text, name)) return true;
    return false;
}

// Positional arguments beyond the parameters.
static qw_status bind_varargs(jinja_run *r, const jinja_stmt *s, const jinja_args *args)
{
    size_t n = args->n_pos > s->n_params ? args->n_pos - s->n_params : 0;
    if (!s->uses_varargs) {
        if (n == 0) return QW_OK;
        return jinja_fail(r, "macro '%.*s' takes not more than %" PRIu32 " argument(s)",
                          (int)s->text.len, s->text.ptr, s->n_params);
    }
    jinja_list *list = jinja_list_new(r, n);
    if (!list) return r->failed;
    if (n) memcpy(list->items, args->pos + s->n_params, n * sizeof *list->items);
    list->n = n;
    jinja_value v = jinja_sequence(JINJA_TUPLE, list);
    return jinja_scope_set(r, r->scope, JINJA_NAME_VARARGS, &v);
}

// Keyword arguments that name no parameter; `caller` is one of them in a call block.
static qw_status bind_kwargs(jinja_run *r, const jinja_stmt *s, const jinja_args *args)
{
    jinja_dict *rest = jinja_dict_new(r);
    if (!rest) return r->failed;
    jinja_value caller = jinja_hint("no caller is defined: the macro was not used by 'call'");
    for (size_t i = 0; i < args->n_kw; i++) {
        const jinja_keyword *kw = &args->kw[i];
        JINJA_TRY(jinja_step(r, 1 + s->n_params));
        if (is_param(s, kw->name)) continue;
        if (s->uses_caller && qw_str_is(kw->name, "caller")) {
            caller = kw->value;
        } else if (s->uses_kwargs) {
            jinja_value key = jinja_string(kw->name);
            JINJA_TRY(jinja_dict_put(r, rest, &key, &kw->value));
        } else {
            return jinja_fail(r, "macro '%.*s' takes no keyword argument '%.*s'", (int)s->text.len,
                              s->text.ptr, (int)kw->name.len, kw->name.ptr);
        }
    }
    if (s->uses_caller) JINJA_TRY(jinja_scope_set(r, r->scope, JINJA_NAME_CALLER, &caller));
    if (!s->uses_kwargs) return QW_OK;
    jinja_value v = {.kind = JINJA_DICT, .dict = rest};
    return jinja_scope_set(r, r->scope, JINJA_NAME_KWARGS, &v);
}

static qw_status enter_call(jinja_run *r)
{
    if (r->n_calls >= r->opt->max_calls)
        return jinja_fail(r, "more than %d macro calls inside each other", r->opt->max_calls);
    r->n_calls++;
    return QW_OK;
}

static JINJA_OWN_FRAME qw_status bind_macro(jinja_run *r, const jinja_stmt *s,
                                            const jinja_args *args)
{
    size_t i = 0;
    for (const jinja_expr *p = s->params; p; p = p->next) JINJA_TRY(bind_param(r, s, p, i++, args));
    JINJA_TRY(bind_varargs(r, s, args));
    return bind_kwargs(r, s, args);
}

static JINJA_OWN_FRAME qw_status call_macro(jinja_run *r, const jinja_macro *m,
                                            const jinja_args *args, jinja_value *out)
{
    jinja_scope *scope = jinja_scope_new(r, m->scope), *before = r->scope;
    if (!scope) return r->failed;
    JINJA_TRY(enter_call(r));
    size_t start = r->out.len;
    r->scope = scope;
    JINJA_TRY(bind_macro(r, m->stmt, args));
    JINJA_TRY(jinja_exec(r, m->stmt->body));
    r->scope = before;
    r->n_calls--;
    qw_str text;
    JINJA_TRY(jinja_capture(r, start, &text));
    *out = jinja_string(text);
    return QW_OK;
}

// loop(items) of a recursive loop.
static JINJA_OWN_FRAME qw_status call_loop(jinja_run *r, const jinja_loop *loop,
                                           const jinja_args *args, jinja_value *out)
{
    if (!loop->stmt->recursive)
        return jinja_fail(r, "the loop must have the 'recursive' marker to be called");
    if (args->n_pos != 1 || args->n_kw)
        return jinja_fail(r, "a recursive loop is called with one argument");
    JINJA_TRY(enter_call(r));
    size_t start = r->out.len;
    JINJA_TRY(jinja_run_loop(r, loop->stmt, &args->pos[0], loop->outer, loop->depth0 + 1));
    r->n_calls--;
    qw_str text;
    JINJA_TRY(jinja_capture(r, start, &text));
    *out = jinja_string(text);
    return QW_OK;
}

static qw_status call_joiner(jinja_run *r, jinja_joiner *joiner, jinja_value *out)
{
    (void)r;
    *out = jinja_string(joiner->used ? joiner->separator : QW_STR(""));
    joiner->used = true;
    return QW_OK;
}

qw_status jinja_call(jinja_run *r, const jinja_value *callee, const jinja_args *args,
                     jinja_value *out)
{
    switch ((jinja_kind)callee->kind) {
    case JINJA_FUNCTION: return jinja_call_builtin(r, callee->builtin, callee, args, out);
    case JINJA_METHOD:
        return jinja_call_builtin(r, callee->method->builtin, &callee->method->self, args, out);
    case JINJA_MACRO: return call_macro(r, callee->macro, args, out);
    case JINJA_LOOP: return call_loop(r, callee->loop, args, out);
    case JINJA_JOINER: return call_joiner(r, callee->joiner, out);
    case JINJA_UNDEFINED: return jinja_fail_undefined(r, callee);
    default: return jinja_fail(r, "'%s' object is not callable", jinja_type_name(callee));
    }
}

// A macro defined by `s` in the current scope.
static qw_status make_macro(jinja_run *r, const jinja_stmt *s, jinja_value *out)
{
    jinja_macro *m = jinja_alloc(r, 1, sizeof *m);
    if (!m) return r->failed;
    *m = (jinja_macro){s, r->scope};
    for (jinja_scope *scope = r->scope; scope && !scope->captured; scope = scope->parent)
        scope->captured = true;
    *out = (jinja_value){.kind = JINJA_MACRO, .macro = m};
    return QW_OK;
}

// ---- statements

static JINJA_OWN_FRAME qw_status exec_print(jinja_run *r, const jinja_stmt *s)
{
    jinja_value v;
    JINJA_TRY(jinja_eval(r, s->expr, &v));
    return jinja_write(r, &v);
}

// One condition after the other; an elif is the only statement of the else part before it.
static JINJA_OWN_FRAME qw_status exec_if(jinja_run *r, const jinja_stmt *s)
{
    for (;;) {
        jinja_value v;
        JINJA_TRY(jinja_eval(r, s->expr, &v));
        if (v.kind == JINJA_UNDEFINED && v.missing == JINJA_MISSING_UNSAFE)
            return jinja_fail_undefined(r, &v);
        if (jinja_truth(&v)) return jinja_exec(r, s->body);
        const jinja_stmt *orelse = s->orelse;
        if (!orelse || orelse->type != JINJA_STMT_IF || orelse->next) return jinja_exec(r, orelse);
        s = orelse;
    }
}

static JINJA_OWN_FRAME qw_status exec_for(jinja_run *r, const jinja_stmt *s)
{
    jinja_value iterable;
    JINJA_TRY(jinja_eval(r, s->expr, &iterable));
    return jinja_run_loop(r, s, &iterable, r->scope, 0);
}

static JINJA_OWN_FRAME qw_status exec_set(jinja_run *r, const jinja_stmt *s)
{
    jinja_value v;
    JINJA_TRY(jinja_eval(r, s->expr, &v));
    return jinja_assign(r, s->target, &v);
}

static JINJA_OWN_FRAME qw_status exec_set_block(jinja_run *r, const jinja_stmt *s)
{
    jinja_value v;
    JINJA_TRY(exec_captured(r, s->body, &v));
    if (s->expr) JINJA_TRY(jinja_eval_filters(r, s->expr, &v, &v));
    return jinja_assign(r, s->target, &v);
}

static JINJA_OWN_FRAME qw_status exec_filter(jinja_run *r, const jinja_stmt *s)
{
    jinja_value v;
    JINJA_TRY(exec_captured(r, s->body, &v));
    JINJA_TRY(jinja_eval_filters(r, s->expr, &v, &v));
    return jinja_write(r, &v);
}

static JINJA_OWN_FRAME qw_status exec_macro(jinja_run *r, const jinja_stmt *s)
{
    jinja_value macro;
    JINJA_TRY(make_macro(r, s, &macro));
    return jinja_scope_set(r, r->scope, s->name, &macro);
}

static JINJA_OWN_FRAME qw_status exec_call(jinja_run *r, const jinja_stmt *s)
{
    jinja_value caller, v;
    JINJA_TRY(make_macro(r, s, &caller));
    JINJA_TRY(jinja_eval_call(r, s->expr, &caller, &v));
    return jinja_write(r, &v);
}

// The values see the scope around the block, not each other.
static JINJA_OWN_FRAME qw_status exec_with(jinja_run *r, const jinja_stmt *s)
{
    jinja_scope *scope = jinja_scope_new(r, r->scope);
    if (!scope) return r->failed;
    for (const jinja_expr *p = s->params; p; p = p->next) {
        jinja_value v;
        JINJA_TRY(jinja_eval(r, p->a, &v));
        JINJA_TRY(jinja_scope_set(r, scope, p->name, &v));
    }
    return exec_in(r, scope, s->body);
}

static qw_status exec_one(jinja_run *r, const jinja_stmt *s)
{
    switch ((jinja_stmt_type)s->type) {
    case JINJA_STMT_TEXT:
        JINJA_TRY(jinja_work(r, s->text.len));
        qw_buf_append(&r->out, s->text.ptr, s->text.len);
        return jinja_check_output(r);
    case JINJA_STMT_PRINT: return exec_print(r, s);
    case JINJA_STMT_IF: return exec_if(r, s);
    case JINJA_STMT_FOR: return exec_for(r, s);
    case JINJA_STMT_SET: return exec_set(r, s);
    case JINJA_STMT_SET_BLOCK: return exec_set_block(r, s);
    case JINJA_STMT_MACRO: return exec_macro(r, s);
    case JINJA_STMT_CALL: return exec_call(r, s);
    case JINJA_STMT_FILTER: return exec_filter(r, s);
    case JINJA_STMT_WITH: return exec_with(r, s);
    case JINJA_STMT_BREAK: r->flow = JINJA_FLOW_BREAK; return QW_OK;
    case JINJA_STMT_CONTINUE: r->flow = JINJA_FLOW_CONTINUE; return QW_OK;
    case JINJA_STMT_REFUSED:
        return jinja_refuse(r, "the tag '%.*s' cannot be used: a chat template has no other files",
                            (int)s->text.len, s->text.ptr);
    }
    return QW_OK;
}

qw_status jinja_exec(jinja_run *r, const jinja_stmt *body)
{
    JINJA_TRY(jinja_enter(r));
    for (const jinja_stmt *s = body; s && r->flow == JINJA_FLOW_ON; s = s->next) {
        r->line = s->line;
        JINJA_TRY(jinja_step(r, 1));
        JINJA_TRY(exec_one(r, s));
    }
    jinja_leave(r);
    return QW_OK;
}
