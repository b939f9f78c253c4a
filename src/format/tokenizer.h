#ifndef QW_FORMAT_TOKENIZER_H
#define QW_FORMAT_TOKENIZER_H

#include "base/buf.h"
#include "base/str.h"
#include "format/ids.h"

/**
 * Byte-level BPE tokenizer of the Qwen3 family (qwen3-dense 5), read from tokenizer.json. Immutable
 * once it is there: any number of threads may use it at the same time.
 */
typedef struct qw_tokenizer qw_tokenizer;

/** What a tokenizer tells about itself. Strings are borrowed from it, not NUL-terminated. */
typedef struct qw_tokenizer_info {
    int32_t n_ids;                  /* highest id + 1; added tokens count, holes too */
    int32_t bos_id, eos_id, pad_id; /* from tokenizer_config.json; -1: none */
    qw_str bos, eos, pad;           /* ptr NULL: none. Their ids are -1 if no token is so named */
    int64_t model_max_length;       /* from tokenizer_config.json; 0: none, or no limit */
    bool from_cache;                /* mapped from the cache, tokenizer.json was not parsed */
    const char *cache_note; /* why the cache was not used or not written; "" if all is well */
} qw_tokenizer_info;

/**
 * Read tokenizer.json and, unless `config_path` is NULL, tokenizer_config.json (added tokens of
 * both count; flags of the latter win). What this tokenizer cannot do exactly as the file says is
 * QW_ERR_UNSUPPORTED naming it: another model type, normalizer, pre-tokenizer.
 */
QW_MUST_CHECK qw_status qw_tokenizer_load(qw_tokenizer **out, const char *json_path,
                                          const char *config_path, qw_error *err);

/**
 * The tokenizer of a model directory: tokenizer.json and, if it is there, tokenizer_config.json.
 * With a `cache_dir` (may be NULL), a compiled copy is kept in it and mapped by the next open; it
 * is used only if its checksum, its contents and the hashes of both source files are right,
 * otherwise rebuilt. A cache that cannot be read or written is no failure: info->cache_note tells,
 * and the log. Without tokenizer.json: QW_ERR_IO saying what is missing.
 */
QW_MUST_CHECK qw_status qw_tokenizer_open(qw_tokenizer **out, const char *model_dir,
                                          const char *cache_dir, qw_error *err);
void qw_tokenizer_close(qw_tokenizer *t);

/** Borrowed from the tokenizer. */
const qw_tokenizer_info *qw_tokenizer_get_info(const qw_tokenizer *t);

enum {
    QW_ENCODE_SPLIT_SPECIAL = 1, /* special added tokens are ordinary text (other added ones not) */
};

/**
 * Append the ids of `text` to `out`: added tokens, NFC, pre-tokenizer, BPE; nothing is put in front
 * or behind. NUL is an ordinary character; each maximal invalid subpart of broken UTF-8 counts as
 * U+FFFD. `flags`: QW_ENCODE_... Text beyond 1 GiB is QW_ERR_USAGE. A failure leaves the length of
 * `out` as it was.
 */
QW_MUST_CHECK qw_status qw_tokenizer_encode(const qw_tokenizer *t, qw_str text, unsigned flags,
                                            qw_ids *out, qw_error *err);

/**
 * Append the text of `n` ids: their bytes one after another, with U+FFFD for each maximal invalid
 * subpart. Ids without an entry, negative ones too, contribute nothing. skip_special leaves out
 * added tokens that are special. Failures stick to `out` (base/buf.h).
 */
void qw_tokenizer_decode(const qw_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                         qw_buf *out);

/** The raw bytes of one id, perhaps a part of a character. ptr NULL: the id has no entry. */
qw_str qw_tokenizer_token_bytes(const qw_tokenizer *t, int32_t id);
/** The id of the token with exactly these bytes, an added one first; false when there is none. */
bool qw_tokenizer_id_of(const qw_tokenizer *t, qw_str bytes, int32_t *id);
/** An added token; ... that is special. False for ids without an entry. */
bool qw_tokenizer_is_added(const qw_tokenizer *t, int32_t id);
bool qw_tokenizer_is_special(const qw_tokenizer *t, int32_t id);

#endif
