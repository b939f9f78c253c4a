#ifndef QW_FORMAT_JINJA_FILTERS_H
#define QW_FORMAT_JINJA_FILTERS_H

// Private to the filters: jinja_filters.c has those for text and single values, jinja_select.c
// those for sequences.

#include "format/jinja_internal.h"

#define JINJA_FILTER(name)                                                                         \
    static qw_status name(jinja_run *r, const jinja_value *self, const jinja_args *args,           \
                          jinja_value *out)

/** Table of the filters in jinja_select.c. */
extern const jinja_builtin jinja_sequence_filters[];

#endif
