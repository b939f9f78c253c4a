#include "eval/greedy_pair.h"

#include "format/generation_config.h"

enum { MAX_BEGINNING = 256 };

static size_t beginning(const qw_ids *text)
{
    size_t n = text->len / 2 > 0 ? text->len / 2 : 1;
    return n < MAX_BEGINNING ? n : MAX_BEGINNING;
}

size_t qw_greedy_pair_length(const qw_greedy_pair *g)
{
    size_t longest = 0;
    for (size_t i = 0; i < g->n; i++)
        if (beginning(&g->texts[i]) > longest) longest = beginning(&g->texts[i]);
    return g->n ? longest + (size_t)g->n_tokens : 0;
}

static size_t blocks_each(const qw_greedy_pair *g)
{
    return qw_greedy_pair_length(g) / QW_SIDE_BLOCK + 1;
}

size_t qw_greedy_pair_blocks(const qw_greedy_pair *g)
{
    return g->n * blocks_each(g);
}

/** A text that is being gone on with. */
typedef struct writer {
    int32_t next; /* the token both chose last; -1: they have parted, or it has ended */
    int32_t n;    /* tokens they chose */
    int length;   /* positions in the KV blocks */
    const int32_t *blocks;
} writer;

typedef struct pair {
    const qw_greedy_pair *g;
    qw_generation_config generation;
    writer *writers; /* [n] */
    int32_t *parts_at;
} pair;

static int32_t choose(const qw_greedy_pair *g, const float *logits)
{
    int32_t n = g->reference->config.vocab_size, top = 0;
    if (g->n_token_ids > 0 && g->n_token_ids < n) n = g->n_token_ids;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return top;
}

// Take what both choose behind row i of the last step.
static void take(pair *p, size_t i_text, int32_t reference, int32_t other)
{
    writer *w = &p->writers[i_text];
    w->next = -1;
    if (reference != other) {
        p->parts_at[i_text] = w->n;
        return;
    }
    w->n++;
    if (w->n < p->g->n_tokens && !qw_generation_config_is_eos(&p->generation, reference))
        w->next = reference;
}

static void run_both(const pair *p, const int32_t *ids, int n, const qw_seq_range *seqs, int n_seqs)
{
    qw_model_side_run(p->g->reference, ids, n, seqs, n_seqs);
    qw_model_side_run(p->g->other, ids, n, seqs, n_seqs);
}

// The likeliest tokens behind rows [n] of the last step: texts[i] is told row i's.
static void take_rows(pair *p, const int32_t *rows, int n, const size_t *texts)
{
    size_t a_stride, b_stride;
    const float *a = qw_model_logits(p->g->reference->model, rows, n, &a_stride);
    const float *b = qw_model_logits(p->g->other->model, rows, n, &b_stride);
    for (int i = 0; i < n; i++)
        take(p, texts[i], choose(p->g, a + (size_t)i * a_stride),
             choose(p->g, b + (size_t)i * b_stride));
}

static void begin(pair *p, size_t i_text)
{
    writer *w = &p->writers[i_text];
    const int32_t *ids = p->g->texts[i_text].data;
    int n = (int)beginning(&p->g->texts[i_text]), rows = 0;
    for (; w->length < n; w->length += rows) {
        rows = n - w->length < QW_SIDE_ROWS ? n - w->length : QW_SIDE_ROWS;
        const qw_seq_range seq = {.n_rows = rows, .first_pos = w->length, .block_table = w->blocks};
        run_both(p, ids + w->length, rows, &seq, 1);
    }
    const int32_t last = rows - 1;
    take_rows(p, &last, 1, &i_text);
}

// A token more of every text that goes on; false: none does.
static bool step(pair *p)
{
    int32_t ids[QW_SIDE_ROWS], rows[QW_SIDE_ROWS];
    qw_seq_range seqs[QW_SIDE_ROWS];
    size_t texts[QW_SIDE_ROWS];
    int n = 0;
    for (size_t i = 0; i < p->g->n; i++) {
        writer *w = &p->writers[i];
        if (w->next < 0) continue;
        ids[n] = w->next;
        rows[n] = n;
        texts[n] = i;
        seqs[n] = (qw_seq_range){
            .first_row = n, .n_rows = 1, .first_pos = w->length++, .block_table = w->blocks};
        n++;
    }
    if (n == 0) return false;
    run_both(p, ids, n, seqs, n);
    take_rows(p, rows, n, texts);
    return true;
}

qw_status qw_greedy_pair_run(int32_t **parts_at, const qw_greedy_pair *g, const int32_t *blocks,
                             qw_error *err)
{
    pair p = {.g = g};
    *parts_at = NULL;
    if (g->n == 0 || g->n_tokens == 0) return QW_OK;
    QW_ASSERT(g->n <= QW_SIDE_ROWS);
    qw_status st = qw_generation_config_load(&p.generation, g->generation_dir, NULL,
                                             &g->reference->config, err);
    if (st != QW_OK) return st;
    p.writers = qw_mem_calloc(g->n, sizeof *p.writers);
    p.parts_at = qw_mem_array(g->n, sizeof *p.parts_at);
    if (p.writers && p.parts_at) {
        for (size_t i = 0; i < g->n; i++) {
            p.parts_at[i] = -1;
            p.writers[i].blocks = blocks + i * blocks_each(g);
            begin(&p, i);
        }
        while (step(&p)) continue;
        *parts_at = p.parts_at;
    } else {
        st = qw_fail_memory(err, g->n * sizeof *p.writers, "greedy texts");
        qw_mem_free(p.parts_at);
    }
    qw_mem_free(p.writers);
    qw_generation_config_release(&p.generation);
    return st;
}
