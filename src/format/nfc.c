#include "format/nfc.h"

#include <utf8proc.h>

#include "base/mem.h"
#include "format/unicode_tables.h"

// utf8proc's own whole-text functions are not used: they allocate with malloc, and they bring
// combining marks into order by exchanging neighbours, which is quadratic in the length of a run.
// Here utf8proc decomposes single characters and composes; the ordering between is ours.
//
// Text is handled in clusters: one character that NFC leaves alone, and the "active" characters
// after it. Nothing ever joins or moves across the border of a cluster, and almost all text has no
// active character at all.

typedef struct cluster {
    int32_t *cps, *sorted; /* code points; room for the counting sort */
    size_t len, cap;
} cluster;

enum { MOST_PARTS = 16 }; // room for one character's decomposition; canonical ones have at most 4

bool qw_nfc_is_plain(qw_str text)
{
    size_t pos = 0;
    while (pos < text.len) {
        // Below U+0300, whose first byte is 0xCC, nothing is active.
        if ((unsigned char)text.ptr[pos] < 0xCC) {
            pos++;
        } else if (qw_unicode_set_has(&qw_unicode_nfc_active, qw_utf8_next(text, &pos))) {
            return false;
        }
    }
    return true;
}

static qw_status cluster_reserve(cluster *c, size_t need, qw_error *err)
{
    if (need <= c->cap) return QW_OK;
    size_t cap = c->cap * 2 > need ? c->cap * 2 : need, size;
    if (cap < 64) cap = 64;
    if (!qw_mul_size(&size, cap, 2 * sizeof *c->cps))
        return qw_fail_memory(err, cap, "a run of combining marks");
    int32_t *cps = qw_mem_alloc(size);
    if (!cps) return qw_fail_memory(err, size, "a run of combining marks");
    if (c->len) memcpy(cps, c->cps, c->len * sizeof *cps);
    qw_mem_free(c->cps);
    c->cps = cps;
    c->sorted = cps + cap;
    c->cap = cap;
    return QW_OK;
}

static qw_status cluster_add(cluster *c, int32_t code_point, qw_error *err)
{
    qw_status st = cluster_reserve(c, c->len + MOST_PARTS, err);
    if (st != QW_OK) return st;
    int last_boundclass = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(code_point, c->cps + c->len, MOST_PARTS,
                                UTF8PROC_STABLE | UTF8PROC_COMPOSE, &last_boundclass);
    QW_ASSERT(n > 0 && n <= MOST_PARTS);
    c->len += (size_t)n;
    return QW_OK;
}

static unsigned combining_class(int32_t code_point)
{
    return utf8proc_get_property(code_point)->combining_class;
}

// Stable sort of a run of marks by combining class.
static void sort_marks(int32_t *run, size_t n, int32_t *sorted)
{
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            int32_t cp = run[i];
            unsigned ccc = combining_class(cp);
            size_t k = i;
            for (; k > 0 && combining_class(run[k - 1]) > ccc; k--) run[k] = run[k - 1];
            run[k] = cp;
        }
        return;
    }
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) start[combining_class(run[i]) + 1]++;
    for (size_t k = 1; k < 257; k++) start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++) sorted[start[combining_class(run[i])]++] = run[i];
    memcpy(run, sorted, n * sizeof *run);
}

static void order_marks(cluster *c)
{
    for (size_t i = 0; i < c->len;) {
        if (combining_class(c->cps[i]) == 0) {
            i++;
            continue;
        }
        size_t begin = i;
        while (i < c->len && combining_class(c->cps[i]) != 0) i++;
        sort_marks(c->cps + begin, i - begin, c->sorted);
    }
}

static void cluster_flush(cluster *c, qw_buf *out)
{
    order_marks(c);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(c->cps, (utf8proc_ssize_t)c->len,
                                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char utf8[4];
        qw_buf_append(out, utf8, (size_t)qw_utf8_put(utf8, c->cps[i]));
    }
    c->len = 0;
}

qw_status qw_nfc_append(qw_buf *out, qw_str text, qw_error *err)
{
    qw_status st = QW_OK;
    cluster c = {0};
    size_t old_len = out->len;
    size_t copied = 0;          // text before this is done
    size_t pos = 0, before = 0; // where the current and the previous character begin
    int32_t previous = -1;
    while (pos < text.len) {
        size_t begin = pos;
        int32_t cp = qw_utf8_next(text, &pos);
        if (cp < 0x300 || !qw_unicode_set_has(&qw_unicode_nfc_active, cp)) {
            previous = cp;
            before = begin;
            continue;
        }
        bool joins = previous >= 0 && !qw_unicode_set_has(&qw_unicode_nfc_inert, previous);
        size_t from = joins ? before : begin;
        qw_buf_append(out, text.ptr + copied, from - copied);
        if (joins) st = cluster_add(&c, previous, err);
        if (st == QW_OK) st = cluster_add(&c, cp, err);
        while (st == QW_OK && pos < text.len) {
            size_t next = pos;
            cp = qw_utf8_next(text, &next);
            if (!qw_unicode_set_has(&qw_unicode_nfc_active, cp)) break;
            st = cluster_add(&c, cp, err);
            pos = next;
        }
        if (st != QW_OK) goto out;
        cluster_flush(&c, out);
        copied = pos;
        previous = -1;
    }
    qw_buf_append(out, text.ptr + copied, text.len - copied);
    st = qw_buf_check(out, "normalized text", err);
out:
    qw_mem_free(c.cps);
    if (st != QW_OK) {
        out->len = old_len;
        if (out->data) out->data[old_len] = '\0';
    }
    return st;
}
