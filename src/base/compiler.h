#ifndef QW_BASE_COMPILER_H
#define QW_BASE_COMPILER_H

// Attribute macros, assertions and the list of libc functions that this project does not use.
// The system headers that declare the banned functions come first: a poisoned name may not be
// declared after the pragma.
#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QW_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define QW_MUST_CHECK __attribute__((warn_unused_result))
#define QW_NORETURN __attribute__((noreturn))
#define QW_UNUSED __attribute__((unused))
#define QW_ALIGNED(n) __attribute__((aligned(n)))
#define QW_LIKELY(x) __builtin_expect(!!(x), 1)
#define QW_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define QW_ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

/** For our own bugs only: input, files, peers and memory shortage never reach an assertion. */
#define QW_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (QW_UNLIKELY(!(cond))) qw_assert_failed(__FILE__, __LINE__, #cond);                     \
    } while (0)

/** Print the place and the condition on stderr, then abort. */
QW_NORETURN void qw_assert_failed(const char *file, int line, const char *cond);

// With _FORTIFY_SOURCE glibc gives clang macros of these names.
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf atoi atol atoll atof strtok gets

#endif
