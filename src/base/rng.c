#include "base/rng.h"

void qw_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = UINT64_C(0xD2511F53) * c0, b = UINT64_C(0xCD9E8D57) * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; // Weyl sequences: the golden ratio and sqrt(3) - 1
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void words_of(uint32_t out[4], uint64_t seed, uint32_t c0, uint32_t c1, uint64_t c23)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {c0, c1, (uint32_t)c23, (uint32_t)(c23 >> 32)};
    qw_philox4x32(out, counter, key);
}

void qw_rng_token_words(uint32_t out[4], uint64_t seed, uint64_t position, uint32_t i_group)
{
    words_of(out, seed, i_group, 0, position);
}

uint64_t qw_rng_child_seed(uint64_t seed, uint64_t i)
{
    // Counter word 1 is 0 for tokens and 1 here: the two never share a block.
    uint32_t w[4];
    words_of(w, seed, 0, 1, i);
    return (uint64_t)w[1] << 32 | w[0];
}
