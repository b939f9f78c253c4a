// The life of a request in the engine, with and without asynchronous scheduling: cancelled in every
// state, its last word told once, its facts, thinking budgets, no allocation in a decode step, and
// failing allocations that cost nobody but their own request.

#include "test_util.h"

#include "base/mem.h"
#include "engine/engine.h"
#include "format/json.h"

#define MODEL QW_SOURCE_DIR "/models/tiny"

enum { MAX_IDS = 512, THINK_START = 11, THINK_END = 12 };

typedef struct told {
    int32_t ids[MAX_IDS];
    int n_ids, n_events, n_done;
    qw_finish_reason finish;
    qw_status error;
    int withdraw_at; /* 0: never */
    int32_t stop_at; /* a stop id; 0: none */
    qw_request_facts facts;
} told;

static bool on_token(void *ctx, const qw_token_event *e)
{
    told *t = ctx;
    assert_int_equal(t->n_done, 0);
    t->n_events++;
    if (e->id >= 0) t->ids[t->n_ids++] = e->id;
    t->finish = e->finish;
    if (e->error) t->error = e->error->code;
    return t->n_ids == t->withdraw_at;
}

static void on_done(void *ctx, const qw_request_facts *facts)
{
    told *t = ctx;
    t->n_done++;
    t->facts = *facts;
}

static qw_engine_options options_for(bool is_async)
{
    qw_engine_options o = qw_engine_options_default();
    o.model_dir = MODEL;
    o.max_model_len = 1024;
    o.cpu_threads = 1;
    o.async_scheduling = is_async;
    return o;
}

static qw_engine *open_engine(const qw_engine_options *o)
{
    qw_error err;
    qw_engine *e;
    assert_ok(qw_engine_open(&e, o, &err));
    return e;
}

static void make_prompt(int32_t *ids, int32_t n, int32_t family)
{
    for (int32_t i = 0; i < n; i++) ids[i] = (family * 577 + i * 31 + i * i * 7) % 3800;
}

static qw_sampling_params plain_params(int64_t max_tokens)
{
    qw_sampling_params p;
    qw_sampling_params_init(&p);
    p.temperature = 0;
    p.max_tokens = max_tokens;
    p.ignore_eos = true;
    return p;
}

static uint64_t submit_n(qw_engine *e, told *t, int32_t n_prompt, int32_t family,
                         int64_t max_tokens, int64_t n)
{
    int32_t stop_id = t->stop_at;
    qw_error err;
    int32_t ids[1024];
    uint64_t id = UINT64_MAX;
    make_prompt(ids, n_prompt, family);
    qw_sampling_params p = plain_params(max_tokens);
    p.n = n;
    qw_request_sink sink = {.ctx = t, .token = on_token, .done = on_done};
    *t = (told){.withdraw_at = t->withdraw_at, .stop_at = stop_id};
    if (stop_id > 0) {
        p.stop_token_ids = qw_mem_array(1, sizeof *p.stop_token_ids);
        p.stop_token_ids[0] = stop_id;
        p.n_stop_token_ids = 1;
    }
    assert_ok(qw_engine_submit(e, ids, (size_t)n_prompt, &p, NULL, &sink, &id, &err));
    return id;
}

static uint64_t submit(qw_engine *e, told *t, int32_t n_prompt, int32_t family, int64_t max_tokens)
{
    return submit_n(e, t, n_prompt, family, max_tokens, 1);
}

static void steps(qw_engine *e, int n)
{
    for (int i = 0; i < n; i++) assert_true(qw_engine_step(e));
}

static void finish(qw_engine *e)
{
    while (qw_engine_step(e)) continue;
}

static qw_engine_stats stats_of(const qw_engine *e)
{
    qw_engine_stats s;
    qw_engine_get_stats(e, &s);
    return s;
}

// Queued, in the middle of a long prompt, decoding, with results on their way: blocks are free when
// the call returns, and only `done` is told.
static void test_cancel(void **state)
{
    bool is_async = *state != NULL;
    qw_engine_options o = options_for(is_async);
    o.max_num_seqs = 2;
    o.max_num_batched_tokens = 64;
    qw_engine *e = open_engine(&o);
    for (int n_steps = 0; n_steps < 14; n_steps++) {
        static told a, b, c;
        uint64_t id = submit_n(e, &a, 300, n_steps, 200, 2);
        submit(e, &b, 20, 1, 10);
        submit(e, &c, 30, 2, 10);
        steps(e, n_steps);
        int n_events = a.n_events;
        int32_t before = stats_of(e).n_blocks_used;
        qw_engine_cancel(e, id);
        assert_int_equal(a.n_events, n_events);
        assert_int_equal(a.n_done, 1);
        if (n_steps > 0) assert_true(stats_of(e).n_blocks_used < before);
        if (n_steps < 2) assert_int_equal(stats_of(e).n_blocks_used, 0);
        qw_engine_cancel(e, id); // over
        qw_engine_cancel(e, id + 1000000);
        finish(e);
        assert_int_equal(a.n_events, n_events);
        assert_int_equal(a.n_done, 1);
        assert_int_equal(b.n_ids, 10);
        assert_int_equal(c.n_ids, 10);
        assert_int_equal(stats_of(e).n_blocks_used, 0);
        qw_engine_cancel(e, id + 1); // done long ago
    }
    qw_engine_close(e);
}

// Surplus tokens of sequences that ended are neither told nor counted.
static void test_counts(void **state)
{
    bool is_async = *state != NULL;
    qw_engine_options o = options_for(is_async);
    qw_engine *e = open_engine(&o);
    static told t[4], whole;
    submit(e, &whole, 30, 3, 8);
    finish(e);
    qw_engine_reset_prefix_cache(e);
    t[0].withdraw_at = 3;
    t[3].stop_at = whole.ids[7];
    submit(e, &t[0], 50, 1, 20);
    submit(e, &t[1], 50, 1, 6);
    submit_n(e, &t[2], 40, 2, 4, 3);
    submit(e, &t[3], 30, 3, 20);
    int n_until_stop = 1;
    while (whole.ids[n_until_stop - 1] != t[3].stop_at) n_until_stop++;
    int64_t n_tokens = 0;
    while (qw_engine_step(e)) n_tokens += qw_engine_last_step(e).n_tokens;
    assert_int_equal(t[0].n_ids, 3);
    assert_int_equal(t[1].n_ids, 6);
    assert_int_equal(t[2].n_ids, 12);
    assert_int_equal(t[3].n_ids, n_until_stop);
    assert_int_equal(t[3].finish, QW_FINISH_STOP);
    int64_t n_computed = 0;
    for (int i = 0; i < 4; i++) {
        const qw_request_facts *f = &t[i].facts;
        assert_int_equal(t[i].n_done, 1);
        assert_int_equal(f->n_generated, t[i].n_ids);
        assert_int_equal(f->n_preemptions, 0);
        assert_true(f->arrival_ns <= f->scheduled_ns && f->scheduled_ns < f->first_token_ns);
        assert_true(f->first_token_ns < f->last_token_ns);
        n_computed += f->n_computed;
    }
    // The second prompt equals the first: three blocks of 16, found in the step that makes them.
    assert_int_equal(t[1].facts.n_cached_tokens, 48);
    assert_int_equal(t[1].facts.n_computed, 2 + 5);
    assert_int_equal(t[2].facts.n_computed, 40 + 2 * 8 + 3 * 3);
    assert_int_equal(t[3].facts.n_computed, 30 + n_until_stop - 1);
    qw_engine_stats s = stats_of(e);
    assert_int_equal(s.n_generated_tokens, 8 + 3 + 6 + 12 + n_until_stop);
    assert_int_equal(s.n_prompt_tokens, 30 + 50 + 2 + 40 + 2 * 8 + 30);
    assert_int_equal(s.n_prefix_queries, 30 + 50 + 50 + 3 * 40 + 30);
    assert_int_equal(s.n_prefix_hits, 48 + 2 * 32);
    // One row of the withdrawn sequence was on its way already.
    assert_int_equal(n_computed + (is_async ? 1 : 0), n_tokens);
    assert_int_equal(s.n_running + s.n_waiting, 0);
    qw_engine_close(e);
}

static void test_reset_and_skip(void **state)
{
    qw_engine_options o = options_for(*state != NULL);
    qw_engine *e = open_engine(&o);
    static told t;
    const int32_t want[] = {0, 96, 0, 96};
    for (int i = 0; i < 4; i++) {
        submit(e, &t, 100, 1, 2);
        if (i == 2) qw_engine_reset_prefix_cache(e);
        finish(e);
        assert_int_equal(t.facts.n_cached_tokens, want[i]);
    }
    const struct {
        qw_submit_options o;
        int32_t want;
    } cases[] = {{{.skip_prefix_cache = true}, 0},
                 {{.cache_salt = "mine"}, 0},
                 {{.cache_salt = "mine"}, 96},
                 {{.cache_salt = "yours"}, 0}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_error err;
        int32_t ids[100];
        make_prompt(ids, 100, 1);
        qw_sampling_params p = plain_params(2);
        qw_request_sink sink = {.ctx = &t, .token = on_token, .done = on_done};
        t = (told){0};
        assert_ok(qw_engine_submit(e, ids, 100, &p, &cases[i].o, &sink, NULL, &err));
        finish(e);
        assert_int_equal(t.facts.n_cached_tokens, cases[i].want);
    }
    qw_engine_close(e);
}

static void test_thinking_budget(void **state)
{
    qw_engine_options o = options_for(*state != NULL);
    qw_error err;
    int32_t ids[40];
    make_prompt(ids, 40, 3);
    static told t;
    qw_request_sink sink = {.ctx = &t, .token = on_token, .done = on_done};
    qw_engine *e = open_engine(&o);
    qw_sampling_params p = plain_params(10);
    p.thinking_token_budget = 3;
    assert_fails(qw_engine_submit(e, ids, 40, &p, NULL, &sink, NULL, &err), QW_ERR_USAGE,
                 "thinking_token_budget");
    qw_engine_close(e);
    o.think_start_id = THINK_START;
    o.think_end_id = THINK_END;
    e = open_engine(&o);
    p.starts_thinking = true;
    t = (told){0};
    assert_ok(qw_engine_submit(e, ids, 40, &p, NULL, &sink, NULL, &err));
    finish(e);
    assert_int_equal(t.n_ids, 10);
    for (int i = 0; i < 10; i++) assert_int_equal(t.ids[i] == THINK_END, i == 3);
    qw_engine_close(e);
}

// Once all prompts are in, a step allocates nothing, on any thread.
static void test_no_allocation(void **state)
{
    qw_engine_options o = options_for(*state != NULL);
    o.cpu_threads = 2;
    qw_engine *e = open_engine(&o);
    static told t[4];
    for (int i = 0; i < 4; i++) {
        qw_error err;
        int32_t ids[64];
        make_prompt(ids, 30 + i * 5, i);
        qw_sampling_params p = plain_params(100);
        p.temperature = i % 2;
        p.top_p = 0.9;
        p.frequency_penalty = i > 1 ? 0.5 : 0;
        p.logprobs = i;
        p.min_tokens = 50;
        qw_request_sink sink = {.ctx = &t[i], .token = on_token, .done = on_done};
        t[i] = (told){0};
        assert_ok(qw_engine_submit(e, ids, (size_t)(30 + i * 5), &p, NULL, &sink, NULL, &err));
    }
    steps(e, 4);
    uint64_t n_allocations = qw_mem_count();
    steps(e, 60);
    assert_int_equal(qw_mem_count(), n_allocations);
    for (int i = 0; i < 4; i++) assert_true(t[i].n_ids >= 60);
    finish(e);
    qw_engine_close(e);
}

// Every allocation of a submission fails once beside a running request, which does not notice.
static void test_failing_submissions(void **state)
{
    qw_engine_options o = options_for(*state != NULL);
    qw_engine *e = open_engine(&o);
    static told healthy, alone, t;
    submit(e, &alone, 40, 1, 200);
    finish(e);
    size_t live = qw_mem_live();
    submit(e, &healthy, 40, 1, 200);
    steps(e, 2);
    uint64_t n = 1;
    for (bool done = false; !done; n++) {
        qw_error err;
        int32_t ids[50], allowed[] = {1, 2};
        make_prompt(ids, 50, 2);
        qw_sampling_params p = plain_params(4), kept;
        p.n = 2;
        p.logprobs = 2;
        p.presence_penalty = 1;
        p.allowed_token_ids = allowed; // must come back on failure
        p.n_allowed_token_ids = 2;
        assert_ok(qw_sampling_params_copy(&kept, &p, &err));
        qw_request_sink sink = {.ctx = &t, .token = on_token, .done = on_done};
        t = (told){0};
        qw_mem_fail_at(n);
        qw_status st = qw_engine_submit(e, ids, 50, &kept, NULL, &sink, NULL, &err);
        qw_mem_fail_at(0);
        done = st == QW_OK;
        if (!done) {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_int_equal(kept.n_allowed_token_ids, 2);
            assert_int_equal(t.n_events + t.n_done, 0);
            qw_sampling_params_release(&kept);
        }
        steps(e, 1);
    }
    assert_true(n > 15);
    finish(e);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(healthy.n_ids, 200);
    assert_memory_equal(healthy.ids, alone.ids, sizeof alone.ids);
    // The queue of the scheduler may have grown; nothing of the failed requests is left.
    assert_true(qw_mem_live() <= live + 1);
    qw_engine_close(e);
}

// Closing tells every child that is left, once.
static void test_close(void **state)
{
    size_t live = qw_mem_live();
    for (int n_steps = 0; n_steps < 5; n_steps++) {
        qw_engine_options o = options_for(*state != NULL);
        o.max_num_seqs = 3;
        qw_engine *e = open_engine(&o);
        static told t[3];
        submit(e, &t[0], 30, 1, 2);
        submit_n(e, &t[1], 30, 2, 50, 2);
        submit(e, &t[2], 30, 3, 50);
        steps(e, n_steps);
        qw_engine_close(e);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(t[i].n_done, 1);
            bool whole = i == 0 && t[0].n_ids == 2;
            assert_int_equal(t[i].finish, whole ? QW_FINISH_LENGTH : QW_FINISH_ABORT);
            if (!whole) assert_int_equal(t[i].error, QW_ERR_CANCELLED);
            assert_int_equal(t[i].n_events, t[i].n_ids + (whole ? 0 : i == 1 ? 2 : 1));
        }
        assert_int_equal(qw_mem_live(), live);
    }
}

static void expect_refusal(const qw_engine_options *o, const char *part)
{
    qw_error err;
    qw_engine *e;
    assert_fails(qw_engine_open(&e, o, &err), QW_ERR_USAGE, part);
}

static void test_scheduler_options(void **state)
{
    (void)state;
    qw_engine_options d = options_for(false), o;
    o = d, o.scheduling_policy = "lottery";
    expect_refusal(&o, "--scheduling-policy 'lottery'");
    o = d, o.max_num_partial_prefills = 0;
    expect_refusal(&o, "--max-num-partial-prefills");
    o = d, o.max_long_partial_prefills = 2;
    expect_refusal(&o, "--max-long-partial-prefills");
    o = d, o.long_prefill_token_threshold = 1025;
    expect_refusal(&o, "--long-prefill-token-threshold");
    o = d, o.enable_chunked_prefill = false, o.max_num_batched_tokens = 1000;
    expect_refusal(&o, "--max-num-batched-tokens (1000)");
    o = d, o.enable_chunked_prefill = false, o.max_num_partial_prefills = 2;
    expect_refusal(&o, "--max-num-partial-prefills 2");
    o = d, o.enable_chunked_prefill = false, o.max_model_len = 4096;
    qw_engine *e = open_engine(&o); // the budget is made to fit
    static told t;
    submit(e, &t, 1000, 1, 3);
    finish(e);
    assert_int_equal(t.n_ids, 3);
    assert_int_equal(stats_of(e).n_steps, 3);
    qw_engine_close(e);
}

int main(void)
{
    static char async[] = "async";
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel),
        cmocka_unit_test_prestate(test_cancel, async),
        cmocka_unit_test(test_counts),
        cmocka_unit_test_prestate(test_counts, async),
        cmocka_unit_test(test_reset_and_skip),
        cmocka_unit_test_prestate(test_reset_and_skip, async),
        cmocka_unit_test(test_thinking_budget),
        cmocka_unit_test_prestate(test_thinking_budget, async),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test_prestate(test_no_allocation, async),
        cmocka_unit_test(test_failing_submissions),
        cmocka_unit_test_prestate(test_failing_submissions, async),
        cmocka_unit_test(test_close),
        cmocka_unit_test_prestate(test_close, async),
        cmocka_unit_test(test_scheduler_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
