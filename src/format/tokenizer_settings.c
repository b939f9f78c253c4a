#include "format/tokenizer_settings.h"

#include "base/mem.h"

// Names from the file that appear in errors are cut to this many bytes.
#define NAME_ARGS(s) (int)((s).len < 60 ? (s).len : 60), (s).ptr ? (s).ptr : ""

static qw_status read_type(qw_str *out, const json_t *object, const char *what, qw_error *err)
{
    if (!json_is_object(object))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be an object, got %s", what,
                       qw_json_type_name(object));
    qw_status st = qw_json_get_str(out, object, "type", err);
    return st == QW_OK ? QW_OK : qw_context(err, st, "'%s'", what);
}

static qw_status unsupported(qw_error *err, const char *what, qw_str type)
{
    return qw_fail(err, QW_ERR_UNSUPPORTED, "%s '%.*s' is not supported", what, NAME_ARGS(type));
}

static qw_status read_normalizer(bool *nfc, const json_t *root, qw_error *err)
{
    *nfc = false;
    if (!qw_json_has(root, "normalizer")) return QW_OK;
    qw_str type = {0};
    qw_status st = read_type(&type, json_object_get(root, "normalizer"), "normalizer", err);
    if (st != QW_OK) return st;
    if (!qw_str_is(type, "NFC")) return unsupported(err, "normalizer", type);
    *nfc = true;
    return QW_OK;
}

// Split with a regular expression whose matches become pieces.
static qw_status read_split(qw_str *pattern, const json_t *split, qw_error *err)
{
    qw_str behavior = {0};
    bool invert = false;
    qw_status st = qw_json_get_str(&behavior, split, "behavior", err);
    if (st == QW_OK) st = qw_json_get_bool(&invert, split, "invert", err);
    if (st != QW_OK) return qw_context(err, st, "pre-tokenizer 'Split'");
    if (!qw_str_is(behavior, "Isolated"))
        return unsupported(err, "pre-tokenizer 'Split' with behavior", behavior);
    if (invert) return unsupported(err, "pre-tokenizer 'Split' with", QW_STR("invert"));
    const json_t *regex = json_object_get(json_object_get(split, "pattern"), "Regex");
    if (!json_is_string(regex))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "pre-tokenizer 'Split' without a regular expression is not supported");
    *pattern = qw_json_str(regex);
    return QW_OK;
}

static qw_status check_byte_level(const json_t *byte_level, qw_error *err)
{
    bool add_prefix_space = true, use_regex = true; // the reference's defaults
    qw_status st = qw_json_get_bool(&add_prefix_space, byte_level, "add_prefix_space", err);
    if (st == QW_OK) st = qw_json_get_bool(&use_regex, byte_level, "use_regex", err);
    if (st != QW_OK) return qw_context(err, st, "pre-tokenizer 'ByteLevel'");
    if (add_prefix_space)
        return unsupported(err, "pre-tokenizer 'ByteLevel' with", QW_STR("add_prefix_space"));
    if (use_regex) return unsupported(err, "pre-tokenizer 'ByteLevel' with", QW_STR("use_regex"));
    return QW_OK;
}

static qw_status read_pre_tokenizer(qw_str *pattern, const json_t *root, qw_error *err)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    qw_str type = {0};
    qw_status st = read_type(&type, pre, "pre_tokenizer", err);
    if (st != QW_OK) return st;
    if (!qw_str_is(type, "Sequence")) return unsupported(err, "pre-tokenizer", type);
    const json_t *parts = json_object_get(pre, "pretokenizers");
    static const char *const want[] = {"Split", "ByteLevel"};
    for (size_t i = 0; i < json_array_size(parts); i++) {
        qw_str part = {0};
        st = read_type(&part, json_array_get(parts, i), "pre_tokenizer", err);
        if (st != QW_OK) return st;
        if (i >= QW_ARRAY_LEN(want) || !qw_str_is(part, want[i]))
            return qw_fail(err, QW_ERR_UNSUPPORTED,
                           "pre-tokenizer '%.*s' at place %zu is not supported; only the sequence "
                           "Split, ByteLevel is",
                           NAME_ARGS(part), i + 1);
    }
    if (json_array_size(parts) != QW_ARRAY_LEN(want))
        return qw_fail(err, QW_ERR_UNSUPPORTED,
                       "a pre-tokenizer of %zu parts is not supported; only the sequence Split, "
                       "ByteLevel is",
                       json_array_size(parts));
    st = read_split(pattern, json_array_get(parts, 0), err);
    return st == QW_OK ? check_byte_level(json_array_get(parts, 1), err) : st;
}

// A part that must be absent or of type ByteLevel.
static qw_status check_byte_level_only(const json_t *root, const char *key, const char *what,
                                       bool needed, qw_error *err)
{
    if (!needed && !qw_json_has(root, key)) return QW_OK;
    qw_str type = {0};
    qw_status st = read_type(&type, json_object_get(root, key), key, err);
    if (st == QW_OK && !qw_str_is(type, "ByteLevel")) st = unsupported(err, what, type);
    return st;
}

// An affix that BPE puts on parts of words must be empty.
static qw_status check_empty(const json_t *model, const char *key, qw_error *err)
{
    qw_str text = {0};
    qw_status st = qw_json_get_str(&text, model, key, err);
    if (st == QW_OK && text.len > 0)
        st = qw_fail(err, QW_ERR_UNSUPPORTED, "'%s' other than \"\" is not supported", key);
    return st;
}

static qw_status read_model_flags(bool *ignore_merges, const json_t *root, qw_error *err)
{
    const json_t *model = json_object_get(root, "model");
    qw_str type = QW_STR("BPE"); // old files do not say it
    *ignore_merges = false;
    double dropout = 0;
    qw_status st = read_type(&type, model, "model", err);
    if (st == QW_OK && !qw_str_is(type, "BPE")) st = unsupported(err, "model type", type);
    if (st == QW_OK) st = qw_json_get_f64(&dropout, model, "dropout", 0, 1, err);
    if (st == QW_OK && dropout > 0)
        st = qw_fail(err, QW_ERR_UNSUPPORTED, "'dropout' %g is not supported", dropout);
    if (st == QW_OK) st = check_empty(model, "continuing_subword_prefix", err);
    if (st == QW_OK) st = check_empty(model, "end_of_word_suffix", err);
    if (st == QW_OK) st = qw_json_get_bool(ignore_merges, model, "ignore_merges", err);
    return st;
}

qw_status qw_tokenizer_pipeline_read(qw_tokenizer_pipeline *out, const json_t *root, qw_error *err)
{
    // Truncation and padding are settings of a caller that were saved with the file; the
    // reference's callers reset them. An unknown-token setting never matters: every byte has a
    // token.
    qw_tokenizer_pipeline p = {0};
    qw_status st = read_model_flags(&p.ignore_merges, root, err);
    if (st == QW_OK) st = read_normalizer(&p.nfc, root, err);
    if (st == QW_OK) st = read_pre_tokenizer(&p.pattern, root, err);
    if (st == QW_OK)
        st = check_byte_level_only(root, "post_processor", "post-processor", false, err);
    if (st == QW_OK) st = check_byte_level_only(root, "decoder", "decoder", true, err);
    if (st == QW_OK) *out = p;
    return st;
}

// The flags and the content of one added token; `entry` has its id.
static qw_status read_added_token(qw_added_entry *entry, const json_t *v, qw_error *err)
{
    static const struct {
        const char *key;
        uint32_t flag;
    } flags[] = {
        {"special", QW_ADDED_SPECIAL},       {"lstrip", QW_ADDED_LSTRIP},
        {"rstrip", QW_ADDED_RSTRIP},         {"single_word", QW_ADDED_SINGLE_WORD},
        {"normalized", QW_ADDED_NORMALIZED},
    };
    if (!json_is_string(json_object_get(v, "content")))
        return qw_fail(err, QW_ERR_FORMAT, "added token %" PRId32 " has no content", entry->id);
    entry->text = qw_json_str(json_object_get(v, "content"));
    entry->flags = 0;
    for (size_t i = 0; i < QW_ARRAY_LEN(flags); i++) {
        bool on = false;
        qw_status st = qw_json_get_bool(&on, v, flags[i].key, err);
        if (st != QW_OK) return qw_context(err, st, "added token %" PRId32, entry->id);
        if (on) entry->flags |= flags[i].flag;
    }
    return QW_OK;
}

static qw_status read_added_array(qw_added_list *list, const json_t *array, qw_error *err)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        int64_t id = -1;
        qw_status st = qw_json_get_i64(&id, v, "id", 0, QW_TOKENIZER_MAX_ID, err);
        if (st == QW_OK && id < 0) st = qw_fail(err, QW_ERR_FORMAT, "'id' is missing");
        if (st != QW_OK) return qw_context(err, st, "added token at place %zu", i + 1);
        qw_added_entry *entry = &list->items[list->n];
        entry->id = (int32_t)id;
        st = read_added_token(entry, v, err);
        if (st != QW_OK) return st;
        list->n++;
    }
    return QW_OK;
}

static qw_status read_added_object(qw_added_list *list, json_t *object, qw_error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(object, key, v)
    {
        int64_t id;
        if (!qw_str_to_i64(qw_str_of(key), &id) || id < 0 || id > QW_TOKENIZER_MAX_ID)
            return qw_fail(err, QW_ERR_FORMAT,
                           "tokenizer_config.json: '%.60s' in 'added_tokens_decoder' must be an id "
                           "from 0 to %d",
                           key, QW_TOKENIZER_MAX_ID);
        qw_added_entry *entry = &list->items[list->n];
        entry->id = (int32_t)id;
        qw_status st = read_added_token(entry, v, err);
        if (st != QW_OK) return qw_context(err, st, "tokenizer_config.json");
        list->n++;
    }
    return QW_OK;
}

static qw_status check_container(const json_t *object, const char *key, bool array, size_t *n,
                                 qw_error *err)
{
    const json_t *v = json_object_get(object, key);
    *n = 0;
    if (!v || json_is_null(v)) return QW_OK;
    if (array ? !json_is_array(v) : !json_is_object(v))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be an %s, got %s", key,
                       array ? "array" : "object", qw_json_type_name(v));
    *n = array ? json_array_size(v) : json_object_size(v);
    return QW_OK;
}

// By text, then by place of reading.
static int compare_entries(const void *a, const void *b)
{
    const qw_added_entry *x = a, *y = b;
    int order = qw_added_compare(x->text, y->text);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static qw_status sort_and_merge(qw_added_list *list, qw_error *err)
{
    for (size_t i = 0; i < list->n; i++) list->items[i].order = i;
    if (list->n > 1) qsort(list->items, list->n, sizeof *list->items, compare_entries);
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        qw_added_entry entry = list->items[i];
        if (n == 0 || !qw_str_eq(list->items[n - 1].text, entry.text)) {
            list->items[n++] = entry;
            continue;
        }
        if (list->items[n - 1].id != entry.id)
            return qw_fail(err, QW_ERR_FORMAT,
                           "added token '%.*s' has two ids, %" PRId32 " and %" PRId32,
                           NAME_ARGS(entry.text), list->items[n - 1].id, entry.id);
        list->items[n - 1] = entry;
    }
    list->n = n;
    return QW_OK;
}

qw_status qw_added_list_read(qw_added_list *out, const json_t *root, const json_t *config,
                             qw_error *err)
{
    size_t n_json, n_config, n;
    qw_status st = check_container(root, "added_tokens", true, &n_json, err);
    if (st == QW_OK) st = check_container(config, "added_tokens_decoder", false, &n_config, err);
    if (st != QW_OK) return st;
    qw_added_list list = {0};
    if (!qw_add_size(&n, n_json, n_config)) return qw_fail_memory(err, n_json, "added tokens");
    list.items = qw_mem_array(n, sizeof *list.items);
    if (!list.items) return qw_fail_memory(err, n * sizeof *list.items, "added tokens");
    if (n_json) st = read_added_array(&list, json_object_get(root, "added_tokens"), err);
    if (st == QW_OK && n_config)
        st = read_added_object(&list, json_object_get(config, "added_tokens_decoder"), err);
    if (st == QW_OK) st = sort_and_merge(&list, err);
    if (st == QW_OK)
        *out = list;
    else
        qw_mem_free(list.items);
    return st;
}

qw_status qw_tokenizer_special_read(qw_str *out, const json_t *config, const char *key,
                                    qw_error *err)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_object(v)) v = json_object_get(v, "content");
    *out = (qw_str){NULL, 0};
    if (!v || json_is_null(v)) return QW_OK;
    if (!json_is_string(v))
        return qw_fail(err, QW_ERR_FORMAT, "tokenizer_config.json: '%s' must be a string, got %s",
                       key, qw_json_type_name(v));
    *out = qw_json_str(v);
    return QW_OK;
}

qw_status qw_tokenizer_max_length_read(int64_t *out, const json_t *config, qw_error *err)
{
    double length = 0;
    qw_status st = qw_json_get_f64(&length, config, "model_max_length", 0, 1e308, err);
    if (st != QW_OK) return qw_context(err, st, "tokenizer_config.json");
    *out = length < 1e18 ? (int64_t)length : 0;
    return QW_OK;
}
