// For loops and the `loop` variable.
//
// Items pass the loop's filter one at a time, as they are needed, because the filter may depend on
// what the body did. A loop that mentions `loop` looks one item ahead, as Jinja's does.

#include "format/jinja_internal.h"

// The next item that passes the filter.
static JINJA_OWN_FRAME qw_status fetch(jinja_run *r, jinja_loop *loop, jinja_value *item, bool *has)
{
    *has = false;
    while (loop->i_item < loop->n_items && !*has) {
        JINJA_TRY(jinja_step(r, 1));
        *item = loop->items[loop->i_item++];
        *has = true;
        if (!loop->filtered) break;
        jinja_scope *before = r->scope;
        r->scope = loop->filter_scope;
        jinja_value passes;
        JINJA_TRY(jinja_assign(r, loop->stmt->target, item));
        JINJA_TRY(jinja_eval(r, loop->stmt->filter, &passes));
        r->scope = before;
        *has = jinja_truth(&passes);
    }
    return QW_OK;
}

static JINJA_OWN_FRAME qw_status start_loop(jinja_run *r, const jinja_stmt *stmt,
                                            const jinja_value *iterable, jinja_scope *outer,
                                            jinja_loop **out)
{
    jinja_loop *loop = jinja_alloc(r, 1, sizeof *loop);
    if (!loop) return r->failed;
    *loop = (jinja_loop){
        .stmt = stmt,
        .outer = outer,
        .filtered = stmt->filter != NULL,
        .current = jinja_hint("there is no previous item"),
    };
    if (loop->filtered && !(loop->filter_scope = jinja_scope_new(r, outer))) return r->failed;
    JINJA_TRY(jinja_iterate(r, iterable, &loop->items, &loop->n_items));
    *out = loop;
    return QW_OK;
}

// One round: bind the target and `loop` in an empty scope, run the body.
static JINJA_OWN_FRAME qw_status run_round(jinja_run *r, jinja_loop *loop, jinja_scope **scope)
{
    if (!*scope || (*scope)->captured) {
        *scope = jinja_scope_new(r, loop->outer);
        if (!*scope) return r->failed;
    }
    (*scope)->n = 0;
    r->scope = *scope;
    JINJA_TRY(jinja_assign(r, loop->stmt->target, &loop->current));
    if (loop->stmt->uses_loop) {
        jinja_value v = {.kind = JINJA_LOOP, .loop = loop};
        JINJA_TRY(jinja_scope_set(r, *scope, JINJA_NAME_LOOP, &v));
    }
    return jinja_exec(r, loop->stmt->body);
}

static JINJA_OWN_FRAME qw_status run_rounds(jinja_run *r, jinja_loop *loop, bool *ran)
{
    jinja_scope *scope = NULL;
    jinja_value item;
    bool has, ahead = loop->stmt->uses_loop;
    JINJA_TRY(fetch(r, loop, &item, &has));
    *ran = has;
    for (; has; loop->index0++) {
        loop->previous = loop->current;
        loop->current = item;
        if (ahead) JINJA_TRY(fetch(r, loop, &loop->following, &loop->has_next));
        JINJA_TRY(run_round(r, loop, &scope));
        r->scope = loop->outer;
        bool leave = r->flow == JINJA_FLOW_BREAK;
        r->flow = JINJA_FLOW_ON;
        if (leave) break;
        if (ahead) {
            item = loop->following;
            has = loop->has_next;
        } else {
            JINJA_TRY(fetch(r, loop, &item, &has));
        }
    }
    return QW_OK;
}

JINJA_OWN_FRAME qw_status jinja_run_loop(jinja_run *r, const jinja_stmt *stmt,
                                         const jinja_value *iterable, jinja_scope *outer,
                                         int64_t depth0)
{
    jinja_scope *before = r->scope;
    jinja_loop *loop;
    bool ran;
    JINJA_TRY(start_loop(r, stmt, iterable, outer, &loop));
    loop->depth0 = depth0;
    r->scope = outer;
    JINJA_TRY(run_rounds(r, loop, &ran));
    if (!ran && stmt->orelse) {
        r->scope = jinja_scope_new(r, outer);
        if (!r->scope) return r->failed;
        JINJA_TRY(jinja_exec(r, stmt->orelse));
    }
    r->scope = before;
    return QW_OK;
}

// Number of rounds. With a filter that means to look at all remaining items now.
static qw_status count_rounds(jinja_run *r, jinja_loop *loop, int64_t *out)
{
    if (loop->filtered) {
        jinja_list *rest = jinja_list_new(r, 0);
        if (!rest) return r->failed;
        for (;;) {
            jinja_value item;
            bool has;
            JINJA_TRY(fetch(r, loop, &item, &has));
            if (!has) break;
            JINJA_TRY(jinja_list_push(r, rest, &item));
        }
        loop->items = rest->items;
        loop->n_items = rest->n;
        loop->i_item = 0;
        loop->filtered = false;
    }
    *out = (int64_t)(loop->n_items - loop->i_item) + loop->index0 + 1 + loop->has_next;
    return QW_OK;
}

qw_status jinja_loop_attr(jinja_run *r, jinja_loop *loop, qw_str name, jinja_value *out,
                          bool *found)
{
    int64_t n;
    *found = true;
    if (qw_str_is(name, "index0")) {
        *out = jinja_int(loop->index0);
    } else if (qw_str_is(name, "index")) {
        *out = jinja_int(loop->index0 + 1);
    } else if (qw_str_is(name, "first")) {
        *out = jinja_bool(loop->index0 == 0);
    } else if (qw_str_is(name, "last")) {
        *out = jinja_bool(!loop->has_next);
    } else if (qw_str_is(name, "previtem")) {
        *out = loop->previous;
    } else if (qw_str_is(name, "nextitem")) {
        *out = loop->has_next ? loop->following : jinja_hint("there is no next item");
    } else if (qw_str_is(name, "depth0")) {
        *out = jinja_int(loop->depth0);
    } else if (qw_str_is(name, "depth")) {
        *out = jinja_int(loop->depth0 + 1);
    } else if (qw_str_is(name, "length")) {
        JINJA_TRY(count_rounds(r, loop, &n));
        *out = jinja_int(n);
    } else if (qw_str_is(name, "revindex")) {
        JINJA_TRY(count_rounds(r, loop, &n));
        *out = jinja_int(n - loop->index0);
    } else if (qw_str_is(name, "revindex0")) {
        JINJA_TRY(count_rounds(r, loop, &n));
        *out = jinja_int(n - loop->index0 - 1);
    } else {
        *found = false;
    }
    return QW_OK;
}

static qw_status loop_cycle(jinja_run *r, const jinja_value *self, const jinja_args *args,
                            jinja_value *out)
{
    if (args->n_pos == 0) return jinja_fail(r, "loop.cycle() has no items to cycle through");
    *out = args->pos[(size_t)self->loop->index0 % args->n_pos];
    return QW_OK;
}

static qw_status loop_changed(jinja_run *r, const jinja_value *self, const jinja_args *args,
                              jinja_value *out)
{
    jinja_loop *loop = self->loop;
    jinja_list *list = jinja_list_new(r, args->n_pos);
    if (!list) return r->failed;
    if (args->n_pos) memcpy(list->items, args->pos, args->n_pos * sizeof *args->pos);
    list->n = args->n_pos;
    jinja_value now = jinja_sequence(JINJA_TUPLE, list);
    bool same = false;
    if (loop->has_changed) JINJA_TRY(jinja_equal(r, &loop->changed, &now, &same));
    loop->has_changed = true;
    loop->changed = now;
    *out = jinja_bool(!same);
    return QW_OK;
}

const jinja_builtin jinja_loop_methods[] = {
    {"cycle", NULL, loop_cycle},
    {"changed", NULL, loop_changed},
    {NULL, NULL, NULL},
};
