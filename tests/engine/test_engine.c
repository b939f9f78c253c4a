// The engine on the built-in model: what a request produces depends on nothing but itself. Alone or
// in company, in pieces or whole, preempted or not, any block size, any number of threads: the same
// tokens, the same log-probabilities and the same logits, to the bit.

#include "test_util.h"

#include "base/mem.h"
#include "engine/engine.h"
#include "format/json.h"

#define MODEL QW_SOURCE_DIR "/models/tiny"

enum { N_REQUESTS = 8, MAX_TOKENS = 24, MAX_ROWS = 512 };

/** What one request produced. */
typedef struct result {
    int32_t ids[MAX_TOKENS];
    float logprobs[MAX_TOKENS];
    int n_ids;
    float prompt_logprobs[MAX_ROWS];
    int n_prompt_logprobs;
    uint64_t logits_hash; /* of all rows told */
    int n_rows;
    qw_finish_reason finish;
} result;

static bool on_token(void *ctx, const qw_token_event *e)
{
    result *r = ctx;
    if (e->id >= 0) {
        assert_true(r->n_ids < MAX_TOKENS);
        assert_int_equal(e->logprobs[0].id, e->id);
        r->logprobs[r->n_ids] = e->logprobs[0].logprob;
        r->ids[r->n_ids++] = e->id;
    }
    r->finish = e->finish;
    return false;
}

static void on_prompt_logprobs(void *ctx, int32_t position, const qw_logprob *lp, size_t n)
{
    result *r = ctx;
    assert_int_equal(position, r->n_prompt_logprobs + 1);
    assert_true(n >= 1);
    r->prompt_logprobs[r->n_prompt_logprobs++] = lp[0].logprob;
}

static void on_logits(void *ctx, int32_t position, const float *row, int32_t vocab_size)
{
    result *r = ctx;
    assert_int_equal(position, r->n_rows++);
    for (int32_t i = 0; i < vocab_size; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], 4);
        r->logits_hash = (r->logits_hash ^ bits) * 0x9E3779B97F4A7C15u + 1;
    }
}

static int prompt_of(int i, int32_t ids[256])
{
    int n = 1 + i * i * 4 % 150;
    for (int k = 0; k < n; k++) ids[k] = (i * 97 + k * 31 + k * k * 7) % 3800;
    return n;
}

static void submit(qw_engine *e, int i, result *r)
{
    qw_error err;
    int32_t ids[256];
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    p.temperature = i % 2 ? 1.0 : 0.0;
    p.top_p = i % 3 ? 1.0 : 0.9;
    p.top_k = i % 4 ? 0 : 50;
    p.has_seed = true;
    p.seed = 1000 + i;
    p.max_tokens = 8 + i * 2;
    p.logprobs = 2;
    p.prompt_logprobs = 1;
    p.ignore_eos = true;
    p.repetition_penalty = i % 5 ? 1.0 : 1.3;
    qw_request_sink sink = {r, on_token, on_prompt_logprobs, on_logits, NULL};
    *r = (result){0};
    assert_ok(qw_engine_submit(e, ids, (size_t)prompt_of(i, ids), &p, NULL, &sink, NULL, &err));
}

static qw_engine *open_engine(const qw_engine_options *o)
{
    qw_error err;
    qw_engine *e = NULL;
    assert_ok(qw_engine_open(&e, o, &err));
    return e;
}

static void check_same(const result *a, const result *b, const char *what, int i)
{
    bool same = a->n_ids == b->n_ids && a->finish == b->finish && a->n_rows == b->n_rows &&
                a->n_prompt_logprobs == b->n_prompt_logprobs && a->logits_hash == b->logits_hash &&
                memcmp(a->ids, b->ids, sizeof a->ids) == 0 &&
                memcmp(a->logprobs, b->logprobs, sizeof a->logprobs) == 0 &&
                memcmp(a->prompt_logprobs, b->prompt_logprobs, sizeof a->prompt_logprobs) == 0;
    if (!same) fail_msg("request %d differs: %s", i, what);
}

static void test_same_bits(void **state)
{
    const char *dtype = *state;
    static result alone[N_REQUESTS], together[N_REQUESTS];
    qw_engine_options o = qw_engine_options_default();
    o.model_dir = MODEL;
    o.dtype = dtype;
    o.cpu_threads = 1;
    o.max_model_len = 512;
    qw_engine *e = open_engine(&o);
    for (int i = 0; i < N_REQUESTS; i++) {
        submit(e, i, &alone[i]);
        while (qw_engine_step(e)) continue;
        assert_int_equal(alone[i].n_ids, 8 + i * 2);
        assert_int_equal(alone[i].finish, QW_FINISH_LENGTH);
    }
    qw_engine_close(e);
    const struct {
        const char *what;
        int threads, block_size, budget, n_blocks;
    } ways[] = {
        {"in company", 1, 16, 0, 0},
        {"in company, 2 threads, blocks of 128", 2, 128, 0, 0},
        {"in steps of 1 token", 2, 16, 1, 0},
        {"in steps of 7 tokens", 2, 48, 7, 0},
        {"in steps of 64 tokens", 1, 16, 64, 0},
        {"with preemptions", 2, 16, 100, 32},
    };
    for (size_t w = 0; w < QW_ARRAY_LEN(ways); w++) {
        o.cpu_threads = ways[w].threads;
        o.block_size = ways[w].block_size;
        o.max_num_batched_tokens = ways[w].budget;
        o.num_gpu_blocks_override = ways[w].n_blocks;
        e = open_engine(&o);
        for (int i = 0; i < N_REQUESTS; i++) submit(e, i, &together[i]);
        while (qw_engine_step(e)) continue;
        qw_engine_stats stats;
        qw_engine_get_stats(e, &stats);
        if (ways[w].n_blocks) assert_true(stats.n_preemptions > 0);
        assert_int_equal(stats.n_blocks_used, 0);
        print_message("  %s: %d preemptions\n", ways[w].what, (int)stats.n_preemptions);
        qw_engine_close(e);
        for (int i = 0; i < N_REQUESTS; i++) check_same(&alone[i], &together[i], ways[w].what, i);
    }
}

// Children of one request: child i samples with seed + i, as a request of its own would.
typedef struct child_results {
    result child[3];
} child_results;

static bool on_child_token(void *ctx, const qw_token_event *e)
{
    child_results *r = ctx;
    return on_token(&r->child[e->child], e);
}

static void test_children(void **state)
{
    (void)state;
    qw_engine_options o = qw_engine_options_default();
    qw_error err;
    o.model_dir = MODEL;
    qw_engine *e = open_engine(&o);
    static child_results all;
    int32_t ids[256];
    int n = prompt_of(3, ids);
    qw_request_sink sink = {&all, on_child_token, NULL, NULL, NULL};
    for (int run = 0; run < 2; run++) {
        for (int i = 0; i < (run ? 3 : 1); i++) {
            static result single;
            qw_sampling_params p;
            qw_sampling_params_init(&p);
            p.n = run ? 1 : 3;
            p.has_seed = true;
            p.seed = 77 + i;
            p.max_tokens = 16;
            p.logprobs = 0;
            p.ignore_eos = true;
            qw_request_sink one = {&single, on_token, NULL, NULL, NULL};
            memset(&single, 0, sizeof single);
            assert_ok(
                qw_engine_submit(e, ids, (size_t)n, &p, NULL, run ? &one : &sink, NULL, &err));
            while (qw_engine_step(e)) continue;
            if (run) check_same(&all.child[i], &single, "child and single request", i);
        }
    }
    assert_memory_not_equal(all.child[0].ids, all.child[1].ids, sizeof all.child[0].ids);
    qw_engine_close(e);
}

static bool withdraw(void *ctx, const qw_token_event *e)
{
    int *n = ctx;
    if (e->id >= 0) ++*n;
    return *n == 3;
}

static void test_withdraw_and_close(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    qw_engine_options o = qw_engine_options_default();
    qw_error err;
    o.model_dir = MODEL;
    qw_engine *e = open_engine(&o);
    int n_told = 0;
    int32_t ids[] = {1, 2, 3};
    qw_request_sink sink = {&n_told, withdraw, NULL, NULL, NULL};
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    p.ignore_eos = true;
    assert_ok(qw_engine_submit(e, ids, 3, &p, NULL, &sink, NULL, &err));
    while (qw_engine_step(e)) continue;
    assert_int_equal(n_told, 3);
    // Closing while a request runs tells its sink and leaks nothing.
    static result r;
    submit(e, 2, &r);
    assert_true(qw_engine_step(e));
    qw_engine_close(e);
    assert_int_equal(r.finish, QW_FINISH_ABORT);
    assert_int_equal(qw_mem_live(), live);
}

static void test_bad_requests(void **state)
{
    (void)state;
    qw_engine_options o = qw_engine_options_default();
    qw_error err;
    o.model_dir = MODEL;
    o.max_model_len = 64;
    qw_engine *e = open_engine(&o);
    int32_t ids[100] = {0};
    static result r;
    qw_request_sink sink = {&r, on_token, NULL, NULL, NULL};
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    assert_fails(qw_engine_submit(e, ids, 0, &p, NULL, &sink, NULL, &err), QW_ERR_USAGE, "empty");
    assert_fails(qw_engine_submit(e, ids, 64, &p, NULL, &sink, NULL, &err), QW_ERR_USAGE,
                 "64 tokens");
    ids[5] = 3968;
    assert_fails(qw_engine_submit(e, ids, 10, &p, NULL, &sink, NULL, &err), QW_ERR_USAGE,
                 "3968 at position 5");
    ids[5] = -1;
    assert_fails(qw_engine_submit(e, ids, 10, &p, NULL, &sink, NULL, &err), QW_ERR_USAGE,
                 "outside");
    assert_false(qw_engine_step(e));
    qw_engine_close(e);
}

static void expect_refusal(const qw_engine_options *o, qw_status want, const char *part)
{
    qw_error err;
    qw_engine *e;
    size_t live = qw_mem_live();
    assert_fails(qw_engine_open(&e, o, &err), want, part);
    assert_int_equal(qw_mem_live(), live);
}

static void test_bad_options(void **state)
{
    (void)state;
    qw_engine_options d = qw_engine_options_default(), o;
    d.model_dir = MODEL;
    o = d, o.block_size = 24;
    expect_refusal(&o, QW_ERR_USAGE, "multiple of 16");
    o = d, o.dtype = "int4";
    expect_refusal(&o, QW_ERR_USAGE, "--dtype 'int4'");
    o = d, o.kv_cache_dtype = "fp8";
    expect_refusal(&o, QW_ERR_USAGE, "--kv-cache-dtype 'fp8'");
    o = d, o.cpu_isa = "sse9";
    expect_refusal(&o, QW_ERR_USAGE, "sse9");
    o = d, o.max_num_batched_tokens = 4, o.max_num_seqs = 8;
    expect_refusal(&o, QW_ERR_USAGE, "--max-num-batched-tokens (4)");
    o = d, o.max_model_len = 5000;
    expect_refusal(&o, QW_ERR_USAGE, "4096");
    o = d, o.kv_cache_memory_bytes = 1 << 20;
    expect_refusal(&o, QW_ERR_NO_MEMORY, "--max-model-len");
    o = d, o.gpu_memory_utilization = 0.0000001;
    expect_refusal(&o, QW_ERR_NO_MEMORY, "--gpu-memory-utilization");
    o = d, o.hf_overrides = "{\"num_hidden_layers\": 5, \"layer_types\": null}";
    expect_refusal(&o, QW_ERR_FORMAT, "model.layers.4.");
    o = d, o.hf_overrides = "{\"hidden_size\": 128}";
    expect_refusal(&o, QW_ERR_FORMAT, "shape");
    o = d, o.model_dir = QW_TEST_TMP;
    expect_refusal(&o, QW_ERR_IO, "config.json");
}

// Every allocation of opening and of a short generation fails once: a sentence, nothing leaked.
static void test_allocation_failures(void **state)
{
    (void)state;
    size_t live = qw_mem_live();
    qw_engine_options o = qw_engine_options_default();
    o.model_dir = QW_TEST_DATA "/tiny-models/tied";
    o.cpu_threads = 1;
    uint64_t n = 1;
    for (bool done = false; !done; n++) {
        qw_error err = {0};
        qw_engine *e = NULL;
        static result r;
        int32_t ids[] = {1, 2, 3};
        qw_sampling_params p;
        qw_sampling_params_init(&p);
        p.temperature = 1;
        p.frequency_penalty = 0.5;
        p.logprobs = 1;
        p.max_tokens = 4;
        qw_request_sink sink = {&r, on_token, NULL, NULL, NULL};
        memset(&r, 0, sizeof r);
        qw_mem_fail_at(n);
        qw_status st = qw_engine_open(&e, &o, &err);
        if (st == QW_OK) {
            st = qw_engine_submit(e, ids, 3, &p, NULL, &sink, NULL, &err);
            while (st == QW_OK && qw_engine_step(e)) continue;
        }
        qw_mem_fail_at(0);
        done = st == QW_OK;
        if (!done) {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_true(strlen(err.text) > 10);
        }
        qw_sampling_params_release(&p);
        qw_engine_close(e);
        if (qw_mem_live() != live) fail_msg("allocation %d leaks", (int)n);
    }
    print_message("  %d allocations failed in turn\n", (int)n - 2);
    assert_true(n > 50);
}

int main(void)
{
    static char f32[] = "float32", bf16[] = "bfloat16";
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_same_bits, f32),
        cmocka_unit_test_prestate(test_same_bits, bf16),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_withdraw_and_close),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
