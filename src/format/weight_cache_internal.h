#ifndef QW_FORMAT_WEIGHT_CACHE_INTERNAL_H
#define QW_FORMAT_WEIGHT_CACHE_INTERNAL_H

#include "format/weight_cache.h"

enum {
    QW_PACK_HEADER_SIZE = 80,
    QW_PACK_DATA_OFFSET = 4096,
    QW_PACK_MAX_NAME = 1024,
};

/** The first 80 bytes of the file, in their order. */
typedef struct qw_pack_header {
    char magic[8];
    uint32_t container, layout;
    uint64_t file_size, table_offset;
    uint32_t n_entries, flags;
    qw_fingerprint fingerprint;
    uint64_t table_hash[2]; /* low, high */
    uint64_t header_hash;   /* XXH3-64 of the bytes before it */
} qw_pack_header;

_Static_assert(sizeof(qw_pack_header) == QW_PACK_HEADER_SIZE, "the header has no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are stored as they are");

extern const char qw_pack_magic[8];

/** What an array's offset is a multiple of. */
uint64_t qw_pack_alignment(uint64_t size);
uint64_t qw_pack_header_hash(const qw_pack_header *h);

#endif
