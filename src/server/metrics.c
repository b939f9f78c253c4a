#include "server/metrics.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/str.h"

// ---- the series

typedef enum counter {
    PREFIX_QUERIES,
    PREFIX_HITS,
    EXTERNAL_QUERIES,
    EXTERNAL_HITS,
    MM_QUERIES,
    MM_HITS,
    PREEMPTIONS,
    PROMPT_TOKENS,
    GENERATION_TOKENS,
    PROMPT_TOKENS_CACHED,
    SOURCE_COMPUTE,
    SOURCE_CACHE,
    SOURCE_EXTERNAL,
    SUCCESS_STOP,
    SUCCESS_LENGTH,
    SUCCESS_ABORT,
    SUCCESS_ERROR,
    SUCCESS_REPETITION,
    N_COUNTERS,
} counter;

typedef enum gauge {
    RUNNING,
    WAITING,
    WAITING_CAPACITY,
    WAITING_DEFERRED,
    KV_USAGE,
    SLEEP_AWAKE,
    SLEEP_OFFLOADED,
    SLEEP_DISCARDED,
    N_GAUGES,
} gauge;

typedef enum histogram {
    PROMPT_LENGTH,
    GENERATION_LENGTH,
    MAX_GENERATION_LENGTH,
    PARAM_N,
    PARAM_MAX_TOKENS,
    PREFILL_COMPUTED,
    ITERATION_TOKENS,
    FIRST_TOKEN,
    INTER_TOKEN,
    PER_TOKEN,
    E2E,
    QUEUE,
    INFERENCE,
    PREFILL,
    DECODE,
    N_HISTOGRAMS,
} histogram;

// Rows of one name stand together: they are one series with several values of a label.
typedef struct series {
    const char *name, *help;
    const char *label, *value; // beside engine and model_name; NULL: none
} series;

#define BY_SOURCE "vllm:prompt_tokens_by_source", "Number of prompt tokens by source.", "source"
#define SUCCESS                                                                                    \
    "vllm:request_success", "Count of successfully processed requests.", "finished_reason"

static const series counters[N_COUNTERS] = {
    [PREFIX_QUERIES] = {"vllm:prefix_cache_queries",
                        "Prefix cache queries, in terms of number of queried tokens.", NULL, NULL},
    [PREFIX_HITS] = {"vllm:prefix_cache_hits",
                     "Prefix cache hits, in terms of number of cached tokens.", NULL, NULL},
    [EXTERNAL_QUERIES] = {"vllm:external_prefix_cache_queries",
                          "External prefix cache queries from KV connector cross-instance cache "
                          "sharing, in terms of number of queried tokens.",
                          NULL, NULL},
    [EXTERNAL_HITS] = {"vllm:external_prefix_cache_hits",
                       "External prefix cache hits from KV connector cross-instance cache sharing, "
                       "in terms of number of cached tokens.",
                       NULL, NULL},
    [MM_QUERIES] = {"vllm:mm_cache_queries",
                    "Multi-modal cache queries, in terms of number of queried items.", NULL, NULL},
    [MM_HITS] = {"vllm:mm_cache_hits",
                 "Multi-modal cache hits, in terms of number of cached items.", NULL, NULL},
    [PREEMPTIONS] = {"vllm:num_preemptions", "Cumulative number of preemption from the engine.",
                     NULL, NULL},
    [PROMPT_TOKENS] = {"vllm:prompt_tokens", "Number of prefill tokens processed.", NULL, NULL},
    [GENERATION_TOKENS] = {"vllm:generation_tokens", "Number of generation tokens processed.", NULL,
                           NULL},
    [PROMPT_TOKENS_CACHED] = {"vllm:prompt_tokens_cached",
                              "Number of cached prompt tokens (local + external).", NULL, NULL},
    [SOURCE_COMPUTE] = {BY_SOURCE, "local_compute"},
    [SOURCE_CACHE] = {BY_SOURCE, "local_cache_hit"},
    [SOURCE_EXTERNAL] = {BY_SOURCE, "external_kv_transfer"},
    [SUCCESS_STOP] = {SUCCESS, "stop"},
    [SUCCESS_LENGTH] = {SUCCESS, "length"},
    [SUCCESS_ABORT] = {SUCCESS, "abort"},
    [SUCCESS_ERROR] = {SUCCESS, "error"},
    [SUCCESS_REPETITION] = {SUCCESS, "repetition"},
};

#define BY_REASON                                                                                  \
    "vllm:num_requests_waiting_by_reason", "Number of requests waiting by reason.", "reason"
#define SLEEP                                                                                      \
    "vllm:engine_sleep_state",                                                                     \
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is "       \
        "awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",  \
        "sleep_state"

static const series gauges[N_GAUGES] = {
    [RUNNING] = {"vllm:num_requests_running", "Number of requests in model execution batches.",
                 NULL, NULL},
    [WAITING] = {"vllm:num_requests_waiting", "Number of requests waiting to be processed.", NULL,
                 NULL},
    [WAITING_CAPACITY] = {BY_REASON, "capacity"},
    [WAITING_DEFERRED] = {BY_REASON, "deferred"},
    [KV_USAGE] = {"vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", NULL,
                  NULL},
    [SLEEP_AWAKE] = {SLEEP, "awake"},
    [SLEEP_OFFLOADED] = {SLEEP, "weights_offloaded"},
    [SLEEP_DISCARDED] = {SLEEP, "discard_all"},
};

static const double n_buckets[] = {1, 2, 5, 10, 20};
static const double step_buckets[] = {1,   8,    16,   32,   64,   128,  256,
                                      512, 1024, 2048, 4096, 8192, 16384};
static const double first_buckets[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                       1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
static const double gap_buckets[] = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                     .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
static const double request_buckets[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                         30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};

enum { MAX_BUCKETS = 32 };

#define BUCKETS(b) b, QW_ARRAY_LEN(b)

// Without bounds: 1, 2, 5, 10, ... up to the longest context.
static const struct {
    const char *name, *help;
    const double *bounds;
    size_t n_bounds;
} histograms[N_HISTOGRAMS] = {
    [PROMPT_LENGTH] = {"vllm:request_prompt_tokens", "Number of prefill tokens processed.", NULL,
                       0},
    [GENERATION_LENGTH] = {"vllm:request_generation_tokens",
                           "Number of generation tokens processed.", NULL, 0},
    [MAX_GENERATION_LENGTH] = {"vllm:request_max_num_generation_tokens",
                               "Histogram of maximum number of requested generation tokens.", NULL,
                               0},
    [PARAM_N] = {"vllm:request_params_n", "Histogram of the n request parameter.",
                 BUCKETS(n_buckets)},
    [PARAM_MAX_TOKENS] = {"vllm:request_params_max_tokens",
                          "Histogram of the max_tokens request parameter.", NULL, 0},
    [PREFILL_COMPUTED] = {"vllm:request_prefill_kv_computed_tokens",
                          "Histogram of new KV tokens computed during prefill (excluding cached "
                          "tokens).",
                          NULL, 0},
    [ITERATION_TOKENS] = {"vllm:iteration_tokens_total",
                          "Histogram of number of tokens per engine_step.", BUCKETS(step_buckets)},
    [FIRST_TOKEN] = {"vllm:time_to_first_token_seconds",
                     "Histogram of time to first token in seconds.", BUCKETS(first_buckets)},
    [INTER_TOKEN] = {"vllm:inter_token_latency_seconds",
                     "Histogram of inter-token latency in seconds.", BUCKETS(gap_buckets)},
    [PER_TOKEN] = {"vllm:request_time_per_output_token_seconds",
                   "Histogram of time_per_output_token_seconds per request.", BUCKETS(gap_buckets)},
    [E2E] = {"vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.",
             BUCKETS(request_buckets)},
    [QUEUE] = {"vllm:request_queue_time_seconds",
               "Histogram of time spent in WAITING phase for request.", BUCKETS(request_buckets)},
    [INFERENCE] = {"vllm:request_inference_time_seconds",
                   "Histogram of time spent in RUNNING phase for request.",
                   BUCKETS(request_buckets)},
    [PREFILL] = {"vllm:request_prefill_time_seconds",
                 "Histogram of time spent in PREFILL phase for request.", BUCKETS(request_buckets)},
    [DECODE] = {"vllm:request_decode_time_seconds",
                "Histogram of time spent in DECODE phase for request.", BUCKETS(request_buckets)},
};

// ---- numbers

// Atomic, relaxed: statistics. Each has one writer, so a load and a store make an addition.
typedef struct tally {
    _Atomic uint64_t buckets[MAX_BUCKETS + 1]; // the last: above all bounds
    _Atomic double sum;
} tally;

struct qw_metrics {
    char *model_name; // as a label's value, escaped
    char *cache_info; // the labels of cache_config_info
    double length_bounds[MAX_BUCKETS];
    size_t n_length_bounds;
    int64_t created;
    _Atomic uint64_t counters[N_COUNTERS];
    _Atomic double gauges[N_GAUGES];
    tally tallies[N_HISTOGRAMS];
};

static uint64_t count_of(const qw_metrics *m, counter c)
{
    return atomic_load_explicit(&m->counters[c], memory_order_relaxed);
}

static void add(qw_metrics *m, counter c, int64_t n)
{
    if (n <= 0) return;
    atomic_store_explicit(&m->counters[c], count_of(m, c) + (uint64_t)n, memory_order_relaxed);
}

static double gauge_of(const qw_metrics *m, gauge g)
{
    return atomic_load_explicit(&m->gauges[g], memory_order_relaxed);
}

static void set(qw_metrics *m, gauge g, double value)
{
    atomic_store_explicit(&m->gauges[g], value, memory_order_relaxed);
}

static const double *bounds_of(const qw_metrics *m, histogram h, size_t *n)
{
    *n = histograms[h].bounds ? histograms[h].n_bounds : m->n_length_bounds;
    return histograms[h].bounds ? histograms[h].bounds : m->length_bounds;
}

static void increment(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void observe(qw_metrics *m, histogram h, double value)
{
    size_t n, i = 0;
    const double *bounds = bounds_of(m, h, &n);
    tally *t = &m->tallies[h];
    while (i < n && value > bounds[i]) i++;
    increment(&t->buckets[i]);
    double sum = atomic_load_explicit(&t->sum, memory_order_relaxed);
    atomic_store_explicit(&t->sum, sum + value, memory_order_relaxed);
}

// ---- lifetime

// 1, 2, 5, 10, 20, ... as far as they do not exceed `max`.
static size_t make_length_bounds(double bounds[MAX_BUCKETS], int32_t max)
{
    static const int64_t digits[] = {1, 2, 5};
    size_t n = 0;
    for (int64_t power = 1; power <= max; power *= 10)
        for (size_t i = 0; i < QW_ARRAY_LEN(digits) && digits[i] * power <= max; i++)
            bounds[n++] = (double)(digits[i] * power);
    return n; // below 2^31: 29 at most
}

// The value of a label: backslash, quote and newline are escaped.
static void write_escaped(qw_buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') qw_buf_putc(b, '\\');
        if (*text == '\n')
            qw_buf_puts(b, "\\n");
        else
            qw_buf_putc(b, *text);
    }
}

static qw_status take_text(char **out, qw_buf *b, qw_error *err)
{
    qw_status st = qw_buf_check(b, "the labels of the metrics", err);
    if (st == QW_OK && !(*out = qw_buf_take(b, NULL)))
        st = qw_fail_memory(err, b->len, "the labels of the metrics");
    qw_buf_release(b);
    return st;
}

static qw_status make_labels(qw_metrics *m, const char *model_name,
                             const qw_metrics_label *cache_config, size_t n, qw_error *err)
{
    qw_buf name, info;
    qw_buf_init(&name, 1 << 20);
    qw_buf_init(&info, 1 << 20);
    write_escaped(&name, model_name);
    qw_buf_puts(&info, "engine=\"0\"");
    for (size_t i = 0; i < n; i++) {
        qw_buf_printf(&info, ",%s=\"", cache_config[i].name);
        write_escaped(&info, cache_config[i].value);
        qw_buf_putc(&info, '"');
    }
    qw_status st = take_text(&m->model_name, &name, err);
    qw_status st_info = take_text(&m->cache_info, &info, st == QW_OK ? err : NULL);
    return st != QW_OK ? st : st_info;
}

qw_status qw_metrics_new(qw_metrics **out, const char *model_name, int32_t max_model_len,
                         const qw_metrics_label *cache_config, size_t n, int64_t created,
                         qw_error *err)
{
    qw_metrics *m = qw_mem_calloc(1, sizeof *m);
    if (!m) return qw_fail_memory(err, sizeof *m, "the metrics");
    m->created = created;
    m->n_length_bounds = make_length_bounds(m->length_bounds, max_model_len);
    set(m, SLEEP_AWAKE, 1);
    qw_status st = make_labels(m, model_name, cache_config, n, err);
    if (st == QW_OK)
        *out = m;
    else
        qw_metrics_free(m);
    return st;
}

void qw_metrics_free(qw_metrics *m)
{
    if (!m) return;
    qw_mem_free(m->model_name);
    qw_mem_free(m->cache_info);
    qw_mem_free(m);
}

// ---- what comes in

void qw_metrics_observe_step(qw_metrics *m, const qw_metrics_step *step)
{
    set(m, RUNNING, step->n_running);
    set(m, WAITING, step->n_waiting);
    set(m, WAITING_CAPACITY, step->n_waiting - step->n_deferred);
    set(m, WAITING_DEFERRED, step->n_deferred);
    set(m, KV_USAGE, step->kv_usage);
    add(m, PROMPT_TOKENS, step->n_prompt_tokens);
    add(m, SOURCE_COMPUTE, step->n_prompt_tokens);
    add(m, GENERATION_TOKENS, step->n_generated_tokens);
    add(m, PREEMPTIONS, step->n_preemptions);
    add(m, PREFIX_QUERIES, step->n_prefix_queries);
    add(m, PREFIX_HITS, step->n_prefix_hits);
    add(m, PROMPT_TOKENS_CACHED, step->n_prefix_hits);
    add(m, SOURCE_CACHE, step->n_prefix_hits);
    int64_t n = step->n_prompt_tokens + step->n_generated_tokens;
    if (n > 0) observe(m, ITERATION_TOKENS, (double)n);
}

void qw_metrics_observe_token(qw_metrics *m, bool first, double seconds)
{
    observe(m, first ? FIRST_TOKEN : INTER_TOKEN, seconds);
}

void qw_metrics_observe_request(qw_metrics *m, const qw_metrics_request *r)
{
    add(m, (counter)(SUCCESS_STOP + (int)r->reason), 1);
    observe(m, PROMPT_LENGTH, (double)r->prompt_tokens);
    observe(m, GENERATION_LENGTH, (double)r->generation_tokens);
    observe(m, MAX_GENERATION_LENGTH, (double)r->generation_tokens);
    observe(m, PARAM_N, (double)r->n);
    if (r->max_tokens >= 0) observe(m, PARAM_MAX_TOKENS, (double)r->max_tokens);
    observe(m, PREFILL_COMPUTED, (double)(r->prompt_tokens - r->cached_tokens));
    observe(m, E2E, r->e2e_s);
    observe(m, QUEUE, r->queue_s);
    observe(m, INFERENCE, r->prefill_s + r->decode_s);
    observe(m, PREFILL, r->prefill_s);
    observe(m, DECODE, r->decode_s);
    // The first token belongs to the prefill.
    observe(m, PER_TOKEN,
            r->generation_tokens > 1 ? r->decode_s / (double)(r->generation_tokens - 1) : 0);
}

// ---- Prometheus text

static void write_value(qw_buf *out, double value)
{
    char text[32];
    int n = qw_str_from_f64(text, value);
    qw_buf_putc(out, ' ');
    qw_buf_append(out, text, (size_t)n);
    qw_buf_putc(out, '\n');
}

// `name`, `suffix` and the labels, by ascending name as the reference client writes them.
static void write_sample(const qw_metrics *m, qw_buf *out, const char *name, const char *suffix,
                         const char *label, const char *label_value, double value)
{
    bool before = label && strcmp(label, "model_name") < 0;
    qw_buf_printf(out, "%s%s{engine=\"0\"", name, suffix);
    if (before) qw_buf_printf(out, ",%s=\"%s\"", label, label_value);
    qw_buf_printf(out, ",model_name=\"%s\"", m->model_name);
    if (label && !before) qw_buf_printf(out, ",%s=\"%s\"", label, label_value);
    qw_buf_putc(out, '}');
    write_value(out, value);
}

static void write_type(qw_buf *out, const char *name, const char *suffix, const char *help,
                       const char *type)
{
    qw_buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

static void write_gauges(const qw_metrics *m, qw_buf *out)
{
    for (size_t i = 0; i < N_GAUGES; i++) {
        const series *s = &gauges[i];
        if (i == 0 || strcmp(s->name, gauges[i - 1].name) != 0)
            write_type(out, s->name, "", s->help, "gauge");
        write_sample(m, out, s->name, "", s->label, s->value, gauge_of(m, (gauge)i));
    }
}

// A counter comes with a second series that tells since when it counts.
static void write_counters(const qw_metrics *m, qw_buf *out)
{
    size_t end;
    for (size_t i = 0; i < N_COUNTERS; i = end) {
        const series *s = &counters[i];
        write_type(out, s->name, "_total", s->help, "counter");
        for (end = i; end < N_COUNTERS && strcmp(counters[end].name, s->name) == 0; end++)
            write_sample(m, out, s->name, "_total", counters[end].label, counters[end].value,
                         (double)count_of(m, (counter)end));
        write_type(out, s->name, "_created", s->help, "gauge");
        for (size_t k = i; k < end; k++)
            write_sample(m, out, s->name, "_created", counters[k].label, counters[k].value,
                         (double)m->created);
    }
}

static void write_histogram(const qw_metrics *m, histogram h, qw_buf *out)
{
    size_t n;
    const double *bounds = bounds_of(m, h, &n);
    const tally *t = &m->tallies[h];
    const char *name = histograms[h].name, *help = histograms[h].help;
    uint64_t sum = 0; // buckets are cumulative
    write_type(out, name, "", help, "histogram");
    for (size_t i = 0; i <= n; i++) {
        char bound[32] = "+Inf";
        if (i < n) (void)qw_str_from_f64(bound, bounds[i]);
        sum += atomic_load_explicit(&t->buckets[i], memory_order_relaxed);
        write_sample(m, out, name, "_bucket", "le", bound, (double)sum);
    }
    write_sample(m, out, name, "_count", NULL, NULL, (double)sum);
    write_sample(m, out, name, "_sum", NULL, NULL,
                 atomic_load_explicit(&t->sum, memory_order_relaxed));
    write_type(out, name, "_created", help, "gauge");
    write_sample(m, out, name, "_created", NULL, NULL, (double)m->created);
}

void qw_metrics_write(const qw_metrics *m, qw_buf *out)
{
    write_gauges(m, out);
    write_counters(m, out);
    for (size_t i = 0; i < N_HISTOGRAMS; i++) write_histogram(m, (histogram)i, out);
    write_type(out, "vllm:cache_config_info", "", "Information of the LLMEngine CacheConfig",
               "gauge");
    qw_buf_printf(out, "vllm:cache_config_info{%s}", m->cache_info);
    write_value(out, 1);
}

// ---- the periodic line

// Nothing happened, so a quotient of nothing is 0.
static double per_second(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

bool qw_metrics_stats_line(const qw_metrics *m, qw_metrics_interval *last, int64_t now_ns,
                           char *out, size_t out_size)
{
    qw_metrics_interval now = {
        .last_ns = now_ns,
        .prompt_tokens = count_of(m, PROMPT_TOKENS),
        .generated_tokens = count_of(m, GENERATION_TOKENS),
        .prefix_queries = count_of(m, PREFIX_QUERIES),
        .prefix_hits = count_of(m, PREFIX_HITS),
        .preemptions = count_of(m, PREEMPTIONS),
        .hit_rate = last->hit_rate,
    };
    bool is_first = last->last_ns == 0;
    double seconds = (double)(now_ns - last->last_ns) / 1e9;
    uint64_t n_prompt = now.prompt_tokens - last->prompt_tokens;
    uint64_t n_generated = now.generated_tokens - last->generated_tokens;
    uint64_t n_queries = now.prefix_queries - last->prefix_queries;
    uint64_t n_hits = now.prefix_hits - last->prefix_hits;
    uint64_t n_preempted = now.preemptions - last->preemptions;
    if (n_queries > 0) now.hit_rate = (double)n_hits / (double)n_queries;
    now.was_idle = n_prompt == 0 && n_generated == 0;
    bool quiet = is_first || (now.was_idle && last->was_idle);
    *last = now;
    if (quiet) return false;
    int64_t deferred = (int64_t)gauge_of(m, WAITING_DEFERRED);
    char deferred_part[48] = "", preempted_part[48] = "";
    if (deferred > 0)
        snprintf(deferred_part, sizeof deferred_part, ", Deferred: %" PRId64 " reqs", deferred);
    if (n_preempted > 0)
        snprintf(preempted_part, sizeof preempted_part, ", Preemptions: %" PRIu64, n_preempted);
    snprintf(out, out_size,
             "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: %.1f "
             "tokens/s, Running: %.0f reqs, Waiting: %.0f reqs%s%s, GPU KV cache usage: %.1f%%, "
             "Prefix cache hit rate: %.1f%%",
             per_second(n_prompt, seconds), per_second(n_generated, seconds), gauge_of(m, RUNNING),
             gauge_of(m, WAITING) - (double)deferred, deferred_part, preempted_part,
             100 * gauge_of(m, KV_USAGE), 100 * now.hit_rate);
    return true;
}
