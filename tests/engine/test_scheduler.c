// The scheduler as a simulation: random arrivals, ends, cancellations and shared prefixes under
// random limits on a small block pool, no model. After every step queues, states, references and
// caches must agree, and every sequence must come to its end.

#include "test_util.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/scheduler.h"

enum { BLOCK = 16, MAX_LEN = 4096 };

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

static void no_logits(void *ctx, int32_t position, const float *row, int32_t vocab_size)
{
    (void)ctx, (void)position, (void)row, (void)vocab_size;
}

/** A request of one sequence. */
typedef struct arrival {
    uint64_t id;
    int32_t n_prompt, max_tokens, priority;
    int32_t family; /* prompts of one family begin alike */
    bool tells;     /* wants the logits of every position */
    bool skip_prefix_cache;
    uint64_t salt;
} arrival;

static qw_sequence *arrive(const arrival *a)
{
    qw_error err;
    qw_request *r;
    qw_sequence *s;
    static int32_t prompt[MAX_LEN];
    for (int32_t i = 0; i < a->n_prompt; i++) prompt[i] = a->family * 7919 + i;
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    qw_request_sink sink = {.token = no_token, .logits = a->tells ? no_logits : NULL};
    qw_submit_options options = {.priority = a->priority,
                                 .skip_prefix_cache = a->skip_prefix_cache};
    qw_request_args args = {.id = a->id,
                            .n_prompt = a->n_prompt,
                            .max_tokens = a->max_tokens,
                            .sink = &sink,
                            .options = &options};
    assert_ok(qw_request_new(&r, &args, &params, &err));
    r->salt.low = a->salt;
    assert_ok(qw_sequence_new(&s, r, 0, prompt, BLOCK, &err));
    return s;
}

static void leave(qw_sequence *s)
{
    qw_request *r = s->request;
    qw_sequence_free(s);
    qw_request_free(r);
}

typedef struct world {
    qw_scheduler sched;
    qw_kv_cache kv;
    int32_t max_len; /* the longest sequence that fits the pool */
} world;

static qw_scheduler_limits plain_limits(int32_t max_seqs, int32_t budget)
{
    return (qw_scheduler_limits){.max_num_seqs = max_seqs,
                                 .max_num_batched_tokens = budget,
                                 .enable_chunked_prefill = true,
                                 .reserve_full_isl = true,
                                 .max_num_partial_prefills = 1,
                                 .max_long_partial_prefills = 1};
}

static void world_init(world *w, int32_t n_blocks, const qw_scheduler_limits *limits,
                       bool has_prefixes)
{
    qw_error err;
    *w = (world){0};
    qw_kv_layout layout = qw_kv_layout_make(QW_DTYPE_BF16, BLOCK, 1, 32);
    assert_ok(qw_kv_cache_init(&w->kv, &layout, 1, n_blocks, &err));
    if (has_prefixes) assert_ok(qw_kv_cache_add_prefixes(&w->kv, &err));
    assert_ok(qw_scheduler_init(&w->sched, limits, &err));
    w->max_len = n_blocks * BLOCK;
}

static void world_release(world *w)
{
    qw_scheduler_release(&w->sched);
    assert_int_equal(w->kv.pool.n_free, w->kv.pool.n_blocks);
    qw_kv_cache_release(&w->kv);
}

static void add(world *w, qw_sequence *s)
{
    qw_error err;
    assert_ok(qw_scheduler_reserve(&w->sched, 1, &err));
    qw_scheduler_add(&w->sched, s);
}

static void take_out(world *w, qw_sequence *s)
{
    qw_scheduler_remove(&w->sched, s, &w->kv);
    leave(s);
}

// ---- the simulation ----

/** A sequence's part of a scheduled step. */
typedef struct sim_part {
    qw_sequence *seq; /* NULL: ended meanwhile */
    int32_t first, n; /* positions */
    bool is_sampled;
    bool was_known;                  /* all its tokens were, when it was scheduled */
    int32_t blocks[MAX_LEN / BLOCK]; /* the table as it was */
    uint64_t values[MAX_LEN];        /* what it writes, as far as the tokens were known */
} sim_part;

typedef struct sim_step {
    sim_part parts[24];
    int32_t n;
} sim_step;

typedef struct sim {
    world w;
    int32_t n_arrivals, n_arrived, n_ended, n_cancelled;
    qw_sequence *all[4096]; /* alive, in no order */
    int32_t n_alive;
    bool is_async;
    sim_step steps[2];
    sim_step *running; /* its results are not known yet; NULL: none */
    // Instead of keys and values: in each slot a hash of all tokens up to the position.
    uint64_t slots[128 * BLOCK];
} sim;

static void forget(sim *m, const qw_sequence *s)
{
    for (int32_t i = 0; i < m->n_alive; i++)
        if (m->all[i] == s) {
            m->all[i] = m->all[--m->n_alive];
            break;
        }
    for (int k = 0; k < 2; k++)
        for (int32_t i = 0; i < m->steps[k].n; i++)
            if (m->steps[k].parts[i].seq == s) m->steps[k].parts[i].seq = NULL;
    m->n_ended++;
}

static void random_arrivals(sim *m)
{
    const world *w = &m->w;
    for (int k = random_below(4); k > 0 && m->n_arrived < m->n_arrivals; k--) {
        int32_t n_prompt = 1 + random_below(w->max_len - 1);
        if (random_below(4)) n_prompt = 1 + n_prompt % 100;
        if (n_prompt >= w->max_len) n_prompt = w->max_len - 1;
        int32_t room = w->max_len - n_prompt;
        arrival a = {.id = (uint64_t)m->n_arrived++,
                     .n_prompt = n_prompt,
                     .max_tokens = 1 + random_below(room < 60 ? room : 60),
                     .priority = random_below(3) - 1,
                     .family = random_below(5),
                     .tells = random_below(10) == 0,
                     .skip_prefix_cache = random_below(10) == 0,
                     .salt = random_below(4) == 0};
        qw_sequence *s = arrive(&a);
        add(&m->w, s);
        m->all[m->n_alive++] = s;
    }
}

static void random_cancel(sim *m)
{
    if (m->n_alive == 0 || random_below(20) > 0) return;
    qw_sequence *s = m->all[random_below(m->n_alive)];
    forget(m, s);
    m->n_cancelled++;
    take_out(&m->w, s);
}

// The hash of the tokens of a sequence up to a position, known so far.
static void prefix_values(uint64_t *out, const qw_sequence *s, int32_t n)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < n && i < s->n_tokens; i++) {
        hash = (hash ^ (uint64_t)s->tokens[i]) * 0x9E3779B97F4A7C15u + 1;
        out[i] = hash ^ hash >> 31;
    }
}

// A step as the scheduler made it: within the limits, and covered by blocks.
static void record_step(sim_step *step, const world *w)
{
    const qw_scheduler *s = &w->sched;
    const qw_scheduler_limits *l = &s->limits;
    int32_t sum = 0;
    step->n = s->n_scheduled;
    for (int32_t i = 0; i < s->n_scheduled; i++) {
        qw_sequence *q = s->scheduled[i];
        assert_int_equal(q->state, QW_SEQ_RUNNING);
        assert_true(q->n_scheduled > 0);
        assert_true(q->n_computed < qw_sequence_max_tokens(q));
        assert_true(q->n_blocks * BLOCK >= q->n_computed);
        if (l->long_prefill_token_threshold > 0 && l->enable_chunked_prefill)
            assert_true(q->n_scheduled <= l->long_prefill_token_threshold);
        if (!l->enable_chunked_prefill) assert_true(q->n_computed >= q->n_tokens);
        for (int32_t k = 0; k < i; k++) assert_ptr_not_equal(q, s->scheduled[k]);
        sum += q->n_scheduled;
        sim_part *p = &step->parts[i];
        p->seq = q;
        p->first = q->n_computed - q->n_scheduled;
        p->n = q->n_scheduled;
        p->is_sampled = q->n_computed >= q->n_tokens;
        p->was_known = q->n_computed <= q->n_tokens;
        memcpy(p->blocks, q->blocks, (size_t)q->n_blocks * sizeof *q->blocks);
        prefix_values(p->values, q, q->n_computed);
    }
    assert_int_equal(sum, s->n_tokens);
    assert_true(sum <= l->max_num_batched_tokens);
}

static uint64_t *slot_of(sim *m, const sim_part *p, int32_t position)
{
    return &m->slots[p->blocks[position / BLOCK] * BLOCK + position % BLOCK];
}

// Run a step as the kernels do: write the new positions, then look at all of them up to the last.
// The rows of a sequence that ended with the step before are not there.
static void run_step(sim *m, sim_step *step)
{
    for (int32_t i = 0; i < step->n; i++) {
        sim_part *p = &step->parts[i];
        if (!p->was_known && p->seq) prefix_values(p->values, p->seq, p->first + p->n);
        if (!p->was_known && !p->seq) continue;
        for (int32_t k = p->first; k < p->first + p->n; k++) *slot_of(m, p, k) = p->values[k];
    }
    for (int32_t i = 0; i < step->n; i++) {
        const sim_part *p = &step->parts[i];
        if (!p->seq) continue;
        for (int32_t k = 0; k < p->first + p->n; k++)
            if (*slot_of(m, p, k) != p->values[k])
                fail_msg("position %d of sequence %d lies in a block that holds something else", k,
                         (int)p->seq->request->id);
    }
}

static int32_t next_token(const qw_sequence *s)
{
    // Mostly what longer prompts of the family go on with: so generated tokens are found too.
    return s->tokens[0] + s->n_tokens + random_below(40) / 39;
}

static void take_results(sim *m, const sim_step *step)
{
    for (int32_t i = 0; i < step->n; i++) {
        qw_sequence *s = step->parts[i].seq;
        if (!s || !step->parts[i].is_sampled) continue; // ended meanwhile
        qw_scheduler_token(s, next_token(s));
        bool at_end = s->n_tokens == qw_sequence_max_tokens(s);
        if (!at_end && random_below(50) > 0) continue; // at times a stop comes early
        forget(m, s);
        take_out(&m->w, s);
    }
    qw_scheduler_check(&m->w.sched, &m->w.kv);
}

// As the engine does: the results of a step are taken over when the next one has been scheduled
// (async), or at once.
static void sim_one(sim *m)
{
    world *w = &m->w;
    bool any = qw_scheduler_step(&w->sched, &w->kv);
    assert_int_equal(any, w->sched.n_scheduled > 0);
    qw_scheduler_check(&w->sched, &w->kv);
    sim_step *before = m->running, *step = &m->steps[before == &m->steps[0]];
    record_step(step, w);
    if (before) take_results(m, before);
    if (before) before->n = 0;
    run_step(m, step);
    if (!m->is_async) take_results(m, step);
    m->running = m->is_async && any ? step : NULL;
    if (!any && !before) assert_int_equal(m->n_arrived, m->n_ended); // idle only when all is done
    if (random_below(500) == 0) qw_kv_cache_reset_prefixes(&w->kv);
}

static qw_scheduler_limits random_limits(int32_t max_len)
{
    qw_scheduler_limits l = plain_limits(1 + random_below(20), 20 + random_below(300));
    l.by_priority = random_below(2);
    l.reserve_full_isl = random_below(3) > 0;
    l.enable_chunked_prefill = random_below(4) > 0;
    if (!l.enable_chunked_prefill) {
        l.max_num_batched_tokens = max_len + random_below(100);
    } else {
        if (random_below(2)) l.long_prefill_token_threshold = 1 + random_below(60);
        l.max_num_partial_prefills = 1 + random_below(4);
        l.max_long_partial_prefills = 1 + random_below(l.max_num_partial_prefills);
    }
    return l;
}

static void simulate(uint32_t seed, int32_t n_arrivals, bool is_async)
{
    rng_state = seed;
    static sim m;
    m = (sim){.n_arrivals = n_arrivals, .is_async = is_async};
    int32_t n_blocks = 8 + random_below(60);
    qw_scheduler_limits limits = random_limits(n_blocks * BLOCK);
    bool has_prefixes = seed % 5 > 0;
    world_init(&m.w, n_blocks, &limits, has_prefixes);
    for (int n_steps = 0; m.n_ended < n_arrivals; n_steps++) {
        assert_true(n_steps < 1000000); // something always moves
        random_arrivals(&m);
        random_cancel(&m);
        sim_one(&m);
    }
    print_message(
        "  seed %u%s: %d sequences, %d cancelled, %d preemptions, %d of %d tokens found\n", seed,
        is_async ? " async" : "", m.n_ended, m.n_cancelled, (int)m.w.sched.n_preemptions,
        (int)m.w.sched.n_prefix_hits, (int)m.w.sched.n_prefix_queries);
    world_release(&m.w);
}

static void test_random_arrivals(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 40; seed++) simulate(seed, 1000, seed % 2 == 1);
}

// ---- single properties ----

static qw_sequence *plain(uint64_t id, int32_t n_prompt, int32_t max_tokens)
{
    arrival a = {.id = id, .n_prompt = n_prompt, .max_tokens = max_tokens, .family = (int32_t)id};
    return arrive(&a);
}

static void give_tokens(const world *w)
{
    for (int32_t i = 0; i < w->sched.n_scheduled; i++) {
        qw_sequence *s = w->sched.scheduled[i];
        while (s->n_pending > 0) qw_scheduler_token(s, 1);
    }
}

// Decodes go before prompts, and a long prompt is spread over steps with decodes mixed in.
static void test_decode_has_precedence(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(8, 10);
    world_init(&w, 64, &l, false);
    qw_sequence *a = plain(0, 3, 100), *b = plain(1, 25, 5);
    add(&w, a);
    add(&w, b);
    const int32_t want[4][2] = {{3, 7}, {1, 9}, {1, 9}, {1, 1}};
    for (int i = 0; i < 4; i++) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        assert_ptr_equal(w.sched.scheduled[0], a);
        assert_ptr_equal(w.sched.scheduled[1], b);
        assert_int_equal(a->n_scheduled, want[i][0]);
        assert_int_equal(b->n_scheduled, want[i][1]);
        give_tokens(&w);
    }
    take_out(&w, a);
    take_out(&w, b);
    world_release(&w);
}

// When blocks run out the last running sequence gives way, and comes back at the head of the queue.
static void test_preemption_takes_the_last(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(4, 100);
    world_init(&w, 4, &l, false);
    qw_sequence *a = plain(0, 30, 30), *b = plain(1, 30, 30), *c = plain(2, 5, 5);
    add(&w, a);
    add(&w, b);
    for (int i = 0; i < 3; i++) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv)); // two blocks each
        give_tokens(&w);
    }
    add(&w, c);
    assert_true(qw_scheduler_step(&w.sched, &w.kv)); // a needs a third
    assert_int_equal(w.sched.n_preemptions, 1);
    assert_int_equal(w.sched.n_scheduled, 1);
    assert_ptr_equal(w.sched.scheduled[0], a);
    assert_ptr_equal(qw_seq_heap_first(&w.sched.waiting), b);
    assert_int_equal(b->n_computed, 0);
    assert_int_equal(b->request->facts.n_preemptions, 1);
    qw_scheduler_check(&w.sched, &w.kv);
    take_out(&w, a);
    take_out(&w, b);
    take_out(&w, c);
    world_release(&w);
}

// By priority the one that comes last by (priority, arrival) gives way, even when it is running
// ahead of the others and already in the step.
static void test_priority(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(4, 100);
    l.by_priority = true;
    world_init(&w, 4, &l, false);
    arrival low = {.id = 0, .n_prompt = 28, .max_tokens = 30, .priority = 9};
    arrival high = {.id = 1, .n_prompt = 31, .max_tokens = 30, .priority = -1};
    arrival middle = {.id = 2, .n_prompt = 5, .max_tokens = 5, .priority = 0};
    qw_sequence *a = arrive(&low), *b = arrive(&high), *c = arrive(&middle);
    add(&w, a);
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    give_tokens(&w);
    add(&w, b);
    for (int i = 0; i < 2; i++) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        give_tokens(&w);
    }
    assert_ptr_equal(w.sched.running.head, a);
    assert_int_equal(w.sched.n_scheduled, 2);
    add(&w, c);
    assert_true(qw_scheduler_step(&w.sched, &w.kv)); // b needs a third block: a goes
    assert_int_equal(a->state, QW_SEQ_WAITING);
    assert_int_equal(w.sched.n_scheduled, 1);
    assert_int_equal(w.sched.n_tokens, 1);
    give_tokens(&w);
    assert_ptr_equal(qw_seq_heap_first(&w.sched.waiting), c); // its priority is better
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    assert_int_equal(c->state, QW_SEQ_RUNNING);
    assert_int_equal(a->state, QW_SEQ_WAITING);
    take_out(&w, a);
    take_out(&w, b);
    take_out(&w, c);
    world_release(&w);
}

// Long prompts go in pieces and one at a time; a short one passes a long one that has to wait.
static void test_partial_prefills(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(8, 100);
    l.long_prefill_token_threshold = 20;
    world_init(&w, 64, &l, false);
    qw_sequence *a = plain(0, 50, 5), *b = plain(1, 50, 5), *c = plain(2, 10, 5);
    add(&w, a);
    add(&w, b);
    add(&w, c);
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    assert_int_equal(a->n_scheduled, 20);
    assert_int_equal(b->state, QW_SEQ_WAITING);
    assert_int_equal(c->n_scheduled, 10);
    qw_scheduler_check(&w.sched, &w.kv);
    give_tokens(&w);
    for (int i = 0; i < 2; i++) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        give_tokens(&w);
    }
    assert_int_equal(a->n_computed, 50);
    assert_int_equal(b->n_computed, 20); // a's last piece made room for b
    take_out(&w, a);
    take_out(&w, b);
    take_out(&w, c);
    world_release(&w);
}

// Without chunked prefill a prompt enters whole, and one that does not fit holds up the rest.
static void test_whole_prompts(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(8, 64);
    l.enable_chunked_prefill = false;
    world_init(&w, 4, &l, false);
    qw_sequence *a = plain(0, 20, 5), *b = plain(1, 40, 5), *c = plain(2, 10, 5);
    qw_sequence *first = plain(3, 10, 5);
    add(&w, first);
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    give_tokens(&w);
    add(&w, a);
    add(&w, b);
    add(&w, c);
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    assert_int_equal(w.sched.n_scheduled, 2);
    assert_int_equal(a->n_scheduled, 20);
    assert_int_equal(b->state, QW_SEQ_WAITING);
    assert_int_equal(c->state, QW_SEQ_WAITING);
    qw_sequence *all[] = {first, a, b, c};
    for (int i = 0; i < 4; i++) take_out(&w, all[i]);
    world_release(&w);
}

// Equal beginnings share blocks, in the same step too; the last token is always computed.
static void test_prefixes(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(8, 1000);
    world_init(&w, 64, &l, true);
    arrival same = {.id = 0, .n_prompt = 64, .max_tokens = 40, .family = 1};
    arrival salted = same, skips = same, tells = same, longer = same;
    salted.salt = 1;
    skips.skip_prefix_cache = true;
    tells.tells = true;
    longer.n_prompt = 70;
    const struct {
        const arrival *a;
        int32_t want;
    } cases[] = {{&same, 0}, {&same, 48}, {&longer, 64}, {&salted, 0}, {&skips, 0}, {&tells, 0}};
    qw_sequence *all[QW_ARRAY_LEN(cases)];
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        arrival a = *cases[i].a;
        a.id = i;
        all[i] = arrive(&a);
        add(&w, all[i]);
    }
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    qw_scheduler_check(&w.sched, &w.kv);
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        assert_int_equal(all[i]->request->facts.n_cached_tokens, cases[i].want);
        assert_int_equal(all[i]->n_scheduled, cases[i].a->n_prompt - cases[i].want);
    }
    assert_int_equal(w.sched.n_prefix_queries, 64 * 3 + 70);
    assert_int_equal(w.sched.n_prefix_hits, 48 + 64);
    assert_ptr_not_equal(all[0]->blocks, all[1]->blocks);
    assert_int_equal(all[0]->blocks[2], all[1]->blocks[2]);
    assert_int_not_equal(all[0]->blocks[3], all[1]->blocks[3]);
    give_tokens(&w);
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) take_out(&w, all[i]);
    // Freed, yet still there; gone after a reset.
    for (int round = 0; round < 2; round++) {
        qw_sequence *again = arrive(&longer);
        add(&w, again);
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        assert_int_equal(again->n_scheduled, round == 0 ? 6 : 70);
        take_out(&w, again);
        qw_kv_cache_reset_prefixes(&w.kv);
    }
    world_release(&w);
}

// Generated tokens are found again: a second turn does not compute the first answer.
static void test_generated_tokens_are_cached(void **state)
{
    (void)state;
    world w;
    qw_scheduler_limits l = plain_limits(8, 1000);
    world_init(&w, 64, &l, true);
    qw_sequence *first = plain(0, 20, 30);
    add(&w, first);
    while (first->n_tokens < qw_sequence_max_tokens(first)) {
        assert_true(qw_scheduler_step(&w.sched, &w.kv));
        give_tokens(&w);
    }
    qw_sequence *second = plain(1, 80, 5);
    memcpy(second->tokens, first->tokens, 50 * sizeof *second->tokens);
    take_out(&w, first);
    add(&w, second);
    assert_true(qw_scheduler_step(&w.sched, &w.kv));
    assert_int_equal(second->request->facts.n_cached_tokens, 48);
    take_out(&w, second);
    world_release(&w);
}

// One step among very many waiting sequences costs what it costs among few.
static void test_long_queue(void **state)
{
    (void)state;
    enum { FEW = 100, MANY = 20000, STEPS = 200 };
    double per_step[2];
    for (int run = 0; run < 2; run++) {
        world w;
        qw_scheduler_limits l = plain_limits(4, 64);
        world_init(&w, 64, &l, true);
        int32_t n = run ? MANY : FEW;
        qw_sequence **all = qw_mem_array((size_t)n, sizeof *all);
        for (int32_t i = 0; i < n; i++) {
            all[i] = plain((uint64_t)i, 20, 200);
            add(&w, all[i]);
        }
        int64_t best = INT64_MAX;
        for (int i = 0; i < STEPS; i++) {
            int64_t start = qw_clock_ns();
            assert_true(qw_scheduler_step(&w.sched, &w.kv));
            give_tokens(&w);
            int64_t ns = qw_clock_ns() - start;
            if (ns < best) best = ns;
        }
        per_step[run] = (double)best;
        for (int32_t i = 0; i < n; i++) take_out(&w, all[i]);
        qw_mem_free(all);
        world_release(&w);
    }
    print_message("  a step: %.0f ns with %d waiting, %.0f ns with %d\n", per_step[0], FEW,
                  per_step[1], MANY);
    assert_true(per_step[1] < 3 * per_step[0] + 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_arrivals),
        cmocka_unit_test(test_decode_has_precedence),
        cmocka_unit_test(test_preemption_takes_the_last),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_partial_prefills),
        cmocka_unit_test(test_whole_prompts),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_generated_tokens_are_cached),
        cmocka_unit_test(test_long_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
