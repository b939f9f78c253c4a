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

qw_status qw_request_new(qw_request **out, const qw_request_args *args, qw_sampling_params *params,
                         qw_error *err)
{
    qw_request *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_fail_memory(err, sizeof *r, "a request");
    r->n_children = params->n > 0 ? (int32_t)params->n : 1;
    r->children = qw_mem_calloc((size_t)r->n_children, sizeof(qw_sequence *));
    if (!r->children) {
        qw_mem_free(r);
        return qw_fail_memory(err, (size_t)params->n * sizeof(qw_sequence *), "a request");
    }
    r->id = args->id;
    r->n_prompt = args->n_prompt;
    r->max_tokens = args->max_tokens;
    r->sink = *args->sink;
    if (args->options) {
        r->priority = args->options->priority;
        r->skip_prefix_cache = args->options->skip_prefix_cache;
    }
    r->facts.n_prompt = args->n_prompt;
    r->facts.n_children = r->n_children;
    r->params = *params;
    qw_sampling_params_init(params); // moved
    *out = r;
    return QW_OK;
}

void qw_request_free(qw_request *r)
{
    if (!r) return;
    QW_ASSERT(r->n_alive == 0);
    qw_sampling_params_release(&r->params);
    qw_mem_free(r->children);
    qw_mem_free(r->stop_ids);
    qw_mem_free(r);
}

qw_status qw_sequence_new(qw_sequence **out, qw_request *request, int32_t child,
                          const int32_t *prompt, int32_t block_size, qw_error *err)
{
    size_t n_max = (size_t)request->n_prompt + (size_t)request->max_tokens;
    size_t n_blocks = n_max / (size_t)block_size + 1;
    qw_sequence *s = qw_mem_calloc(1, sizeof *s);
    if (!s) return qw_fail_memory(err, sizeof *s, "a sequence");
    s->tokens = qw_mem_array(n_max, sizeof *s->tokens);
    s->blocks = qw_mem_array(n_blocks, sizeof *s->blocks);
    s->hashes = qw_mem_array(n_blocks, sizeof *s->hashes);
    s->request = request;
    s->child = child;
    s->heap_index = -1;
    request->children[child] = s;
    request->n_alive++;
    request->n_unfinished++;
    if (!s->tokens || !s->blocks || !s->hashes) {
        qw_sequence_free(s);
        return qw_fail_memory(err, n_max * sizeof *s->tokens, "a sequence");
    }
    memcpy(s->tokens, prompt, (size_t)request->n_prompt * sizeof *prompt);
    s->n_tokens = request->n_prompt;
    *out = s;
    return QW_OK;
}

void qw_sequence_free(qw_sequence *s)
{
    if (!s) return;
    QW_ASSERT(s->n_blocks == 0 && s->n_holds == 0);
    s->request->children[s->child] = NULL;
    s->request->n_alive--;
    qw_sampler_state_free(s->sampler);
    qw_mem_free(s->logprobs);
    qw_mem_free(s->tokens);
    qw_mem_free(s->blocks);
    qw_mem_free(s->hashes);
    qw_mem_free(s);
}

bool qw_sequence_tells_positions(const qw_sequence *s)
{
    const qw_request *r = s->request;
    if (s->child != 0) return false;
    return r->sink.logits ||
           (r->sink.prompt_logprobs && r->params.prompt_logprobs != QW_LOGPROBS_OFF);
}

qw_block_hash qw_sequence_extra_key(const qw_sequence *s, int32_t i_block)
{
    return i_block == 0 ? s->request->salt : (qw_block_hash){0};
}
