#ifndef QW_BASE_RANDOM_HEX_H
#define QW_BASE_RANDOM_HEX_H

#include <stddef.h>

/** Write `n` (<= 64) random lower-case hex digits and a NUL: names of requests. Any thread. */
void qw_random_hex(char *out, size_t n);

#endif
