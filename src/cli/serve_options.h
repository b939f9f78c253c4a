#ifndef QW_CLI_SERVE_OPTIONS_H
#define QW_CLI_SERVE_OPTIONS_H

#include "base/opt.h"
#include "cli/command.h"
#include "cli/explain.h"
#include "cli/model_options.h"
#include "format/json.h"

// The options of `serve`, from the command line, the environment and --config (cli-and-bench.md 1
// to 3), checked and typed. The rows, each with what it does here and why, are in serve_rows_*.c.

typedef enum qw_scheduling_policy {
    QW_SCHEDULING_FCFS,
    QW_SCHEDULING_PRIORITY,
} qw_scheduling_policy;

typedef enum qw_performance_mode {
    QW_PERFORMANCE_BALANCED,
    QW_PERFORMANCE_INTERACTIVITY,
    QW_PERFORMANCE_THROUGHPUT,
} qw_performance_mode;

typedef enum qw_prefix_hash {
    QW_PREFIX_HASH_SHA256,
    QW_PREFIX_HASH_SHA256_CBOR,
    QW_PREFIX_HASH_XXHASH,
    QW_PREFIX_HASH_XXHASH_CBOR,
} qw_prefix_hash;

/** Which steps run from a plan (features 1H). PIECEWISE is a plan here, as FULL is. */
typedef enum qw_cudagraph_mode {
    QW_CUDAGRAPH_NONE,
    QW_CUDAGRAPH_PIECEWISE,
    QW_CUDAGRAPH_FULL,
    QW_CUDAGRAPH_FULL_DECODE_ONLY,
    QW_CUDAGRAPH_FULL_AND_PIECEWISE, /* the default */
} qw_cudagraph_mode;

typedef enum qw_logprobs_mode {
    QW_LOGPROBS_RAW_LOGPROBS,
    QW_LOGPROBS_RAW_LOGITS,
    QW_LOGPROBS_PROCESSED_LOGPROBS,
    QW_LOGPROBS_PROCESSED_LOGITS,
} qw_logprobs_mode;

typedef enum qw_content_format {
    QW_CONTENT_FORMAT_AUTO,
    QW_CONTENT_FORMAT_STRING,
    QW_CONTENT_FORMAT_OPENAI,
} qw_content_format;

typedef enum qw_fingerprint_mode {
    QW_FINGERPRINT_FULL,   /* vllm-<version>[-tpN...]-<8 hex> */
    QW_FINGERPRINT_HASH,   /* the 8 hex digits */
    QW_FINGERPRINT_CUSTOM, /* fingerprint_value */
    QW_FINGERPRINT_NONE,   /* null */
} qw_fingerprint_mode;

/** --uvicorn-log-level: which of the HTTP server's lines are printed. */
typedef enum qw_http_log_level {
    QW_HTTP_LOG_CRITICAL,
    QW_HTTP_LOG_ERROR,
    QW_HTTP_LOG_WARNING,
    QW_HTTP_LOG_INFO,
    QW_HTTP_LOG_DEBUG,
    QW_HTTP_LOG_TRACE,
} qw_http_log_level;

/** --ssl-cert-reqs, numbered as Python's ssl module does. */
typedef enum qw_ssl_cert_reqs {
    QW_SSL_CERT_NONE,
    QW_SSL_CERT_OPTIONAL,
    QW_SSL_CERT_REQUIRED,
} qw_ssl_cert_reqs;

/** VLLM_LOGGING_LEVEL; a line is shown at its level and below. */
typedef enum qw_serve_log_level {
    QW_SERVE_LOG_CRITICAL,
    QW_SERVE_LOG_ERROR,
    QW_SERVE_LOG_WARNING,
    QW_SERVE_LOG_INFO,
    QW_SERVE_LOG_DEBUG,
} qw_serve_log_level;

/** VLLM_LOGGING_COLOR. */
typedef enum qw_log_color {
    QW_LOG_COLOR_AUTO, /* on a terminal, unless NO_COLOR is set */
    QW_LOG_COLOR_NEVER,
    QW_LOG_COLOR_ALWAYS,
} qw_log_color;

/** What was asked for and is checked, but runs on one rank (--tensor-parallel-size ...). */
typedef struct qw_parallel_options {
    int64_t tensor_parallel_size, pipeline_parallel_size, data_parallel_size;
    bool enable_expert_parallel;
} qw_parallel_options;

/**
 * Texts and lists live until qw_serve_options_release. Numbers that may be left to the engine say
 * so; a list is NULL with its count 0 when nothing was given.
 */
typedef struct qw_serve_options {
    /* The model and its memory: hand it to qw_engine_args_make. `model.model` is the directory that
       was found for what the user gave. max_num_seqs and max_num_batched_tokens have serve's
       defaults (2.3) already; max_model_len is 0: the model's own, -1: what fits. */
    qw_model_options model;
    const char *model_name; /* as the user gave it: a directory or a hub id; "tiny": built in */
    const char *const *served_model_names; /* [n_served_model_names], at least one, then NULL; the
                                              first is the response's */
    size_t n_served_model_names;

    /* Engine */
    int64_t seed;
    qw_scheduling_policy scheduling_policy;
    bool enable_chunked_prefill;
    int64_t max_num_partial_prefills, max_long_partial_prefills;
    int64_t long_prefill_token_threshold; /* 0: none */
    bool scheduler_reserve_full_isl;
    bool async_scheduling;
    int performance_mode; /* qw_performance_mode; the limits above have taken it in */
    bool enable_prefix_caching;
    qw_prefix_hash prefix_caching_hash_algo;
    int64_t stream_interval;
    int64_t max_waiting_requests; /* 0: no limit */
    bool enforce_eager;
    qw_cudagraph_mode cudagraph_mode;       /* NONE also by --enforce-eager and -O0 */
    const int64_t *cudagraph_capture_sizes; /* ascending, no duplicates; NULL: the defaults for
                                               max_num_seqs */
    size_t n_cudagraph_capture_sizes;
    int64_t max_cudagraph_capture_size; /* 0: the default, min(max_num_seqs, 512) */
    int64_t max_logprobs;               /* -1: the whole vocabulary */
    int logprobs_mode;                  /* qw_logprobs_mode */
    qw_parallel_options parallel;

    /* Where it listens */
    const char *host; /* NULL: all interfaces */
    int64_t port;
    const char *uds;       /* NULL: TCP; else a path, and host and port do not count */
    const char *root_path; /* "" or "/prefix" */
    const char *ssl_keyfile, *ssl_certfile, *ssl_ca_certs, *ssl_ciphers; /* NULL: not given */
    int64_t ssl_cert_reqs;                                               /* qw_ssl_cert_reqs */
    int64_t timeout_keep_alive_s; /* VLLM_HTTP_TIMEOUT_KEEP_ALIVE */
    double shutdown_timeout_s;

    /* Who may ask */
    const char *const *api_keys; /* [n_api_keys], then NULL; none: everybody */
    size_t n_api_keys;
    bool allow_credentials; /* the three lists end with NULL */
    const char *const *allowed_origins, *const *allowed_methods, *const *allowed_headers;
    size_t n_allowed_origins, n_allowed_methods, n_allowed_headers;

    /* What is answered, and how */
    bool enable_request_id_headers, enable_prompt_tokens_details, enable_force_include_usage;
    bool enable_server_load_tracking, enable_tokenizer_info_endpoint, return_tokens_as_token_ids;
    bool ui;                         /* the web page */
    bool server_dev_mode;            /* VLLM_SERVER_DEV_MODE */
    bool skip_model_name_validation; /* VLLM_SKIP_MODEL_NAME_VALIDATION */
    bool keep_alive_on_engine_death; /* VLLM_KEEP_ALIVE_ON_ENGINE_DEATH */
    int64_t max_n_sequences;         /* VLLM_MAX_N_SEQUENCES: largest n of a request */
    int fingerprint_mode;            /* qw_fingerprint_mode */
    const char *fingerprint_value;   /* NULL unless the mode is custom */

    /* Chat */
    int chat_template_content_format; /* qw_content_format */
    bool trust_request_chat_template;
    json_t *default_chat_template_kwargs; /* object or NULL; owned */
    const char *response_role;
    const char *reasoning_parser; /* "auto", "none" or a parser's name */
    bool enable_auto_tool_choice, exclude_tools_when_tool_choice_none;
    const char *tool_call_parser; /* NULL: none */

    /* What is told */
    int uvicorn_log_level; /* qw_http_log_level */
    bool disable_uvicorn_access_log;
    const char *const *access_log_excluded; /* [n_access_log_excluded] paths */
    size_t n_access_log_excluded;
    bool enable_log_requests, enable_log_outputs;
    int64_t max_log_len; /* characters of a prompt in the log; -1: all */
    bool disable_log_stats;
    double log_stats_interval_s; /* VLLM_LOG_STATS_INTERVAL */
    bool log_json;
    int logging_level;          /* qw_serve_log_level */
    int logging_color;          /* qw_log_color */
    const char *logging_prefix; /* VLLM_LOGGING_PREFIX, in front of every line */

    /* CPUs: model.cpu_threads is the number that was decided on; cpu_bind the CPUs of
       VLLM_CPU_OMP_THREADS_BIND (NULL: all) for qw_thread_plan_bind; thread_why says why. */
    const char *cpu_bind, *thread_why;

    bool is_offline; /* there is no server: defaults of a step are those of vLLM's LLM class */
    bool explain;
    qw_explain records;           /* what became of everything that was given */
    const char *non_default_args; /* "{'model_tag': 'm', 'port': 8004}" for the log's line */
    qw_opts opts;
    qw_arena arena;
} qw_serve_options;

/** A command that runs an engine as `serve` does, but without a server: its own rows beside those
 *  of serve (cli-and-bench.md 7.2, 7.3). */
typedef struct qw_serve_offline {
    const char *summary;
    qw_opt_table tables[2]; /* with their targets */
    size_t n_tables;
} qw_serve_offline;

/** The tables of rows, for the command and its documents; qw_serve_options_parse binds them. */
size_t qw_serve_options_tables(qw_opt_table tables[QW_COMMAND_MAX_TABLES]);

/**
 * Read a command line (argv[0] is skipped), its --config file and the environment. Looks at no
 * model. With o->opts.wants_help nothing else is filled in. QW_ERR_USAGE: what the user wrote is
 * wrong. Release `o` in any case.
 */
QW_MUST_CHECK qw_status qw_serve_options_parse(qw_serve_options *o, const char *program, int argc,
                                               char *const *argv, qw_error *err);
/** The same for a command without a server; `offline` NULL: for serve. */
QW_MUST_CHECK qw_status qw_serve_offline_parse(qw_serve_options *o, const qw_serve_offline *offline,
                                               const char *program, int argc, char *const *argv,
                                               qw_error *err);
/**
 * What needs the files: find the model, check its quantization and a draft model, decide the limits
 * of a step (serve_limits.h) and the compute threads. Loads nothing but config.json.
 */
QW_MUST_CHECK qw_status qw_serve_options_resolve(qw_serve_options *o, qw_error *err);
/** Also of one that is zeroed. */
void qw_serve_options_release(qw_serve_options *o);

/** qw_serve_options_tables, with the rows of `offline` in front; targets are left out. */
size_t qw_serve_offline_tables(qw_opt_table tables[QW_COMMAND_MAX_TABLES],
                               const qw_serve_offline *offline);

/** What the options say about an engine; limits and files are in o->model. */
void qw_serve_options_set_engine(qw_engine_options *out, const qw_serve_options *o);

/**
 * All of this for a command: parse, show the help or the error with the usage, resolve, and under
 * --explain print the records. True: `o` is complete, release it at the end. False: the command is
 * over with *exit_status. Nothing is logged: what is to be told is in o->records.
 */
bool qw_serve_options_read(qw_serve_options *o, const qw_command_call *call, int *exit_status);
/** The same for a command without a server; what is to be told goes to the log. */
bool qw_serve_offline_read(qw_serve_options *o, const qw_serve_offline *offline,
                           const qw_command_call *call, int *exit_status);

#endif
