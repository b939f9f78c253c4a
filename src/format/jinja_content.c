// Does a template loop over the content of messages? Then it wants lists of content parts.
//
// Every name gets a set of roles that its values may play anywhere in the template; passes over
// the tree add roles until nothing changes. vLLM's detection (chat_utils.py) is the model; macros
// are followed in addition, because templates for several media like to render content in one.

#include "format/jinja_internal.h"

enum { ROLE_MESSAGES = 1, ROLE_MESSAGE = 2, ROLE_CONTENT = 4 };

#define MAX_PASSES 8 /* roles travel at least one assignment per pass */

typedef struct content_finder {
    uint8_t *roles;               /* per name */
    const qw_jinja_stmt **macros; /* per name: the macro of that name, or NULL */
    bool changed, found;
} content_finder;

static void add_roles(content_finder *f, const qw_jinja_expr *target, uint8_t roles)
{
    if (target->type != QW_JINJA_EXPR_NAME ||
        (f->roles[target->name] | roles) == f->roles[target->name])
        return;
    f->roles[target->name] |= roles;
    f->changed = true;
}

// What an item of something with these roles is.
static uint8_t item_roles(uint8_t roles)
{
    return roles & ROLE_MESSAGES ? ROLE_MESSAGE : 0;
}

static uint8_t member_roles(uint8_t roles, qw_str name)
{
    return (roles & ROLE_MESSAGE) && qw_str_is(name, "content") ? ROLE_CONTENT : 0;
}

static uint8_t filter_roles(uint8_t input, qw_str filter)
{
    static const char *const keep[] = {"list",       "reverse",    "default", "d",    "select",
                                       "selectattr", "rejectattr", "reject",  "trim", "unique"};
    if (qw_str_is(filter, "first") || qw_str_is(filter, "last")) return item_roles(input);
    for (size_t i = 0; i < QW_ARRAY_LEN(keep); i++)
        if (qw_str_is(filter, keep[i])) return input;
    return 0;
}

static uint8_t visit_expr(content_finder *f, const qw_jinja_expr *e);

static uint8_t visit_call(content_finder *f, const qw_jinja_expr *e)
{
    // message.get('content')
    if (e->a->type == QW_JINJA_EXPR_ATTR && qw_str_is(e->a->text, "get") && e->first &&
        e->first->type == QW_JINJA_EXPR_CONST && e->first->constant.kind == QW_JINJA_STRING)
        return member_roles(visit_expr(f, e->a->a), e->first->constant.str);
    const qw_jinja_stmt *macro = e->a->type == QW_JINJA_EXPR_NAME ? f->macros[e->a->name] : NULL;
    const qw_jinja_expr *param = macro ? macro->params : NULL;
    for (const qw_jinja_expr *arg = e->first; arg; arg = arg->next) {
        uint8_t roles = visit_expr(f, arg);
        if (param) add_roles(f, param, roles);
        if (param) param = param->next;
    }
    for (const qw_jinja_expr *arg = e->keywords; arg; arg = arg->next) {
        uint8_t roles = visit_expr(f, arg);
        for (param = macro ? macro->params : NULL; param; param = param->next)
            if (qw_str_eq(param->text, arg->keyword)) add_roles(f, param, roles);
    }
    return 0;
}

// The roles of an expression's value; visits all calls in it.
static uint8_t visit_expr(content_finder *f, const qw_jinja_expr *e)
{
    if (!e) return 0;
    if (e->type == QW_JINJA_EXPR_CALL) return visit_call(f, e);
    uint8_t a = visit_expr(f, e->a), b = visit_expr(f, e->b), c = visit_expr(f, e->c);
    for (const qw_jinja_expr *x = e->first; x; x = x->next) (void)visit_expr(f, x);
    for (const qw_jinja_expr *x = e->keywords; x; x = x->next) (void)visit_expr(f, x);
    switch ((qw_jinja_expr_type)e->type) {
    case QW_JINJA_EXPR_NAME: return f->roles[e->name];
    case QW_JINJA_EXPR_ATTR: return member_roles(a, e->text);
    case QW_JINJA_EXPR_ITEM:
        if (e->b->type == QW_JINJA_EXPR_CONST && e->b->constant.kind == QW_JINJA_STRING)
            return member_roles(a, e->b->constant.str);
        return item_roles(a);
    case QW_JINJA_EXPR_SLICE: return a;
    case QW_JINJA_EXPR_FILTER: return filter_roles(a, e->text);
    case QW_JINJA_EXPR_IF: return b | c;
    case QW_JINJA_EXPR_ARITHMETIC: return e->op == '+' ? a | b : 0;
    case QW_JINJA_EXPR_AND:
    case QW_JINJA_EXPR_OR: return a | b;
    default: return 0;
    }
}

// The statement itself, without its bodies.
static void visit_head(content_finder *f, const qw_jinja_stmt *s)
{
    uint8_t roles = visit_expr(f, s->expr);
    (void)visit_expr(f, s->filter);
    for (const qw_jinja_expr *p = s->params; p; p = p->next) {
        uint8_t value = visit_expr(f, p->a);
        if (s->type == QW_JINJA_STMT_WITH) add_roles(f, p, value);
    }
    if (s->type == QW_JINJA_STMT_FOR) {
        if (roles & ROLE_CONTENT) f->found = true;
        add_roles(f, s->target, item_roles(roles));
    }
    if (s->type == QW_JINJA_STMT_SET) add_roles(f, s->target, roles);
    if (s->type == QW_JINJA_STMT_MACRO) f->macros[s->name] = s;
}

static void visit_body(content_finder *f, const qw_jinja_stmt *body)
{
    for (const qw_jinja_stmt *s = body; s; s = s->next) {
        const qw_jinja_stmt *part = s;
        do { // along the elifs, which may be many
            visit_head(f, part);
            visit_body(f, part->body);
            part = part->orelse;
        } while (part && part->type == QW_JINJA_STMT_IF && !part->next);
        visit_body(f, part);
    }
}

qw_status qw_jinja_find_content_loops(qw_chat_template *t, qw_error *err)
{
    content_finder f = {
        .roles = qw_mem_calloc(t->n_names, sizeof *f.roles),
        .macros = qw_mem_calloc(t->n_names, sizeof *f.macros),
        .changed = true,
    };
    qw_status st = QW_OK;
    if (!f.roles || !f.macros) {
        st = qw_fail_memory(err, t->n_names * sizeof *f.macros, "a chat template");
        goto out;
    }
    for (size_t i = 0; i < t->n_names; i++)
        if (qw_str_is(t->names[i], "messages")) f.roles[i] = ROLE_MESSAGES;
    for (int pass = 0; pass < MAX_PASSES && f.changed && !f.found; pass++) {
        f.changed = pass == 0; // the first pass collects the macros
        visit_body(&f, t->body);
    }
    t->wants_parts = f.found;
out:
    qw_mem_free(f.macros);
    qw_mem_free(f.roles);
    return st;
}
