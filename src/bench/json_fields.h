#ifndef QW_BENCH_JSON_FIELDS_H
#define QW_BENCH_JSON_FIELDS_H

#include "base/buf.h"
#include "bench/stats.h"

// JSON text, member by member, into a buffer whose first failure sticks: nothing can be left out
// unnoticed. Commas are put where they belong; `key` is NULL for elements of an array.

/** Begin an object ('{') or an array ('['). */
void qw_fields_open(qw_buf *b, const char *key, char bracket);
/** End it with '}' or ']'. */
void qw_fields_close(qw_buf *b, char bracket);
void qw_fields_text(qw_buf *b, const char *key, const char *value);
void qw_fields_number(qw_buf *b, const char *key, double value);
void qw_fields_count(qw_buf *b, const char *key, int64_t value);
void qw_fields_null(qw_buf *b, const char *key);
void qw_fields_flag(qw_buf *b, const char *key, bool value);
/** {"min": ..., "p10": ..., "p50": ..., "p90": ...} */
void qw_fields_summary(qw_buf *b, const char *key, const qw_summary *value);

#endif
