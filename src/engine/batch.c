#include "engine/batch.h"

#include "base/mem.h"

qw_status qw_batch_init(qw_batch *b, int32_t max_tokens, int32_t max_seqs, qw_error *err)
{
    qw_batch n = {0};
    n.token_ids = qw_mem_array((size_t)max_tokens, sizeof *n.token_ids);
    n.positions = qw_mem_array((size_t)max_tokens, sizeof *n.positions);
    n.logit_rows = qw_mem_array((size_t)max_tokens, sizeof *n.logit_rows);
    n.seqs = qw_mem_array((size_t)max_seqs, sizeof *n.seqs);
    if (!n.token_ids || !n.positions || !n.logit_rows || !n.seqs) {
        qw_batch_release(&n);
        return qw_fail_memory(err, (size_t)max_tokens * sizeof *n.logit_rows, "the batch");
    }
    *b = n;
    return QW_OK;
}

void qw_batch_release(qw_batch *b)
{
    qw_mem_free(b->token_ids);
    qw_mem_free(b->positions);
    qw_mem_free(b->logit_rows);
    qw_mem_free(b->seqs);
    *b = (qw_batch){0};
}

// The last known token's logits give the next token. Prompt logprobs and the logits sink want every
// position, once: not again when a preempted sequence is computed anew.
static bool wants_logits(const qw_sequence *seq, int32_t position)
{
    if (position == seq->n_tokens - 1) return true;
    const qw_request *r = seq->request;
    if (position < seq->n_reported || seq->child != 0) return false;
    return r->sink.logits || (r->params.prompt_logprobs != QW_LOGPROBS_OFF &&
                              r->sink.prompt_logprobs && position < r->n_prompt - 1);
}

void qw_batch_build(qw_batch *b, const qw_scheduler *s)
{
    b->n_tokens = b->n_logit_rows = 0;
    b->n_seqs = s->n_scheduled;
    for (int32_t i = 0; i < s->n_scheduled; i++) {
        const qw_sequence *seq = s->scheduled[i];
        b->seqs[i] = (qw_seq_range){.first_row = b->n_tokens,
                                    .n_rows = seq->n_scheduled,
                                    .first_pos = seq->n_computed,
                                    .block_table = seq->blocks};
        for (int32_t j = 0; j < seq->n_scheduled; j++, b->n_tokens++) {
            int32_t position = seq->n_computed + j;
            b->token_ids[b->n_tokens] = seq->tokens[position];
            b->positions[b->n_tokens] = position;
            if (wants_logits(seq, position))
                b->logit_rows[b->n_logit_rows++] = (qw_logit_row){b->n_tokens, i, position};
        }
    }
}
