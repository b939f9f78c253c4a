#include "format/safetensors.h"

#include "format/json.h"

static_assert(sizeof(size_t) == 8, "offsets in files are 64-bit and index mapped memory");

static const char metadata_key[] = "__metadata__";

bool qw_stored_tensor_size(size_t *out, qw_dtype dtype, const size_t *shape, size_t rank)
{
    // In this order, so that what overflows for the reference overflows here: a 0 that comes after
    // two huge dimensions is too late.
    size_t bits = 1;
    for (size_t i = 0; i < rank; i++)
        if (!qw_mul_size(&bits, bits, shape[i])) return false;
    if (!qw_mul_size(&bits, bits, (size_t)qw_dtype_bits(dtype)) || bits % 8 != 0) return false;
    *out = bits / 8;
    return true;
}

// A tensor's name may hold anything, and error texts are short.
#define NAME_FORMAT "tensor '%.120s'"

// Where a tensor's bytes lie, counted from the start of the data section.
typedef struct span {
    size_t begin, end;
    qw_stored_tensor tensor; /* `data` still unset */
} span;

static qw_status parse_dtype(span *s, const json_t *entry, qw_error *err)
{
    const json_t *v = json_object_get(entry, "dtype");
    if (!json_is_string(v))
        return qw_fail(err, QW_ERR_FORMAT, NAME_FORMAT ": 'dtype' must be a string, got %s",
                       s->tensor.name, qw_json_type_name(v));
    const char *text = json_string_value(v);
    if (strlen(text) != json_string_length(v) || !qw_dtype_from_name(&s->tensor.dtype, text))
        return qw_fail(err, QW_ERR_FORMAT, NAME_FORMAT ": unknown dtype '%.40s'", s->tensor.name,
                       text);
    return QW_OK;
}

// An array of non-negative integers; floats are refused even if integral, as in the reference.
static qw_status parse_sizes(size_t *out, const json_t *array, const char *tensor, const char *key,
                             qw_error *err)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return qw_fail(err, QW_ERR_FORMAT,
                           NAME_FORMAT ": '%s' must hold non-negative integers, item %zu is not",
                           tensor, key, i);
        out[i] = (size_t)json_integer_value(v);
    }
    return QW_OK;
}

static qw_status parse_shape(span *s, const json_t *entry, qw_arena *arena, qw_error *err)
{
    const json_t *v = json_object_get(entry, "shape");
    if (!json_is_array(v))
        return qw_fail(err, QW_ERR_FORMAT, NAME_FORMAT ": 'shape' must be an array, got %s",
                       s->tensor.name, qw_json_type_name(v));
    size_t rank = json_array_size(v);
    size_t *shape = qw_arena_array(arena, rank, sizeof *shape);
    if (!shape) return qw_fail_memory(err, rank * sizeof *shape, "a tensor's shape");
    s->tensor.rank = rank;
    s->tensor.shape = shape;
    return parse_sizes(shape, v, s->tensor.name, "shape", err);
}

static qw_status parse_offsets(span *s, const json_t *entry, qw_error *err)
{
    const json_t *v = json_object_get(entry, "data_offsets");
    if (!json_is_array(v) || json_array_size(v) != 2)
        return qw_fail(err, QW_ERR_FORMAT,
                       NAME_FORMAT ": 'data_offsets' must be a pair of integers", s->tensor.name);
    size_t offsets[2];
    qw_status st = parse_sizes(offsets, v, s->tensor.name, "data_offsets", err);
    if (st != QW_OK) return st;
    s->begin = offsets[0];
    s->end = offsets[1];
    return QW_OK;
}

static qw_status parse_entry(span *s, const char *name, size_t name_len, const json_t *entry,
                             qw_arena *arena, qw_error *err)
{
    *s = (span){.tensor.name = qw_arena_strndup(arena, name, name_len)};
    if (!s->tensor.name) return qw_fail_memory(err, name_len + 1, "a tensor's name");
    if (!json_is_object(entry))
        return qw_fail(err, QW_ERR_FORMAT, NAME_FORMAT ": its entry must be an object, got %s",
                       name, qw_json_type_name(entry));
    qw_status st = parse_dtype(s, entry, err);
    if (st == QW_OK) st = parse_shape(s, entry, arena, err);
    if (st == QW_OK) st = parse_offsets(s, entry, err);
    if (st != QW_OK) return st;
    qw_stored_tensor *t = &s->tensor;
    if (!qw_stored_tensor_size(&t->size, t->dtype, t->shape, t->rank))
        return qw_fail(err, QW_ERR_FORMAT,
                       NAME_FORMAT ": its shape times %d bits overflows or is no whole number of "
                                   "bytes",
                       name, qw_dtype_bits(t->dtype));
    return QW_OK;
}

static qw_str copy_str(qw_arena *arena, const char *text, size_t len)
{
    return (qw_str){qw_arena_strndup(arena, text, len), len};
}

static qw_status parse_metadata(qw_safetensors *st, const json_t *object, qw_error *err)
{
    if (!object || json_is_null(object)) return QW_OK; // null counts as absent, as in the reference
    if (!json_is_object(object))
        return qw_fail(err, QW_ERR_FORMAT, "'%s' must be an object, got %s", metadata_key,
                       qw_json_type_name(object));
    size_t n = json_object_size(object);
    st->metadata = qw_arena_array(&st->arena, n, sizeof *st->metadata);
    if (!st->metadata) return qw_fail_memory(err, n * sizeof *st->metadata, "metadata");
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)object, key, key_len, value)
    {
        if (!json_is_string(value))
            return qw_fail(err, QW_ERR_FORMAT, "'%s' must hold strings, '%.120s' is %s",
                           metadata_key, key, qw_json_type_name(value));
        qw_safetensors_metadata *m = &st->metadata[st->n_metadata++];
        m->key = copy_str(&st->arena, key, key_len);
        m->value = copy_str(&st->arena, json_string_value(value), json_string_length(value));
        if (!m->key.ptr || !m->value.ptr) return qw_fail_memory(err, key_len, "metadata");
    }
    return QW_OK;
}

static int compare_spans(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name); // names differ: a total order
}

// Rules 9 to 11: sorted by position, the tensors cover the data section without holes, overlaps
// or a rest, and each has the bytes that its shape asks for.
static qw_status check_layout(span *spans, size_t n, size_t data_size, qw_error *err)
{
    size_t covered = 0;
    for (size_t i = 0; i < n; i++) {
        const span *s = &spans[i];
        if (s->begin != covered)
            return qw_fail(err, QW_ERR_FORMAT,
                           NAME_FORMAT ": starts at byte %zu of the data section, but the tensors "
                                       "before it end at byte %zu",
                           s->tensor.name, s->begin, covered);
        if (s->end < s->begin)
            return qw_fail(err, QW_ERR_FORMAT,
                           NAME_FORMAT ": bytes [%zu, %zu) are in reverse order", s->tensor.name,
                           s->begin, s->end);
        if (s->end - s->begin != s->tensor.size)
            return qw_fail(err, QW_ERR_FORMAT,
                           NAME_FORMAT ": has %zu bytes, but its shape and dtype %s need %zu",
                           s->tensor.name, s->end - s->begin, qw_dtype_name(s->tensor.dtype),
                           s->tensor.size);
        if (s->end > data_size)
            return qw_fail(err, QW_ERR_FORMAT,
                           NAME_FORMAT ": bytes [%zu, %zu) end past the %zu-byte data section, "
                                       "which should have %zu bytes; the download looks incomplete",
                           s->tensor.name, s->begin, s->end, data_size, spans[n - 1].end);
        covered = s->end;
    }
    if (covered != data_size)
        return qw_fail(err, QW_ERR_FORMAT,
                       "the tensors end at byte %zu of the data section, which has %zu bytes",
                       covered, data_size);
    return QW_OK;
}

static qw_status parse_tensors(qw_safetensors *st, const json_t *root, const uint8_t *data,
                               size_t data_size, qw_error *err)
{
    size_t n_max = json_object_size(root), n = 0;
    span *spans = qw_mem_calloc(n_max, sizeof *spans);
    if (!spans) return qw_fail_memory(err, n_max * sizeof *spans, "the tensor table");
    qw_status status = QW_OK;
    const char *key;
    size_t key_len;
    json_t *entry;
    json_object_keylen_foreach((json_t *)(uintptr_t)root, key, key_len, entry)
    {
        if (strcmp(key, metadata_key) == 0) continue;
        status = parse_entry(&spans[n++], key, key_len, entry, &st->arena, err);
        if (status != QW_OK) goto out;
    }
    qsort(spans, n, sizeof *spans, compare_spans);
    status = check_layout(spans, n, data_size, err);
    if (status == QW_OK) status = qw_map_reserve(&st->by_name, n, err);
    if (status != QW_OK) goto out;
    st->tensors = qw_arena_array(&st->arena, n, sizeof *st->tensors);
    if (!st->tensors) {
        status = qw_fail_memory(err, n * sizeof *st->tensors, "the tensor table");
        goto out;
    }
    for (size_t i = 0; status == QW_OK && i < n; i++) {
        st->tensors[i] = spans[i].tensor;
        st->tensors[i].data = data + spans[i].begin;
        status = qw_map_put(&st->by_name, qw_str_of(st->tensors[i].name), (uint32_t)i, NULL, err);
    }
    st->n_tensors = n;
out:
    qw_mem_free(spans);
    return status;
}

// Rules 1 to 3. A file that is no safetensors file at all mostly fails here: say what it is.
static qw_status header_size(size_t *out, const uint8_t *bytes, size_t size, qw_error *err)
{
    static const char lfs[] = "version https://git-lfs";
    if (size >= sizeof lfs - 1 && memcmp(bytes, lfs, sizeof lfs - 1) == 0)
        return qw_fail(err, QW_ERR_FORMAT,
                       "weights not downloaded: this is a Git LFS pointer of %zu bytes; run 'git "
                       "lfs pull' in the model's folder",
                       size);
    if (size < 8)
        return qw_fail(err, QW_ERR_FORMAT,
                       "a safetensors file has at least 8 bytes, this one has %zu; the download "
                       "looks incomplete",
                       size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | bytes[i];
    if (n > QW_SAFETENSORS_MAX_HEADER)
        return qw_fail(err, QW_ERR_FORMAT,
                       "header of %" PRIu64 " bytes is over the limit of %zu; this is no "
                       "safetensors file or it is damaged",
                       n, QW_SAFETENSORS_MAX_HEADER);
    if (n > size - 8)
        return qw_fail(err, QW_ERR_FORMAT,
                       "header of %" PRIu64 " bytes does not fit into the file of %zu bytes; the "
                       "download looks incomplete",
                       n, size);
    *out = (size_t)n;
    return QW_OK;
}

qw_status qw_safetensors_parse(qw_safetensors *out, const uint8_t *bytes, size_t size,
                               qw_error *err)
{
    size_t n = 0;
    qw_status status = header_size(&n, bytes, size, err);
    if (status != QW_OK) return status;
    const char *text = (const char *)bytes + 8;
    json_t *root;
    status = qw_json_parse(&root, text, n, "header", err);
    if (status != QW_OK) return status;

    qw_safetensors st = {0};
    qw_map_init(&st.by_name);
    qw_arena_init(&st.arena, 1 << 16);
    if (!json_is_object(root))
        status = qw_fail(err, QW_ERR_FORMAT, "header must be a JSON object, got %s",
                         qw_json_type_name(root));
    if (status == QW_OK) status = parse_metadata(&st, json_object_get(root, metadata_key), err);
    if (status == QW_OK) status = parse_tensors(&st, root, bytes + 8 + n, size - 8 - n, err);
    json_decref(root);
    if (status == QW_OK)
        *out = st;
    else
        qw_safetensors_close(&st);
    return status;
}

qw_status qw_safetensors_open(qw_safetensors *out, const char *path, qw_error *err)
{
    qw_file file;
    qw_status status = qw_file_open(&file, path, err);
    if (status != QW_OK) return status;
    status = qw_safetensors_parse(out, file.data, (size_t)file.size, err);
    if (status != QW_OK) {
        qw_file_close(&file);
        return qw_context(err, status, "'%.250s'", path);
    }
    out->file = file;
    return QW_OK;
}

void qw_safetensors_close(qw_safetensors *st)
{
    qw_map_release(&st->by_name);
    qw_arena_release(&st->arena);
    qw_file_close(&st->file);
    *st = (qw_safetensors){0};
}

const qw_stored_tensor *qw_safetensors_find(const qw_safetensors *st, const char *name)
{
    uint32_t i;
    return qw_map_get(&st->by_name, qw_str_of(name), &i) ? &st->tensors[i] : NULL;
}
