#ifndef QW_BASE_MEM_H
#define QW_BASE_MEM_H

#include "base/compiler.h"

/** out = a * b; false, and `out` untouched, when the product does not fit. */
QW_MUST_CHECK static inline bool qw_mul_size(size_t *out, size_t a, size_t b)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

/** out = a + b; false, and `out` untouched, when the sum does not fit. */
QW_MUST_CHECK static inline bool qw_add_size(size_t *out, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

/**
 * The project's allocator: malloc with a count of live blocks and a switch that makes the n-th
 * allocation fail. All of the project's code, and the libraries that allow it, allocate here.
 * NULL when memory is short; size 0 gives a pointer that may be freed. Any thread.
 */
void *qw_mem_alloc(size_t size) __attribute__((malloc));
/** n * size zeroed bytes; NULL also when the product overflows. */
void *qw_mem_calloc(size_t n, size_t size) __attribute__((malloc));
/** n * size bytes, not zeroed; NULL also when the product overflows. */
void *qw_mem_array(size_t n, size_t size) __attribute__((malloc));
/** As realloc: on failure NULL, and the old block stays valid. */
void *qw_mem_realloc(void *ptr, size_t size);
void qw_mem_free(void *ptr);
/** A NUL-terminated copy of `len` bytes. Caller owns. */
char *qw_mem_strndup(const char *text, size_t len) __attribute__((malloc));
char *qw_mem_strdup(const char *text) __attribute__((malloc));

#if defined(__clang_analyzer__)
// Under their own names the analyzer knows what these do, and finds leaks and uses after free.
#define qw_mem_alloc(size) malloc(size)
#define qw_mem_calloc(n, size) calloc(n, size)
#define qw_mem_array(n, size) malloc((n) * (size))
#define qw_mem_realloc(ptr, size) realloc(ptr, size)
#define qw_mem_free(ptr) free(ptr)
#define qw_mem_strndup(text, len) strndup(text, len)
#define qw_mem_strdup(text) strdup(text)
#endif

/**
 * `size` bytes aligned to `align` (a power of two), zeroed, straight from the system: for arrays of
 * megabytes that are committed on touch. Huge pages are asked for from 2 MiB on. NULL when short.
 * Release with qw_mem_unmap and the same size.
 */
void *qw_mem_map(size_t size, size_t align);
void qw_mem_unmap(void *ptr, size_t size);

/**
 * Tests: let the n-th allocation from now fail (1 = the next), once; 0 switches it off. Counts
 * qw_mem_alloc, calloc, array, realloc, strndup, strdup and qw_mem_map together, in all threads.
 * Returns what was left of the last count: 0 if its allocation has failed, or there was none.
 */
uint64_t qw_mem_fail_at(uint64_t n);
/** Tests: let one allocation in `period` fail, spread at random but always the same; 0: none. */
void qw_mem_fail_often(uint64_t period);
/** How many of them have failed by qw_mem_fail_often. */
uint64_t qw_mem_n_failed(void);
/** Blocks allocated and not yet freed, mappings included. */
size_t qw_mem_live(void);
/** Allocations asked for so far, the same ones as above, in all threads. */
uint64_t qw_mem_count(void);

/** Memory that is given back all at once. Blocks are 16-byte aligned. One thread at a time. */
typedef struct qw_arena {
    struct qw_arena_chunk *chunks;
    size_t chunk_size; /* bytes of an ordinary chunk */
} qw_arena;

void qw_arena_init(qw_arena *a, size_t chunk_size);
void qw_arena_release(qw_arena *a);
/** `size` zeroed bytes that live until release; NULL when memory is short. */
void *qw_arena_alloc(qw_arena *a, size_t size);
/** n * size zeroed bytes; NULL also when the product overflows. */
void *qw_arena_array(qw_arena *a, size_t n, size_t size);
/** A NUL-terminated copy of `len` bytes. */
char *qw_arena_strndup(qw_arena *a, const char *text, size_t len);

#endif
