#ifndef QW_CLI_OPTION_REPR_H
#define QW_CLI_OPTION_REPR_H

#include "base/opt.h"

/** Append the value of a finished option as Python's repr writes it: True, 1.0, 'text', ['a', 'b'].
 *  One that has no value must not be asked for, but for booleans. */
QW_MUST_CHECK qw_status qw_option_repr(qw_buf *out, const qw_opt_value *v, qw_error *err);

#endif
