#include "bench/serve_host.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

// Over HTTP

static void log_access(void *ctx, const qw_http_exchange *x, int status)
{
    const qw_serve_host *h = ctx;
    fprintf(h->log, "INFO:     %s - \"%s %s HTTP/%s\" %d %s\n", qw_http_peer(x), qw_http_method(x),
            qw_http_target(x), qw_http_version(x), status, qw_http_status_text(status));
    fflush(h->log);
}

static void *io_main(void *ctx)
{
    qw_serve_host *h = ctx;
    pthread_setname_np(pthread_self(), "qw-io");
    h->error.code = qw_server_run(h->server, &h->error);
    return NULL;
}

static qw_status make_api(qw_serve_host *h, const qw_engine *engine, const qw_frontend *frontend,
                          qw_error *err)
{
    h->name = "bench";
    h->api = (qw_api_config){
        .frontend = frontend,
        .longest_token = qw_api_longest_token(frontend->tokenizer),
        .served_names = &h->name,
        .n_served_names = 1,
        .model_path = h->name,
        .created = (int64_t)time(NULL),
        .max_model_len = qw_engine_plan(engine)->max_model_len,
        .vocab_size = qw_engine_config(engine)->vocab_size,
        .defaults = &h->defaults,
        .max_logprobs = 20,
        .max_n = 16384,
        .response_role = "assistant",
        .stream_interval = 1,
    };
    qw_str template = frontend->chat ? qw_chat_prompt_template(frontend->chat) : QW_STR("");
    return qw_reasoning_parser_init(&h->api.reasoning, "auto", frontend->tokenizer, template, err);
}

static qw_status start_server(qw_serve_host *h, qw_engine *engine, qw_error *err)
{
    // On a slow machine idle clients wait long for the busy ones.
    enum { HOUR_MS = 3600000 };
    const qw_http_options http = {
        .host = "127.0.0.1", .head_timeout_ms = HOUR_MS, .keep_alive_ms = HOUR_MS};
    qw_status st = qw_server_bind(&h->server, &http, err);
    if (st != QW_OK) return st;
    const qw_server_config config = {
        .engine = engine,
        .api = &h->api,
        .version = "bench",
        .n_workers = 2,
        .stall_timeout_s = 300,
        .log_stats_interval_s = 10,
        .record_stats = true,
        .has_prefix_caching = true,
        .log = {.ctx = h, .access = log_access},
    };
    st = qw_server_start(h->server, &config, err);
    if (st != QW_OK) return st;
    h->port = qw_http_server_port(qw_server_http(h->server));
    int e = pthread_create(&h->thread, NULL, io_main, h);
    return e == 0 ? QW_OK : qw_fail(err, QW_ERR_IO, "cannot start the I/O thread: %s", strerror(e));
}

static void release(qw_serve_host *h)
{
    qw_server_free(h->server);
    qw_sampling_params_release(&h->defaults);
    if (h->log) fclose(h->log);
    h->server = NULL;
    h->log = NULL;
}

qw_status qw_serve_host_start(qw_serve_host *h, qw_engine *engine, const qw_frontend *frontend,
                              qw_error *err)
{
    *h = (qw_serve_host){.log = fopen("/dev/null", "we")};
    qw_sampling_params_init(&h->defaults);
    qw_status st =
        h->log ? QW_OK : qw_fail(err, QW_ERR_IO, "cannot open '/dev/null': %s", strerror(errno));
    if (st == QW_OK) st = make_api(h, engine, frontend, err);
    if (st == QW_OK) st = start_server(h, engine, err);
    if (st != QW_OK) release(h);
    return st;
}

qw_status qw_serve_host_stop(qw_serve_host *h, qw_error *err)
{
    qw_server_shutdown(h->server); // with a timeout of 0: at once
    pthread_join(h->thread, NULL);
    release(h);
    if (h->error.code == QW_OK) return QW_OK;
    return qw_fail(err, h->error.code, "%s", h->error.text);
}

// In process

typedef struct in_process {
    sem_t told;
    size_t n_done;
    qw_error error; /* of the first job that failed */
} in_process;

static void on_told(void *ctx)
{
    in_process *p = ctx;
    sem_post(&p->told);
}

static void on_event(void *ctx, const qw_run_event *e)
{
    in_process *p = ctx;
    if (e->kind != QW_RUN_DONE) return;
    p->n_done++;
    if (e->job->status != QW_OK && p->error.code == QW_OK) p->error = e->job->error;
}

static void make_jobs(qw_job *jobs, const qw_serve_prompt *prompts, size_t n, int32_t max_tokens)
{
    for (size_t i = 0; i < n; i++) {
        qw_job *job = &jobs[i];
        job->prompt = prompts[i].ids;
        job->n_prompt = prompts[i].n;
        qw_sampling_params_init(&job->params);
        job->params.temperature = 0;
        job->params.ignore_eos = true;
        job->params.max_tokens = max_tokens;
    }
}

qw_status qw_serve_in_process(double *seconds, qw_engine *engine, const qw_serve_prompt *prompts,
                              size_t n_prompts, int32_t max_tokens, qw_error *err)
{
    qw_job *jobs = qw_mem_calloc(n_prompts, sizeof *jobs);
    if (!jobs) return qw_fail_memory(err, n_prompts * sizeof *jobs, "the requests");
    make_jobs(jobs, prompts, n_prompts, max_tokens);
    in_process p = {0};
    sem_init(&p.told, 0, 0);
    qw_runner *runner;
    qw_status st = qw_runner_new(&runner, engine, on_told, &p, err);
    if (st == QW_OK) {
        int64_t start_ns = qw_clock_ns();
        for (size_t i = 0; i < n_prompts; i++) qw_runner_submit(runner, &jobs[i]);
        while (p.n_done < n_prompts) {
            while (sem_wait(&p.told) != 0) continue;
            (void)qw_runner_drain(runner, on_event, &p);
        }
        *seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
        qw_runner_free(runner);
        if (p.error.code != QW_OK) st = qw_fail(err, p.error.code, "%s", p.error.text);
    }
    for (size_t i = 0; i < n_prompts; i++) qw_sampling_params_release(&jobs[i].params);
    qw_mem_free(jobs);
    sem_destroy(&p.told);
    return st;
}
