#include "format/json.h"
#include "format/safetensors.h"

// The reference's dtypes in its order ("increasing alignment"); files list the last one first.
static const uint8_t alignment_rank[QW_N_DTYPES] = {
    [QW_DTYPE_BOOL] = 0,        [QW_DTYPE_F4] = 1,           [QW_DTYPE_F6_E2M3] = 2,
    [QW_DTYPE_F6_E3M2] = 3,     [QW_DTYPE_U8] = 4,           [QW_DTYPE_I8] = 5,
    [QW_DTYPE_F8_E5M2] = 6,     [QW_DTYPE_F8_E4M3] = 7,      [QW_DTYPE_F8_E8M0] = 8,
    [QW_DTYPE_F8_E4M3FNUZ] = 9, [QW_DTYPE_F8_E5M2FNUZ] = 10, [QW_DTYPE_I16] = 11,
    [QW_DTYPE_U16] = 12,        [QW_DTYPE_F16] = 13,         [QW_DTYPE_BF16] = 14,
    [QW_DTYPE_I32] = 15,        [QW_DTYPE_U32] = 16,         [QW_DTYPE_F32] = 17,
    [QW_DTYPE_C64] = 18,        [QW_DTYPE_F64] = 19,         [QW_DTYPE_I64] = 20,
    [QW_DTYPE_U64] = 21,
};

static int compare_for_writing(const void *a, const void *b)
{
    const qw_stored_tensor *x = *(const qw_stored_tensor *const *)a,
                           *y = *(const qw_stored_tensor *const *)b;
    int by_dtype = alignment_rank[y->dtype] - alignment_rank[x->dtype];
    return by_dtype ? by_dtype : strcmp(x->name, y->name);
}

// What a reader would refuse is refused here, before anything is written.
static qw_status check_tensor(const qw_stored_tensor *t, qw_map *names, qw_error *err)
{
    qw_str name = qw_str_of(t->name);
    size_t size;
    bool repeated;
    if (!qw_stored_tensor_size(&size, t->dtype, t->shape, t->rank) || size != t->size)
        return qw_fail(err, QW_ERR_USAGE, "tensor '%s': %zu bytes do not match its shape and dtype",
                       t->name, t->size);
    if (!qw_utf8_is_valid(name) || qw_str_is(name, "__metadata__"))
        return qw_fail(err, QW_ERR_USAGE, "'%s' cannot be a tensor's name", t->name);
    qw_status st = qw_map_put(names, name, 0, &repeated, err);
    if (st == QW_OK && repeated)
        st = qw_fail(err, QW_ERR_USAGE, "two tensors are called '%s'", t->name);
    return st;
}

static qw_status check_metadata(const qw_safetensors_metadata *metadata, size_t n, qw_map *keys,
                                qw_error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool repeated;
        if (!qw_utf8_is_valid(metadata[i].key) || !qw_utf8_is_valid(metadata[i].value) ||
            memchr(metadata[i].key.ptr, '\0', metadata[i].key.len))
            return qw_fail(err, QW_ERR_USAGE, "metadata entry %zu is no valid text", i);
        qw_status st = qw_map_put(keys, metadata[i].key, 0, &repeated, err);
        if (st == QW_OK && repeated)
            st = qw_fail(err, QW_ERR_USAGE, "metadata key '%.*s' is repeated",
                         (int)metadata[i].key.len, metadata[i].key.ptr);
        if (st != QW_OK) return st;
    }
    return QW_OK;
}

static void write_metadata(qw_buf *b, const qw_safetensors_metadata *metadata, size_t n)
{
    qw_buf_puts(b, "\"__metadata__\":{");
    for (size_t i = 0; i < n; i++) {
        if (i) qw_buf_putc(b, ',');
        qw_json_write_string(b, metadata[i].key);
        qw_buf_putc(b, ':');
        qw_json_write_string(b, metadata[i].value);
    }
    qw_buf_putc(b, '}');
}

static void write_entry(qw_buf *b, const qw_stored_tensor *t, size_t begin)
{
    qw_json_write_string(b, qw_str_of(t->name));
    qw_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", qw_dtype_name(t->dtype));
    for (size_t i = 0; i < t->rank; i++) qw_buf_printf(b, i ? ",%zu" : "%zu", t->shape[i]);
    qw_buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", begin, begin + t->size);
}

// Length field, JSON and padding: everything before the data. `sorted` is in file order; `begins`
// (may be NULL) gets the places of the data, in the order of `tensors`.
static qw_status build_header(qw_buf *b, const qw_stored_tensor *const *sorted, size_t n,
                              const qw_safetensors_metadata *metadata, size_t n_metadata,
                              size_t *begins, const qw_stored_tensor *tensors, qw_error *err)
{
    static const char room_for_length[8];
    qw_buf_append(b, room_for_length, 8);
    qw_buf_putc(b, '{');
    if (n_metadata) write_metadata(b, metadata, n_metadata);
    size_t begin = 0;
    for (size_t i = 0; i < n; i++) {
        if (i || n_metadata) qw_buf_putc(b, ',');
        write_entry(b, sorted[i], begin);
        if (begins) begins[sorted[i] - tensors] = begin;
        if (!qw_add_size(&begin, begin, sorted[i]->size))
            return qw_fail(err, QW_ERR_USAGE, "the tensors' sizes overflow");
    }
    qw_buf_putc(b, '}');
    while (!b->failed && b->len % 8 != 0) qw_buf_putc(b, ' ');
    qw_status st = qw_buf_check(b, "a safetensors header", err);
    if (st != QW_OK) return st;
    uint64_t header_len = b->len - 8;
    for (int i = 0; i < 8; i++) b->data[i] = (char)(header_len >> 8 * i & 0xFF);
    return QW_OK;
}

// Where the bytes of tensors come from that lie in no memory.
typedef struct reader {
    qw_tensor_read_fn *read;
    void *ctx;
} reader;

static qw_status write_tensor(qw_file_writer *w, const qw_stored_tensor *t, const reader *from,
                              qw_error *err)
{
    if (t->data || t->size == 0) return qw_file_writer_append(w, t->data, t->size, err);
    QW_ASSERT(from->read);
    const size_t piece_size = (size_t)1 << 20;
    uint8_t *piece = qw_mem_alloc(piece_size);
    if (!piece) return qw_fail_memory(err, piece_size, "writing a tensor");
    qw_status st = QW_OK;
    for (size_t offset = 0; offset < t->size && st == QW_OK; offset += piece_size) {
        size_t size = t->size - offset < piece_size ? t->size - offset : piece_size;
        st = from->read(from->ctx, t, offset, piece, size, err);
        if (st == QW_OK) st = qw_file_writer_append(w, piece, size, err);
    }
    qw_mem_free(piece);
    return st;
}

static qw_status write_file(const char *path, const qw_buf *header,
                            const qw_stored_tensor *const *sorted, size_t n, const reader *from,
                            qw_error *err)
{
    qw_file_writer w;
    qw_status st = qw_file_writer_open(&w, path, err);
    if (st != QW_OK) return st;
    st = qw_file_writer_append(&w, header->data, header->len, err);
    for (size_t i = 0; st == QW_OK && i < n; i++) st = write_tensor(&w, sorted[i], from, err);
    if (st == QW_OK) return qw_file_writer_commit(&w, err);
    qw_file_writer_abort(&w);
    return st;
}

qw_status qw_safetensors_write(const char *path, const qw_stored_tensor *tensors, size_t n,
                               const qw_safetensors_metadata *metadata, size_t n_metadata,
                               qw_error *err)
{
    return qw_safetensors_write_from(path, tensors, n, metadata, n_metadata, NULL, NULL, err);
}

// Check everything and put the tensors in file order: sorted[n], to be freed by the caller.
static qw_status prepare(const qw_stored_tensor ***sorted_out, const qw_stored_tensor *tensors,
                         size_t n, const qw_safetensors_metadata *metadata, size_t n_metadata,
                         qw_error *err)
{
    qw_map names, keys;
    qw_map_init(&names);
    qw_map_init(&keys);
    const qw_stored_tensor **sorted = qw_mem_array(n, sizeof *sorted);
    qw_status st = QW_OK;
    if (!sorted) st = qw_fail_memory(err, n * sizeof *sorted, "the tensor table");
    for (size_t i = 0; st == QW_OK && i < n; i++) {
        st = check_tensor(&tensors[i], &names, err);
        sorted[i] = &tensors[i];
    }
    if (st == QW_OK) st = check_metadata(metadata, n_metadata, &keys, err);
    if (st == QW_OK) {
        qsort(sorted, n, sizeof *sorted, compare_for_writing);
        *sorted_out = sorted;
    } else {
        qw_mem_free(sorted);
    }
    qw_map_release(&keys);
    qw_map_release(&names);
    return st;
}

qw_status qw_safetensors_layout(qw_buf *header, size_t *begins, const qw_stored_tensor *tensors,
                                size_t n, qw_error *err)
{
    const qw_stored_tensor **sorted;
    qw_status st = prepare(&sorted, tensors, n, NULL, 0, err);
    if (st != QW_OK) return st;
    st = build_header(header, sorted, n, NULL, 0, begins, tensors, err);
    qw_mem_free(sorted);
    return st;
}

qw_status qw_safetensors_write_from(const char *path, const qw_stored_tensor *tensors, size_t n,
                                    const qw_safetensors_metadata *metadata, size_t n_metadata,
                                    qw_tensor_read_fn *read, void *read_ctx, qw_error *err)
{
    const reader from = {read, read_ctx};
    const qw_stored_tensor **sorted;
    qw_status st = prepare(&sorted, tensors, n, metadata, n_metadata, err);
    if (st != QW_OK) return st;
    qw_buf header;
    qw_buf_init(&header, QW_SAFETENSORS_MAX_HEADER + 8);
    st = build_header(&header, sorted, n, metadata, n_metadata, NULL, NULL, err);
    if (st == QW_OK) st = write_file(path, &header, sorted, n, &from, err);
    qw_buf_release(&header);
    qw_mem_free(sorted);
    return st;
}
