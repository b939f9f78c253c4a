// qwench plan: what a model needs and what this machine could do with it, without loading it.

#include "base/log.h"
#include "base/mem.h"
#include "bench/json_fields.h"
#include "bench/machine_limits.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "engine/engine_setup.h"

typedef struct plan_options {
    int64_t length, streams;
    bool json, measure;
} plan_options;

#define FIELD(x) offsetof(plan_options, x)

static const qw_opt rows[] = {
    {"length", QW_OPT_INT, FIELD(length), .def = "0", .min = 0, .max = 1 << 30, .human = true,
     .def_note = "the context", .help = "tokens of each request that concurrency is told for"},
    {"streams", QW_OPT_INT, FIELD(streams), .def = "16", .min = 1, .max = 65536,
     .help = "requests that decode at once in the second prediction"},
    {"measure", QW_OPT_FLAG, FIELD(measure),
     .help = "measure this machine again, also if an earlier measurement is kept"},
    {"json", QW_OPT_FLAG, FIELD(json), .help = "print one JSON object"},
};

/** A predicted decode step. */
typedef struct prediction {
    int64_t n_requests, context; /* tokens of each */
    double tokens_per_s;         /* of all requests together; at most */
    qw_limit_kind decided_by;
} prediction;

typedef struct plan_result {
    const char *model;
    qw_model_config config;
    qw_engine_setup setup;
    qw_machine machine;
    qw_machine_limits limits;
    const char *isa; /* static */
    int n_threads;
    double ops[QW_N_LIMITS]; /* of all products, per token, by what they run on */
    size_t embedding;        /* bytes of weights that are only looked up; 0: they lie in a file */
    size_t kv_per_token;
    int64_t capacity, length;
    double concurrency;
    prediction predictions[2];
} plan_result;

static qw_limit_kind peak_of(const qw_linear_info *l)
{
    bool is_float = l->input == QW_INPUT_FLOAT;
    if (!is_float) return l->dtype == QW_DTYPE_I4 ? QW_LIMIT_INT4 : QW_LIMIT_INT8;
    return l->dtype == QW_DTYPE_BF16 ? QW_LIMIT_BF16 : QW_LIMIT_FMA;
}

static void count_ops(void *ctx, const qw_linear_info *l)
{
    plan_result *r = ctx;
    const qw_model_config *c = &r->config;
    double share = l->expert >= 0 ? (double)c->num_experts_per_tok / c->num_experts : 1;
    r->ops[peak_of(l)] += 2.0 * l->rows * l->cols * share;
}

// Products run on the peaks of their formats, as far as this level and precision have them.
static void place_ops(double out[QW_N_LIMITS], const plan_result *r, double n_requests)
{
    bool has_bf16 = r->setup.compute == QW_COMPUTE_BF16 && r->limits.limits[QW_LIMIT_BF16] > 0;
    memset(out, 0, QW_N_LIMITS * sizeof *out);
    for (int k = 0; k < QW_N_LIMITS; k++) {
        bool has = k == QW_LIMIT_BF16 ? has_bf16 : r->limits.limits[k] > 0;
        out[has ? k : QW_LIMIT_FMA] += r->ops[k] * n_requests;
    }
}

// Bytes of weights that a step of so many rows reads: of a layer's experts, those that they go to.
static double read_weights(const plan_result *r, double n_rows)
{
    const qw_plan_input *in = &r->setup.plan.in;
    double n_experts = r->config.num_experts, share = 1;
    if (n_experts > 0) share = qw_model_config_touched_experts(&r->config, n_rows) / n_experts;
    return (double)(in->weights - r->embedding - in->experts) + (double)in->experts * share;
}

// A step reads its weights once and each request's KV, and computes for each request: the longer of
// the two decides, as for the kernels' marks.
static prediction predict(const plan_result *r, int64_t n_requests, int64_t context)
{
    const qw_model_config *c = &r->config;
    double positions = (double)n_requests * (double)context;
    qw_work work = {
        .bytes = read_weights(r, (double)n_requests) + positions * (double)r->kv_per_token,
        .attention_ops =
            4 * positions * c->num_hidden_layers * c->num_attention_heads * (double)c->head_dim,
        .peak = QW_LIMIT_FMA,
    };
    place_ops(work.other_ops, r, (double)n_requests);
    prediction p = {.n_requests = n_requests, .context = context};
    p.tokens_per_s = (double)n_requests / qw_work_limit_s(&work, r->limits.limits, &p.decided_by);
    return p;
}

static void work_out(plan_result *r, const plan_options *o)
{
    const qw_memory_plan *p = &r->setup.plan;
    int64_t block = p->in.block_size;
    r->kv_per_token = p->in.kv_per_block / (size_t)block;
    r->capacity = p->n_blocks * block;
    r->length = o->length > 0 ? o->length : p->max_model_len;
    int64_t blocks_each = (r->length + block - 1) / block;
    r->concurrency = (double)p->n_blocks / (double)blocks_each;
    int64_t context = r->length;
    r->predictions[0] = predict(r, 1, context);
    int64_t n = o->streams;
    if (n > r->setup.scheduler_limits.max_num_seqs) n = r->setup.scheduler_limits.max_num_seqs;
    if ((double)n > r->concurrency && r->concurrency >= 1) n = (int64_t)r->concurrency;
    r->predictions[1] = predict(r, n, context);
}

static qw_status measure_machine(plan_result *r, const qw_engine_args *args, bool anew,
                                 qw_error *err)
{
    // The device decides on level and threads; it is not needed for measuring.
    qw_backend *be;
    const qw_cpu_options cpu = {.n_threads = args->options.cpu_threads,
                                .isa = args->options.cpu_isa};
    qw_status st = qw_backend_open_cpu(&be, &cpu, err);
    if (st != QW_OK) return st;
    r->isa = be->isa;
    r->n_threads = be->n_threads;
    qw_backend_close(be);
    qw_machine_detect(&r->machine);
    return qw_machine_limits_get(&r->limits, &r->machine, r->isa, r->n_threads, args->cache_dir,
                                 anew, err);
}

static qw_status make_setup(plan_result *r, const qw_engine_options *o, qw_error *err)
{
    qw_checkpoint checkpoint;
    qw_status st = qw_engine_checkpoint_open(&checkpoint, o, &r->config, err);
    if (st != QW_OK) return st;
    const qw_stored_tensor *embedding =
        qw_checkpoint_find(&checkpoint, "model.embed_tokens.weight");
    if (embedding && !embedding->data) r->embedding = embedding->size;
    st = qw_engine_setup_make(&r->setup, o, &r->config, &checkpoint, err);
    if (st == QW_OK)
        st = qw_model_describe(&r->config, &checkpoint, r->setup.model_limits.head, count_ops, r,
                               err);
    qw_checkpoint_close(&checkpoint);
    return st;
}

static double gib(size_t bytes)
{
    return (double)bytes / (double)((size_t)1 << 30);
}

static void print_table(const plan_result *r, qw_buf *out)
{
    const qw_model_config *c = &r->config;
    qw_buf_printf(out, "model\n  %s: %s, %d layers, hidden %d, %d/%d heads of %d, dtype %s\n",
                  r->model, c->architecture, c->num_hidden_layers, c->hidden_size,
                  c->num_attention_heads, c->num_key_value_heads, c->head_dim, r->setup.dtype_name);
    qw_memory_plan_print(&r->setup.plan, out);
    qw_buf_printf(out, "KV cache\n  %zu bytes per token, %" PRId64 " tokens\n", r->kv_per_token,
                  r->capacity);
    qw_buf_printf(out, "  %.2f requests of %" PRId64 " tokens at a time\n", r->concurrency,
                  r->length);
    const double *limits = r->limits.limits;
    qw_buf_printf(out, "machine\n  %s, %d threads, %s: reads %.1f GB/s, computes %.0f GFLOP/s",
                  r->machine.cpu, r->n_threads, r->isa, limits[QW_LIMIT_READ] * 1e-9,
                  limits[QW_LIMIT_FMA] * 1e-9);
    if (r->ops[QW_LIMIT_INT8] > 0)
        qw_buf_printf(out, ", int8 %.0f GOP/s", limits[QW_LIMIT_INT8] * 1e-9);
    if (r->ops[QW_LIMIT_INT4] > 0)
        qw_buf_printf(out, ", int4 %.0f GOP/s", limits[QW_LIMIT_INT4] * 1e-9);
    qw_buf_printf(out, " (%s)\n", r->limits.from_cache ? "measured before" : "measured now");
    qw_buf_puts(out, "predicted decode, at most\n");
    for (size_t i = 0; i < QW_ARRAY_LEN(r->predictions); i++) {
        const prediction *p = &r->predictions[i];
        qw_buf_printf(out,
                      "  %4" PRId64 " request%s of %" PRId64 " tokens: %.1f tokens/s, %.2f ms a "
                      "step, decided by %s\n",
                      p->n_requests, p->n_requests == 1 ? " " : "s", p->context, p->tokens_per_s,
                      1e3 * (double)p->n_requests / p->tokens_per_s,
                      p->decided_by == QW_LIMIT_READ ? "memory" : "arithmetic");
    }
}

static void print_json(const plan_result *r, qw_buf *out)
{
    const qw_memory_plan *p = &r->setup.plan;
    qw_fields_open(out, NULL, '{');
    qw_fields_text(out, "model", r->model);
    qw_fields_text(out, "architecture", r->config.architecture);
    qw_fields_text(out, "dtype", r->setup.dtype_name);
    qw_fields_count(out, "weight_bytes", (int64_t)p->in.weights);
    qw_fields_count(out, "expert_bytes", (int64_t)p->in.experts);
    qw_fields_count(out, "activation_bytes", (int64_t)p->in.activations);
    qw_fields_count(out, "kv_bytes", (int64_t)p->kv);
    qw_fields_count(out, "total_bytes", (int64_t)p->total);
    qw_fields_count(out, "memory_limit_bytes", (int64_t)p->in.memory_limit);
    qw_fields_number(out, "weight_gib", gib(p->in.weights));
    qw_fields_count(out, "max_model_len", p->max_model_len);
    qw_fields_count(out, "max_num_seqs", r->setup.scheduler_limits.max_num_seqs);
    qw_fields_count(out, "block_size", p->in.block_size);
    qw_fields_count(out, "n_blocks", p->n_blocks);
    qw_fields_text(out, "kv_dtype", qw_dtype_name(r->setup.layout.dtype));
    qw_fields_count(out, "kv_bytes_per_token", (int64_t)r->kv_per_token);
    qw_fields_count(out, "kv_capacity_tokens", r->capacity);
    qw_fields_count(out, "length", r->length);
    qw_fields_number(out, "concurrency", r->concurrency);
    qw_fields_open(out, "machine", '{');
    qw_fields_text(out, "cpu", r->machine.cpu);
    qw_fields_text(out, "isa", r->isa);
    qw_fields_count(out, "n_threads", r->n_threads);
    qw_fields_number(out, "read_bytes_per_s", r->limits.limits[QW_LIMIT_READ]);
    qw_fields_number(out, "fma_ops_per_s", r->limits.limits[QW_LIMIT_FMA]);
    qw_fields_number(out, "bf16_ops_per_s", r->limits.limits[QW_LIMIT_BF16]);
    qw_fields_number(out, "int8_ops_per_s", r->limits.limits[QW_LIMIT_INT8]);
    qw_fields_number(out, "int4_ops_per_s", r->limits.limits[QW_LIMIT_INT4]);
    qw_fields_flag(out, "from_cache", r->limits.from_cache);
    qw_fields_close(out, '}');
    qw_fields_open(out, "decode", '[');
    for (size_t i = 0; i < QW_ARRAY_LEN(r->predictions); i++) {
        const prediction *d = &r->predictions[i];
        qw_fields_open(out, NULL, '{');
        qw_fields_count(out, "requests", d->n_requests);
        qw_fields_count(out, "context", d->context);
        qw_fields_number(out, "tokens_per_s", d->tokens_per_s);
        qw_fields_text(out, "decided_by", qw_limit_name(d->decided_by));
        qw_fields_close(out, '}');
    }
    qw_fields_close(out, ']');
    qw_fields_close(out, '}');
    qw_buf_putc(out, '\n');
}

static qw_status print_result(const plan_result *r, bool json, qw_error *err)
{
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 20);
    if (json)
        print_json(r, &out);
    else
        print_table(r, &out);
    qw_status st = qw_buf_check(&out, "the plan", err);
    if (st == QW_OK && fwrite(out.data, 1, out.len, stdout) != out.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&out);
    return st;
}

static qw_status plan(const plan_options *o, const qw_model_options *model, qw_error *err)
{
    plan_result r = {.model = model->model ? model->model : "the built-in model"};
    qw_engine_args args;
    qw_status st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    st = qw_model_config_load(&r.config, args.model_dir, args.hf_overrides, err);
    if (st == QW_OK) {
        qw_str w;
        for (const char *rest = r.config.warnings; qw_model_config_next_warning(&rest, &w);)
            QW_LOG(QW_LOG_WARN, "model_config", "%.*s", (int)w.len, w.ptr);
        st = make_setup(&r, &args.options, err);
        if (st == QW_OK) st = measure_machine(&r, &args, o->measure, err);
        if (st == QW_OK) {
            work_out(&r, o);
            st = print_result(&r, o->json, err);
        }
        qw_model_config_release(&r.config);
    }
    if (st != QW_OK) qw_context(err, st, "planning for '%s'", r.model);
    qw_engine_args_release(&args);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    return 2;
}

static int cmd_plan(const qw_command_call *call)
{
    plan_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = plan(&options, &model, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench plan ~/models/Qwen3-8B --max-model-len 32K", "will it fit, and how fast can it be?"},
    {"qwench plan ~/models/Qwen3-32B --load-format dummy --length 4k",
     "the same from config.json alone, for requests of 4,000 tokens"},
    {0},
};

const qw_command qw_cmd_plan = {
    .name = "plan",
    .help = "memory, concurrency and speed of a model, without loading it",
    .summary = "Tells what a model needs here and how fast it can decode, without loading it.",
    .description =
        "The memory plan is the one that serve, chat and generate start with. The speed follows "
        "from how fast this machine reads memory and computes, which is measured once in 0.3 "
        "seconds and kept: no engine can be faster; this one comes near it.",
    .examples = examples,
    .run = cmd_plan,
    .tables = tables,
};
