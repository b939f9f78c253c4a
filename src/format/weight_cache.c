#include "format/weight_cache.h"

#include <sys/mman.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/str.h"
#include "format/weight_cache_internal.h"

const char qw_pack_magic[8] = {'Q', 'W', 'P', 'A', 'C', 'K', '\r', '\n'};

uint64_t qw_pack_alignment(uint64_t size)
{
    const uint64_t huge = (uint64_t)2 << 20;
    return size > huge ? huge : 4096;
}

uint64_t qw_pack_header_hash(const qw_pack_header *h)
{
    return XXH3_64bits(h, offsetof(qw_pack_header, header_hash));
}

// The header: is this our file, whole, of this version, and made from this source?
static qw_status check_header(qw_pack_header *h, const qw_file *file, qw_fingerprint fingerprint,
                              qw_error *err)
{
    if (file->size < QW_PACK_DATA_OFFSET)
        return qw_fail(err, QW_ERR_FORMAT, "it has %" PRIu64 " bytes, less than its header",
                       file->size);
    memcpy(h, file->data, sizeof *h);
    if (memcmp(h->magic, qw_pack_magic, sizeof h->magic) != 0)
        return qw_fail(err, QW_ERR_FORMAT, "it is no file of packed weights");
    if (h->container != QW_WEIGHT_CACHE_CONTAINER || h->layout != QW_WEIGHT_CACHE_LAYOUT)
        return qw_fail(err, QW_ERR_FORMAT, "it has version %u.%u, this program uses %d.%d",
                       h->container, h->layout, QW_WEIGHT_CACHE_CONTAINER, QW_WEIGHT_CACHE_LAYOUT);
    if (h->header_hash != qw_pack_header_hash(h))
        return qw_fail(err, QW_ERR_FORMAT, "its header is damaged");
    for (size_t i = sizeof *h; i < QW_PACK_DATA_OFFSET; i++)
        if (file->data[i] != 0)
            return qw_fail(err, QW_ERR_FORMAT, "byte %zu behind its header is not zero", i);
    if (h->flags != 0)
        return qw_fail(err, QW_ERR_FORMAT, "it has flags 0x%x that are unknown here", h->flags);
    if (h->file_size != file->size)
        return qw_fail(err, QW_ERR_FORMAT, "it has %" PRIu64 " bytes, its header says %" PRIu64,
                       file->size, h->file_size);
    if (h->fingerprint.low != fingerprint.low || h->fingerprint.high != fingerprint.high)
        return qw_fail(err, QW_ERR_FORMAT, "it was made from other weights");
    if (h->table_offset < QW_PACK_DATA_OFFSET || h->table_offset > file->size)
        return qw_fail(err, QW_ERR_FORMAT, "its table lies outside the file");
    const uint8_t *table = file->data + h->table_offset;
    XXH128_hash_t hash = XXH3_128bits(table, (size_t)(file->size - h->table_offset));
    if (hash.low64 != h->table_hash[0] || hash.high64 != h->table_hash[1])
        return qw_fail(err, QW_ERR_FORMAT, "its table is damaged");
    return QW_OK;
}

// Table entries

typedef struct cursor {
    const uint8_t *p, *end;
    bool short_of_bytes; /* sticks; values read from then on are 0 */
} cursor;

static const uint8_t *take(cursor *c, size_t size)
{
    if (c->short_of_bytes || (size_t)(c->end - c->p) < size) {
        c->short_of_bytes = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += size;
    return p;
}

static uint32_t take_u32(cursor *c)
{
    uint32_t v = 0;
    const uint8_t *p = take(c, sizeof v);
    if (p) memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t take_u64(cursor *c)
{
    uint64_t v = 0;
    const uint8_t *p = take(c, sizeof v);
    if (p) memcpy(&v, p, sizeof v);
    return v;
}

// Reading a file's entries one after the other.
typedef struct reader {
    const qw_file *file;
    cursor table;
    uint64_t data_end;  /* of the data section */
    uint64_t array_end; /* of the arrays seen so far: files list them in order */
    bool verify;
} reader;

static qw_status check_name(reader *r, const qw_packed_entry *e, qw_error *err)
{
    uint32_t len = take_u32(&r->table);
    if (len > QW_PACK_MAX_NAME) r->table.short_of_bytes = true;
    const char *name = (const char *)take(&r->table, len);
    if (!name || !qw_str_eq((qw_str){name, len}, qw_str_of(e->name)))
        return qw_fail(err, QW_ERR_FORMAT, "it has no '%s' where this model has one", e->name);
    return QW_OK;
}

static qw_status check_shape(reader *r, const qw_packed_entry *e, qw_error *err)
{
    cursor *c = &r->table;
    bool same = take_u32(c) == e->format;
    same &= take_u32(c) == e->concat;
    same &= take_u32(c) == e->group;
    same &= take_u32(c) == e->input;
    same &= take_u64(c) == e->n;
    same &= take_u64(c) == e->k;
    same &= take_u64(c) == e->np;
    same &= take_u64(c) == e->kp;
    uint32_t n_segments = take_u32(c);
    same &= n_segments == e->n_segments;
    for (uint32_t i = 0; same && i < n_segments; i++) same &= take_u64(c) == e->segment_rows[i];
    if (!same)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' has another shape or format than this model's %" PRIu64 " x %" PRIu64,
                       e->name, e->n, e->k);
    return QW_OK;
}

static qw_status check_array(reader *r, const qw_packed_entry *e, uint32_t kind, uint64_t *out,
                             qw_error *err)
{
    cursor *c = &r->table;
    bool same_kind = take_u32(c) == kind;
    uint64_t offset = take_u64(c), size = take_u64(c), hash = take_u64(c);
    if (!same_kind || size != e->sizes[kind])
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' has an array of %" PRIu64 " bytes instead of %" PRIu64, e->name, size,
                       e->sizes[kind]);
    if (offset < QW_PACK_DATA_OFFSET || offset > r->data_end || size > r->data_end - offset)
        return qw_fail(err, QW_ERR_FORMAT, "'%s' lies outside the data", e->name);
    if (offset % qw_pack_alignment(size) != 0)
        return qw_fail(err, QW_ERR_FORMAT, "'%s' starts at byte %" PRIu64 ", which is not aligned",
                       e->name, offset);
    if (offset < r->array_end)
        return qw_fail(err, QW_ERR_FORMAT, "'%s' overlaps what lies before it", e->name);
    if (r->verify && XXH3_64bits(r->file->data + offset, (size_t)size) != hash)
        return qw_fail(err, QW_ERR_FORMAT, "the data of '%s' are damaged", e->name);
    r->array_end = offset + size;
    *out = offset;
    return QW_OK;
}

static qw_status check_entry(reader *r, const qw_packed_entry *e,
                             uint64_t offsets[QW_PACKED_N_ARRAYS], qw_error *err)
{
    qw_status st = check_name(r, e, err);
    if (st == QW_OK) st = check_shape(r, e, err);
    if (st != QW_OK) return st;
    uint32_t n_arrays = take_u32(&r->table), n_expected = 0;
    for (uint32_t a = 0; a < QW_PACKED_N_ARRAYS; a++) n_expected += e->sizes[a] > 0;
    if (n_arrays != n_expected)
        return qw_fail(err, QW_ERR_FORMAT, "'%s' has %u arrays instead of %u", e->name, n_arrays,
                       n_expected);
    for (uint32_t a = 0; a < QW_PACKED_N_ARRAYS && st == QW_OK; a++)
        if (e->sizes[a] > 0) st = check_array(r, e, a, &offsets[a], err);
    return st;
}

static qw_status check_table(qw_weight_cache *c, const qw_pack_header *h,
                             const qw_packed_entry *entries, bool verify, qw_error *err)
{
    const uint8_t *data = c->file.data;
    reader r = {.file = &c->file,
                .table = {data + h->table_offset, data + c->file.size, false},
                .data_end = h->table_offset,
                .verify = verify};
    if (h->n_entries != c->n_entries)
        return qw_fail(err, QW_ERR_FORMAT, "it has %u matrices, this model has %zu", h->n_entries,
                       c->n_entries);
    qw_status st = QW_OK;
    for (size_t i = 0; i < c->n_entries && st == QW_OK; i++)
        st = check_entry(&r, &entries[i], c->offsets[i], err);
    if (r.table.short_of_bytes)
        st = qw_fail(err, QW_ERR_FORMAT, "its table ends in the middle of an entry");
    if (st == QW_OK && r.table.p != r.table.end)
        st = qw_fail(err, QW_ERR_FORMAT, "its table goes on behind the last entry");
    return st;
}

qw_status qw_weight_cache_open(qw_weight_cache *out, const char *path,
                               const qw_packed_entry *entries, size_t n_entries,
                               qw_fingerprint fingerprint, bool verify, qw_error *err)
{
    qw_weight_cache c = {.n_entries = n_entries};
    qw_pack_header h;
    qw_status st = qw_file_open(&c.file, path, err);
    if (st != QW_OK) return st;
    st = check_header(&h, &c.file, fingerprint, err);
    if (st == QW_OK) {
        c.offsets = qw_mem_calloc(n_entries, sizeof *c.offsets);
        if (!c.offsets) st = qw_fail_memory(err, n_entries * sizeof *c.offsets, "packed weights");
    }
    if (st == QW_OK) st = check_table(&c, &h, entries, verify, err);
    if (st != QW_OK) {
        qw_weight_cache_close(&c);
        return st;
    }
    // Wishes: large pages where the file system has them, and what is not in memory yet read in
    // the order of use, which is the order of the file.
    void *data = (void *)(uintptr_t)c.file.data;
    (void)madvise(data, (size_t)c.file.size, MADV_HUGEPAGE);
    (void)madvise(data, (size_t)c.file.size, MADV_WILLNEED);
    *out = c;
    return QW_OK;
}

void qw_weight_cache_close(qw_weight_cache *c)
{
    qw_mem_free(c->offsets);
    qw_file_close(&c->file);
    *c = (qw_weight_cache){0};
}

const void *qw_weight_cache_array(const qw_weight_cache *c, size_t i, qw_packed_array array)
{
    QW_ASSERT(i < c->n_entries);
    uint64_t offset = c->offsets[i][array];
    return offset ? c->file.data + offset : NULL;
}
