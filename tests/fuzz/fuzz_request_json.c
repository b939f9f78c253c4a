// Bytes as a request body: whatever they say, the parameters are either refused or in range.
#include "base/mem.h"
#include "engine/sampling_params.h"
#include "fuzz/fuzz.h"

static void check_lists(const qw_sampling_params *p)
{
    for (size_t i = 0; i < p->n_stop; i++) QW_ASSERT(p->stop[i] && p->stop[i][0]);
    for (size_t i = 0; i < p->n_bad_words; i++) QW_ASSERT(p->bad_words[i] && p->bad_words[i][0]);
    for (size_t i = 0; i < p->n_stop_token_ids; i++) QW_ASSERT(p->stop_token_ids[i] >= 0);
    for (size_t i = 0; i < p->n_allowed_token_ids; i++)
        QW_ASSERT(p->allowed_token_ids[i] > (i ? p->allowed_token_ids[i - 1] : -1));
    for (size_t i = 0; i < p->n_logit_bias; i++) {
        QW_ASSERT(p->logit_bias[i].id > (i ? p->logit_bias[i - 1].id : -1));
        QW_ASSERT(p->logit_bias[i].bias >= -100 && p->logit_bias[i].bias <= 100);
    }
}

static void check_ranges(const qw_sampling_params *p)
{
    QW_ASSERT(p->temperature >= 0 && p->top_p > 0 && p->top_p <= 1);
    QW_ASSERT(p->temperature < 1e-5 || p->temperature >= 0.01);
    QW_ASSERT(p->min_p >= 0 && p->min_p <= 1 && p->top_k >= -1);
    QW_ASSERT(p->repetition_penalty > 0 && p->n >= 1);
    QW_ASSERT(p->max_tokens == -1 || p->max_tokens >= 1);
    QW_ASSERT(p->min_tokens >= 0 && (p->max_tokens < 0 || p->min_tokens <= p->max_tokens));
    QW_ASSERT(p->logprobs >= QW_LOGPROBS_OFF && p->prompt_logprobs >= QW_LOGPROBS_OFF);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) qw_json_init();
    ready = true;
    size_t live = qw_mem_live();
    qw_error err;
    json_t *request = NULL;
    if (qw_json_parse(&request, (const char *)data, size, "request", &err) != QW_OK) return 0;
    qw_sampling_params p, copy;
    qw_sampling_params_init(&p);
    const char *param;
    if (qw_sampling_params_apply_request(&p, request, &param, &err) == QW_OK &&
        qw_sampling_params_copy(&copy, &p, &err) == QW_OK) {
        check_ranges(&copy);
        check_lists(&copy);
        // A second time over the first: old values are replaced, not mixed.
        QW_ASSERT(qw_sampling_params_apply_json(&p, request, &err) == QW_OK);
        QW_ASSERT(p.n_stop == copy.n_stop && p.n_logit_bias == copy.n_logit_bias);
        check_lists(&p);
        qw_sampling_params_release(&copy);
    }
    qw_sampling_params_release(&p);
    json_decref(request);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}
