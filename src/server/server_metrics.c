// From what the engine tells to /metrics and to the periodic line of the log.

#include "base/clock.h"
#include "server/server_internal.h"

static void label_int(qw_metrics_label *label, char text[24], const char *name, int64_t value)
{
    snprintf(text, 24, "%lld", (long long)value);
    *label = (qw_metrics_label){name, text};
}

qw_status qw_server_start_metrics(qw_server *s, qw_error *err)
{
    if (!s->config.record_stats) return QW_OK;
    const qw_memory_plan *p = qw_engine_plan(s->config.engine);
    qw_metrics_label labels[5];
    char texts[4][24];
    label_int(&labels[0], texts[0], "block_size", p->in.block_size);
    label_int(&labels[1], texts[1], "num_gpu_blocks", p->n_blocks);
    label_int(&labels[2], texts[2], "kv_cache_memory_bytes", (int64_t)p->kv);
    snprintf(texts[3], sizeof texts[3], "%g", p->in.memory_fraction);
    labels[3] = (qw_metrics_label){"gpu_memory_utilization", texts[3]};
    labels[4] = (qw_metrics_label){"enable_prefix_caching",
                                   s->config.has_prefix_caching ? "True" : "False"};
    return qw_metrics_new(&s->metrics, s->config.api->served_names[0], s->config.api->max_model_len,
                          labels, QW_ARRAY_LEN(labels), s->config.api->created, err);
}

// What the engine has counted since the last look, and how it stands now.
static qw_metrics_step look(qw_server *s)
{
    qw_engine_stats now, *was = &s->noted;
    qw_runner_stats(s->runner, &now);
    qw_metrics_step step = {
        .n_running = now.n_running,
        .n_waiting = now.n_waiting,
        .kv_usage = now.n_blocks > 0 ? (double)now.n_blocks_used / now.n_blocks : 0,
        .n_preemptions = (int64_t)(now.n_preemptions - was->n_preemptions),
        .n_prefix_queries = (int64_t)(now.n_prefix_queries - was->n_prefix_queries),
        .n_prefix_hits = (int64_t)(now.n_prefix_hits - was->n_prefix_hits),
    };
    *was = now;
    return step;
}

void qw_server_note_step(qw_server *s, const qw_run_event *e)
{
    if (!s->metrics) return;
    qw_metrics_step step = look(s);
    step.n_prompt_tokens = e->n_prompt_tokens;
    step.n_generated_tokens = e->n_generated;
    qw_metrics_observe_step(s->metrics, &step);
}

void qw_server_write_metrics(qw_server *s, qw_buf *out)
{
    if (!s->metrics) return;
    qw_metrics_step step = look(s);
    qw_metrics_observe_step(s->metrics, &step);
    qw_metrics_write(s->metrics, out);
}

void qw_server_say_stats(void *server)
{
    qw_server *s = server;
    char line[512];
    qw_metrics_step step = look(s);
    qw_metrics_observe_step(s->metrics, &step);
    if (qw_metrics_stats_line(s->metrics, &s->interval, qw_clock_ns(), line, sizeof line) &&
        s->config.log.line)
        s->config.log.line(s->config.log.ctx, false, line);
}
