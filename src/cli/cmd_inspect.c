// qwench inspect: what each layer of a checkpoint is stored as, and the kernels that would run it.

#include "base/log.h"
#include "base/mem.h"
#include "bench/json_fields.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "engine/engine_setup.h"

typedef struct inspect_options {
    bool json;
} inspect_options;

static const qw_opt rows[] = {
    {"json", QW_OPT_FLAG, offsetof(inspect_options, json), .help = "print one JSON object"},
};

/** Linears of one layer, or of one expert in it, as text; those whose text is equal are told once.
 */
typedef struct group {
    int first, last; /* layers, -1: the head; or experts, -1: none yet */
    qw_buf text;
} group;

typedef struct inspection {
    const char *model;
    const char *isa; /* static */
    int n_threads;
    qw_model_config config;
    qw_checkpoint checkpoint;
    qw_head_dtype head;
    bool json;
    group done, current; /* table: the layers told last, and the one that is being read */
    bool has_done;
    group experts, expert; /* the same within the layer */
    size_t n_linears, stored_bytes, packed_bytes;
    qw_buf out;
} inspection;

static void print_group(inspection *in)
{
    const group *g = &in->done;
    if (!in->has_done) return;
    if (g->first < 0)
        qw_buf_puts(&in->out, "head\n");
    else if (g->first == g->last)
        qw_buf_printf(&in->out, "layer %d\n", g->first);
    else
        qw_buf_printf(&in->out, "layers %d to %d\n", g->first, g->last);
    qw_buf_append(&in->out, g->text.data, g->text.len);
}

static bool same_text(const group *a, const group *b)
{
    return a->text.len == b->text.len && memcmp(a->text.data, b->text.data, a->text.len) == 0;
}

static void swap(group *a, group *b)
{
    group t = *a;
    *a = *b;
    *b = t;
}

// Experts that are alike become part of their layer's text.
static void print_experts(inspection *in)
{
    group *g = &in->experts;
    qw_buf *out = &in->current.text;
    if (g->text.len == 0) return;
    if (g->first == g->last)
        qw_buf_printf(out, "  expert %d\n", g->first);
    else
        qw_buf_printf(out, "  experts %d to %d, each\n", g->first, g->last);
    qw_buf_append(out, g->text.data, g->text.len);
    qw_buf_clear(&g->text);
}

static void end_expert(inspection *in)
{
    group *done = &in->experts, *now = &in->expert;
    if (now->text.len == 0) return;
    if (done->text.len > 0 && same_text(done, now)) {
        done->last = now->last;
    } else {
        print_experts(in);
        swap(done, now);
    }
    qw_buf_clear(&now->text);
}

// The layer that was read is told with those before it when it is like them.
static void end_layer(inspection *in)
{
    group *done = &in->done, *now = &in->current;
    end_expert(in);
    print_experts(in);
    if (now->text.len == 0) return;
    if (in->has_done && now->first >= 0 && done->first >= 0 && same_text(done, now)) {
        done->last = now->last;
    } else {
        print_group(in);
        swap(done, now);
        in->has_done = true;
    }
    qw_buf_clear(&now->text);
}

// "mlp.experts.17.up_proj" as "up_proj".
static const char *own_name(const qw_linear_info *l, const char *name)
{
    const char *dot = l->expert >= 0 ? strrchr(name, '.') : NULL;
    return dot ? dot + 1 : name;
}

static void add_row(inspection *in, const qw_linear_info *l)
{
    if (l->layer != in->current.first) {
        end_layer(in);
        in->current.first = in->current.last = l->layer;
    }
    if (l->expert >= 0 && (l->expert != in->expert.first || in->expert.text.len == 0)) {
        end_expert(in);
        in->expert.first = in->expert.last = l->expert;
    }
    qw_buf *out = l->expert >= 0 ? &in->expert.text : &in->current.text;
    const char *name = own_name(l, l->name), *product = own_name(l, l->product);
    char shape[32], groups[24] = "";
    snprintf(shape, sizeof shape, "%d x %d", l->rows, l->cols);
    if (l->group > 0) snprintf(groups, sizeof groups, ", groups of %d", l->group);
    int indent = l->expert >= 0 ? 4 : 2;
    qw_buf_printf(out, "%*s%-*s %-22s %14s %10.3f MB  %s%s%s", indent, "", 20 - indent, name,
                  l->format, shape, (double)l->stored_bytes * 1e-6, l->kernel, groups,
                  l->has_bias ? " + bias" : "");
    if (strcmp(product, name) != 0) qw_buf_printf(out, ", in %s", product);
    qw_buf_putc(out, '\n');
}

static void add_object(qw_buf *out, const qw_linear_info *l)
{
    qw_fields_open(out, NULL, '{');
    if (l->layer < 0)
        qw_fields_null(out, "layer");
    else
        qw_fields_count(out, "layer", l->layer);
    if (l->expert >= 0) qw_fields_count(out, "expert", l->expert);
    qw_fields_text(out, "name", l->name);
    qw_fields_text(out, "format", l->format);
    qw_fields_count(out, "out", l->rows);
    qw_fields_count(out, "in", l->cols);
    qw_fields_count(out, "group_size", l->group);
    qw_fields_flag(out, "has_bias", l->has_bias);
    qw_fields_count(out, "stored_bytes", (int64_t)l->stored_bytes);
    qw_fields_count(out, "packed_bytes", (int64_t)l->packed_bytes);
    qw_fields_text(out, "product", l->product);
    qw_fields_text(out, "kernel", l->kernel);
    qw_fields_close(out, '}');
}

static void add_linear(void *ctx, const qw_linear_info *l)
{
    inspection *in = ctx;
    in->n_linears++;
    in->stored_bytes += l->stored_bytes;
    in->packed_bytes += l->packed_bytes;
    if (in->json)
        add_object(&in->out, l);
    else
        add_row(in, l);
}

static void begin(inspection *in)
{
    const qw_quant_description *q = in->checkpoint.quant;
    qw_buf *out = &in->out;
    if (!in->json) {
        qw_buf_printf(out, "%s: %s, %d layers, %s\n", in->model, in->config.architecture,
                      in->config.num_hidden_layers, q ? "ascend" : "stored as float");
        if (q && q->file)
            qw_buf_printf(out, "described by %s, version %s%s\n", q->file,
                          q->version ? q->version : "none",
                          q->has_kv_scales ? ", with scales of an int8 KV cache" : "");
        return;
    }
    qw_fields_open(out, NULL, '{');
    qw_fields_text(out, "model", in->model);
    qw_fields_text(out, "architecture", in->config.architecture);
    qw_fields_text(out, "quantization", q ? "ascend" : "none");
    if (q && q->file) qw_fields_text(out, "description", q->file);
    qw_fields_flag(out, "has_kv_scales", q && q->has_kv_scales);
    qw_fields_text(out, "isa", in->isa);
    qw_fields_open(out, "linears", '[');
}

static void end(inspection *in)
{
    if (!in->json) {
        end_layer(in);
        print_group(in);
        qw_buf_printf(&in->out,
                      "%zu Linears, %.3f MB stored, %.3f MB packed; kernels: %s, %d threads\n",
                      in->n_linears, (double)in->stored_bytes * 1e-6,
                      (double)in->packed_bytes * 1e-6, in->isa, in->n_threads);
        return;
    }
    qw_fields_close(&in->out, ']');
    qw_fields_count(&in->out, "stored_bytes", (int64_t)in->stored_bytes);
    qw_fields_count(&in->out, "packed_bytes", (int64_t)in->packed_bytes);
    qw_fields_close(&in->out, '}');
    qw_buf_putc(&in->out, '\n');
}

static qw_status find_isa(inspection *in, const qw_engine_options *o, qw_error *err)
{
    qw_backend *be;
    const qw_cpu_options cpu = {.n_threads = o->cpu_threads, .isa = o->cpu_isa};
    qw_status st = qw_backend_open_cpu(&be, &cpu, err);
    if (st != QW_OK) return st;
    in->isa = be->isa;
    in->n_threads = be->n_threads;
    qw_backend_close(be);
    return QW_OK;
}

static qw_status look(inspection *in, qw_error *err)
{
    qw_buf_init(&in->out, (size_t)1 << 30);
    qw_buf_init(&in->done.text, 1 << 20);
    qw_buf_init(&in->current.text, 1 << 20);
    qw_buf_init(&in->experts.text, 1 << 20);
    qw_buf_init(&in->expert.text, 1 << 20);
    begin(in);
    qw_status st = qw_model_describe(&in->config, &in->checkpoint, in->head, add_linear, in, err);
    if (st == QW_OK) end(in);
    if (st == QW_OK) st = qw_buf_check(&in->current.text, "a layer", err);
    if (st == QW_OK) st = qw_buf_check(&in->done.text, "a layer", err);
    if (st == QW_OK) st = qw_buf_check(&in->experts.text, "an expert", err);
    if (st == QW_OK) st = qw_buf_check(&in->expert.text, "an expert", err);
    if (st == QW_OK) st = qw_buf_check(&in->out, "what was found", err);
    if (st == QW_OK && fwrite(in->out.data, 1, in->out.len, stdout) != in->out.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&in->out);
    qw_buf_release(&in->done.text);
    qw_buf_release(&in->current.text);
    qw_buf_release(&in->experts.text);
    qw_buf_release(&in->expert.text);
    return st;
}

static qw_status inspect(const inspect_options *o, const qw_model_options *model, qw_error *err)
{
    inspection in = {.model = model->model ? model->model : "the built-in model", .json = o->json};
    in.current.first = -2; // no layer yet
    qw_engine_args args;
    qw_status st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    st = qw_model_config_load(&in.config, args.model_dir, args.hf_overrides, err);
    if (st == QW_OK) {
        st = qw_engine_checkpoint_open(&in.checkpoint, &args.options, &in.config, err);
        if (st == QW_OK) {
            st = find_isa(&in, &args.options, err);
            if (st == QW_OK) st = qw_engine_head_dtype(&in.head, &args.options, err);
            if (st == QW_OK) st = look(&in, err);
            qw_checkpoint_close(&in.checkpoint);
        }
        qw_model_config_release(&in.config);
    }
    if (st != QW_OK) qw_context(err, st, "inspecting '%s'", in.model);
    qw_engine_args_release(&args);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    return 2;
}

static int cmd_inspect(const qw_command_call *call)
{
    inspect_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = inspect(&options, &model, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench inspect ~/models/Qwen3-8B-W8A8", "which layers are quantized, and how?"},
    {"qwench inspect ~/models/Qwen3-8B-W8A8 --json", "the same for programs, every Linear"},
    {0},
};

const qw_command qw_cmd_inspect = {
    .name = "inspect",
    .help = "what each layer is stored as, and the kernels that would run it",
    .summary = "Tells what each layer of a checkpoint is stored as, sizes, and the kernels that "
               "would run it here.",
    .description = "Layers that are alike are told once, and so are experts of a layer. Of a "
                   "quantized checkpoint the names, types, shapes "
                   "and dtypes are checked as when it is loaded; the values are not.",
    .examples = examples,
    .run = cmd_inspect,
    .tables = tables,
};
