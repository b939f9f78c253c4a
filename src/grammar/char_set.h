#ifndef QW_GRAMMAR_CHAR_SET_H
#define QW_GRAMMAR_CHAR_SET_H

#include "grammar/grammar_pda.h"

/** What compiling needs: memory that is given back at its end, and the automaton being built. */
typedef struct qw_gram {
    qw_arena arena;
    size_t bytes; /* taken from it so far */
    qw_pda *pda;
} qw_gram;

enum { QW_GRAM_MAX_BYTES = 96 * 1024 * 1024 };

/** Zeroed memory for the compilation; NULL, with the failure recorded, when short. */
void *qw_gram_alloc(qw_gram *g, size_t n, size_t size);
/** Room for one more: `items` (n of *cap, each `size` bytes) or a larger copy; NULL as above. */
void *qw_gram_grow(qw_gram *g, void *items, size_t n, size_t *cap, size_t size);

enum { QW_CHAR_MAX = 0x10FFFF };

/** Code points lo .. hi. Surrogates are never matched by text, but may lie in a range. */
typedef struct qw_char_range {
    int32_t lo, hi;
} qw_char_range;

/** A set of code points: ascending ranges with gaps between them. */
typedef struct qw_char_set {
    qw_char_range *ranges;
    size_t n, cap;
} qw_char_set;

/** Add lo .. hi in any order; qw_char_set_normalize before use. */
void qw_char_set_add(qw_gram *g, qw_char_set *s, int32_t lo, int32_t hi);
void qw_char_set_add_set(qw_gram *g, qw_char_set *s, const qw_char_set *other);
void qw_char_set_normalize(qw_char_set *s);
/** All code points that are not in `s`, which is normalized. */
qw_char_set qw_char_set_invert(qw_gram *g, const qw_char_set *s);
/** Add the other case of the letters of ASCII. */
void qw_char_set_fold(qw_gram *g, qw_char_set *s);
bool qw_char_set_has(const qw_char_set *s, int32_t c);

#endif
