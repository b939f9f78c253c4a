#ifndef QW_BASE_RNG_H
#define QW_BASE_RNG_H

#include "base/compiler.h"

/**
 * Philox4x32-10: four random words for a counter and a key (Salmon et al., "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011). No state, so a number depends on nothing but its name:
 * not on the batch, the thread count or what was drawn before.
 */
void qw_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/**
 * The four words that belong to the token ids 4 * i_group .. 4 * i_group + 3 at a position of a
 * sequence: key = seed, counter = (i_group, 0, position low, position high). The word of token `id`
 * is out[id % 4] of group id / 4.
 */
void qw_rng_token_words(uint32_t out[4], uint64_t seed, uint64_t position, uint32_t i_group);

/** The `i`-th 64-bit seed below `seed`, for requests that bring none of their own. */
uint64_t qw_rng_child_seed(uint64_t seed, uint64_t i);

/** u = (k + 1/2) / 2^23 with k = the upper 23 bits: exact in a float, never 0 and never 1. */
static inline float qw_rng_uniform(uint32_t word)
{
    return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}

#endif
