// One layer's attention over pages that are cut from the big buffer in scattered order, other pages
// each run: a step touches every layer's pages once, so they come from memory.

#include "base/mem.h"
#include "bench/bench_case.h"

enum { BLOCK_SIZE = 16 };

typedef struct attention_case {
    const qw_bench_env *env;
    qw_dtype kv_dtype;
    qw_attention_args args;
    qw_kv_layout layout;
    qw_seq_range *seqs; /* [n_seqs] */
    int32_t *tables;    /* block numbers in scattered order, [n_blocks + blocks_per_seq] */
    size_t n_blocks, blocks_per_seq, first_block;
    float *q, *out;
    size_t rows_size;
} attention_case;

static void run(void *ctx)
{
    attention_case *c = ctx;
    for (int i = 0; i < c->args.n_seqs; i++) {
        c->seqs[i].block_table = c->tables + c->first_block;
        c->first_block = (c->first_block + c->blocks_per_seq) % c->n_blocks;
    }
    c->env->be->ops->attention(c->env->be, &c->args);
}

static void free_case(void *ctx)
{
    attention_case *c = ctx;
    if (!c) return;
    qw_mem_free(c->seqs);
    qw_mem_free(c->tables);
    qw_mem_unmap(c->q, c->rows_size);
    qw_mem_unmap(c->out, c->rows_size);
    qw_mem_free(c);
}

// Every block once, scattered; then the first ones again, so that a table may start anywhere.
static void scatter(int32_t *tables, size_t n, size_t n_again)
{
    for (size_t i = 0; i < n; i++) tables[i] = (int32_t)i;
    uint64_t state = 1;
    for (size_t i = n - 1; i > 0; i--) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t j = (size_t)(state >> 33) % (i + 1);
        int32_t other = tables[j];
        tables[j] = tables[i];
        tables[i] = other;
    }
    for (size_t i = 0; i < n_again; i++) tables[n + i] = tables[i % n];
}

static qw_status make(attention_case **out, const qw_bench_env *env, qw_dtype kv_dtype, int n_seqs,
                      int rows_per_seq, int context, qw_error *err)
{
    const qw_model_config *m = env->config;
    attention_case *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "a benchmark row");
    c->env = env;
    c->kv_dtype = kv_dtype;
    c->layout = qw_kv_layout_make(kv_dtype, BLOCK_SIZE, m->num_key_value_heads, m->head_dim);
    c->n_blocks = env->buffer->size / c->layout.block_bytes;
    c->blocks_per_seq = ((size_t)context + BLOCK_SIZE - 1) / BLOCK_SIZE;
    size_t stride = qw_row_stride((size_t)(m->num_attention_heads * m->head_dim));
    size_t n_rows = (size_t)n_seqs * (size_t)rows_per_seq;
    c->rows_size = stride * n_rows * sizeof(float);
    c->q = qw_mem_map(c->rows_size, 4096);
    c->out = qw_mem_map(c->rows_size, 4096);
    c->seqs = qw_mem_calloc((size_t)n_seqs, sizeof *c->seqs);
    c->tables = qw_mem_array(c->n_blocks + c->blocks_per_seq, sizeof *c->tables);
    if (!c->q || !c->out || !c->seqs || !c->tables || c->n_blocks == 0) {
        size_t rows_size = c->rows_size;
        free_case(c);
        return qw_fail_memory(err, rows_size, "a benchmark row");
    }
    scatter(c->tables, c->n_blocks, c->blocks_per_seq);
    for (size_t i = 0; i < stride * n_rows; i++)
        c->q[i] = (float)((int)(i * 37 % 127) - 63) / 64.0f;
    for (int i = 0; i < n_seqs; i++)
        c->seqs[i] = (qw_seq_range){.first_row = i * rows_per_seq,
                                    .n_rows = rows_per_seq,
                                    .first_pos = context - rows_per_seq};
    c->args = (qw_attention_args){.out = c->out,
                                  .out_stride = stride,
                                  .q = c->q,
                                  .q_stride = stride,
                                  .n_heads = m->num_attention_heads,
                                  .scale = 0.0883883f, /* 128^-0.5 */
                                  .kv = env->buffer->data,
                                  .layout = &c->layout,
                                  .seqs = c->seqs,
                                  .n_seqs = n_seqs,
                                  .round = env->round};
    *out = c;
    return QW_OK;
}

static void describe(qw_bench_case *out, attention_case *c, const char *what, int m, int context)
{
    bool is_bf16 = c->kv_dtype == QW_DTYPE_BF16, is_int8 = c->kv_dtype == QW_DTYPE_I8;
    *out = (qw_bench_case){.op = "attn",
                           .format = is_bf16   ? "bf16"
                                     : is_int8 ? "int8"
                                               : "f32",
                           .m = m,
                           .context = context,
                           .kernel = is_bf16   ? "attention_bf16"
                                     : is_int8 ? "attention_i8"
                                               : "attention_f32",
                           .run = run,
                           .free = free_case,
                           .ctx = c};
    snprintf(out->shape, sizeof out->shape, "%s/%s", c->env->model, what);
}

static double kv_bytes(const attention_case *c, int context)
{
    const qw_model_config *m = c->env->config;
    double scale = c->kv_dtype == QW_DTYPE_I8 ? sizeof(float) : 0;
    return 2.0 * context * m->num_key_value_heads *
           (m->head_dim * (qw_dtype_bits(c->kv_dtype) / 8.0) + scale);
}

qw_status qw_bench_decode_attention_case(qw_bench_case *out, const qw_bench_env *env,
                                         qw_dtype kv_dtype, int m, int context, qw_error *err)
{
    attention_case *c;
    qw_status st = make(&c, env, kv_dtype, m, 1, context, err);
    if (st != QW_OK) return st;
    const qw_model_config *cfg = env->config;
    describe(out, c, "decode", m, context);
    // With G query heads per kv head, widening a key or value costs 1 / G of its multiply-adds.
    double group = (double)cfg->num_attention_heads / cfg->num_key_value_heads;
    out->work = (qw_work){.bytes = m * kv_bytes(c, context),
                          .attention_ops = 4.0 * m * context * cfg->num_attention_heads *
                                           cfg->head_dim * (1 + 1 / group),
                          .peak = QW_LIMIT_FMA};
    return QW_OK;
}

qw_status qw_bench_prefill_attention_case(qw_bench_case *out, const qw_bench_env *env,
                                          qw_dtype kv_dtype, int m, int context, qw_error *err)
{
    attention_case *c;
    qw_status st = make(&c, env, kv_dtype, 1, m, context, err);
    if (st != QW_OK) return st;
    const qw_model_config *cfg = env->config;
    describe(out, c, "prefill", m, context);
    double seen = (double)m * (context - m) + (double)m * (m + 1) / 2; // positions, all rows
    out->work = (qw_work){.bytes = kv_bytes(c, context),
                          .attention_ops = 4.0 * seen * cfg->num_attention_heads * cfg->head_dim,
                          .peak = QW_LIMIT_FMA};
    return QW_OK;
}
