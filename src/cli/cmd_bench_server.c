// qwench bench server: what serving over HTTP costs beside the forward pass.

#include "base/mem.h"
#include "bench/serve_bench.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/share.h"

typedef struct server_options {
    int64_t rounds;
    bool quick;
    const char *only, *json;
} server_options;

#define FIELD(x) offsetof(server_options, x)

static const qw_opt rows[] = {
    {"rounds", QW_OPT_INT, FIELD(rounds), .def = "0", .min = 0, .max = 1000, .def_note = "7",
     .help = "times that everything is measured; a round takes about two minutes"},
    {"quick", QW_OPT_FLAG, FIELD(quick),
     .help = "the built-in model, two rounds, everything small: whether it works, not how fast"},
    {"only", QW_OPT_STR, FIELD(only), .metavar = "PARTS", .def_note = "all",
     .help = "some of streams, requests, crowd, prefix, with commas between them"},
    {"json", QW_OPT_STR, FIELD(json), .metavar = "FILE", .help = "write the results to this file"},
};

static const struct {
    const char *name;
    qw_serve_part part;
} parts[] = {{"streams", QW_SERVE_STREAMS},
             {"requests", QW_SERVE_REQUESTS},
             {"crowd", QW_SERVE_CROWDS},
             {"prefix", QW_SERVE_PREFIX}};

static qw_status read_parts(unsigned *out, const char *text, qw_error *err)
{
    *out = 0;
    for (const char *p = text; p; p = *p ? p + 1 : NULL) {
        size_t len = strcspn(p, ",");
        unsigned found = 0;
        for (size_t i = 0; i < QW_ARRAY_LEN(parts); i++)
            if (strlen(parts[i].name) == len && strncmp(parts[i].name, p, len) == 0)
                found = parts[i].part;
        if (!found)
            return qw_fail(err, QW_ERR_USAGE,
                           "--only '%s': choose from streams, requests, crowd and prefix", text);
        *out |= found;
        p += len;
    }
    return QW_OK;
}

static void show_progress(void *ctx, int i_round, int n_rounds)
{
    (void)ctx;
    fprintf(stderr, "round %d of %d\n", i_round + 1, n_rounds);
}

static qw_status print(const qw_serve_report *report, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 20);
    qw_serve_report_print(report, &text);
    qw_status st = qw_buf_check(&text, "the table", err);
    if (st == QW_OK && fwrite(text.data, 1, text.len, stdout) != text.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    qw_buf_release(&text);
    return st;
}

// The model that the marks are about, unless one was named: made-up weights, real tokenizer.
static qw_status choose_model(qw_model_options *model, char **dir, bool *is_dummy,
                              const server_options *o, qw_error *err)
{
    *is_dummy = false;
    if (model->model || o->quick) return QW_OK;
    qw_status st = qw_share_find(dir, "configs/Qwen3-0.6B", err);
    if (st != QW_OK) return st;
    model->model = *dir;
    *is_dummy = true;
    return QW_OK;
}

static qw_status measure(qw_serve_report *report, const server_options *o,
                         const qw_model_options *model, bool is_dummy, qw_error *err)
{
    qw_serve_bench_options options = o->quick ? qw_serve_bench_quick() : qw_serve_bench_default();
    qw_status st = o->only ? read_parts(&options.parts, o->only, err) : QW_OK;
    qw_engine_args args;
    if (st == QW_OK) st = qw_engine_args_make(&args, model, err);
    if (st != QW_OK) return st;
    if (is_dummy) args.options.load_format = "dummy";
    if (o->rounds > 0) options.rounds = (int)o->rounds;
    options.progress = show_progress;
    qw_frontend frontend;
    st = qw_frontend_open(&frontend, args.model_dir, model->tokenizer, model->chat_template,
                          args.cache_dir, err);
    if (st == QW_OK) {
        st = qw_frontend_need_tokenizer(&frontend, err);
        if (st == QW_OK) st = qw_serve_bench(report, &options, &args.options, &frontend, err);
        qw_frontend_close(&frontend);
    }
    snprintf(report->model, sizeof report->model, "%s%s",
             model->model ? model->model : "the built-in model",
             strcmp(args.options.load_format, "dummy") == 0 ? ", dummy weights" : "");
    qw_engine_args_release(&args);
    return st;
}

static qw_status bench_server(const server_options *o, qw_model_options *model,
                              const qw_program *program, qw_error *err)
{
    qw_serve_report report = {0};
    char *dir = NULL;
    bool is_dummy;
    qw_status st = choose_model(model, &dir, &is_dummy, o, err);
    if (st == QW_OK) st = measure(&report, o, model, is_dummy, err);
    snprintf(report.version, sizeof report.version, "%s", program->version);
    snprintf(report.commit, sizeof report.commit, "%s", program->commit);
    if (st == QW_OK) st = print(&report, err);
    if (st == QW_OK && o->json) st = qw_serve_report_write(&report, o->json, err);
    qw_mem_free(dir);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    return 2;
}

static int cmd_bench_server(const qw_command_call *call)
{
    server_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = bench_server(&options, &model, call->program, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench bench server --json server.json", "all marks, on Qwen3-0.6B with made-up weights"},
    {"qwench bench server ~/models/Qwen3-1.7B --rounds 3", "another model"},
    {0},
};

const qw_command qw_cmd_bench_server = {
    .name = "server",
    .help = "requests over HTTP against the same in process; CPU beside the forward pass",
    .summary = "Measures what serving over HTTP costs beside the forward pass.",
    .description =
        "The clients are a process of their own on the same machine, so that their CPU is counted "
        "apart. 16 and 64 streams of 128 tokens in and 64 out run over HTTP and, by turns, without "
        "it; requests for one token tell what a request costs; 1,000 idle connections and 10,000 "
        "requests that wait are put beside running streams; and a prompt of 2,020 tokens, 2,000 of "
        "them cached, is compared with one as long as what is then computed. Without a model it is "
        "Qwen3-0.6B with made-up weights. The number of sequences in a step is 64.",
    .examples = examples,
    .run = cmd_bench_server,
    .tables = tables,
};
