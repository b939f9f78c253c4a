#ifndef QW_BENCH_BENCH_CASE_H
#define QW_BENCH_BENCH_CASE_H

#include "backend/backend.h"
#include "bench/limits.h"
#include "format/model_config.h"

/** What the rows of one model, format and number of threads share. */
typedef struct qw_bench_env {
    qw_backend *be;
    const qw_model_config *config;
    const char *model;  /* "0.6b", or the directory's name */
    const char *format; /* "bf16", "f16", "f32", "w8a8", "w4a8", ... */
    const char *scheme; /* of the made-up layers of whole steps (model/dummy_scheme.h); NULL: there
                           are no such rows */
    qw_dtype dtype;     /* of the weights; I8 and I4 meet inputs of 8 bits per token */
    int group;          /* of I4; 0: a scale per output only */
    qw_dtype kv_dtype;  /* BF16, or F32 with f32 weights; attention also has I8 rows */
    bool round;         /* activations are rounded to bfloat16 */
    qw_limit_kind peak; /* what products run on */
    double barrier_ns;  /* of an operation without work */
    const qw_bench_buffer *buffer;
} qw_bench_env;

/** One row: something that can be run again and again, and what one run costs at least. */
typedef struct qw_bench_case {
    const char *op;     /* static: "linear", ... */
    const char *format; /* of the environment; "-" where it does not matter */
    char shape[48];     /* "0.6b/qkv" */
    int m, context;     /* tokens; positions seen, 0 where there are none */
    const char *kernel; /* static: "gemm_bf16" */
    qw_work work;
    void (*run)(void *ctx);
    /** Where the time of all runs so far went, for rows that are whole steps; may be NULL. */
    void (*describe_parts)(void *ctx, char *out, size_t size);
    void (*free)(void *ctx);
    void *ctx;
} qw_bench_case;

/** Free what the case runs on; its description stays. May be called again. */
void qw_bench_case_release(qw_bench_case *c);

// Makers. Each fills *out with a case whose memory is its own; the environment is borrowed.

/** A product of the model by name: "qkv", "o", "gate_up", "down". */
QW_MUST_CHECK qw_status qw_bench_linear_case(qw_bench_case *out, const qw_bench_env *env,
                                             const char *product, int m, qw_error *err);
/** Final norm and lm_head for m rows; int8 when the weights are integers. */
QW_MUST_CHECK qw_status qw_bench_head_case(qw_bench_case *out, const qw_bench_env *env, int m,
                                           qw_error *err);
/** One layer's experts for m rows: routing, products, sum. For a model that has them. */
QW_MUST_CHECK qw_status qw_bench_moe_case(qw_bench_case *out, const qw_bench_env *env, int m,
                                          qw_error *err);
/** One layer's attention: m sequences, each with its next token after `context` positions. */
QW_MUST_CHECK qw_status qw_bench_decode_attention_case(qw_bench_case *out, const qw_bench_env *env,
                                                       qw_dtype kv_dtype, int m, int context,
                                                       qw_error *err);
/** One layer's attention of the last m tokens of a prompt of `context` tokens. */
QW_MUST_CHECK qw_status qw_bench_prefill_attention_case(qw_bench_case *out, const qw_bench_env *env,
                                                        qw_dtype kv_dtype, int m, int context,
                                                        qw_error *err);
/** RMSNorm of m rows over hidden_size. */
QW_MUST_CHECK qw_status qw_bench_norm_case(qw_bench_case *out, const qw_bench_env *env, int m,
                                           qw_error *err);
/** Norm and rotation of q and k heads of m tokens, and the write of k and v to the cache. */
QW_MUST_CHECK qw_status qw_bench_rope_case(qw_bench_case *out, const qw_bench_env *env, int m,
                                           qw_error *err);
/** Choice of the next token: temperature, top-k 20, top-p 0.95 and the draw from one row of logits.
 */
QW_MUST_CHECK qw_status qw_bench_sample_case(qw_bench_case *out, const qw_bench_env *env,
                                             qw_error *err);

/** A model with made-up weights, shared by the rows that run whole steps of it. */
typedef struct qw_bench_step_model qw_bench_step_model;

/** Load the environment's model, made up by its scheme, for steps of at most `max_tokens` tokens.
 */
QW_MUST_CHECK qw_status qw_bench_step_model_new(qw_bench_step_model **out, const qw_bench_env *env,
                                                int max_tokens, qw_error *err);
/** The cases made from it keep the model alive. NULL is fine. */
void qw_bench_step_model_drop(qw_bench_step_model *m);

/** m sequences, each with its next token after `context` positions: forward, lm_head, sampling;
 *  replaying a step plan, or operation by operation. */
QW_MUST_CHECK qw_status qw_bench_decode_step_case(qw_bench_case *out, qw_bench_step_model *model,
                                                  int m, int context, bool planned, qw_error *err);
/** A prompt of m tokens, and the choice of the token behind it. */
QW_MUST_CHECK qw_status qw_bench_prefill_step_case(qw_bench_case *out, qw_bench_step_model *model,
                                                   int m, qw_error *err);

#endif
