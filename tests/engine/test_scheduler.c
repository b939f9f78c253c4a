// The scheduler as a simulation: random arrivals on a small block pool, no model. After every step
// queues, states and blocks must agree, and every sequence must come to its end.

#include "test_util.h"

#include "base/mem.h"
#include "engine/scheduler.h"

static uint32_t rng_state;

static int32_t random_below(int32_t n)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (int32_t)((rng_state >> 8) % (uint32_t)n);
}

static bool no_token(void *ctx, const qw_token_event *event)
{
    (void)ctx;
    (void)event;
    return false;
}

static qw_sequence *arrive(uint64_t id, int32_t n_prompt, int32_t max_tokens, int32_t block_size)
{
    qw_error err;
    qw_request *r;
    qw_sequence *s;
    int32_t prompt[4096] = {0};
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    qw_request_sink sink = {.token = no_token};
    assert_ok(qw_request_new(&r, id, n_prompt, max_tokens, &params, &sink, &err));
    assert_ok(qw_sequence_new(&s, r, 0, prompt, block_size, &err));
    return s;
}

static void leave(qw_sequence *s, qw_kv_cache *kv)
{
    qw_request *r = s->request;
    qw_sequence_free(s, &kv->pool);
    qw_request_free(r);
}

typedef struct world {
    qw_scheduler sched;
    qw_kv_cache kv;
    int32_t max_len; /* the longest sequence that fits the pool */
} world;

static void world_init(world *w, int32_t n_blocks, int32_t max_seqs, int32_t budget)
{
    qw_error err;
    qw_kv_layout layout = qw_kv_layout_make(QW_DTYPE_BF16, 16, 1, 32);
    assert_ok(qw_kv_cache_init(&w->kv, &layout, 1, n_blocks, &err));
    assert_ok(qw_scheduler_init(&w->sched, max_seqs, budget, &err));
    w->max_len = n_blocks * 16;
}

static void world_release(world *w)
{
    qw_scheduler_release(&w->sched);
    assert_int_equal(w->kv.pool.n_free, w->kv.pool.n_blocks);
    qw_kv_cache_release(&w->kv);
}

// One step: what the engine does, without the arithmetic. Returns the number of ended sequences.
static int world_step(world *w)
{
    int n_ended = 0;
    if (!qw_scheduler_step(&w->sched, &w->kv)) return -1;
    qw_scheduler_check(&w->sched, &w->kv);
    int32_t sum = 0;
    for (int32_t i = 0; i < w->sched.n_scheduled; i++) {
        qw_sequence *s = w->sched.scheduled[i];
        assert_true(s->n_scheduled > 0);
        assert_true(s->n_computed + s->n_scheduled <= s->n_tokens);
        assert_true(s->n_blocks * 16 >= s->n_computed + s->n_scheduled);
        sum += s->n_scheduled;
    }
    assert_int_equal(sum, w->sched.n_tokens);
    qw_scheduler_commit(&w->sched);
    for (int32_t i = 0; i < w->sched.n_scheduled; i++) {
        qw_sequence *s = w->sched.scheduled[i];
        if (s->n_computed < s->n_tokens) continue;
        s->tokens[s->n_tokens++] = 1;
        bool at_end = s->n_tokens - s->request->n_prompt >= s->request->max_tokens;
        if (!at_end && random_below(50) > 0) continue; // at times a stop comes early
        qw_scheduler_remove(&w->sched, s, &w->kv);
        leave(s, &w->kv);
        n_ended++;
    }
    qw_scheduler_check(&w->sched, &w->kv);
    return n_ended;
}

static void simulate(uint32_t seed, int n_arrivals)
{
    rng_state = seed;
    world w;
    world_init(&w, 8 + random_below(60), 1 + random_below(20), 20 + random_below(300));
    int n_arrived = 0, n_ended = 0;
    for (int n_steps = 0; n_ended < n_arrivals; n_steps++) {
        assert_true(n_steps < 1000000); // something always moves
        for (int k = random_below(4); k > 0 && n_arrived < n_arrivals; k--) {
            int32_t n_prompt = 1 + random_below(w.max_len - 1);
            if (random_below(4)) n_prompt = 1 + n_prompt % 40;
            int32_t room = w.max_len - n_prompt;
            int32_t n_new = 1 + random_below(room < 60 ? room : 60);
            if (n_new > room) n_new = room;
            qw_scheduler_add(&w.sched, arrive((uint64_t)n_arrived++, n_prompt, n_new, 16));
        }
        int n = world_step(&w);
        if (n > 0) n_ended += n;
        if (n < 0) assert_int_equal(n_arrived, n_ended); // idle only when all is done
    }
    print_message("  seed %u: %d sequences, %d preemptions\n", seed, n_ended,
                  (int)w.sched.n_preemptions);
    world_release(&w);
}

static void test_random_arrivals(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) simulate(seed, 1000);
}

// Decodes go before prompts, and a long prompt is spread over steps with decodes mixed in.
static void test_decode_has_precedence(void **state)
{
    (void)state;
    world w;
    world_init(&w, 64, 8, 10);
    qw_sequence *a = arrive(0, 3, 100, 16), *b = arrive(1, 25, 5, 16);
    qw_scheduler_add(&w.sched, a);
    qw_scheduler_add(&w.sched, b);
    const int32_t want[4][2] = {{3, 7}, {1, 9}, {1, 9}, {1, 1}};
    for (int i = 0; i < 4; i++) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        assert_ptr_equal(w.sched.scheduled[0], a);
        assert_ptr_equal(w.sched.scheduled[1], b);
        assert_int_equal(a->n_scheduled, want[i][0]);
        assert_int_equal(b->n_scheduled, want[i][1]);
        qw_scheduler_commit(&w.sched);
        for (int s = 0; s < 2; s++) {
            qw_sequence *q = s ? b : a;
            if (q->n_computed == q->n_tokens) q->tokens[q->n_tokens++] = 1;
        }
    }
    qw_scheduler_remove(&w.sched, a, &w.kv);
    qw_scheduler_remove(&w.sched, b, &w.kv);
    leave(a, &w.kv);
    leave(b, &w.kv);
    world_release(&w);
}

// When blocks run out the last running sequence gives way, and comes back at the head of the queue.
static void test_preemption_takes_the_last(void **state)
{
    (void)state;
    world w;
    world_init(&w, 4, 4, 100);
    qw_sequence *a = arrive(0, 30, 30, 16), *b = arrive(1, 30, 30, 16), *c = arrive(2, 5, 5, 16);
    qw_scheduler_add(&w.sched, a);
    qw_scheduler_add(&w.sched, b);
    assert_true(qw_scheduler_step(&w.sched, &w.kv)); // two blocks each
    qw_scheduler_add(&w.sched, c);
    qw_scheduler_commit(&w.sched);
    a->n_tokens += 3;
    b->n_tokens += 1;
    assert_true(qw_scheduler_step(&w.sched, &w.kv)); // a needs a third
    assert_int_equal(w.sched.n_preemptions, 1);
    assert_int_equal(w.sched.n_scheduled, 1);
    assert_ptr_equal(w.sched.scheduled[0], a);
    assert_ptr_equal(w.sched.waiting.head, b);
    assert_ptr_equal(b->next, c);
    assert_int_equal(b->n_computed, 0);
    qw_scheduler_check(&w.sched, &w.kv);
    qw_sequence *all[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        qw_scheduler_remove(&w.sched, all[i], &w.kv);
        leave(all[i], &w.kv);
    }
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_arrivals),
        cmocka_unit_test(test_decode_has_precedence),
        cmocka_unit_test(test_preemption_takes_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
