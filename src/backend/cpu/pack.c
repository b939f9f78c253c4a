#include "backend/cpu/pack.h"

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

void qw_pack_panel(void *panel, qw_dtype dtype, int kp, qw_pack_source source)
{
    const qw_host_matrix *m = source.matrix;
    size_t size = element_size(m->dtype), row_size = (size_t)m->cols * size;
    memset(panel, 0, 16 * (size_t)kp * element_size(dtype));
    for (int l = 0; l < 16 && source.first_row + l < m->rows; l++) {
        const uint8_t *row = (const uint8_t *)m->data + (size_t)(source.first_row + l) * row_size;
        if (dtype == QW_DTYPE_F32) {
            float *out = (float *)panel + l; // [k][16]
            for (int k = 0; k < m->cols; k++) out[(size_t)k * 16] = load(row + (size_t)k * size, m->dtype);
        } else {
            uint16_t *out = (uint16_t *)panel + 2 * l; // [k/2][16][2], same dtype as the source
            for (int k = 0; k < m->cols; k++)
                memcpy(&out[(size_t)(k / 2) * 32 + (size_t)(k % 2)], row + (size_t)k * 2, 2);
        }
    }
}
