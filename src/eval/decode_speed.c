#include "eval/decode_speed.h"

#include "base/clock.h"
#include "bench/stats.h"

enum { PROMPT = 16, MAX_TOKENS = 257 };
static const int64_t longest_ns = 2000000000;

typedef struct speed {
    double gaps[MAX_TOKENS]; /* seconds */
    size_t n;
    int64_t first_ns, last_ns; /* when tokens came */
    qw_error error;            /* code QW_OK: none */
} speed;

static bool on_token(void *ctx, const qw_token_event *event)
{
    speed *s = ctx;
    int64_t now = qw_clock_ns();
    if (event->error) s->error = *event->error;
    if (event->id < 0) return false;
    if (s->last_ns == 0)
        s->first_ns = now;
    else if (s->n < MAX_TOKENS)
        s->gaps[s->n++] = (double)(now - s->last_ns) * 1e-9;
    s->last_ns = now;
    return now - s->first_ns > longest_ns;
}

qw_status qw_decode_speed(double *tokens_per_second, qw_engine *engine, qw_error *err)
{
    int32_t prompt[PROMPT], vocab = qw_engine_config(engine)->vocab_size;
    int64_t room = qw_engine_plan(engine)->max_model_len;
    size_t n = room > 2 * PROMPT ? PROMPT : 1;
    for (size_t i = 0; i < n; i++) prompt[i] = (int32_t)((i * 31 + 7) % (size_t)vocab);
    qw_sampling_params params;
    qw_sampling_params_init(&params);
    params.temperature = 0;
    params.ignore_eos = true;
    params.max_tokens = room - (int64_t)n < MAX_TOKENS ? room - (int64_t)n : MAX_TOKENS;
    speed s = {0};
    const qw_request_sink sink = {.ctx = &s, .token = on_token};
    const qw_submit_options options = {.skip_prefix_cache = true};
    qw_status st = qw_engine_submit(engine, prompt, n, &params, &options, &sink, NULL, err);
    qw_sampling_params_release(&params);
    if (st != QW_OK) return st;
    while (qw_engine_step(engine)) continue;
    if (s.error.code != QW_OK) return qw_fail(err, s.error.code, "%s", s.error.text);
    double gap = qw_stats_median(s.gaps, s.n);
    *tokens_per_second = gap > 0 ? 1 / gap : 0;
    return QW_OK;
}
