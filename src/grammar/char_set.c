#include "grammar/char_set.h"

#include <stdlib.h>

void *qw_gram_alloc(qw_gram *g, size_t n, size_t size)
{
    size_t bytes;
    if (!qw_mul_size(&bytes, n ? n : 1, size) || bytes > QW_GRAM_MAX_BYTES - g->bytes) {
        qw_pda_fail(g->pda, QW_ERR_USAGE, "the grammar is too complex to compile");
        return NULL;
    }
    g->bytes += bytes;
    void *p = qw_arena_alloc(&g->arena, bytes);
    if (!p) qw_pda_fail_memory(g->pda);
    return p;
}

void *qw_gram_grow(qw_gram *g, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return items;
    size_t want = *cap ? *cap * 2 : 8;
    void *grown = qw_gram_alloc(g, want, size);
    if (!grown) return NULL;
    if (n) memcpy(grown, items, n * size);
    *cap = want;
    return grown;
}

void qw_char_set_add(qw_gram *g, qw_char_set *s, int32_t lo, int32_t hi)
{
    if (lo > hi || !qw_pda_spend(g->pda, 1)) return;
    qw_char_range *grown = qw_gram_grow(g, s->ranges, s->n, &s->cap, sizeof *grown);
    if (!grown) return;
    s->ranges = grown;
    s->ranges[s->n++] = (qw_char_range){lo, hi};
}

void qw_char_set_add_set(qw_gram *g, qw_char_set *s, const qw_char_set *other)
{
    for (size_t i = 0; i < other->n; i++)
        qw_char_set_add(g, s, other->ranges[i].lo, other->ranges[i].hi);
}

static int compare(const void *a, const void *b)
{
    const qw_char_range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

void qw_char_set_normalize(qw_char_set *s)
{
    if (s->n < 2) return;
    qsort(s->ranges, s->n, sizeof *s->ranges, compare);
    size_t n = 1;
    for (size_t i = 1; i < s->n; i++) {
        qw_char_range *last = &s->ranges[n - 1], r = s->ranges[i];
        if (r.lo <= last->hi + 1)
            last->hi = r.hi > last->hi ? r.hi : last->hi;
        else
            s->ranges[n++] = r;
    }
    s->n = n;
}

qw_char_set qw_char_set_invert(qw_gram *g, const qw_char_set *s)
{
    qw_char_set out = {0};
    int32_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        qw_char_set_add(g, &out, from, s->ranges[i].lo - 1);
        from = s->ranges[i].hi + 1;
    }
    qw_char_set_add(g, &out, from, QW_CHAR_MAX);
    return out;
}

void qw_char_set_fold(qw_gram *g, qw_char_set *s)
{
    for (size_t i = 0, n = s->n; i < n; i++) {
        qw_char_range r = s->ranges[i];
        int32_t lo = r.lo > 'a' ? r.lo : 'a', hi = r.hi < 'z' ? r.hi : 'z';
        qw_char_set_add(g, s, lo - 32, hi - 32);
        lo = r.lo > 'A' ? r.lo : 'A';
        hi = r.hi < 'Z' ? r.hi : 'Z';
        qw_char_set_add(g, s, lo + 32, hi + 32);
    }
    qw_char_set_normalize(s);
}

bool qw_char_set_has(const qw_char_set *s, int32_t c)
{
    for (size_t i = 0; i < s->n; i++)
        if (c >= s->ranges[i].lo && c <= s->ranges[i].hi) return true;
    return false;
}
