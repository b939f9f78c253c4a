#include "engine/batch.h"

#include "base/mem.h"

qw_status qw_batch_init(qw_batch *b, int32_t max_tokens, int32_t max_seqs, int32_t i_logprobs,
                        qw_error *err)
{
    qw_batch n = {.i_logprobs = i_logprobs};
    n.token_ids = qw_mem_array((size_t)max_tokens, sizeof *n.token_ids);
    n.positions = qw_mem_array((size_t)max_tokens, sizeof *n.positions);
    n.told = qw_mem_array((size_t)max_tokens, sizeof *n.told);
    n.seqs = qw_mem_array((size_t)max_seqs, sizeof *n.seqs);
    n.sequences = qw_mem_array((size_t)max_seqs, sizeof *n.sequences);
    n.sampled = qw_mem_array((size_t)max_seqs, sizeof *n.sampled);
    n.errors = qw_mem_array((size_t)max_seqs, sizeof *n.errors);
    if (!n.token_ids || !n.positions || !n.told || !n.seqs || !n.sequences || !n.sampled ||
        !n.errors) {
        qw_batch_release(&n);
        return qw_fail_memory(err, (size_t)max_tokens * sizeof *n.told, "the batch");
    }
    *b = n;
    return QW_OK;
}

void qw_batch_release(qw_batch *b)
{
    qw_mem_free(b->token_ids);
    qw_mem_free(b->positions);
    qw_mem_free(b->told);
    qw_mem_free(b->seqs);
    qw_mem_free(b->sequences);
    qw_mem_free(b->sampled);
    qw_mem_free(b->errors);
    *b = (qw_batch){0};
}

// Prompt logprobs and the logits sink want every position, once: not again when a preempted
// sequence is computed anew.
static bool is_told(const qw_sequence *seq, int32_t position)
{
    const qw_request *r = seq->request;
    if (!qw_sequence_tells_positions(seq) || position < seq->n_reported) return false;
    return r->sink.logits || position < r->n_prompt - 1;
}

static void add_row(qw_batch *b, const qw_sequence *seq, int32_t i_seq, int32_t position)
{
    int32_t row = b->n_tokens++;
    b->token_ids[row] = position < seq->n_tokens ? seq->tokens[position] : -1;
    b->positions[row] = position;
    if (is_told(seq, position)) b->told[b->n_told++] = (qw_told_row){row, i_seq, position};
}

void qw_batch_build(qw_batch *b, const qw_scheduler *s)
{
    b->n_tokens = b->n_sampled = b->n_told = 0;
    b->n_seqs = s->n_scheduled;
    for (int32_t i = 0; i < s->n_scheduled; i++) {
        qw_sequence *seq = s->scheduled[i];
        int32_t first = seq->n_computed - seq->n_scheduled;
        b->sequences[i] = seq;
        seq->n_holds++;
        b->seqs[i] = (qw_seq_range){.first_row = b->n_tokens,
                                    .n_rows = seq->n_scheduled,
                                    .first_pos = first,
                                    .block_table = seq->blocks};
        for (int32_t p = first; p < seq->n_computed; p++) add_row(b, seq, i, p);
        // The scheduler has counted the token that this step samples, the last one, as pending.
        if (seq->n_pending > 0 && seq->n_computed == seq->n_tokens + seq->n_pending - 1)
            b->sampled[b->n_sampled++] = (qw_sampled){.row = b->n_tokens - 1, .i_seq = i};
    }
}

// Put an array's rows of one sequence where they belong now.
static void move_rows(int32_t *array, int32_t to, const qw_seq_range *from)
{
    memmove(array + to, array + from->first_row, (size_t)from->n_rows * sizeof *array);
}

int32_t qw_batch_patch(qw_batch *b)
{
    int32_t n_before = b->n_seqs, i_sampled = 0, i_told = 0;
    int32_t n_before_sampled = b->n_sampled, n_before_told = b->n_told;
    b->n_tokens = b->n_seqs = b->n_sampled = b->n_told = 0;
    for (int32_t i = 0; i < n_before; i++) {
        qw_sequence *seq = b->sequences[i];
        qw_seq_range range = b->seqs[i];
        int32_t end = range.first_row + range.n_rows, up = range.first_row - b->n_tokens;
        bool waits = b->token_ids[range.first_row] < 0;
        bool keep = !waits || seq->state != QW_SEQ_FINISHED;
        for (; i_sampled < n_before_sampled && b->sampled[i_sampled].row < end; i_sampled++) {
            qw_sampled s = {.row = b->sampled[i_sampled].row - up, .i_seq = b->n_seqs};
            if (keep) b->sampled[b->n_sampled++] = s;
        }
        for (; i_told < n_before_told && b->told[i_told].row < end; i_told++) {
            qw_told_row t = {b->told[i_told].row - up, b->n_seqs, b->told[i_told].position};
            if (keep) b->told[b->n_told++] = t;
        }
        if (!keep) continue;
        if (waits) b->token_ids[range.first_row] = seq->tokens[range.first_pos];
        if (up > 0) {
            move_rows(b->token_ids, b->n_tokens, &range);
            move_rows(b->positions, b->n_tokens, &range);
            range.first_row = b->n_tokens;
        }
        // Between n_seqs and i there are only dropped ones: they change places with what stays.
        b->sequences[i] = b->sequences[b->n_seqs];
        b->sequences[b->n_seqs] = seq;
        b->seqs[b->n_seqs++] = range;
        b->n_tokens += range.n_rows;
    }
    return n_before - b->n_seqs;
}
