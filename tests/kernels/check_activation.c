#include "kernels/harness.h"

#include <math.h>

enum { MAX = 1024 };

typedef struct arrays {
    float *a, *b, *got, *want;
    size_t size;
} arrays;

static arrays make(kt *t, int n, kt_values values)
{
    arrays s = {.size = (size_t)n * sizeof(float)};
    s.a = kt_input(t, 0, s.size);
    s.b = kt_input(t, 1, s.size);
    kt_fill(t, s.a, QW_DTYPE_F32, (size_t)n, values);
    kt_fill(t, s.b, QW_DTYPE_F32, (size_t)n, values == KT_ONE_NAN ? KT_NORMAL : values);
    s.got = kt_output(t, 2, s.size, 0x77);
    s.want = kt_output(t, 3, s.size, 0x77);
    return s;
}

static void compare(kt *t, const arrays *s)
{
    kt_same_bits(t, s->got, s->want, s->size / sizeof(float));
    kt_check_canaries(t, s->got, s->size);
}

static void epilogues(kt *t, int n, kt_values values, bool round)
{
    t->kernel = "store";
    arrays s = make(t, n, values);
    kt_case(t, "n %d, values %d%s", n, (int)values, round ? ", rounded" : "");
    t->ref.store(s.want, s.a, n, round);
    t->now.store(s.got, s.a, n, round);
    kt_same_bytes(t, s.got, s.want, s.size); // NaN keeps its sign and payload here

    t->kernel = "residual";
    s = make(t, n, values);
    kt_case(t, "n %d, values %d%s", n, (int)values, round ? ", rounded" : "");
    memcpy(s.want, s.b, s.size);
    memcpy(s.got, s.b, s.size);
    t->ref.residual(s.want, s.a, n, round);
    t->now.residual(s.got, s.a, n, round);
    compare(t, &s);

    t->kernel = "silu_mul";
    s = make(t, n, values);
    kt_case(t, "n %d, values %d%s", n, (int)values, round ? ", rounded" : "");
    t->ref.silu_mul(s.want, s.a, s.b, n, round);
    t->now.silu_mul(s.got, s.a, s.b, n, round);
    compare(t, &s);
}

// The exponential over its whole range, through silu; and rounding over all bit patterns.
static void sweep(kt *t, uint32_t step)
{
    arrays s = make(t, MAX, KT_NORMAL);
    for (int i = 0; i < MAX; i++) s.b[i] = 1.0f;
    uint64_t u = (uint64_t)kt_below(t, (int)step);
    while (u < (uint64_t)1 << 32) {
        int n = 0;
        for (; n < MAX && u < (uint64_t)1 << 32; u += step)
            s.a[n++] = qw_f32_from_bits((uint32_t)u);
        t->kernel = "silu_mul";
        kt_case(t, "floats up to %08x", (unsigned)(u - step));
        t->ref.silu_mul(s.want, s.a, s.b, n, false);
        t->now.silu_mul(s.got, s.a, s.b, n, false);
        kt_same_bits(t, s.got, s.want, (size_t)n);
        for (int i = 0; i < n && kt_is_ref(t); i++) {
            double g = s.a[i], want = g / (1 + exp(-g));
            if (fabs(g) < 80 && fabs(want) > 1e-30)
                kt_within(t, s.want[i], want, 4 * 0x1p-23 * fabs(want), (size_t)i);
        }
        t->kernel = "store";
        t->ref.store(s.want, s.a, n, true);
        t->now.store(s.got, s.a, n, true);
        kt_same_bytes(t, s.got, s.want, (size_t)n * sizeof(float));
    }
}

void check_activation(kt *t)
{
    for (int round = 0; round < 2; round++)
        for (int v = 0; v < KT_N_VALUES; v++)
            for (int n = 1; n <= 80; n++) epilogues(t, n, (kt_values)v, round);
    if (t->turn == KT_GUARD_AFTER) sweep(t, (uint32_t)(2003 * 100 / t->work));
}
