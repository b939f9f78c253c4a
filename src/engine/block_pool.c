#include "engine/block_pool.h"

#include "base/mem.h"

qw_status qw_block_pool_init(qw_block_pool *p, int32_t n_blocks, qw_error *err)
{
    qw_block_pool pool = {.n_blocks = n_blocks, .head = -1, .tail = -1};
    pool.ref_count = qw_mem_calloc((size_t)n_blocks, sizeof *pool.ref_count);
    pool.prev = qw_mem_calloc((size_t)n_blocks, sizeof *pool.prev);
    pool.next = qw_mem_calloc((size_t)n_blocks, sizeof *pool.next);
    if (!pool.ref_count || !pool.prev || !pool.next) {
        qw_block_pool_release(&pool);
        return qw_fail_memory(err, (size_t)n_blocks * 12, "the list of KV blocks");
    }
    for (int32_t i = 0; i < n_blocks; i++) {
        pool.prev[i] = i - 1;
        pool.next[i] = i + 1 < n_blocks ? i + 1 : -1;
    }
    pool.n_free = n_blocks;
    if (n_blocks > 0) {
        pool.head = 0;
        pool.tail = n_blocks - 1;
    }
    *p = pool;
    return QW_OK;
}

void qw_block_pool_release(qw_block_pool *p)
{
    qw_mem_free(p->ref_count);
    qw_mem_free(p->prev);
    qw_mem_free(p->next);
    *p = (qw_block_pool){0};
}

static void unlink_free(qw_block_pool *p, int32_t block)
{
    int32_t prev = p->prev[block], next = p->next[block];
    if (prev >= 0)
        p->next[prev] = next;
    else
        p->head = next;
    if (next >= 0)
        p->prev[next] = prev;
    else
        p->tail = prev;
    p->n_free--;
}

int32_t qw_block_pool_alloc(qw_block_pool *p)
{
    int32_t block = p->head;
    if (block >= 0) qw_block_pool_acquire(p, block);
    return block;
}

void qw_block_pool_acquire(qw_block_pool *p, int32_t block)
{
    if (p->ref_count[block]++ == 0) unlink_free(p, block);
}

void qw_block_pool_drop(qw_block_pool *p, int32_t block, bool keep)
{
    QW_ASSERT(p->ref_count[block] > 0);
    if (--p->ref_count[block] > 0) return;
    p->prev[block] = keep ? p->tail : -1;
    p->next[block] = keep ? -1 : p->head;
    if (p->prev[block] >= 0)
        p->next[p->prev[block]] = block;
    else
        p->head = block;
    if (p->next[block] >= 0)
        p->prev[p->next[block]] = block;
    else
        p->tail = block;
    p->n_free++;
}

void qw_block_pool_check(const qw_block_pool *p)
{
    int32_t n_free = 0, last = -1;
    for (int32_t b = p->head; b >= 0; b = p->next[b]) {
        QW_ASSERT(p->ref_count[b] == 0 && p->prev[b] == last);
        QW_ASSERT(n_free < p->n_blocks); // no cycle
        n_free++;
        last = b;
    }
    QW_ASSERT(n_free == p->n_free && last == p->tail);
    int32_t n_zero = 0;
    for (int32_t b = 0; b < p->n_blocks; b++) {
        QW_ASSERT(p->ref_count[b] >= 0);
        n_zero += p->ref_count[b] == 0;
    }
    QW_ASSERT(n_zero == n_free);
}
