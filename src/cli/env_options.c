#include "cli/env_options.h"

#include <strings.h>

#include "base/nearest.h"

extern char **environ;

/** What a variable holds, and the C type of its field. */
typedef enum env_type {
    ENV_ANY,    /* not read here */
    ENV_BOOL,   /* bool: 0, 1, true, false */
    ENV_INT,    /* int64_t, at least 0 */
    ENV_NUMBER, /* double, at least 0 */
    ENV_TEXT,   /* const char *, borrowed from the environment */
    ENV_LEVEL,  /* int: qw_serve_log_level */
    ENV_COLOR,  /* int: qw_log_color */
} env_type;

typedef struct env_row {
    const char *name; /* a '*' at the end: all that begin so */
    env_type type;
    qw_opt_effect effect;
    const char *why;
    size_t offset; /* in qw_serve_options, unless ENV_ANY */
} env_row;

#define FIELD(x) offsetof(qw_serve_options, x)
#define GPU "it is for accelerators; this computes on the CPU"
#define VLLM_OWN "it is about the inside of vLLM"
#define NO_MEDIA "not built yet: models here take text only"
#define NO_HUB "nothing is downloaded"

// Exact names first; a prefix takes what they left.
static const env_row rows[] = {
    {"VLLM_API_KEY", ENV_ANY, QW_OPT_ACTIVE, "the key that requests must bring, without --api-key",
     0},
    {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE", ENV_INT, QW_OPT_ACTIVE,
     "seconds that an idle connection is kept", FIELD(timeout_keep_alive_s)},
    {"VLLM_SERVER_DEV_MODE", ENV_BOOL, QW_OPT_INERT, "POST /reset_prefix_cache is always there",
     FIELD(server_dev_mode)},
    {"VLLM_MAX_N_SEQUENCES", ENV_INT, QW_OPT_ACTIVE, "largest n of a request",
     FIELD(max_n_sequences)},
    {"VLLM_SKIP_MODEL_NAME_VALIDATION", ENV_BOOL, QW_OPT_ACTIVE, "requests may name any model",
     FIELD(skip_model_name_validation)},
    {"VLLM_ALLOW_LONG_MAX_MODEL_LEN", ENV_ANY, QW_OPT_ACTIVE,
     "1 allows contexts that the model was not made for", 0},
    {"VLLM_KEEP_ALIVE_ON_ENGINE_DEATH", ENV_BOOL, QW_OPT_INERT,
     "the engine is a thread of the server and cannot end without it",
     FIELD(keep_alive_on_engine_death)},
    {"VLLM_LOGGING_LEVEL", ENV_LEVEL, QW_OPT_ACTIVE, "the loudest level that is shown",
     FIELD(logging_level)},
    {"VLLM_LOGGING_PREFIX", ENV_TEXT, QW_OPT_ACTIVE, "stands in front of every line",
     FIELD(logging_prefix)},
    {"VLLM_LOGGING_COLOR", ENV_COLOR, QW_OPT_ACTIVE, "levels in colour: 0 never, 1 always",
     FIELD(logging_color)},
    {"VLLM_LOGGING_STREAM", ENV_ANY, QW_OPT_ADJUSTED, "all lines go to standard error", 0},
    {"VLLM_LOGGING_CONFIG_PATH", ENV_ANY, QW_OPT_WARNED,
     "it configures Python's logging; VLLM_LOGGING_LEVEL and --log-json work here", 0},
    {"VLLM_CONFIGURE_LOGGING", ENV_ANY, QW_OPT_INERT, "lines have one form", 0},
    {"VLLM_LOG_STATS_INTERVAL", ENV_NUMBER, QW_OPT_ACTIVE,
     "seconds between two lines of statistics", FIELD(log_stats_interval_s)},
    {"VLLM_DISABLE_LOG_LOGO", ENV_ANY, QW_OPT_INERT, "no logo is shown", 0},
    {"VLLM_USE_V1", ENV_ANY, QW_OPT_INERT, "there is one engine", 0},
    {"VLLM_USE_MODELSCOPE", ENV_ANY, QW_OPT_ADJUSTED,
     "the local ModelScope cache is looked into first; nothing is downloaded", 0},
    {"VLLM_CPU_KVCACHE_SPACE", ENV_ANY, QW_OPT_ACTIVE,
     "GiB of KV cache, without --kv-cache-memory-bytes", 0},
    {"VLLM_CPU_OMP_THREADS_BIND", ENV_ANY, QW_OPT_ACTIVE, "the CPUs that compute", 0},
    {"VLLM_CPU_NUM_OF_RESERVED_CPU", ENV_ANY, QW_OPT_ACTIVE, "cores that are left to others", 0},
    {"VLLM_HOST_IP", ENV_ANY, QW_OPT_INERT, "all runs on this host; --host says where to listen",
     0},
    {"VLLM_PORT", ENV_ANY, QW_OPT_INERT, "it is vLLM's internal port; --port is the server's", 0},
    {"VLLM_IMAGE_FETCH_TIMEOUT", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_VIDEO_FETCH_TIMEOUT", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_AUDIO_FETCH_TIMEOUT", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_VIDEO_LOADER_BACKEND", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_MEDIA_*", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_MAX_IMAGE_*", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_MAX_AUDIO_*", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_MAX_MEDIA_*", ENV_ANY, QW_OPT_INERT, NO_MEDIA, 0},
    {"VLLM_BATCH_INVARIANT", ENV_ANY, QW_OPT_ACTIVE,
     "answers never depend on the batch, with it or without", 0},
    {"VLLM_NO_USAGE_STATS", ENV_ANY, QW_OPT_ACTIVE, "nothing is ever reported", 0},
    {"VLLM_DO_NOT_TRACK", ENV_ANY, QW_OPT_ACTIVE, "nothing is ever reported", 0},
    {"VLLM_USAGE_*", ENV_ANY, QW_OPT_INERT, "nothing is ever reported", 0},
    {"VLLM_PLUGINS", ENV_ANY, QW_OPT_INERT, "there are no plugins", 0},
    {"VLLM_TARGET_DEVICE", ENV_ANY, QW_OPT_INERT, "this computes on the CPU", 0},
    {"VLLM_ATTENTION_BACKEND", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_WORKER_MULTIPROC_METHOD", ENV_ANY, QW_OPT_INERT, "there is one process", 0},
    {"VLLM_ENABLE_V1_MULTIPROCESSING", ENV_ANY, QW_OPT_INERT, "there is one process", 0},
    {"VLLM_CACHE_ROOT", ENV_ANY, QW_OPT_INERT, "XDG_CACHE_HOME and --pack-cache say where", 0},
    {"VLLM_CONFIG_ROOT", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_VERSION", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_TRACE_FUNCTION", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_RPC_TIMEOUT", ENV_ANY, QW_OPT_INERT, "there is one process", 0},
    {"VLLM_RPC_BASE_PATH", ENV_ANY, QW_OPT_INERT, "there is one process", 0},
    {"VLLM_ENGINE_ITERATION_TIMEOUT_S", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_ENGINE_READY_TIMEOUT_S", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_ALLOW_RUNTIME_LORA_UPDATING", ENV_ANY, QW_OPT_INERT, "there are no LoRA adapters", 0},
    {"VLLM_USE_PRECOMPILED", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_USE_V2_MODEL_RUNNER", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_USE_FLASHINFER_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_USE_DEEP_GEMM*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_USE_TRITON_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_USE_RAY_*", ENV_ANY, QW_OPT_INERT, "there is no Ray", 0},
    {"VLLM_ASCEND_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_FLASHINFER_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_FLASH_ATTN_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_ROCM_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_XPU_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_TPU_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_XLA_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_NCCL_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_DEEPEP*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_TRITON_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"VLLM_DP_*", ENV_ANY, QW_OPT_INERT, "1 rank runs in this process", 0},
    {"VLLM_RAY_*", ENV_ANY, QW_OPT_INERT, "there is no Ray", 0},
    {"VLLM_LORA_*", ENV_ANY, QW_OPT_INERT, "there are no LoRA adapters", 0},
    {"VLLM_NIXL_*", ENV_ANY, QW_OPT_INERT, "KV caches are not sent to other servers", 0},
    {"VLLM_MOONCAKE_*", ENV_ANY, QW_OPT_INERT, "KV caches are not sent to other servers", 0},
    {"VLLM_DEBUG_*", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_TEST_*", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},
    {"VLLM_BUILD_*", ENV_ANY, QW_OPT_INERT, VLLM_OWN, 0},

    {"OMP_NUM_THREADS", ENV_ANY, QW_OPT_ACTIVE, "compute threads", 0},
    {"OMP_PROC_BIND", ENV_ANY, QW_OPT_INERT, "compute threads are bound by this program", 0},
    {"MODELSCOPE_CACHE", ENV_ANY, QW_OPT_ACTIVE, "hub ids are looked for there", 0},
    {"HF_HOME", ENV_ANY, QW_OPT_ACTIVE, "hub ids are looked for there", 0},
    {"HF_HUB_CACHE", ENV_ANY, QW_OPT_ACTIVE, "hub ids are looked for there", 0},
    {"HF_HUB_OFFLINE", ENV_ANY, QW_OPT_ACTIVE, "nothing is ever downloaded", 0},
    {"HF_TOKEN", ENV_ANY, QW_OPT_INERT, NO_HUB, 0},
    {"ASCEND_RT_VISIBLE_DEVICES", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"CUDA_VISIBLE_DEVICES", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"PYTORCH_NPU_ALLOC_CONF", ENV_ANY, QW_OPT_INERT, "memory is reserved once and never fragments",
     0},
    {"PYTORCH_CUDA_ALLOC_CONF", ENV_ANY, QW_OPT_INERT,
     "memory is reserved once and never fragments", 0},
    {"TASK_QUEUE_ENABLE", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"HCCL_*", ENV_ANY, QW_OPT_INERT, "1 rank: nothing is communicated", 0},
    {"LCCL_*", ENV_ANY, QW_OPT_INERT, "1 rank: nothing is communicated", 0},
    {"ATB_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"CPU_AFFINITY_CONF", ENV_ANY, QW_OPT_INERT, "compute threads are bound by this program", 0},
    {"ASCEND_*", ENV_ANY, QW_OPT_INERT, GPU, 0},
    {"DYNAMIC_EPLB", ENV_ANY, QW_OPT_INERT, "1 rank holds all experts", 0},
    {"MSMONITOR_USE_DAEMON", ENV_ANY, QW_OPT_INERT, "/metrics has the numbers", 0},
    {"SAVE_TO_PYTORCH_BENCHMARK_FORMAT", ENV_ANY, QW_OPT_INERT, "it is for benchmarks", 0},
};

// Set by the installations of these tools in every shell; not worth a word.
static bool is_installation(const char *name)
{
    static const char *const names[] = {"ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME",
                                        "ASCEND_OPP_PATH", "ASCEND_AICPU_PATH"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static const env_row *find_row(const char *name)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].name) - 1;
        if (rows[i].name[len] == '*' && strncmp(rows[i].name, name, len) == 0) return &rows[i];
    }
    return NULL;
}

static qw_status warn_unknown(qw_serve_options *o, const char *name, qw_error *err)
{
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(name));
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++)
        if (!strchr(rows[i].name, '*')) qw_nearest_offer(&near, rows[i].name);
    if (near.name)
        return qw_explain_warn(&o->records, err,
                               "Unknown vLLM environment variable detected: %.100s (did you mean "
                               "%s?)",
                               name, near.name);
    return qw_explain_warn(&o->records, err, "Unknown vLLM environment variable detected: %.100s",
                           name);
}

static bool parse_bool(const char *text, bool *out)
{
    int64_t n;
    if (qw_str_to_i64(qw_str_of(text), &n))
        *out = n != 0;
    else if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
        *out = strcasecmp(text, "true") == 0;
    else
        return false;
    return true;
}

static bool parse_level(const char *text, int *out)
{
    static const char *const names[] = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++)
        if (strcasecmp(names[i], text) == 0) return *out = (int)i, true;
    if (strcasecmp(text, "WARN") == 0) return *out = QW_SERVE_LOG_WARNING, true;
    return false;
}

static bool parse_color(const char *text, int *out)
{
    static const char *const names[] = {"auto", "0", "1"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++)
        if (strcasecmp(names[i], text) == 0) return *out = (int)i, true;
    return false;
}

static const char *const type_words[] = {
    [ENV_BOOL] = "0 or 1",
    [ENV_INT] = "an integer of at least 0",
    [ENV_NUMBER] = "a number of at least 0",
    [ENV_LEVEL] = "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    [ENV_COLOR] = "auto, 0 or 1",
};

static bool store(qw_serve_options *o, const env_row *row, const char *text)
{
    char *field = (char *)o + row->offset;
    int64_t i = 0;
    double d = 0;
    int n = 0;
    bool b = false;
    switch (row->type) {
    case ENV_ANY: return true;
    case ENV_BOOL: return parse_bool(text, &b) && memcpy(field, &b, sizeof b);
    case ENV_INT:
        return qw_str_to_i64(qw_str_of(text), &i) && i >= 0 && memcpy(field, &i, sizeof i);
    case ENV_NUMBER:
        return qw_str_to_f64(qw_str_of(text), &d) && d >= 0 && memcpy(field, &d, sizeof d);
    case ENV_TEXT: return memcpy(field, &text, sizeof text);
    case ENV_LEVEL: return parse_level(text, &n) && memcpy(field, &n, sizeof n);
    case ENV_COLOR: return parse_color(text, &n) && memcpy(field, &n, sizeof n);
    }
    return false;
}

static qw_status read_variable(qw_serve_options *o, const char *name, const char *value,
                               qw_error *err)
{
    const env_row *row = find_row(name);
    if (!row) return strncmp(name, "VLLM_", 5) == 0 ? warn_unknown(o, name, err) : QW_OK;
    if (is_installation(name) || *value == '\0') return QW_OK;
    if (!store(o, row, value))
        return qw_fail(err, QW_ERR_USAGE,
                       "environment variable %s: invalid value '%.60s': expected %s", name, value,
                       type_words[row->type]);
    bool secret = strcmp(name, "VLLM_API_KEY") == 0 || strcmp(name, "HF_TOKEN") == 0;
    qw_status st = qw_explain_add(&o->records, err, name, secret ? "***" : value, QW_OPT_FROM_ENV,
                                  row->effect, "%s", row->why);
    if (st == QW_OK && row->effect == QW_OPT_WARNED)
        st = qw_explain_warn(&o->records, err, "%s has no effect: %s", name, row->why);
    if (st == QW_OK && strcmp(name, "VLLM_USE_V1") == 0 && strcmp(value, "0") == 0)
        st = qw_explain_warn(&o->records, err,
                             "VLLM_USE_V1=0 has no effect: there is one engine, and it works as V1 "
                             "does");
    return st;
}

qw_status qw_env_options_read(qw_serve_options *o, qw_error *err)
{
    for (char **e = environ; *e; e++) {
        char name[128];
        size_t len = strcspn(*e, "=");
        if (len >= sizeof name || (*e)[len] != '=') continue;
        memcpy(name, *e, len);
        name[len] = '\0';
        qw_status st = read_variable(o, name, *e + len + 1, err);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}
