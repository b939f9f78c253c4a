#include "engine/sampling_params.h"

#include "base/log.h"
#include "base/mem.h"
#include "format/json_lax.h"
#include "format/opt_json.h"

#define GROUP "Sampling"
#define FIELD(x) offsetof(qw_sampling_params, x)
#define LOWEST_TEMPERATURE 0.01
#define FROM_MODEL "the model's generation_config.json, else "

// The fields. The names are the JSON keys; the flags are the same with dashes. Ranges are checked
// in validate, for all sources alike, so `allowed` only tells them.
static const qw_opt rows[] = {
    {"temperature", QW_OPT_FLOAT, FIELD(temperature), .group = GROUP, .allowed = "at least 0",
     .def_note = FROM_MODEL "1.0",
     .help = "how freely to choose: 0 always takes the likeliest token, 1 follows the model's "
             "probabilities, more is wilder"},
    {"top_p", QW_OPT_FLOAT, FIELD(top_p), .group = GROUP, .allowed = "above 0, at most 1",
     .def_note = FROM_MODEL "1.0",
     .help = "keep only the likeliest tokens whose probabilities add up to this"},
    {"top_k", QW_OPT_INT, FIELD(top_k), .group = GROUP, .allowed = "0 or -1: off",
     .def_note = FROM_MODEL "0", .help = "keep only this many of the likeliest tokens"},
    {"min_p", QW_OPT_FLOAT, FIELD(min_p), .group = GROUP, .allowed = "from 0 to 1",
     .def_note = FROM_MODEL "0.0",
     .help = "drop tokens less likely than this share of the likeliest one"},
    {"repetition_penalty", QW_OPT_FLOAT, FIELD(repetition_penalty), .group = GROUP,
     .allowed = "above 0", .def_note = FROM_MODEL "1.0",
     .help = "above 1 makes tokens of prompt and answer less likely to come again"},
    {"frequency_penalty", QW_OPT_FLOAT, FIELD(frequency_penalty), .group = GROUP,
     .allowed = "from -2 to 2", .def_note = "0.0",
     .help = "taken off a token's logit for each time it was generated"},
    {"presence_penalty", QW_OPT_FLOAT, FIELD(presence_penalty), .group = GROUP,
     .allowed = "from -2 to 2", .def_note = "0.0",
     .help = "taken off a token's logit once it was generated"},
    {"seed", QW_OPT_INT, FIELD(seed), .group = GROUP, .allowed = "-1: none",
     .help = "makes the choice repeatable: same seed, prompt and parameters, same tokens"},
    {"n", QW_OPT_INT, FIELD(n), .group = GROUP, .allowed = "at least 1", .def_note = "1",
     .help = "answers for each prompt"},
    {"max_tokens", QW_OPT_INT, FIELD(max_tokens), .group = GROUP, .allowed = "at least 1",
     .def_note = FROM_MODEL "to the end of the context", .help = "most tokens to generate"},
    {"min_tokens", QW_OPT_INT, FIELD(min_tokens), .group = GROUP, .allowed = "at least 0",
     .def_note = "0", .help = "no end of text, stop token or stop string before this many tokens"},
    {"ignore_eos", QW_OPT_BOOL, FIELD(ignore_eos), .group = GROUP, .def_note = "off",
     .help = "go on after the end-of-text token"},
    {"logprobs", QW_OPT_INT, FIELD(logprobs), .group = GROUP, .allowed = "-1: all",
     .def_note = "none",
     .help = "report log-probabilities of each chosen token and of this many likeliest ones"},
    {"prompt_logprobs", QW_OPT_INT, FIELD(prompt_logprobs), .group = GROUP, .allowed = "-1: all",
     .def_note = "none", .help = "the same for the tokens of the prompt"},
    {"skip_special_tokens", QW_OPT_BOOL, FIELD(skip_special_tokens), .group = GROUP,
     .def_note = "on", .help = "leave tokens such as <|im_end|> out of the text"},
    {"spaces_between_special_tokens", QW_OPT_BOOL, FIELD(spaces_between_special_tokens),
     .group = GROUP, .def_note = "on", .help = "put spaces around special tokens that are shown"},
    {"include_stop_str_in_output", QW_OPT_BOOL, FIELD(include_stop_str_in_output), .group = GROUP,
     .def_note = "off", .help = "keep the stop string or token that ended the text"},
    {"stop", QW_OPT_STRS, FIELD(stop), FIELD(n_stop), .group = GROUP, .append = true,
     .help = "end the text where this string comes up"},
    {"stop_token_ids", QW_OPT_INTS, FIELD(stop_token_ids), FIELD(n_stop_token_ids), .group = GROUP,
     .help = "end the text at one of these tokens"},
    {"logit_bias", QW_OPT_JSON, FIELD(logit_bias), FIELD(n_logit_bias), .group = GROUP,
     .allowed = "biases from -100 to 100",
     .help = "added to the logits of some tokens: {\"TOKEN ID\": BIAS, ...}"},
    {"allowed_token_ids", QW_OPT_INTS, FIELD(allowed_token_ids), FIELD(n_allowed_token_ids),
     .group = GROUP, .help = "generate no other tokens than these"},
    {"bad_words", QW_OPT_STRS, FIELD(bad_words), FIELD(n_bad_words), .group = GROUP, .append = true,
     .help = "a word that must not be generated"},
};

static void *field_at(qw_sampling_params *p, size_t offset)
{
    return (char *)p + offset;
}

// Memory.

static void free_strings(char **items, size_t n)
{
    for (size_t i = 0; i < n && items; i++) qw_mem_free(items[i]);
    qw_mem_free(items);
}

static void free_bad_word_ids(qw_sampling_params *p)
{
    for (size_t i = 0; i < p->n_bad_word_ids; i++) qw_mem_free(p->bad_word_ids[i].ids);
    qw_mem_free(p->bad_word_ids);
    p->bad_word_ids = NULL;
    p->n_bad_word_ids = 0;
}

void qw_sampling_params_init(qw_sampling_params *p)
{
    *p = (qw_sampling_params){
        .temperature = 1.0,
        .top_p = 1.0,
        .repetition_penalty = 1.0,
        .n = 1,
        .max_tokens = -1,
        .logprobs = QW_LOGPROBS_OFF,
        .prompt_logprobs = QW_LOGPROBS_OFF,
        .skip_special_tokens = true,
        .spaces_between_special_tokens = true,
        .thinking_token_budget = -1,
    };
}

void qw_sampling_params_release(qw_sampling_params *p)
{
    free_strings(p->stop, p->n_stop);
    free_strings(p->bad_words, p->n_bad_words);
    free_bad_word_ids(p);
    qw_mem_free(p->stop_token_ids);
    qw_mem_free(p->logit_bias);
    qw_mem_free(p->allowed_token_ids);
    qw_grammar_unref(p->grammar);
    qw_sampling_params_init(p);
}

// A copy of n elements; an empty array copies to NULL. False when memory is short.
static bool copy_array(void *out, const void *items, size_t n, size_t size)
{
    void *copy = NULL;
    if (n > 0) {
        copy = qw_mem_array(n, size);
        if (!copy) return false;
        memcpy(copy, items, n * size);
    }
    memcpy(out, &copy, sizeof copy);
    return true;
}

static bool copy_strings(char ***out, char *const *items, size_t n)
{
    char **copy = NULL;
    if (n > 0 && !(copy = qw_mem_calloc(n, sizeof *copy))) return false;
    for (size_t i = 0; i < n; i++) {
        copy[i] = qw_mem_strdup(items[i]);
        if (copy[i]) continue;
        free_strings(copy, n);
        return false;
    }
    *out = copy;
    return true;
}

static bool copy_bad_word_ids(qw_sampling_params *out, const qw_sampling_params *p)
{
    if (p->n_bad_word_ids == 0) return true;
    out->bad_word_ids = qw_mem_calloc(p->n_bad_word_ids, sizeof *out->bad_word_ids);
    if (!out->bad_word_ids) return false;
    out->n_bad_word_ids = p->n_bad_word_ids;
    for (size_t i = 0; i < p->n_bad_word_ids; i++) {
        const qw_token_seq *seq = &p->bad_word_ids[i];
        if (!copy_array(&out->bad_word_ids[i].ids, seq->ids, seq->len, sizeof *seq->ids))
            return false;
        out->bad_word_ids[i].len = seq->len;
    }
    return true;
}

qw_status qw_sampling_params_copy(qw_sampling_params *out, const qw_sampling_params *p,
                                  qw_error *err)
{
    qw_sampling_params copy = *p;
    copy.stop = copy.bad_words = NULL;
    copy.stop_token_ids = copy.allowed_token_ids = NULL;
    copy.logit_bias = NULL;
    copy.bad_word_ids = NULL;
    copy.n_bad_word_ids = 0;
    if (copy.grammar) (void)qw_grammar_ref(copy.grammar);
    bool whole =
        copy_strings(&copy.stop, p->stop, p->n_stop) &&
        copy_strings(&copy.bad_words, p->bad_words, p->n_bad_words) &&
        copy_array(&copy.stop_token_ids, p->stop_token_ids, p->n_stop_token_ids,
                   sizeof *p->stop_token_ids) &&
        copy_array(&copy.logit_bias, p->logit_bias, p->n_logit_bias, sizeof *p->logit_bias) &&
        copy_array(&copy.allowed_token_ids, p->allowed_token_ids, p->n_allowed_token_ids,
                   sizeof *p->allowed_token_ids) &&
        copy_bad_word_ids(&copy, p);
    if (!whole) {
        qw_sampling_params_release(&copy);
        return qw_fail_memory(err, sizeof copy, "sampling parameters");
    }
    *out = copy;
    return QW_OK;
}

// JSON values into fields.

static qw_status set_strings(qw_sampling_params *p, const qw_opt *row, const json_t *v,
                             qw_error *err)
{
    // One string stands for a list of one.
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if (!json_is_string(v) && !json_is_array(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be a string or a list of strings, got %s",
                       row->name, qw_json_type_name(v));
    char **items = qw_mem_calloc(n, sizeof *items);
    if (!items) return qw_fail_memory(err, n * sizeof *items, row->name);
    qw_status st = QW_OK;
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        const json_t *item = json_is_string(v) ? v : json_array_get(v, i);
        qw_str text = json_is_string(item) ? qw_json_str(item) : (qw_str){0};
        if (!json_is_string(item))
            st = qw_fail(err, QW_ERR_FORMAT, "'%s[%zu]' must be a string, got %s", row->name, i,
                         qw_json_type_name(item));
        else if (text.len == 0)
            st = qw_fail(err, QW_ERR_USAGE, "%s cannot contain an empty string.", row->name);
        else if (memchr(text.ptr, '\0', text.len))
            st = qw_fail(err, QW_ERR_USAGE, "%s cannot contain a NUL character.", row->name);
        else if (!(items[i] = qw_mem_strndup(text.ptr, text.len)))
            st = qw_fail_memory(err, text.len, row->name);
    }
    if (st != QW_OK) {
        free_strings(items, n);
        return st;
    }
    char ***list = field_at(p, row->offset);
    size_t *count = field_at(p, row->n_offset);
    free_strings(*list, *count);
    *list = items;
    *count = n;
    return QW_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static size_t sort_unique_ids(int32_t *ids, size_t n)
{
    if (n == 0) return 0;
    qsort(ids, n, sizeof *ids, compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (ids[i] != ids[kept - 1]) ids[kept++] = ids[i];
    return kept;
}

// Ids that no int32_t holds, and negative ones, cannot be in any vocabulary.
static qw_status set_ids(qw_sampling_params *p, const qw_opt *row, const json_t *v, qw_error *err)
{
    if (!json_is_array(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be a list of integers, got %s", row->name,
                       qw_json_type_name(v));
    size_t n = json_array_size(v);
    bool sorted = row->offset == FIELD(allowed_token_ids);
    if (sorted && n == 0)
        return qw_fail(err, QW_ERR_USAGE, "allowed_token_ids is not None and empty!");
    int32_t *ids = qw_mem_array(n, sizeof *ids);
    if (!ids) return qw_fail_memory(err, n * sizeof *ids, row->name);
    qw_status st = QW_OK;
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        char what[64];
        int64_t id = 0;
        snprintf(what, sizeof what, "%s[%zu]", row->name, i);
        st = qw_json_lax_i64(&id, json_array_get(v, i), what, err);
        if (st == QW_OK && (id < 0 || id > INT32_MAX))
            st = qw_fail(err, QW_ERR_USAGE, "%s contains out-of-vocab token id %" PRId64 "!",
                         row->name, id);
        ids[i] = (int32_t)id;
    }
    if (st != QW_OK) {
        qw_mem_free(ids);
        return st;
    }
    int32_t **list = field_at(p, row->offset);
    qw_mem_free(*list);
    *list = ids;
    *(size_t *)field_at(p, row->n_offset) = sorted ? sort_unique_ids(ids, n) : n;
    return QW_OK;
}

// Where an entry stood in the request decides between two spellings of one id ("7", "07").
typedef struct placed_bias {
    qw_logit_bias entry;
    size_t place;
} placed_bias;

static int compare_placed(const void *a, const void *b)
{
    const placed_bias *x = a, *y = b;
    if (x->entry.id != y->entry.id) return x->entry.id < y->entry.id ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static qw_status read_bias(qw_logit_bias *out, qw_str key, const json_t *v, qw_error *err)
{
    int64_t id;
    if (!qw_str_to_i64(key, &id))
        return qw_fail(err, QW_ERR_FORMAT, "'logit_bias' must map token ids to numbers, got '%.*s'",
                       (int)(key.len > 100 ? 100 : key.len), key.ptr);
    if (id < 0 || id > INT32_MAX)
        return qw_fail(err, QW_ERR_USAGE,
                       "token_id(s) [%" PRId64 "] in logit_bias contain out-of-vocab token ids.",
                       id);
    char what[48];
    double bias = 0;
    snprintf(what, sizeof what, "logit_bias.%" PRId64, id);
    qw_status st = qw_json_lax_f64(&bias, v, what, err);
    if (st != QW_OK) return st;
    bias = bias < -100 ? -100 : bias > 100 ? 100 : bias;
    *out = (qw_logit_bias){(int32_t)id, (float)bias};
    return QW_OK;
}

static qw_status set_logit_bias(qw_sampling_params *p, const json_t *v, qw_error *err)
{
    if (!json_is_object(v))
        return qw_fail(err, QW_ERR_FORMAT, "'logit_bias' must be an object, got %s",
                       qw_json_type_name(v));
    size_t n = json_object_size(v), place = 0, kept = 0;
    placed_bias *placed = qw_mem_array(n, sizeof *placed);
    qw_logit_bias *entries = qw_mem_array(n, sizeof *entries);
    qw_status st = QW_OK;
    if (!placed || !entries) st = qw_fail_memory(err, n * sizeof *placed, "logit_bias");
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)v, key, key_len, value)
    {
        if (st != QW_OK) break;
        st = read_bias(&placed[place].entry, (qw_str){key, key_len}, value, err);
        placed[place].place = place;
        place++;
    }
    if (st != QW_OK) goto out;
    if (n > 0) qsort(placed, n, sizeof *placed, compare_placed);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || placed[i].entry.id != placed[i + 1].entry.id)
            entries[kept++] = placed[i].entry;
    qw_mem_free(p->logit_bias);
    p->logit_bias = entries;
    p->n_logit_bias = kept;
    entries = NULL;
out:
    qw_mem_free(entries);
    qw_mem_free(placed);
    return st;
}

// Numbers whose unset value (-1, -2) must not be reachable from outside.
static qw_status check_not_sentinel(const qw_opt *row, int64_t value, qw_error *err)
{
    if (row->offset == FIELD(max_tokens) && value < 1)
        return qw_fail(err, QW_ERR_USAGE, "max_tokens must be at least 1, got %" PRId64 ".", value);
    bool counts = row->offset == FIELD(logprobs) || row->offset == FIELD(prompt_logprobs);
    if (counts && value < QW_LOGPROBS_ALL)
        return qw_fail(err, QW_ERR_USAGE, "%s must be non-negative or -1, got %" PRId64 ".",
                       row->name, value);
    return QW_OK;
}

// `name` is the key in the request, which for max_tokens may be another than the row's.
static qw_status set_int(qw_sampling_params *p, const qw_opt *row, const char *name,
                         const json_t *v, qw_error *err)
{
    int64_t value = 0;
    qw_status st = qw_json_lax_i64(&value, v, name, err);
    if (st == QW_OK) st = check_not_sentinel(row, value, err);
    if (st != QW_OK) return st;
    *(int64_t *)field_at(p, row->offset) = value;
    if (row->offset == FIELD(seed)) p->has_seed = value != -1;
    return QW_OK;
}

static qw_status set_field(qw_sampling_params *p, const qw_opt *row, const char *name,
                           const json_t *v, qw_error *err)
{
    switch (row->type) {
    case QW_OPT_FLOAT: return qw_json_lax_f64(field_at(p, row->offset), v, row->name, err);
    case QW_OPT_INT: return set_int(p, row, name, v, err);
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: return qw_json_lax_bool(field_at(p, row->offset), v, row->name, err);
    case QW_OPT_INTS: return set_ids(p, row, v, err);
    case QW_OPT_JSON: return set_logit_bias(p, v, err);
    case QW_OPT_STRS:
        if (row->offset == FIELD(bad_words)) free_bad_word_ids(p);
        return set_strings(p, row, v, err);
    case QW_OPT_STR:
    case QW_OPT_CHOICE: break; // no field is of these types
    }
    QW_ASSERT(row->type != QW_OPT_STR && row->type != QW_OPT_CHOICE);
    return QW_OK;
}

static const qw_opt *row_of(size_t offset)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++)
        if (rows[i].offset == offset) return &rows[i];
    return NULL;
}

static const json_t *given(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

// `logprobs` is a count, or a switch whose count is top_logprobs.
static qw_status set_logprobs(qw_sampling_params *p, const json_t *object, const char **param,
                              qw_error *err)
{
    const json_t *v = given(object, "logprobs"), *top = given(object, "top_logprobs");
    bool is_on = p->logprobs != QW_LOGPROBS_OFF;
    qw_status st = QW_OK;
    int64_t count;
    *param = "logprobs";
    if (v && !json_is_boolean(v) && qw_json_lax_i64(&count, v, "logprobs", NULL) == QW_OK) {
        st = set_int(p, row_of(FIELD(logprobs)), "logprobs", v, err);
        is_on = count != 0;
    } else if (v) {
        if (qw_json_lax_bool(&is_on, v, "logprobs", NULL) != QW_OK)
            return qw_fail(err, QW_ERR_FORMAT, "'logprobs' must be an integer or a boolean, got %s",
                           qw_json_type_name(v));
        p->logprobs = is_on ? 0 : QW_LOGPROBS_OFF;
    }
    if (!top || st != QW_OK) return st;
    *param = "top_logprobs";
    int64_t n = 0;
    st = qw_json_lax_i64(&n, top, "top_logprobs", err);
    if (st != QW_OK) return st;
    if (n < QW_LOGPROBS_ALL)
        return qw_fail(err, QW_ERR_USAGE, "top_logprobs must be a positive value or -1.");
    if (n != 0 && !is_on)
        return qw_fail(err, QW_ERR_USAGE, "when using top_logprobs, logprobs must be set to true.");
    if (is_on) p->logprobs = n;
    return QW_OK;
}

static qw_status set_from_object(qw_sampling_params *p, const json_t *object, const char **param,
                                 qw_error *err)
{
    const json_t *wins = given(object, "max_completion_tokens");
    for (size_t i = 0; i < QW_ARRAY_LEN(rows); i++) {
        const qw_opt *row = &rows[i];
        if (row->offset == FIELD(logprobs)) continue;
        const json_t *v = given(object, row->name);
        *param = row->name;
        if (row->offset == FIELD(max_tokens) && wins) {
            v = wins;
            *param = "max_completion_tokens";
        }
        if (!v) continue;
        qw_status st = set_field(p, row, *param, v, err);
        if (st != QW_OK) return st;
    }
    return set_logprobs(p, object, param, err);
}

static void raise_temperature(qw_sampling_params *p)
{
    if (qw_sampling_params_is_greedy(p) || p->temperature >= LOWEST_TEMPERATURE) return;
    QW_LOG(QW_LOG_WARN, "sampling_params",
           "temperature %g is too low for stable numbers, taking %g", p->temperature,
           LOWEST_TEMPERATURE);
    p->temperature = LOWEST_TEMPERATURE;
}

qw_status qw_sampling_params_apply_request(qw_sampling_params *p, const json_t *object,
                                           const char **param, qw_error *err)
{
    const char *culprit = NULL;
    qw_sampling_params next;
    if (!json_is_object(object)) {
        if (param) *param = NULL;
        return qw_fail(err, QW_ERR_FORMAT, "a request must be a JSON object, got %s",
                       qw_json_type_name(object));
    }
    qw_status st = qw_sampling_params_copy(&next, p, err);
    if (st == QW_OK) {
        st = set_from_object(&next, object, &culprit, err);
        if (st == QW_OK) st = qw_sampling_params_validate(&next, NULL, &culprit, err);
        if (st == QW_OK) {
            raise_temperature(&next);
            qw_sampling_params_release(p);
            *p = next;
            return QW_OK;
        }
        qw_sampling_params_release(&next);
    }
    if (param) *param = culprit;
    return st;
}

qw_status qw_sampling_params_apply_json(qw_sampling_params *p, const json_t *object, qw_error *err)
{
    return qw_sampling_params_apply_request(p, object, NULL, err);
}

// Other sources.

qw_status qw_sampling_params_set_defaults(qw_sampling_params *p,
                                          const qw_sampling_defaults *defaults, qw_error *err)
{
    // Numbers only, so the copy shares the lists of *p and owns nothing.
    qw_sampling_params next = *p;
    if (defaults->has_temperature) next.temperature = defaults->temperature;
    if (defaults->has_top_p) next.top_p = defaults->top_p;
    if (defaults->has_top_k) next.top_k = defaults->top_k;
    if (defaults->has_min_p) next.min_p = defaults->min_p;
    if (defaults->has_repetition_penalty) next.repetition_penalty = defaults->repetition_penalty;
    if (defaults->has_max_new_tokens) {
        qw_status st = check_not_sentinel(row_of(FIELD(max_tokens)), defaults->max_new_tokens, err);
        if (st != QW_OK) return st;
        next.max_tokens = defaults->max_new_tokens;
    }
    qw_status st = qw_sampling_params_validate(&next, NULL, NULL, err);
    if (st != QW_OK) return st;
    raise_temperature(&next);
    *p = next;
    return QW_OK;
}

const qw_opt *qw_sampling_params_options(size_t *n_rows)
{
    *n_rows = QW_ARRAY_LEN(rows);
    return rows;
}

// An option's value as the JSON that a request would hold. *out stays NULL when memory is short.
static qw_status option_to_json(json_t **out, const qw_opt_value *v, qw_error *err)
{
    switch (v->row->type) {
    case QW_OPT_FLOAT: *out = json_real(v->as.f64); break;
    case QW_OPT_INT: *out = json_integer(v->as.i64); break;
    case QW_OPT_FLAG:
    case QW_OPT_BOOL: *out = json_boolean(v->as.flag); break;
    case QW_OPT_JSON: return qw_opt_json_merge(out, &v->as.json, v->name, err);
    case QW_OPT_STR:
    case QW_OPT_CHOICE:
    case QW_OPT_STRS:
    case QW_OPT_INTS: {
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_texts && list; i++) {
            bool is_int = v->row->type == QW_OPT_INTS;
            if (!is_int && !qw_utf8_is_valid(qw_str_of(v->texts[i]))) {
                json_decref(list);
                return qw_fail(err, QW_ERR_USAGE, "argument --%s: the text is not valid UTF-8",
                               v->name);
            }
            json_t *item = is_int ? json_integer(v->as.ints[i]) : json_string(v->texts[i]);
            if (json_array_append_new(list, item) == 0) continue;
            json_decref(list);
            list = NULL;
        }
        *out = list;
        break;
    }
    }
    return *out ? QW_OK : qw_fail(err, QW_ERR_NO_MEMORY, "out of memory while reading the options");
}

qw_status qw_sampling_params_apply_options(qw_sampling_params *p, const qw_opts *opts,
                                           qw_error *err)
{
    json_t *object = json_object();
    qw_status st = QW_OK;
    if (!object) st = qw_fail_memory(err, sizeof *object, "the options");
    for (size_t i = 0; i < QW_ARRAY_LEN(rows) && st == QW_OK; i++) {
        const qw_opt_value *v = qw_opts_get(opts, rows[i].name);
        if (!v || v->row != &rows[i] || v->source <= QW_OPT_FROM_DEFAULT) continue;
        json_t *member = NULL;
        st = option_to_json(&member, v, err);
        if (st == QW_OK && json_object_set_new(object, rows[i].name, member) != 0)
            st = qw_fail_memory(err, sizeof *member, "the options");
    }
    if (st == QW_OK) st = qw_sampling_params_apply_json(p, object, err);
    json_decref(object);
    return st;
}

// Ranges. The texts are vLLM's (vllm/sampling_params.py, http-api.md 1.3).

static qw_status out_of_range(const char **param, const char *name, const char *must, double got,
                              qw_error *err)
{
    char text[32];
    qw_str_from_f64(text, got);
    if (param) *param = name;
    return qw_fail(err, QW_ERR_USAGE, "%s must be %s, got %s.", name, must, text);
}

static qw_status validate_numbers(const qw_sampling_params *p, const char **param, qw_error *err)
{
    // Written so that a NaN is out of range.
    if (!(p->presence_penalty >= -2 && p->presence_penalty <= 2))
        return out_of_range(param, "presence_penalty", "in [-2, 2]", p->presence_penalty, err);
    if (!(p->frequency_penalty >= -2 && p->frequency_penalty <= 2))
        return out_of_range(param, "frequency_penalty", "in [-2, 2]", p->frequency_penalty, err);
    if (!(p->repetition_penalty > 0))
        return out_of_range(param, "repetition_penalty", "greater than zero", p->repetition_penalty,
                            err);
    if (!(p->temperature >= 0))
        return out_of_range(param, "temperature", "non-negative", p->temperature, err);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return out_of_range(param, "top_p", "in (0, 1]", p->top_p, err);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return out_of_range(param, "min_p", "in [0, 1]", p->min_p, err);
    return QW_OK;
}

static qw_status validate_counts(const qw_sampling_params *p, const char **param, qw_error *err)
{
    const char *ignored;
    if (!param) param = &ignored;
    *param = "n";
    if (p->n < 1) return qw_fail(err, QW_ERR_USAGE, "n must be at least 1, got %" PRId64 ".", p->n);
    if (p->n > 1 && qw_sampling_params_is_greedy(p))
        return qw_fail(err, QW_ERR_USAGE,
                       "n must be 1 when using greedy sampling, got %" PRId64 ".", p->n);
    *param = "top_k";
    if (p->top_k < -1)
        return qw_fail(err, QW_ERR_USAGE,
                       "top_k must be 0 (disable), or at least 1, got %" PRId64 ".", p->top_k);
    *param = "min_tokens";
    if (p->min_tokens < 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "min_tokens must be greater than or equal to 0, got %" PRId64 ".",
                       p->min_tokens);
    if (p->max_tokens >= 0 && p->min_tokens > p->max_tokens)
        return qw_fail(err, QW_ERR_USAGE,
                       "min_tokens must be less than or equal to max_tokens=%" PRId64
                       ", got %" PRId64 ".",
                       p->max_tokens, p->min_tokens);
    *param = NULL;
    return QW_OK;
}

static qw_status validate_logprobs(int64_t asked, const char *name, const char *which,
                                   const qw_sampling_limits *limits, const char **param,
                                   qw_error *err)
{
    int64_t allowed = limits->max_logprobs, n = asked;
    if (asked == QW_LOGPROBS_OFF || allowed == 0 || allowed == -1) return QW_OK;
    if (n == QW_LOGPROBS_ALL) n = limits->vocab_size > 0 ? limits->vocab_size : INT64_MAX;
    if (n <= allowed) return QW_OK;
    if (param) *param = name;
    if (n == INT64_MAX)
        return qw_fail(err, QW_ERR_USAGE,
                       "Requested %s logprobs of the whole vocabulary, which is greater than max "
                       "allowed: %" PRId64,
                       which, allowed);
    return qw_fail(err, QW_ERR_USAGE,
                   "Requested %s logprobs of %" PRId64
                   ", which is greater than max allowed: %" PRId64,
                   which, n, allowed);
}

static qw_status validate_limits(const qw_sampling_params *p, const qw_sampling_limits *limits,
                                 const char **param, qw_error *err)
{
    if (limits->max_n > 0 && p->n > limits->max_n) {
        if (param) *param = "n";
        return qw_fail(err, QW_ERR_USAGE,
                       "n must be at most %" PRId64 ", got %" PRId64
                       ". To increase this limit, set the VLLM_MAX_N_SEQUENCES environment "
                       "variable.",
                       limits->max_n, p->n);
    }
    qw_status st = validate_logprobs(p->logprobs, "logprobs", "sample", limits, param, err);
    if (st == QW_OK)
        st = validate_logprobs(p->prompt_logprobs, "prompt_logprobs", "prompt", limits, param, err);
    if (st != QW_OK || limits->vocab_size <= 0) return st;
    // Both lists are ascending: the last id is the largest.
    if (p->n_logit_bias && p->logit_bias[p->n_logit_bias - 1].id >= limits->vocab_size) {
        if (param) *param = "logit_bias";
        return qw_fail(err, QW_ERR_USAGE,
                       "token_id(s) [%" PRId32 "] in logit_bias contain out-of-vocab token ids. "
                       "Vocabulary size: %" PRId64,
                       p->logit_bias[p->n_logit_bias - 1].id, limits->vocab_size);
    }
    if (p->n_allowed_token_ids &&
        p->allowed_token_ids[p->n_allowed_token_ids - 1] >= limits->vocab_size) {
        if (param) *param = "allowed_token_ids";
        return qw_fail(err, QW_ERR_USAGE, "allowed_token_ids contains out-of-vocab token id!");
    }
    return QW_OK;
}

qw_status qw_sampling_params_validate(const qw_sampling_params *p, const qw_sampling_limits *limits,
                                      const char **param, qw_error *err)
{
    qw_status st = validate_numbers(p, param, err);
    if (st == QW_OK) st = validate_counts(p, param, err);
    if (st == QW_OK && limits) st = validate_limits(p, limits, param, err);
    return st;
}
