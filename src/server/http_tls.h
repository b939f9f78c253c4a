#ifndef QW_SERVER_HTTP_TLS_H
#define QW_SERVER_HTTP_TLS_H

#include <gnutls/gnutls.h>

#include "server/http_server.h"

/** The TLS files of a server, read and checked. */
typedef struct qw_http_tls {
    bool is_on;
    qw_buf cert, key, trust; /* PEM; trust is empty without client certificates */
    gnutls_certificate_request_t cert_reqs;
} qw_http_tls;

/** An unreadable file, a key that is not the certificate's, half a pair: one sentence. */
QW_MUST_CHECK qw_status qw_http_tls_init(qw_http_tls *t, const qw_http_options *o, qw_error *err);
void qw_http_tls_release(qw_http_tls *t);
/** Settings of a new client's session: which certificate it must show. */
void qw_http_tls_session(const qw_http_tls *t, gnutls_session_t session);

#endif
