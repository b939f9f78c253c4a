// For loops and the `loop` variable.
//
// Items pass the loop's filter one at a time, as they are needed, because the filter may depend on
// what the body did. A loop that mentions `loop` looks one item ahead, as Jinja's does.

#include "format/jinja_internal.h"

// The next item that passes the filter.
static QW_JINJA_OWN_FRAME qw_status fetch(qw_jinja_run *r, qw_jinja_loop *loop,
                                          qw_jinja_value *item, bool *has)
{
    *has = false;
    while (loop->i_item < loop->n_items && !*has) {
        QW_JINJA_TRY(qw_jinja_step(r, 1));
        *item = loop->items[loop->i_item++];
        *has = true;
        if (!loop->filtered) break;
        qw_jinja_scope *before = r->scope;
        r->scope = loop->filter_scope;
        qw_jinja_value passes;
        QW_JINJA_TRY(qw_jinja_assign(r, loop->stmt->target, item));
        QW_JINJA_TRY(qw_jinja_eval(r, loop->stmt->filter, &passes));
        r->scope = before;
        *has = qw_jinja_truth(&passes);
    }
    return QW_OK;
}

static QW_JINJA_OWN_FRAME qw_status start_loop(qw_jinja_run *r, const qw_jinja_stmt *stmt,
                                               const qw_jinja_value *iterable,
                                               qw_jinja_scope *outer, qw_jinja_loop **out)
{
    qw_jinja_loop *loop = qw_jinja_alloc(r, 1, sizeof *loop);
    if (!loop) return qw_jinja_failure(r);
    *loop = (qw_jinja_loop){
        .stmt = stmt,
        .outer = outer,
        .filtered = stmt->filter != NULL,
        .current = qw_jinja_hint("there is no previous item"),
    };
    if (loop->filtered && !(loop->filter_scope = qw_jinja_scope_new(r, outer))) return r->failed;
    QW_JINJA_TRY(qw_jinja_iterate(r, iterable, &loop->items, &loop->n_items));
    *out = loop;
    return QW_OK;
}

// One round: bind the target and `loop` in an empty scope, run the body.
static QW_JINJA_OWN_FRAME qw_status run_round(qw_jinja_run *r, qw_jinja_loop *loop,
                                              qw_jinja_scope **scope)
{
    if (!*scope || (*scope)->captured) {
        *scope = qw_jinja_scope_new(r, loop->outer);
        if (!*scope) return qw_jinja_failure(r);
    }
    (*scope)->n = 0;
    r->scope = *scope;
    QW_JINJA_TRY(qw_jinja_assign(r, loop->stmt->target, &loop->current));
    if (loop->stmt->uses_loop) {
        qw_jinja_value v = {.kind = QW_JINJA_LOOP, .loop = loop};
        QW_JINJA_TRY(qw_jinja_scope_set(r, *scope, QW_JINJA_NAME_LOOP, &v));
    }
    return qw_jinja_exec(r, loop->stmt->body);
}

// *ran tells if any round came to the body's end: rounds that `break` or `continue` ended do not
// count, because Jinja runs the else part after those.
static QW_JINJA_OWN_FRAME qw_status run_rounds(qw_jinja_run *r, qw_jinja_loop *loop, bool *ran)
{
    qw_jinja_scope *scope = NULL;
    qw_jinja_value item;
    bool has, ahead = loop->stmt->uses_loop;
    QW_JINJA_TRY(fetch(r, loop, &item, &has));
    *ran = false;
    for (; has; loop->index0++) {
        loop->previous = loop->current;
        loop->current = item;
        if (ahead) QW_JINJA_TRY(fetch(r, loop, &loop->following, &loop->has_next));
        QW_JINJA_TRY(run_round(r, loop, &scope));
        r->scope = loop->outer;
        bool leave = r->flow == QW_JINJA_FLOW_BREAK;
        if (r->flow == QW_JINJA_FLOW_ON) *ran = true;
        r->flow = QW_JINJA_FLOW_ON;
        if (leave) break;
        if (ahead) {
            item = loop->following;
            has = loop->has_next;
        } else {
            QW_JINJA_TRY(fetch(r, loop, &item, &has));
        }
    }
    return QW_OK;
}

QW_JINJA_OWN_FRAME qw_status qw_jinja_run_loop(qw_jinja_run *r, const qw_jinja_stmt *stmt,
                                               const qw_jinja_value *iterable,
                                               qw_jinja_scope *outer, int64_t depth0)
{
    qw_jinja_scope *before = r->scope;
    qw_jinja_loop *loop;
    bool ran;
    QW_JINJA_TRY(start_loop(r, stmt, iterable, outer, &loop));
    loop->depth0 = depth0;
    r->scope = outer;
    QW_JINJA_TRY(run_rounds(r, loop, &ran));
    if (!ran && stmt->orelse) {
        r->scope = qw_jinja_scope_new(r, outer);
        if (!r->scope) return qw_jinja_failure(r);
        QW_JINJA_TRY(qw_jinja_exec(r, stmt->orelse));
    }
    r->scope = before;
    return QW_OK;
}

// Number of rounds. With a filter that means to look at all remaining items now.
static qw_status count_rounds(qw_jinja_run *r, qw_jinja_loop *loop, int64_t *out)
{
    if (loop->filtered) {
        qw_jinja_list *rest = qw_jinja_list_new(r, 0);
        if (!rest) return qw_jinja_failure(r);
        for (;;) {
            qw_jinja_value item;
            bool has;
            QW_JINJA_TRY(fetch(r, loop, &item, &has));
            if (!has) break;
            QW_JINJA_TRY(qw_jinja_list_push(r, rest, &item));
        }
        loop->items = rest->items;
        loop->n_items = rest->n;
        loop->i_item = 0;
        loop->filtered = false;
    }
    *out = (int64_t)(loop->n_items - loop->i_item) + loop->index0 + 1 + loop->has_next;
    return QW_OK;
}

qw_status qw_jinja_loop_attr(qw_jinja_run *r, qw_jinja_loop *loop, qw_str name, qw_jinja_value *out,
                             bool *found)
{
    int64_t n;
    *found = true;
    if (qw_str_is(name, "index0")) {
        *out = qw_jinja_int(loop->index0);
    } else if (qw_str_is(name, "index")) {
        *out = qw_jinja_int(loop->index0 + 1);
    } else if (qw_str_is(name, "first")) {
        *out = qw_jinja_bool(loop->index0 == 0);
    } else if (qw_str_is(name, "last")) {
        *out = qw_jinja_bool(!loop->has_next);
    } else if (qw_str_is(name, "previtem")) {
        *out = loop->previous;
    } else if (qw_str_is(name, "nextitem")) {
        *out = loop->has_next ? loop->following : qw_jinja_hint("there is no next item");
    } else if (qw_str_is(name, "depth0")) {
        *out = qw_jinja_int(loop->depth0);
    } else if (qw_str_is(name, "depth")) {
        *out = qw_jinja_int(loop->depth0 + 1);
    } else if (qw_str_is(name, "length")) {
        QW_JINJA_TRY(count_rounds(r, loop, &n));
        *out = qw_jinja_int(n);
    } else if (qw_str_is(name, "revindex")) {
        QW_JINJA_TRY(count_rounds(r, loop, &n));
        *out = qw_jinja_int(n - loop->index0);
    } else if (qw_str_is(name, "revindex0")) {
        QW_JINJA_TRY(count_rounds(r, loop, &n));
        *out = qw_jinja_int(n - loop->index0 - 1);
    } else {
        *found = false;
    }
    return QW_OK;
}

static qw_status loop_cycle(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,
                            qw_jinja_value *out)
{
    if (args->n_pos == 0) return qw_jinja_fail(r, "loop.cycle() has no items to cycle through");
    *out = args->pos[(size_t)self->loop->index0 % args->n_pos];
    return QW_OK;
}

static qw_status loop_changed(qw_jinja_run *r, const qw_jinja_value *self,
                              const qw_jinja_args *args, qw_jinja_value *out)
{
    qw_jinja_loop *loop = self->loop;
    qw_jinja_list *list = qw_jinja_list_new(r, args->n_pos);
    if (!list) return qw_jinja_failure(r);
    if (args->n_pos) memcpy(list->items, args->pos, args->n_pos * sizeof *args->pos);
    list->n = args->n_pos;
    qw_jinja_value now = qw_jinja_sequence(QW_JINJA_TUPLE, list);
    bool same = false;
    if (loop->has_changed) QW_JINJA_TRY(qw_jinja_equal(r, &loop->changed, &now, &same));
    loop->has_changed = true;
    loop->changed = now;
    *out = qw_jinja_bool(!same);
    return QW_OK;
}

const qw_jinja_builtin qw_jinja_loop_methods[] = {
    {"cycle", NULL, loop_cycle},
    {"changed", NULL, loop_changed},
    {NULL, NULL, NULL},
};
