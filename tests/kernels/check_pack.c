// Packing: every element of the source is where cpu-kernels.md 2.1 puts it, and the padding is
// zero.

#include "kernels/harness.h"

#include "backend/cpu/pack.h"

// Element (row, k) of a packed panel, as fp32.
static float packed_at(const void *panel, qw_dtype dtype, int row, int k)
{
    if (dtype == QW_DTYPE_F32) return ((const float *)panel)[(size_t)k * 16 + (size_t)row];
    uint16_t h = ((const uint16_t *)panel)[(size_t)(k / 2) * 32 + (size_t)(row * 2 + k % 2)];
    return dtype == QW_DTYPE_BF16 ? qw_bf16_to_f32(h) : qw_f16_to_f32(h);
}

static void one(kt *t, qw_dtype source, qw_dtype dtype, int rows, int cols)
{
    int unit = dtype == QW_DTYPE_F32 ? 16 : 32, kp = (cols + unit - 1) / unit * unit;
    size_t size = (size_t)rows * (size_t)cols * (source == QW_DTYPE_F32 ? 4 : 2);
    // One byte more and the file's matrix is misaligned, as in a file.
    uint8_t *data = kt_input(t, 0, size + (size_t)(t->turn == KT_GUARD_BEFORE));
    if (t->turn == KT_GUARD_BEFORE) data++;
    kt_fill(t, data, source, (size_t)rows * (size_t)cols, KT_NORMAL);
    qw_host_matrix m = {.data = data, .dtype = source, .rows = rows, .cols = cols};
    size_t panel_size = 16 * (size_t)kp * (dtype == QW_DTYPE_F32 ? 4 : 2);
    kt_case(t, "%d x %d, %s in %s panels", rows, cols, qw_dtype_name(source), qw_dtype_name(dtype));
    for (int first = 0; first < rows; first += 16) {
        uint8_t *panel = kt_output(t, 1, panel_size, 0x77);
        if (!qw_pack_panel(panel, dtype, kp, (qw_pack_source){&m, first}, first % 32 == 0))
            kt_fail(t, "floats are out of range");
        for (int i = 0; i < 16 * kp; i++) {
            int row = i / kp, k = i % kp;
            bool inside = first + row < rows && k < cols;
            float want = inside ? qw_host_matrix_at(&m, (size_t)(first + row), (size_t)k) : 0.0f;
            if (qw_f32_bits(packed_at(panel, dtype, row, k)) == qw_f32_bits(want)) continue;
            kt_fail(t, "row %d, k %d is %a, not %a", first + row, k,
                    (double)packed_at(panel, dtype, row, k), (double)want);
            break;
        }
        kt_check_canaries(t, panel, panel_size);
    }
}

// Weight (row, k) of a panel of integers.
static int integer_at(const uint8_t *panel, qw_dtype dtype, int row, int k)
{
    if (dtype == QW_DTYPE_I8) return panel[k / 4 * 64 + row * 4 + k % 4] - 128;
    int both = panel[k / 8 * 64 + row * 4 + k % 4];
    return (k % 8 < 4 ? both & 15 : both >> 4) - 8;
}

// The same of a matrix as it is stored.
static int stored_at(const qw_host_matrix *m, int row, int k)
{
    const uint8_t *data = m->data;
    if (m->dtype == QW_DTYPE_I8) return (int8_t)data[(size_t)row * (size_t)m->cols + (size_t)k];
    int nibble = data[(size_t)(row / 2) * (size_t)m->cols + (size_t)k] >> (row % 2 * 4) & 15;
    return nibble < 8 ? nibble : nibble - 16;
}

static void integers(kt *t, qw_dtype source, qw_dtype dtype, int rows, int cols)
{
    int kp = (cols + 63) / 64 * 64;
    qw_host_matrix m = {.dtype = source, .rows = rows, .cols = cols};
    size_t size = qw_host_matrix_rows_size(&m, (size_t)rows);
    uint8_t *data = kt_input(t, 0, size + (size_t)(t->turn == KT_GUARD_BEFORE));
    if (t->turn == KT_GUARD_BEFORE) data++;
    m.data = data;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)kt_random(t);
        if (source != dtype) data[i] = (uint8_t)(data[i] % 16 - 8);
    }
    size_t panel_size = 2 * (size_t)kp * (size_t)qw_dtype_bits(dtype);
    kt_case(t, "%d x %d, %s in %s panels", rows, cols, qw_dtype_name(source), qw_dtype_name(dtype));
    for (int first = 0; first < rows; first += 16) {
        uint8_t *panel = kt_output(t, 1, panel_size, 0x77);
        if (!qw_pack_panel(panel, dtype, kp, (qw_pack_source){&m, first}, first % 32 == 0))
            kt_fail(t, "integers in range are out of range");
        for (int i = 0; i < 16 * kp; i++) {
            int row = i / kp, k = i % kp;
            int want = first + row < rows && k < cols ? stored_at(&m, first + row, k) : 0;
            if (integer_at(panel, dtype, row, k) == want) continue;
            kt_fail(t, "row %d, k %d is %d, not %d", first + row, k,
                    integer_at(panel, dtype, row, k), want);
            break;
        }
        kt_check_canaries(t, panel, panel_size);
    }
}

static void rows_widened(kt *t, qw_dtype dtype, int cols)
{
    size_t size = 3 * (size_t)cols * (dtype == QW_DTYPE_F32 ? 4 : 2);
    void *data = kt_input(t, 0, size);
    kt_fill(t, data, dtype, 3 * (size_t)cols, KT_ONE_NAN);
    qw_host_matrix m = {.data = data, .dtype = dtype, .rows = 3, .cols = cols};
    kt_case(t, "a row of %d %s", cols, qw_dtype_name(dtype));
    for (size_t r = 0; r < 3; r++) {
        float *y = kt_output(t, 1, (size_t)cols * sizeof *y, 0x77);
        qw_host_matrix_row(y, &m, r);
        for (int i = 0; i < cols; i++) {
            float want = qw_host_matrix_at(&m, r, (size_t)i);
            kt_same_bits(t, &y[i], &want, 1);
        }
        kt_check_canaries(t, y, (size_t)cols * sizeof *y);
    }
}

void check_pack(kt *t)
{
    static const int rows[] = {1, 15, 16, 17, 33}, cols[] = {1, 2, 7, 16, 31, 32, 33, 100, 256};
    static const qw_dtype dtypes[] = {QW_DTYPE_F32, QW_DTYPE_F16, QW_DTYPE_BF16};
    t->kernel = "pack";
    if (!kt_is_ref(t)) return; // the same code at every level
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++) {
        for (size_t j = 0; j < QW_ARRAY_LEN(cols); j++) {
            for (size_t s = 0; s < QW_ARRAY_LEN(dtypes); s++) {
                one(t, dtypes[s], dtypes[s], rows[i], cols[j]);
                one(t, dtypes[s], QW_DTYPE_F32, rows[i], cols[j]);
                rows_widened(t, dtypes[s], cols[j]);
            }
            integers(t, QW_DTYPE_I8, QW_DTYPE_I8, rows[i], cols[j]);
            integers(t, QW_DTYPE_I8, QW_DTYPE_I4, rows[i], cols[j]);
            integers(t, QW_DTYPE_I4, QW_DTYPE_I4, rows[i], cols[j]);
        }
    }
}
