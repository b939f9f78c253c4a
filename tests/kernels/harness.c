#include "kernels/harness.h"

#include <math.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void kt_init(kt *t, uint64_t seed)
{
    *t = (kt){.seed = seed, .state = seed * 2 + 1, .work = 100};
    qw_kernels_init(&t->ref, 0);
    t->now = t->ref;
}

static void buffer_release(kt_buffer *b)
{
    if (b->base) munmap(b->base, b->size + 2 * page_size());
    *b = (kt_buffer){0};
}

void kt_release(kt *t)
{
    for (int i = 0; i < KT_N_BUFFERS; i++) buffer_release(&t->buffers[i]);
}

// Room for `size` bytes between two unreadable pages.
static uint8_t *buffer_reserve(kt *t, int slot, size_t size)
{
    kt_buffer *b = &t->buffers[slot];
    size_t page = page_size();
    if (b->size < size) {
        buffer_release(b);
        b->size = (size + size / 2 + page) / page * page;
        b->base = mmap(NULL, b->size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        QW_ASSERT(b->base != MAP_FAILED);
        QW_ASSERT(mprotect(b->base + page, b->size, PROT_READ | PROT_WRITE) == 0);
    }
    return b->base + page;
}

void *kt_input(kt *t, int slot, size_t size)
{
    uint8_t *p = buffer_reserve(t, slot, size);
    return t->turn == KT_GUARD_AFTER ? p + t->buffers[slot].size - size : p;
}

void *kt_output(kt *t, int slot, size_t size, int fill)
{
    uint8_t *p = buffer_reserve(t, slot, size + 2 * KT_CANARY);
    memset(p, 0xC5, KT_CANARY);
    memset(p + KT_CANARY, fill, size);
    memset(p + KT_CANARY + size, 0xC5, KT_CANARY);
    return p + KT_CANARY;
}

void kt_check_canaries(kt *t, const void *output, size_t size)
{
    const uint8_t *p = output;
    for (int i = 0; i < KT_CANARY; i++) {
        bool before = p[-1 - i] != 0xC5, after = p[size + (size_t)i] != 0xC5;
        if (!before && !after) continue;
        kt_fail(t, "wrote byte %d %s the output", i, before ? "before" : "after");
        return;
    }
}

// splitmix64
uint32_t kt_random(kt *t)
{
    uint64_t z = t->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

int kt_below(kt *t, int n)
{
    return (int)((uint64_t)kt_random(t) * (uint64_t)n >> 32);
}

float kt_uniform(kt *t)
{
    return ((float)(kt_random(t) >> 8) + 0.5f) * 0x1p-23f - 1.0f;
}

static float extreme(kt *t)
{
    static const float list[] = {0x1.FEp127f, -0x1.FEp127f, 0x1p-126f, -0x1p-126f,
                                 0x1p-130f,   -0x1p-133f,   0x1p-70f,  0x1p60f,
                                 0.0f,        -0.0f,        65504.0f,  0x1p-24f};
    return list[kt_below(t, QW_ARRAY_LEN(list))];
}

static float value(kt *t, kt_values values)
{
    switch (values) {
    case KT_SMALL_INTEGERS: return (float)(kt_below(t, 17) - 8);
    case KT_EXTREMES: return extreme(t);
    case KT_ONE_HOT: return 0.0f;
    default: return kt_uniform(t) * (kt_below(t, 8) == 0 ? 8.0f : 1.0f);
    }
}

// Truncating is enough for test values; denormals stay what they are.
static uint16_t to_f16(float x)
{
    uint32_t u = qw_f32_bits(x), sign = u >> 16 & 0x8000u;
    int exponent = (int)(u >> 23 & 0xFFu) - 112;
    uint32_t m = u & 0x7FFFFFu;
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (exponent >= 31) return (uint16_t)(sign | 0x7C00u);
    if (exponent <= -11) return (uint16_t)sign;
    if (exponent <= 0) return (uint16_t)(sign | (m | 0x800000u) >> (14 - exponent));
    return (uint16_t)(sign | (uint32_t)exponent << 10 | m >> 13);
}

static void put(void *out, qw_dtype dtype, size_t i, float x)
{
    uint16_t h = dtype == QW_DTYPE_BF16 ? qw_f32_to_bf16(x) : to_f16(x);
    if (dtype == QW_DTYPE_F32)
        memcpy((uint8_t *)out + 4 * i, &x, 4);
    else
        memcpy((uint8_t *)out + 2 * i, &h, 2);
}

static float special(kt_values values)
{
    return values == KT_ONE_NAN ? NAN : values == KT_ONE_INF ? INFINITY : 1.0f;
}

void kt_fill(kt *t, void *out, qw_dtype dtype, size_t n, kt_values values)
{
    for (size_t i = 0; i < n; i++) put(out, dtype, i, value(t, values));
    if (n > 0 && values >= KT_ONE_NAN) put(out, dtype, kt_random(t) % n, special(values));
}

void kt_fill_rounded(kt *t, float *out, size_t n, kt_values values)
{
    for (size_t i = 0; i < n; i++) out[i] = qw_round_bf16(value(t, values));
    if (n > 0 && values >= KT_ONE_NAN) out[kt_random(t) % n] = special(values);
}

void kt_case(kt *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->shape, sizeof t->shape, fmt, args);
    va_end(args);
    t->n_cases++;
}

void kt_fail(kt *t, const char *fmt, ...)
{
    t->n_failed++;
    if (t->quiet || t->n_failed > 20) return;
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    printf("FAILED  %s %s, %s, guard %s, seed %" PRIu64 ": %s\n", t->level, t->kernel, t->shape,
           t->turn == KT_GUARD_AFTER ? "after" : "before", t->seed, text);
}

void kt_same_bits(kt *t, const float *got, const float *want, size_t n)
{
    if (memcmp(got, want, n * sizeof *got) == 0) return;
    for (size_t i = 0; i < n; i++) {
        uint32_t g = qw_f32_bits(got[i]), w = qw_f32_bits(want[i]);
        if (g == w || (isnan(got[i]) && isnan(want[i]))) continue;
        kt_fail(t, "element %zu is %a (%08x), not %a (%08x)", i, (double)got[i], g, (double)want[i],
                w);
        return;
    }
}

void kt_same_bytes(kt *t, const void *got, const void *want, size_t n)
{
    const uint8_t *g = got, *w = want;
    if (memcmp(g, w, n) == 0) return;
    size_t i = 0;
    while (g[i] == w[i]) i++;
    kt_fail(t, "byte %zu is %02x, not %02x", i, g[i], w[i]);
}

void kt_within(kt *t, double got, double want, double tolerance, size_t index)
{
    if (fabs(got - want) <= tolerance) return;
    kt_fail(t, "element %zu is %.9g, not %.9g within %.2g", index, got, want, tolerance);
}
