#include "engine/scheduler.h"

#include "base/mem.h"

static void queue_push_tail(qw_seq_queue *q, qw_sequence *seq)
{
    seq->prev = q->tail;
    seq->next = NULL;
    if (q->tail)
        q->tail->next = seq;
    else
        q->head = seq;
    q->tail = seq;
    q->n++;
}

static void queue_push_head(qw_seq_queue *q, qw_sequence *seq)
{
    seq->prev = NULL;
    seq->next = q->head;
    if (q->head)
        q->head->prev = seq;
    else
        q->tail = seq;
    q->head = seq;
    q->n++;
}

static void queue_remove(qw_seq_queue *q, qw_sequence *seq)
{
    if (seq->prev)
        seq->prev->next = seq->next;
    else
        q->head = seq->next;
    if (seq->next)
        seq->next->prev = seq->prev;
    else
        q->tail = seq->prev;
    seq->prev = seq->next = NULL;
    q->n--;
}

qw_status qw_scheduler_init(qw_scheduler *s, int32_t max_num_seqs, int32_t max_num_batched_tokens,
                            qw_error *err)
{
    qw_sequence **scheduled = qw_mem_array((size_t)max_num_seqs, sizeof(qw_sequence *));
    if (!scheduled) return qw_fail_memory(err, (size_t)max_num_seqs * 8, "the scheduler");
    *s = (qw_scheduler){.max_num_seqs = max_num_seqs,
                        .max_num_batched_tokens = max_num_batched_tokens,
                        .scheduled = scheduled};
    return QW_OK;
}

void qw_scheduler_release(qw_scheduler *s)
{
    QW_ASSERT(!s->waiting.head && !s->running.head);
    qw_mem_free(s->scheduled);
    *s = (qw_scheduler){0};
}

void qw_scheduler_add(qw_scheduler *s, qw_sequence *seq)
{
    seq->state = QW_SEQ_WAITING;
    queue_push_tail(&s->waiting, seq);
}

// Blocks for the first n_tokens positions; false, and nothing taken, when there are too few.
static bool give_blocks(qw_sequence *seq, int32_t n_tokens, qw_kv_cache *kv)
{
    int32_t need = qw_kv_cache_blocks_for(&kv->layout, n_tokens);
    if (need - seq->n_blocks > kv->pool.n_free) return false;
    while (seq->n_blocks < need) seq->blocks[seq->n_blocks++] = qw_block_pool_alloc(&kv->pool);
    return true;
}

static void preempt(qw_scheduler *s, qw_sequence *victim, qw_kv_cache *kv)
{
    qw_sequence_drop_blocks(victim, &kv->pool);
    victim->n_computed = 0;
    queue_remove(&s->running, victim);
    victim->state = QW_SEQ_WAITING;
    queue_push_head(&s->waiting, victim);
    s->n_preemptions++;
}

static int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static void schedule(qw_scheduler *s, qw_sequence *seq, int32_t n, int32_t *budget)
{
    seq->n_scheduled = n;
    s->scheduled[s->n_scheduled++] = seq;
    s->n_tokens += n;
    *budget -= n;
}

bool qw_scheduler_step(qw_scheduler *s, qw_kv_cache *kv)
{
    int32_t budget = s->max_num_batched_tokens;
    bool preempted = false;
    s->n_scheduled = 0;
    s->n_tokens = 0;
    for (qw_sequence *seq = s->running.head; seq && budget > 0;) {
        int32_t n = min_i32(seq->n_tokens - seq->n_computed, budget);
        if (give_blocks(seq, seq->n_computed + n, kv)) {
            schedule(s, seq, n, &budget);
            seq = seq->next;
            continue;
        }
        // Sequences behind this one have no tokens in the step yet, so the last may always go.
        qw_sequence *victim = s->running.tail;
        bool was_last = victim == seq;
        preempt(s, victim, kv);
        preempted = true;
        if (was_last) break;
    }
    while (!preempted && budget > 0 && s->waiting.head && s->running.n < s->max_num_seqs) {
        qw_sequence *seq = s->waiting.head;
        // The whole of what it has must fit, or it would only push others out.
        if (qw_kv_cache_blocks_for(&kv->layout, seq->n_tokens) > kv->pool.n_free) break;
        int32_t n = min_i32(seq->n_tokens, budget);
        bool ok = give_blocks(seq, n, kv);
        QW_ASSERT(ok);
        queue_remove(&s->waiting, seq);
        seq->state = QW_SEQ_RUNNING;
        queue_push_tail(&s->running, seq);
        schedule(s, seq, n, &budget);
    }
    return s->n_scheduled > 0;
}

void qw_scheduler_commit(qw_scheduler *s)
{
    for (int32_t i = 0; i < s->n_scheduled; i++) {
        qw_sequence *seq = s->scheduled[i];
        seq->n_computed += seq->n_scheduled;
    }
}

void qw_scheduler_remove(qw_scheduler *s, qw_sequence *seq, qw_kv_cache *kv)
{
    if (seq->state == QW_SEQ_FINISHED) return;
    queue_remove(seq->state == QW_SEQ_RUNNING ? &s->running : &s->waiting, seq);
    seq->state = QW_SEQ_FINISHED;
    qw_sequence_drop_blocks(seq, &kv->pool);
}

void qw_scheduler_check(const qw_scheduler *s, const qw_kv_cache *kv)
{
    int32_t held = 0, n = 0;
    for (const qw_sequence *q = s->running.head; q; q = q->next, n++) {
        QW_ASSERT(q->state == QW_SEQ_RUNNING);
        QW_ASSERT(q->n_computed <= q->n_tokens);
        QW_ASSERT(q->n_blocks >= qw_kv_cache_blocks_for(&kv->layout, q->n_computed));
        held += q->n_blocks;
    }
    QW_ASSERT(n == s->running.n && n <= s->max_num_seqs);
    n = 0;
    for (const qw_sequence *q = s->waiting.head; q; q = q->next, n++)
        QW_ASSERT(q->state == QW_SEQ_WAITING && q->n_blocks == 0 && q->n_computed == 0);
    QW_ASSERT(n == s->waiting.n);
    QW_ASSERT(s->n_tokens <= s->max_num_batched_tokens);
    QW_ASSERT(held + kv->pool.n_free == kv->pool.n_blocks);
    qw_block_pool_check(&kv->pool);
}
