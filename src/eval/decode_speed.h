#ifndef QW_EVAL_DECODE_SPEED_H
#define QW_EVAL_DECODE_SPEED_H

#include "engine/engine.h"

/**
 * Tokens a second that one sequence grows by: the median time between its tokens, of up to 256 of
 * them and two seconds, behind a short prompt. The engine is idle before and after.
 */
QW_MUST_CHECK qw_status qw_decode_speed(double *tokens_per_second, qw_engine *engine,
                                        qw_error *err);

#endif
