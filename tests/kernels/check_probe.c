// The start-up probe: its constants hold at every level, and it notices kernels that round
// differently.

#include "kernels/harness.h"

#include "backend/cpu/probe.h"

// Rounds the products of each pair together: what a CPU with another order would do.
static void other_order(float *restrict c, size_t c_stride, const void *restrict w, int n_panels,
                        const float *restrict x, size_t x_stride, int n_rows, int kp)
{
    (void)n_panels, (void)n_rows, (void)c_stride, (void)x_stride;
    const uint16_t *p = w;
    for (int l = 0; l < 16; l++) {
        float sum = 0;
        for (int k = 0; k < kp; k += 2)
            sum += qw_bf16_to_f32(p[16 * k + 2 * l]) * x[k] +
                   qw_bf16_to_f32(p[16 * k + 2 * l + 1]) * x[k + 1];
        c[l] = sum;
    }
}

void check_probe(kt *t)
{
    t->kernel = "probe";
    kt_case(t, "64 fixed results");
    if (!qw_probe_kernels(&t->now)) {
        uint32_t bits[QW_PROBE_LEN];
        qw_probe_run(bits, &t->now);
        if (kt_is_ref(t))
            for (int i = 0; i < QW_PROBE_LEN; i++)
                printf("0x%08X,%s", bits[i], i % 8 == 7 ? "\n" : " ");
        kt_fail(t, "results differ from the constants in probe.c");
    }
    qw_kernels wrong = t->now;
    wrong.gemm_bf16_x16 = other_order;
    kt_case(t, "another order of rounding");
    if (qw_probe_kernels(&wrong)) kt_fail(t, "the probe did not notice");
}
