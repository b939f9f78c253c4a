#include "cli/serve_options.h"
#include "cli/serve_rows.h"

#define FIELD(x) offsetof(qw_serve_options, x)

static const char *const policies[] = {"fcfs", "priority", NULL};
static const char *const hash_algos[] = {"sha256", "sha256_cbor", "xxhash", "xxhash_cbor", NULL};
static const char *const performance_modes[] = {"balanced", "interactivity", "throughput", NULL};
static const char *const logprobs_modes[] = {"raw_logprobs", "raw_logits", "processed_logprobs",
                                             "processed_logits", NULL};
static const char *const runners[] = {"auto", "generate", "pooling", "draft", NULL};
static const char *const executors[] = {"mp", "ray", "uni", "external_launcher", NULL};

#define MODEL "ModelConfig"
#define CACHE "CacheConfig"
#define SCHEDULER "SchedulerConfig"
#define COMPILATION "CompilationConfig"
#define PARALLEL "ParallelConfig"

static const qw_opt rows[] = {
    {"served_model_name", QW_OPT_STRS, FIELD(served_model_names), FIELD(n_served_model_names),
     .group = MODEL, .metavar = "NAME...", .def_note = "the model as given",
     .help = "names that requests may use; the first stands in answers and metrics"},
    {"quantization", QW_OPT_STR, QW_OPT_NO_FIELD, .group = MODEL, .shorts = "q",
     .metavar = "METHOD", .def_note = "as the checkpoint is stored",
     .help = "ascend: an msModelSlim checkpoint (quant_model_description*.json)"},
    {"trust_remote_code", QW_OPT_BOOL, QW_OPT_NO_FIELD, .group = MODEL, .effect = QW_OPT_INERT,
     .why = "no code of a checkpoint is ever run", .help = "run code that comes with a model"},
    {"seed", QW_OPT_INT, FIELD(seed), .group = MODEL, .def = "0",
     .help = "what the random numbers of requests without a seed start from"},
    {"max_logprobs", QW_OPT_INT, FIELD(max_logprobs), .group = MODEL, .def = "20", .min = -1,
     .max = 1 << 20, .help = "most logprobs a request may ask for; -1: the whole vocabulary"},
    {"logprobs_mode", QW_OPT_CHOICE, FIELD(logprobs_mode), .group = MODEL, .def = "raw_logprobs",
     .choices = logprobs_modes, .help = "what is reported as logprobs"},
    {"runner", QW_OPT_CHOICE, QW_OPT_NO_FIELD, .group = MODEL, .def = "auto", .choices = runners,
     .effect = QW_OPT_INERT, .why = "models here generate", .help = "what the model is used for"},
    {"enforce_eager", QW_OPT_BOOL, FIELD(enforce_eager), .group = MODEL,
     .help = "run no step from a plan, as cudagraph_mode NONE"},

    {"enable_prefix_caching", QW_OPT_BOOL, FIELD(enable_prefix_caching), .group = CACHE,
     .def = "true", .help = "reuse the KV blocks of prompts that begin alike"},
    {"prefix_caching_hash_algo", QW_OPT_CHOICE, FIELD(prefix_caching_hash_algo), .group = CACHE,
     .def = "sha256", .choices = hash_algos, .effect = QW_OPT_ADJUSTED,
     .why = "blocks are found by XXH3 and their tokens compared, so that no two prompts are "
            "confused under any algorithm",
     .help = "how blocks of the prefix cache are named"},

    {"scheduling_policy", QW_OPT_CHOICE, FIELD(scheduling_policy), .group = SCHEDULER,
     .def = "fcfs", .choices = policies, .help = "who runs first: in order, or by priority"},
    {"enable_chunked_prefill", QW_OPT_BOOL, FIELD(enable_chunked_prefill), .group = SCHEDULER,
     .def = "true", .help = "compute long prompts in pieces, mixed with decodes"},
    {"max_num_partial_prefills", QW_OPT_INT, FIELD(max_num_partial_prefills), .group = SCHEDULER,
     .def = "1", .min = 1, .max = 65536,
     .help = "most prompts that are computed in pieces at once"},
    {"max_long_partial_prefills", QW_OPT_INT, FIELD(max_long_partial_prefills), .group = SCHEDULER,
     .def = "1", .min = 1, .max = 65536,
     .help = "most of these that are longer than --long-prefill-token-threshold"},
    {"long_prefill_token_threshold", QW_OPT_INT, FIELD(long_prefill_token_threshold),
     .group = SCHEDULER, .def = "0", .min = 0, .max = 1 << 30, .human = true,
     .help = "most tokens of one prompt in a step; 0: no limit of its own"},
    {"scheduler_reserve_full_isl", QW_OPT_BOOL, FIELD(scheduler_reserve_full_isl),
     .group = SCHEDULER, .def = "true",
     .help = "admit a request only when all of its prompt fits into free blocks"},
    {"async_scheduling", QW_OPT_BOOL, FIELD(async_scheduling), .group = SCHEDULER, .def = "true",
     .help = "prepare the next step and send answers while a step runs"},
    {"stream_interval", QW_OPT_INT, FIELD(stream_interval), .group = SCHEDULER, .def = "1",
     .min = 1, .max = 1 << 20, .help = "tokens in a chunk of a stream"},
    {"max_waiting_requests", QW_OPT_INT, FIELD(max_waiting_requests), .group = SCHEDULER,
     .def = "0", .min = 0, .max = 1 << 30, .def_note = "no limit",
     .help = "most requests that wait; the next one is answered 429"},
    {"performance_mode", QW_OPT_CHOICE, FIELD(performance_mode), .group = SCHEDULER,
     .def = "balanced", .choices = performance_modes,
     .help = "throughput doubles --max-num-seqs and --max-num-batched-tokens where not given"},

    {"compilation_config", QW_OPT_JSON, QW_OPT_NO_FIELD, .group = COMPILATION, .shorts = "cc",
     .help = "step plans: cudagraph_mode, cudagraph_capture_sizes, max_cudagraph_capture_size"},
    {"cudagraph_capture_sizes", QW_OPT_INTS, QW_OPT_NO_FIELD, .group = COMPILATION,
     .help = "batch sizes that get a step plan"},
    {"max_cudagraph_capture_size", QW_OPT_INT, FIELD(max_cudagraph_capture_size),
     .group = COMPILATION, .def = "0", .min = 0, .max = 65536, .def_note = "by --max-num-seqs",
     .help = "largest batch size with a step plan"},
    {"optimization_level", QW_OPT_INT, QW_OPT_NO_FIELD, .group = COMPILATION, .shorts = "O",
     .min = 0, .max = 3, .effect = QW_OPT_ADJUSTED,
     .why = "levels 1 to 3 are one: steps run from plans, as without the option",
     .help = "0: no step plans"},

    {"tensor_parallel_size", QW_OPT_INT, FIELD(parallel.tensor_parallel_size), .group = PARALLEL,
     .shorts = "tp", .def = "1", .min = 1, .max = 1024,
     .help = "ranks that share each layer; 1 rank computes what all would"},
    {"pipeline_parallel_size", QW_OPT_INT, FIELD(parallel.pipeline_parallel_size),
     .group = PARALLEL, .shorts = "pp", .def = "1", .min = 1, .max = 1024,
     .help = "ranks that share the layers among them; 1 rank has all"},
    {"data_parallel_size", QW_OPT_INT, FIELD(parallel.data_parallel_size), .group = PARALLEL,
     .shorts = "dp", .def = "1", .min = 1, .max = 1024,
     .help = "copies of the model; 1 serves all"},
    {"enable_expert_parallel", QW_OPT_BOOL, FIELD(parallel.enable_expert_parallel),
     .group = PARALLEL, .shorts = "ep", .effect = QW_OPT_ADJUSTED,
     .why = "1 rank: it holds all experts", .help = "share experts among ranks"},
    {"distributed_executor_backend", QW_OPT_CHOICE, QW_OPT_NO_FIELD, .group = PARALLEL,
     .choices = executors, .effect = QW_OPT_INERT, .why = "1 rank runs in this process",
     .help = "how ranks are started"},
    {"speculative_config", QW_OPT_JSON, QW_OPT_NO_FIELD, .group = "VllmConfig", .shorts = "sc",
     .help = "drafts: '{\"method\": \"eagle3\", \"model\": DIR, \"num_speculative_tokens\": 3}'"},
    {"additional_config", QW_OPT_JSON, QW_OPT_NO_FIELD, .group = "VllmConfig",
     .help = "keys of vLLM-Ascend; --explain tells what each does"},
};

const qw_opt *qw_serve_engine_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}
