#include "base/mem.h"

#include <stdatomic.h>
#include <sys/mman.h>

// Defined here, whatever mem.h tells the analyzer.
#undef qw_mem_alloc
#undef qw_mem_calloc
#undef qw_mem_array
#undef qw_mem_realloc
#undef qw_mem_free
#undef qw_mem_strndup
#undef qw_mem_strdup

static atomic_uint_fast64_t n_until_failure; /* 0 = off; statistics and tests only */
static atomic_uint_fast64_t failure_period;  /* 0 = off; tests only */
static atomic_uint_fast64_t n_failed;        /* by it */
static atomic_size_t n_live;
static atomic_uint_fast64_t n_asked; /* allocations ever, failed ones too */

// True when this allocation is the one that a test wants to fail.
static bool must_fail(void)
{
    uint64_t x = atomic_fetch_add_explicit(&n_asked, 1, memory_order_relaxed) + 1;
    uint_fast64_t period = atomic_load_explicit(&failure_period, memory_order_relaxed);
    if (period > 0) {
        // A hash of the count spreads the failures, so that no site is always the one.
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        if ((x ^ (x >> 31)) % period == 0) {
            atomic_fetch_add_explicit(&n_failed, 1, memory_order_relaxed);
            return true;
        }
    }
    uint_fast64_t left = atomic_load_explicit(&n_until_failure, memory_order_relaxed);
    while (left != 0) {
        if (atomic_compare_exchange_weak(&n_until_failure, &left, left - 1)) return left == 1;
    }
    return false;
}

static void *counted(void *ptr)
{
    if (ptr) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return ptr;
}

void *qw_mem_alloc(size_t size)
{
    if (must_fail()) return NULL;
    return counted(malloc(size ? size : 1));
}

void *qw_mem_calloc(size_t n, size_t size)
{
    if (must_fail()) return NULL;
    size_t total;
    if (!qw_mul_size(&total, n, size)) return NULL;
    return counted(calloc(1, total ? total : 1));
}

void *qw_mem_array(size_t n, size_t size)
{
    size_t total;
    if (!qw_mul_size(&total, n, size)) return NULL;
    return qw_mem_alloc(total);
}

void *qw_mem_realloc(void *ptr, size_t size)
{
    if (!ptr) return qw_mem_alloc(size);
    if (must_fail()) return NULL;
    return realloc(ptr, size ? size : 1);
}

void qw_mem_free(void *ptr)
{
    if (ptr) atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(ptr);
}

char *qw_mem_strndup(const char *text, size_t len)
{
    size_t size;
    if (!qw_add_size(&size, len, 1)) return NULL;
    char *copy = qw_mem_alloc(size);
    if (!copy) return NULL;
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *qw_mem_strdup(const char *text)
{
    return qw_mem_strndup(text, strlen(text));
}

void *qw_mem_map(size_t size, size_t align)
{
    if (must_fail()) return NULL;
    const size_t page = 4096, huge = (size_t)2 << 20;
    if (size == 0) size = 1;
    if (size >= huge && align < huge) align = huge;
    if (align < page) align = page;
    size_t total;
    if (!qw_add_size(&total, size, align)) return NULL;
    char *base = mmap(NULL, total, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    // Keep the aligned middle, give head and tail back.
    size_t head = (align - (uintptr_t)base % align) % align;
    size_t kept = (size + page - 1) / page * page;
    if (head) munmap(base, head);
    if (total - head > kept) munmap(base + head + kept, total - head - kept);
    char *ptr = base + head;
    if (size >= huge) (void)madvise(ptr, kept, MADV_HUGEPAGE); // a wish; refusal changes nothing
    return counted(ptr);
}

void qw_mem_unmap(void *ptr, size_t size)
{
    if (!ptr) return;
    const size_t page = 4096;
    if (size == 0) size = 1;
    munmap(ptr, (size + page - 1) / page * page);
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
}

uint64_t qw_mem_fail_at(uint64_t n)
{
    return atomic_exchange(&n_until_failure, n);
}

void qw_mem_fail_often(uint64_t period)
{
    atomic_store(&failure_period, period);
}

uint64_t qw_mem_n_failed(void)
{
    return atomic_load(&n_failed);
}

size_t qw_mem_live(void)
{
    return atomic_load(&n_live);
}

uint64_t qw_mem_count(void)
{
    return atomic_load(&n_asked);
}

struct qw_arena_chunk {
    struct qw_arena_chunk *next;
    size_t used, size;
    QW_ALIGNED(16) char data[];
};

void qw_arena_init(qw_arena *a, size_t chunk_size)
{
    *a = (qw_arena){.chunk_size = chunk_size};
}

void qw_arena_release(qw_arena *a)
{
    struct qw_arena_chunk *c = a->chunks;
    while (c) {
        struct qw_arena_chunk *next = c->next;
        qw_mem_free(c);
        c = next;
    }
    a->chunks = NULL;
}

void *qw_arena_alloc(qw_arena *a, size_t size)
{
    size_t need;
    if (!qw_add_size(&need, size, 15)) return NULL;
    need &= ~(size_t)15;
    struct qw_arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < need) {
        size_t data_size = need > a->chunk_size ? need : a->chunk_size, total;
        if (!qw_add_size(&total, sizeof *c, data_size)) return NULL;
        c = qw_mem_alloc(total);
        if (!c) return NULL;
        *c = (struct qw_arena_chunk){.next = a->chunks, .size = data_size};
        a->chunks = c;
    }
    void *ptr = c->data + c->used;
    c->used += need;
    memset(ptr, 0, size);
    return ptr;
}

void *qw_arena_array(qw_arena *a, size_t n, size_t size)
{
    size_t total;
    if (!qw_mul_size(&total, n, size)) return NULL;
    return qw_arena_alloc(a, total);
}

char *qw_arena_strndup(qw_arena *a, const char *text, size_t len)
{
    size_t size;
    if (!qw_add_size(&size, len, 1)) return NULL;
    char *copy = qw_arena_alloc(a, size);
    if (copy && len) memcpy(copy, text, len);
    return copy;
}
