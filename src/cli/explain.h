#ifndef QW_CLI_EXPLAIN_H
#define QW_CLI_EXPLAIN_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/opt.h"

// What became of each option, variable and JSON key that the user gave: for --explain and for the
// table at start. Every flag tells the truth (architecture.md 2.5).

/** One thing that was given. Texts live as long as the list's arena. */
typedef struct qw_explain_record {
    const char *name;     /* "--port", "VLLM_USE_V1", "--compilation-config.cudagraph_mode" */
    const char *value;    /* as given, shortened; "" for a switch */
    qw_opt_source source; /* flag, environment, config file */
    qw_opt_effect effect;
    const char *why;
} qw_explain_record;

typedef struct qw_explain {
    qw_explain_record *records;
    size_t n_records, cap;
    const char **warnings; /* sentences for the log, each once: unknown keys, old names ... */
    size_t n_warnings, warnings_cap;
    qw_arena arena;
} qw_explain;

void qw_explain_init(qw_explain *e);
void qw_explain_release(qw_explain *e);

/** Copies all texts; `why` is a format. */
QW_MUST_CHECK qw_status qw_explain_add(qw_explain *e, qw_error *err, const char *name,
                                       const char *value, qw_opt_source source,
                                       qw_opt_effect effect, const char *fmt, ...) QW_PRINTF(7, 8);
QW_MUST_CHECK qw_status qw_explain_warn(qw_explain *e, qw_error *err, const char *fmt, ...)
    QW_PRINTF(3, 4);

/** "active", "adjusted" or "inert". */
const char *qw_opt_effect_name(qw_opt_effect effect);

/** Append a line for each record: name and value, effect, why; then the warnings. With
 *  `only_changed` those that are active are left out (the table at start). */
void qw_explain_print(const qw_explain *e, bool only_changed, qw_buf *out);

#endif
