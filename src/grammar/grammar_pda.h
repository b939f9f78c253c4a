#ifndef QW_GRAMMAR_GRAMMAR_PDA_H
#define QW_GRAMMAR_GRAMMAR_PDA_H

#include "base/mem.h"
#include "base/status.h"
#include "base/str.h"

/**
 * A pushdown automaton over bytes being built: rules of nodes, joined by edges.
 *
 *   rule r:   start ---byte lo..hi---> node ---call rule q---> node ---nothing---> node (end)
 *
 * A call means: what q accepts, then on from the edge's target. Rules may call each other and
 * themselves. Building never returns a status: the first failure sticks, later calls do nothing
 * and return node 0, and qw_pda_finish tells.
 */
enum {
    QW_PDA_MAX_NODES = 600000,
    QW_PDA_MAX_EDGES = 1200000,
    QW_PDA_MAX_WORK = 30000000, /* steps of all kinds while compiling: a second or less */
    QW_PDA_NO_RULE = -1,
};

typedef struct qw_pda_edge {
    int32_t to;
    int32_t rule;   /* >= 0: a call; -1: bytes lo..hi; -2: nothing */
    int32_t next;   /* while building: the node's next edge, -1: none */
    uint8_t lo, hi; /* of bytes */
} qw_pda_edge;

enum { QW_EDGE_BYTES = -1, QW_EDGE_EMPTY = -2 };

typedef struct qw_pda_node {
    int32_t first; /* edge; after finishing, edges first .. first + n - 1 */
    int32_t n;
    int32_t alias; /* a node with the same tokens: see qw_pda_alias */
    bool is_end;   /* of its rule */
} qw_pda_node;

typedef struct qw_pda_rule {
    int32_t start;
    int32_t end;
    qw_str name; /* for errors, borrowed until qw_pda_finish; ptr NULL: none */
} qw_pda_rule;

typedef struct qw_pda {
    qw_pda_node *nodes;
    qw_pda_edge *edges;
    qw_pda_rule *rules;
    int32_t n_nodes, n_edges, n_rules;
    int32_t cap_nodes, cap_edges, cap_rules;
    size_t work;
    qw_status failed; /* QW_OK so far */
    qw_error error;
    uint8_t class_of[256]; /* after finishing: bytes that no edge tells apart */
    int32_t n_classes;
} qw_pda;

void qw_pda_init(qw_pda *p);
void qw_pda_release(qw_pda *p);
/** Record a failure, unless there is one; returns the status that sticks. */
qw_status qw_pda_fail(qw_pda *p, qw_status code, const char *fmt, ...) QW_PRINTF(3, 4);
qw_status qw_pda_fail_memory(qw_pda *p);
/** Count `n` steps of work; false if there was a failure, or too much work now. */
bool qw_pda_spend(qw_pda *p, size_t n);
static inline bool qw_pda_ok(const qw_pda *p)
{
    return p->failed == QW_OK;
}

int32_t qw_pda_node_new(qw_pda *p);
/** A rule with a start and an end node. */
int32_t qw_pda_rule_new(qw_pda *p);
void qw_pda_bytes(qw_pda *p, int32_t from, uint8_t lo, uint8_t hi, int32_t to);
void qw_pda_empty(qw_pda *p, int32_t from, int32_t to);
void qw_pda_call(qw_pda *p, int32_t from, int32_t rule, int32_t to);
void qw_pda_literal(qw_pda *p, int32_t from, qw_str bytes, int32_t to);
/** One of `n` byte strings, as a tree so that common beginnings are one path. Sorts `strings`. */
void qw_pda_literals(qw_pda *p, int32_t from, qw_str *strings, size_t n, int32_t to);
/**
 * From `node` the same tokens are possible as from `as`, a node of the same rule, as far as they do
 * not leave the rule; and they leave it after the same bytes.
 */
void qw_pda_alias(qw_pda *p, int32_t node, int32_t as);

/**
 * No more building: takes out what can never reach the end of its rule, refuses left recursion and
 * a `root` that accepts nothing, sorts edges, and makes the byte classes.
 */
QW_MUST_CHECK qw_status qw_pda_finish(qw_pda *p, int32_t root, qw_error *err);

#endif
