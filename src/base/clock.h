#ifndef QW_BASE_CLOCK_H
#define QW_BASE_CLOCK_H

#include <stdint.h>

/** Monotonic time in nanoseconds; only differences mean something. */
int64_t qw_clock_ns(void);

#endif
