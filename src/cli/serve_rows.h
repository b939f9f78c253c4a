#ifndef QW_CLI_SERVE_ROWS_H
#define QW_CLI_SERVE_ROWS_H

#include "base/opt.h"

// The rows of `serve` beside those of model_options.h. Each says with .effect and .why what giving
// the option does; options whose values differ in that have a rule as well.

/** Listening, answering, logging; offsets in qw_serve_options. */
const qw_opt *qw_serve_frontend_rows(size_t *n_rows);
/** The model, scheduling, step plans and other things that the engine does; offsets likewise. */
const qw_opt *qw_serve_engine_rows(size_t *n_rows);
/** What vLLM's command lines bring along and what has no field here. */
const qw_opt *qw_serve_other_rows(size_t *n_rows);

/** What some values of an option do, where that is not what its row says. */
typedef struct qw_value_rule {
    const char *option; /* name with '-' */
    const char *values; /* separated by blanks; NULL: integers above `above` */
    int64_t above;
    qw_opt_effect effect;
    const char *why;
} qw_value_rule;

/** The rule for a value as it was given; NULL: the row's own effect holds. */
const qw_value_rule *qw_value_rule_find(const char *option, const char *value);

#endif
