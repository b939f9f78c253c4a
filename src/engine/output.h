#ifndef QW_ENGINE_OUTPUT_H
#define QW_ENGINE_OUTPUT_H

#include "engine/sampling_params.h"
#include "format/detokenizer.h"

/**
 * From token ids to the text of an answer: incremental detokenizer, stop strings, and the part that
 * may be shown already. One per child; used where the text is made, not on the engine thread
 * (http-api.md 2.3, qwen3-dense.md 5.8).
 *
 *   text    [ released ............ | held back: may be the start of a stop string ]
 *             ^ n_taken: given to the caller
 */
typedef struct qw_output {
    const qw_sampling_params *params; /* borrowed until release */
    qw_detokenizer detok;
    qw_buf text;      /* all text so far; cut at a stop string */
    size_t n_taken;   /* bytes that qw_output_take has returned */
    size_t n_held;    /* most bytes that are held back: the longest stop string less one */
    int64_t n_tokens; /* pushed so far */
    int i_stop;       /* index of the stop string that was found; -1: none */
} qw_output;

/** `prompt` is read only during the call. */
QW_MUST_CHECK qw_status qw_output_init(qw_output *o, const qw_tokenizer *tokenizer,
                                       const qw_sampling_params *params, const int32_t *prompt,
                                       size_t n_prompt, qw_error *err);
void qw_output_release(qw_output *o);

/**
 * Add a generated token. `is_stop_id`: the engine ended at this token, so its text does not show
 * unless include_stop_str_in_output. True in *stopped when a stop string was found: the text is cut
 * there, and nothing may be pushed after it.
 */
QW_MUST_CHECK qw_status qw_output_push(qw_output *o, int32_t id, bool is_stop_id, bool *stopped,
                                       qw_error *err);

/**
 * The text that has become visible since the last call, borrowed until the next push. `finished`:
 * nothing more will come, so nothing is held back.
 */
qw_str qw_output_take(qw_output *o, bool finished);

#endif
