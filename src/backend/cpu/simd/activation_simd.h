// Epilogues of a product, and the cache write, with 16-lane vectors; included once per level after
// its vec16 header. The last vector of a row may be partial.

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/silu_simd.h"

void QW_LEVEL(qw_store)(float *y, const float *t, int n, bool round)
{
    for (int i = 0; i < n; i += 16) {
        v16 v = v16_load_n(t + i, n - i);
        v16_store_n(y + i, round ? v16_round_bf16(v) : v, n - i);
    }
}

void QW_LEVEL(qw_residual)(float *y, const float *t, int n, bool round)
{
    for (int i = 0; i < n; i += 16) {
        v16 h = v16_load_n(y + i, n - i), v = v16_load_n(t + i, n - i);
        v = round ? v16_round_bf16(v16_add(h, v16_round_bf16(v))) : v16_add(h, v);
        v16_store_n(y + i, v, n - i);
    }
}

void QW_LEVEL(qw_silu_mul)(float *y, const float *gate, const float *up, int n, bool round)
{
    for (int i = 0; i < n; i += 16) {
        v16 g = v16_load_n(gate + i, n - i), u = v16_load_n(up + i, n - i);
        v16_store_n(y + i, silu_times(g, u, round), n - i);
    }
}

void QW_LEVEL(qw_kv_store_bf16)(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                                const float *v)
{
    if (layout->head_dim % 32 != 0) { // padding stays as it is
        qw_kv_store_bf16_ref(kv, layout, slot, k, v);
        return;
    }
    size_t dp = (size_t)layout->head_dim_padded;
    uint8_t *key = kv + ((size_t)(slot / 16 * 16) * dp + (size_t)(slot % 16 * 2)) * 2;
    uint8_t *value = kv + layout->part_size + (size_t)slot * dp * 2;
    int d = layout->head_dim;
    for (int i = 0; i < d; i += 16) {
        QW_ALIGNED(64) uint32_t bits[16];
        v16 rounded = v16_round_bf16(v16_load(k + i));
        memcpy(bits, &rounded, sizeof bits);
        for (int j = 0; j < 16; j += 2, key += 64) {
            uint32_t pair = bits[j] >> 16 | bits[j + 1];
            memcpy(key, &pair, sizeof pair);
        }
    }
    for (int i = 0; i < d; i += 32, value += 64)
        v16_store_bf16_pairs(value, v16_round_bf16(v16_load(v + i)),
                             v16_round_bf16(v16_load(v + i + 16)));
}
