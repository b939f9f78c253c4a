#ifndef QW_FORMAT_TOKENIZER_IMAGE_H
#define QW_FORMAT_TOKENIZER_IMAGE_H

#include "base/status.h"
#include "base/str.h"
#include "format/added_tokens.h"
#include "format/bpe.h"

// A tokenizer as one block of bytes without pointers: what the loader builds from tokenizer.json,
// what the cache file holds, and what encoding and decoding read, straight from the map.
// Private to the tokenizer's files, its tests and its fuzzers.
//
//   header | id offsets | id bytes | id flags | pairs | byte ids | lookup | added | text
//
// Every section begins at a multiple of 64. All numbers are little endian.

enum { QW_TOKENIZER_IMAGE_VERSION = 1 };

/** A source file by its content. size UINT64_MAX: there is none. */
typedef struct qw_tokenizer_source {
    uint64_t size;
    uint64_t hash[2]; /* XXH3-128 */
} qw_tokenizer_source;

qw_tokenizer_source qw_tokenizer_source_of(const qw_str *content);

typedef enum qw_tokenizer_section {
    QW_SECTION_ID_OFFSETS, /* uint32_t [n_ids + 1]: where each id's bytes begin */
    QW_SECTION_ID_BYTES,   /* the raw bytes of all ids, one after another */
    QW_SECTION_ID_FLAGS,   /* uint8_t [n_ids]: QW_ID_... */
    QW_SECTION_PAIRS,      /* qw_bpe_pair slots */
    QW_SECTION_BYTE_IDS,   /* int32_t [256] */
    QW_SECTION_LOOKUP,     /* int32_t slots: id by the XXH3-64 of its bytes, -1 empty */
    QW_SECTION_ADDED,      /* qw_added_token: found in raw text, then in normalized text */
    QW_SECTION_TEXT,       /* texts of the added tokens and of the header's strings */
    QW_N_SECTIONS,
} qw_tokenizer_section;

enum {
    QW_ID_PRESENT = 1, /* the id has an entry (its bytes may still be none) */
    QW_ID_ADDED = 2,   /* an added token */
    QW_ID_SPECIAL = 4, /* ... that is special */
};

/** Strings of the header, as ranges of the text section. */
typedef enum qw_tokenizer_string {
    QW_STRING_PATTERN, /* the pre-tokenizer's, as tokenizer.json has it */
    QW_STRING_BOS,
    QW_STRING_EOS,
    QW_STRING_PAD,
    QW_N_STRINGS,
} qw_tokenizer_string;

typedef struct qw_tokenizer_header {
    char magic[8];
    uint32_t version;
    uint32_t byte_order; /* 0x01020304 */
    uint64_t hash[2];    /* XXH3-128 of everything behind this field */
    uint64_t size;       /* of the whole image */
    qw_tokenizer_source json, config;
    struct {
        uint64_t offset, size; /* bytes */
    } sections[QW_N_SECTIONS];
    struct {
        uint32_t offset, len; /* offset UINT32_MAX: not given */
    } strings[QW_N_STRINGS];
    int32_t string_ids[QW_N_STRINGS]; /* token ids of bos, eos, pad; -1: none */
    uint32_t n_added_raw;             /* of the added tokens, those found in raw text */
    uint32_t has_nfc, ignore_merges;  /* 0 or 1 */
    uint32_t reserved;                /* 0 */
    int64_t model_max_length;         /* 0: not given */
} qw_tokenizer_header;

/** The parts of an image with their types; borrowed from it. */
typedef struct qw_tokenizer_view {
    const qw_tokenizer_header *header;
    size_t n_ids;
    const uint32_t *id_offsets;
    const char *id_bytes;
    const uint8_t *id_flags;
    qw_bpe_table bpe;
    const int32_t *lookup;
    size_t n_lookup; /* a power of two */
    const qw_added_token *added;
    size_t n_added;
    const char *text;
} qw_tokenizer_view;

/** What becomes section i of a new image. */
typedef struct qw_tokenizer_part {
    const void *data;
    size_t size;
} qw_tokenizer_part;

/**
 * Put an image together: `header` gives everything but magic, version, byte order, hash, size and
 * sections, which are filled in. *out (qw_mem_free) has *size bytes.
 */
QW_MUST_CHECK qw_status qw_tokenizer_image_build(void **out, size_t *size,
                                                 const qw_tokenizer_header *header,
                                                 const qw_tokenizer_part parts[QW_N_SECTIONS],
                                                 qw_error *err);
/** Recompute the hash of an image of at least a header's size (for the builder and fuzzers). */
void qw_tokenizer_image_seal(void *image, size_t size);

/**
 * Check every byte that is later relied upon, then fill *out. `image` is 16-byte aligned. Anything
 * wrong is QW_ERR_FORMAT with the reason.
 */
QW_MUST_CHECK qw_status qw_tokenizer_image_view(qw_tokenizer_view *out, const void *image,
                                                size_t size, qw_error *err);

/** Bytes of an id in [0, n_ids). */
static inline qw_str qw_tokenizer_view_bytes(const qw_tokenizer_view *v, size_t id)
{
    return (qw_str){v->id_bytes + v->id_offsets[id], v->id_offsets[id + 1] - v->id_offsets[id]};
}

/** A string of the header; ptr NULL when it is not given. */
qw_str qw_tokenizer_view_string(const qw_tokenizer_view *v, qw_tokenizer_string which);

/** Number of lookup slots for `n` ids; first slot of a token's bytes. */
size_t qw_tokenizer_lookup_slots(size_t n);
size_t qw_tokenizer_lookup_slot(size_t n_lookup, qw_str bytes);

#endif
