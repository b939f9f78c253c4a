#ifndef QW_QUANT_QUANT_OUTPUT_H
#define QW_QUANT_QUANT_OUTPUT_H

// The directory of a checkpoint that is being written. Everything goes into DST.partial:
//
//   quant_model_weights-00001-of-000NN.safetensors   full size from the start, filled in place
//   journal                                          what it is for, and a line for each unit done
//
// At the end the small files are added, the journal goes, and the directory is renamed to DST:
// there is no DST before. A run that is killed leaves DST.partial, which a run with `resume` takes
// up.
#include "base/buf.h"
#include "quant/quant_plan.h"

/** Where a checkpoint is written to. One thread. */
typedef struct qw_quant_output {
    const qw_quant_plan *plan;
    char *dst, *partial; /* owned */
    int journal;         /* descriptor, locked */
    int *parts;          /* [plan->n_parts] descriptors */
    uint64_t *offsets;   /* [plan->n_outputs], from the file's first byte */
    bool *done;          /* [plan->n_units] */
    size_t n_done;
    bool is_new; /* DST.partial was made by this run */
} qw_quant_output;

/**
 * Begin, or with `resume` go on. `fingerprint` (one line of text) says what the checkpoint is made
 * from; going on asks for the same. Errors: DST exists; DST.partial exists without `resume`,
 * belongs to something else, or to a run that is still there; no room on the disk for all of it.
 * After a failure nothing that this call made is left.
 */
QW_MUST_CHECK qw_status qw_quant_output_open(qw_quant_output *out, const char *dst,
                                             const qw_quant_plan *plan, const char *fingerprint,
                                             bool resume, qw_error *err);
/** Write bytes of tensor `i_output`, from its byte `offset` on. Bytes never written are zero. */
QW_MUST_CHECK qw_status qw_quant_output_write(qw_quant_output *o, size_t i_output, uint64_t offset,
                                              const void *data, size_t size, qw_error *err);
/** All tensors of the unit are written: it need not be done again. */
QW_MUST_CHECK qw_status qw_quant_output_unit_done(qw_quant_output *o, size_t unit, qw_error *err);
/** The path of a file in DST.partial that goes away at the end; NULL: no memory. Caller owns. */
char *qw_quant_output_temporary(const qw_quant_output *o);

/**
 * Write index and description, copy what else belongs to the model from `src`, and put the
 * directory in place. Releases `o`, whether it succeeds or fails.
 */
QW_MUST_CHECK qw_status qw_quant_output_finish(qw_quant_output *o, const char *src, qw_error *err);
/** Give up: removes DST.partial if this run made it. Releases `o`. */
void qw_quant_output_abort(qw_quant_output *o);

#endif
