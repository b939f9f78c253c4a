// The printed table and the result file of vLLM's serving benchmark (vllm/benchmarks/serve.py,
// benchmark and main), to the character and in the order of the keys.
#include "bench/load_report.h"

#include <math.h>

#include "base/str.h"
#include "bench/json_fields.h"

enum { WIDTH = 50, MAX_ERRORS = 10 };

// The table

// Python's "{s:{c}^50}": of an odd remainder the larger part is on the right.
static void put_head(qw_buf *out, const char *text, char fill)
{
    int n = (int)strlen(text), left = n < WIDTH ? (WIDTH - n) / 2 : 0;
    for (int i = 0; i < left; i++) qw_buf_putc(out, fill);
    qw_buf_puts(out, text);
    for (int i = left + n; i < WIDTH; i++) qw_buf_putc(out, fill);
    qw_buf_putc(out, '\n');
}

static void put_count(qw_buf *out, const char *label, int64_t value)
{
    qw_buf_printf(out, "%-40s %-10" PRId64 "\n", label, value);
}

static void put_number(qw_buf *out, const char *label, double value)
{
    qw_buf_printf(out, "%-40s %-10.2f\n", label, value);
}

void qw_load_percentile_name(char out[40], double percentile)
{
    char number[32];
    if (percentile == floor(percentile))
        snprintf(number, sizeof number, "%.0f", percentile);
    else
        (void)qw_str_from_f64(number, percentile);
    snprintf(out, 40, "P%s", number);
}

static const struct {
    const char *head, *name;
} sections[QW_LOAD_N_METRICS] = {
    [QW_LOAD_TTFT] = {"Time to First Token", "TTFT"},
    [QW_LOAD_TPOT] = {"Time per Output Token (excl. 1st token)", "TPOT"},
    [QW_LOAD_ITL] = {"Inter-token Latency", "ITL"},
    [QW_LOAD_E2EL] = {"End-to-end Latency", "E2EL"},
};

static void print_metric(const qw_load_report *r, qw_load_metric k, qw_buf *out)
{
    const qw_load_distribution *d = &r->metrics.metrics[k];
    char label[64], percentile[40];
    put_head(out, sections[k].head, '-');
    snprintf(label, sizeof label, "Mean %s (ms):", sections[k].name);
    put_number(out, label, d->mean);
    snprintf(label, sizeof label, "Median %s (ms):", sections[k].name);
    put_number(out, label, d->median);
    for (size_t i = 0; i < r->options.n_percentiles; i++) {
        qw_load_percentile_name(percentile, r->options.percentiles[i]);
        snprintf(label, sizeof label, "%s %s (ms):", percentile, sections[k].name);
        put_number(out, label, d->percentiles[i]);
    }
}

static void print_spec(const qw_load_spec_stats *s, qw_buf *out)
{
    put_head(out, "Speculative Decoding", '-');
    put_number(out, "Acceptance rate (%):", s->acceptance_rate);
    put_number(out, "Acceptance length:", s->acceptance_length);
    put_count(out, "Drafts:", s->n_drafts);
    put_count(out, "Draft tokens:", s->n_draft_tokens);
    put_count(out, "Accepted tokens:", s->n_accepted_tokens);
    if (s->n_positions > 0) qw_buf_puts(out, "Per-position acceptance (%):\n");
    for (int i = 0; i < s->n_positions; i++) {
        char label[32];
        snprintf(label, sizeof label, "  Position %d:", i);
        put_number(out, label, s->per_position[i] * 100);
    }
}

static void print_failures(const qw_load_report *r, qw_buf *out)
{
    int n = 0;
    for (size_t i = 0; i < r->n && n < MAX_ERRORS; i++) {
        if (r->outcomes[i].is_ok) continue;
        if (n == 0)
            qw_buf_printf(out, "Failed requests during benchmark run detected (capping to %d):\n",
                          MAX_ERRORS);
        qw_buf_printf(out, "Error %d: %s\n", n, r->outcomes[i].error ? r->outcomes[i].error : "");
        n++;
    }
}

void qw_load_report_print(const qw_load_report *r, qw_buf *out)
{
    const qw_load_metrics *m = &r->metrics;
    print_failures(r, out);
    qw_buf_puts(out, "tip: --plot FILE.svg draws the latencies and a timeline\n");
    put_head(out, " Serving Benchmark Result ", '=');
    put_count(out, "Successful requests:", (int64_t)m->completed);
    put_count(out, "Failed requests:", (int64_t)m->failed);
    if (r->max_concurrency > 0) put_count(out, "Maximum request concurrency:", r->max_concurrency);
    if (r->arrivals.ramp_up == QW_RAMP_NONE && !isinf(r->arrivals.request_rate))
        put_number(out, "Request rate configured (RPS):", r->arrivals.request_rate);
    put_number(out, "Benchmark duration (s):", m->duration_s);
    put_count(out, "Total input tokens:", m->total_input);
    if (r->counts_tokens) put_count(out, "Total generated tokens:", m->total_output);
    put_number(out, "Request throughput (req/s):", m->request_throughput);
    if (r->options.goodput.is_on) put_number(out, "Request goodput (req/s):", m->request_goodput);
    if (r->counts_tokens) {
        put_number(out, "Output token throughput (tok/s):", m->output_throughput);
        put_number(out, "Peak output token throughput (tok/s):", m->max_output_tokens_per_s);
        put_number(out, "Peak concurrent requests:", (double)m->max_concurrent_requests);
    }
    put_number(out, "Total token throughput (tok/s):", m->total_token_throughput);
    for (int k = 0; k < QW_LOAD_N_METRICS; k++)
        if (r->selected[k]) print_metric(r, (qw_load_metric)k, out);
    if (r->has_spec) print_spec(&r->spec, out);
    for (int i = 0; i < WIDTH; i++) qw_buf_putc(out, '=');
    qw_buf_putc(out, '\n');
}

// The file

static void put_text(qw_buf *b, const char *key, const char *text)
{
    if (text)
        qw_fields_text(b, key, text);
    else
        qw_fields_null(b, key);
}

static void put_counts(qw_buf *b, const char *key, const int64_t *values, size_t n)
{
    qw_fields_open(b, key, '[');
    for (size_t i = 0; i < n; i++) qw_fields_count(b, NULL, values[i]);
    qw_fields_close(b, ']');
}

static void write_details(const qw_load_report *r, qw_buf *b)
{
    put_counts(b, "input_lens", r->input_lens, r->n);
    put_counts(b, "output_lens", r->output_lens, r->n);
    qw_fields_open(b, "ttfts", '[');
    for (size_t i = 0; i < r->n; i++) qw_fields_number(b, NULL, r->outcomes[i].ttft_s);
    qw_fields_close(b, ']');
    qw_fields_open(b, "itls", '[');
    for (size_t i = 0; i < r->n; i++) {
        qw_fields_open(b, NULL, '[');
        for (size_t j = 0; j < r->outcomes[i].n_itls; j++)
            qw_fields_number(b, NULL, r->outcomes[i].itls[j]);
        qw_fields_close(b, ']');
    }
    qw_fields_close(b, ']');
    qw_fields_open(b, "start_times", '[');
    for (size_t i = 0; i < r->n; i++) qw_fields_number(b, NULL, r->outcomes[i].start_s);
    qw_fields_close(b, ']');
    qw_fields_open(b, "generated_texts", '[');
    for (size_t i = 0; i < r->n; i++)
        qw_fields_text(b, NULL, r->outcomes[i].text ? r->outcomes[i].text : "");
    qw_fields_close(b, ']');
    qw_fields_open(b, "errors", '[');
    for (size_t i = 0; i < r->n; i++)
        qw_fields_text(b, NULL, r->outcomes[i].error ? r->outcomes[i].error : "");
    qw_fields_close(b, ']');
}

static void write_arrivals(const qw_load_report *r, qw_buf *b)
{
    const qw_load_arrivals *a = &r->arrivals;
    if (isinf(a->request_rate))
        qw_fields_text(b, "request_rate", "inf");
    else
        qw_fields_number(b, "request_rate", a->request_rate);
    qw_fields_number(b, "burstiness", a->burstiness);
    if (r->max_concurrency > 0)
        qw_fields_count(b, "max_concurrency", r->max_concurrency);
    else
        qw_fields_null(b, "max_concurrency");
    if (a->ramp_up == QW_RAMP_NONE) return;
    qw_fields_text(b, "ramp_up_strategy", a->ramp_up == QW_RAMP_LINEAR ? "linear" : "exponential");
    qw_fields_count(b, "ramp_up_start_rps", a->ramp_start_rps);
    qw_fields_count(b, "ramp_up_end_rps", a->ramp_end_rps);
}

static void write_figures(const qw_load_report *r, bool detailed, qw_buf *b)
{
    const qw_load_metrics *m = &r->metrics;
    qw_fields_number(b, "duration", m->duration_s);
    qw_fields_count(b, "completed", (int64_t)m->completed);
    qw_fields_count(b, "failed", (int64_t)m->failed);
    qw_fields_count(b, "total_input_tokens", m->total_input);
    qw_fields_count(b, "total_output_tokens", m->total_output);
    qw_fields_number(b, "request_throughput", m->request_throughput);
    if (r->options.goodput.is_on)
        qw_fields_number(b, "request_goodput", m->request_goodput);
    else
        qw_fields_null(b, "request_goodput");
    qw_fields_number(b, "output_throughput", m->output_throughput);
    qw_fields_number(b, "total_token_throughput", m->total_token_throughput);
    if (detailed) write_details(r, b);
    qw_fields_number(b, "max_output_tokens_per_s", m->max_output_tokens_per_s);
    qw_fields_count(b, "max_concurrent_requests", m->max_concurrent_requests);
    qw_fields_number(b, "rtfx", 0); // of audio only
}

static void write_rps_changes(const qw_load_report *r, qw_buf *b)
{
    if (r->n_rps_changes == 0) return;
    qw_fields_open(b, "rps_change_events", '[');
    for (size_t i = 0; i < r->n_rps_changes; i++) {
        qw_fields_open(b, NULL, '{');
        qw_fields_count(b, "rps", r->rps_changes[i].rps);
        qw_fields_text(b, "timestamp", r->rps_changes[i].timestamp);
        qw_fields_close(b, '}');
    }
    qw_fields_close(b, ']');
}

static void write_spec(const qw_load_spec_stats *s, qw_buf *b)
{
    qw_fields_number(b, "spec_decode_acceptance_rate", s->acceptance_rate);
    qw_fields_number(b, "spec_decode_acceptance_length", s->acceptance_length);
    qw_fields_count(b, "spec_decode_num_drafts", s->n_drafts);
    qw_fields_count(b, "spec_decode_draft_tokens", s->n_draft_tokens);
    qw_fields_count(b, "spec_decode_accepted_tokens", s->n_accepted_tokens);
    qw_fields_open(b, "spec_decode_per_position_acceptance_rates", '[');
    for (int i = 0; i < s->n_positions; i++) qw_fields_number(b, NULL, s->per_position[i]);
    qw_fields_close(b, ']');
}

static void write_metric(const qw_load_report *r, int k, qw_buf *b)
{
    const qw_load_distribution *d = &r->metrics.metrics[k];
    const char *name = qw_load_metric_names[k];
    char key[80], percentile[40];
    snprintf(key, sizeof key, "mean_%s_ms", name);
    qw_fields_number(b, key, d->mean);
    snprintf(key, sizeof key, "median_%s_ms", name);
    qw_fields_number(b, key, d->median);
    snprintf(key, sizeof key, "std_%s_ms", name);
    qw_fields_number(b, key, d->std);
    for (size_t i = 0; i < r->options.n_percentiles; i++) {
        qw_load_percentile_name(percentile, r->options.percentiles[i]);
        snprintf(key, sizeof key, "p%s_%s_ms", percentile + 1, name);
        qw_fields_number(b, key, d->percentiles[i]);
    }
}

void qw_load_report_write(const qw_load_report *r, bool detailed, qw_buf *b)
{
    qw_fields_open(b, NULL, '{');
    qw_fields_text(b, "date", r->date);
    qw_fields_text(b, "endpoint_type", r->backend);
    qw_fields_text(b, "backend", r->backend);
    put_text(b, "label", r->label);
    put_text(b, "model_id", r->model_id);
    put_text(b, "tokenizer_id", r->tokenizer_id);
    qw_fields_count(b, "num_prompts", r->num_prompts);
    for (size_t i = 0; i < r->n_metadata; i++) {
        const char *text = r->metadata[i];
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(text, "="), text);
        qw_fields_text(b, key, strchr(text, '=') + 1);
    }
    write_arrivals(r, b);
    write_figures(r, detailed, b);
    write_rps_changes(r, b);
    if (r->has_spec) write_spec(&r->spec, b);
    for (int k = 0; k < QW_LOAD_N_METRICS; k++)
        if (r->selected[k]) write_metric(r, k, b);
    qw_fields_close(b, '}');
}
