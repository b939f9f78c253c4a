#include "format/dummy_checkpoint.h"

#include <xxhash.h>

#include "base/rng.h"

static const uint32_t counter_tag = 0x64756D6D; // "dumm": no other use of Philox here has it

static uint16_t element(uint32_t word, float center)
{
    uint32_t pairs = (word & 0x00FF00FFu) + (word >> 8 & 0x00FF00FFu);
    int32_t sum = (int32_t)((pairs & 0xFFFF) + (pairs >> 16));
    return qw_f32_to_bf16(center + (float)(sum - 510) * (0.02f / 147.8f));
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

void qw_dummy_tensor_row(const qw_dummy_tensor *t, uint16_t *out, size_t row, size_t first_col,
                         size_t n_cols)
{
    uint32_t counter[4] = {0, (uint32_t)row, (uint32_t)((uint64_t)row >> 32), counter_tag};
    size_t k = first_col, end = first_col + n_cols;
    while (k < end) {
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
        for (size_t j = 0; j < n; j++) *out++ = element(words[i + j], t->center);
        k += n;
    }
}

const qw_dummy_tensor *qw_dummy_tensor_of(const qw_checkpoint *c, const qw_stored_tensor *t)
{
    if (c->n_shards > 0) return NULL;
    return (const qw_dummy_tensor *)t; // its first member
}

static qw_status add(qw_checkpoint *c, qw_dummy_tensor *d, const qw_dummy_shape *s, uint64_t seed,
                     qw_error *err)
{
    size_t len = strlen(s->name);
    uint64_t key = XXH3_64bits_withSeed(s->name, len, seed);
    bool is_norm = s->cols == 0 && qw_str_ends_with(qw_str_of(s->name), QW_STR("norm.weight"));
    *d = (qw_dummy_tensor){
        .tensor = {.name = qw_arena_strndup(&c->arena, s->name, len),
                   .dtype = QW_DTYPE_BF16,
                   .rank = s->cols ? 2 : 1,
                   .shape = d->shape},
        .shape = {s->rows, s->cols},
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
        .center = is_norm ? 1.0f : 0.0f,
    };
    qw_stored_tensor *t = &d->tensor;
    if (!t->name) return qw_fail_memory(err, len + 1, "a tensor's name");
    if (!qw_stored_tensor_size(&t->size, t->dtype, t->shape, t->rank))
        return qw_fail(err, QW_ERR_FORMAT, "tensor '%s' is larger than any memory", s->name);
    QW_ASSERT((s->cols ? s->cols : s->rows) <= UINT32_MAX);
    c->total_size += t->size;
    c->tensors[c->n_tensors] = t;
    return qw_map_put(&c->by_name, qw_str_of(t->name), (uint32_t)c->n_tensors++, NULL, err);
}

qw_status qw_dummy_checkpoint_open(qw_checkpoint *out, const qw_dummy_shape *shapes, size_t n,
                                   uint64_t seed, qw_error *err)
{
    qw_checkpoint c = {0};
    qw_arena_init(&c.arena, 1 << 16);
    qw_map_init(&c.by_name);
    qw_status st = QW_OK;
    qw_dummy_tensor *made_up = qw_arena_array(&c.arena, n, sizeof *made_up);
    c.tensors = qw_arena_array(&c.arena, n, sizeof *c.tensors);
    if (!made_up || !c.tensors)
        st = qw_fail_memory(err, n * (sizeof *made_up + sizeof *c.tensors), "the tensor table");
    if (st == QW_OK) st = qw_map_reserve(&c.by_name, n, err);
    for (size_t i = 0; i < n && st == QW_OK; i++) st = add(&c, &made_up[i], &shapes[i], seed, err);
    if (st == QW_OK)
        *out = c;
    else
        qw_checkpoint_close(&c);
    return st;
}
