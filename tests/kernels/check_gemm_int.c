// Products with integer weights: every level against plain C to the bit, whatever the rows, the
// groups and the size.

#include "kernels/harness.h"

#include <math.h>

#include "backend/cpu/cpu_features.h"

enum { C_GAP = 5 }; /* columns of c beyond the panels, which stay as they are */

static const int sizes_n[] = {1, 16, 17, 48, 64, 65, 80};
static const int sizes_k[] = {1, 7, 8, 63, 64, 65, 128, 192, 320, 768, 1024, 4304, 9728, 25600};
static const int sizes_m[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 25, 48};
static const int groups[] = {8, 24, 32, 64, 128, 256, 512};

typedef struct int_case {
    qw_dtype dtype;
    bool is_float; /* the rows are fp32 */
    qw_gemm_int_fn *now, *ref;
    int n_panels, k, kp, m, group;
    qw_int_tile tile; /* of the level */
    const int8_t *q;
    size_t q_stride, c_len;
    void *got, *want;
} int_case;

// Codes of weights: any, the largest, or one that is not zero.
static void fill_codes(kt *t, uint8_t *w, size_t n, qw_dtype dtype, kt_values values)
{
    uint8_t zero = dtype == QW_DTYPE_I8 ? 0x80 : 0x88;
    for (size_t i = 0; i < n; i++) {
        uint8_t random = (uint8_t)kt_random(t);
        if (values == KT_EXTREMES) random = random & 1 ? 0xFF : 0x00;
        w[i] = values == KT_ONE_HOT ? zero : random;
    }
    if (values == KT_ONE_HOT) w[kt_random(t) % n] = (uint8_t)(zero + 1);
}

static void fill_q(kt *t, int8_t *q, int k, kt_values values)
{
    for (int i = 0; i < k; i++)
        q[i] = values == KT_EXTREMES ? (int8_t)(kt_below(t, 2) ? -128 : 127)
                                     : (int8_t)(kt_random(t) >> 24);
}

// Integer rows as the level wants them, with sums; the bytes between rows are never added to.
static void make_rows(kt *t, int_case *c, kt_values values)
{
    const size_t n_sums = c->group > 0 ? (size_t)(c->k / c->group) : 1;
    const bool widened = c->dtype == QW_DTYPE_I8 && t->now.widen_i8;
    c->q_stride = (size_t)c->kp + 16;
    int8_t *q = kt_input(t, 1, c->q_stride * (size_t)c->m);
    int32_t *sums = kt_input(t, 4, n_sums * (size_t)c->m * sizeof *sums);
    size_t stride = (widened ? 2 : 1) * (size_t)c->kp + 64;
    size_t len = (size_t)(c->m - 1) * stride + stride - 64;
    uint8_t *x = kt_input(t, 5, len);
    memset(x, 0x55, len);
    for (int m = 0; m < c->m; m++) {
        int8_t *row = q + (size_t)m * c->q_stride;
        memset(row, 0, c->q_stride);
        fill_q(t, row, c->k, values);
        for (size_t g = 0; g < n_sums; g++) {
            int n = c->group > 0 ? c->group : c->k;
            int32_t sum = 0;
            for (int i = 0; i < n; i++) sum += row[(int)g * n + i];
            sums[(size_t)m * n_sums + g] = sum;
        }
        if (widened) {
            int16_t *wide = kt_output(t, 6, 2 * (size_t)c->kp, 0);
            qw_widen_i8_ref(wide, row, c->kp);
            memcpy(x + (size_t)m * stride, wide, 2 * (size_t)c->kp);
        } else {
            memcpy(x + (size_t)m * stride, row, (size_t)c->kp);
        }
    }
    c->q = q;
    c->tile.x = (qw_int_rows){x, stride, sums, (int)n_sums};
}

static void make_float_rows(kt *t, int_case *c, kt_values values)
{
    size_t stride = (size_t)c->kp + 16, len = (size_t)(c->m - 1) * stride + (size_t)c->kp;
    float *x = kt_input(t, 1, len * sizeof *x);
    kt_fill(t, x, QW_DTYPE_F32, len, values == KT_ONE_HOT ? KT_SMALL_INTEGERS : values);
    for (int m = 1; m < c->m; m++)
        for (float *p = x + (size_t)m * stride - 16; p < x + (size_t)m * stride; p++) *p = NAN;
    c->tile.x_f32 = x;
    c->tile.x_stride = stride;
}

static void make(kt *t, int_case *c, int n, int k, int m, int group, kt_values values)
{
    c->group = group;
    c->k = group > 0 ? (k + group - 1) / group * group : k;
    c->kp = (c->k + 63) / 64 * 64;
    c->n_panels = (n + 15) / 16;
    c->m = m;
    size_t w_len = 2 * (size_t)qw_dtype_bits(c->dtype) * (size_t)c->kp * (size_t)c->n_panels;
    uint8_t *w = kt_input(t, 0, w_len);
    fill_codes(t, w, w_len, c->dtype, values);
    c->tile = (qw_int_tile){.c_stride = 16 * (size_t)c->n_panels + C_GAP,
                            .w = w,
                            .n_panels = c->n_panels,
                            .k = c->k,
                            .kp = c->kp,
                            .n_rows = m,
                            .group = group};
    if (group > 0) {
        size_t len = (size_t)c->n_panels * (size_t)(c->k / group) * 16;
        float *scales = kt_input(t, 7, len * sizeof *scales);
        kt_fill(t, scales, QW_DTYPE_F32, len, KT_NORMAL);
        c->tile.group_scales = scales;
    }
    if (c->is_float)
        make_float_rows(t, c, values);
    else
        make_rows(t, c, values);
    c->c_len = (size_t)(m - 1) * c->tile.c_stride + 16 * (size_t)c->n_panels;
    c->got = kt_output(t, 2, c->c_len * 4, 0x77);
    c->want = kt_output(t, 3, c->c_len * 4, 0x77);
}

static void run_ref(const int_case *c, void *out)
{
    qw_int_tile tile = c->tile;
    tile.c = out;
    tile.x.q = c->q;
    tile.x.stride = c->q_stride;
    c->ref(&tile);
}

static void one(kt *t, int_case *c, int n, int k, int m, int group, kt_values values)
{
    make(t, c, n, k, m, group, values);
    kt_case(t, "N %d K %d M %d group %d, values %d", n, c->k, m, group, (int)values);
    run_ref(c, c->want);
    c->tile.c = c->got;
    c->now(&c->tile);
    // Sums of groups and of floats may be NaN; integers are compared as they are.
    if (c->is_float || group > 0)
        kt_same_bits(t, c->got, c->want, c->c_len);
    else
        kt_same_bytes(t, c->got, c->want, c->c_len * 4);
    kt_check_canaries(t, c->got, c->c_len * 4);
}

#define EACH(i, list) for (size_t i = 0; (i) < QW_ARRAY_LEN(list); (i)++)

static void check_kernel(kt *t, const char *name, int_case c)
{
    static const kt_values kinds[] = {KT_NORMAL, KT_EXTREMES, KT_ONE_HOT};
    t->kernel = name;
    if (c.now == c.ref) return; // no variant at this level
    int v = 0;
    EACH(i, sizes_n) EACH(j, sizes_k)
    {
        if ((int64_t)sizes_n[i] * sizes_k[j] > 1000 * (int64_t)t->work) continue;
        one(t, &c, sizes_n[i], sizes_k[j], 1 + v % 3, 0, kinds[v % 3]), v++;
    }
    EACH(i, sizes_n)
    EACH(j, sizes_m) one(t, &c, sizes_n[i], 200, sizes_m[j], v % 2 ? 0 : 24, kinds[v % 3]), v++;
    EACH(i, groups)
    EACH(j, sizes_m) one(t, &c, 80, 520, sizes_m[j], groups[i], kinds[v++ % 3]);
    for (int done = 0; done < 40 * t->work / 100;) {
        int n = sizes_n[kt_below(t, QW_ARRAY_LEN(sizes_n))];
        int k = sizes_k[kt_below(t, QW_ARRAY_LEN(sizes_k))];
        int m = sizes_m[kt_below(t, QW_ARRAY_LEN(sizes_m))];
        if ((int64_t)n * k * m > 150000) continue;
        int group = kt_below(t, 2) ? groups[kt_below(t, QW_ARRAY_LEN(groups))] : 0;
        one(t, &c, n, k, m, group, kinds[kt_below(t, 3)]);
        done++;
    }
}

void check_gemm_int(kt *t)
{
    const qw_kernels *now = &t->now, *ref = &t->ref;
    if (t->cpu & QW_CPU_AVX512BF16) return; // the kernels of the levels below
    check_kernel(
        t, "gemm_i8",
        (int_case){
            .dtype = QW_DTYPE_I8, .is_float = false, .now = now->gemm_i8, .ref = ref->gemm_i8});
    check_kernel(
        t, "gemm_i4",
        (int_case){
            .dtype = QW_DTYPE_I4, .is_float = false, .now = now->gemm_i4, .ref = ref->gemm_i4});
    if (t->cpu & QW_CPU_VNNI) return;
    check_kernel(t, "gemm_i8_f32",
                 (int_case){.dtype = QW_DTYPE_I8,
                            .is_float = true,
                            .now = now->gemm_i8_f32,
                            .ref = ref->gemm_i8_f32});
    check_kernel(t, "gemm_i4_f32",
                 (int_case){.dtype = QW_DTYPE_I4,
                            .is_float = true,
                            .now = now->gemm_i4_f32,
                            .ref = ref->gemm_i4_f32});
}
