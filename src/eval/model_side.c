#include "eval/model_side.h"

#include "engine/engine_setup.h"

qw_status qw_model_side_open(qw_model_side *s, const qw_engine_options *o, qw_error *err)
{
    qw_status st = qw_model_config_load(&s->config, o->model_dir, o->hf_overrides, err);
    s->has_config = st == QW_OK;
    if (st == QW_OK) st = qw_engine_checkpoint_open(&s->checkpoint, o, &s->config, err);
    s->has_checkpoint = st == QW_OK;
    return st;
}

static qw_status make_pages(qw_model_side *s, size_t n_blocks, qw_error *err)
{
    size_t n_layers = (size_t)s->config.num_hidden_layers, layer = 0;
    s->layers = qw_mem_array(n_layers, sizeof *s->layers);
    if (s->layers && qw_mul_size(&layer, n_blocks, s->layout.block_bytes) &&
        qw_mul_size(&s->size, layer, n_layers))
        s->memory = qw_mem_map(s->size, 4096);
    if (!s->memory) return qw_fail_memory(err, s->size, "the KV cache");
    for (size_t i = 0; i < n_layers; i++) s->layers[i] = s->memory + i * layer;
    return QW_OK;
}

qw_status qw_model_side_load(qw_model_side *s, const qw_engine_options *o, qw_backend *be,
                             size_t n_blocks, qw_error *err)
{
    qw_engine_setup setup;
    qw_status st = qw_engine_setup_make(&setup, o, &s->config, &s->checkpoint, err);
    if (st != QW_OK) return st;
    s->layout = qw_kv_layout_make(setup.layout.dtype, QW_SIDE_BLOCK, s->config.num_key_value_heads,
                                  s->config.head_dim);
    const qw_model_load_args args = {
        .compute = setup.compute,
        .limits = {.max_tokens = QW_SIDE_ROWS,
                   .max_logit_rows = QW_SIDE_ROWS,
                   .head = setup.model_limits.head},
        .cache = {.dir = o->pack_cache_dir, .model_dir = o->model_dir, .verify = o->verify_pack},
        .progress = o->progress,
        .progress_ctx = o->progress_ctx};
    st = qw_model_load(&s->model, be, &s->config, &s->checkpoint, &args, err);
    return st == QW_OK ? make_pages(s, n_blocks, err) : st;
}

void qw_model_side_close(qw_model_side *s)
{
    qw_model_free(s->model);
    qw_mem_unmap(s->memory, s->size);
    qw_mem_free(s->layers);
    if (s->has_checkpoint) qw_checkpoint_close(&s->checkpoint);
    if (s->has_config) qw_model_config_release(&s->config);
    *s = (qw_model_side){0};
}

void qw_model_side_run(qw_model_side *s, const int32_t *ids, int n_tokens, const qw_seq_range *seqs,
                       int n_seqs)
{
    int32_t positions[QW_SIDE_ROWS];
    for (int i = 0; i < n_seqs; i++)
        for (int k = 0; k < seqs[i].n_rows; k++)
            positions[seqs[i].first_row + k] = seqs[i].first_pos + k;
    const qw_model_step step = {n_tokens, ids, positions, seqs, n_seqs, s->layers, &s->layout};
    qw_model_forward(s->model, &step);
}
