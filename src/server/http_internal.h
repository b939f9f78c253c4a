#ifndef QW_SERVER_HTTP_INTERNAL_H
#define QW_SERVER_HTTP_INTERNAL_H

// What the files of the transport share; nobody else includes this.
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "server/http_policy.h"
#include "server/http_server.h"
#include "server/http_tls.h"

/**
 * libmicrohttpd walks all suspended connections of a daemon whenever one is resumed. With ten
 * thousand queued requests that is ten thousand cache misses for each reply, so the connections are
 * dealt out to this many daemons, all run by the one I/O thread.
 */
enum { QW_HTTP_N_DAEMONS = 32 };

/** Bytes of a refused request's body that are read and dropped, so that a client which sends first
 *  and listens later still gets the reply; beyond, the connection is closed over it. */
#define QW_HTTP_MAX_DISCARD ((uint64_t)64 << 20)
/** Slowest sender and reader of large bodies that is tolerated, bytes per second. */
enum { QW_HTTP_MIN_RATE = 16384 };

/** What an event of the I/O loop's epoll is about; first member of what epoll_data points to. */
typedef struct qw_http_watch {
    enum { QW_HTTP_WATCH_POSTS, QW_HTTP_WATCH_LISTEN, QW_HTTP_WATCH_MHD, QW_HTTP_WATCH_CONN } kind;
    int i_daemon;
} qw_http_watch;

typedef struct qw_http_conn qw_http_conn;

/** A client's connection: from accept until libmicrohttpd closes the socket. */
struct qw_http_conn {
    qw_http_watch watch; /* told when the client closes or half-closes, edge-triggered */
    qw_http_server *server;
    struct MHD_Connection *mhd;
    gnutls_session_t tls; /* NULL: plain text */
    qw_http_exchange *x;  /* the request that is on its way, or NULL */
    int fd;
    bool is_suspended;   /* libmicrohttpd leaves the socket alone */
    bool has_hup;        /* the client closed its side */
    bool has_served;     /* it had a request before */
    bool is_shut;        /* shutdown was called because of that */
    bool wants_out;      /* EPOLLOUT is asked for */
    bool is_broken;      /* a send failed, or the client is too slow */
    bool needs_look;     /* in the server's list of connections to look at */
    int64_t deadline_ns; /* when to give up on the client; 0: never */
    qw_http_conn *prev, *next, *next_look;
    char peer[72];
};

/**
 *   HEAD --> BODY --> PENDING --> REPLY ----------------> freed by libmicrohttpd's notice of
 *              |         |   \                           completion, after `done` or `gone`
 *              |         |    `-> START --> STREAM --> END
 *              `---------+  (refused: the rest of the body is dropped first)
 *
 * PENDING and STREAM have the connection suspended (PENDING once the handler has returned).
 */
typedef enum qw_http_phase {
    QW_HTTP_HEAD,    /* request line seen */
    QW_HTTP_BODY,    /* head checked, body on its way */
    QW_HTTP_PENDING, /* `request` called, no reply yet */
    QW_HTTP_REPLY,   /* libmicrohttpd sends a whole reply */
    QW_HTTP_START,   /* libmicrohttpd sends the head of a stream */
    QW_HTTP_STREAM,  /* the socket is ours: pieces are written past libmicrohttpd */
    QW_HTTP_END,     /* libmicrohttpd ends the stream */
} qw_http_phase;

struct qw_http_exchange {
    qw_http_conn *conn;
    qw_http_phase phase;
    bool is_begun; /* the handler knows it, and is owed `done` or `gone` */
    bool is_over;  /* it got that */
    bool is_cut;   /* the connection is to be closed without (the rest of) a reply */
    bool is_stream;
    bool has_ended;                      /* qw_http_stream_end was called */
    bool is_chunked;                     /* the stream has chunk framing */
    const char *method, *path, *version; /* libmicrohttpd's, until the exchange is freed */
    void *user;
    qw_buf body;
    uint64_t discarded;            /* bytes of a refused body */
    struct MHD_Response *response; /* given, not yet handed to libmicrohttpd */
    int status;
    size_t reply_size;
    qw_buf headers; /* of the handler: name, NUL, value, NUL, ... */
    qw_buf out;     /* framed pieces that the socket did not take; from out_pos on */
    size_t out_pos;
    size_t tls_retry; /* bytes that GnuTLS holds of a send it could not finish */
    char target[];    /* as the client wrote it */
};

struct qw_http_server {
    qw_http_handler handler;
    qw_http_policy policy;
    qw_http_tls tls;
    size_t max_body, max_stream_buffer;
    int max_connections;
    int64_t head_timeout_ns, body_timeout_ns, send_timeout_ns, keep_alive_ns;

    int listen_fd, epoll_fd, post_fd;
    int port;
    char *url;
    char *uds_path;                  /* to remove; NULL when it is not ours */
    uint64_t uds_device, uds_inode;  /* so that only our own file is removed */
    bool is_listening, is_accepting; /* the latter: listen_fd is in epoll_fd */
    bool is_draining, is_stopping, has_run;

    struct MHD_Daemon *daemons[QW_HTTP_N_DAEMONS];
    qw_http_watch daemon_watch[QW_HTTP_N_DAEMONS], listen_watch, post_watch;
    bool must_run[QW_HTTP_N_DAEMONS];
    unsigned next_daemon; /* the one that gets the next connection */

    qw_http_conn *conns;  /* all of them */
    qw_http_conn *look;   /* those whose client closed or whose socket broke; the loop looks at them
                             and tells the handler, which may be in the middle of something */
    qw_http_conn *adding; /* the one that MHD_add_connection is about to announce */
    size_t n_connections, n_exchanges;

    _Atomic(qw_http_post *) posts; /* newest first; pushed by any thread, taken whole by the I/O
                                      thread, which reverses them */
    qw_http_timer *timers;
    qw_http_timer deadline_timer, accept_timer;
    int deadline_period_ms;
};

// http_listen.c

/** Bind listen_fd and set port, url and uds_*. */
QW_MUST_CHECK qw_status qw_http_bind(qw_http_server *s, const qw_http_options *o, qw_error *err);
/** Close the listening socket and remove the unix socket's file. Twice is fine. */
void qw_http_unbind(qw_http_server *s);

// http_request.c

/** Start the daemons. */
QW_MUST_CHECK qw_status qw_http_start_daemons(qw_http_server *s, qw_error *err);

// http_connection.c

/** libmicrohttpd's notice of a new connection, or of one that it closes. */
void qw_http_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                           enum MHD_ConnectionNotificationCode what);
/** Accept what is waiting, up to a batch. */
void qw_http_accept(qw_http_server *s);
/** Ask for connections, or no longer. */
void qw_http_set_accepting(qw_http_server *s, bool on);
/** An event of epoll on a connection's socket. */
void qw_http_conn_event(qw_http_conn *c, uint32_t events);
/** Close connections whose time is over. */
void qw_http_check_deadlines(qw_http_server *s);
/** Have the loop look at c, for its has_hup or is_broken. */
void qw_http_conn_look_later(qw_http_conn *c);
/** Look at them. */
void qw_http_look(qw_http_server *s);
void qw_http_conn_suspend(qw_http_conn *c);
void qw_http_conn_resume(qw_http_conn *c);
/** Have the client's connection closed without (the rest of) a reply. */
void qw_http_cut(qw_http_exchange *x);
/** Tell the handler that x is `done`, or `gone`, unless it knows. */
void qw_http_tell_end(qw_http_exchange *x, bool is_done);
/** Tell the handler that the client left, unless x is over, and cut. */
void qw_http_leave(qw_http_exchange *x);

// http_reply.c

/** libmicrohttpd asks for the next piece of a stream, `cls` being the exchange. */
ssize_t qw_http_stream_read(void *cls, uint64_t pos, char *buf, size_t max);
/** The socket takes bytes again. */
void qw_http_stream_flush(qw_http_exchange *x);

#endif
