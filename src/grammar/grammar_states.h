#ifndef QW_GRAMMAR_GRAMMAR_STATES_H
#define QW_GRAMMAR_GRAMMAR_STATES_H

#include "grammar/grammar_pda.h"

/**
 * The states of a pushdown automaton, made when they are first met and numbered, so that going on
 * by a byte is one look-up from then on.
 *
 *   stack   a return node on top of another stack; 0 is the bottom
 *   item    a node that has byte edges, with the stack under it
 *   config  all items the automaton can be in, ascending, and whether the bottom was reached:
 *           what was read so far may be everything. 0 is the config without items: a dead end
 *
 * Memory for a grammar's life. Nothing here locks: the owner does.
 */
enum {
    QW_CONFIG_DEAD = 0,
    QW_CONFIG_FAILED = -1, /* no memory, or too ambiguous: see the error */
    QW_STACK_BOTTOM = 0,
    QW_MAX_ITEMS = 4096, /* of one config */
};

typedef struct qw_state_item {
    int32_t node, stack;
} qw_state_item;

typedef struct qw_state_config {
    int32_t first, n; /* in items */
    bool may_end;
    int32_t hash_next;
} qw_state_config;

typedef struct qw_state_stack {
    int32_t node, parent; /* where to return, and what is below */
    int32_t returned;     /* the config after returning, -1: not made yet */
    int32_t hash_next;
} qw_state_stack;

typedef struct qw_state_seen {
    int32_t node, stack;
    uint32_t stamp;
} qw_state_seen;

typedef struct qw_states {
    const qw_pda *pda;
    qw_state_stack *stacks;
    qw_state_config *configs;
    qw_state_item *items;
    int32_t *next; /* [n_configs][n_classes], -1: not known yet */
    size_t n_stacks, cap_stacks, n_configs, cap_configs, n_items, cap_items;
    size_t cap_next;
    int32_t *stack_heads, *config_heads; /* hash tables: heads of lists; sizes are powers of 2 */
    size_t n_stack_heads, n_config_heads;

    // Scratch of a closure
    qw_state_item *work, *found;
    size_t n_work, n_found;
    qw_state_seen *seen; /* a hash set, emptied by a new stamp */
    uint32_t stamp;
    bool ends;
    int64_t budget; /* items that may still be looked at before it counts as too ambiguous */
    qw_error error; /* of the last QW_CONFIG_FAILED */
} qw_states;

QW_MUST_CHECK qw_status qw_states_init(qw_states *s, const qw_pda *pda, qw_error *err);
void qw_states_release(qw_states *s);
/** Bytes of the tables. */
size_t qw_states_size(const qw_states *s);

/** The config of being at `node` on `stack`, before anything is read. */
int32_t qw_states_enter(qw_states *s, int32_t node, int32_t stack);
/** The config after returning to what `stack` (not the bottom) says. */
int32_t qw_states_return(qw_states *s, int32_t stack);
/** Go on by a byte whose transition is not known yet. */
int32_t qw_states_find_step(qw_states *s, int32_t config, int32_t class);
/** Go on by a byte: a config, QW_CONFIG_DEAD or QW_CONFIG_FAILED. */
static inline int32_t qw_states_step(qw_states *s, int32_t config, uint8_t byte)
{
    int32_t class = s->pda->class_of[byte];
    int32_t known = s->next[(size_t)config * (size_t)s->pda->n_classes + (size_t) class];
    return known >= 0 ? known : qw_states_find_step(s, config, class);
}

/** The config of another table in this one; QW_CONFIG_FAILED when memory is short. `map`
 *  [from->n_stacks], all -1 but for map[0] = 0 at first, remembers stacks. */
int32_t qw_states_import(qw_states *s, const qw_states *from, int32_t config, int32_t *map);

#endif
