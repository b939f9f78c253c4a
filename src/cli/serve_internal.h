#ifndef QW_CLI_SERVE_INTERNAL_H
#define QW_CLI_SERVE_INTERNAL_H

// Shared by serve_options.c (grammar and records), serve_checks.c (what options mean together) and
// serve_resolve.c (what needs files); nobody else.
#include "cli/serve_json.h"
#include "cli/serve_options.h"

extern const char qw_serve_summary[];

/** True for a value that the user gave, by whatever way. */
bool qw_serve_is_given(const qw_opt_value *v);
/** The last text given for an option; NULL when none was. */
const char *qw_serve_text(const qw_serve_options *o, const char *name);

/**
 * --speculative-config, read and checked: *object (caller owns; NULL: not given) holds the texts of
 * *draft.
 */
QW_MUST_CHECK qw_status qw_serve_read_draft(qw_draft_config *draft, json_t **object,
                                            const qw_serve_options *o, qw_error *err);

/** Turn texts and JSON into typed fields and check what belongs together. */
QW_MUST_CHECK qw_status qw_serve_options_check(qw_serve_options *o, qw_error *err);

#endif
