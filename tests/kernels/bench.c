// kernel_test --bench: one thread, beside limits measured in the same run. Times are the fastest of
// many short slices, because other programs and other machines' guests share these cores; limits
// are measured again before every row.

#include "kernels/harness.h"

#include "base/clock.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cpu/pack.h"

enum { MIB = 1 << 20, COLD = 128 * MIB };

typedef void timed_fn(void *ctx, size_t i);

// Fastest slice of `rounds`, in seconds per call; each slice takes at least a tenth of a
// millisecond: long enough for the clock, short enough to fall between interruptions.
static double fastest(timed_fn *fn, void *ctx, int rounds)
{
    double best = 1e30;
    size_t i = 0, n = 1;
    for (int r = 0; r < rounds;) {
        int64_t start = qw_clock_ns();
        for (size_t j = 0; j < n; j++) fn(ctx, i++);
        int64_t ns = qw_clock_ns() - start;
        if (ns < 100000 && n < (size_t)1 << 30) {
            n *= 2;
            continue;
        }
        if ((double)ns * 1e-9 / (double)n < best) best = (double)ns * 1e-9 / (double)n;
        r++;
    }
    return best;
}

#if defined(__x86_64__)
enum { FMA_ROUNDS = 20000 };

// Twelve independent sums in registers.
static void fma_loop(void *ctx, size_t i)
{
    (void)ctx, (void)i;
    int64_t n = FMA_ROUNDS;
    __asm__ volatile("1:\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm0\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm1\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm2\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm3\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm4\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm5\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm6\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm7\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm8\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm9\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm10\n"
                     "vfmadd231ps %%ymm12, %%ymm12, %%ymm11\n"
                     "dec %0\n"
                     "jnz 1b\n"
                     "vzeroupper\n"
                     : "+r"(n)
                     :
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12");
}

static double fma_peak(void)
{
    if (!(qw_cpu_detect() & QW_CPU_AVX2)) return 0;
    return 12.0 * 16 * FMA_ROUNDS / fastest(fma_loop, NULL, 100) * 1e-9;
}
#else
static double fma_peak(void)
{
    return 0;
}
#endif

typedef struct memory {
    uint8_t *base; /* COLD bytes */
} memory;

// 2 MiB per call, in four streams one page apart, two lines per visit, prefetched 16 KiB ahead. One
// word of every line is used: what is measured are the lines, not the loads.
static void read_loop(void *ctx, size_t i)
{
    enum { PAGE = 4096 };
    const memory *m = ctx;
    const uint8_t *p = m->base + i % (COLD / (2 * MIB)) * (2 * MIB);
    uint64_t sum = 0, words[2];
    for (const uint8_t *end = p + 2 * MIB; p < end; p += 4 * PAGE) {
        for (size_t at = 0; at < PAGE; at += 128) {
            for (size_t s = 0; s < 4; s++) {
                const uint8_t *line = p + s * PAGE + at;
                __builtin_prefetch(line + 4 * PAGE);
                __builtin_prefetch(line + 4 * PAGE + 64);
                memcpy(&words[0], line, sizeof words[0]);
                memcpy(&words[1], line + 64, sizeof words[1]);
                sum ^= words[0] ^ words[1];
            }
        }
    }
    __asm__ volatile("" : : "r"(sum));
}

static double read_bandwidth(memory *m)
{
    return 2 * MIB / fastest(read_loop, m, 400) * 1e-9;
}

typedef struct product {
    memory *m;
    qw_gemm_fn *gemm;
    size_t group_size, n_groups; /* 64 outputs each, cycled through */
    int k, rows;
    float *c;
    const float *x;
    size_t x_stride;
} product;

enum { PASS = 256 }; /* rows per call, as cpu_backend.c has it */

static void product_loop(void *ctx, size_t i)
{
    const product *p = ctx;
    const uint8_t *w = p->m->base + i % p->n_groups * p->group_size;
    for (int m = 0; m < p->rows; m += PASS)
        p->gemm(p->c, 64, w, 4, p->x + (size_t)m * p->x_stride, p->x_stride,
                p->rows - m < PASS ? p->rows - m : PASS, p->k);
}

static void bench_product(const char *name, product p, double bw, size_t element)
{
    p.group_size = 64 * (size_t)p.k * element;
    p.n_groups = COLD / p.group_size;
    double peak = fma_peak(), s = fastest(product_loop, &p, p.rows <= 64 ? 400 : 100);
    double gb = (double)p.group_size / s * 1e-9, gf = 2.0 * 64 * p.k * p.rows / s * 1e-9;
    printf(
        "  %-10s K %5d M %4d %12.0f ns %7.1f GB/s %7.1f GFLOP/s %5.0f %% of read %5.0f %% of fma\n",
        name, p.k, p.rows, s * 1e9, gb, gf, 100 * gb / bw, peak > 0 ? 100 * gf / peak : 0);
}

static void bench_products(const kt *t, memory *m, double bw)
{
    static const int ks[] = {1024, 2048, 3072, 6144}, rows[] = {1, 4, 16, 64, 512};
    for (size_t i = 0; i < QW_ARRAY_LEN(ks); i++) {
        size_t stride = qw_row_stride((size_t)ks[i]);
        float *x = qw_mem_map(512 * stride * sizeof *x, 4096);
        float *c = qw_mem_map((size_t)PASS * 64 * sizeof *c, 4096);
        QW_ASSERT(x && c);
        for (size_t j = 0; j < 512 * stride; j++) x[j] = (float)(j % 17) * 0.125f - 1.0f;
        for (size_t r = 0; r < QW_ARRAY_LEN(rows); r++) {
            product p = {.m = m, .k = ks[i], .rows = rows[r], .c = c, .x = x, .x_stride = stride};
            p.gemm = t->now.gemm_bf16_x16;
            bench_product("gemm_bf16", p, bw, 2);
            if (i > 0) continue;
            p.gemm = t->now.gemm_f16;
            bench_product("gemm_f16", p, bw, 2);
            p.gemm = t->now.gemm_f32;
            bench_product("gemm_f32", p, bw, 4);
        }
        qw_mem_unmap(x, 512 * stride * sizeof *x);
        qw_mem_unmap(c, (size_t)PASS * 64 * sizeof *c);
    }
}

typedef struct attention_bench {
    qw_attention_fn *run;
    qw_attn_tile tile;
    size_t n_heads, head_size; /* heads cycled through, so that decode reads from memory */
    memory *m;
} attention_bench;

static void attention_loop(void *ctx, size_t i)
{
    attention_bench *b = ctx;
    b->tile.kv = b->m->base + i % b->n_heads * b->head_size;
    b->run(&b->tile);
}

static void bench_attention(const kt *t, memory *m, double bw, int group, int n_rows, int n_pos)
{
    enum { D = 128, BLOCK = 128 };
    qw_kv_layout layout = qw_kv_layout_make(QW_DTYPE_BF16, BLOCK, 1, D);
    int32_t table[4096 / BLOCK];
    for (int i = 0; i < 4096 / BLOCK; i++) table[i] = i;
    size_t width = (size_t)(group * D), n_scratch = QW_ATTN_SCRATCH(D);
    float *q = qw_mem_calloc((size_t)n_rows * width, sizeof *q);
    float *out = qw_mem_calloc((size_t)n_rows * width, sizeof *out);
    float *scratch = qw_mem_calloc(n_scratch, sizeof *scratch);
    QW_ASSERT(q && out && scratch);
    for (size_t i = 0; i < (size_t)n_rows * width; i++) q[i] = (float)(i % 13) * 0.125f - 0.75f;
    attention_bench b = {.run = t->now.attention_bf16, .m = m};
    b.tile =
        (qw_attn_tile){out,   width,   q,    width, n_rows,  group, n_pos - n_rows, 0.088f, NULL,
                       table, &layout, NULL, NULL,  scratch, -1,    NULL,           true};
    b.head_size = (size_t)(n_pos + BLOCK - 1) / BLOCK * layout.block_bytes;
    b.n_heads = COLD / b.head_size;
    double peak = fma_peak(), s = fastest(attention_loop, &b, 200);
    double gb = (double)n_pos * 4 * D / s * 1e-9;
    double gf = 4.0 * n_pos * D * group * n_rows / s * 1e-9;
    printf("  attention  G %d rows %2d at %4d %10.0f ns %7.1f GB/s %7.1f GFLOP/s %5.0f %% of read "
           "%5.0f %% of fma\n",
           group, n_rows, n_pos, s * 1e9, gb, gf, 100 * gb / bw, peak > 0 ? 100 * gf / peak : 0);
    qw_mem_free(q);
    qw_mem_free(out);
    qw_mem_free(scratch);
}

typedef struct rows_bench {
    const kt *t;
    float *x, *y, *w;
    int n;
} rows_bench;

static void norm_loop(void *ctx, size_t i)
{
    const rows_bench *b = ctx;
    (void)i;
    b->t->now.rms_norm(b->y, b->x, b->w, b->n, 1e-6f, true);
}

static void silu_loop(void *ctx, size_t i)
{
    const rows_bench *b = ctx;
    (void)i;
    b->t->now.silu_mul(b->y, b->x, b->w, b->n, true);
}

static void bench_rows(const kt *t)
{
    enum { N = 1024 };
    static float x[N], y[N], w[N];
    for (int i = 0; i < N; i++) x[i] = w[i] = (float)(i % 31) * 0.25f - 4.0f;
    rows_bench b = {t, x, y, w, N};
    printf("  rms_norm   n %d %10.0f ns\n", N, fastest(norm_loop, &b, 20) * 1e9);
    printf("  silu_mul   n %d %10.0f ns\n", N, fastest(silu_loop, &b, 20) * 1e9);
}

typedef struct pack_bench {
    memory *m;
    uint8_t *out;
    int k;
} pack_bench;

static void pack_loop(void *ctx, size_t i)
{
    const pack_bench *b = ctx;
    size_t size = 32 * (size_t)b->k;
    qw_host_matrix m = {.data = b->m->base + i % (COLD / 2 / size) * size,
                        .dtype = QW_DTYPE_BF16,
                        .rows = 16,
                        .cols = b->k};
    uint8_t *panel = b->m->base + COLD / 2 + i % (COLD / 2 / size) * size;
    QW_ASSERT(qw_pack_panel(panel, QW_DTYPE_BF16, b->k, (qw_pack_source){&m, 0}, true));
}

void kt_bench(const kt *t)
{
    memory m = {qw_mem_map(COLD, 4096)};
    QW_ASSERT(m.base);
    uint16_t *w = (uint16_t *)(void *)m.base;
    for (size_t i = 0; i < COLD / 2; i++) w[i] = (uint16_t)(0x3F00 + i * 37 % 251);
    double bw = read_bandwidth(&m);
    printf("%s, one thread; fma peak %.1f GFLOP/s (256 bit), memory read %.1f GB/s\n", t->level,
           fma_peak(), bw);
    bench_products(t, &m, bw);
    for (int group = 1; group <= 8; group *= 2) bench_attention(t, &m, bw, group, 1, 4096);
    bench_attention(t, &m, bw, 2, 24, 512);
    bench_attention(t, &m, bw, 2, 24, 4096);
    bench_rows(t);
    pack_bench p = {.m = &m, .k = 1024};
    printf("  pack bf16  %.1f GB/s of source\n", 32.0 * p.k / fastest(pack_loop, &p, 30) * 1e-9);
    qw_mem_unmap(m.base, COLD);
}
