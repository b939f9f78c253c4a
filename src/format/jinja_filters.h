#ifndef QW_FORMAT_JINJA_FILTERS_H
#define QW_FORMAT_JINJA_FILTERS_H

// Private to the filters: jinja_filters.c has those for text and single values, jinja_select.c
// those for sequences.

#include "format/jinja_internal.h"

#define QW_JINJA_FILTER(name)                                                                      \
    static qw_status name(qw_jinja_run *r, const qw_jinja_value *self, const qw_jinja_args *args,  \
                          qw_jinja_value *out)

/** Table of the filters in jinja_select.c. */
extern const qw_jinja_builtin qw_jinja_sequence_filters[];

#endif
