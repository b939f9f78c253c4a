#ifndef QW_FORMAT_SAFETENSORS_H
#define QW_FORMAT_SAFETENSORS_H

// The safetensors file format (qwen3-dense 2.3; safetensors: safetensors/src/tensor.rs): 8 bytes
// little-endian header length N, N bytes of JSON, then the tensors' bytes without gaps.
#include "base/dtype.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"

/** Longest JSON header that the format allows, in bytes. */
#define QW_SAFETENSORS_MAX_HEADER ((size_t)100000000)

/**
 * One tensor as it lies in a file: row-major, little-endian, borrowed from the file's owner.
 * A header may have any length, so `data` may be MISALIGNED for its dtype: load elements by memcpy
 * or copy first. Values are not inspected by the reader.
 */
typedef struct qw_stored_tensor {
    const char *name; /* valid UTF-8, no NUL inside */
    qw_dtype dtype;
    size_t rank;         /* 0: a scalar, one element */
    const size_t *shape; /* [rank]; a 0 makes the tensor empty */
    const uint8_t *data; /* [size]; not to be read when size is 0 */
    size_t size;         /* bytes: product(shape) * bits(dtype) / 8 */
} qw_stored_tensor;

/** A member of a file's free-form metadata. */
typedef struct qw_safetensors_metadata {
    qw_str key, value;
} qw_safetensors_metadata;

/**
 * An open file: validated header and views of its tensors. Read-only after opening, any thread.
 * The data is mapped, never copied; if somebody truncates the file meanwhile, reading a tensor
 * ends in SIGBUS, and if somebody overwrites it in place the new bytes show.
 */
typedef struct qw_safetensors {
    qw_file file; /* all zero when the bytes belong to the caller */
    qw_stored_tensor *tensors;
    size_t n_tensors; /* in the order of their data */
    qw_safetensors_metadata *metadata;
    size_t n_metadata;
    qw_map by_name;
    qw_arena arena; /* names, shapes, tables; until close */
} qw_safetensors;

/**
 * Map and validate `path` by all rules of qwen3-dense 2.3: a file that passes has every tensor's
 * bytes inside it. Duplicate names are refused (the reference keeps the last one). Unknown dtypes
 * are refused; known ones that nobody here computes with are not. QW_ERR_IO: cannot be read;
 * QW_ERR_FORMAT: malformed, truncated, or a Git LFS pointer in place of the weights.
 */
QW_MUST_CHECK qw_status qw_safetensors_open(qw_safetensors *out, const char *path, qw_error *err);
/** The same on `size` bytes of memory that outlive `out`. Errors name no file. */
QW_MUST_CHECK qw_status qw_safetensors_parse(qw_safetensors *out, const uint8_t *bytes, size_t size,
                                             qw_error *err);
void qw_safetensors_close(qw_safetensors *st);

/** The tensor called `name`, or NULL. Borrowed until close. */
const qw_stored_tensor *qw_safetensors_find(const qw_safetensors *st, const char *name);

/** Bytes of a tensor; false if the product overflows or is no whole number of bytes. */
QW_MUST_CHECK bool qw_stored_tensor_size(size_t *out, qw_dtype dtype, const size_t *shape,
                                         size_t rank);

/**
 * Write `n` tensors to `path` exactly as the reference does: metadata (if any) first in the header,
 * tensors by descending dtype alignment, then by name, header padded with spaces to a multiple of
 * 8. The file appears whole or not at all; no second copy of the data is made in memory.
 * QW_ERR_USAGE: size and shape of a tensor disagree, a name is repeated, not UTF-8 or
 * "__metadata__".
 */
QW_MUST_CHECK qw_status qw_safetensors_write(const char *path, const qw_stored_tensor *tensors,
                                             size_t n, const qw_safetensors_metadata *metadata,
                                             size_t n_metadata, qw_error *err);

/** Supplies `size` bytes of a tensor's data from byte `offset` on; both are multiples of 8 except
 *  at the tensor's end. */
typedef qw_status qw_tensor_read_fn(void *ctx, const qw_stored_tensor *t, size_t offset, void *out,
                                    size_t size, qw_error *err);
/** The same for tensors that lie in no memory (data NULL): their bytes are asked for in pieces. */
QW_MUST_CHECK qw_status qw_safetensors_write_from(const char *path, const qw_stored_tensor *tensors,
                                                  size_t n, const qw_safetensors_metadata *metadata,
                                                  size_t n_metadata, qw_tensor_read_fn *read,
                                                  void *read_ctx, qw_error *err);

/**
 * For writers that fill in a file's data in an order of their own: append to the empty `header` all
 * that comes before the data, as qw_safetensors_write writes it without metadata, and tell where
 * each tensor's bytes begin behind it (begins[n]). `data` of the tensors is not looked at.
 */
QW_MUST_CHECK qw_status qw_safetensors_layout(qw_buf *header, size_t *begins,
                                              const qw_stored_tensor *tensors, size_t n,
                                              qw_error *err);

#endif
