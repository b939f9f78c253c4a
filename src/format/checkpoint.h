#ifndef QW_FORMAT_CHECKPOINT_H
#define QW_FORMAT_CHECKPOINT_H

#include "format/quant_description.h"
#include "format/safetensors.h"

/** One weight file of a model directory. */
typedef struct qw_checkpoint_shard {
    const char *name; /* plain file name */
    uint64_t size;    /* bytes */
    int64_t mtime_ns; /* last change, nanoseconds since 1970 */
    qw_safetensors file;
} qw_checkpoint_shard;

/**
 * The weights of a model directory, mapped (qwen3-dense 2.2). Read-only after opening, any thread;
 * all pointers are borrowed until close. Tensors whose data is misaligned: see qw_stored_tensor.
 */
typedef struct qw_checkpoint {
    qw_checkpoint_shard *shards; /* ascending name */
    size_t n_shards;
    const qw_stored_tensor **tensors; /* by shard, then by position: reading order */
    size_t n_tensors;
    uint64_t total_size; /* bytes of all tensors */
    qw_map by_name;
    qw_arena arena;
    qw_quant_description *quant; /* of an ascend checkpoint; NULL: stored as it is run. Owned */
} qw_checkpoint;

/**
 * A directory with a quantization description (qw_quant_description_find) is an ascend checkpoint
 * (quantization.md 1.1): the index is the first *.safetensors.index.json, quant_* before others,
 * whose files are all there, nested or flat; without one all *.safetensors of the folder count, and
 * a tensor that two of them hold is an error. In all others:
 *
 * Open `dir`/model.safetensors.index.json with the files it names, or else `dir`/model.safetensors.
 * With an index every mapped tensor must be in its file, and other tensors of a file do not exist.
 * QW_ERR_FORMAT names the file and the tensor; a missing file is "shard i of n"; QW_ERR_UNSUPPORTED
 * for a directory that holds weights only in other formats; QW_ERR_IO when it holds none.
 */
QW_MUST_CHECK qw_status qw_checkpoint_open(qw_checkpoint *out, const char *dir, qw_error *err);
void qw_checkpoint_close(qw_checkpoint *c);

/** The tensor called `name`, or NULL. */
const qw_stored_tensor *qw_checkpoint_find(const qw_checkpoint *c, const char *name);

#endif
