#include "cli/model_options.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/model_resolver.h"
#include "cli/share.h"
#include "format/opt_json.h"

#define FIELD(x) offsetof(qw_model_options, x)

static const char *const load_formats[] = {"auto", "safetensors", "dummy", NULL};
static const char *const dtypes[] = {"auto", "bfloat16", "float32", "float16",
                                     "half", "float",    NULL};
static const char *const generation_words[] = {"auto", "vllm", NULL};
static const char *const dummy_quantizations[] = {
    "none",      "w8a8",      "w8a8-dynamic", "w8a16",          "w4a8",
    "w4a8-g128", "w4a8-g256", "w4a4",         "w4a4-flatquant", NULL};
static const char *const head_dtypes[] = {"auto", "int8", "float", NULL};
static const char *const kv_dtypes[] = {"auto", "bfloat16", "float32", "int8", NULL};

// vLLM's names for the groups: `serve` has these rows too.
#define MODEL_GROUP "ModelConfig"
#define LOAD_GROUP "LoadConfig"
#define CACHE_GROUP "CacheConfig"
#define SCHEDULER_GROUP "SchedulerConfig"
#define CPU_GROUP "CPU"

static const qw_opt rows[] = {
    {"model", QW_OPT_STR, FIELD(model), .group = MODEL_GROUP, .positional = true,
     .metavar = "MODEL_DIR", .def_note = "the built-in model",
     .help = "checkpoint directory: config.json and safetensors files; or a hub id, ORG/NAME, of a "
             "model in a local cache"},
    {"tokenizer", QW_OPT_STR, FIELD(tokenizer), .group = MODEL_GROUP, .metavar = "DIR",
     .def_note = "MODEL_DIR", .help = "directory with tokenizer.json"},
    {"chat_template", QW_OPT_STR, FIELD(chat_template), .group = "Frontend", .metavar = "FILE",
     .def_note = "the model's", .help = "chat template: a file, or the template itself"},
    {"download_dir", QW_OPT_STR, FIELD(download_dir), .group = LOAD_GROUP, .metavar = "DIR",
     .help = "one more local hub cache to look for a hub id in; nothing is ever downloaded"},
    {"revision", QW_OPT_STR, FIELD(revision), .group = MODEL_GROUP, .metavar = "NAME",
     .help = "branch, tag or commit of a hub id in a local cache"},
    {"load_format", QW_OPT_CHOICE, FIELD(load_format), .def = "auto", .choices = load_formats,
     .group = LOAD_GROUP,
     .help = "dummy: made-up weights, only config.json is needed (and the tokenizer, for text)"},
    {"dummy_seed", QW_OPT_INT, FIELD(dummy_seed), .def = "0", .min = 0, .max = 9007199254740992.0,
     .group = LOAD_GROUP, .help = "which weights --load-format dummy makes up"},
    {"dummy_quantization", QW_OPT_CHOICE, FIELD(dummy_quantization), .def = "none",
     .choices = dummy_quantizations, .group = LOAD_GROUP,
     .help = "how the layers that --load-format dummy makes up are stored; w8a8: static input "
             "scales"},
    {"lm_head_dtype", QW_OPT_CHOICE, FIELD(lm_head_dtype), .def = "auto", .choices = head_dtypes,
     .group = MODEL_GROUP,
     .help = "int8: the head's float weights are quantized row by row at loading, which halves "
             "what a step reads for them and changes logits; float: as stored; auto: int8 for a "
             "quantized model whose description does not name the head"},
    {"dtype", QW_OPT_CHOICE, FIELD(dtype), .def = "auto", .choices = dtypes, .group = MODEL_GROUP,
     .help = "precision of activations; float32 is the accuracy reference"},
    {"hf_overrides", QW_OPT_JSON, FIELD(hf_overrides), .group = MODEL_GROUP,
     .help = "members to replace in config.json"},
    {"generation_config", QW_OPT_STR, FIELD(generation_config), .def = "auto", .group = MODEL_GROUP,
     .choices = generation_words, .metavar = "auto|vllm|DIR",
     .help = "auto: the model's generation_config.json gives the sampling defaults; vllm: neutral "
             "ones; a directory: its generation_config.json gives them"},
    {"override_generation_config", QW_OPT_JSON, FIELD(override_generation_config),
     .group = MODEL_GROUP, .help = "members to replace in generation_config.json"},
    {"max_model_len", QW_OPT_INT, FIELD(max_model_len), .def = "0", .min = -1, .max = 1 << 30,
     .word = "auto", .word_value = -1, .human = true, .group = MODEL_GROUP,
     .def_note = "the model's own", .help = "context length in tokens; auto or -1: what fits"},
    {"max_num_seqs", QW_OPT_INT, FIELD(max_num_seqs), .def = "0", .min = 0, .max = 65536,
     .group = SCHEDULER_GROUP, .def_note = "256", .help = "most sequences in a step"},
    {"max_num_batched_tokens", QW_OPT_INT, FIELD(max_num_batched_tokens), .def = "0", .min = 0,
     .max = 1 << 20, .human = true, .group = SCHEDULER_GROUP, .def_note = "2048",
     .help = "most tokens computed in a step; longer prompts are computed in pieces"},
    {"block_size", QW_OPT_INT, FIELD(block_size), .def = "16", .min = 16, .max = 128,
     .group = CACHE_GROUP, .help = "positions in a KV block, a multiple of 16"},
    {"gpu_memory_utilization", QW_OPT_FLOAT, FIELD(gpu_memory_utilization), .def = "0.92",
     .min = 1e-6, .max = 1, .group = CACHE_GROUP,
     .help = "share of this machine's memory that weights, buffers and KV cache may take together"},
    {"kv_cache_memory_bytes", QW_OPT_INT, FIELD(kv_cache_memory_bytes), .def = "0", .min = 0,
     .max = 1e15, .human = true, .group = CACHE_GROUP, .def_note = "by gpu-memory-utilization",
     .help = "size of the KV cache"},
    {"num_gpu_blocks_override", QW_OPT_INT, FIELD(num_gpu_blocks_override), .def = "0", .min = 0,
     .max = 1 << 22, .group = CACHE_GROUP, .def_note = "none", .help = "number of KV blocks"},
    {"kv_cache_dtype", QW_OPT_CHOICE, FIELD(kv_cache_dtype), .def = "auto", .choices = kv_dtypes,
     .group = CACHE_GROUP,
     .help = "element type of the KV cache; auto: as --dtype; int8: half of bfloat16's memory, a "
             "scale for each token and head"},
    {"cpu_threads", QW_OPT_INT, FIELD(cpu_threads), .def = "0", .min = 0, .max = 4096,
     .group = CPU_GROUP, .def_note = "one per usable core", .help = "threads that compute"},
    {"cpu_isa", QW_OPT_STR, FIELD(cpu_isa), .def = "auto", .group = CPU_GROUP, .metavar = "LEVEL",
     .help = "highest instruction set to use: ref, avx2, avx512, vnni, avx512bf16, auto"},
    {"pack_cache", QW_OPT_STR, FIELD(pack_cache), .group = LOAD_GROUP, .metavar = "DIR",
     .def_note = "~/.cache/qwench",
     .help = "directory for packed weights and compiled tokenizers; an empty name: none"},
    {"verify_pack", QW_OPT_FLAG, FIELD(verify_pack), .group = LOAD_GROUP,
     .help = "check every byte of the packed weights before using them"},
};

const qw_opt *qw_model_options_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

static qw_status write_text(char **out, const json_t *object, const char *name, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 24);
    qw_json_write(&text, object, true);
    qw_status st = qw_buf_check(&text, name, err);
    if (st == QW_OK) {
        *out = qw_buf_take(&text, NULL);
        if (!*out) st = qw_fail_memory(err, 0, name);
    }
    qw_buf_release(&text);
    return st;
}

// The JSON text of an option, NULL when it was not given.
static qw_status json_text(char **out, const qw_opt_json *json, const char *name, qw_error *err)
{
    *out = NULL;
    if (!json->text && json->n_assigns == 0) return QW_OK;
    json_t *object;
    qw_status st = qw_opt_json_merge(&object, json, name, err);
    if (st != QW_OK) return st;
    st = write_text(out, object, name, err);
    json_decref(object);
    return st;
}

static bool is_generation_dir(const qw_model_options *o)
{
    const char *g = o->generation_config;
    return g && strcmp(g, "auto") != 0 && strcmp(g, "vllm") != 0;
}

// All that a generation_config.json can say, as "not given".
static json_t *no_generation_config(void)
{
    static const char *const keys[] = {
        "repetition_penalty", "temperature", "top_k", "top_p", "min_p",
        "max_new_tokens",     "do_sample"};
    json_t *object = json_object();
    for (size_t i = 0; object && i < QW_ARRAY_LEN(keys); i++) {
        if (json_object_set_new(object, keys[i], json_null()) == 0) continue;
        json_decref(object);
        return NULL;
    }
    return object;
}

// A named directory's file stands in for the model's: it goes over it whole, and under what
// --override-generation-config says. Its max_new_tokens becomes a cap by that, as vLLM has it.
static qw_status generation_overrides(char **out, const qw_model_options *o, qw_error *err)
{
    const char *name = "override-generation-config";
    if (!is_generation_dir(o)) return json_text(out, &o->override_generation_config, name, err);
    char *path = qw_file_join(o->generation_config, "generation_config.json");
    json_t *file = NULL, *given = NULL, *all = no_generation_config();
    qw_status st = path && all ? QW_OK : qw_fail_memory(err, 0, "the generation config");
    if (st == QW_OK) st = qw_json_load(&file, path, (size_t)16 << 20, err);
    if (st == QW_OK && !json_is_object(file))
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' must hold a JSON object, not %s", path,
                     qw_json_type_name(file));
    if (st == QW_OK) st = qw_opt_json_merge(&given, &o->override_generation_config, name, err);
    if (st == QW_OK && (json_object_update(all, file) != 0 || json_object_update(all, given) != 0))
        st = qw_fail_memory(err, 0, "the generation config");
    if (st == QW_OK)
        st = write_text(out, all, name, err);
    else
        qw_context(err, st, "--generation-config");
    json_decref(file);
    json_decref(given);
    json_decref(all);
    qw_mem_free(path);
    return st;
}

static qw_status find_model(char **out, const qw_model_options *o, qw_error *err)
{
    if (!o->model) return qw_share_find(out, "models/tiny", err);
    const qw_model_query query = {o->model, o->download_dir, o->revision};
    return qw_model_resolve(out, &query, err);
}

qw_status qw_engine_args_make(qw_engine_args *out, const qw_model_options *o, qw_error *err)
{
    qw_engine_args a = {.options = qw_engine_options_default()};
    qw_status st = find_model(&a.model_dir, o, err);
    if (st == QW_OK) st = json_text(&a.hf_overrides, &o->hf_overrides, "hf-overrides", err);
    if (st == QW_OK) st = generation_overrides(&a.generation_overrides, o, err);
    if (st == QW_OK && !o->pack_cache) a.cache_dir = qw_cache_dir();
    if (st == QW_OK && o->pack_cache && *o->pack_cache) {
        a.cache_dir = qw_mem_strdup(o->pack_cache);
        if (!a.cache_dir) st = qw_fail_memory(err, strlen(o->pack_cache), "a path");
    }
    if (st != QW_OK) {
        qw_engine_args_release(&a);
        return st;
    }
    qw_engine_options *e = &a.options;
    e->model_dir = a.model_dir;
    e->hf_overrides = a.hf_overrides;
    e->generation_config_overrides = a.generation_overrides;
    e->load_format = load_formats[o->load_format];
    e->dummy_seed = (uint64_t)o->dummy_seed;
    e->dummy_quantization = dummy_quantizations[o->dummy_quantization];
    e->lm_head_dtype = head_dtypes[o->lm_head_dtype];
    e->pack_cache_dir = a.cache_dir;
    e->verify_pack = o->verify_pack;
    e->dtype = dtypes[o->dtype];
    e->kv_cache_dtype = kv_dtypes[o->kv_cache_dtype];
    e->cpu_isa = o->cpu_isa;
    e->cpu_threads = (int32_t)o->cpu_threads;
    e->max_model_len = (int32_t)o->max_model_len;
    e->max_num_seqs = (int32_t)o->max_num_seqs;
    e->max_num_batched_tokens = (int32_t)o->max_num_batched_tokens;
    e->block_size = (int32_t)o->block_size;
    e->gpu_memory_utilization = o->gpu_memory_utilization;
    e->kv_cache_memory_bytes = o->kv_cache_memory_bytes;
    e->num_gpu_blocks_override = (int32_t)o->num_gpu_blocks_override;
    *out = a;
    return QW_OK;
}

void qw_engine_args_release(qw_engine_args *a)
{
    qw_mem_free(a->model_dir);
    qw_mem_free(a->hf_overrides);
    qw_mem_free(a->generation_overrides);
    qw_mem_free(a->cache_dir);
    *a = (qw_engine_args){0};
}

qw_sampling_defaults qw_model_options_defaults(const qw_model_options *o,
                                               const qw_generation_config *g)
{
    if (o->generation_config && strcmp(o->generation_config, "vllm") == 0)
        return (qw_sampling_defaults){0};
    return (qw_sampling_defaults){
        .has_temperature = g->has_temperature,
        .has_top_p = g->has_top_p,
        .has_top_k = g->has_top_k,
        .has_min_p = g->has_min_p,
        .has_repetition_penalty = g->has_repetition_penalty,
        .has_max_new_tokens = g->has_max_new_tokens,
        .temperature = g->temperature,
        .top_p = g->top_p,
        .min_p = g->min_p,
        .repetition_penalty = g->repetition_penalty,
        .top_k = g->top_k,
        .max_new_tokens = g->max_new_tokens,
    };
}
