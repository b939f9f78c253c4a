// qwench quantize: a float checkpoint into one of msModelSlim's formats.

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/model_resolver.h"
#include "cli/recipe.h"
#include "cli/share.h"
#include "engine/frontend.h"
#include "quant/quantize.h"

typedef struct quantize_options {
    const char *src, *dst, *recipe, *calib, *pack_cache;
    int scheme, method;
    int64_t calib_length, group_size, part_size, cpu_threads;
    double smooth_alpha;
    bool smooth, resume;
} quantize_options;

#define FIELD(x) offsetof(quantize_options, x)

static const char *const methods[] = {"auto", "minmax", "mse", "ssz", NULL};

static const qw_opt rows[] = {
    {"src", QW_OPT_STR, FIELD(src), .positional = true, .required = true, .metavar = "SRC",
     .help = "float checkpoint: a directory, or a hub id, ORG/NAME, of a model in a local cache"},
    {"dst", QW_OPT_STR, FIELD(dst), .positional = true, .required = true, .metavar = "DST",
     .help = "directory to be made; it appears complete or not at all"},
    {"scheme", QW_OPT_CHOICE, FIELD(scheme), .def = "w8a8-dynamic", .choices = qw_scheme_names,
     .help = "how the linear layers are stored; docs/quantization.md says which is for whom"},
    {"recipe", QW_OPT_STR, FIELD(recipe), .metavar = "FILE.yaml",
     .help = "types of single layers, over the scheme's: a list 'layers' of {match: PATTERN, type: "
             "W8A8_DYNAMIC, method: mse}"},
    {"calib", QW_OPT_STR, FIELD(calib), .metavar = "FILE.jsonl",
     .help = "texts that the model is run over to see what its layers' inputs are like: a line "
             "each, {\"inputs_pretokenized\": ...} or {\"text\": ...}; static schemes need it, all "
             "others get smoother inputs by it"},
    {"calib_length", QW_OPT_INT, FIELD(calib_length), .def = "2048", .min = 1, .max = 1 << 20,
     .human = true, .help = "most tokens of a text that are used"},
    {"smooth", QW_OPT_BOOL, FIELD(smooth), .def = "true",
     .help = "with --calib: move outliers from the inputs into the weights"},
    {"smooth_alpha", QW_OPT_FLOAT, FIELD(smooth_alpha), .def = "-1", .min = -1, .max = 1,
     .def_note = "0.9 for 8-bit weights, 0.5 for 4-bit ones",
     .help = "how much of the difficulty goes into the weights"},
    {"method", QW_OPT_CHOICE, FIELD(method), .def = "auto", .choices = methods,
     .help = "how scales are found: by the largest magnitude, by searching for the least squared "
             "error, or by least squares in turns with rounding; auto: minmax for 8 bits, mse for "
             "4"},
    {"group_size", QW_OPT_INT, FIELD(group_size), .def = "-1", .min = -1, .max = 1 << 20,
     .word = "auto", .word_value = -1,
     .def_note = "the largest of 256, 128, 64, 32 that fits; 0 for experts",
     .help = "w4a8: columns that share a second scale; 0: none, one scale a row"},
    {"part_size", QW_OPT_INT, FIELD(part_size), .def = "4g", .min = 1, .max = 1e15, .human = true,
     .help = "most bytes in a file"},
    {"resume", QW_OPT_FLAG, FIELD(resume),
     .help = "go on where a run with the same options was stopped"},
    {"cpu_threads", QW_OPT_INT, FIELD(cpu_threads), .def = "0", .min = 0, .max = 4096,
     .def_note = "one per usable core", .help = "threads that compute"},
    {"pack_cache", QW_OPT_STR, FIELD(pack_cache), .metavar = "DIR", .def_note = "~/.cache/qwench",
     .help = "directory for packed weights and compiled tokenizers; an empty name: none"},
};

// Texts

typedef struct texts {
    const qw_frontend *frontend;
    size_t max_len;
    qw_ids *samples;
    size_t n, cap;
} texts;

static void release_texts(texts *t)
{
    for (size_t i = 0; i < t->n; i++) qw_ids_release(&t->samples[i]);
    qw_mem_free(t->samples);
}

static qw_status add_text(void *ctx, json_t *line, qw_error *err)
{
    static const char *const keys[] = {"inputs_pretokenized", "text", "prompt"};
    texts *t = ctx;
    const json_t *text = NULL;
    for (size_t i = 0; i < QW_ARRAY_LEN(keys) && !text; i++) text = json_object_get(line, keys[i]);
    if (!json_is_string(text))
        return qw_fail(err, QW_ERR_FORMAT,
                       "no text to calibrate with: it needs 'inputs_pretokenized' or 'text' (a "
                       "string)");
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        qw_ids *more = qw_mem_realloc(t->samples, cap * sizeof *more);
        if (!more) return qw_fail_memory(err, cap * sizeof *more, "the texts");
        t->samples = more;
        t->cap = cap;
    }
    qw_ids *ids = &t->samples[t->n];
    *ids = (qw_ids){0};
    qw_status st = qw_tokenizer_encode(t->frontend->tokenizer, qw_json_str(text), 0, ids, err);
    if (st != QW_OK || ids->len == 0) {
        qw_ids_release(ids); // an empty text tells nothing
        return st;
    }
    if (ids->len > t->max_len) ids->len = t->max_len;
    t->n++;
    return QW_OK;
}

static qw_status read_texts(texts *t, const quantize_options *o, const char *src,
                            const char *cache_dir, qw_error *err)
{
    qw_frontend frontend;
    qw_status st = qw_frontend_open(&frontend, src, NULL, NULL, cache_dir, err);
    if (st != QW_OK) return st;
    t->frontend = &frontend;
    t->max_len = (size_t)o->calib_length;
    st = qw_frontend_need_tokenizer(&frontend, err);
    if (st == QW_OK) st = qw_json_lines_read(o->calib, add_text, t, err);
    if (st == QW_OK && t->n == 0) st = qw_fail(err, QW_ERR_FORMAT, "'%s' holds no text", o->calib);
    if (st != QW_OK) qw_context(err, st, "--calib");
    qw_frontend_close(&frontend);
    return st;
}

// Progress

typedef struct progress {
    int64_t start_ns;
    const char *what; /* of the part that start_ns is about */
    bool is_shown;
} progress;

static void show_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    progress *p = ctx;
    int64_t now = qw_clock_ns();
    if (p->what != what) {
        p->what = what;
        p->start_ns = now;
    }
    double seconds = (double)(now - p->start_ns) * 1e-9;
    if (!isatty(STDERR_FILENO) || seconds < 0.5 || done == 0 || total == 0) return;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    double part = (double)done / (double)total;
    int n = (int)(part * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < n ? '#' : '.';
    bar[WIDTH] = '\0';
    int64_t left = (int64_t)(seconds / part - seconds + 0.5);
    fprintf(stderr, "\r%s [%s] %3d%%, %" PRId64 ":%02" PRId64 " left ", what, bar,
            (int)(part * 100), left / 60, left % 60);
    p->is_shown = true;
}

static void print_result(const quantize_options *o, const qw_quantize_result *r)
{
    printf("%s: %.1f MB in %zu file%s, from %.1f MB;", o->dst, (double)r->bytes / 1e6, r->n_parts,
           r->n_parts == 1 ? "" : "s", (double)r->source_bytes / 1e6);
    const char *comma = "";
    for (int t = 0; t < QW_N_TARGETS; t++) {
        if (r->n_linears[t] == 0) continue;
        printf("%s %zu %s", comma, r->n_linears[t], qw_target_name((qw_target)t));
        comma = ",";
    }
    putchar('\n');
}

static qw_status quantize(const quantize_options *o, qw_error *err)
{
    char *src = NULL, *cache = o->pack_cache ? NULL : qw_cache_dir();
    const char *cache_dir = o->pack_cache ? (*o->pack_cache ? o->pack_cache : NULL) : cache;
    const qw_model_query query = {.model = o->src};
    texts t = {0};
    qw_recipe recipe = {0};
    progress bar = {.start_ns = qw_clock_ns()};
    qw_quantize_result result;
    qw_status st = qw_model_resolve(&src, &query, err);
    if (st == QW_OK && o->recipe) st = qw_recipe_load(&recipe, o->recipe, err);
    if (st == QW_OK && o->calib) st = read_texts(&t, o, src, cache_dir, err);
    if (st == QW_OK && o->scheme == QW_SCHEME_W4A4_FLATQUANT && !o->calib)
        QW_LOG(
            QW_LOG_WARN, "quantize",
            "without --calib, models with outliers in their inputs do not survive w4a4-flatquant; "
            "see what it costs with qwench eval --kl");
    if (st == QW_OK) {
        const qw_calibration_samples samples = {t.samples, t.n};
        const qw_quantize_options options = {
            .src = src,
            .dst = o->dst,
            .choices = {.scheme = (qw_scheme)o->scheme,
                        .method = (qw_scale_method)o->method,
                        .rules = recipe.rules,
                        .n_rules = recipe.n_rules,
                        .recipe = o->recipe,
                        .group_size = o->group_size,
                        .part_size = (uint64_t)o->part_size},
            .samples = o->calib ? &samples : NULL,
            .smooth = o->smooth,
            .alpha = o->smooth_alpha,
            .resume = o->resume,
            .n_threads = (int)o->cpu_threads,
            .cache_dir = cache_dir,
            .progress = show_progress,
            .progress_ctx = &bar,
        };
        st = qw_quantize(&result, &options, err);
        if (bar.is_shown) fputs("\r\033[K", stderr);
    }
    if (st == QW_OK) print_result(o, &result);
    release_texts(&t);
    qw_recipe_release(&recipe);
    qw_mem_free(src);
    qw_mem_free(cache);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    return 1;
}

static int cmd_quantize(const qw_command_call *call)
{
    quantize_options options = {0};
    void *const targets[] = {&options};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = quantize(&options, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench quantize ~/models/Qwen3-8B ~/models/Qwen3-8B-W8A8",
     "8-bit weights, activations quantized token by token; needs no data"},
    {"qwench quantize ~/models/Qwen3-8B ~/models/Qwen3-8B-W4A8 --scheme w4a8 --calib texts.jsonl",
     "4-bit weights, with inputs smoothed by what these texts show"},
    {0},
};

const qw_command qw_cmd_quantize = {
    .name = "quantize",
    .help = "write a checkpoint with 8-bit or 4-bit weights",
    .summary = "Quantizes a float checkpoint into the format of msModelSlim.",
    .description =
        "What is written is what Huawei's msModelSlim writes and vLLM-Ascend reads with "
        "--quantization ascend: safetensors files, their index and "
        "quant_model_description.json.\n\n"
        "While it works, everything lies in DST.partial; at the end that becomes DST. A run that "
        "was stopped goes on with --resume and gives the same bytes. Memory is needed for one "
        "layer, not for the model; calibration maps the packed weights of the float model.",
    .examples = examples,
    .run = cmd_quantize,
    .tables = tables,
};
