#include "cli/top_sample.h"

#include <math.h>

#include "base/mem.h"
#include "format/json.h"
#include "format/prometheus.h"

// Text of a server may hold anything, and a terminal obeys what it is sent.
static void copy_printable(char *out, size_t size, qw_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len && n + 1 < size; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c & 0xC0) == 0x80) continue; // one mark for a whole character
        out[n++] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    out[n] = '\0';
}

// Histograms

static void add_bucket(qw_top_histogram *h, double bound, double count)
{
    if (isnan(bound) || isnan(count)) return;
    int i = 0;
    while (i < h->n && h->bounds[i] < bound) i++;
    if (i < h->n && h->bounds[i] == bound) { // another engine's
        h->counts[i] += count;
        return;
    }
    if (h->n == (int)QW_ARRAY_LEN(h->bounds)) return;
    memmove(h->bounds + i + 1, h->bounds + i, (size_t)(h->n - i) * sizeof *h->bounds);
    memmove(h->counts + i + 1, h->counts + i, (size_t)(h->n - i) * sizeof *h->counts);
    h->bounds[i] = bound;
    h->counts[i] = count;
    h->n++;
}

double qw_top_grown(double now, double before)
{
    return now >= before ? now - before : now;
}

double qw_top_histogram_count(const qw_top_histogram *h)
{
    return h->n > 0 ? h->counts[h->n - 1] : 0;
}

qw_top_histogram qw_top_histogram_grown(const qw_top_histogram *now, const qw_top_histogram *before)
{
    qw_top_histogram out = *now;
    bool comparable = now->n == before->n && memcmp(now->bounds, before->bounds,
                                                    (size_t)now->n * sizeof *now->bounds) == 0;
    for (int i = 0; i < now->n && comparable; i++) comparable = now->counts[i] >= before->counts[i];
    for (int i = 0; i < now->n && comparable; i++) out.counts[i] -= before->counts[i];
    return out;
}

double qw_top_histogram_quantile(const qw_top_histogram *h, double q)
{
    double total = qw_top_histogram_count(h);
    if (!(total > 0)) return (double)NAN;
    double want = q * total;
    int i = 0;
    while (i < h->n - 1 && h->counts[i] < want) i++;
    if (isinf(h->bounds[i])) return i > 0 ? h->bounds[i - 1] : (double)NAN;
    double low = i > 0 ? h->bounds[i - 1] : 0, below = i > 0 ? h->counts[i - 1] : 0;
    double inside = h->counts[i] - below;
    if (!(inside > 0)) return h->bounds[i];
    double share = (want - below) / inside;
    return low + (h->bounds[i] - low) * (share < 0 ? 0 : share > 1 ? 1 : share);
}

// /metrics

#define FIELD(x) offsetof(qw_top_sample, x)

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"vllm:num_requests_running", FIELD(n_running)},
    {"vllm:num_requests_waiting", FIELD(n_waiting)},
    {"vllm:kv_cache_usage_perc", FIELD(kv_usage)},
    {"vllm:generation_tokens_total", FIELD(generation_tokens)},
    {"vllm:prompt_tokens_total", FIELD(prompt_tokens)},
    {"vllm:prefix_cache_queries_total", FIELD(prefix_queries)},
    {"vllm:prefix_cache_hits_total", FIELD(prefix_hits)},
    {"vllm:num_preemptions_total", FIELD(preemptions)},
};

static const struct {
    const char *name;
    size_t offset;
} histograms[] = {
    {"vllm:time_to_first_token_seconds_bucket", FIELD(first_token)},
    {"vllm:request_time_per_output_token_seconds_bucket", FIELD(per_token)},
    {"vllm:inter_token_latency_seconds_bucket", FIELD(between_tokens)},
};

static void take_success(qw_top_sample *s, const qw_prometheus_sample *p)
{
    char reason[32];
    (void)qw_prometheus_label(reason, sizeof reason, p->labels, "finished_reason");
    if (strcmp(reason, "abort") == 0)
        s->n_aborted += p->value;
    else if (strcmp(reason, "error") == 0)
        s->n_failed += p->value;
    else
        s->n_answered += p->value;
}

static void take_number(qw_top_sample *s, const qw_prometheus_sample *p)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(numbers); i++) {
        if (!qw_str_is(p->name, numbers[i].name)) continue;
        *(double *)(void *)((char *)s + numbers[i].offset) += p->value;
        s->has_metrics = true;
        char model[sizeof s->model];
        if (!*s->model && qw_prometheus_label(model, sizeof model, p->labels, "model_name"))
            copy_printable(s->model, sizeof s->model, qw_str_of(model));
    }
}

static void take_bucket(qw_top_sample *s, const qw_prometheus_sample *p)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(histograms); i++) {
        if (!qw_str_is(p->name, histograms[i].name)) continue;
        char bound[40];
        double value;
        (void)qw_prometheus_label(bound, sizeof bound, p->labels, "le");
        if (strcmp(bound, "+Inf") == 0)
            value = (double)INFINITY;
        else if (!qw_str_to_f64(qw_str_of(bound), &value))
            return;
        add_bucket((qw_top_histogram *)(void *)((char *)s + histograms[i].offset), value, p->value);
    }
}

void qw_top_sample_metrics(qw_top_sample *s, qw_str text)
{
    qw_prometheus_sample p;
    for (size_t pos = 0; qw_prometheus_next(&p, text, &pos);) {
        if (!isfinite(p.value)) continue;
        if (qw_str_is(p.name, "vllm:request_success_total")) take_success(s, &p);
        take_number(s, &p);
        take_bucket(s, &p);
    }
}

// /qwench/requests

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key)); // 0 when it is none
}

static void text_of(char *out, size_t size, const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    copy_printable(out, size, json_is_string(v) ? qw_json_str(v) : QW_STR("-"));
}

qw_status qw_top_sample_requests(qw_top_sample *s, const char *text, size_t len, qw_error *err)
{
    json_t *root;
    qw_status st = qw_json_parse(&root, text, len, "the list of requests", err);
    if (st != QW_OK) return st;
    const json_t *data = json_object_get(root, "data");
    size_t n = json_array_size(data);
    qw_top_request *requests = n > 0 ? qw_mem_calloc(n, sizeof *requests) : NULL;
    if (!json_is_array(data))
        st = qw_fail(err, QW_ERR_FORMAT, "the list of requests has no 'data'");
    else if (n > 0 && !requests)
        st = qw_fail_memory(err, n * sizeof *requests, "the list of requests");
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        const json_t *r = json_array_get(data, i);
        qw_top_request *out = &requests[i];
        text_of(out->id, sizeof out->id, r, "id");
        text_of(out->state, sizeof out->state, r, "state");
        out->n_prompt = number_of(r, "prompt_tokens");
        out->n_computed = number_of(r, "computed_tokens");
        out->n_generated = number_of(r, "generated_tokens");
        out->n_blocks = number_of(r, "kv_blocks");
        out->age_s = number_of(r, "age_seconds");
        out->rate = -1;
    }
    if (st == QW_OK) {
        s->has_requests = true;
        s->n_blocks = number_of(root, "kv_blocks");
        s->n_blocks_used = number_of(root, "kv_blocks_used");
        s->requests = requests;
        s->n_requests = n;
    } else {
        qw_mem_free(requests);
    }
    json_decref(root);
    return st;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const qw_top_request *)a)->id, ((const qw_top_request *)b)->id);
}

void qw_top_sample_rates(qw_top_sample *now, const qw_top_sample *before)
{
    double elapsed = (double)(now->time_ns - before->time_ns) / 1e9;
    if (!(elapsed > 0) || now->n_requests == 0 || before->n_requests == 0) return;
    qsort(now->requests, now->n_requests, sizeof *now->requests, by_id);
    qsort(before->requests, before->n_requests, sizeof *before->requests, by_id);
    for (size_t i = 0, k = 0; i < now->n_requests; i++) {
        qw_top_request *r = &now->requests[i];
        while (k < before->n_requests && by_id(&before->requests[k], r) < 0) k++;
        if (k < before->n_requests && by_id(&before->requests[k], r) == 0)
            r->rate = qw_top_grown(r->n_generated, before->requests[k].n_generated) / elapsed;
    }
}

void qw_top_sample_release(qw_top_sample *s)
{
    qw_mem_free(s->requests);
    *s = (qw_top_sample){0};
}
