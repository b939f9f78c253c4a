#include "format/utf8_repair.h"

static const char replacement[] = "\xEF\xBF\xBD";

// Give the unfinished sequence one more byte. False if the byte cannot continue it: the sequence is
// then replaced, and the byte is still to be read.
static bool continue_tail(qw_utf8_repair *r, qw_buf *out, char byte)
{
    r->tail[r->n_tail] = byte;
    qw_str s = {r->tail, (size_t)r->n_tail + 1};
    if (qw_utf8_missing(s, 0) > 0) {
        r->n_tail++;
        return true;
    }
    size_t pos = 0;
    r->n_tail = 0;
    if (qw_utf8_next(s, &pos) >= 0) {
        qw_buf_append(out, s.ptr, s.len);
        return true;
    }
    qw_buf_puts(out, replacement);
    return false;
}

void qw_utf8_repair_push(qw_utf8_repair *r, qw_buf *out, qw_str bytes)
{
    size_t i = 0;
    while (r->n_tail > 0 && i < bytes.len) {
        if (continue_tail(r, out, bytes.ptr[i])) i++;
    }
    size_t good = i; // [good, i) is valid and not yet copied
    while (i < bytes.len) {
        size_t start = i;
        if (qw_utf8_next(bytes, &i) >= 0) continue;
        qw_buf_append(out, bytes.ptr + good, start - good);
        good = i;
        if (i == bytes.len && qw_utf8_missing(bytes, start) > 0) {
            r->n_tail = (int)(i - start);
            memcpy(r->tail, bytes.ptr + start, i - start);
        } else {
            qw_buf_puts(out, replacement);
        }
    }
    qw_buf_append(out, bytes.ptr + good, i - good);
}

void qw_utf8_repair_end(qw_utf8_repair *r, qw_buf *out)
{
    if (r->n_tail > 0) qw_buf_puts(out, replacement);
    r->n_tail = 0;
}
