#include "format/dummy_checkpoint.h"

#include <math.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/rng.h"
#include "format/json.h"

static const uint32_t counter_tag = 0x64756D6D; // "dumm": no other use of Philox here has it

// The sum of a word's bytes, less the mean.
static int32_t bell(uint32_t word)
{
    uint32_t pairs = (word & 0x00FF00FFu) + (word >> 8 & 0x00FF00FFu);
    return (int32_t)((pairs & 0xFFFF) + (pairs >> 16)) - 510;
}

static uint16_t element(uint32_t word, float center)
{
    return qw_f32_to_bf16(center + (float)bell(word) * (0.02f / 147.8f));
}

static int8_t integer(uint32_t word, int32_t factor, int32_t low, int32_t high)
{
    int32_t q = (bell(word) * factor + 32768) >> 16;
    return (int8_t)(q < low ? low : q > high ? high : q);
}

enum { N_BLOCKS = 8, N_WORDS = 4 * N_BLOCKS };

// Philox4x32-10 (base/rng.c) for the counters first .. first + N_BLOCKS - 1 at once: a billion
// elements take half as long as block by block, since the products do not wait for each other.
static void eight_blocks(uint32_t words[N_WORDS], uint32_t first, const uint32_t counter[4],
                         const uint32_t key[2])
{
    uint32_t c0[N_BLOCKS], c1[N_BLOCKS], c2[N_BLOCKS], c3[N_BLOCKS];
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        c0[i] = first + i;
        c1[i] = counter[1];
        c2[i] = counter[2];
        c3[i] = counter[3];
    }
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < N_BLOCKS; i++) {
            uint64_t a = UINT64_C(0xD2511F53) * c0[i], b = UINT64_C(0xCD9E8D57) * c2[i];
            c0[i] = (uint32_t)(b >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(a >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)b;
            c3[i] = (uint32_t)a;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        words[4 * i] = c0[i];
        words[4 * i + 1] = c1[i];
        words[4 * i + 2] = c2[i];
        words[4 * i + 3] = c3[i];
    }
}

static void elements(const qw_dummy_tensor *t, uint8_t *out, const uint32_t *words, size_t n)
{
    if (t->tensor.dtype == QW_DTYPE_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t x = element(words[i], t->center);
            memcpy(out + 2 * i, &x, sizeof x);
        }
    } else if (t->is_narrow) {
        for (size_t i = 0; i < n; i++) out[i] = (uint8_t)integer(words[i], 1153, -8, 7);
    } else {
        for (size_t i = 0; i < n; i++) out[i] = (uint8_t)integer(words[i], 16850, -127, 127);
    }
}

void qw_dummy_tensor_row(const qw_dummy_tensor *t, void *out, size_t row, size_t first_col,
                         size_t n_cols)
{
    QW_ASSERT(!t->tensor.data);
    uint32_t counter[4] = {0, (uint32_t)row, (uint32_t)((uint64_t)row >> 32), counter_tag};
    size_t k = first_col, end = first_col + n_cols;
    size_t size = t->tensor.dtype == QW_DTYPE_BF16 ? 2 : 1;
    for (uint8_t *p = out; k < end;) {
        uint32_t words[N_WORDS];
        size_t i = k % 4, n = end - k;
        if (i == 0 && n >= N_WORDS) {
            n = N_WORDS;
            eight_blocks(words, (uint32_t)(k / 4), counter, t->key);
        } else {
            if (n > 4 - i) n = 4 - i;
            counter[0] = (uint32_t)(k / 4);
            qw_philox4x32(words, counter, t->key);
        }
        elements(t, p, words + i, n);
        p += n * size;
        k += n;
    }
}

const qw_dummy_tensor *qw_dummy_tensor_of(const qw_checkpoint *c, const qw_stored_tensor *t)
{
    if (c->n_shards > 0) return NULL;
    return (const qw_dummy_tensor *)t; // its first member
}

// Opening

/** Tensors beside integer weights borrow from these: all rows see the same scales. */
typedef struct shared {
    float *scales8, *scales4, *coarse4; /* [most rows]: of 8 bits, of 4, of 4 in two levels */
    float *deq_scales;                  /* scales8 times input_scale */
    float *fine;                        /* [most groups]: the second level */
    int32_t *zeros;
    float *input; /* scale, offset, clip ratio */
} shared;

typedef struct maker {
    qw_checkpoint c;
    qw_dummy_tensor *made_up; /* in a row with c.tensors */
    size_t most_rows, most_groups;
    uint64_t seed;
    shared shared;
    qw_buf description;
    qw_error *err;
} maker;

enum { MAX_BESIDE = 4 }; /* tensors beside integer weights */

static qw_status add(maker *m, const qw_dummy_tensor *made)
{
    qw_checkpoint *c = &m->c;
    qw_dummy_tensor *d = &m->made_up[c->n_tensors];
    size_t len = strlen(made->tensor.name);
    uint64_t key = XXH3_64bits_withSeed(made->tensor.name, len, m->seed);
    *d = *made;
    qw_stored_tensor *t = &d->tensor;
    t->name = qw_arena_strndup(&c->arena, made->tensor.name, len);
    t->shape = d->shape;
    d->key[0] = (uint32_t)key;
    d->key[1] = (uint32_t)(key >> 32);
    if (!t->name) return qw_fail_memory(m->err, len + 1, "a tensor's name");
    if (!qw_stored_tensor_size(&t->size, t->dtype, t->shape, t->rank))
        return qw_fail(m->err, QW_ERR_FORMAT, "tensor '%s' is larger than any memory", t->name);
    QW_ASSERT(d->shape[t->rank - 1] <= UINT32_MAX);
    c->total_size += t->size;
    c->tensors[c->n_tensors] = t;
    return qw_map_put(&c->by_name, qw_str_of(t->name), (uint32_t)c->n_tensors++, NULL, m->err);
}

static qw_status add_float(maker *m, const qw_dummy_shape *s)
{
    bool is_norm = s->cols == 0 && qw_str_ends_with(qw_str_of(s->name), QW_STR("norm.weight"));
    return add(m, &(qw_dummy_tensor){
                      .tensor = {.name = s->name, .dtype = QW_DTYPE_BF16, .rank = s->cols ? 2 : 1},
                      .shape = {s->rows, s->cols},
                      .center = is_norm ? 1.0f : 0.0f});
}

// Integer weights

static bool has_4_bits(qw_quant_type t)
{
    return t == QW_QUANT_W4A8_DYNAMIC || t == QW_QUANT_W4A4_DYNAMIC ||
           t == QW_QUANT_W4A4_FLATQUANT_DYNAMIC;
}

static qw_status add_beside(maker *m, const qw_dummy_shape *s, const char *suffix, qw_dtype dtype,
                            const void *data, size_t rows, size_t cols)
{
    char name[256];
    int len = (int)(strlen(s->name) - strlen(".weight"));
    int n = snprintf(name, sizeof name, "%.*s%s", len, s->name, suffix);
    QW_ASSERT(n < (int)sizeof name);
    return add(m, &(qw_dummy_tensor){
                      .tensor = {.name = name, .dtype = dtype, .rank = cols ? 2 : 1, .data = data},
                      .shape = {rows, cols}});
}

// The cosines of a discrete transform: an orthogonal matrix of any size.
static qw_status add_transform(maker *m, const qw_dummy_shape *s, const char *suffix, size_t n)
{
    float *x = qw_arena_array(&m->c.arena, n * n, sizeof *x);
    if (!x) return qw_fail_memory(m->err, n * n * sizeof *x, "a transform");
    const double pi = 3.14159265358979323846;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            x[i * n + j] = (float)(sqrt((i ? 2.0 : 1.0) / (double)n) *
                                   cos(pi * (double)i * (2.0 * (double)j + 1) / (2.0 * (double)n)));
    return add_beside(m, s, suffix, QW_DTYPE_F32, x, n, n);
}

static qw_status add_flat(maker *m, const qw_dummy_shape *s)
{
    size_t left = 1; // the two closest factors (quantization.md 3.6)
    for (size_t i = 1; i * i <= s->cols; i++)
        if (s->cols % i == 0) left = i;
    qw_status st = add_transform(m, s, ".left_trans", left);
    if (st == QW_OK) st = add_transform(m, s, ".right_trans", s->cols / left);
    if (st == QW_OK) st = add_beside(m, s, ".clip_ratio", QW_DTYPE_F32, m->shared.input + 2, 1, 0);
    return st;
}

static qw_status add_static(maker *m, const qw_dummy_shape *s)
{
    const shared *h = &m->shared;
    qw_status st = add_beside(m, s, ".input_scale", QW_DTYPE_F32, h->input, 1, 0);
    if (st == QW_OK) st = add_beside(m, s, ".input_offset", QW_DTYPE_F32, h->input + 1, 1, 0);
    if (st == QW_OK) st = add_beside(m, s, ".deq_scale", QW_DTYPE_F32, h->deq_scales, s->rows, 0);
    if (st == QW_OK) st = add_beside(m, s, ".quant_bias", QW_DTYPE_I32, h->zeros, s->rows, 0);
    return st;
}

static qw_status add_integers(maker *m, const qw_dummy_shape *s)
{
    QW_ASSERT(s->cols > 0 && qw_str_ends_with(qw_str_of(s->name), QW_STR(".weight")));
    QW_ASSERT(s->group == 0 || s->cols % (size_t)s->group == 0);
    const shared *h = &m->shared;
    bool narrow = has_4_bits(s->type);
    qw_buf_puts(&m->description, m->description.len > 1 ? ",\n" : "");
    qw_json_write_string(&m->description, qw_str_of(s->name));
    qw_buf_printf(&m->description, ":\"%s\"", qw_quant_type_name(s->type));
    qw_status st =
        add(m, &(qw_dummy_tensor){.tensor = {.name = s->name, .dtype = QW_DTYPE_I8, .rank = 2},
                                  .shape = {s->rows, s->cols},
                                  .is_narrow = narrow});
    if (st != QW_OK) return st;
    if (s->type == QW_QUANT_W8A8) return add_static(m, s);
    const float *scales = s->group > 0 ? h->coarse4 : narrow ? h->scales4 : h->scales8;
    st = add_beside(m, s, ".weight_scale", QW_DTYPE_F32, scales, s->rows, 1);
    if (st == QW_OK && s->group > 0)
        st = add_beside(m, s, ".weight_scale_second", QW_DTYPE_F32, h->fine, s->rows,
                        s->cols / (size_t)s->group);
    return st == QW_OK && s->type == QW_QUANT_W4A4_FLATQUANT_DYNAMIC ? add_flat(m, s) : st;
}

static qw_status make_shared(maker *m)
{
    size_t n = m->most_rows;
    shared *h = &m->shared;
    qw_arena *arena = &m->c.arena;
    if (n == 0) return QW_OK; // all is float
    h->scales8 = qw_arena_array(arena, n, sizeof *h->scales8);
    h->scales4 = qw_arena_array(arena, n, sizeof *h->scales4);
    h->coarse4 = qw_arena_array(arena, n, sizeof *h->coarse4);
    h->deq_scales = qw_arena_array(arena, n, sizeof *h->deq_scales);
    h->zeros = qw_arena_array(arena, n, sizeof *h->zeros);
    h->fine = qw_arena_array(arena, m->most_groups, sizeof *h->fine);
    h->input = qw_arena_array(arena, 3, sizeof *h->input);
    if (!h->scales8 || !h->scales4 || !h->coarse4 || !h->deq_scales || !h->zeros || !h->fine ||
        !h->input)
        return qw_fail_memory(m->err, 6 * n * sizeof(float), "scales");
    h->input[0] = 0.03125f; // a normed row reaches 4
    h->input[2] = 0.98f;
    for (size_t i = 0; i < n; i++) {
        float more_or_less = 1.0f + (float)((int)(i * 37 % 64) - 32) / 128.0f;
        h->scales8[i] = more_or_less * (0.02f / 38.0f);
        h->scales4[i] = more_or_less * (0.02f / 2.6f);
        h->coarse4[i] = more_or_less * (0.02f / 2.6f / 12.0f);
        h->deq_scales[i] = h->scales8[i] * h->input[0];
    }
    for (size_t i = 0; i < m->most_groups; i++) h->fine[i] = (float)(8 + i * 5 % 9);
    return QW_OK;
}

static qw_status describe(maker *m)
{
    qw_buf_putc(&m->description, '}');
    qw_status st = qw_buf_check(&m->description, "the quantization description", m->err);
    if (st != QW_OK || m->most_rows == 0) return st;
    m->c.quant = qw_mem_calloc(1, sizeof *m->c.quant);
    if (!m->c.quant) return qw_fail_memory(m->err, sizeof *m->c.quant, "a description");
    return qw_quant_description_parse(m->c.quant, m->description.data, m->description.len, m->err);
}

// Room for all tensors, and how much they share.
static qw_status start(maker *m, const qw_dummy_shape *shapes, size_t n)
{
    size_t n_max = 0;
    for (size_t i = 0; i < n; i++) {
        const qw_dummy_shape *s = &shapes[i];
        n_max += s->type == QW_QUANT_FLOAT ? 1 : 1 + MAX_BESIDE;
        if (s->type == QW_QUANT_FLOAT) continue;
        if (s->rows > m->most_rows) m->most_rows = s->rows;
        size_t n_groups = s->group > 0 ? s->rows * (s->cols / (size_t)s->group) : 0;
        if (n_groups > m->most_groups) m->most_groups = n_groups;
    }
    m->made_up = qw_arena_array(&m->c.arena, n_max, sizeof *m->made_up);
    m->c.tensors = qw_arena_array(&m->c.arena, n_max, sizeof *m->c.tensors);
    if (!m->made_up || !m->c.tensors)
        return qw_fail_memory(m->err, n_max * (sizeof *m->made_up + sizeof *m->c.tensors),
                              "the tensor table");
    qw_buf_putc(&m->description, '{');
    qw_status st = qw_map_reserve(&m->c.by_name, n_max, m->err);
    return st == QW_OK ? make_shared(m) : st;
}

qw_status qw_dummy_checkpoint_open(qw_checkpoint *out, const qw_dummy_shape *shapes, size_t n,
                                   uint64_t seed, qw_error *err)
{
    maker m = {.seed = seed, .err = err};
    qw_arena_init(&m.c.arena, 1 << 16);
    qw_map_init(&m.c.by_name);
    qw_buf_init(&m.description, (size_t)1 << 28);
    qw_status st = start(&m, shapes, n);
    for (size_t i = 0; i < n && st == QW_OK; i++)
        st = shapes[i].type == QW_QUANT_FLOAT ? add_float(&m, &shapes[i])
                                              : add_integers(&m, &shapes[i]);
    if (st == QW_OK) st = describe(&m);
    qw_buf_release(&m.description);
    if (st == QW_OK)
        *out = m.c;
    else
        qw_checkpoint_close(&m.c);
    return st;
}
