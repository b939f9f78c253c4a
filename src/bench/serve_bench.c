#include "bench/serve_bench.h"

#include <stdarg.h>
#include <string.h>

#include "bench/limits.h"
#include "bench/serve_client.h"
#include "bench/serve_host.h"
#include "bench/serve_prompts.h"
#include "bench/serve_threads.h"

/** A range of prompts. */
typedef struct prompt_range {
    int first, n;
} prompt_range;

typedef struct serve_bench {
    const qw_serve_bench_options *o;
    const qw_frontend *frontend;
    qw_engine *engine;
    qw_serve_client *client;
    qw_limit_meter *meter;
    double best_spin;
    qw_serve_prompts prompts;
    prompt_range trace, shorts, behind_prefix, cold;
    qw_serve_series few, many, completions, chats, crowd, prefix;
} serve_bench;

// Values of a round of streams
enum { HTTP_RATE, PROCESS_RATE, HTTP_SHARE, OTHERS_SHARE, OTHERS_S, EVENTS, EVENT_US, CLIENT_US };
// of requests
enum { REQUEST_US, REQUEST_IO_US, REQUEST_WORKER_US, REQUEST_ENGINE_US };
// of the crowd
enum { ALONE_US, CROWDED_US, GROWTH, ENGINE_GROWTH, IO_GROWTH };
// of the prefix
enum { CACHED_MS, COLD_MS, CACHED_RATIO, RECOMPUTED };

qw_serve_bench_options qw_serve_bench_default(void)
{
    return (qw_serve_bench_options){.parts = QW_SERVE_ALL_PARTS,
                                    .rounds = 5,
                                    .few_streams = 16,
                                    .many_streams = 64,
                                    .prompt_tokens = 128,
                                    .output_tokens = 64,
                                    .n_requests = 128,
                                    .n_idle = 1000,
                                    .n_queued = 10000,
                                    .n_steps = 16,
                                    .prefix_tokens = 2000,
                                    .suffix_tokens = 20,
                                    .prefix_rounds = 25};
}

qw_serve_bench_options qw_serve_bench_quick(void)
{
    return (qw_serve_bench_options){.parts = QW_SERVE_ALL_PARTS,
                                    .rounds = 2,
                                    .few_streams = 2,
                                    .many_streams = 4,
                                    .prompt_tokens = 16,
                                    .output_tokens = 8,
                                    .n_requests = 8,
                                    .n_idle = 20,
                                    .n_queued = 50,
                                    .n_steps = 8,
                                    .prefix_tokens = 320,
                                    .suffix_tokens = 20,
                                    .prefix_rounds = 2};
}

// Slices

static qw_probe probe(serve_bench *b)
{
    qw_probe p = qw_limit_meter_probe(b->meter);
    if (p.spin > b->best_spin) b->best_spin = p.spin;
    return p;
}

static void end_slice(serve_bench *b, qw_serve_round *r, qw_probe *before)
{
    qw_slice *s = &r->slices[r->n_slices++];
    *s = (qw_slice){.before = *before, .after = probe(b)};
    *before = s->after;
}

static qw_serve_round *next_round(qw_serve_series *s)
{
    QW_ASSERT(s->n < s->max);
    return &s->rounds[s->n]; // counted when it is complete
}

// Streams over HTTP and in process

static qw_status wave(serve_bench *b, const qw_serve_order *order, qw_serve_answer *answer,
                      qw_thread_times *used, qw_error *err)
{
    qw_engine_reset_prefix_cache(b->engine);
    qw_serve_host host;
    qw_status st = qw_serve_host_start(&host, b->engine, b->frontend, err);
    if (st != QW_OK) return st;
    qw_serve_order at = *order;
    at.port = host.port;
    qw_thread_times before, after;
    st = qw_thread_times_read(&before, err);
    if (st == QW_OK) st = qw_serve_client_do(b->client, &at, answer, err);
    if (st == QW_OK) st = qw_thread_times_read(&after, err);
    if (st == QW_OK) *used = qw_thread_times_since(&before, &after);
    qw_error ignored;
    qw_status stopped = qw_serve_host_stop(&host, st == QW_OK ? err : &ignored);
    return st == QW_OK ? stopped : st;
}

static qw_status measure_streams(serve_bench *b, qw_serve_series *series, int n_streams,
                                 qw_error *err)
{
    const qw_serve_bench_options *o = b->o;
    const qw_serve_order order = {.kind = QW_SERVE_WAVE,
                                  .n_connections = n_streams,
                                  .n_requests = n_streams,
                                  .first_prompt = b->trace.first,
                                  .n_prompts = b->trace.n,
                                  .max_tokens = o->output_tokens};
    qw_serve_round *r = next_round(series);
    qw_serve_answer answer;
    qw_thread_times used;
    double process_s;
    qw_probe edge = probe(b);
    qw_status st = wave(b, &order, &answer, &used, err);
    end_slice(b, r, &edge);
    if (st != QW_OK) return st;
    qw_engine_reset_prefix_cache(b->engine);
    st = qw_serve_in_process(&process_s, b->engine, b->prompts.prompts + b->trace.first,
                             (size_t)n_streams, o->output_tokens, err);
    end_slice(b, r, &edge);
    if (st != QW_OK) return st;
    double n_tokens = (double)n_streams * o->output_tokens;
    r->values[HTTP_RATE] = n_tokens / answer.seconds;
    r->values[PROCESS_RATE] = n_tokens / process_s;
    r->values[HTTP_SHARE] = 100 * process_s / answer.seconds;
    r->values[OTHERS_S] = qw_thread_times_others(&used);
    r->values[OTHERS_SHARE] = 100 * r->values[OTHERS_S] / used.forward;
    r->values[EVENTS] = (double)answer.n_events;
    r->values[CLIENT_US] = 1e6 * answer.cpu_s / (double)answer.n_events;
    series->n++;
    return QW_OK;
}

// Requests for one token

static qw_status measure_requests(serve_bench *b, qw_serve_series *series, bool is_chat,
                                  qw_error *err)
{
    const qw_serve_bench_options *o = b->o;
    const qw_serve_order order = {.kind = QW_SERVE_WAVE,
                                  .is_chat = is_chat,
                                  .n_connections = o->many_streams,
                                  .n_requests = o->n_requests,
                                  .first_prompt = b->shorts.first,
                                  .n_prompts = b->shorts.n,
                                  .max_tokens = 1};
    qw_serve_round *r = next_round(series);
    qw_serve_answer answer;
    qw_thread_times used;
    qw_probe edge = probe(b);
    qw_status st = wave(b, &order, &answer, &used, err);
    end_slice(b, r, &edge);
    if (st != QW_OK) return st;
    double us = 1e6 / o->n_requests;
    r->values[REQUEST_US] = qw_thread_times_others(&used) * us;
    r->values[REQUEST_IO_US] = used.io * us;
    r->values[REQUEST_WORKER_US] = used.workers * us;
    r->values[REQUEST_ENGINE_US] = used.engine * us;
    series->n++;
    return QW_OK;
}

// A crowd beside running streams

// CPU microseconds of scheduler and I/O for each of n_steps steps. The client first waits for one
// event of each stream, so that both readings are taken just behind the last event of a step.
static qw_status watch(serve_bench *b, qw_serve_order order, qw_thread_times *us, qw_error *err)
{
    qw_serve_answer answer;
    qw_thread_times before, after;
    order.kind = QW_SERVE_WATCH;
    order.n_events = 1;
    qw_status st = qw_serve_client_do(b->client, &order, &answer, err);
    order.n_events = b->o->n_steps;
    if (st == QW_OK) st = qw_thread_times_read(&before, err);
    if (st == QW_OK) st = qw_serve_client_do(b->client, &order, &answer, err);
    if (st == QW_OK) st = qw_thread_times_read(&after, err);
    if (st != QW_OK) return st;
    *us = qw_thread_times_since(&before, &after);
    double per_step = 1e6 * b->o->many_streams / (double)answer.n_events;
    us->engine *= per_step;
    us->io *= per_step;
    us->workers *= per_step;
    return QW_OK;
}

static qw_status give(serve_bench *b, qw_serve_order order, qw_serve_order_kind kind, qw_error *err)
{
    qw_serve_answer ignored;
    order.kind = kind;
    return qw_serve_client_do(b->client, &order, &ignored, err);
}

// Without the crowd, with it, and without again: what changes with the length of the streams is
// the same on average.
static qw_status watch_crowd(serve_bench *b, int port, qw_thread_times us[3], qw_error *err)
{
    const qw_serve_bench_options *o = b->o;
    qw_serve_order order = {.port = port,
                            .n_connections = o->many_streams,
                            .n_requests = o->n_queued,
                            .first_prompt = b->shorts.first,
                            .n_prompts = b->shorts.n,
                            .max_tokens =
                                qw_engine_plan(b->engine)->max_model_len - o->prompt_tokens,
                            .n_idle = o->n_idle};
    qw_status st = give(b, order, QW_SERVE_HOLD, err);
    if (st == QW_OK) st = watch(b, order, &us[0], err);
    if (st == QW_OK) st = give(b, order, QW_SERVE_CROWD, err);
    if (st == QW_OK) st = watch(b, order, &us[1], err);
    if (st == QW_OK) st = give(b, order, QW_SERVE_DISPERSE, err);
    if (st == QW_OK) st = watch(b, order, &us[2], err);
    return st == QW_OK ? give(b, order, QW_SERVE_DROP, err) : st;
}

static double growth(double before, double with, double after)
{
    double without = (before + after) / 2;
    return without > 0 ? 100 * (with / without - 1) : 0;
}

static qw_status measure_crowd(serve_bench *b, qw_error *err)
{
    qw_serve_round *r = next_round(&b->crowd);
    qw_serve_host host;
    qw_thread_times us[3];
    qw_probe edge = probe(b);
    qw_status st = qw_serve_host_start(&host, b->engine, b->frontend, err);
    if (st != QW_OK) return st;
    st = watch_crowd(b, host.port, us, err);
    qw_error ignored;
    qw_status stopped = qw_serve_host_stop(&host, st == QW_OK ? err : &ignored);
    end_slice(b, r, &edge);
    if (st == QW_OK) st = stopped;
    if (st != QW_OK) return st;
    double all[3];
    for (int i = 0; i < 3; i++) all[i] = qw_thread_times_others(&us[i]);
    r->values[ALONE_US] = (all[0] + all[2]) / 2;
    r->values[CROWDED_US] = all[1];
    r->values[GROWTH] = growth(all[0], all[1], all[2]);
    r->values[ENGINE_GROWTH] = growth(us[0].engine, us[1].engine, us[2].engine);
    r->values[IO_GROWTH] = growth(us[0].io, us[1].io, us[2].io);
    b->crowd.n++;
    return QW_OK;
}

// A cached prefix

static qw_status first_token(serve_bench *b, int port, int i_prompt, double *ms, qw_error *err)
{
    const qw_serve_order order = {.kind = QW_SERVE_WAVE,
                                  .port = port,
                                  .n_connections = 1,
                                  .n_requests = 1,
                                  .first_prompt = i_prompt,
                                  .n_prompts = 1,
                                  .max_tokens = 1};
    qw_serve_answer answer;
    qw_status st = qw_serve_client_do(b->client, &order, &answer, err);
    if (st == QW_OK) *ms = answer.first_event_s * 1e3;
    return st;
}

static qw_status measure_prefix_rounds(serve_bench *b, int port, qw_error *err)
{
    double ms;
    qw_status st = first_token(b, port, b->behind_prefix.first, &ms, err); // fills the cache
    qw_probe edge = probe(b);
    for (int i = 0; i < b->o->prefix_rounds && st == QW_OK; i++) {
        qw_serve_round *r = next_round(&b->prefix);
        st = first_token(b, port, b->behind_prefix.first + 1 + i, &r->values[CACHED_MS], err);
        end_slice(b, r, &edge);
        if (st != QW_OK) break;
        st = first_token(b, port, b->cold.first + i, &r->values[COLD_MS], err);
        end_slice(b, r, &edge);
        if (st != QW_OK) break;
        r->values[CACHED_RATIO] = r->values[CACHED_MS] / r->values[COLD_MS];
        b->prefix.n++;
    }
    return st;
}

static qw_status measure_prefix(serve_bench *b, qw_error *err)
{
    qw_engine_stats before, after;
    qw_serve_host host;
    qw_engine_reset_prefix_cache(b->engine);
    qw_engine_get_stats(b->engine, &before);
    qw_status st = qw_serve_host_start(&host, b->engine, b->frontend, err);
    if (st != QW_OK) return st;
    st = measure_prefix_rounds(b, host.port, err);
    qw_error ignored;
    qw_status stopped = qw_serve_host_stop(&host, st == QW_OK ? err : &ignored);
    if (st == QW_OK) st = stopped;
    if (st != QW_OK) return st;
    qw_engine_get_stats(b->engine, &after);
    // What the first request and the cold ones computed is known.
    const qw_serve_prompt *p = b->prompts.prompts;
    double n = (double)(after.n_prompt_tokens - before.n_prompt_tokens);
    n -= (double)p[b->behind_prefix.first].n;
    for (size_t i = 0; i < b->prefix.n; i++) n -= (double)p[(size_t)b->cold.first + i].n;
    for (size_t i = 0; i < b->prefix.n; i++)
        b->prefix.rounds[i].values[RECOMPUTED] = n / (double)b->prefix.n;
    return QW_OK;
}

// In order

static qw_status add_prompts(serve_bench *b, prompt_range *out, int n, int n_prefix, int n_tokens,
                             qw_error *err)
{
    out->n = n;
    return qw_serve_prompts_add(&b->prompts, n, n_prefix, n_tokens, &out->first, err);
}

static qw_status make_prompts(serve_bench *b, int block_size, qw_error *err)
{
    enum { SHORT_TOKENS = 4 };
    const qw_serve_bench_options *o = b->o;
    // Behind the last whole block of the prefix everything is computed again.
    int recomputed = o->suffix_tokens + o->prefix_tokens % block_size;
    qw_status st = qw_serve_prompts_init(&b->prompts, b->frontend->tokenizer, err);
    if (st == QW_OK) st = add_prompts(b, &b->trace, o->many_streams, 0, o->prompt_tokens, err);
    if (st == QW_OK) st = add_prompts(b, &b->shorts, o->n_requests, 0, SHORT_TOKENS, err);
    if (st == QW_OK)
        st = add_prompts(b, &b->behind_prefix, o->prefix_rounds + 1, o->prefix_tokens,
                         o->suffix_tokens, err);
    if (st == QW_OK) st = add_prompts(b, &b->cold, o->prefix_rounds, 0, recomputed, err);
    return st;
}

static qw_status make_series(serve_bench *b, qw_error *err)
{
    qw_serve_series *const series[] = {&b->few, &b->many, &b->completions, &b->chats, &b->crowd};
    qw_status st = qw_serve_series_init(&b->prefix, (size_t)b->o->prefix_rounds, err);
    for (size_t i = 0; i < QW_ARRAY_LEN(series) && st == QW_OK; i++)
        st = qw_serve_series_init(series[i], (size_t)b->o->rounds, err);
    return st;
}

static qw_status open_engine(serve_bench *b, const qw_engine_options *engine, qw_error *err)
{
    enum { MODEL_LEN = 4096 };
    qw_engine_options options = *engine;
    qw_engine_options_use_tokenizer(&options, b->frontend->tokenizer);
    options.async_scheduling = true;
    options.max_num_seqs = b->o->many_streams; // one more request must wait
    if (options.max_model_len == 0) options.max_model_len = MODEL_LEN;
    qw_status st = qw_engine_open(&b->engine, &options, err);
    if (st != QW_OK) return st;
    const qw_bench_buffer no_buffer = {0}; // only probes
    return qw_limit_meter_new(&b->meter, "ref", qw_engine_backend(b->engine)->n_threads, &no_buffer,
                              err);
}

static qw_status measure_round(serve_bench *b, qw_error *err)
{
    unsigned parts = b->o->parts;
    qw_status st = QW_OK;
    if (parts & QW_SERVE_STREAMS) st = measure_streams(b, &b->few, b->o->few_streams, err);
    if (parts & QW_SERVE_STREAMS && st == QW_OK)
        st = measure_streams(b, &b->many, b->o->many_streams, err);
    if (parts & QW_SERVE_REQUESTS && st == QW_OK)
        st = measure_requests(b, &b->completions, false, err);
    if (parts & QW_SERVE_REQUESTS && st == QW_OK) st = measure_requests(b, &b->chats, true, err);
    return parts & QW_SERVE_CROWDS && st == QW_OK ? measure_crowd(b, err) : st;
}

static qw_status measure(serve_bench *b, const qw_engine_options *engine, qw_error *err)
{
    qw_status st = make_series(b, err);
    if (st == QW_OK) st = make_prompts(b, engine->block_size, err);
    // Before the first thread: only this one would be in the child.
    if (st == QW_OK)
        st = qw_serve_client_new(&b->client, (const char *const *)b->prompts.texts, b->prompts.n,
                                 err);
    if (st == QW_OK) st = open_engine(b, engine, err);
    double ignored;
    if (st == QW_OK) // touches every page
        st = qw_serve_in_process(&ignored, b->engine, b->prompts.prompts + b->trace.first,
                                 (size_t)b->o->few_streams, 2, err);
    if (b->o->parts & QW_SERVE_PREFIX && st == QW_OK) st = measure_prefix(b, err);
    for (int i = 0; i < b->o->rounds && st == QW_OK; i++) {
        if (b->o->progress) b->o->progress(b->o->progress_ctx, i, b->o->rounds);
        st = measure_round(b, err);
    }
    return st;
}

// The table

static double median_request_s(const serve_bench *b)
{
    double us[1024];
    QW_ASSERT(b->completions.n <= QW_ARRAY_LEN(us));
    for (size_t i = 0; i < b->completions.n; i++)
        us[i] = b->completions.rounds[i].values[REQUEST_US];
    return qw_stats_median(us, b->completions.n) * 1e-6;
}

// What the events behind the first cost: the CPU of all, less that of as many requests for one.
static void set_event_cost(qw_serve_series *s, int n_streams, double request_s)
{
    for (size_t i = 0; i < s->n; i++) {
        double *v = s->rounds[i].values;
        v[EVENT_US] = 1e6 * (v[OTHERS_S] - n_streams * request_s) / (v[EVENTS] - n_streams);
    }
}

typedef struct value_row {
    int value;
    qw_serve_row_head head;
} value_row;

static const value_row stream_rows[] = {
    {HTTP_RATE, {.name = "over HTTP", .unit = "tokens/s", .decimals = 1}},
    {PROCESS_RATE, {.name = "the same in process", .unit = "tokens/s", .decimals = 1}},
    {HTTP_SHARE,
     {.name = "over HTTP / in process", .unit = "%", .decimals = 1, QW_SERVE_AT_LEAST, 93}},
    {OTHERS_SHARE,
     {.name = "CPU, others / forward", .unit = "%", .decimals = 2, QW_SERVE_AT_MOST, 5}},
    {EVENT_US, {.name = "CPU of an event", .unit = "us", .decimals = 2, QW_SERVE_AT_MOST, 15}},
    {CLIENT_US, {.name = "the client's, for an event", .unit = "us", .decimals = 2}},
};

static const value_row request_rows[] = {
    {REQUEST_US, {.name = "CPU of a request", .unit = "us", .decimals = 1, QW_SERVE_AT_MOST, 500}},
    {REQUEST_IO_US, {.name = "of it I/O", .unit = "us", .decimals = 1}},
    {REQUEST_WORKER_US, {.name = "of it workers", .unit = "us", .decimals = 1}},
    {REQUEST_ENGINE_US, {.name = "of it engine", .unit = "us", .decimals = 1}},
};

static const value_row crowd_rows[] = {
    {ALONE_US, {.name = "CPU of a step, alone", .unit = "us", .decimals = 1}},
    {CROWDED_US, {.name = "CPU of a step, crowded", .unit = "us", .decimals = 1}},
    {GROWTH, {.name = "growth", .unit = "%", .decimals = 2, QW_SERVE_AT_MOST, 2}},
    {ENGINE_GROWTH, {.name = "growth, engine alone", .unit = "%", .decimals = 2}},
    {IO_GROWTH, {.name = "growth, I/O alone", .unit = "%", .decimals = 2}},
};

static const value_row prefix_rows[] = {
    {CACHED_MS, {.name = "first token", .unit = "ms", .decimals = 2}},
    {COLD_MS, {.name = "first token, cold", .unit = "ms", .decimals = 2}},
    {CACHED_RATIO, {.name = "cached / cold", .unit = "", .decimals = 3, QW_SERVE_AT_MOST, 1.3}},
    {RECOMPUTED, {.name = "recomputed", .unit = "tokens", .decimals = 0}},
};

QW_PRINTF(6, 7)
static void add_rows(serve_bench *b, qw_serve_report *r, const qw_serve_series *s,
                     const value_row *rows, size_t n, const char *fmt, ...)
{
    const qw_slice_rule rule = {.best_spin = b->best_spin,
                                .n_threads = r->n_threads,
                                .ticks_per_s = r->machine.ticks_per_s};
    char group[32];
    va_list args;
    va_start(args, fmt);
    vsnprintf(group, sizeof group, fmt, args);
    va_end(args);
    for (size_t i = 0; i < n && s->n > 0; i++)
        qw_serve_report_add(r, group, &rows[i].head, s, rows[i].value, &rule);
}

static void fill_report(serve_bench *b, qw_serve_report *r)
{
    const qw_serve_bench_options *o = b->o;
    const qw_backend *be = qw_engine_backend(b->engine);
    qw_machine_detect(&r->machine);
    snprintf(r->isa, sizeof r->isa, "%s", be->isa);
    snprintf(r->dtype, sizeof r->dtype, "%s", qw_engine_dtype_name(b->engine));
    r->n_threads = be->n_threads;
    r->rounds = o->rounds;
    double request_s = median_request_s(b);
    set_event_cost(&b->few, o->few_streams, request_s);
    set_event_cost(&b->many, o->many_streams, request_s);
#define ADD(series, rows, ...) add_rows(b, r, series, rows, QW_ARRAY_LEN(rows), __VA_ARGS__)
    ADD(&b->few, stream_rows, "%d streams", o->few_streams);
    ADD(&b->many, stream_rows, "%d streams", o->many_streams);
    ADD(&b->completions, request_rows, "completion");
    ADD(&b->chats, request_rows, "chat");
    ADD(&b->crowd, crowd_rows, "%d idle, %d queued", o->n_idle, o->n_queued);
    ADD(&b->prefix, prefix_rows, "prefix %d + %d", o->prefix_tokens, o->suffix_tokens);
#undef ADD
}

qw_status qw_serve_bench(qw_serve_report *out, const qw_serve_bench_options *options,
                         const qw_engine_options *engine, const qw_frontend *frontend,
                         qw_error *err)
{
    serve_bench b = {.o = options, .frontend = frontend};
    qw_status st = measure(&b, engine, err);
    if (st == QW_OK) fill_report(&b, out);
    qw_serve_client_free(b.client);
    qw_limit_meter_free(b.meter);
    qw_engine_close(b.engine);
    qw_serve_prompts_release(&b.prompts);
    qw_serve_series *const series[] = {&b.few,   &b.many,  &b.completions,
                                       &b.chats, &b.crowd, &b.prefix};
    for (size_t i = 0; i < QW_ARRAY_LEN(series); i++) qw_serve_series_release(series[i]);
    return st;
}
