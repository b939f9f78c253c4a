// The layers of a Qwen3 decoder (qwen3-dense.md 3).

#include "model/qwen3_internal.h"

// Forward. `be` is the device that computes, or the recorder of a plan.

static void tell(const qw_model *m, const qw_layer *l, qw_tap_point point, const float *x,
                 size_t stride, int n_rows)
{
    if (m->tap) m->tap(m->tap_ctx, (int)(l - m->layers), point, x, stride, n_rows);
}

void qw_model_set_tap(qw_model *m, qw_model_tap_fn *fn, void *ctx)
{
    m->tap = fn;
    m->tap_ctx = ctx;
}

static void norm_rows(const qw_model *m, qw_backend *be, float *y, const float *x,
                      const qw_norm *norm, int n_rows)
{
    int h = (int)m->config->hidden_size;
    be->ops->rms_norm(be, y, m->hidden_stride, x, m->hidden_stride, norm->weight, h,
                      (float)m->config->rms_norm_eps, n_rows, m->round);
    if (norm->bias) be->ops->add_vector(be, y, m->hidden_stride, norm->bias, h, n_rows, m->round);
}

static void apply_gate_up(const qw_model *m, qw_backend *be, const float *x, size_t x_stride,
                          const qw_linears *w, int n_rows)
{
    be->ops->linear(be, m->gate, m->mlp_stride, x, x_stride, &w->parts[0], n_rows,
                    QW_EPILOGUE_STORE, m->round);
    be->ops->linear(be, m->up, m->mlp_stride, x, x_stride, &w->parts[1], n_rows, QW_EPILOGUE_STORE,
                    m->round);
}

// y = epilogue(x * w^T), by one product or by one for each tensor.
static void apply(const qw_model *m, qw_backend *be, float *y, size_t y_stride, const float *x,
                  size_t x_stride, const qw_linears *w, int n_rows, qw_epilogue epilogue)
{
    const qw_ops *op = be->ops;
    if (w->n_parts == 1) {
        op->linear(be, y, y_stride, x, x_stride, &w->parts[0], n_rows, epilogue, m->round);
        return;
    }
    if (w->concat == QW_CONCAT_STACK) {
        for (int p = 0; p < w->n_parts; p++)
            op->linear(be, y + w->columns[p], y_stride, x, x_stride, &w->parts[p], n_rows, epilogue,
                       m->round);
        return;
    }
    apply_gate_up(m, be, x, x_stride, w, n_rows);
    op->silu_mul(be, y, y_stride, m->gate, m->up, m->mlp_stride, (int)m->config->intermediate_size,
                 n_rows, m->round);
}

// A product that quantizes its input, and nobody who wants to see that input.
static bool takes_made_rows(const qw_model *m, const qw_linears *w)
{
    return w->n_parts == 1 && w->parts[0].input.kind != QW_INPUT_FLOAT && !m->tap;
}

// y = epilogue(norm(x) * w^T), in one pass over each row where that is possible; `normed` holds the
// normed rows where it is not, and in any case if `keep`.
static void apply_normed(const qw_model *m, qw_backend *be, float *y, size_t y_stride,
                         const float *x, const qw_norm *norm, float *normed, bool keep,
                         const qw_linears *w, int n_rows, qw_epilogue epilogue)
{
    if (norm->bias || !takes_made_rows(m, w)) {
        norm_rows(m, be, normed, x, norm, n_rows);
        apply(m, be, y, y_stride, normed, m->hidden_stride, w, n_rows, epilogue);
        return;
    }
    const qw_made_rows rows = {.x = x,
                               .stride = m->hidden_stride,
                               .norm = norm->weight,
                               .eps = (float)m->config->rms_norm_eps,
                               .rows = keep ? normed : NULL,
                               .rows_stride = m->hidden_stride};
    be->ops->made_linear(be, y, y_stride, &rows, &w->parts[0], n_rows, epilogue, m->round);
}

static void attention_block(const qw_model *m, qw_backend *be, const qw_layer *l,
                            const qw_model_step *step, int i_layer)
{
    const qw_model_config *c = m->config;
    const qw_ops *op = be->ops;
    bool is_int8 = step->layout->dtype == QW_DTYPE_I8;
    const float *k_scale = is_int8 ? l->k_scale : NULL, *v_scale = is_int8 ? l->v_scale : NULL;
    float eps = (float)c->rms_norm_eps;
    apply_normed(m, be, m->qkv, m->qkv_stride, m->hidden, &l->input_norm, m->normed, false, &l->qkv,
                 step->n_tokens, QW_EPILOGUE_STORE);
    tell(m, l, QW_TAP_QKV, m->normed, m->hidden_stride, step->n_tokens);
    op->norm_rope_store(be, &(qw_qkv_args){.qkv = m->qkv,
                                           .stride = m->qkv_stride,
                                           .q_column = l->qkv.columns[0],
                                           .k_column = l->qkv.columns[1],
                                           .v_column = l->qkv.columns[2],
                                           .n_heads = (int)c->num_attention_heads,
                                           .q_norm = l->q_norm,
                                           .k_norm = l->k_norm,
                                           .cos = m->cos,
                                           .sin = m->sin,
                                           .eps = eps,
                                           .kv = step->kv[i_layer],
                                           .layout = step->layout,
                                           .k_scale = k_scale,
                                           .v_scale = v_scale,
                                           .seqs = step->seqs,
                                           .n_seqs = step->n_seqs,
                                           .round = m->round});
    op->attention(be, &(qw_attention_args){.out = m->heads,
                                           .out_stride = m->heads_stride,
                                           .q = m->qkv,
                                           .q_stride = m->qkv_stride,
                                           .n_heads = (int)c->num_attention_heads,
                                           .scale = m->scale,
                                           .kv = step->kv[i_layer],
                                           .layout = step->layout,
                                           .k_scale = k_scale,
                                           .v_scale = v_scale,
                                           .seqs = step->seqs,
                                           .n_seqs = step->n_seqs,
                                           .round = m->round});
    tell(m, l, QW_TAP_O, m->heads, m->heads_stride, step->n_tokens);
    apply(m, be, m->hidden, m->hidden_stride, m->heads, m->heads_stride, &l->o, step->n_tokens,
          QW_EPILOGUE_RESIDUAL);
}

// Gate and up by products of their own: their SiLU product is made on its way to down.
static void split_mlp_block(const qw_model *m, qw_backend *be, const qw_layer *l, int n_tokens)
{
    norm_rows(m, be, m->normed, m->hidden, &l->post_attention_norm, n_tokens);
    apply_gate_up(m, be, m->normed, m->hidden_stride, &l->gate_up, n_tokens);
    const qw_made_rows rows = {.x = m->gate, .stride = m->mlp_stride, .up = m->up};
    be->ops->made_linear(be, m->hidden, m->hidden_stride, &rows, &l->down.parts[0], n_tokens,
                         QW_EPILOGUE_RESIDUAL, m->round);
}

static void mlp_block(const qw_model *m, qw_backend *be, const qw_layer *l, int n_tokens)
{
    if (l->moe) {
        norm_rows(m, be, m->normed, m->hidden, &l->post_attention_norm, n_tokens);
        tell(m, l, QW_TAP_GATE_UP, m->normed, m->hidden_stride, n_tokens);
        qw_moe_run(m, be, l->moe, n_tokens);
        return;
    }
    if (l->gate_up.n_parts > 1 && takes_made_rows(m, &l->down)) {
        split_mlp_block(m, be, l, n_tokens);
        return;
    }
    apply_normed(m, be, m->mlp, m->mlp_stride, m->hidden, &l->post_attention_norm, m->normed, false,
                 &l->gate_up, n_tokens, QW_EPILOGUE_SILU_MUL);
    tell(m, l, QW_TAP_GATE_UP, m->normed, m->hidden_stride, n_tokens);
    tell(m, l, QW_TAP_DOWN, m->mlp, m->mlp_stride, n_tokens);
    apply(m, be, m->hidden, m->hidden_stride, m->mlp, m->mlp_stride, &l->down, n_tokens,
          QW_EPILOGUE_RESIDUAL);
}

static void layers(const qw_model *m, qw_backend *be, const qw_model_step *step, int n_layers)
{
    be->ops->embed(be, m->hidden, m->hidden_stride, &m->embed_tokens, step->token_ids,
                   step->n_tokens);
    for (int i = 0; i < n_layers; i++) {
        tell(m, &m->layers[i], QW_TAP_LAYER, m->hidden, m->hidden_stride, step->n_tokens);
        attention_block(m, be, &m->layers[i], step, i);
        mlp_block(m, be, &m->layers[i], step->n_tokens);
    }
}

static void head(const qw_model *m, qw_backend *be, const int32_t *rows, int n_rows)
{
    const qw_ops *op = be->ops;
    int h = (int)m->config->hidden_size;
    op->gather_rows(be, m->logit_in, m->hidden_stride, m->hidden, m->hidden_stride, rows, n_rows,
                    h);
    apply_normed(m, be, m->logits, m->logits_stride, m->logit_in, &m->final_norm, m->logit_normed,
                 true, &m->lm_head, n_rows, QW_EPILOGUE_STORE);
}

// Angles of the step's positions: the only thing that is computed outside of the operations.
static void fill_angles(qw_model *m, const qw_model_step *step)
{
    QW_ASSERT(step->n_tokens >= 1 && step->n_tokens <= m->limits.max_tokens);
    qw_rope_fill(&m->rope, m->cos, m->sin, step->positions, step->n_tokens, m->round);
}

void qw_model_forward_layers(qw_model *m, const qw_model_step *step, int n_layers)
{
    fill_angles(m, step);
    layers(m, m->be, step, n_layers);
}

// Plans

void qw_qwen3_release_plans(qw_model *m)
{
    qw_planned_steps *p = &m->planned;
    qw_step_plans_release(&p->forward, m->be);
    qw_step_plans_release(&p->logits, m->be);
    qw_mem_free(p->token_ids);
    qw_mem_free(p->seqs);
    qw_mem_free(p->rows);
    *p = (qw_planned_steps){0};
    m->stats.n_plans = m->stats.plan_bytes = 0;
    m->stats.build_ns = m->stats.max_build_ns = 0;
}

static void plan_layers(void *ctx, qw_backend *recorder, int n_rows)
{
    const qw_model *m = ctx;
    const qw_planned_steps *p = &m->planned;
    qw_model_step step = {.n_tokens = n_rows,
                          .token_ids = p->token_ids,
                          .seqs = p->seqs,
                          .n_seqs = n_rows,
                          .kv = p->kv,
                          .layout = &p->layout};
    layers(m, recorder, &step, m->n_layers);
}

static void plan_head(void *ctx, qw_backend *recorder, int n_rows)
{
    const qw_model *m = ctx;
    head(m, recorder, m->planned.rows, n_rows);
}

// Sequences whose number tells the recorder how many rows there are: one each.
static void number_seqs(qw_seq_range *seqs, int n)
{
    for (int i = 0; i < n; i++) seqs[i] = (qw_seq_range){.first_row = i, .n_rows = 1};
}

static qw_status make_plans(qw_model *m, const int32_t *sizes, size_t n_sizes, qw_error *err)
{
    qw_planned_steps *p = &m->planned;
    int max_tokens = m->limits.max_tokens, max_rows = m->limits.max_logit_rows;
    if (sizes[n_sizes - 1] < max_tokens) max_tokens = sizes[n_sizes - 1];
    size_t n = (size_t)max_tokens, n_rows = (size_t)max_rows;
    p->token_ids =
        qw_mem_calloc(n, sizeof *p->token_ids); // all three: until qw_qwen3_release_plans
    p->seqs = qw_mem_array(n, sizeof *p->seqs);
    p->rows = qw_mem_calloc(n_rows, sizeof *p->rows);
    if (!p->token_ids || !p->seqs || !p->rows)
        return qw_fail_memory(err, n * sizeof *p->seqs, "the rows of step plans");
    number_seqs(p->seqs, max_tokens);
    qw_status st =
        qw_step_plans_make(&p->forward, m->be, sizes, n_sizes, max_tokens, plan_layers, m, err);
    if (st == QW_OK)
        st = qw_step_plans_make(&p->logits, m->be, sizes, n_sizes, max_rows, plan_head, m, err);
    if (st != QW_OK) return st;
    m->stats.n_plans = p->forward.n;
    m->stats.plan_bytes = p->forward.size + p->logits.size + n_rows * sizeof *p->rows +
                          n * (sizeof *p->token_ids + sizeof *p->seqs);
    m->stats.build_ns = p->forward.build_ns + p->logits.build_ns;
    m->stats.max_build_ns = p->forward.max_build_ns + p->logits.max_build_ns;
    return QW_OK;
}

qw_status qw_model_plan_steps(qw_model *m, const int32_t *sizes, size_t n_sizes, uint8_t *const *kv,
                              const qw_kv_layout *layout, qw_error *err)
{
    qw_qwen3_release_plans(m);
    if (!m->be->plan_make || n_sizes == 0) return QW_OK;
    m->planned.kv = kv;
    m->planned.layout = *layout;
    qw_status st = make_plans(m, sizes, n_sizes, err);
    if (st != QW_OK) qw_qwen3_release_plans(m);
    return st;
}

const qw_step_stats *qw_model_step_stats(const qw_model *m)
{
    return &m->stats;
}

// The plan for a step; NULL when there is none or the step is not what plans are made for.
static qw_plan *plan_for(const qw_model *m, const qw_model_step *step)
{
    const qw_planned_steps *p = &m->planned;
    bool is_decode = step->n_seqs == step->n_tokens;
    bool same_pages = step->kv == p->kv && step->layout->block_bytes == p->layout.block_bytes &&
                      step->layout->block_size == p->layout.block_size &&
                      step->layout->dtype == p->layout.dtype;
    return is_decode && same_pages ? qw_step_plans_find(&p->forward, step->n_tokens) : NULL;
}

void qw_model_forward(qw_model *m, const qw_model_step *step)
{
    qw_plan *plan = plan_for(m, step);
    if (!plan) {
        m->stats.eager_steps++;
        qw_model_forward_layers(m, step, m->n_layers);
        return;
    }
    m->stats.plan_replays++;
    size_t n = (size_t)step->n_tokens;
    memcpy(m->planned.token_ids, step->token_ids, n * sizeof *step->token_ids);
    memcpy(m->planned.seqs, step->seqs, n * sizeof *step->seqs);
    fill_angles(m, step);
    m->be->plan_run(m->be, plan, step->n_tokens, step->n_seqs);
}

const float *qw_model_logits(qw_model *m, const int32_t *rows, int n_rows, size_t *stride)
{
    QW_ASSERT(n_rows >= 1 && n_rows <= m->limits.max_logit_rows);
    qw_plan *plan = qw_step_plans_find(&m->planned.logits, n_rows);
    if (plan) {
        memcpy(m->planned.rows, rows, (size_t)n_rows * sizeof *rows);
        m->be->plan_run(m->be, plan, n_rows, 0);
    } else {
        head(m, m->be, rows, n_rows);
    }
    *stride = m->logits_stride;
    return m->logits;
}

const float *qw_model_hidden(const qw_model *m, int row)
{
    return m->hidden + (size_t)row * m->hidden_stride;
}

const float *qw_model_normed(const qw_model *m, int i)
{
    return m->logit_normed + (size_t)i * m->hidden_stride;
}
