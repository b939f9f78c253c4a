#ifndef QW_SERVER_HTTP_SERVER_H
#define QW_SERVER_HTTP_SERVER_H

#include "server/http_exchange.h"

/**
 * HTTP/1.1 transport over libmicrohttpd: sockets, TLS, limits, keep-alive, CORS, API keys, event
 * streams, clients that leave. It knows nothing of models or JSON schemas.
 *
 * One thread, the I/O thread, is in qw_http_server_run and runs every callback: no state of a
 * connection has a lock. Other threads only post (qw_http_server_post*). A function is for the I/O
 * thread unless it says otherwise; before run starts, for the thread that owns the server.
 */
typedef struct qw_http_server qw_http_server;

/** All strings and lists are copied; zero means the default in brackets. */
typedef struct qw_http_options {
    const char *host; /* address or name; NULL or "": all interfaces, IPv6 and IPv4 */
    int port;         /* 0: any free one, see qw_http_server_port */
    const char *uds;  /* path of a unix socket, instead of host and port */
    int uds_mode;     /* its permissions [what the umask leaves] */

    size_t max_body;          /* bytes of one request's body [512 MiB]; more is a 413 */
    size_t max_stream_buffer; /* bytes kept for a client that reads slowly [16 MiB] */
    int max_connections;      /* [what RLIMIT_NOFILE allows; the soft limit is raised] */
    int head_timeout_ms;      /* from the first byte of a request to the end of its head [30 s] */
    int body_timeout_ms;      /* for a body, plus one second for each 16 KiB of it [60 s] */
    int send_timeout_ms;      /* for a client that does not read its reply [120 s] */
    int keep_alive_ms;        /* between two requests on a connection [75 s] */

    const char *ssl_certfile, *ssl_keyfile; /* PEM; both or none */
    const char *ssl_ca_certs;               /* PEM: who may sign client certificates */
    int ssl_cert_reqs; /* as Python's ssl: 0 none, 1 optional, 2 required; needs ssl_ca_certs */

    const char *const *api_keys; /* NULL-terminated; NULL: no key needed */
    const char *root_path;       /* prefix that a proxy leaves in the path */
    bool request_id_headers;     /* X-Request-Id: the request's own or 32 hex digits */

    const char *const *allowed_origins; /* NULL-terminated; NULL: {"*"}; {NULL}: none */
    const char *const *allowed_methods;
    const char *const *allowed_headers;
    bool allow_credentials;
} qw_http_options;

/**
 * Check the options, read the TLS files and bind the socket, so that a port in use or a wrong key
 * fails at once; nobody can connect yet (connection refused). Caller owns *out (close).
 */
QW_MUST_CHECK qw_status qw_http_server_bind(qw_http_server **out, const qw_http_options *options,
                                            const qw_http_handler *handler, qw_error *err);
/** The TCP port bound; 0 for a unix socket. Any thread. */
int qw_http_server_port(const qw_http_server *s);
/** "http://0.0.0.0:8000" (host as given), "https://...", "unix:PATH"; borrowed. Any thread. */
const char *qw_http_server_url(const qw_http_server *s);
/** Most connections at a time. Any thread. */
int qw_http_server_max_connections(const qw_http_server *s);

/** Accept clients from now on. */
QW_MUST_CHECK qw_status qw_http_server_listen(qw_http_server *s, qw_error *err);

/**
 * Be the I/O thread until stop, or until a drain is through. An error is one of the system's event
 * interface; clients never cause one. Every exchange has ended when it returns. Once per server.
 */
QW_MUST_CHECK qw_status qw_http_server_run(qw_http_server *s, qw_error *err);
/**
 * Stop accepting (the listening socket is closed, the unix socket's file removed), close idle
 * connections, let running exchanges end and accept no further request; then run returns.
 */
void qw_http_server_drain(qw_http_server *s);
/** As drain, but every exchange is cut now (`gone`). run returns soon. */
void qw_http_server_stop(qw_http_server *s);
/** Free the server. NULL is fine. Not while run is active; nothing may be posted any more. */
void qw_http_server_close(qw_http_server *s);

/** Connections that are open, and exchanges between `begin` and `done` or `gone`. */
size_t qw_http_server_n_connections(const qw_http_server *s);
size_t qw_http_server_n_exchanges(const qw_http_server *s);

/**
 * Run fn(ctx) on the I/O thread. Any thread, that one too; never waits. Posts of one thread run in
 * order. What is posted before run starts runs then; what comes after it returned is dropped, in
 * close. False: no memory.
 */
QW_MUST_CHECK bool qw_http_server_post(qw_http_server *s, void (*fn)(void *ctx), void *ctx);

/** The same without an allocation: the node is the caller's and must live until fn is called. */
typedef struct qw_http_post {
    struct qw_http_post *next; /* the server's, while posted */
    void (*fn)(void *ctx);
    void *ctx;
} qw_http_post;
void qw_http_server_post_node(qw_http_server *s, qw_http_post *node);

/** A timer, in memory of the caller, who fills fn and ctx (the rest zero). */
typedef struct qw_http_timer {
    void (*fn)(void *ctx);
    void *ctx;
    struct qw_http_timer *next; /* the server's, while it runs, as are the rest */
    int64_t due_ns, period_ns;
    bool is_running;
} qw_http_timer;
/** Call t->fn after first_ms and then every period_ms (0: only once). Restarts a running timer. */
void qw_http_server_timer_start(qw_http_server *s, qw_http_timer *t, int first_ms, int period_ms);
void qw_http_server_timer_stop(qw_http_server *s, qw_http_timer *t);

#endif
