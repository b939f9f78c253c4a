// Planned steps against the same steps run operation by operation: the same bits, for every size,
// at every level of this machine; no allocation in either; rows that pad a plan are never computed.

#include "test_util.h"

#include <stdatomic.h>

#include "model_fixture.h"
#include "model/plan_sizes.h"

#define TIED QW_TEST_DATA "/tiny-models/tied"
#define TINY QW_SOURCE_DIR "/models/tiny"
#define MOE QW_TEST_DATA "/qwen3-moe/tied"

enum {
    MAX_SEQS = 64,
    MAX_TOKENS = 256,
    SHARED_BLOCKS = 64, /* read by everyone; the others belong to one sequence each, to write */
    TABLE_LEN = 128,
};

// Every allocation of the process, libraries and libc included, where nobody else stands in for
// malloc already.
static atomic_ulong n_mallocs;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&       \
    !defined(__clang__)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&n_mallocs, 1);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&n_mallocs, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
    atomic_fetch_add(&n_mallocs, 1);
    return __libc_realloc(ptr, size);
}
#endif

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

// One model twice, over two copies of the same pages: with plans, and without.
typedef struct pair {
    fixture plain, planned;
    float *hidden, *logits; /* what the plain one said */
    uint64_t seed;
    int n_steps;
} pair;

typedef struct batch {
    int n_tokens, n_seqs;
    int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], rows[MAX_SEQS];
    int32_t tables[MAX_SEQS][TABLE_LEN];
    qw_seq_range seqs[MAX_SEQS];
} batch;

// Random codes, and scales that are numbers.
static void fill_pages_i8(fixture *f)
{
    uint64_t seed = 5;
    size_t part = f->layout.part_size, codes = part - (size_t)f->layout.block_size * sizeof(float);
    for (size_t i = 0; i < f->pages_size; i += part) {
        for (size_t j = 0; j < codes; j++) f->pages[i + j] = (uint8_t)next_random(&seed);
        for (size_t j = codes; j < part; j += sizeof(float)) {
            float scale = 0.001f + (float)(next_random(&seed) % 1000) / 50000.0f;
            memcpy(f->pages + i + j, &scale, sizeof scale);
        }
    }
}

static void fill_pages(fixture *f)
{
    if (f->layout.dtype == QW_DTYPE_I8) {
        fill_pages_i8(f);
        return;
    }
    uint64_t seed = 5;
    bool is_bf16 = f->layout.dtype == QW_DTYPE_BF16;
    for (size_t i = 0; i < f->pages_size / (is_bf16 ? 2 : 4); i++) {
        float x = (float)(next_random(&seed) % 2001) / 1000.0f - 1.0f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (is_bf16)
            ((uint16_t *)(void *)f->pages)[i] = (uint16_t)(bits >> 16);
        else
            ((float *)(void *)f->pages)[i] = x;
    }
}

static void open_pair(pair *p, const fixture_options *o, const int64_t *sizes, size_t n_sizes)
{
    qw_error err;
    *p = (pair){.seed = 1};
    fixture_open(&p->plain, o);
    fixture_open(&p->planned, o);
    fill_pages(&p->plain);
    memcpy(p->planned.pages, p->plain.pages, p->plain.pages_size);
    size_t v = (size_t)p->plain.config.vocab_size, h = (size_t)p->plain.config.hidden_size;
    p->hidden = qw_mem_array(MAX_TOKENS * h, sizeof *p->hidden);
    p->logits = qw_mem_array(MAX_SEQS * v, sizeof *p->logits);
    qw_plan_sizes s;
    qw_plan_sizes_input in = {sizes, n_sizes, -1, MAX_SEQS};
    assert_ok(qw_plan_sizes_make(&s, &in, &err));
    assert_ok(qw_model_plan_steps(p->planned.model, s.sizes, s.n, p->planned.layers,
                                  &p->planned.layout, &err));
    const qw_step_stats *stats = qw_model_step_stats(p->planned.model);
    assert_int_equal(stats->n_plans, s.n);
    print_message("  %zu plans in %.2f ms, the longest %.3f ms, %.1f KiB\n", stats->n_plans,
                  (double)stats->build_ns / 1e6, (double)stats->max_build_ns / 1e6,
                  (double)stats->plan_bytes / 1024);
    assert_true(stats->build_ns <= (int64_t)s.n * 5000000);
}

static void close_pair(pair *p)
{
    fixture_close(&p->plain);
    fixture_close(&p->planned);
    qw_mem_free(p->hidden);
    qw_mem_free(p->logits);
}

// n_seqs sequences of 1 .. max_rows tokens each, up to max_context positions long. Earlier pages
// are anybody's, those that are written are one's own.
static void make_batch(pair *p, batch *b, int n_seqs, int max_rows, int max_context)
{
    b->n_seqs = n_seqs;
    b->n_tokens = 0;
    for (int s = 0; s < n_seqs; s++) {
        int n = 1 + (int)(next_random(&p->seed) % (uint64_t)max_rows);
        if (n > 16) n = 16;
        int block = (int)(next_random(&p->seed) % (uint64_t)(max_context / 16));
        int first = block * 16 + (int)(next_random(&p->seed) % (uint64_t)(17 - n));
        for (int i = 0; i < block; i++)
            b->tables[s][i] = (int32_t)(next_random(&p->seed) % SHARED_BLOCKS);
        b->tables[s][block] = SHARED_BLOCKS + s;
        b->seqs[s] = (qw_seq_range){b->n_tokens, n, first, b->tables[s]};
        for (int i = 0; i < n; i++, b->n_tokens++) {
            b->ids[b->n_tokens] =
                (int32_t)(next_random(&p->seed) % (uint64_t)p->plain.config.vocab_size);
            b->positions[b->n_tokens] = first + i;
        }
        b->rows[s] = b->n_tokens - 1;
    }
}

static const float *run_batch(fixture *f, const batch *b, size_t *stride)
{
    qw_model_step step = {b->n_tokens, b->ids,    b->positions, b->seqs,
                          b->n_seqs,   f->layers, &f->layout};
    qw_model_forward(f->model, &step);
    return qw_model_logits(f->model, b->rows, b->n_seqs, stride);
}

static void check_batch(pair *p, const batch *b)
{
    size_t v = (size_t)p->plain.config.vocab_size, h = (size_t)p->plain.config.hidden_size, stride;
    uint64_t n_asked = qw_mem_count();
    unsigned long n_malloc = atomic_load(&n_mallocs);
    const float *want = run_batch(&p->plain, b, &stride);
    const float *got = run_batch(&p->planned, b, &stride);
    assert_int_equal(qw_mem_count(), n_asked);
    assert_int_equal(atomic_load(&n_mallocs), n_malloc);
    for (int i = 0; i < b->n_tokens; i++)
        if (memcmp(qw_model_hidden(p->planned.model, i), qw_model_hidden(p->plain.model, i),
                   h * sizeof(float)) != 0)
            fail_msg("%d rows of %d sequences: hidden row %d differs", b->n_tokens, b->n_seqs, i);
    for (int i = 0; i < b->n_seqs; i++)
        if (memcmp(got + (size_t)i * stride, want + (size_t)i * stride, v * sizeof(float)) != 0)
            fail_msg("%d rows of %d sequences: logits %d differ", b->n_tokens, b->n_seqs, i);
    p->n_steps++;
}

static void check_pages(const pair *p)
{
    assert_memory_equal(p->planned.pages, p->plain.pages, p->plain.pages_size);
}

// Decode steps of all sizes, then mixed batches; who ran planned, and what that wrote.
static void check_all(const fixture_options *o, const int64_t *sizes, size_t n_sizes, int n_mixed)
{
    static batch b;
    pair p;
    bool is_slow = o->isa && strcmp(o->isa, "ref") == 0; // few long contexts, then
    print_message("%s, %s, %d threads\n", o->isa ? o->isa : "auto",
                  o->compute == QW_COMPUTE_BF16 ? "bfloat16" : "float32", o->n_threads);
    open_pair(&p, o, sizes, n_sizes);
    uint64_t n_decodes = 0;
    for (int n = 1; n <= MAX_SEQS; n += QW_TEST_SANITIZED ? 9 : 1, n_decodes++) {
        make_batch(&p, &b, n, 1, n % 8 == 1 && !(is_slow && n > 1) ? 1600 : 48);
        check_batch(&p, &b);
    }
    const qw_step_stats *stats = qw_model_step_stats(p.planned.model);
    assert_int_equal(stats->plan_replays, n_decodes);
    assert_int_equal(stats->eager_steps, 0);
    uint64_t n_eager = 0;
    for (int i = 0; i < n_mixed; i++) {
        make_batch(&p, &b, 1 + (int)(next_random(&p.seed) % 14), 1 + i % 20,
                   i % 3     ? 64
                   : is_slow ? 128
                             : 1400);
        check_batch(&p, &b);
        n_eager += b.n_tokens != b.n_seqs;
    }
    assert_int_equal(stats->eager_steps, n_eager);
    assert_int_equal(stats->plan_replays + stats->eager_steps, p.n_steps);
    assert_int_equal(qw_model_step_stats(p.plain.model)->plan_replays, 0);
    assert_int_equal(qw_model_step_stats(p.plain.model)->eager_steps, p.n_steps);
    check_pages(&p);
    close_pair(&p);
}

static bool has_level(const char *isa)
{
    qw_error err;
    qw_backend *be = NULL;
    qw_cpu_options o = {.n_threads = 1, .isa = isa};
    if (qw_backend_open_cpu(&be, &o, &err) != QW_OK) return false;
    qw_backend_close(be);
    return true;
}

static void test_every_level(void **state)
{
    (void)state;
    static const char *const levels[] = {"ref", "avx2", "avx512", "avx512bf16"};
    for (size_t i = 0; i < QW_ARRAY_LEN(levels); i++) {
        if (!has_level(levels[i])) continue;
        for (int bf16 = 0; bf16 < 2; bf16++) {
            for (int n_threads = 1; n_threads <= 2; n_threads++) {
                if (i == 0 && n_threads - 1 != bf16) continue; // a second a step otherwise
                fixture_options o = fixture_defaults(TIED, bf16 ? QW_COMPUTE_BF16 : QW_COMPUTE_F32);
                o.isa = levels[i];
                o.n_threads = n_threads;
                check_all(&o, NULL, 0, i == 0 || QW_TEST_SANITIZED ? 10 : 60);
            }
        }
    }
}

// The built-in model, other sizes, more threads than usual, and chunks in a shuffled order.
static void test_built_in_model(void **state)
{
    (void)state;
    static const int64_t one[] = {64}, odd[] = {7, 3, 3, 200, 31};
    fixture_options o = fixture_defaults(TINY, QW_COMPUTE_BF16);
    o.n_threads = 2;
    check_all(&o, one, 1, 20);
    o.kv_dtype = QW_DTYPE_I8;
    check_all(&o, one, 1, 20);
    o.n_threads = 3;
    setenv("QWENCH_TEST_SHUFFLE", "4711", 1);
    check_all(&o, odd, QW_ARRAY_LEN(odd), 20);
    unsetenv("QWENCH_TEST_SHUFFLE");
}

// Experts: how many rows each gets is known only when the plan runs.
static void test_experts(void **state)
{
    (void)state;
    static const int64_t few[] = {1, 2, 5, 64};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        fixture_options o = fixture_defaults(MOE, bf16 ? QW_COMPUTE_BF16 : QW_COMPUTE_F32);
        o.n_threads = 1 + bf16;
        check_all(&o, few, QW_ARRAY_LEN(few), 20);
    }
    fixture_options o = fixture_defaults(QW_TEST_DATA "/ascend/moe-w4a8/model", QW_COMPUTE_BF16);
    o.n_threads = 3;
    setenv("QWENCH_TEST_SHUFFLE", "17", 1);
    check_all(&o, NULL, 0, 20);
    unsetenv("QWENCH_TEST_SHUFFLE");
}

// A plan for 64 rows that runs 5: the others keep what they held.
static void test_padding_is_not_computed(void **state)
{
    (void)state;
    static const int64_t only[] = {64};
    static batch b;
    pair p;
    fixture_options o = fixture_defaults(TIED, QW_COMPUTE_F32);
    open_pair(&p, &o, only, 1);
    make_batch(&p, &b, MAX_SEQS, 1, 96);
    check_batch(&p, &b);
    size_t h = (size_t)p.plain.config.hidden_size, stride;
    for (size_t i = 0; i < MAX_SEQS; i++)
        memcpy(p.hidden + i * h, qw_model_hidden(p.planned.model, (int)i), h * sizeof(float));
    make_batch(&p, &b, 5, 1, 96);
    (void)run_batch(&p.planned, &b, &stride);
    assert_memory_not_equal(qw_model_hidden(p.planned.model, 0), p.hidden, h * sizeof(float));
    for (size_t i = 5; i < MAX_SEQS; i++)
        assert_memory_equal(qw_model_hidden(p.planned.model, (int)i), p.hidden + i * h,
                            h * sizeof(float));
    assert_int_equal(qw_model_step_stats(p.planned.model)->plan_replays, 2);
    close_pair(&p);
}

// A step over other pages than the plans were made for is right, and counted as what it is.
static void test_other_pages(void **state)
{
    (void)state;
    static batch b;
    pair p;
    fixture_options o = fixture_defaults(TIED, QW_COMPUTE_BF16);
    open_pair(&p, &o, NULL, 0);
    make_batch(&p, &b, 3, 1, 96);
    uint8_t *layers[8];
    size_t n = (size_t)p.plain.config.num_hidden_layers, stride, v;
    v = (size_t)p.plain.config.vocab_size;
    memcpy(layers, p.plain.layers, n * sizeof *layers);
    qw_model_step step = {b.n_tokens, b.ids,  b.positions,    b.seqs,
                          b.n_seqs,   layers, &p.plain.layout};
    const float *want = run_batch(&p.plain, &b, &stride);
    qw_model_forward(p.planned.model, &step);
    const float *got = qw_model_logits(p.planned.model, b.rows, b.n_seqs, &stride);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(got + i * stride, want + i * stride, v * sizeof(float));
    assert_int_equal(qw_model_step_stats(p.planned.model)->eager_steps, 1);
    assert_int_equal(qw_model_step_stats(p.planned.model)->plan_replays, 0);
    close_pair(&p);
}

static void test_memory_short(void **state)
{
    (void)state;
    qw_error err;
    static const int32_t sizes[] = {1, 2, 4, 64};
    fixture_options o = fixture_defaults(TIED, QW_COMPUTE_BF16);
    fixture f;
    fixture_open(&f, &o);
    fill_pages(&f);
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    uint64_t n = 1;
    for (; st != QW_OK; n++) {
        assert_true(n < 100);
        qw_mem_fail_at(n);
        st = qw_model_plan_steps(f.model, sizes, 4, f.layers, &f.layout, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) break;
        assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
        assert_int_equal(qw_model_step_stats(f.model)->n_plans, 0);
    }
    assert_true(n > 8);
    assert_int_equal(qw_model_step_stats(f.model)->n_plans, 4);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level), cmocka_unit_test(test_built_in_model),
        cmocka_unit_test(test_experts),     cmocka_unit_test(test_padding_is_not_computed),
        cmocka_unit_test(test_other_pages), cmocka_unit_test(test_memory_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
