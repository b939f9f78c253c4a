#ifndef QW_FORMAT_UNICODE_TABLES_H
#define QW_FORMAT_UNICODE_TABLES_H

#include "base/compiler.h"

// What the reference tokenizer knows of Unicode beside what our libraries know. The tables are
// generated (scripts/gen_unicode_table.py says how and from what).

typedef struct qw_unicode_range {
    int32_t first, last; /* both belong to it */
} qw_unicode_range;

/** Code points as ascending, separate ranges. */
typedef struct qw_unicode_set {
    const qw_unicode_range *ranges;
    size_t n;
} qw_unicode_set;

/** Letters and numbers of Unicode 16 that Unicode 14 lacks, spelled for the inside of a PCRE2
 *  character class. */
extern const char qw_unicode_new_letters[], qw_unicode_new_numbers[];

/** Code points that NFC may change, reorder or join to what stands before them. */
extern const qw_unicode_set qw_unicode_nfc_active;

/** Code points that the reference's normalizer (Unicode 9) does not know yet: it leaves them where
 *  they are, and nothing joins or moves across them. */
extern const qw_unicode_set qw_unicode_nfc_inert;

static inline bool qw_unicode_set_has(const qw_unicode_set *set, int32_t code_point)
{
    size_t lo = 0, hi = set->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (code_point > set->ranges[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < set->n && code_point >= set->ranges[lo].first;
}

#endif
