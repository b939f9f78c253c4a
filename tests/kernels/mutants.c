// Wrong kernels that the checks must notice. Each differs from plain C in one way that a faster
// version could get wrong; a check that lets one pass is itself broken.

#include "kernels/harness.h"

#include <math.h>

#include "base/fmath.h"

// A row of x without one k, in the middle of the panel.
static void drops_one_k(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                        const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    float *copy = qw_mem_array((size_t)kp, sizeof *copy);
    QW_ASSERT(copy);
    for (int m = 0; m < n_rows; m++) {
        memcpy(copy, x + (size_t)m * x_stride, (size_t)kp * sizeof *copy);
        copy[kp / 3] = 0.0f;
        qw_gemm_f32_ref(c + (size_t)m * c_stride, c_stride, w, n_panels, copy, (size_t)kp, 1, kp);
    }
    qw_mem_free(copy);
}

static void swaps_two_lanes(float *restrict c, size_t c_stride, const void *restrict w,
                            int n_panels, const float *restrict x, size_t x_stride, int n_rows,
                            int kp)
{
    qw_gemm_f32_ref(c, c_stride, w, n_panels, x, x_stride, n_rows, kp);
    for (int m = 0; m < n_rows; m++) {
        float *row = c + (size_t)m * c_stride, first = row[7];
        row[7] = row[8];
        row[8] = first;
    }
}

static void ascending_k(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                        const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    const float *panel = w;
    for (int m = 0; m < n_rows; m++) {
        for (int o = 0; o < 16 * n_panels; o++) {
            float sum = 0.0f;
            for (int k = 0; k < kp; k++)
                sum = fmaf(panel[(size_t)(o / 16) * 16 * (size_t)kp + (size_t)(k * 16 + o % 16)],
                           x[(size_t)m * x_stride + (size_t)k], sum);
            c[(size_t)m * c_stride + (size_t)o] = sum;
        }
    }
}

static void writes_past_the_panels(float *restrict c, size_t c_stride, const void *restrict w,
                                   int n_panels, const float *restrict x, size_t x_stride,
                                   int n_rows, int kp)
{
    qw_gemm_f32_ref(c, c_stride, w, n_panels, x, x_stride, n_rows, kp);
    c[(size_t)(n_rows - 1) * c_stride + 16 * (size_t)n_panels] = 0.0f;
}

static void norm_in_another_order(float *y, const float *x, const float *weight, int n, float eps,
                                  bool round)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum = fmaf(x[i], x[i], sum);
    float r = 1.0f / sqrtf(sum / (float)n + eps);
    for (int i = 0; i < n; i++) {
        float scaled = round ? qw_round_bf16(x[i] * r) : x[i] * r;
        y[i] = round ? qw_round_bf16(scaled * weight[i]) : scaled * weight[i];
    }
}

static void truncates(float *y, const float *t, int n, bool round)
{
    for (int i = 0; i < n; i++)
        y[i] = round ? qw_f32_from_bits(qw_f32_bits(t[i]) & 0xFFFF0000u) : t[i];
}

static void libm_silu(float *y, const float *gate, const float *up, int n, bool round)
{
    qw_silu_mul_ref(y, gate, up, n, round);
    for (int i = 0; i < n && !round; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

// Every row sees as much as the last one.
static void looks_ahead(const qw_attn_tile *tile)
{
    for (int r = 0; r < tile->n_rows; r++) {
        qw_attn_tile row = *tile;
        row.n_rows = 1;
        row.first_pos = tile->first_pos + tile->n_rows - 1;
        row.q += (size_t)r * tile->q_stride;
        row.out += (size_t)r * tile->out_stride;
        if (tile->partial) row.partial += (size_t)r * qw_attention_partial_len(&row);
        qw_attention_bf16_ref(&row);
    }
}

static void forgets_the_newest(const qw_attn_tile *tile)
{
    qw_attn_tile shorter = *tile;
    if (tile->first_pos > 0) shorter.first_pos--;
    qw_attention_bf16_ref(&shorter);
}

static void swaps_pairs(uint8_t *kv, const qw_kv_layout *layout, int slot, const float *k,
                        const float *v)
{
    qw_kv_store_bf16_ref(kv, layout, slot, v, k);
}

static void int_drops_one_k(const qw_int_tile *tile)
{
    qw_int_tile wrong = *tile;
    size_t size = (size_t)tile->n_rows * tile->x.stride;
    int8_t *rows = qw_mem_alloc(size);
    QW_ASSERT(rows);
    for (int m = 0; m < tile->n_rows; m++) {
        size_t at = (size_t)m * tile->x.stride;
        memcpy(rows + at, (const int8_t *)tile->x.q + at, (size_t)tile->kp);
        rows[at + (size_t)(tile->k / 2)] = 0;
    }
    wrong.x.q = rows;
    qw_gemm_i8_ref(&wrong);
    qw_mem_free(rows);
}

static void int_swaps_two_lanes(const qw_int_tile *tile)
{
    qw_gemm_i4_ref(tile);
    int32_t *row = tile->c, first = row[7];
    row[7] = row[8];
    row[8] = first;
}

// The stored offset is not taken away: every output has 128 times the sum of the row too much.
static void int_omits_compensation(const qw_int_tile *tile)
{
    qw_gemm_i8_ref(tile);
    for (int m = 0; m < tile->n_rows && tile->group == 0; m++)
        for (int o = 0; o < 16 * tile->n_panels; o++)
            ((int32_t *)tile->c)[(size_t)m * tile->c_stride + (size_t)o] +=
                128 * tile->x.sums[(size_t)m * (size_t)tile->x.n_sums];
}

static void int_mixes_up_groups(const qw_int_tile *tile)
{
    qw_int_tile wrong = *tile;
    if (tile->group > 0 && tile->k > tile->group) wrong.group_scales += 16;
    if (tile->group > 0 && tile->k > tile->group) wrong.k -= tile->group;
    qw_gemm_i4_ref(&wrong);
}

static void quantizes_ties_away(qw_quantized_row *out, const float *x, int k, int kp, int group,
                                const qw_input_scheme *scheme)
{
    qw_quantize_ref(out, x, k, kp, group, scheme);
    float inverse = out->scale > 0.0f ? 1.0f / out->scale : 0.0f;
    for (int i = 0; i < k && scheme->kind == QW_INPUT_TOKEN8; i++)
        out->q[i] = (int8_t)roundf(x[i] * inverse);
}

// L X R instead of L^T X R.
static void flat_does_not_transpose(float *y, float *t, const float *x, const float *transforms,
                                    const qw_input_scheme *scheme)
{
    size_t n = (size_t)scheme->left, right = ((size_t)scheme->right + 15) / 16 * 16;
    size_t len = n * n + (scheme->has_right ? (size_t)scheme->right * right : 0);
    float *other = qw_mem_array(len, sizeof *other);
    QW_ASSERT(other);
    memcpy(other, transforms, len * sizeof *other);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) other[j * n + i] = transforms[i * n + j];
    qw_flat_ref(y, t, x, other, scheme);
    qw_mem_free(other);
}

typedef struct mutant {
    const char *name;
    void (*check)(kt *t);
    qw_gemm_fn *gemm_f32;
    qw_gemm_int_fn *gemm_i8, *gemm_i4;
    qw_quantize_fn *quantize;
    qw_flat_fn *flat;
    qw_rms_norm_fn *rms_norm;
    qw_store_fn *store;
    qw_silu_mul_fn *silu_mul;
    qw_attention_fn *attention_bf16;
    qw_kv_store_fn *kv_store_bf16;
} mutant;

static const mutant mutants[] = {
    {"gemm drops one k", check_gemm, .gemm_f32 = drops_one_k},
    {"gemm swaps two lanes", check_gemm, .gemm_f32 = swaps_two_lanes},
    {"gemm sums in another order", check_gemm, .gemm_f32 = ascending_k},
    {"gemm writes past its panels", check_gemm, .gemm_f32 = writes_past_the_panels},
    {"int8 drops one k", check_gemm_int, .gemm_i8 = int_drops_one_k},
    {"int4 swaps two lanes", check_gemm_int, .gemm_i4 = int_swaps_two_lanes},
    {"int8 omits the compensation", check_gemm_int, .gemm_i8 = int_omits_compensation},
    {"int4 mixes up its groups", check_gemm_int, .gemm_i4 = int_mixes_up_groups},
    {"quantize rounds ties away", check_quantize, .quantize = quantizes_ties_away},
    {"flat transposes nothing", check_quantize, .flat = flat_does_not_transpose},
    {"norm sums in another order", check_norm_rope, .rms_norm = norm_in_another_order},
    {"store truncates", check_activation, .store = truncates},
    {"silu uses libm", check_activation, .silu_mul = libm_silu},
    {"attention looks ahead", check_attention, .attention_bf16 = looks_ahead},
    {"attention forgets the newest position", check_attention,
     .attention_bf16 = forgets_the_newest},
    {"cache write swaps K and V", check_kv_store, .kv_store_bf16 = swaps_pairs},
};

static void never_called(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                         const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    qw_gemm_f32_ref(c, c_stride, w, n_panels, x, x_stride, n_rows, kp);
}

int kt_run_mutants(kt *t)
{
    int slipped = 0;
    kt quiet;
    kt_init(&quiet, t->seed);
    quiet.quiet = true;
    quiet.level = "mutant";
    quiet.work = 10;
    for (size_t i = 0; i < QW_ARRAY_LEN(mutants); i++) {
        const mutant *m = &mutants[i];
        quiet.now = quiet.ref;
        // Any function that is not the reference's own tells the checks that this is a level.
        quiet.now.gemm_f32 = m->gemm_f32 ? m->gemm_f32 : never_called;
        if (m->gemm_i8) quiet.now.gemm_i8 = m->gemm_i8;
        if (m->gemm_i4) quiet.now.gemm_i4 = m->gemm_i4;
        if (m->quantize) quiet.now.quantize = m->quantize;
        if (m->flat) quiet.now.flat = m->flat;
        if (m->rms_norm) quiet.now.rms_norm = m->rms_norm;
        if (m->store) quiet.now.store = m->store;
        if (m->silu_mul) quiet.now.silu_mul = m->silu_mul;
        if (m->attention_bf16) quiet.now.attention_bf16 = m->attention_bf16;
        if (m->kv_store_bf16) quiet.now.kv_store_bf16 = m->kv_store_bf16;
        quiet.n_failed = 0;
        m->check(&quiet);
        if (quiet.n_failed == 0) {
            printf("FAILED  the checks did not notice: %s\n", m->name);
            slipped++;
        }
    }
    printf("%-12s%zu wrong kernels, %zu noticed\n", "mutants", QW_ARRAY_LEN(mutants),
           QW_ARRAY_LEN(mutants) - (size_t)slipped);
    kt_release(&quiet);
    return slipped;
}
