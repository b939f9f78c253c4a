#include "cli/dataset_args.h"

#include "format/opt_json.h"

#define FIELD(x) offsetof(qw_dataset_args, x)
#define GROUP "Dataset"

enum { MAX_TOKENS = 1 << 24, MAX_SIDE = 16384 };

static const char *const datasets[] = {"random", "random-mm",         "sharegpt", "custom",
                                       "sonnet", "prefix_repetition", NULL};

static const qw_opt rows[] = {
    {"dataset_name", QW_OPT_STR, FIELD(dataset_name), .def = "random", .choices = datasets,
     .group = GROUP, .metavar = "NAME",
     .help = "random, random-mm, sharegpt, custom, sonnet or prefix_repetition"},
    {"dataset_path", QW_OPT_STR, FIELD(dataset_path), .group = GROUP, .metavar = "FILE",
     .help = "sharegpt: its JSON; custom: JSON lines with \"prompt\"; sonnet: a text"},
    {"num_prompts", QW_OPT_INT, FIELD(num_prompts), .def = "1000", .min = 1, .max = 1 << 24,
     .group = GROUP, .help = "requests"},
    {"disable_shuffle", QW_OPT_FLAG, FIELD(disable_shuffle), .group = GROUP,
     .help = "take the entries of a dataset in their order"},
    {"no_oversample", QW_OPT_FLAG, FIELD(no_oversample), .group = GROUP,
     .help = "do not repeat entries when a file has fewer than --num-prompts"},
    {"skip_chat_template", QW_OPT_FLAG, FIELD(skip_chat_template), .group = GROUP,
     .help = "custom: the prompts are complete"},
    {"no_stream", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP,
     .warning = "it has no effect: datasets are local files", .help = "no effect"},
    {"enable_multimodal_chat", QW_OPT_FLAG, QW_OPT_NO_FIELD, .group = GROUP,
     .warning = "it has no effect: chat messages are made of parts anyway", .help = "no effect"},
    {"input_len", QW_OPT_INT, FIELD(input_len), .def = "-1", .min = -1, .max = MAX_TOKENS,
     .group = GROUP, .def_note = "the dataset's", .help = "tokens of a prompt, of any dataset"},
    {"output_len", QW_OPT_INT, FIELD(output_len), .def = "-1", .min = -1, .max = MAX_TOKENS,
     .group = GROUP, .def_note = "the dataset's", .help = "tokens to generate, of any dataset"},
    {"prefix_len", QW_OPT_INT, FIELD(prefix_len), .def = "-1", .min = -1, .max = MAX_TOKENS,
     .group = GROUP, .def_note = "the dataset's", .help = "common tokens, of any dataset"},
    {"random_input_len", QW_OPT_INT, FIELD(random_input_len), .def = "1024", .min = 0,
     .max = MAX_TOKENS, .group = GROUP, .help = "random: tokens of a prompt"},
    {"random_output_len", QW_OPT_INT, FIELD(random_output_len), .def = "128", .min = 1,
     .max = MAX_TOKENS, .group = GROUP, .help = "random: tokens to generate"},
    {"random_prefix_len", QW_OPT_INT, FIELD(random_prefix_len), .def = "0", .min = 0,
     .max = MAX_TOKENS, .group = GROUP, .help = "random: tokens in front that all prompts share"},
    {"random_range_ratio", QW_OPT_STR, FIELD(random_range_ratio), .def = "0.0", .group = GROUP,
     .metavar = "R",
     .help =
         "random: lengths from L(1-R) to L(1+R); 0 to below 1, or {\"input\": R, \"output\": R}"},
    {"random_batch_size", QW_OPT_INT, QW_OPT_NO_FIELD, .def = "1", .min = 1, .max = 1 << 20,
     .group = GROUP, .help = "no effect: it is for embeddings"},
    {"random_mm_base_items_per_request", QW_OPT_INT, FIELD(mm_items), .def = "1", .min = 0,
     .max = 1 << 16, .group = GROUP, .help = "random-mm: pictures of a request"},
    {"random_mm_num_mm_items_range_ratio", QW_OPT_FLOAT, FIELD(mm_items_range_ratio), .def = "0.0",
     .min = 0, .max = 1, .group = GROUP, .help = "random-mm: how much that number varies"},
    {"random_mm_limit_mm_per_prompt", QW_OPT_JSON, FIELD(mm_limit), .group = GROUP,
     .def_note = "{\"image\": 255, \"video\": 1}", .help = "random-mm: most items of a request"},
    {"random_mm_bucket_config", QW_OPT_STR, FIELD(mm_buckets), .group = GROUP,
     .def = "{(256, 256, 1): 0.5, (720, 1280, 1): 0.5, (720, 1280, 16): 0.0}",
     .help = "random-mm: {(height, width, frames): probability}; pictures have one frame"},
    {"sharegpt_output_len", QW_OPT_INT, FIELD(sharegpt_output_len), .def = "-1", .min = -1,
     .max = MAX_TOKENS, .group = GROUP, .def_note = "as in the file",
     .help = "sharegpt: tokens to generate"},
    {"custom_output_len", QW_OPT_INT, FIELD(custom_output_len), .def = "256", .min = -1,
     .max = MAX_TOKENS, .group = GROUP,
     .help = "custom: tokens to generate; -1: \"output_tokens\" of each line"},
    {"sonnet_input_len", QW_OPT_INT, FIELD(sonnet_input_len), .def = "550", .min = 1,
     .max = MAX_TOKENS, .group = GROUP, .help = "sonnet: tokens of a prompt"},
    {"sonnet_output_len", QW_OPT_INT, FIELD(sonnet_output_len), .def = "150", .min = 1,
     .max = MAX_TOKENS, .group = GROUP, .help = "sonnet: tokens to generate"},
    {"sonnet_prefix_len", QW_OPT_INT, FIELD(sonnet_prefix_len), .def = "200", .min = 0,
     .max = MAX_TOKENS, .group = GROUP, .help = "sonnet: tokens in front that all prompts share"},
    {"prefix_repetition_prefix_len", QW_OPT_INT, FIELD(repetition_prefix_len), .def = "256",
     .min = 1, .max = MAX_TOKENS, .group = GROUP, .help = "prefix_repetition: tokens of a prefix"},
    {"prefix_repetition_suffix_len", QW_OPT_INT, FIELD(repetition_suffix_len), .def = "256",
     .min = 1, .max = MAX_TOKENS, .group = GROUP, .help = "prefix_repetition: tokens behind it"},
    {"prefix_repetition_num_prefixes", QW_OPT_INT, FIELD(repetition_num_prefixes), .def = "10",
     .min = 1, .max = 1 << 24, .group = GROUP, .help = "prefix_repetition: different prefixes"},
    {"prefix_repetition_output_len", QW_OPT_INT, FIELD(repetition_output_len), .def = "128",
     .min = 1, .max = MAX_TOKENS, .group = GROUP, .help = "prefix_repetition: tokens to generate"},
};

const qw_opt *qw_dataset_args_rows(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

// The name

static qw_status read_kind(qw_dataset_kind *out, const char *name, qw_error *err)
{
    static const char *const unknown[] = {"burstgpt",    "hf",           "random-rerank",
                                          "spec_bench",  "custom_image", "custom_audio",
                                          "speed_bench", "timed_trace",  NULL};
    for (size_t i = 0; datasets[i]; i++) {
        if (strcmp(datasets[i], name) != 0) continue;
        *out = (qw_dataset_kind)i;
        return QW_OK;
    }
    for (size_t i = 0; unknown[i]; i++)
        if (strcmp(unknown[i], name) == 0)
            return qw_fail(err, QW_ERR_USAGE,
                           "argument --dataset-name '%s': not supported; choose random, random-mm, "
                           "sharegpt, custom, sonnet or prefix_repetition",
                           name);
    return qw_fail(err, QW_ERR_USAGE,
                   "argument --dataset-name: invalid choice: '%s' (choose from 'random', "
                   "'random-mm', 'sharegpt', 'custom', 'sonnet', 'prefix_repetition')",
                   name);
}

// Lengths

static bool is_typed(const qw_opts *opts, const char *name)
{
    return qw_opts_get(opts, name)->source > QW_OPT_FROM_DEFAULT;
}

// The dataset's own option if it was typed, else the general one, else the default.
static int64_t pick(const qw_opts *opts, const char *name, int64_t own, int64_t general)
{
    return general >= 0 && !is_typed(opts, name) ? general : own;
}

static void set_lengths(qw_dataset_options *o, const qw_dataset_args *a, const qw_opts *opts)
{
    int64_t in = a->input_len, out = a->output_len, prefix = a->prefix_len;
    switch (o->kind) {
    case QW_DATASET_RANDOM:
    case QW_DATASET_RANDOM_MM:
        o->input_len = pick(opts, "random-input-len", a->random_input_len, in);
        o->output_len = pick(opts, "random-output-len", a->random_output_len, out);
        o->prefix_len = pick(opts, "random-prefix-len", a->random_prefix_len, prefix);
        break;
    case QW_DATASET_SHAREGPT:
        o->output_len = pick(opts, "sharegpt-output-len", a->sharegpt_output_len, out);
        break;
    case QW_DATASET_CUSTOM:
        o->output_len = pick(opts, "custom-output-len", a->custom_output_len, out);
        break;
    case QW_DATASET_SONNET:
        o->input_len = pick(opts, "sonnet-input-len", a->sonnet_input_len, in);
        o->output_len = pick(opts, "sonnet-output-len", a->sonnet_output_len, out);
        o->prefix_len = pick(opts, "sonnet-prefix-len", a->sonnet_prefix_len, prefix);
        break;
    case QW_DATASET_PREFIX_REPETITION:
        o->input_len = pick(opts, "prefix-repetition-suffix-len", a->repetition_suffix_len, in);
        o->output_len = pick(opts, "prefix-repetition-output-len", a->repetition_output_len, out);
        o->prefix_len =
            pick(opts, "prefix-repetition-prefix-len", a->repetition_prefix_len, prefix);
        o->n_prefixes = a->repetition_num_prefixes;
        break;
    }
}

static qw_status check_ratio(double ratio, qw_error *err)
{
    if (ratio >= 0 && ratio < 1) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE, "--random-range-ratio %g: must be from 0 to below 1", ratio);
}

static qw_status read_ratios(qw_dataset_options *o, const char *text, qw_error *err)
{
    double ratio;
    if (qw_str_to_f64(qw_str_of(text), &ratio)) {
        o->input_range_ratio = o->output_range_ratio = ratio;
        return check_ratio(ratio, err);
    }
    json_t *object;
    qw_status st = qw_json_parse(&object, text, strlen(text), "--random-range-ratio", err);
    if (st != QW_OK || !json_is_object(object)) {
        if (st == QW_OK) json_decref(object);
        return qw_fail(err, QW_ERR_USAGE,
                       "--random-range-ratio '%s' is neither a number nor {\"input\": R, "
                       "\"output\": R}",
                       text);
    }
    st = qw_json_get_f64(&o->input_range_ratio, object, "input", 0, 1, err);
    if (st == QW_OK) st = qw_json_get_f64(&o->output_range_ratio, object, "output", 0, 1, err);
    if (st != QW_OK) qw_context(err, st, "--random-range-ratio");
    if (st == QW_OK) st = check_ratio(o->input_range_ratio, err);
    if (st == QW_OK) st = check_ratio(o->output_range_ratio, err);
    json_decref(object);
    return st;
}

// Pictures

/** Reads a Python literal of tuples of numbers. */
typedef struct literal {
    const char *p;
} literal;

static bool take(literal *l, char c)
{
    l->p += strspn(l->p, " \t\n");
    if (*l->p != c) return false;
    l->p++;
    return true;
}

static bool take_number(literal *l, double *out)
{
    l->p += strspn(l->p, " \t\n");
    size_t len = strspn(l->p, "0123456789.eE+-");
    bool ok = qw_str_to_f64((qw_str){l->p, len}, out);
    l->p += len;
    return ok;
}

static bool take_count(literal *l, int64_t max, int64_t *out)
{
    double value;
    if (!take_number(l, &value) || value < 1 || value > (double)max) return false;
    *out = (int64_t)value;
    return (double)*out == value;
}

static bool take_bucket(literal *l, qw_mm_bucket *b)
{
    return take(l, '(') && take_count(l, MAX_SIDE, &b->height) && take(l, ',') &&
           take_count(l, MAX_SIDE, &b->width) && take(l, ',') &&
           take_count(l, 1 << 20, &b->n_frames) && take(l, ')') && take(l, ':') &&
           take_number(l, &b->probability) && b->probability >= 0;
}

static qw_status read_buckets(qw_mm_options *mm, const char *text, qw_error *err)
{
    literal l = {text};
    bool ok = take(&l, '{');
    mm->n_buckets = 0;
    while (ok && !take(&l, '}')) {
        ok = mm->n_buckets < QW_MM_MAX_BUCKETS && take_bucket(&l, &mm->buckets[mm->n_buckets]);
        mm->n_buckets++;
        if (ok && !take(&l, ',')) {
            ok = take(&l, '}');
            break;
        }
    }
    l.p += strspn(l.p, " \t\n");
    if (ok && *l.p == '\0' && mm->n_buckets > 0) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE,
                   "--random-mm-bucket-config '%.200s': expected {(height, width, frames): "
                   "probability, ...} with sides from 1 to %d",
                   text, MAX_SIDE);
}

static qw_status read_mm(qw_mm_options *mm, const qw_dataset_args *a, qw_error *err)
{
    mm->items_per_request = a->mm_items;
    mm->items_range_ratio = a->mm_items_range_ratio;
    mm->max_images = 255;
    qw_status st = read_buckets(mm, a->mm_buckets, err);
    if (st != QW_OK) return st;
    json_t *limit;
    st = qw_opt_json_merge(&limit, &a->mm_limit, "random-mm-limit-mm-per-prompt", err);
    if (st != QW_OK) return st;
    st = qw_json_get_i64(&mm->max_images, limit, "image", 0, 65536, err);
    json_decref(limit);
    return st == QW_OK ? st : qw_context(err, st, "--random-mm-limit-mm-per-prompt");
}

qw_status qw_dataset_args_read(qw_dataset_options *out, const qw_dataset_args *a,
                               const qw_opts *opts, qw_error *err)
{
    qw_dataset_options o = {.path = a->dataset_path,
                            .n_requests = (size_t)a->num_prompts,
                            .disable_shuffle = a->disable_shuffle,
                            .no_oversample = a->no_oversample,
                            .skip_chat_template = a->skip_chat_template};
    qw_status st = read_kind(&o.kind, a->dataset_name, err);
    if (st == QW_OK) st = read_ratios(&o, a->random_range_ratio, err);
    if (st == QW_OK && o.kind == QW_DATASET_RANDOM_MM) st = read_mm(&o.mm, a, err);
    if (st != QW_OK) return st;
    set_lengths(&o, a, opts);
    *out = o;
    return QW_OK;
}
