#include "model/packed_weights.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "format/cache_path.h"

typedef struct loader {
    qw_backend *be;
    const qw_product *products;
    qw_packed_entry *entries; /* [n]: what the cache file holds */
    size_t n;
    qw_model_progress_fn *progress;
    void *progress_ctx;
} loader;

static void tell_progress(const loader *l, size_t done)
{
    if (l->progress) l->progress(l->progress_ctx, done, l->n);
}

static const qw_host_matrix *if_set(const qw_host_matrix matrices[3])
{
    for (int i = 0; i < 3; i++)
        if (qw_host_matrix_is_set(&matrices[i])) return matrices;
    return NULL;
}

qw_linear_source qw_product_source(const qw_product *p, qw_quant_source *quant)
{
    *quant = p->quant;
    quant->scales = if_set(p->scales);
    quant->group_scales = if_set(p->group_scales);
    quant->static_biases = if_set(p->static_biases);
    return (qw_linear_source){.segments = p->segments,
                              .biases = p->biases,
                              .n_segments = p->n_segments,
                              .concat = p->concat,
                              .quant = p->is_quantized ? quant : NULL};
}

// What the file should hold

static qw_packed_format format_of(qw_dtype dtype)
{
    switch (dtype) {
    case QW_DTYPE_BF16: return QW_PACKED_BF16;
    case QW_DTYPE_F16: return QW_PACKED_F16;
    case QW_DTYPE_I8: return QW_PACKED_I8;
    case QW_DTYPE_I4: return QW_PACKED_I4;
    default: return QW_PACKED_F32;
    }
}

// The arrays of a product and the names they have in the file.
static const struct {
    qw_linear_part part;
    qw_packed_array array;
} parts[] = {
    {QW_LINEAR_PANELS, QW_PACKED_PANELS},
    {QW_LINEAR_BIAS, QW_PACKED_BIAS},
    {QW_LINEAR_SCALES, QW_PACKED_SCALES},
    {QW_LINEAR_GROUP_SCALES, QW_PACKED_GROUP_SCALES},
    {QW_LINEAR_STATIC_BIAS, QW_PACKED_STATIC_BIAS},
    {QW_LINEAR_TRANSFORMS, QW_PACKED_TRANSFORMS},
};

static qw_packed_array array_of(qw_linear_part part)
{
    for (size_t i = 0; i < QW_ARRAY_LEN(parts); i++)
        if (parts[i].part == part) return parts[i].array;
    QW_ASSERT(false && "every part has an array");
    return QW_PACKED_PANELS;
}

// Plan every product: its linear without memory, and its entry in the file.
static qw_status plan(loader *l, qw_error *err)
{
    l->entries = qw_mem_calloc(l->n, sizeof *l->entries);
    if (!l->entries) return qw_fail_memory(err, l->n * sizeof *l->entries, "packed weights");
    for (size_t i = 0; i < l->n; i++) {
        const qw_product *p = &l->products[i];
        qw_quant_source quant;
        qw_linear_source source = qw_product_source(p, &quant);
        qw_linear *w = p->linear;
        qw_status st = qw_linear_plan(w, &source, err);
        if (st != QW_OK) return qw_context(err, st, "'%s'", p->name);
        qw_packed_entry *e = &l->entries[i];
        *e = (qw_packed_entry){.name = p->name,
                               .format = format_of(w->dtype),
                               .concat = p->concat,
                               .group = (uint32_t)w->group,
                               .input = w->input.kind,
                               .k = (uint64_t)w->k,
                               .np = 16 * (uint64_t)w->n_panels,
                               .kp = (uint64_t)w->kp,
                               .n_segments = (uint32_t)p->n_segments};
        for (size_t a = 0; a < QW_ARRAY_LEN(parts); a++)
            e->sizes[parts[a].array] = qw_linear_part_size(w, parts[a].part);
        for (int s = 0; s < p->n_segments; s++) {
            e->segment_rows[s] = (uint64_t)p->segments[s].rows;
            e->n += e->segment_rows[s];
        }
    }
    return QW_OK;
}

// A model directory has one file for each set of shapes: --hf-overrides with fewer layers does not
// throw away the whole model's.
static qw_status cache_path(char **out, const loader *l, const qw_pack_cache *cache, qw_error *err)
{
    qw_buf shapes;
    qw_buf_init(&shapes, (size_t)1 << 30);
    for (size_t i = 0; i < l->n; i++) {
        const qw_packed_entry *e = &l->entries[i];
        qw_buf_printf(&shapes, "%s %d %u %u %u %" PRIu64 " %" PRIu64 "\n", e->name, (int)e->format,
                      e->concat, e->group, e->input, e->n, e->k);
    }
    qw_status st = qw_buf_check(&shapes, "the list of products", err);
    if (st == QW_OK)
        st = qw_cache_path(out, cache->dir, cache->model_dir, (qw_str){shapes.data, shapes.len},
                           "qwpack", err);
    qw_buf_release(&shapes);
    return st;
}

// The three ways to get the panels

static void use_cache(qw_packed_weights *p, const loader *l, const qw_weight_cache *cache)
{
    for (size_t i = 0; i < l->n; i++) {
        // Read-only memory behind pointers that only linear_pack writes through.
        qw_linear *w = l->products[i].linear;
        for (size_t a = 0; a < QW_ARRAY_LEN(parts); a++)
            qw_linear_part_set(w, parts[a].part,
                               (void *)(uintptr_t)qw_weight_cache_array(cache, i, parts[a].array));
        w->borrowed = true;
    }
    *p = (qw_packed_weights){*cache, (size_t)cache->file.size};
    tell_progress(l, l->n);
}

static qw_status pack_into_memory(const loader *l, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < l->n && st == QW_OK; i++) {
        qw_quant_source quant;
        qw_linear_source source = qw_product_source(&l->products[i], &quant);
        st = l->be->linear_pack(l->be, l->products[i].linear, &source, err);
        if (st != QW_OK) return qw_context(err, st, "'%s'", l->products[i].name);
        tell_progress(l, i + 1);
    }
    return st;
}

typedef struct file_sink {
    qw_weight_cache_writer *writer;
    size_t i_entry;
} file_sink;

static int put(void *ctx, qw_linear_part part, size_t offset, const void *data, size_t size)
{
    const file_sink *s = ctx;
    return qw_weight_cache_writer_put(s->writer, s->i_entry, array_of(part), offset, data, size);
}

static qw_status pack_into_file(const loader *l, const char *path, qw_fingerprint fingerprint,
                                qw_weight_cache *out, qw_error *err)
{
    qw_weight_cache_writer writer;
    qw_status st = qw_weight_cache_writer_open(&writer, path, l->entries, l->n, err);
    if (st != QW_OK) return st;
    for (size_t i = 0; i < l->n && st == QW_OK; i++) {
        qw_quant_source quant;
        qw_linear_source source = qw_product_source(&l->products[i], &quant);
        file_sink sink = {&writer, i};
        st = l->be->linear_write(l->be, l->products[i].linear, &source, put, &sink, err);
        qw_weight_cache_writer_flush(&writer, i);
        tell_progress(l, i);
    }
    if (st == QW_OK) return qw_weight_cache_writer_commit(&writer, fingerprint, out, err);
    qw_weight_cache_writer_abort(&writer);
    return st;
}

// The open file, found or made. False: pack into memory; why was said.
static bool get_file(qw_weight_cache *out, const loader *l, const char *path,
                     const qw_checkpoint *checkpoint, bool verify)
{
    qw_error why;
    qw_fingerprint fingerprint = qw_fingerprint_of(checkpoint);
    if (qw_file_exists(path)) {
        if (qw_weight_cache_open(out, path, l->entries, l->n, fingerprint, verify, &why) == QW_OK) {
            QW_LOG(QW_LOG_INFO, "packed_weights", "mapped the packed weights '%s'", path);
            return true;
        }
        QW_LOG(QW_LOG_INFO, "packed_weights", "packing again, not using '%s': %s", path, why.text);
    }
    int64_t start_ns = qw_clock_ns();
    if (pack_into_file(l, path, fingerprint, out, &why) == QW_OK) {
        double seconds = (double)(qw_clock_ns() - start_ns) * 1e-9;
        QW_LOG(QW_LOG_INFO, "packed_weights", "packed the weights into '%s' GB=%.3f s=%.2f", path,
               (double)out->file.size * 1e-9, seconds);
        return true;
    }
    QW_LOG(QW_LOG_INFO, "packed_weights", "packed weights stay in memory, not in '%s': %s", path,
           why.text);
    return false;
}

qw_status qw_packed_weights_load(qw_packed_weights *out, qw_backend *be, const qw_product *products,
                                 size_t n, const qw_checkpoint *checkpoint,
                                 const qw_pack_cache *cache, qw_model_progress_fn *progress,
                                 void *progress_ctx, qw_error *err)
{
    loader l = {
        .be = be, .products = products, .n = n, .progress = progress, .progress_ctx = progress_ctx};
    *out = (qw_packed_weights){0};
    // Without shards the weights are made up, and sooner computed again than read.
    if (!cache->dir || checkpoint->n_shards == 0) return pack_into_memory(&l, err);
    char *path = NULL;
    qw_weight_cache file;
    qw_status st = plan(&l, err);
    if (st == QW_OK) st = cache_path(&path, &l, cache, err);
    if (st == QW_OK) {
        if (get_file(&file, &l, path, checkpoint, cache->verify))
            use_cache(out, &l, &file);
        else
            st = pack_into_memory(&l, err);
    }
    qw_mem_free(path);
    qw_mem_free(l.entries);
    return st;
}

void qw_packed_weights_release(qw_packed_weights *p)
{
    qw_weight_cache_close(&p->cache);
    *p = (qw_packed_weights){0};
}
