#include "backend/cpu/probe.h"

#include "backend/cpu/cpu_features.h"
#include "base/log.h"
#include "base/thread.h"

enum { K = 64 };

// Made by the plain C kernels; kernel_test --check probe compares every level with them.
static const uint32_t expected[QW_PROBE_LEN] = {
    0x428681E2, 0x42744890, 0xC44F0B5D, 0x441E73E3, 0x421998A6, 0xC39402A1, 0xC22A6816, 0x43F52EB9,
    0x42F490D9, 0xC32DA674, 0xC417A987, 0x44846D03, 0x436B66F1, 0x42D1460D, 0xC3F33328, 0x44228232,
    0xC16875E4, 0x4334E4F3, 0xC2E9A0BA, 0xC3BB6D45, 0x41B39562, 0x431EDACD, 0xC2236EA1, 0x43363DE0,
    0x42E18FDE, 0xC3068605, 0xC382885A, 0xC3C85DCF, 0x421EDD6E, 0xC40D80AF, 0x4261C6E6, 0xC3C52ECA,
    0xBEED48BF, 0xC32522D5, 0xC08C9BD6, 0xB84958B4, 0xC43D6383, 0x3BBB08F6, 0xBB7E23F4, 0xBE96187A,
    0x3B6CDF67, 0xBE3828FD, 0x80000000, 0xBE3C8AA9, 0x42C50984, 0xB72882F3, 0x3FC151A7, 0xC122487D,
    0x3D170000, 0xBA010000, 0x3F990000, 0xBA290000, 0x404D0000, 0xC1310000, 0x37130000, 0xBE300000,
    0x3F310000, 0x3E890000, 0xBC700000, 0xC1120000, 0x3E410000, 0xBC340000, 0xBC6C0000, 0x40600000,
};

// Numbers of many magnitudes, so that every sum rounds; the same everywhere, bf16 values if asked.
static float number(uint32_t i, bool rounded)
{
    uint32_t u = (i + 1) * 2654435761u;
    u ^= u >> 15;
    u *= 2246822519u;
    float x = ((float)(int32_t)(u >> 8) - 8388608.0f) * 0x1p-26f * (float)(1 << u % 9);
    return rounded ? qw_round_bf16(x) : x;
}

void qw_probe_run(uint32_t bits[QW_PROBE_LEN], const qw_kernels *k)
{
    uint16_t w16[K * 16];
    float w[K * 16], x[K], y[QW_PROBE_LEN];
    for (uint32_t i = 0; i < K * 16; i++) {
        w16[i] = qw_f32_to_bf16(number(i, true));
        w[i] = number(i, false);
    }
    for (uint32_t i = 0; i < K; i++) x[i] = number(5000 + i, true);
    k->gemm_bf16_x16(y, 16, w16, 1, x, K, 1, K);
    k->gemm_f32(y + 16, 16, w, 1, x, K, 1, K);
    float gate[16];
    for (int i = 0; i < 16; i++) gate[i] = w[i] * (float)(1 << i % 6);
    k->silu_mul(y + 32, gate, w + 16, 16, false);
    k->rms_norm(y + 48, w + 32, w + 48, 16, 1e-6f, true);
    memcpy(bits, y, sizeof y);
}

bool qw_probe_kernels(const qw_kernels *k)
{
    uint32_t bits[QW_PROBE_LEN];
    qw_probe_run(bits, k);
    return memcmp(bits, expected, sizeof expected) == 0;
}

unsigned qw_probe_levels(unsigned levels)
{
    static const unsigned steps[] = {QW_CPU_AVX2, QW_CPU_AVX512, QW_CPU_AVX512BF16, QW_CPU_NEON};
    uint64_t mode = qw_fp_mode_enter();
    for (size_t i = 0; i < QW_ARRAY_LEN(steps); i++) {
        qw_kernels k;
        if (!(levels & steps[i])) continue;
        qw_kernels_init(&k, levels & (steps[i] | (steps[i] - 1)));
        if (qw_probe_kernels(&k)) continue;
        QW_LOG(QW_LOG_WARN, "probe",
               "cpu level '%s' rounds differently on this CPU and is not used",
               qw_cpu_level_name(steps[i]));
        levels &= steps[i] - 1;
        break;
    }
    qw_fp_mode_leave(mode);
    return levels;
}
