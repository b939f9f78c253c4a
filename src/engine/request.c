#include "engine/request.h"

#include "base/mem.h"

const char *qw_finish_reason_name(qw_finish_reason reason)
{
    switch (reason) {
    case QW_FINISH_NONE: return NULL;
    case QW_FINISH_STOP: return "stop";
    case QW_FINISH_LENGTH: return "length";
    case QW_FINISH_ABORT: return "abort";
    }
    return NULL;
}

qw_status qw_request_new(qw_request **out, uint64_t id, int32_t n_prompt, int32_t max_tokens,
                         qw_sampling_params *params, const qw_request_sink *sink, qw_error *err)
{
    qw_request *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_fail_memory(err, sizeof *r, "a request");
    r->id = id;
    r->params = *params;
    r->n_prompt = n_prompt;
    r->max_tokens = max_tokens;
    r->sink = *sink;
    qw_sampling_params_init(params); // moved
    *out = r;
    return QW_OK;
}

void qw_request_free(qw_request *r)
{
    if (!r) return;
    qw_sampling_params_release(&r->params);
    qw_mem_free(r->stop_ids);
    qw_mem_free(r);
}

qw_status qw_sequence_new(qw_sequence **out, qw_request *request, int32_t child,
                          const int32_t *prompt, int32_t block_size, qw_error *err)
{
    size_t n_max = (size_t)request->n_prompt + (size_t)request->max_tokens;
    qw_sequence *s = qw_mem_calloc(1, sizeof *s);
    if (!s) return qw_fail_memory(err, sizeof *s, "a sequence");
    s->request = request;
    s->child = child;
    s->tokens = qw_mem_array(n_max, sizeof *s->tokens);
    s->blocks = qw_mem_array(n_max / (size_t)block_size + 1, sizeof *s->blocks);
    if (!s->tokens || !s->blocks) {
        qw_sequence_free(s, NULL);
        return qw_fail_memory(err, n_max * sizeof *s->tokens, "a sequence");
    }
    memcpy(s->tokens, prompt, (size_t)request->n_prompt * sizeof *prompt);
    s->n_tokens = request->n_prompt;
    *out = s;
    return QW_OK;
}

void qw_sequence_drop_blocks(qw_sequence *s, qw_block_pool *pool)
{
    while (s->n_blocks > 0) qw_block_pool_drop(pool, s->blocks[--s->n_blocks]);
}

void qw_sequence_free(qw_sequence *s, qw_block_pool *pool)
{
    if (!s) return;
    if (s->n_blocks > 0) qw_sequence_drop_blocks(s, pool);
    qw_sampler_state_free(s->sampler);
    qw_mem_free(s->tokens);
    qw_mem_free(s->blocks);
    qw_mem_free(s);
}
