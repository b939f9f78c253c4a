// The cache write of one position: every byte of the page is compared, padding too.

#include "kernels/harness.h"

static void one(kt *t, qw_dtype dtype, int block_size, int d, int slot, kt_values values)
{
    qw_kv_layout layout = qw_kv_layout_make(dtype, block_size, 1, d);
    size_t size = (size_t)d * sizeof(float), page = 2 * layout.part_size;
    float *k = kt_input(t, 0, size), *v = kt_input(t, 1, size);
    kt_fill(t, k, QW_DTYPE_F32, (size_t)d, values);
    kt_fill(t, v, QW_DTYPE_F32, (size_t)d, values);
    uint8_t *got = kt_output(t, 2, page, 0x77), *want = kt_output(t, 3, page, 0x77);
    bool narrow = dtype == QW_DTYPE_BF16;
    kt_case(t, "d %d, block %d, slot %d, values %d", d, block_size, slot, (int)values);
    (narrow ? t->ref.kv_store_bf16 : t->ref.kv_store_f32)(want, &layout, slot, k, v);
    (narrow ? t->now.kv_store_bf16 : t->now.kv_store_f32)(got, &layout, slot, k, v);
    kt_same_bytes(t, got, want, page);
    kt_check_canaries(t, got, page);
}

static void one_i8(kt *t, int block_size, int d, int slot, kt_values values, bool by_channel)
{
    qw_kv_layout layout = qw_kv_layout_make(QW_DTYPE_I8, block_size, 1, d);
    size_t size = (size_t)d * sizeof(float), page = 2 * layout.part_size;
    float *k = kt_input(t, 0, size), *v = kt_input(t, 1, size), *scale = kt_input(t, 4, size);
    kt_fill(t, k, QW_DTYPE_F32, (size_t)d, values);
    kt_fill(t, v, QW_DTYPE_F32, (size_t)d, values);
    for (int i = 0; i < d; i++) scale[i] = 0.03f + 0.02f * kt_uniform(t);
    if (kt_below(t, 8) == 0) memset(v, 0, size);
    const float *channels = by_channel ? scale : NULL;
    uint8_t *got = kt_output(t, 2, page, 0x77), *want = kt_output(t, 3, page, 0x77);
    kt_case(t, "int8, d %d, block %d, slot %d, values %d%s", d, block_size, slot, (int)values,
            by_channel ? ", scales by channel" : "");
    t->ref.kv_store_i8(want, &layout, slot, k, v, channels, channels);
    t->now.kv_store_i8(got, &layout, slot, k, v, channels, channels);
    kt_same_bytes(t, got, want, page);
    kt_check_canaries(t, got, page);
}

void check_kv_store(kt *t)
{
    static const int dims[] = {2, 16, 30, 32, 48, 64, 80, 96, 128, 256};
    t->kernel = "kv_store";
    for (size_t i = 0; i < QW_ARRAY_LEN(dims); i++) {
        for (int n = 0; n < 12; n++) {
            int block_size = 16 * (1 + kt_below(t, 8));
            one(t, n % 2 ? QW_DTYPE_F32 : QW_DTYPE_BF16, block_size, dims[i],
                kt_below(t, block_size), (kt_values)(n % KT_N_VALUES));
            one_i8(t, block_size, dims[i], kt_below(t, block_size), (kt_values)(n % KT_N_VALUES),
                   n >= KT_N_VALUES);
        }
    }
}
