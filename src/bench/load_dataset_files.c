// Prompts from files: vLLM's ShareGPTDataset, CustomDataset and SonnetDataset.
#include <math.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/load_dataset_internal.h"

enum { MIN_TOKENS = 4, MAX_PROMPT = 1024, MAX_TOTAL = 2048 }; // of sharegpt

#define MAX_FILE ((size_t)2 << 30)
#define MAX_TEXT ((size_t)256 << 20)

static qw_status need_path(const qw_dataset_options *o, const char *name, qw_error *err)
{
    if (o->path) return QW_OK;
    return qw_fail(err, QW_ERR_USAGE, "--dataset-name %s needs a file: give --dataset-path", name);
}

// ShareGPT

// The text of turn `i` of an entry; false when there is none.
static bool get_turn(qw_str *out, const json_t *entry, size_t i)
{
    const json_t *turn = json_array_get(json_object_get(entry, "conversations"), i);
    *out = qw_json_str(json_object_get(turn, "value"));
    return out->ptr != NULL;
}

static qw_status add_conversation(qw_load_dataset *d, const qw_dataset_options *o,
                                  const json_t *entry, qw_error *err)
{
    qw_str prompt, answer;
    int64_t n_prompt, n_output = o->output_len;
    if (!get_turn(&prompt, entry, 0) || !get_turn(&answer, entry, 1)) return QW_OK;
    qw_status st = qw_load_count_tokens(&n_prompt, o, prompt, err);
    if (st == QW_OK && n_output < 0) st = qw_load_count_tokens(&n_output, o, answer, err);
    bool is_short = n_prompt < MIN_TOKENS || (o->output_len < 0 && n_output < MIN_TOKENS);
    if (st != QW_OK || is_short || n_prompt > MAX_PROMPT || n_prompt + n_output > MAX_TOTAL)
        return st;
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_buf_append(&text, prompt.ptr, prompt.len);
    st = qw_load_dataset_add(d, &text, n_prompt, n_output, err);
    qw_buf_release(&text);
    return st;
}

static qw_status add_conversations(qw_load_dataset *d, const qw_dataset_options *o,
                                   const json_t *list, qw_error *err)
{
    size_t n = json_array_size(list);
    size_t *order = qw_mem_array(n ? n : 1, sizeof *order);
    if (!order) return qw_fail_memory(err, n * sizeof *order, "the dataset");
    for (size_t i = 0; i < n; i++) order[i] = i;
    qw_draws draws;
    qw_draws_init(&draws, o->seed, 4);
    if (!o->disable_shuffle) qw_draws_shuffle(&draws, order, n);
    qw_status st = QW_OK;
    for (size_t i = 0; i < n && d->n < o->n_requests && st == QW_OK; i++)
        st = add_conversation(d, o, json_array_get(list, order[i]), err);
    qw_mem_free(order);
    return st;
}

qw_status qw_load_dataset_sharegpt(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    json_t *list = NULL;
    qw_status st = need_path(o, "sharegpt", err);
    if (st == QW_OK) st = qw_json_load(&list, o->path, MAX_FILE, err);
    if (st == QW_OK && !json_is_array(list))
        st = qw_fail(err, QW_ERR_FORMAT,
                     "'%s' holds no list of conversations but %s; ShareGPT's form is "
                     "[{\"conversations\": [{\"value\": ...}, ...]}, ...]",
                     o->path, qw_json_type_name(list));
    if (st == QW_OK) st = add_conversations(d, o, list, err);
    if (st == QW_OK && d->n == 0)
        st = qw_fail(err, QW_ERR_FORMAT,
                     "'%s' has no conversation of two turns with %d to %d tokens of prompt and at "
                     "most %d in all",
                     o->path, MIN_TOKENS, MAX_PROMPT, MAX_TOTAL);
    json_decref(list);
    return st;
}

// Lines of a file

typedef struct text_file {
    qw_buf text;
    qw_str *lines; /* owned; each with its newline */
    size_t n;
} text_file;

static void text_file_release(text_file *f)
{
    qw_buf_release(&f->text);
    qw_mem_free(f->lines);
}

static qw_status text_file_read(text_file *f, const char *path, qw_error *err)
{
    *f = (text_file){0};
    qw_buf_init(&f->text, MAX_FILE);
    qw_status st = qw_file_read(&f->text, path, err);
    if (st != QW_OK) return st;
    size_t n = 1;
    for (size_t i = 0; i < f->text.len; i++) n += f->text.data[i] == '\n';
    f->lines = qw_mem_array(n, sizeof *f->lines);
    if (!f->lines) return qw_fail_memory(err, n * sizeof *f->lines, "the dataset");
    for (size_t at = 0; at < f->text.len;) {
        const char *begin = f->text.data + at, *end = memchr(begin, '\n', f->text.len - at);
        size_t len = end ? (size_t)(end - begin) + 1 : f->text.len - at;
        f->lines[f->n++] = (qw_str){begin, len};
        at += len;
    }
    return QW_OK;
}

static bool is_blank(qw_str line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r\n", line.ptr[i])) return false;
    return true;
}

// Custom: JSON lines

// Chat template and count.
static qw_status add_text(qw_load_dataset *d, const qw_dataset_options *o, qw_str prompt,
                          int64_t n_output, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_status st = QW_OK;
    int64_t n_prompt = 0;
    if (o->skip_chat_template)
        qw_buf_append(&text, prompt.ptr, prompt.len);
    else
        st = qw_load_apply_template(&text, o, prompt, err);
    if (st == QW_OK) st = qw_buf_check(&text, "a prompt", err);
    if (st == QW_OK) st = qw_load_count_tokens(&n_prompt, o, (qw_str){text.data, text.len}, err);
    if (st == QW_OK) st = qw_load_dataset_add(d, &text, n_prompt, n_output, err);
    qw_buf_release(&text);
    return st;
}

static qw_status add_custom(qw_load_dataset *d, const qw_dataset_options *o, const json_t *object,
                            qw_error *err)
{
    if (!json_is_object(object))
        return qw_fail(err, QW_ERR_FORMAT, "expected a JSON object with \"prompt\", not %s",
                       qw_json_type_name(object));
    const json_t *prompt = json_object_get(object, "prompt");
    if (!json_is_string(prompt))
        return qw_fail(err, QW_ERR_FORMAT, "there is no \"prompt\", which must be a string");
    int64_t n_output = o->output_len;
    if (n_output < 0) {
        qw_status st =
            qw_json_get_i64(&n_output, object, "output_tokens", 1, (int64_t)1 << 30, err);
        if (st != QW_OK) return st;
        if (n_output < 0)
            return qw_fail(err, QW_ERR_FORMAT,
                           "there is no \"output_tokens\", and --custom-output-len is -1");
    }
    return add_text(d, o, qw_json_str(prompt), n_output, err);
}

static qw_status add_line(qw_load_dataset *d, const qw_dataset_options *o, qw_str line,
                          size_t number, qw_error *err)
{
    json_t *object = NULL;
    qw_status st = qw_json_parse(&object, line.ptr, line.len, "the line", err);
    if (st == QW_OK) st = add_custom(d, o, object, err);
    json_decref(object);
    return st == QW_OK ? st : qw_context(err, st, "'%s', line %zu", o->path, number);
}

static qw_status add_lines(qw_load_dataset *d, const qw_dataset_options *o, const text_file *f,
                           qw_error *err)
{
    size_t *order = qw_mem_array(f->n ? f->n : 1, sizeof *order), n = 0;
    if (!order) return qw_fail_memory(err, f->n * sizeof *order, "the dataset");
    for (size_t i = 0; i < f->n; i++)
        if (!is_blank(f->lines[i])) order[n++] = i;
    qw_draws draws;
    qw_draws_init(&draws, o->seed, 4);
    if (!o->disable_shuffle) qw_draws_shuffle(&draws, order, n);
    qw_status st = QW_OK;
    for (size_t i = 0; i < n && d->n < o->n_requests && st == QW_OK; i++)
        st = add_line(d, o, f->lines[order[i]], order[i] + 1, err);
    qw_mem_free(order);
    return st;
}

qw_status qw_load_dataset_custom(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    qw_status st = need_path(o, "custom", err);
    if (st != QW_OK) return st;
    text_file f;
    st = text_file_read(&f, o->path, err);
    if (st == QW_OK) st = add_lines(d, o, &f, err);
    text_file_release(&f);
    return st;
}

// Sonnet: lines of a poem

static const char sonnet_task[] = "Pick as many lines as you can from these poem lines:\n";

/** How many lines make a prompt. */
typedef struct sonnet_sizes {
    size_t n_lines, n_prefix;
} sonnet_sizes;

static qw_status count_formatted(int64_t *out, const qw_dataset_options *o, qw_buf *formatted,
                                 qw_str text, qw_error *err)
{
    qw_buf_clear(formatted);
    qw_status st = qw_load_apply_template(formatted, o, text, err);
    if (st == QW_OK) st = qw_buf_check(formatted, "a prompt", err);
    if (st != QW_OK) return st;
    return qw_load_count_tokens(out, o, (qw_str){formatted->data, formatted->len}, err);
}

static qw_status plan_sonnet(sonnet_sizes *out, const qw_dataset_options *o, const text_file *f,
                             qw_buf *formatted, qw_error *err)
{
    int64_t base = 0, n_tokens = 0;
    qw_status st = count_formatted(&base, o, formatted, qw_str_of(sonnet_task), err);
    for (size_t i = 0; i < f->n && st == QW_OK; i++) {
        int64_t n;
        st = qw_load_count_tokens(&n, o, f->lines[i], err);
        n_tokens += n;
    }
    if (st != QW_OK) return st;
    if (n_tokens == 0) return qw_fail(err, QW_ERR_FORMAT, "'%s' holds no text", o->path);
    if (o->input_len <= base)
        return qw_fail(err, QW_ERR_USAGE,
                       "'input_len' must be higher than the base prompt length (%" PRId64 ").",
                       base);
    double mean = (double)n_tokens / (double)f->n;
    double lines = nearbyint((double)(o->input_len - base) / mean);
    double prefix = nearbyint((double)(o->prefix_len - base) / mean);
    if (prefix < 0) prefix = 0;
    if (prefix > lines) // no more of the same than of all
        return qw_fail(err, QW_ERR_USAGE,
                       "--sonnet-prefix-len %" PRId64 " does not fit into --sonnet-input-len "
                       "%" PRId64,
                       o->prefix_len, o->input_len);
    *out = (sonnet_sizes){(size_t)lines, (size_t)prefix < f->n ? (size_t)prefix : f->n};
    return QW_OK;
}

static qw_status add_sonnet(qw_load_dataset *d, const qw_dataset_options *o, const text_file *f,
                            sonnet_sizes sizes, qw_draws *draws, qw_buf *formatted, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, MAX_TEXT);
    qw_buf_puts(&text, sonnet_task);
    for (size_t i = 0; i < sizes.n_lines; i++) {
        size_t at = i < sizes.n_prefix ? i : (size_t)qw_draws_range(draws, 0, (int64_t)f->n - 1);
        qw_buf_append(&text, f->lines[at].ptr, f->lines[at].len);
    }
    int64_t n_prompt = 0;
    qw_status st = qw_buf_check(&text, "a prompt", err);
    if (st == QW_OK)
        st = count_formatted(&n_prompt, o, formatted, (qw_str){text.data, text.len}, err);
    if (st == QW_OK && n_prompt <= o->input_len)
        st = qw_load_dataset_add(d, o->is_chat ? &text : formatted, n_prompt, o->output_len, err);
    qw_buf_release(&text);
    return st;
}

qw_status qw_load_dataset_sonnet(qw_load_dataset *d, const qw_dataset_options *o, qw_error *err)
{
    qw_status st = need_path(o, "sonnet", err);
    if (st != QW_OK) return st;
    text_file f;
    qw_buf formatted;
    qw_buf_init(&formatted, MAX_TEXT);
    sonnet_sizes sizes = {0};
    st = text_file_read(&f, o->path, err);
    if (st == QW_OK) st = plan_sonnet(&sizes, o, &f, &formatted, err);
    qw_draws draws;
    qw_draws_init(&draws, o->seed, 5);
    // A draw that became too long is drawn again; lines of one length can never be too long for
    // ever, but a poem of one line can.
    for (size_t n_tries = 0; st == QW_OK && d->n < o->n_requests; n_tries++) {
        if (n_tries > 1000 + 100 * o->n_requests)
            st = qw_fail(err, QW_ERR_FORMAT,
                         "no choice of lines of '%s' gives a prompt of at most %" PRId64 " tokens",
                         o->path, o->input_len);
        else
            st = add_sonnet(d, o, &f, sizes, &draws, &formatted, err);
    }
    qw_buf_release(&formatted);
    text_file_release(&f);
    return st;
}
