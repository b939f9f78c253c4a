// Quantization of rows, FlatQuant's products, and the way back from integer sums: every level
// against plain C to the bit.

#include "kernels/harness.h"

static const int sizes_k[] = {1, 7, 8, 15, 16, 17, 31, 32, 64, 100, 768, 1024, 4304};

static void quantize_one(kt *t, int k, int group, qw_input_kind kind, kt_values values)
{
    const qw_input_scheme s = {.kind = kind,
                               .scale = 0.031f,
                               .offset = (float)(kt_below(t, 256) - 128),
                               .inverse = kt_below(t, 2) ? 32.5f : 0.0f,
                               .clip_ratio = kt_below(t, 2) ? 1.0f : 0.83f};
    int kp = (k + 63) / 64 * 64, n_sums = group > 0 ? k / group : 1;
    float *x = kt_input(t, 0, (size_t)k * sizeof *x);
    kt_fill(t, x, QW_DTYPE_F32, (size_t)k, values);
    int8_t *got = kt_output(t, 1, (size_t)kp, 0x77), *want = kt_output(t, 2, (size_t)kp, 0x77);
    int32_t *sums = kt_output(t, 3, (size_t)n_sums * sizeof *sums, 0x77);
    int32_t *want_sums = kt_output(t, 4, (size_t)n_sums * sizeof *want_sums, 0x77);
    kt_case(t, "K %d group %d, kind %d, values %d", k, group, (int)kind, (int)values);
    qw_quantized_row g = {.q = got, .sums = sums}, w = {.q = want, .sums = want_sums};
    t->ref.quantize(&w, x, k, kp, group, &s);
    t->now.quantize(&g, x, k, kp, group, &s);
    kt_same_bytes(t, got, want, (size_t)kp);
    kt_same_bytes(t, sums, want_sums, (size_t)n_sums * sizeof *sums);
    kt_same_bits(t, &g.scale, &w.scale, 1);
    kt_check_canaries(t, got, (size_t)kp);
    kt_check_canaries(t, sums, (size_t)n_sums * sizeof *sums);
}

static void check_rows(kt *t)
{
    t->kernel = "quantize";
    if (t->now.quantize == t->ref.quantize) return;
    for (size_t i = 0; i < QW_ARRAY_LEN(sizes_k); i++)
        for (int kind = QW_INPUT_TOKEN8; kind <= QW_INPUT_FLAT4; kind++)
            for (int v = 0; v < KT_N_VALUES; v++) {
                quantize_one(t, sizes_k[i], 0, (qw_input_kind)kind, (kt_values)v);
                if (sizes_k[i] % 8 == 0)
                    quantize_one(t, sizes_k[i], 8, (qw_input_kind)kind, (kt_values)v);
            }
    // Ties: halves of the scale.
    for (int kind = QW_INPUT_TOKEN8; kind <= QW_INPUT_FLAT4; kind++) {
        float *x = kt_input(t, 0, 64 * sizeof *x);
        for (int i = 0; i < 64; i++) x[i] = (float)(i - 32) * 0.5f;
        x[5] = kind == QW_INPUT_TOKEN8 ? 127.0f : 7.0f;
        qw_input_scheme s = {.kind = (qw_input_kind)kind, .scale = 1.0f, .clip_ratio = 1.0f};
        int8_t *got = kt_output(t, 1, 64, 0), *want = kt_output(t, 2, 64, 0);
        int32_t sum, want_sum;
        kt_case(t, "ties, kind %d", kind);
        t->ref.quantize(&(qw_quantized_row){.q = want, .sums = &want_sum}, x, 64, 64, 0, &s);
        t->now.quantize(&(qw_quantized_row){.q = got, .sums = &sum}, x, 64, 64, 0, &s);
        kt_same_bytes(t, got, want, 64);
    }
}

// Both ways of making a row on its way, against the two steps of plain C.
static void made_one(kt *t, bool is_silu, int k, int group, qw_input_kind kind, kt_values values)
{
    const qw_input_scheme s = {.kind = kind,
                               .scale = 0.031f,
                               .offset = (float)(kt_below(t, 256) - 128),
                               .clip_ratio = 0.83f};
    const bool round = kt_below(t, 2);
    int kp = (k + 63) / 64 * 64, n_sums = group > 0 ? k / group : 1;
    float *x = kt_input(t, 0, (size_t)k * sizeof *x), *w = kt_input(t, 1, (size_t)k * sizeof *w);
    kt_fill(t, x, QW_DTYPE_F32, (size_t)k, values);
    kt_fill(t, w, QW_DTYPE_F32, (size_t)k, KT_NORMAL);
    int8_t *got = kt_output(t, 2, (size_t)kp, 0x77), *want = kt_output(t, 3, (size_t)kp, 0x77);
    int32_t *sums = kt_output(t, 4, (size_t)n_sums * sizeof *sums, 0x77);
    int32_t *want_sums = kt_output(t, 5, (size_t)n_sums * sizeof *want_sums, 0x77);
    float *row = kt_output(t, 6, (size_t)k * sizeof *row, 0x77);
    float *want_row = kt_output(t, 7, (size_t)k * sizeof *want_row, 0x77);
    kt_case(t, "K %d group %d, kind %d, values %d, round %d", k, group, (int)kind, (int)values,
            round);
    qw_quantized_row g = {.q = got, .sums = sums}, r = {.q = want, .sums = want_sums};
    if (is_silu) {
        t->ref.silu_mul(want_row, x, w, k, round);
        t->now.silu_quantize(&g, row, x, w, round, k, kp, group, &s);
    } else {
        t->ref.rms_norm(want_row, x, w, k, 1e-6f, round);
        t->now.norm_quantize(&g, row, x, w, 1e-6f, round, k, kp, group, &s);
    }
    t->ref.quantize(&r, want_row, k, kp, group, &s);
    kt_same_bits(t, row, want_row, (size_t)k);
    kt_same_bytes(t, got, want, (size_t)kp);
    kt_same_bytes(t, sums, want_sums, (size_t)n_sums * sizeof *sums);
    kt_same_bits(t, &g.scale, &r.scale, 1);
    kt_check_canaries(t, got, (size_t)kp);
    kt_check_canaries(t, sums, (size_t)n_sums * sizeof *sums);
    kt_check_canaries(t, row, (size_t)k * sizeof *row);
}

static void check_made(kt *t)
{
    for (int is_silu = 0; is_silu < 2; is_silu++) {
        t->kernel = is_silu ? "silu_quantize" : "norm_quantize";
        for (size_t i = 0; i < QW_ARRAY_LEN(sizes_k); i++)
            for (int kind = QW_INPUT_TOKEN8; kind <= QW_INPUT_STATIC8; kind++)
                for (int v = 0; v < KT_N_VALUES; v++)
                    made_one(t, is_silu, sizes_k[i], sizes_k[i] % 8 == 0 && v % 2 ? 8 : 0,
                             (qw_input_kind)kind, (kt_values)v);
    }
}

static void check_widen(kt *t)
{
    t->kernel = "widen_i8";
    if (!t->now.widen_i8 || t->now.widen_i8 == qw_widen_i8_ref) return;
    for (int kp = 64; kp <= 320; kp += 64) {
        int8_t *q = kt_input(t, 0, (size_t)kp);
        for (int i = 0; i < kp; i++) q[i] = (int8_t)(kt_random(t) >> 24);
        int16_t *got = kt_output(t, 1, 2 * (size_t)kp, 0),
                *want = kt_output(t, 2, 2 * (size_t)kp, 0);
        kt_case(t, "K %d", kp);
        qw_widen_i8_ref(want, q, kp);
        t->now.widen_i8(got, q, kp);
        kt_same_bytes(t, got, want, 2 * (size_t)kp);
        kt_check_canaries(t, got, 2 * (size_t)kp);
    }
}

static void flat_one(kt *t, int left, int right, bool has_right, kt_values values)
{
    const qw_input_scheme s = {
        .kind = QW_INPUT_FLAT4, .left = left, .right = right, .has_right = has_right};
    size_t stride = ((size_t)right + 15) / 16 * 16, n = (size_t)left * (size_t)right;
    size_t len = (size_t)left * (size_t)left + (has_right ? (size_t)right * stride : 0);
    size_t room = (size_t)left * stride;
    float *x = kt_input(t, 0, n * sizeof *x), *transforms = kt_input(t, 1, len * sizeof *x);
    kt_fill(t, x, QW_DTYPE_F32, n, values);
    kt_fill(t, transforms, QW_DTYPE_F32, len, KT_NORMAL);
    for (size_t i = 0; i < (size_t)right && has_right; i++)
        for (size_t j = (size_t)right; j < stride; j++)
            transforms[(size_t)left * (size_t)left + i * stride + j] = 0.0f;
    float *got = kt_output(t, 2, room * sizeof *got, 0x77);
    float *want = kt_output(t, 3, room * sizeof *want, 0x77);
    float *space = kt_output(t, 4, room * sizeof *space, 0x77);
    kt_case(t, "%d x %d, values %d", left, right, (int)values);
    t->ref.flat(want, space, x, transforms, &s);
    t->now.flat(got, space, x, transforms, &s);
    kt_same_bits(t, got, want, n);
    kt_check_canaries(t, got, room * sizeof *got);
    kt_check_canaries(t, space, room * sizeof *space);
}

static void check_flat(kt *t)
{
    static const int shapes[][2] = {{1, 1},   {2, 4},   {3, 5},   {7, 16},  {24, 32},
                                    {28, 32}, {32, 48}, {40, 64}, {33, 65}, {64, 80}};
    t->kernel = "flat";
    if (t->now.flat == t->ref.flat) return;
    for (size_t i = 0; i < QW_ARRAY_LEN(shapes); i++)
        for (int v = 0; v < 4; v++)
            flat_one(t, shapes[i][0], shapes[i][1], v != 1,
                     v == 3   ? KT_ONE_NAN
                     : v == 2 ? KT_EXTREMES
                              : KT_NORMAL);
}

static void check_epilogues(kt *t)
{
    t->kernel = "dequant";
    if (t->now.dequant == t->ref.dequant) return;
    for (int n = 16; n <= 64; n += 16)
        for (int v = 0; v < 8; v++) {
            int32_t *c = kt_input(t, 0, (size_t)n * 4), *bias = kt_input(t, 1, (size_t)n * 4);
            float *scales = kt_input(t, 2, (size_t)n * 4), xs = v == 7 ? 0.0f : kt_uniform(t);
            for (int i = 0; i < n; i++) {
                c[i] = (int32_t)kt_random(t) / 2;
                bias[i] = (int32_t)kt_random(t) / 2;
            }
            kt_fill(t, scales, QW_DTYPE_F32, (size_t)n, v % 2 ? KT_EXTREMES : KT_NORMAL);
            float *got = kt_output(t, 3, (size_t)n * 4, 0),
                  *want = kt_output(t, 4, (size_t)n * 4, 0);
            kt_case(t, "N %d", n);
            t->ref.dequant(want, c, v % 3 ? bias : NULL, scales, xs, n);
            t->now.dequant(got, c, v % 3 ? bias : NULL, scales, xs, n);
            kt_same_bits(t, got, want, (size_t)n);
            t->ref.scale(want, scales, xs, n);
            t->now.scale(got, scales, xs, n);
            kt_same_bits(t, got, want, (size_t)n);
            kt_check_canaries(t, got, (size_t)n * 4);
        }
}

void check_quantize(kt *t)
{
    check_rows(t);
    check_made(t);
    check_widen(t);
    check_flat(t);
    check_epilogues(t);
}
