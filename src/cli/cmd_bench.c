// qwench bench: what the kernels reach of what the machine can do, and how fast a model starts.

#include "bench/bench_kernels.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/share.h"

typedef struct kernels_options {
    const char *config, *shape, *format, *op, *json, *compare, *cpu_isa;
    const char *m, *context, *threads;
    int64_t rounds;
} kernels_options;

#define FIELD(x) offsetof(kernels_options, x)

static const qw_opt rows[] = {
    {"shape", QW_OPT_STR, FIELD(shape), .def = "0.6b,1.7b", .metavar = "NAMES",
     .help = "published models whose shapes are measured: 0.6b, 1.7b, 4b, 8b, 14b, 32b, 30b-a3b"},
    {"config", QW_OPT_STR, FIELD(config), .metavar = "DIR", .def_note = "--shape",
     .help = "a directory with config.json instead"},
    {"format", QW_OPT_STR, FIELD(format), .def = "bf16", .metavar = "NAMES",
     .help = "formats of weights: bf16, f16, f32, w8a8, w4a8, w4a8-g128, w4a8-g256"},
    {"op", QW_OPT_STR, FIELD(op), .def = "linear,attn,norm,sample,moe,head,step",
     .metavar = "NAMES", .help = "what is measured; moe: models with experts"},
    {"m", QW_OPT_STR, FIELD(m), .def = "1,4,16,512", .metavar = "COUNTS",
     .help = "tokens in a step: up to 64 are streams that decode, more are a prompt"},
    {"context", QW_OPT_STR, FIELD(context), .def = "512,4096", .metavar = "COUNTS",
     .help = "positions that attention sees"},
    {"threads", QW_OPT_STR, FIELD(threads), .def_note = "one per usable core", .metavar = "COUNTS",
     .help = "threads that compute"},
    {"rounds", QW_OPT_INT, FIELD(rounds), .def = "25", .min = 1, .max = 100000,
     .help = "slices of each row; rows that take long run fewer"},
    {"cpu_isa", QW_OPT_STR, FIELD(cpu_isa), .def = "auto", .metavar = "LEVEL",
     .help = "highest instruction set to use: ref, avx2, avx512, vnni, avx512bf16, auto"},
    {"json", QW_OPT_STR, FIELD(json), .metavar = "FILE", .help = "write the results to this file"},
    {"compare", QW_OPT_STR, FIELD(compare), .metavar = "OLD.json",
     .help = "compare with the results of an earlier run"},
};

static const struct {
    const char *name;
    qw_bench_op op;
} ops[] = {{"linear", QW_BENCH_LINEAR}, {"attn", QW_BENCH_ATTENTION}, {"norm", QW_BENCH_NORM},
           {"sample", QW_BENCH_SAMPLE}, {"head", QW_BENCH_HEAD},      {"step", QW_BENCH_STEP},
           {"moe", QW_BENCH_MOE}};

// Lists of the command line

enum { MAX_LIST = 16 };

/** "a,b,c" cut into its words. */
typedef struct word_list {
    char *text; /* owned, the commas replaced by NUL */
    const char *words[MAX_LIST];
    size_t n;
} word_list;

static qw_status split(word_list *out, const char *text, const char *option, qw_error *err)
{
    *out = (word_list){.text = qw_mem_strdup(text)};
    if (!out->text) return qw_fail_memory(err, strlen(text), "an option");
    for (char *p = out->text;; p++) {
        size_t len = strcspn(p, ",");
        bool is_last = p[len] == '\0';
        if (len == 0 || out->n == MAX_LIST)
            return qw_fail(err, QW_ERR_USAGE, "--%s '%s': expected 1 to %d words with commas",
                           option, text, MAX_LIST);
        p[len] = '\0';
        out->words[out->n++] = p;
        p += len;
        if (is_last) return QW_OK;
    }
}

typedef struct number_list {
    int64_t values[MAX_LIST];
    size_t n;
} number_list;

static qw_status read_numbers(number_list *out, const char *text, const char *option, int64_t max,
                              qw_error *err)
{
    word_list list;
    qw_status st = split(&list, text, option, err);
    for (size_t i = 0; i < list.n && st == QW_OK; i++) {
        int64_t *value = &out->values[i];
        if (!qw_str_to_i64(qw_str_of(list.words[i]), value) || *value < 1 || *value > max)
            st = qw_fail(err, QW_ERR_USAGE, "--%s '%s': '%s' is no number from 1 to %lld", option,
                         text, list.words[i], (long long)max);
    }
    out->n = list.n;
    qw_mem_free(list.text);
    return st;
}

static qw_status read_ops(unsigned *out, const char *text, qw_error *err)
{
    word_list list;
    qw_status st = split(&list, text, "op", err);
    *out = 0;
    for (size_t i = 0; i < list.n && st == QW_OK; i++) {
        unsigned found = 0;
        for (size_t j = 0; j < QW_ARRAY_LEN(ops); j++)
            if (strcmp(ops[j].name, list.words[i]) == 0) found = ops[j].op;
        if (!found)
            st = qw_fail(err, QW_ERR_USAGE,
                         "--op '%s' is unknown; choose linear, attn, norm, sample, head or step",
                         list.words[i]);
        *out |= found;
    }
    qw_mem_free(list.text);
    return st;
}

// Models

/** Directories of the shapes, by name. */
typedef struct model_list {
    qw_bench_model models[MAX_LIST];
    char *dirs[MAX_LIST]; /* owned */
    size_t n;
} model_list;

// "0.6b" is share/configs/Qwen3-0.6B, "30b-a3b" Qwen3-30B-A3B.
static qw_status add_shape(model_list *out, const char *name, qw_error *err)
{
    char path[64];
    int len = snprintf(path, sizeof path, "configs/Qwen3-%.32s", name);
    for (int i = len - 1; i >= 0 && path[i] != '/'; i--)
        if (path[i] == 'a' || path[i] == 'b') path[i] = (char)(path[i] - 'a' + 'A');
    qw_status st = qw_share_find(&out->dirs[out->n], path, err);
    if (st != QW_OK)
        return qw_fail(err, QW_ERR_USAGE,
                       "--shape '%s' is unknown; choose 0.6b, 1.7b, 4b, 8b, 14b, 32b or 30b-a3b, "
                       "or give --config",
                       name);
    out->models[out->n] = (qw_bench_model){name, out->dirs[out->n]};
    out->n++;
    return QW_OK;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void model_list_release(model_list *l)
{
    for (size_t i = 0; i < l->n; i++) qw_mem_free(l->dirs[i]);
}

// The run

static void show_progress(void *ctx, const char *what, size_t n_rows)
{
    (void)ctx;
    fprintf(stderr, "measuring %zu rows of %s\n", n_rows, what);
}

static qw_status measure(const kernels_options *o, const word_list *shapes,
                         const word_list *formats, qw_bench_report *report, qw_error *err)
{
    model_list models = {0};
    number_list m = {0}, contexts = {0}, threads = {.values = {0}, .n = 1};
    unsigned op_set = 0;
    qw_status st = read_ops(&op_set, o->op, err);
    if (st == QW_OK) st = read_numbers(&m, o->m, "m", 65536, err);
    if (st == QW_OK) st = read_numbers(&contexts, o->context, "context", 1 << 20, err);
    if (st == QW_OK && o->threads) st = read_numbers(&threads, o->threads, "threads", 4096, err);
    if (st == QW_OK && o->config)
        models = (model_list){.models = {{last_name(o->config), o->config}}, .n = 1};
    for (size_t i = 0; i < shapes->n && st == QW_OK && !o->config; i++)
        st = add_shape(&models, shapes->words[i], err);
    qw_bench_options options = {.models = models.models,
                                .n_models = models.n,
                                .formats = formats->words,
                                .n_formats = formats->n,
                                .ops = op_set,
                                .m = m.values,
                                .n_m = m.n,
                                .contexts = contexts.values,
                                .n_contexts = contexts.n,
                                .threads = threads.values,
                                .n_threads = threads.n,
                                .rounds = (int)o->rounds,
                                .isa = o->cpu_isa,
                                .progress = show_progress};
    if (st == QW_OK) st = qw_bench_kernels(report, &options, err);
    model_list_release(&models);
    return st;
}

static qw_status print(const qw_bench_report *report, const qw_bench_report *before, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)64 << 20);
    qw_status st = qw_bench_report_print(report, before, &text, err);
    if (st == QW_OK) st = qw_buf_check(&text, "the table", err);
    if (st == QW_OK && fwrite(text.data, 1, text.len, stdout) != text.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&text);
    return st;
}

static qw_status bench_kernels(const kernels_options *o, const qw_program *program, qw_error *err)
{
    word_list shapes = {0}, formats = {0};
    qw_bench_report before = {0}, report = {0};
    qw_status st = split(&shapes, o->shape, "shape", err);
    if (st == QW_OK) st = split(&formats, o->format, "format", err);
    if (st == QW_OK && o->compare) st = qw_bench_report_read(&before, o->compare, err);
    if (st == QW_OK) st = measure(o, &shapes, &formats, &report, err);
    snprintf(report.version, sizeof report.version, "%s", program->version);
    snprintf(report.commit, sizeof report.commit, "%s", program->commit);
    if (st == QW_OK) st = print(&report, o->compare ? &before : NULL, err);
    if (st == QW_OK && o->json) st = qw_bench_report_write(&report, o->json, err);
    qw_bench_report_release(&report);
    qw_bench_report_release(&before);
    qw_mem_free(formats.text);
    qw_mem_free(shapes.text);
    return st;
}

static size_t kernels_tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    return 1;
}

static int cmd_kernels(const qw_command_call *call)
{
    kernels_options options = {0};
    void *const targets[] = {&options};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = bench_kernels(&options, call->program, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example kernels_examples[] = {
    {"qwench bench kernels --shape 0.6b --op linear,attn --json before.json",
     "measure and keep the results"},
    {"qwench bench kernels --shape 0.6b --op linear,attn --compare before.json",
     "measure again and compare"},
    {0},
};

static const qw_command kernels = {
    .name = "kernels",
    .help = "each kernel, and whole steps, against the machine's limits",
    .summary = "Measures this machine's limits, and each kernel against them.",
    .examples = kernels_examples,
    .run = cmd_kernels,
    .tables = kernels_tables,
};

static const qw_command *const commands[] = {&kernels,
                                             &qw_cmd_bench_latency,
                                             &qw_cmd_bench_serve,
                                             &qw_cmd_bench_server,
                                             &qw_cmd_bench_coldstart,
                                             &qw_cmd_bench_throughput};

const qw_command qw_cmd_bench = {
    .name = "bench",
    .help = "measure speed against the machine's limits",
    .summary = "Measures speed.",
    .commands = commands,
    .n_commands = QW_ARRAY_LEN(commands),
};
