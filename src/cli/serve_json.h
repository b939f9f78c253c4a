#ifndef QW_CLI_SERVE_JSON_H
#define QW_CLI_SERVE_JSON_H

#include "cli/explain.h"
#include "format/json.h"

/** True if the keys of this option are known one by one (serve_json.c has the table). */
bool qw_serve_json_has_keys(const char *option);

/**
 * Check the object of a JSON option, key by key: a key of the wrong type is QW_ERR_USAGE naming it;
 * each known key is noted in `records` with what it does here; an unknown one is a warning that
 * suggests the nearest.
 */
QW_MUST_CHECK qw_status qw_serve_json_check(qw_explain *records, const char *option,
                                            const json_t *object, qw_opt_source source,
                                            qw_error *err);

/** What --speculative-config says. Texts are borrowed from the object. */
typedef struct qw_draft_config {
    const char *method;             /* NULL: not given */
    const char *model;              /* NULL: not given */
    int64_t num_speculative_tokens; /* 0: the draft's own number */
} qw_draft_config;

/** Read and check it: a known method, a draft model where the method needs one, tokens > 0. */
QW_MUST_CHECK qw_status qw_draft_config_read(qw_draft_config *out, const json_t *object,
                                             qw_error *err);

#endif
