#include "cli/serve_start.h"

#include <unistd.h>

void qw_serve_group_digits(char out[32], int64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n), at = 0;
    for (int i = 0; i < len; i++) {
        out[at++] = digits[i];
        int left = len - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-') out[at++] = ',';
    }
    out[at] = '\0';
}

void qw_serve_start_options(const qw_serve_options *o, const qw_program *program)
{
    if (strcmp(program->name, "vllm") == 0)
        QW_SERVE_LOG(QW_SERVE_LOG_INFO, "vLLM API server version %s, serving model %s",
                     program->version, o->model_name);
    else
        QW_SERVE_LOG(QW_SERVE_LOG_INFO, "%s, serving model %s", program->version_line,
                     o->model_name);
    for (size_t i = 0; i < o->records.n_warnings; i++)
        QW_SERVE_LOG(QW_SERVE_LOG_WARNING, "%s", o->records.warnings[i]);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "non-default args: %s", o->non_default_args);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Resolved model to '%s'", o->model.model);
    if (o->enable_chunked_prefill)
        QW_SERVE_LOG(QW_SERVE_LOG_INFO,
                     "Chunked prefill is enabled with max_num_batched_tokens=%" PRId64 ".",
                     o->model.max_num_batched_tokens);
}

static double gib(size_t bytes)
{
    return (double)bytes / (double)((size_t)1 << 30);
}

void qw_serve_start_engine(const qw_serve_options *o, const qw_engine_facts *f)
{
    const qw_memory_plan *p = f->plan;
    int64_t n_tokens = (int64_t)p->n_blocks * p->in.block_size;
    int32_t blocks_each = (p->max_model_len + p->in.block_size - 1) / p->in.block_size;
    char tokens[32], length[32];
    qw_serve_group_digits(tokens, n_tokens);
    qw_serve_group_digits(length, p->max_model_len);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Using max model len %d", p->max_model_len);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Loading weights took %.2f seconds", f->load_s);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Model loading took %.2f GiB memory and %.6f seconds",
                 gib(p->in.weights), f->load_s);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "GPU KV cache size: %s tokens", tokens);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Maximum concurrency for %s tokens per request: %.2fx", length,
                 blocks_each > 0 ? (double)p->n_blocks / blocks_each : 0.0);
    if (f->steps.n_plans > 0)
        QW_SERVE_LOG(QW_SERVE_LOG_INFO,
                     "Graph capturing finished in %.3f secs, took %.2f MiB: %zu step plans",
                     (double)f->steps.build_ns / 1e9, (double)f->steps.plan_bytes / 1048576,
                     f->steps.n_plans);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO,
                 "init engine (profile, create kv cache, warmup model) took %.2f s", f->init_s);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Supported tasks: ['generate']");
    const char *from = o->model.generation_config;
    bool own_dir = from && strcmp(from, "auto") != 0;
    if (f->sampling_defaults && *f->sampling_defaults)
        QW_SERVE_LOG(QW_SERVE_LOG_WARNING,
                     "Default vLLM sampling parameters have been overridden by %s "
                     "`generation_config.json`: `%s`. If this is not intended, please relaunch "
                     "vLLM instance with `--generation-config vllm`.",
                     own_dir ? "the given" : "the model's", f->sampling_defaults);
}

void qw_serve_start_listen(const char *url, const qw_route_name *routes, size_t n_routes)
{
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Starting vLLM server on %s", url);
    QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Available routes are:");
    for (size_t i = 0; i < n_routes; i++)
        QW_SERVE_LOG(QW_SERVE_LOG_INFO, "Route: %s, Methods: %s", routes[i].path,
                     routes[i].methods);
    qw_serve_log_http(QW_HTTP_LOG_INFO, "Started server process [%d]", (int)getpid());
    qw_serve_log_http(QW_HTTP_LOG_INFO, "Waiting for application startup.");
}

void qw_serve_start_complete(const qw_serve_options *o, const qw_engine_facts *f, const char *url)
{
    qw_serve_log_http(QW_HTTP_LOG_INFO, "Application startup complete.");
    // Scripts wait for this line too.
    qw_serve_log_http(QW_HTTP_LOG_INFO, "Uvicorn running on %s (Press CTRL+C to quit)", url);
    qw_buf table;
    qw_buf_init(&table, (size_t)1 << 20);
    qw_buf_printf(&table, "model\n  %s from '%s', dtype %s, kernels %s\n", o->model_name,
                  o->model.model, f->dtype, f->isa);
    if (f->layers) qw_buf_puts(&table, f->layers);
    qw_memory_plan_print(f->plan, &table);
    char tokens[32];
    qw_serve_group_digits(tokens, (int64_t)f->plan->n_blocks * f->plan->in.block_size);
    qw_buf_printf(&table, "  KV capacity     %9s tokens\n", tokens);
    qw_buf_printf(&table, "threads\n  %d compute (%s)%s%s; 1 schedules, 1 serves\n", f->n_threads,
                  o->thread_why, o->cpu_bind ? " on CPUs " : "", o->cpu_bind ? o->cpu_bind : "");
    qw_buf options;
    qw_buf_init(&options, (size_t)1 << 20);
    qw_explain_print(&o->records, true, &options);
    if (options.len > 0) qw_buf_printf(&table, "options ignored or adjusted\n%s", options.data);
    if (table.data) QW_SERVE_LOG(QW_SERVE_LOG_INFO, "%s", table.data);
    qw_buf_release(&options);
    qw_buf_release(&table);
}

static void put_number(qw_buf *out, bool has, const char *name, double value)
{
    char text[32];
    if (!has) return;
    (void)qw_str_from_f64(text, value);
    qw_buf_printf(out, "%s'%s': %s", out->len > 0 && out->data[out->len - 1] != '{' ? ", " : "",
                  name, text);
}

static void put_count(qw_buf *out, bool has, const char *name, int64_t value)
{
    if (!has) return;
    qw_buf_printf(out, "%s'%s': %" PRId64,
                  out->len > 0 && out->data[out->len - 1] != '{' ? ", " : "", name, value);
}

void qw_serve_start_sampling(const qw_sampling_defaults *d, qw_buf *out)
{
    if (!d->has_temperature && !d->has_top_p && !d->has_top_k && !d->has_min_p &&
        !d->has_repetition_penalty && !d->has_max_new_tokens)
        return;
    qw_buf_putc(out, '{');
    put_number(out, d->has_repetition_penalty, "repetition_penalty", d->repetition_penalty);
    put_number(out, d->has_temperature, "temperature", d->temperature);
    put_count(out, d->has_top_k, "top_k", d->top_k);
    put_number(out, d->has_top_p, "top_p", d->top_p);
    put_number(out, d->has_min_p, "min_p", d->min_p);
    put_count(out, d->has_max_new_tokens, "max_tokens", d->max_new_tokens);
    qw_buf_putc(out, '}');
}
