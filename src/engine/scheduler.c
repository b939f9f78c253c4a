#include "engine/scheduler.h"

#include "base/clock.h"
#include "base/mem.h"

enum { MAX_PASSED = 16 }; // waiting sequences that others may pass in one step

qw_status qw_scheduler_init(qw_scheduler *s, const qw_scheduler_limits *limits, qw_error *err)
{
    size_t n = (size_t)limits->max_num_seqs;
    qw_sequence **scheduled = qw_mem_array(n, sizeof(qw_sequence *));
    if (!scheduled) return qw_fail_memory(err, n * sizeof(qw_sequence *), "the scheduler");
    *s = (qw_scheduler){.limits = *limits, .scheduled = scheduled};
    return QW_OK;
}

void qw_scheduler_release(qw_scheduler *s)
{
    QW_ASSERT(s->waiting.n == 0 && s->running.n == 0);
    qw_mem_free(s->scheduled);
    qw_seq_heap_release(&s->waiting);
    *s = (qw_scheduler){0};
}

qw_status qw_scheduler_reserve(qw_scheduler *s, int32_t n, qw_error *err)
{
    // Room for the running ones too: any of them may have to wait again.
    int32_t all = s->waiting.n + s->running.n;
    if (n > INT32_MAX - all) return qw_fail(err, QW_ERR_NO_MEMORY, "too many sequences are queued");
    return qw_seq_heap_reserve(&s->waiting, all + n, err);
}

void qw_scheduler_add(qw_scheduler *s, qw_sequence *seq)
{
    seq->state = QW_SEQ_WAITING;
    seq->priority = s->limits.by_priority ? seq->request->priority : 0;
    seq->order = (int64_t)seq->request->id;
    qw_seq_heap_push(&s->waiting, seq);
}

static int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

// Tokens that are known when the steps scheduled so far have run, and not computed by then.
static int32_t rest_of(const qw_sequence *seq)
{
    // The token that fills it up is not computed: it ends there, or has ended before.
    int32_t n = min_i32(seq->n_tokens + seq->n_pending, qw_sequence_max_tokens(seq) - 1);
    return n - seq->n_computed;
}

static bool is_in_prompt(const qw_sequence *seq)
{
    return seq->n_computed < seq->n_tokens;
}

// At most this many of `rest` tokens at once.
static int32_t chunk_of(const qw_scheduler *s, int32_t rest)
{
    int32_t most = s->limits.long_prefill_token_threshold;
    return s->limits.enable_chunked_prefill && most > 0 ? min_i32(rest, most) : rest;
}

// ---- running sequences ----

static void preempt(qw_scheduler *s, qw_sequence *victim, qw_kv_cache *kv)
{
    qw_kv_cache_drop(kv, victim);
    victim->n_computed = 0;
    qw_seq_list_remove(&s->running, victim);
    victim->state = QW_SEQ_WAITING;
    if (!s->limits.by_priority) victim->order = --s->first_order;
    qw_seq_heap_push(&s->waiting, victim);
    victim->request->facts.n_preemptions++;
    s->n_preemptions++;
}

static qw_sequence *find_victim(const qw_scheduler *s)
{
    qw_sequence *victim = s->running.tail;
    if (s->limits.by_priority)
        for (qw_sequence *seq = s->running.head; seq; seq = seq->next)
            if (qw_sequence_is_before(victim, seq)) victim = seq;
    return victim;
}

// Take a sequence out of the step again.
static void unschedule(qw_scheduler *s, const qw_sequence *seq, int32_t *budget)
{
    for (int32_t i = 0; i < s->n_scheduled; i++) {
        if (s->scheduled[i] != seq) continue;
        s->n_tokens -= seq->n_scheduled;
        *budget += seq->n_scheduled;
        s->n_scheduled--;
        memmove(s->scheduled + i, s->scheduled + i + 1,
                (size_t)(s->n_scheduled - i) * sizeof *s->scheduled);
        return;
    }
}

static void schedule(qw_scheduler *s, qw_sequence *seq, int32_t n, int32_t *budget)
{
    seq->n_scheduled = n;
    s->scheduled[s->n_scheduled++] = seq;
    s->n_tokens += n;
    *budget -= n;
}

// The step will run: count its tokens as computed.
static void commit(qw_sequence *seq, qw_kv_cache *kv)
{
    seq->n_computed += seq->n_scheduled;
    if (seq->n_computed == seq->n_tokens + seq->n_pending) seq->n_pending++;
    qw_kv_cache_publish(kv, seq);
}

// True if somebody had to give way.
static bool schedule_running(qw_scheduler *s, qw_kv_cache *kv, int32_t *budget)
{
    bool preempted = false;
    for (qw_sequence *seq = s->running.head, *next; seq && *budget > 0; seq = next) {
        next = seq->next;
        int32_t n = min_i32(chunk_of(s, rest_of(seq)), *budget);
        if (n == 0) continue; // it waits for the results of the step before
        bool fits;
        while (!(fits = qw_kv_cache_give(kv, seq, seq->n_computed + n))) {
            // Sequences behind this one have no tokens in the step yet, but by priority the victim
            // may be one that has. When it is `seq` itself, what it held helps those behind it.
            qw_sequence *victim = find_victim(s);
            QW_ASSERT(victim); // at least `seq` is running
            if (victim == next) next = next->next;
            unschedule(s, victim, budget);
            preempt(s, victim, kv);
            preempted = true;
            if (victim == seq) break;
        }
        if (fits) schedule(s, seq, n, budget);
    }
    for (int32_t i = 0; i < s->n_scheduled; i++) commit(s->scheduled[i], kv);
    return preempted;
}

// ---- waiting sequences ----

/** Running sequences that are not through their prompt after this step. */
typedef struct partial_prefills {
    int32_t n, n_long;
} partial_prefills;

// `rest` tokens were to do before this step, n of them are in it.
static void count_partial(partial_prefills *p, const qw_scheduler *s, int32_t rest, int32_t n)
{
    if (n == rest) return;
    p->n++;
    p->n_long += rest > s->limits.long_prefill_token_threshold;
}

static partial_prefills count_running_partials(const qw_scheduler *s)
{
    partial_prefills p = {0};
    for (const qw_sequence *seq = s->running.head; seq; seq = seq->next) {
        int32_t rest = rest_of(seq);
        if (is_in_prompt(seq)) count_partial(&p, s, rest + seq->n_scheduled, seq->n_scheduled);
    }
    return p;
}

typedef enum verdict {
    ADMIT,
    PASS, /* not now, but a shorter one may go */
    STOP, /* no room for this one, and it is next */
} verdict;

/** How a waiting sequence would enter the step. */
typedef struct admission {
    qw_prefix_hit hit;
    int32_t n;                 /* tokens in this step */
    partial_prefills partials; /* with it */
} admission;

static verdict consider(admission *a, const qw_scheduler *s, const qw_kv_cache *kv,
                        qw_sequence *seq, int32_t budget)
{
    const qw_scheduler_limits *l = &s->limits;
    a->hit = qw_kv_cache_find_prefix(kv, seq);
    int32_t n_cached = a->hit.n_blocks * kv->layout.block_size;
    int32_t rest = seq->n_tokens - n_cached;
    a->n = min_i32(chunk_of(s, rest), budget);
    if (a->n < rest) {
        if (!l->enable_chunked_prefill) return STOP;
        partial_prefills before = a->partials;
        count_partial(&a->partials, s, rest, a->n);
        bool is_long = a->partials.n_long > before.n_long && l->long_prefill_token_threshold > 0;
        if (a->partials.n > l->max_num_partial_prefills ||
            (is_long && a->partials.n_long > l->max_long_partial_prefills)) {
            a->partials = before;
            return PASS;
        }
    }
    // If less than the whole of what it has fits, it would soon push others out.
    int32_t need =
        qw_kv_cache_blocks_for(&kv->layout, l->reserve_full_isl ? seq->n_tokens : n_cached + a->n);
    return need - a->hit.n_blocks + a->hit.n_free <= kv->pool.n_free ? ADMIT : STOP;
}

static void note_first_admission(qw_scheduler *s, qw_sequence *seq, const qw_kv_cache *kv)
{
    qw_request_facts *f = &seq->request->facts;
    if (f->scheduled_ns == 0) f->scheduled_ns = qw_clock_ns();
    if (seq->was_admitted) return;
    seq->was_admitted = true;
    if (seq->child == 0) f->n_cached_tokens = seq->n_computed;
    if (!kv->has_prefixes || seq->request->skip_prefix_cache || qw_sequence_tells_positions(seq))
        return;
    s->n_prefix_queries += (uint64_t)seq->n_tokens;
    s->n_prefix_hits += (uint64_t)seq->n_computed;
}

static void admit(qw_scheduler *s, qw_kv_cache *kv, qw_sequence *seq, const admission *a,
                  int32_t *budget)
{
    qw_kv_cache_take_prefix(kv, seq, &a->hit);
    bool ok = qw_kv_cache_give(kv, seq, seq->n_computed + a->n);
    QW_ASSERT(ok);
    qw_seq_heap_remove(&s->waiting, seq);
    seq->state = QW_SEQ_RUNNING;
    qw_seq_list_push(&s->running, seq);
    note_first_admission(s, seq, kv);
    schedule(s, seq, a->n, budget);
    // At once, so that the next one finds what this step computes: within a step all keys and
    // values of a layer are stored before anybody looks at them.
    commit(seq, kv);
}

static void schedule_waiting(qw_scheduler *s, qw_kv_cache *kv, int32_t *budget)
{
    qw_sequence *passed[MAX_PASSED];
    int32_t n_passed = 0;
    admission a = {.partials = count_running_partials(s)};
    while (*budget > 0 && s->waiting.n > 0 && s->running.n < s->limits.max_num_seqs) {
        qw_sequence *seq = qw_seq_heap_first(&s->waiting);
        verdict v = consider(&a, s, kv, seq, *budget);
        if (v == ADMIT) {
            admit(s, kv, seq, &a, budget);
        } else if (v == PASS && n_passed < MAX_PASSED) {
            qw_seq_heap_remove(&s->waiting, seq);
            passed[n_passed++] = seq;
        } else {
            break;
        }
    }
    while (n_passed > 0) qw_seq_heap_push(&s->waiting, passed[--n_passed]);
}

bool qw_scheduler_step(qw_scheduler *s, qw_kv_cache *kv)
{
    int32_t budget = s->limits.max_num_batched_tokens;
    s->n_scheduled = 0;
    s->n_tokens = 0;
    for (qw_sequence *seq = s->running.head; seq; seq = seq->next) seq->n_scheduled = 0;
    if (!schedule_running(s, kv, &budget)) schedule_waiting(s, kv, &budget);
    return s->n_scheduled > 0;
}

void qw_scheduler_token(qw_sequence *seq, int32_t id)
{
    QW_ASSERT(seq->n_pending > 0 && seq->n_tokens < qw_sequence_max_tokens(seq));
    seq->tokens[seq->n_tokens++] = id;
    seq->n_pending--;
}

void qw_scheduler_remove(qw_scheduler *s, qw_sequence *seq, qw_kv_cache *kv)
{
    if (seq->state == QW_SEQ_FINISHED) return;
    if (seq->state == QW_SEQ_RUNNING)
        qw_seq_list_remove(&s->running, seq);
    else
        qw_seq_heap_remove(&s->waiting, seq);
    seq->state = QW_SEQ_FINISHED;
    // Its last token was never needed as input, whatever has been scheduled ahead.
    if (seq->n_computed >= seq->n_tokens) seq->n_computed = seq->n_tokens - 1;
    if (seq->n_blocks > 0) qw_kv_cache_publish(kv, seq);
    qw_kv_cache_drop(kv, seq);
}

// ---- test aid ----

static void check_sequence(const qw_sequence *seq, const qw_kv_cache *kv)
{
    int32_t size = kv->layout.block_size;
    QW_ASSERT(seq->n_computed <= seq->n_tokens + seq->n_pending);
    QW_ASSERT(seq->n_tokens + seq->n_pending <= qw_sequence_max_tokens(seq) + 1);
    QW_ASSERT(seq->n_blocks >= qw_kv_cache_blocks_for(&kv->layout, seq->n_computed));
    QW_ASSERT(seq->n_published <= seq->n_computed / size);
    for (int32_t i = 0; i < seq->n_blocks; i++) {
        int32_t block = seq->blocks[i];
        QW_ASSERT(block >= 0 && block < kv->pool.n_blocks);
        if (!kv->has_prefixes) {
            QW_ASSERT(kv->pool.ref_count[block] == 1);
        } else if (seq->cache_epoch == kv->prefixes.epoch) {
            // What may be written is this sequence's alone; what others find is never written.
            QW_ASSERT(qw_prefix_cache_has(&kv->prefixes, block) == (i < seq->n_published));
            QW_ASSERT(i < seq->n_published || kv->pool.ref_count[block] == 1);
            QW_ASSERT(i >= seq->n_published ||
                      memcmp(kv->prefixes.tokens + (size_t)block * (size_t)size,
                             seq->tokens + (size_t)i * (size_t)size, (size_t)size * 4) == 0);
        }
    }
}

static int64_t sum_references(const qw_block_pool *p)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->n_blocks; i++) n += p->ref_count[i];
    return n;
}

void qw_scheduler_check(const qw_scheduler *s, const qw_kv_cache *kv)
{
    int64_t held = 0;
    int32_t n = 0;
    for (const qw_sequence *q = s->running.head; q; q = q->next, n++) {
        QW_ASSERT(q->state == QW_SEQ_RUNNING);
        check_sequence(q, kv);
        held += q->n_blocks;
    }
    QW_ASSERT(n == s->running.n && n <= s->limits.max_num_seqs);
    QW_ASSERT(held == sum_references(&kv->pool));
    qw_seq_heap_check(&s->waiting);
    for (int32_t i = 0; i < s->waiting.n; i++) {
        const qw_sequence *q = s->waiting.items[i];
        QW_ASSERT(q->state == QW_SEQ_WAITING && q->n_blocks == 0 && q->n_computed == 0);
    }
    QW_ASSERT(s->n_tokens <= s->limits.max_num_batched_tokens);
    qw_block_pool_check(&kv->pool);
    if (kv->has_prefixes) qw_prefix_cache_check(&kv->prefixes);
}
