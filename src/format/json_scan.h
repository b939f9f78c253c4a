#ifndef QW_FORMAT_JSON_SCAN_H
#define QW_FORMAT_JSON_SCAN_H

#include "base/compiler.h"

/** Where one JSON value stands after a byte. */
typedef enum qw_json_scan_result {
    QW_JSON_SCAN_MORE,   /* the byte belongs to it; more must or may follow */
    QW_JSON_SCAN_LAST,   /* the byte is its last one */
    QW_JSON_SCAN_BEFORE, /* a number ended before the byte, which does not belong to it */
    QW_JSON_SCAN_BROKEN, /* no JSON value begins like this */
} qw_json_scan_result;

enum { QW_JSON_SCAN_DEPTH = 2048 }; /* as format/json.h reads */

/**
 * Follows one JSON value byte by byte, in pieces of any size, to find where it ends: no tree, no
 * allocation. Strict as RFC 8259; that the text is UTF-8 is not looked at. White space in front of
 * the value belongs to it.
 */
typedef struct qw_json_scan {
    uint8_t state;
    uint8_t n_seen;      /* digits of \uXXXX, letters of a literal */
    bool is_key;         /* the string being read is a member's name */
    const char *literal; /* "true" and so on */
    uint32_t depth;      /* open lists and objects */
    uint64_t is_object[QW_JSON_SCAN_DEPTH / 64];
} qw_json_scan;

void qw_json_scan_init(qw_json_scan *s);
/** Not after LAST, BEFORE or BROKEN. */
qw_json_scan_result qw_json_scan_next(qw_json_scan *s, char c);
#endif
