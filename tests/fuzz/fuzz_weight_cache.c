// A file of packed weights with any table: refused, or every array lies inside and can be read.
// The first byte chooses between the input as the whole file and as a table whose hashes are right.
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "format/weight_cache_internal.h"
#include "fuzz/fuzz.h"

static const qw_packed_entry entries[] = {
    {"a", QW_PACKED_BF16, 0, 0, 0, 16, 32, 16, 32, 2, {8, 8}, {1024, 64}},
    {"b", QW_PACKED_F32, 1, 0, 0, 16, 16, 16, 16, 1, {16}, {1024, 0}},
};
static const qw_fingerprint source = {1, 2};

enum { DATA_SIZE = 3 * 4096 };

static void write_sealed(int fd, const uint8_t *table, size_t size)
{
    static const uint8_t zeros[DATA_SIZE];
    XXH128_hash_t hash = XXH3_128bits(table, size);
    qw_pack_header h = {.container = QW_WEIGHT_CACHE_CONTAINER,
                        .layout = QW_WEIGHT_CACHE_LAYOUT,
                        .file_size = QW_PACK_DATA_OFFSET + DATA_SIZE + size,
                        .table_offset = QW_PACK_DATA_OFFSET + DATA_SIZE,
                        .n_entries = QW_ARRAY_LEN(entries),
                        .fingerprint = source,
                        .table_hash = {hash.low64, hash.high64}};
    memcpy(h.magic, qw_pack_magic, sizeof h.magic);
    h.header_hash = qw_pack_header_hash(&h);
    QW_ASSERT(write(fd, &h, sizeof h) == sizeof h);
    QW_ASSERT(write(fd, zeros, QW_PACK_DATA_OFFSET - sizeof h) == QW_PACK_DATA_OFFSET - sizeof h);
    QW_ASSERT(write(fd, zeros, sizeof zeros) == sizeof zeros);
    QW_ASSERT(write(fd, table, size) == (ssize_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    int fd = memfd_create("fuzz", 0);
    QW_ASSERT(fd >= 0);
    if (data[0] & 1)
        write_sealed(fd, data + 1, size - 1);
    else
        QW_ASSERT(write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    size_t live = qw_mem_live();
    qw_weight_cache c;
    qw_error err;
    if (qw_weight_cache_open(&c, path, entries, QW_ARRAY_LEN(entries), source, data[0] & 2, &err) ==
        QW_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < QW_ARRAY_LEN(entries); i++)
            for (size_t a = 0; a < QW_PACKED_N_ARRAYS; a++) {
                const uint8_t *p = qw_weight_cache_array(&c, i, (qw_packed_array)a);
                for (size_t k = 0; p && k < entries[i].sizes[a]; k++) sum += p[k];
                QW_ASSERT(!p == (entries[i].sizes[a] == 0));
            }
        QW_ASSERT(sum + 1 > 0);
        qw_weight_cache_close(&c);
    }
    QW_ASSERT(qw_mem_live() == live);
    close(fd);
    return 0;
}
