#ifndef QW_BASE_STR_H
#define QW_BASE_STR_H

#include "base/compiler.h"

/** Borrowed text with a length: may hold NUL bytes, need not be NUL-terminated. */
typedef struct qw_str {
    const char *ptr;
    size_t len;
} qw_str;

/** View of a string literal. */
#define QW_STR(lit) ((qw_str){(lit), sizeof(lit) - 1})

static inline qw_str qw_str_of(const char *text)
{
    return (qw_str){text, strlen(text)};
}

static inline bool qw_str_eq(qw_str a, qw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool qw_str_is(qw_str a, const char *text)
{
    return qw_str_eq(a, qw_str_of(text));
}

bool qw_str_starts_with(qw_str s, qw_str prefix);
bool qw_str_ends_with(qw_str s, qw_str suffix);
/** Index of the first occurrence of `needle` at or after `from`; SIZE_MAX when there is none. */
size_t qw_str_find(qw_str s, qw_str needle, size_t from);

/** True if all of `s` is valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool qw_utf8_is_valid(qw_str s);
/**
 * Decode the code point at *pos (< s.len) and advance. An invalid sequence gives -1 and advances
 * over its maximal invalid subpart (Unicode 3.9, WHATWG: one U+FFFD each).
 */
int32_t qw_utf8_next(qw_str s, size_t *pos);
/** Bytes that the sequence starting at s.ptr[pos] still lacks when `s` ends inside a sequence that
 *  is valid so far; 0 when it is complete or already invalid. */
int qw_utf8_missing(qw_str s, size_t pos);
/** Write a code point (a Unicode scalar value) as UTF-8; returns the length, 1 to 4. */
int qw_utf8_put(char out[4], int32_t code_point);

/** The whole of `s` as a decimal integer, optional sign; false for anything else or overflow. */
QW_MUST_CHECK bool qw_str_to_i64(qw_str s, int64_t *out);
/** The whole of `s` as a finite decimal number, independent of the locale; else false. */
QW_MUST_CHECK bool qw_str_to_f64(qw_str s, double *out);
/**
 * Shortest decimal text that reads back as `value`, spelled as Python's repr: "1.0", "1e+16",
 * "0.0001", "1e-05", "inf", "-inf", "nan". Returns the length (below 32).
 */
int qw_str_from_f64(char out[32], double value);

#endif
