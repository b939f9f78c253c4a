// The little HTTP that the load client needs: where an answer ends, and how many events it holds.

#include <stdlib.h>

#include "base/str.h"
#include "bench/serve_client_internal.h"

// The value of a header, without the blanks before it; NULL: there is none.
static const char *header(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = head; (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':') continue;
        return line + len + 1 + strspn(line + len + 1, " ");
    }
    return NULL;
}

static bool read_head(qw_answer_reader *r)
{
    unsigned major, status;
    if (sscanf(r->head, "HTTP/1.%1u %3u", &major, &status) != 2) return false;
    const char *length = header(r->head, "Content-Length");
    const char *encoding = header(r->head, "Transfer-Encoding");
    r->is_chunked = encoding && strncasecmp(encoding, "chunked", 7) == 0;
    r->n_left = length ? strtoull(length, NULL, 10) : 0;
    if (!r->is_chunked && !length) return false;
    r->status = (int)status;
    return true;
}

// Events end with an empty line; JSON text holds no line ends, and the lines between chunks end
// with \r\n, so two \n in a row are nothing else.
static void count_events(qw_answer_reader *r, const char *data, size_t len)
{
    bool after_newline = r->tail[sizeof r->tail - 1] == '\n';
    if (after_newline && data[0] == '\n') r->n_events++;
    for (const char *p = data, *end = data + len; (p = memchr(p, '\n', (size_t)(end - p)));) {
        p++;
        if (p == end) break;
        if (*p == '\n') r->n_events++;
    }
}

static void keep_tail(qw_answer_reader *r, const char *data, size_t len)
{
    size_t n = sizeof r->tail;
    if (len < n) {
        memmove(r->tail, r->tail + len, n - len);
        memcpy(r->tail + n - len, data, len);
    } else {
        memcpy(r->tail, data + len - n, n);
    }
}

static void begin_next(qw_answer_reader *r)
{
    *r = (qw_answer_reader){.n_events = r->n_events};
}

static qw_answer_state feed_body(qw_answer_reader *r, const char *data, size_t len, qw_buf *body)
{
    bool is_over;
    if (r->is_chunked) {
        if (len > 0) {
            count_events(r, data, len);
            keep_tail(r, data, len);
        }
        // Behind the size of any other chunk there is more than an empty line.
        is_over = memcmp(r->tail, "0\r\n\r\n", sizeof r->tail) == 0;
    } else {
        if (len > r->n_left) return QW_ANSWER_BROKEN;
        r->n_left -= len;
        is_over = r->n_left == 0;
        if (body) qw_buf_append(body, data, len);
    }
    if (!is_over) return QW_ANSWER_MORE;
    if (r->status == 200) begin_next(r);
    return QW_ANSWER_ENDS;
}

qw_answer_state qw_answer_reader_feed(qw_answer_reader *r, const char *data, size_t len,
                                      qw_buf *body)
{
    if (r->status != 0) return feed_body(r, data, len, body);
    size_t room = sizeof r->head - 1 - r->n_head, before = r->n_head;
    size_t n = len < room ? len : room;
    memcpy(r->head + r->n_head, data, n);
    r->n_head += n;
    r->head[r->n_head] = '\0';
    const char *end = strstr(r->head, "\r\n\r\n");
    if (!end) return n == room ? QW_ANSWER_BROKEN : QW_ANSWER_MORE;
    size_t used = (size_t)(end + 4 - r->head) - before;
    if (!read_head(r)) return QW_ANSWER_BROKEN;
    return feed_body(r, data + used, len - used, body);
}
