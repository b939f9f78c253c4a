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

size_t qw_host_matrix_rows_size(const qw_host_matrix *m, size_t n)
{
    return (m->dtype == QW_DTYPE_I4 ? (n + 1) / 2 : n * element_size(m->dtype)) * (size_t)m->cols;
}

// The panel's rows of a matrix.
typedef struct panel_rows {
    const uint8_t *data; /* of the first */
    qw_dtype dtype;
    size_t row_size;
    int n, cols;
} panel_rows;

// A panel is a transpose of blocks of 16 words of 16 rows; a word is one fp32, a pair of halves or
// four bytes.
static void fill_block(uint32_t *block, const panel_rows *rows, bool widened, int k, int per_block)
{
    int n = rows->cols - k < per_block ? rows->cols - k : per_block;
    if (n < per_block) memset(block, 0, 1024);
    size_t size = element_size(rows->dtype);
    for (int l = 0; l < rows->n && n > 0; l++) {
        const uint8_t *p = rows->data + (size_t)l * rows->row_size + (size_t)k * size;
        __builtin_prefetch(p + 512); // 16 streams are too many for the hardware
        if (!widened && n == per_block) {
            memcpy(block + 16 * l, p, 64);
        } else if (!widened) {
            memcpy(block + 16 * l, p, (size_t)n * size);
        } else { // panels are fp32
            float wide[16];
            widen(wide, p, rows->dtype, n);
            memcpy(block + 16 * l, wide, (size_t)n * sizeof *wide);
        }
    }
}

// The nibbles at `shift` of four bytes as codes, value + 8.
static inline uint32_t nibble_codes(uint32_t four, int shift)
{
    return (four >> shift & 0x0F0F0F0Fu) ^ 0x08080808u;
}

// What is left of four bytes beside the low nibbles when those are taken as signed: 0 if nothing.
static inline uint32_t beyond_nibbles(uint32_t four)
{
    uint32_t signs = four >> 3 & 0x01010101u;
    return (four >> 4 & 0x0F0F0F0Fu) ^ signs * 15;
}

// Int4: a word is 8 k, codes of the first four in the low nibbles. False: out of range.
static bool fill_block_i4(uint32_t *block, const panel_rows *rows, int k)
{
    enum { PER_BLOCK = 128 };
    int n = rows->cols - k < PER_BLOCK ? rows->cols - k : PER_BLOCK;
    bool packed = rows->dtype == QW_DTYPE_I4;
    uint32_t outside = 0;
    memset(block, 0x88, 1024);
    for (int l = 0; l < rows->n && n > 0; l++) {
        const uint8_t *p = rows->data + (size_t)(packed ? l / 2 : l) * rows->row_size + (size_t)k;
        __builtin_prefetch(p + 512);
        uint8_t bytes[PER_BLOCK] = {0};
        memcpy(bytes, p, (size_t)n);
        int shift = packed ? l % 2 * 4 : 0;
        for (size_t i = 0; i < PER_BLOCK / 8; i++) {
            uint32_t low, high;
            memcpy(&low, bytes + 8 * i, 4);
            memcpy(&high, bytes + 8 * i + 4, 4);
            if (!packed) outside |= beyond_nibbles(low) | beyond_nibbles(high);
            block[16 * (size_t)l + i] = nibble_codes(low, shift) | nibble_codes(high, shift) << 4;
        }
    }
    return outside == 0;
}

bool qw_pack_panel(void *panel, qw_dtype dtype, int kp, qw_pack_source source, bool stream)
{
    const qw_host_matrix *m = source.matrix;
    const int per_block = 512 / qw_dtype_bits(dtype); // k
    int n_rows = m->rows - source.first_row < 16 ? m->rows - source.first_row : 16;
    const panel_rows rows = {
        .data = (const uint8_t *)m->data + qw_host_matrix_rows_size(m, (size_t)source.first_row),
        .dtype = m->dtype,
        .row_size = qw_host_matrix_rows_size(m, 1),
        .n = n_rows,
        .cols = m->cols,
    };
    bool in_range = true;
    QW_ALIGNED(64) uint32_t block[16 * 16];
    memset(block, 0, sizeof block);
    uint32_t *out = panel;
    for (int k = 0; k < kp; k += per_block, out += 256) {
        if (dtype == QW_DTYPE_I4)
            in_range &= fill_block_i4(block, &rows, k);
        else
            fill_block(block, &rows, dtype != m->dtype, k, per_block);
        if (dtype == QW_DTYPE_I8)
            for (int i = 0; i < 256; i++) block[i] ^= 0x80808080u;
        if (kp - k < per_block) { // half a block of int4
            QW_ALIGNED(64) uint32_t last[16 * 16];
            transpose16(last, block, false);
            memcpy(out, last, sizeof last / 2);
        } else if (stream) {
            transpose16(out, block, true);
        } else {
            transpose16(out, block, false);
        }
        if (dtype == QW_DTYPE_I8)
            for (int i = 0; i < 256; i++) block[i] ^= 0x80808080u; // rows beyond the matrix stay 0
    }
    if (stream) store_fence();
    return in_range;
}
