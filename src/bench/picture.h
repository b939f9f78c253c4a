#ifndef QW_BENCH_PICTURE_H
#define QW_BENCH_PICTURE_H

#include "base/buf.h"
#include "bench/draws.h"

/**
 * Append a PNG file of random pixels: 8-bit indices into a palette of random colours, stored
 * without compression, which noise does not have anyway. Sizes are 1 .. 16384.
 */
void qw_picture_png(qw_buf *out, int64_t width, int64_t height, qw_draws *draws);

/** Append base64 with padding. */
void qw_picture_base64(qw_buf *out, const void *data, size_t len);

#endif
