#ifndef QW_FORMAT_QUANT_DESCRIPTION_H
#define QW_FORMAT_QUANT_DESCRIPTION_H

// quant_model_description.json of a checkpoint written by msModelSlim ("ascend" quantization):
// which tensor is stored in which way (quantization.md 1.2 to 1.4).
#include "base/map.h"
#include "base/mem.h"
#include "base/status.h"

/** How a Linear is stored, as the description spells it. */
typedef enum qw_quant_type {
    QW_QUANT_FLOAT,
    QW_QUANT_W8A8, /* static input scale */
    QW_QUANT_W8A8_DYNAMIC,
    QW_QUANT_W8A8_MIX, /* tensors of both of them */
    QW_QUANT_W8A16,
    QW_QUANT_W4A16,
    QW_QUANT_W4A8_DYNAMIC,
    QW_QUANT_W4A4_DYNAMIC,
    QW_QUANT_W4A4_FLATQUANT_DYNAMIC,
    QW_QUANT_C8,    /* scales of an int8 KV cache */
    QW_QUANT_OTHER, /* known to others, or to nobody: an error where it matters */
} qw_quant_type;

/** "W8A8_DYNAMIC"; "another type" for QW_QUANT_OTHER. */
const char *qw_quant_type_name(qw_quant_type type);

/** What the description says about a tensor. */
typedef struct qw_quant_entry {
    qw_quant_type type;
    const char *text; /* as it stands there */
} qw_quant_entry;

/** A description. Read-only after opening, any thread. */
typedef struct qw_quant_description {
    const char *file;    /* plain name; NULL when it was parsed from memory */
    const char *version; /* "1.0.0"; NULL: none */
    int64_t group_size;  /* -1: not given; 0: no groups */
    bool has_kv_scales;  /* kv_cache_type or kv_quant_type is C8 */
    uint64_t hash[2];    /* of the file's bytes */
    qw_quant_entry *entries;
    size_t n_entries;
    qw_map by_name; /* names without "thinker." */
    qw_arena arena;
} qw_quant_description;

/**
 * The description's file in `dir`: quant_model_description.json, or else the only file called
 * quant_model_description_*.json. `found` false: there is none, and *out is NULL. Caller frees *out
 * (a plain name). Errors: there are several; the directory cannot be read.
 */
QW_MUST_CHECK qw_status qw_quant_description_find(char **out, bool *found, const char *dir,
                                                  qw_error *err);

/** Read `dir`/`file`. QW_ERR_FORMAT names the key. Release with qw_quant_description_release. */
QW_MUST_CHECK qw_status qw_quant_description_load(qw_quant_description *out, const char *dir,
                                                  const char *file, qw_error *err);
/** The same from its text. */
QW_MUST_CHECK qw_status qw_quant_description_parse(qw_quant_description *out, const char *text,
                                                   size_t len, qw_error *err);
void qw_quant_description_release(qw_quant_description *d);

/**
 * The entry of a tensor, or NULL. Names count with and without "thinker."; ".weight_packed" counts
 * as ".weight", and "language_model.lm_head." as "lm_head.".
 */
const qw_quant_entry *qw_quant_description_entry(const qw_quant_description *d, const char *name);

#endif
