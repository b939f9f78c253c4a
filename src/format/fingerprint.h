#ifndef QW_FORMAT_FINGERPRINT_H
#define QW_FORMAT_FINGERPRINT_H

#include "format/checkpoint.h"

/** What derived files say about their source: XXH3-128. */
typedef struct qw_fingerprint {
    uint64_t low, high;
} qw_fingerprint;

/**
 * Of a checkpoint on disk, in milliseconds (cpu-kernels 2.4): of every shard its size, its time of
 * change and its whole header; of every tensor its place and its first and last 4 KiB; the
 * quantization description. A change that keeps all of these is not seen.
 */
qw_fingerprint qw_fingerprint_of(const qw_checkpoint *checkpoint);

#endif
