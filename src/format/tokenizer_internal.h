#ifndef QW_FORMAT_TOKENIZER_INTERNAL_H
#define QW_FORMAT_TOKENIZER_INTERNAL_H

// Shared by the tokenizer's own files and its tests.

#include "base/file.h"
#include "format/pretokenizer.h"
#include "format/tokenizer.h"
#include "format/tokenizer_image.h"

struct qw_tokenizer {
    qw_tokenizer_view view;
    void *image;   /* what `view` looks into: our own block, or ... */
    qw_file cache; /* ... the mapped cache file */
    qw_pretokenizer *pretokenizer;
    qw_added_index added_raw, added_normalized;
    qw_tokenizer_info info;
    qw_error note; /* its text is info.cache_note */
};

/**
 * Build the image of a tokenizer from the text of its files (`config` may be NULL). *out
 * (qw_mem_free) has *size bytes.
 */
QW_MUST_CHECK qw_status qw_tokenizer_compile(void **out, size_t *size, const qw_str *json,
                                             const qw_str *config, qw_error *err);

/** A tokenizer over an image that it owns from here on, also on failure. */
QW_MUST_CHECK qw_status qw_tokenizer_from_image(qw_tokenizer **out, void *image, size_t size,
                                                qw_error *err);
/** The same over a mapped cache file, which becomes the tokenizer's only on success. */
QW_MUST_CHECK qw_status qw_tokenizer_from_cache(qw_tokenizer **out, const qw_file *cache,
                                                qw_error *err);

#endif
