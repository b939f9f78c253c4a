#ifndef QW_FORMAT_JINJA_TEXT_H
#define QW_FORMAT_JINJA_TEXT_H

// Private to the template interpreter: Python's view of text. Lengths and indices count code
// points; all text is valid UTF-8 (the template is checked, JSON strings are too).

#include "base/str.h"

/** str.isspace of one code point. */
bool qw_jinja_is_space(int32_t c);
bool qw_jinja_is_alpha(int32_t c);
bool qw_jinja_is_decimal(int32_t c); /* category Nd */
bool qw_jinja_is_digit(int32_t c);   /* Nd, and superscript and circled digits */
bool qw_jinja_is_upper(int32_t c);
bool qw_jinja_is_lower(int32_t c);
bool qw_jinja_is_cased(int32_t c);
/** str.isprintable of one code point: decides what repr escapes. */
bool qw_jinja_is_printable(int32_t c);
/** Line boundary of str.splitlines. */
bool qw_jinja_is_line_end(int32_t c);

/** Full case mappings (Unicode SpecialCasing without the conditional ones); 1 to 3 code points. */
int qw_jinja_to_upper(int32_t c, int32_t out[3]);
int qw_jinja_to_title(int32_t c, int32_t out[3]);
int qw_jinja_to_lower(int32_t c, int32_t out[3]);

/** Code points in `s`. */
size_t qw_jinja_text_len(qw_str s);
/** Byte offset of code point `index`, or s.len if there are fewer. */
size_t qw_jinja_text_offset(qw_str s, size_t index);
/** The code point that ends before byte `end` (> 0), and where it starts. */
int32_t qw_jinja_text_before(qw_str s, size_t end, size_t *start);
/** `s` without white space at the left, the right, or both ends. */
qw_str qw_jinja_trim(qw_str s, bool left, bool right);
/** The same for a set of characters. */
qw_str qw_jinja_trim_chars(qw_str s, qw_str chars, bool left, bool right);
/** As qw_str_find, in linear time for every input. */
size_t qw_jinja_find(qw_str s, qw_str needle, size_t from);

/** Length of `s` for "%.*s": at most `max` bytes, not ending inside a character. */
int qw_jinja_clip(qw_str s, int max);

static inline qw_str qw_jinja_sub(qw_str s, size_t from, size_t to)
{
    return (qw_str){s.ptr + from, to - from};
}

#endif
