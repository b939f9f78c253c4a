#ifndef QW_CLI_SERVE_START_H
#define QW_CLI_SERVE_START_H

#include "cli/serve_log.h"
#include "engine/memory_plan.h"
#include "model/model.h"

// What a server says while it starts, in the order of vLLM's lines (cli-and-bench.md 4). Each
// function is one stage; nothing here can fail.

/** First: version and model, what is to be warned about, the arguments, chunked prefill. */
void qw_serve_start_options(const qw_serve_options *o, const qw_program *program);

/** What is known once the engine is there. */
typedef struct qw_engine_facts {
    const qw_memory_plan *plan;
    double load_s;                 /* weights mapped or packed */
    double init_s;                 /* everything from the plan to the first possible step */
    const char *sampling_defaults; /* "{'temperature': 0.6}" of the model's file; NULL: none */
    const char *isa, *dtype;       /* kernels' level, arithmetic */
    int n_threads;
    qw_step_stats steps;
    const char *layers; /* lines of layer format -> kernel -> ISA; NULL: none */
} qw_engine_facts;

/** The weights, the KV cache, the time. */
void qw_serve_start_engine(const qw_serve_options *o, const qw_engine_facts *facts);

/** A route, for the list. */
typedef struct qw_route_name {
    const char *path, *methods; /* "/health", "GET" */
} qw_route_name;

/** The socket is bound: `url` as the server tells it. Up to "Waiting for application startup.". */
void qw_serve_start_listen(const char *url, const qw_route_name *routes, size_t n_routes);
/** Requests are answered at `url`: "Application startup complete.", then the table of what runs. */
void qw_serve_start_complete(const qw_serve_options *o, const qw_engine_facts *facts,
                             const char *url);

/**
 * "{'temperature': 0.6, 'top_k': 20}": what a model's generation_config.json changes, appended to
 * `out`; nothing when it changes nothing or --generation-config is vllm.
 */
void qw_serve_start_sampling(const qw_sampling_defaults *defaults, qw_buf *out);

/** 236416 -> "236,416". */
void qw_serve_group_digits(char out[32], int64_t n);

#endif
