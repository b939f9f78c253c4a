#ifndef QW_BENCH_SERVE_CLIENT_INTERNAL_H
#define QW_BENCH_SERVE_CLIENT_INTERNAL_H

#include "base/buf.h"
#include "bench/serve_client.h"

/** How an order ended, as it travels between the processes. */
typedef struct qw_serve_result {
    qw_serve_answer answer;
    qw_status status; /* not QW_OK: `text` says why */
    char text[256];
} qw_serve_result;

/** The client process: orders from fd until its end. */
void qw_serve_client_main(int fd, const char *const *prompts, size_t n_prompts);

/** Reads one HTTP answer after another from the bytes of a connection. */
typedef struct qw_answer_reader {
    char
        head[1024]; /* the answer's head as far as it came; then the beginning of an error's body */
    size_t n_head;
    int status; /* 0: the head is not there yet */
    bool is_chunked;
    uint64_t n_left;  /* of the body, when not chunked */
    char tail[5];     /* the last bytes of a chunked body */
    int64_t n_events; /* blank lines of an event stream: all answers so far, "[DONE]" too */
} qw_answer_reader;

typedef enum qw_answer_state {
    QW_ANSWER_MORE,   /* not at its end */
    QW_ANSWER_ENDS,   /* the bytes end with the end of the answer; the reader is set for the next */
    QW_ANSWER_BROKEN, /* no HTTP, a head that is too long, or bytes behind the end */
} qw_answer_state;

/** Take in the next bytes. `body` (may be NULL) gets a body that is not chunked. */
qw_answer_state qw_answer_reader_feed(qw_answer_reader *r, const char *data, size_t len,
                                      qw_buf *body);

#endif
