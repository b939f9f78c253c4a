#ifndef QW_BASE_OPT_INTERNAL_H
#define QW_BASE_OPT_INTERNAL_H

// Shared by opt.c (grammar), opt_value.c (texts to values) and opt_help.c; nobody else.
#include "base/opt.h"

/** Convert v->texts into v->as and check them. */
QW_MUST_CHECK qw_status qw_opt_value_convert(qw_opts *o, qw_opt_value *v, qw_error *err);
/** Write a converted value to its field. */
void qw_opt_value_store(const qw_opt_value *v);
/**
 * What the row accepts, in words ("an integer from 1 to 65535"). NULL-terminated in `text`; cut
 * when it does not fit.
 */
void qw_opt_describe_allowed(const qw_opt *row, char *text, size_t size);
/** True for the built-in --help. */
bool qw_opt_is_help(const qw_opt *row);

#endif
