#ifndef QW_TESTS_TEST_UTIL_H
#define QW_TESTS_TEST_UTIL_H

// What every cmocka test includes first: cmocka wants these headers before its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

/** 1 under ASan and TSan, where everything takes longer and need not be done as often. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QW_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QW_TEST_SANITIZED 1
#endif
#endif
#ifndef QW_TEST_SANITIZED
#define QW_TEST_SANITIZED 0
#endif

#if defined(__clang_analyzer__)
void _fail(const char *const file, const int line) __attribute__((noreturn)); // fail, fail_msg
#endif

/** Fail with the error's own text unless `status` is QW_OK. Needs `qw_error err` in scope. */
#define assert_ok(status)                                                                          \
    do {                                                                                           \
        if ((status) != QW_OK) fail_msg("unexpected failure: %s", err.text);                       \
    } while (0)

/** Fail unless `status` is `want` and the error text contains `part`. */
#define assert_fails(status, want, part)                                                           \
    do {                                                                                           \
        assert_int_equal(status, want);                                                            \
        if (!strstr(err.text, part)) fail_msg("'%s' not in error text '%s'", part, err.text);      \
    } while (0)

#endif
