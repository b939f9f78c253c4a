#include "bench/offline_batch.h"

#include "base/clock.h"
#include "base/mem.h"
#include "format/ids.h"

typedef struct offline_batch offline_batch;

/** One prompt's answers on their way. */
typedef struct answer {
    offline_batch *batch;
    qw_ids *children; /* [n] tokens; owned */
} answer;

struct offline_batch {
    const qw_offline_options *o;
    answer *answers; /* [n_prompts] */
    qw_buf text;
    size_t n_done;
    int64_t n_tokens;
    qw_error error; /* the first; code QW_OK: none */
};

static void note_failure(offline_batch *b, qw_status st, const qw_error *err)
{
    if (st != QW_OK && b->error.code == QW_OK) b->error = *err;
}

static bool on_token(void *ctx, const qw_token_event *event)
{
    answer *a = ctx;
    offline_batch *b = a->batch;
    if (event->error) note_failure(b, event->error->code, event->error);
    if (event->id < 0) return false;
    b->n_tokens++;
    if (!b->o->tokenizer) return false;
    qw_error err;
    qw_ids *ids = &a->children[event->child];
    note_failure(b, qw_ids_push(ids, event->id, &err), &err);
    if (event->finish == QW_FINISH_NONE) return false;
    qw_buf_clear(&b->text);
    qw_tokenizer_decode(b->o->tokenizer, ids->data, ids->len, true, &b->text);
    note_failure(b, qw_buf_check(&b->text, "an answer", &err), &err);
    qw_ids_release(ids);
    return false;
}

static void on_done(void *ctx, const qw_request_facts *facts)
{
    (void)facts;
    answer *a = ctx;
    a->batch->n_done++;
}

static qw_status submit(offline_batch *b, qw_engine *engine, const qw_offline_prompt *prompt,
                        answer *a, qw_error *err)
{
    *a = (answer){.batch = b};
    if (b->o->tokenizer) {
        a->children = qw_mem_calloc((size_t)b->o->n, sizeof *a->children);
        if (!a->children) return qw_fail_memory(err, 0, "an answer");
    }
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    params.temperature = b->o->temperature;
    params.n = b->o->n;
    params.max_tokens = prompt->n_output;
    params.ignore_eos = true;
    const qw_request_sink sink = {.ctx = a, .token = on_token, .done = on_done};
    qw_status st =
        qw_engine_submit(engine, prompt->ids, prompt->n, &params, NULL, &sink, NULL, err);
    qw_sampling_params_release(&params);
    return st;
}

static void release(offline_batch *b, size_t n_prompts)
{
    for (size_t i = 0; i < n_prompts && b->answers; i++) {
        for (int32_t j = 0; j < b->o->n && b->answers[i].children; j++)
            qw_ids_release(&b->answers[i].children[j]);
        qw_mem_free(b->answers[i].children);
    }
    qw_mem_free(b->answers);
    qw_buf_release(&b->text);
}

qw_status qw_offline_batch_run(qw_offline_result *out, qw_engine *engine,
                               const qw_offline_prompt *prompts, size_t n_prompts,
                               const qw_offline_options *options, qw_error *err)
{
    offline_batch b = {.o = options, .answers = qw_mem_calloc(n_prompts, sizeof *b.answers)};
    if (!b.answers) return qw_fail_memory(err, n_prompts * sizeof *b.answers, "the answers");
    qw_buf_init(&b.text, (size_t)1 << 28);
    qw_offline_result r = {0};
    qw_status st = QW_OK;
    size_t n_submitted = 0;
    int64_t start_ns = qw_clock_ns();
    for (; n_submitted < n_prompts && st == QW_OK; n_submitted++) {
        st = submit(&b, engine, &prompts[n_submitted], &b.answers[n_submitted], err);
        r.n_prompt_tokens += (int64_t)prompts[n_submitted].n;
    }
    // Those that were submitted before a refusal run to their end: their sinks are here.
    while (qw_engine_step(engine))
        if (options->progress) options->progress(options->progress_ctx, b.n_done, n_prompts);
    r.seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
    r.n_output_tokens = b.n_tokens;
    release(&b, n_prompts);
    if (st == QW_OK && b.error.code != QW_OK) st = qw_fail(err, b.error.code, "%s", b.error.text);
    if (st == QW_OK) *out = r;
    return st;
}
