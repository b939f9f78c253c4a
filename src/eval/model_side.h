#ifndef QW_EVAL_MODEL_SIDE_H
#define QW_EVAL_MODEL_SIDE_H

#include "engine/engine.h"

enum {
    QW_SIDE_ROWS = 64,  /* tokens of a step, and rows of logits, at most */
    QW_SIDE_BLOCK = 16, /* positions in a KV block */
};

/** A model that is run step by step, without an engine, and KV blocks for it. */
typedef struct qw_model_side {
    qw_model_config config;
    qw_checkpoint checkpoint;
    bool has_config, has_checkpoint;
    qw_model *model;
    qw_kv_layout layout;
    uint8_t *memory, **layers; /* KV pages */
    size_t size;
} qw_model_side;

/** Read what `options` name, up to the weights; nothing is loaded. Zero before; close it always. */
QW_MUST_CHECK qw_status qw_model_side_open(qw_model_side *s, const qw_engine_options *options,
                                           qw_error *err);
/** Load it onto `be`, which must outlive it, with pages of `n_blocks` blocks. */
QW_MUST_CHECK qw_status qw_model_side_load(qw_model_side *s, const qw_engine_options *options,
                                           qw_backend *be, size_t n_blocks, qw_error *err);
void qw_model_side_close(qw_model_side *s);

/** Run a step of n_tokens (at most QW_SIDE_ROWS) rows, which `seqs` cover in order. */
void qw_model_side_run(qw_model_side *s, const int32_t *ids, int n_tokens, const qw_seq_range *seqs,
                       int n_seqs);

#endif
