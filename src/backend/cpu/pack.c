#include "backend/cpu/pack.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

static size_t element_size(qw_dtype t)
{
    return (size_t)qw_dtype_bits(t) / 8;
}

// Elements of a file may lie at any address: copy instead of casting.
static float load(const void *p, qw_dtype dtype)
{
    uint16_t h;
    float f;
    switch (dtype) {
    case QW_DTYPE_BF16: memcpy(&h, p, 2); return qw_bf16_to_f32(h);
    case QW_DTYPE_F16: memcpy(&h, p, 2); return qw_f16_to_f32(h);
    default: memcpy(&f, p, 4); return f;
    }
}

float qw_host_matrix_at(const qw_host_matrix *m, size_t row, size_t col)
{
    size_t size = element_size(m->dtype);
    if (!m->data) {
        uint32_t element;
        m->row(m->row_ctx, &element, row, col, 1);
        return load(&element, m->dtype);
    }
    return load((const uint8_t *)m->data + (row * (size_t)m->cols + col) * size, m->dtype);
}

qw_pack_source qw_pack_source_of(const qw_host_matrix *segments, int n_segments, qw_concat concat,
                                 int i_panel)
{
    if (concat == QW_CONCAT_INTERLEAVE)
        return (qw_pack_source){&segments[i_panel % n_segments], i_panel / n_segments * 16};
    int s = 0;
    for (; s < n_segments - 1; s++) {
        int n = (segments[s].rows + 15) / 16;
        if (i_panel < n) break;
        i_panel -= n;
    }
    return (qw_pack_source){&segments[s], i_panel * 16};
}

// 16 rows of 16 words become 16 columns: out[i][l] = in[l][i], by 4 x 4 tiles in registers.
typedef uint32_t word4 __attribute__((vector_size(16)));

static inline word4 load4(const uint32_t *p)
{
    word4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store4(uint32_t *p, word4 v, bool stream)
{
#if defined(__x86_64__)
    if (stream) {
        _mm_stream_si128((__m128i *)p, (__m128i)v);
        return;
    }
#endif
    (void)stream;
    memcpy(p, &v, sizeof v);
}

// Streaming stores of this thread become visible to the others.
static inline void store_fence(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

static inline void transpose16(uint32_t *restrict out, const uint32_t *restrict in, bool stream)
{
    for (size_t i = 0; i < 16; i += 4) {
        for (size_t l = 0; l < 16; l += 4) {
            const uint32_t *p = in + l * 16 + i;
            word4 a = load4(p), b = load4(p + 16), c = load4(p + 32), d = load4(p + 48);
            word4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            word4 ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            word4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            word4 cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            word4 column[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                               __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                               __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                               __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
            for (size_t j = 0; j < 4; j++) store4(out + (i + j) * 16 + l, column[j], stream);
        }
    }
}

static void widen(float *y, const uint8_t *p, qw_dtype dtype, int n)
{
    uint16_t h;
    switch (dtype) {
    case QW_DTYPE_BF16:
        for (int i = 0; i < n; i++) {
            memcpy(&h, p + 2 * (size_t)i, 2);
            y[i] = qw_bf16_to_f32(h);
        }
        break;
    case QW_DTYPE_F16:
        for (int i = 0; i < n; i++) {
            memcpy(&h, p + 2 * (size_t)i, 2);
            y[i] = qw_f16_to_f32(h);
        }
        break;
    default: memcpy(y, p, (size_t)n * sizeof *y); break;
    }
}

void qw_host_matrix_row(float *y, const qw_host_matrix *m, size_t row)
{
    size_t row_size = (size_t)m->cols * element_size(m->dtype);
    widen(y, (const uint8_t *)m->data + row * row_size, m->dtype, m->cols);
}

// A panel is a transpose of blocks of 16 words of 16 rows; a word is one fp32 or a pair of halves.
void qw_pack_panel(void *panel, qw_dtype dtype, int kp, qw_pack_source source, bool stream)
{
    const qw_host_matrix *m = source.matrix;
    const int per_block = dtype == QW_DTYPE_F32 ? 16 : 32; // k
    size_t size = element_size(m->dtype), row_size = (size_t)m->cols * size;
    int n_rows = m->rows - source.first_row < 16 ? m->rows - source.first_row : 16;
    const uint8_t *rows = (const uint8_t *)m->data + (size_t)source.first_row * row_size;
    QW_ALIGNED(64) uint32_t block[16 * 16];
    memset(block, 0, sizeof block);
    uint32_t *out = panel;
    for (int k = 0; k < kp; k += per_block, out += 256) {
        int n = m->cols - k < per_block ? m->cols - k : per_block;
        if (n < per_block) memset(block, 0, sizeof block);
        for (int l = 0; l < n_rows && n > 0; l++) {
            const uint8_t *p = rows + (size_t)l * row_size + (size_t)k * size;
            __builtin_prefetch(p + 512); // 16 streams are too many for the hardware
            if (dtype == m->dtype && n == per_block) {
                memcpy(block + 16 * l, p, 64);
            } else if (dtype == m->dtype) {
                memcpy(block + 16 * l, p, (size_t)n * size);
            } else { // panels are fp32
                float wide[16];
                widen(wide, p, m->dtype, n);
                memcpy(block + 16 * l, wide, (size_t)n * sizeof *wide);
            }
        }
        if (stream)
            transpose16(out, block, true);
        else
            transpose16(out, block, false);
    }
    if (stream) store_fence();
}
