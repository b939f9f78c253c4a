#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/str.h"
#include "format/cache_file.h"
#include "format/weight_cache.h"
#include "format/weight_cache_internal.h"

// Places

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

// Entries one after the other, in order of use; the table behind them.
static void place_arrays(qw_weight_cache_writer *w)
{
    uint64_t end = QW_PACK_DATA_OFFSET;
    for (size_t i = 0; i < w->n_entries; i++) {
        for (size_t a = 0; a < QW_PACKED_N_ARRAYS; a++) {
            uint64_t size = w->entries[i].sizes[a];
            if (size == 0) continue;
            w->offsets[i][a] = round_up(end, qw_pack_alignment(size));
            end = w->offsets[i][a] + size;
        }
    }
    w->table_offset = round_up(end, 4096);
}

static void put_u32(qw_buf *b, uint32_t v)
{
    qw_buf_append(b, &v, sizeof v);
}

static void put_u64(qw_buf *b, uint64_t v)
{
    qw_buf_append(b, &v, sizeof v);
}

// One entry of the table. `data` is the file as far as it is written; NULL: hashes are 0.
static void put_entry(qw_buf *b, const qw_packed_entry *e,
                      const uint64_t offsets[QW_PACKED_N_ARRAYS], const uint8_t *data)
{
    put_u32(b, (uint32_t)strlen(e->name));
    qw_buf_puts(b, e->name);
    put_u32(b, e->format);
    put_u32(b, e->concat);
    put_u32(b, e->group);
    put_u32(b, e->input);
    put_u64(b, e->n);
    put_u64(b, e->k);
    put_u64(b, e->np);
    put_u64(b, e->kp);
    put_u32(b, e->n_segments);
    for (uint32_t i = 0; i < e->n_segments; i++) put_u64(b, e->segment_rows[i]);
    uint32_t n_arrays = 0;
    for (size_t a = 0; a < QW_PACKED_N_ARRAYS; a++) n_arrays += e->sizes[a] > 0;
    put_u32(b, n_arrays);
    for (uint32_t a = 0; a < QW_PACKED_N_ARRAYS; a++) {
        if (e->sizes[a] == 0) continue;
        put_u32(b, a);
        put_u64(b, offsets[a]);
        put_u64(b, e->sizes[a]);
        put_u64(b, data ? XXH3_64bits(data + offsets[a], (size_t)e->sizes[a]) : 0);
    }
}

static qw_status make_table(qw_buf *b, const qw_weight_cache_writer *w, const uint8_t *data,
                            qw_error *err)
{
    qw_buf_init(b, (size_t)1 << 30);
    for (size_t i = 0; i < w->n_entries; i++) put_entry(b, &w->entries[i], w->offsets[i], data);
    return qw_buf_check(b, "the table of packed weights", err);
}

// The file

static qw_status reserve(const qw_weight_cache_writer *w, qw_error *err)
{
    int failure;
    do failure = posix_fallocate(w->file.fd, 0, (off_t)w->file_size);
    while (failure == EINTR);
    if (failure == 0) return QW_OK;
    return qw_fail(err, QW_ERR_IO, "cannot reserve %.2f GiB: %s",
                   (double)w->file_size / (double)((size_t)1 << 30), strerror(failure));
}

qw_status qw_weight_cache_writer_open(qw_weight_cache_writer *out, const char *path,
                                      const qw_packed_entry *entries, size_t n_entries,
                                      qw_error *err)
{
    qw_weight_cache_writer w = {.file.fd = -1, .entries = entries, .n_entries = n_entries};
    qw_buf table;
    w.offsets = qw_mem_calloc(n_entries, sizeof *w.offsets);
    if (!w.offsets) return qw_fail_memory(err, n_entries * sizeof *w.offsets, "packed weights");
    place_arrays(&w);
    qw_status st = make_table(&table, &w, NULL, err);
    w.file_size = w.table_offset + table.len;
    qw_buf_release(&table);
    if (st == QW_OK) st = qw_cache_file_create(&w.file, path, err);
    if (st == QW_OK) st = reserve(&w, err);
    if (st == QW_OK)
        *out = w;
    else
        qw_weight_cache_writer_abort(&w);
    return st;
}

static int write_at(int fd, uint64_t offset, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int qw_weight_cache_writer_put(qw_weight_cache_writer *w, size_t i_entry, qw_packed_array array,
                               uint64_t offset, const void *data, size_t size)
{
    QW_ASSERT(i_entry < w->n_entries && offset <= w->entries[i_entry].sizes[array] &&
              size <= w->entries[i_entry].sizes[array] - offset);
    return write_at(w->file.fd, w->offsets[i_entry][array] + offset, data, size);
}

void qw_weight_cache_writer_flush(qw_weight_cache_writer *w, size_t i_entry)
{
    (void)sync_file_range(w->file.fd, (off64_t)w->offsets[i_entry][QW_PACKED_PANELS],
                          (off64_t)w->entries[i_entry].sizes[QW_PACKED_PANELS],
                          SYNC_FILE_RANGE_WRITE);
}

// Table and header, once all data is there.
static qw_status finish(qw_weight_cache_writer *w, qw_fingerprint fingerprint, qw_error *err)
{
    qw_file written;
    qw_status st = qw_file_open(&written, w->file.temp_path, err);
    if (st != QW_OK) return st;
    qw_buf table;
    st = make_table(&table, w, written.data, err);
    qw_file_close(&written);
    if (st == QW_OK) {
        XXH128_hash_t hash = XXH3_128bits(table.data, table.len);
        qw_pack_header h = {.container = QW_WEIGHT_CACHE_CONTAINER,
                            .layout = QW_WEIGHT_CACHE_LAYOUT,
                            .file_size = w->file_size,
                            .table_offset = w->table_offset,
                            .n_entries = (uint32_t)w->n_entries,
                            .fingerprint = fingerprint,
                            .table_hash = {hash.low64, hash.high64}};
        memcpy(h.magic, qw_pack_magic, sizeof h.magic);
        h.header_hash = qw_pack_header_hash(&h);
        int failure = write_at(w->file.fd, w->table_offset, table.data, table.len);
        if (failure == 0 && fsync(w->file.fd) != 0) failure = errno; // data before the header
        if (failure == 0) failure = write_at(w->file.fd, 0, &h, sizeof h);
        if (failure != 0)
            st = qw_fail(err, QW_ERR_IO, "cannot write '%s': %s", w->file.path, strerror(failure));
    }
    qw_buf_release(&table);
    return st;
}

qw_status qw_weight_cache_writer_commit(qw_weight_cache_writer *w, qw_fingerprint fingerprint,
                                        qw_weight_cache *out, qw_error *err)
{
    qw_weight_cache c = {0};
    qw_status st = finish(w, fingerprint, err);
    // A file that the next start would refuse is not put in place.
    if (st == QW_OK)
        st = qw_weight_cache_open(&c, w->file.temp_path, w->entries, w->n_entries, fingerprint,
                                  false, err);
    if (st == QW_OK) st = qw_cache_file_commit(&w->file, err);
    qw_weight_cache_writer_abort(w);
    if (st == QW_OK)
        *out = c;
    else
        qw_weight_cache_close(&c);
    return st;
}

void qw_weight_cache_writer_abort(qw_weight_cache_writer *w)
{
    qw_file_writer_abort(&w->file);
    qw_mem_free(w->offsets);
    *w = (qw_weight_cache_writer){.file.fd = -1};
}
