// Random mixes of requests on the built-in model, under every way of running them: whatever else is
// in the batch, however prompts are cut, whether prefixes are found, steps overlap, or sequences
// give way and are computed again, each request gives the tokens and logprobs that it gives alone,
// to the bit. A request that is cancelled has told a part of them, and nothing after the cancel.

#include "test_util.h"

#include "base/mem.h"
#include "engine/engine.h"
#include "format/json.h"

#define MODEL QW_SOURCE_DIR "/models/tiny"

enum {
    N_SPECS = 64,
    N_MIXES = QW_TEST_SANITIZED ? 110 : 220,
    MAX_IN_MIX = 9,
    MAX_N = 3,
    MAX_TOKENS = 18,
    MAX_PROMPT = 140,
    MODEL_LEN = 176,
    THINK_START = 11,
    THINK_END = 12,
};

static uint64_t rng_state = 20260607;

static int32_t random_below(int32_t n)
{
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((rng_state >> 33) % (uint32_t)n);
}

static bool one_in(int32_t n)
{
    return random_below(n) == 0;
}

/** A request that can be made any number of times. */
typedef struct spec {
    int32_t prompt[MAX_PROMPT];
    int32_t n_prompt;
    qw_sampling_params params;  /* copied for each request */
    int32_t withdraw_at[MAX_N]; /* the sink takes a child out at this many tokens; 0: never */
    bool wants_logits;
} spec;

/** What came of one child. */
typedef struct child_result {
    int32_t ids[MAX_TOKENS];
    uint64_t hash[MAX_TOKENS + 1]; /* of ids, logprobs and ends up to a token */
    int32_t n_ids;
    qw_finish_reason finish;
    int32_t stop_id;
} child_result;

typedef struct result {
    const spec *spec;
    child_result child[MAX_N];
    uint64_t positions_hash; /* of prompt logprobs and logits */
    int32_t n_positions;
    bool is_done;
    qw_request_facts facts;
} result;

static spec specs[N_SPECS];
static result alone[N_SPECS];

static uint64_t mix_bits(uint64_t hash, uint64_t bits)
{
    return (hash ^ bits) * 0x9E3779B97F4A7C15u + (hash >> 29);
}

static uint64_t hash_logprobs(uint64_t hash, const qw_logprob *lp, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &lp[i].logprob, sizeof bits);
        hash = mix_bits(hash, (uint64_t)lp[i].id << 32 | (uint32_t)lp[i].rank);
        hash = mix_bits(hash, bits);
    }
    return hash;
}

static bool on_token(void *ctx, const qw_token_event *e)
{
    result *r = ctx;
    assert_false(r->is_done);
    child_result *c = &r->child[e->child];
    assert_int_equal(c->finish, QW_FINISH_NONE);
    if (e->error) fail_msg("a request failed: %s", e->error->text);
    assert_true(e->id >= 0 && c->n_ids < MAX_TOKENS);
    assert_int_equal(e->logprobs != NULL, r->spec->params.logprobs != QW_LOGPROBS_OFF);
    uint64_t hash = mix_bits(c->hash[c->n_ids], (uint64_t)e->id);
    c->ids[c->n_ids++] = e->id;
    c->hash[c->n_ids] = hash_logprobs(hash, e->logprobs, e->logprobs ? e->n_logprobs : 0);
    c->finish = e->finish;
    c->stop_id = e->stop_id;
    return c->n_ids == r->spec->withdraw_at[e->child];
}

static void on_prompt_logprobs(void *ctx, int32_t position, const qw_logprob *lp, size_t n)
{
    result *r = ctx;
    assert_false(r->is_done);
    r->positions_hash = mix_bits(r->positions_hash, (uint64_t)position);
    r->positions_hash = hash_logprobs(r->positions_hash, lp, n);
    r->n_positions++;
}

static void on_logits(void *ctx, int32_t position, const float *row, int32_t vocab_size)
{
    result *r = ctx;
    assert_false(r->is_done);
    r->positions_hash = mix_bits(r->positions_hash, (uint64_t)position);
    for (int32_t i = 0; i < vocab_size; i += 7) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        r->positions_hash = mix_bits(r->positions_hash, bits);
    }
    r->n_positions++;
}

static void on_done(void *ctx, const qw_request_facts *facts)
{
    result *r = ctx;
    assert_false(r->is_done);
    r->is_done = true;
    r->facts = *facts;
}

// ---- requests ----

// Prompts of one family begin alike, so that prefixes are there to be found.
static void make_prompt(spec *s)
{
    int32_t family = random_below(4), n_shared = random_below(110), n_own = random_below(25);
    if (one_in(4)) n_shared = n_shared / 16 * 16, n_own = 0; // whole blocks
    if (n_shared + n_own == 0) n_own = 1;
    for (int32_t i = 0; i < n_shared; i++)
        s->prompt[i] = (family * 911 + i * 37 + i * i * 3) % 3800;
    for (int32_t i = 0; i < n_own; i++) s->prompt[n_shared + i] = random_below(3800);
    s->n_prompt = n_shared + n_own;
}

static int32_t *ids_array(int32_t n)
{
    int32_t *ids = qw_mem_array((size_t)n, sizeof *ids);
    assert_non_null(ids);
    return ids;
}

// A stop id every few tokens.
static void add_stop_ids(qw_sampling_params *p)
{
    int32_t n = 3968 / 8;
    p->stop_token_ids = ids_array(n);
    p->n_stop_token_ids = (size_t)n;
    for (int32_t i = 0; i < n; i++) p->stop_token_ids[i] = i * 8 + 5;
}

static void make_spec(spec *s)
{
    qw_sampling_params *p = &s->params;
    make_prompt(s);
    qw_sampling_params_init(p);
    p->temperature = one_in(3) ? 0 : 0.5 + 0.1 * random_below(10);
    if (one_in(3)) p->top_p = 0.9;
    if (one_in(4)) p->top_k = 1 + random_below(60);
    if (one_in(5)) p->min_p = 0.05;
    if (one_in(4)) p->repetition_penalty = 1.3;
    if (one_in(4)) p->frequency_penalty = 0.7;
    if (one_in(4)) p->presence_penalty = -0.5;
    p->has_seed = true;
    p->seed = random_below(1000);
    p->n = one_in(4) ? 2 + random_below(MAX_N - 1) : 1;
    p->max_tokens = 1 + random_below(MAX_TOKENS);
    if (one_in(3)) add_stop_ids(p);
    if (one_in(4)) p->min_tokens = random_below((int32_t)p->max_tokens + 1);
    p->ignore_eos = one_in(2);
    if (one_in(2)) p->logprobs = one_in(8) ? QW_LOGPROBS_ALL : random_below(4);
    if (one_in(8)) p->prompt_logprobs = random_below(3);
    if (one_in(6)) {
        p->thinking_token_budget = random_below(8);
        p->starts_thinking = one_in(2);
    }
    if (one_in(5)) {
        p->logit_bias = qw_mem_array(1, sizeof *p->logit_bias);
        p->logit_bias[0] = (qw_logit_bias){THINK_START, 12};
        p->n_logit_bias = 1;
    }
    if (one_in(4))
        for (int32_t i = 0; i < MAX_N; i++)
            if (one_in(2)) s->withdraw_at[i] = 1 + random_below(8);
    s->wants_logits = one_in(16);
}

static uint64_t submit(qw_engine *e, const spec *s, result *r, int32_t priority)
{
    qw_error err;
    qw_sampling_params p;
    uint64_t id;
    *r = (result){.spec = s};
    qw_request_sink sink = {r, on_token, on_prompt_logprobs, s->wants_logits ? on_logits : NULL,
                            on_done};
    qw_submit_options o = {.priority = priority, .cache_salt = priority == 2 ? "salt" : NULL};
    assert_ok(qw_sampling_params_copy(&p, &s->params, &err));
    assert_ok(qw_engine_submit(e, s->prompt, (size_t)s->n_prompt, &p, &o, &sink, &id, &err));
    return id;
}

static void check_facts(const result *r)
{
    const qw_request_facts *f = &r->facts;
    int64_t n_told = 0;
    for (int32_t i = 0; i < MAX_N; i++) n_told += r->child[i].n_ids;
    assert_int_equal(f->n_generated, n_told);
    assert_int_equal(f->n_prompt, r->spec->n_prompt);
    assert_int_equal(f->n_children, r->spec->params.n);
    assert_true(f->n_cached_tokens < f->n_prompt);
    assert_true(f->arrival_ns > 0);
    if (n_told == 0) return;
    assert_true(f->arrival_ns <= f->scheduled_ns && f->scheduled_ns <= f->first_token_ns);
    assert_true(f->first_token_ns <= f->last_token_ns);
}

static void check_whole(const result *r, const char *way, int i_mix)
{
    const result *want = &alone[r->spec - specs];
    assert_true(r->is_done);
    check_facts(r);
    for (int32_t i = 0; i < r->spec->params.n; i++) {
        const child_result *a = &r->child[i], *b = &want->child[i];
        if (a->n_ids != b->n_ids || a->hash[a->n_ids] != b->hash[b->n_ids] ||
            a->finish != b->finish || a->stop_id != b->stop_id)
            fail_msg("mix %d, %s: child %d of request %d has %d tokens instead of %d, or others",
                     i_mix, way, i, (int)(r->spec - specs), a->n_ids, b->n_ids);
    }
    if (r->positions_hash != want->positions_hash || r->n_positions != want->n_positions)
        fail_msg("mix %d, %s: request %d tells other prompt logprobs or logits", i_mix, way,
                 (int)(r->spec - specs));
}

// What a cancelled request had told is the beginning of what it tells alone.
static void check_beginning(const result *r, const char *way, int i_mix)
{
    const result *want = &alone[r->spec - specs];
    check_facts(r);
    for (int32_t i = 0; i < r->spec->params.n; i++) {
        const child_result *a = &r->child[i], *b = &want->child[i];
        if (a->n_ids > b->n_ids || a->hash[a->n_ids] != b->hash[a->n_ids])
            fail_msg("mix %d, %s: cancelled request %d had told other tokens", i_mix, way,
                     (int)(r->spec - specs));
    }
}

// ---- ways of running them ----

typedef struct way {
    const char *what;
    bool is_async, has_prefixes;
    int32_t n_threads, block_size, budget, n_blocks;
    const char *policy;
    int32_t threshold, n_partial; /* 0: defaults */
    bool whole_prompts, no_reserve, no_plans;
} way;

static const way ways[] = {
    {.what = "in company, unplanned", .no_plans = true, .n_threads = 1},
    {.what = "async", .is_async = true, .n_threads = 1},
    {.what = "prefixes", .has_prefixes = true, .n_threads = 1},
    {.what = "async, prefixes", .is_async = true, .has_prefixes = true, .n_threads = 1},
    {.what = "pieces", .has_prefixes = true, .budget = 7, .n_threads = 1},
    {.what = "async, pieces", .is_async = true, .has_prefixes = true, .budget = 40, .n_threads = 2},
    {.what = "preempted", .n_blocks = 13, .n_threads = 1},
    {.what = "async, preempted, prefixes",
     .is_async = true,
     .has_prefixes = true,
     .n_blocks = 12,
     .budget = 100,
     .n_threads = 1},
    {.what = "preempted, not reserved",
     .has_prefixes = true,
     .n_blocks = 11,
     .no_reserve = true,
     .n_threads = 2},
    {.what = "async, priorities, long prompts in turns",
     .is_async = true,
     .has_prefixes = true,
     .block_size = 32,
     .n_blocks = 7,
     .policy = "priority",
     .threshold = 20,
     .n_partial = 3,
     .n_threads = 1},
    {.what = "async, whole prompts",
     .is_async = true,
     .has_prefixes = true,
     .n_blocks = 14,
     .budget = MODEL_LEN,
     .whole_prompts = true,
     .n_threads = 1},
};

static const char *kv_dtype; // of the test that runs

static qw_engine *open_way(const way *w)
{
    qw_error err;
    qw_engine *e;
    qw_engine_options o = qw_engine_options_default();
    o.model_dir = MODEL;
    o.kv_cache_dtype = kv_dtype;
    o.max_model_len = MODEL_LEN;
    o.cpu_threads = w->n_threads;
    o.max_num_seqs = w->budget > 0 && w->budget < 8 ? w->budget : 8;
    o.max_num_batched_tokens = w->budget;
    o.num_gpu_blocks_override = w->n_blocks;
    if (w->block_size) o.block_size = w->block_size;
    o.async_scheduling = w->is_async;
    o.enable_prefix_caching = w->has_prefixes;
    if (w->policy) o.scheduling_policy = w->policy;
    o.long_prefill_token_threshold = w->threshold;
    if (w->n_partial) o.max_num_partial_prefills = w->n_partial;
    o.no_step_plans = w->no_plans;
    o.enable_chunked_prefill = !w->whole_prompts;
    o.scheduler_reserve_full_isl = !w->no_reserve;
    o.think_start_id = THINK_START;
    o.think_end_id = THINK_END;
    assert_ok(qw_engine_open(&e, &o, &err));
    return e;
}

// Requests come in turn while others run; some are cancelled on the way.
static void run_mix(qw_engine *e, const way *w, int i_mix)
{
    static result results[MAX_IN_MIX];
    uint64_t ids[MAX_IN_MIX];
    int32_t cancel_at[MAX_IN_MIX], arrive_at[MAX_IN_MIX], n = 2 + random_below(MAX_IN_MIX - 1);
    bool was_cancelled[MAX_IN_MIX] = {false};
    for (int32_t i = 0; i < n; i++) {
        arrive_at[i] = random_below(8);
        cancel_at[i] = one_in(6) ? arrive_at[i] + random_below(12) : -1;
    }
    bool busy = true;
    for (int32_t i_step = 0; busy || i_step <= 20; i_step++) {
        for (int32_t i = 0; i < n; i++) {
            if (arrive_at[i] == i_step)
                ids[i] = submit(e, &specs[random_below(N_SPECS)], &results[i], random_below(3));
            if (cancel_at[i] != i_step || arrive_at[i] > i_step) continue;
            was_cancelled[i] = !results[i].is_done;
            qw_engine_cancel(e, ids[i]);
            assert_true(results[i].is_done);
        }
        busy = qw_engine_step(e);
    }
    for (int32_t i = 0; i < n; i++) {
        if (was_cancelled[i])
            check_beginning(&results[i], w->what, i_mix);
        else
            check_whole(&results[i], w->what, i_mix);
    }
    qw_engine_stats s;
    qw_engine_get_stats(e, &s);
    assert_int_equal(s.n_running + s.n_waiting + s.n_blocks_used, 0);
}

static void run_alone(void)
{
    const way plain = {.what = "alone", .no_plans = true, .n_threads = 1};
    qw_engine *e = open_way(&plain);
    int n_ends[3] = {0};
    for (int i = 0; i < N_SPECS; i++) {
        make_spec(&specs[i]);
        submit(e, &specs[i], &alone[i], 0);
        while (qw_engine_step(e)) continue;
        assert_true(alone[i].is_done);
        for (int32_t k = 0; k < specs[i].params.n; k++) n_ends[alone[i].child[k].finish]++;
    }
    print_message("  alone: %d withdrawn, %d stopped, %d at their length\n", n_ends[0], n_ends[1],
                  n_ends[2]);
    assert_true(n_ends[0] > 5 && n_ends[1] > 10 && n_ends[2] > 20);
    qw_engine_close(e);
}

// Every `every`-th of the ways.
static void check_ways(size_t every)
{
    size_t live = qw_mem_live();
    run_alone();
    for (size_t k = 0; k < QW_ARRAY_LEN(ways); k += every) {
        const way *w = &ways[k];
        qw_engine *e = open_way(w);
        for (size_t i = 0; i < N_MIXES / QW_ARRAY_LEN(ways); i++) run_mix(e, w, (int)i);
        qw_engine_stats s;
        qw_engine_get_stats(e, &s);
        print_message("  %-42s %5d steps %4d preemptions, %d of %d prompt tokens found\n", w->what,
                      (int)s.n_steps, (int)s.n_preemptions, (int)s.n_prefix_hits,
                      (int)s.n_prefix_queries);
        if (w->n_blocks) assert_true(s.n_preemptions > 0);
        assert_int_equal(w->has_prefixes, s.n_prefix_hits > 0);
        assert_int_equal(w->no_plans, qw_engine_step_stats(e)->plan_replays == 0);
        qw_engine_close(e);
    }
    for (int i = 0; i < N_SPECS; i++) qw_sampling_params_release(&specs[i].params);
    assert_int_equal(qw_mem_live(), live);
}

static void test_mixes(void **state)
{
    (void)state;
    kv_dtype = "auto";
    check_ways(1);
}

static void test_mixes_int8(void **state)
{
    (void)state;
    kv_dtype = "int8";
    check_ways(5);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mixes),
                                       cmocka_unit_test(test_mixes_int8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
