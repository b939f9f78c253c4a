#include "server/http_tls.h"

#include "base/file.h"

enum { MAX_PEM_SIZE = 16 << 20 }; // a whole system's list of authorities is below 1 MiB

static qw_status read_pem(qw_buf *out, const char *path, const char *what, qw_error *err)
{
    qw_buf_init(out, MAX_PEM_SIZE);
    qw_status st = qw_file_read(out, path, err);
    if (st == QW_OK) st = qw_buf_check(out, path, err);
    if (st == QW_OK && out->len == 0) st = qw_fail(err, QW_ERR_USAGE, "'%s' is empty", path);
    if (st != QW_OK) return qw_context(err, st, "reading the TLS %s", what);
    return QW_OK;
}

// libmicrohttpd says only "failed" about files it dislikes, so GnuTLS is asked before.
static qw_status check_pair(const qw_http_tls *t, const qw_http_options *o, qw_error *err)
{
    gnutls_certificate_credentials_t cred;
    if (gnutls_certificate_allocate_credentials(&cred) != GNUTLS_E_SUCCESS)
        return qw_fail_memory(err, 0, "TLS credentials");
    gnutls_datum_t cert = {(unsigned char *)t->cert.data, (unsigned)t->cert.len};
    gnutls_datum_t key = {(unsigned char *)t->key.data, (unsigned)t->key.len};
    gnutls_datum_t trust = {(unsigned char *)t->trust.data, (unsigned)t->trust.len};
    qw_status st = QW_OK;
    int rc = gnutls_certificate_set_x509_key_mem2(cred, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0)
        st = qw_fail(err, QW_ERR_USAGE,
                     "TLS certificate '%s' and key '%s' cannot be used together: %s",
                     o->ssl_certfile, o->ssl_keyfile, gnutls_strerror(rc));
    if (st == QW_OK && trust.size > 0) {
        rc = gnutls_certificate_set_x509_trust_mem(cred, &trust, GNUTLS_X509_FMT_PEM);
        if (rc <= 0)
            st = qw_fail(err, QW_ERR_USAGE, "no certificate can be read from '%s'%s%s",
                         o->ssl_ca_certs, rc < 0 ? ": " : "", rc < 0 ? gnutls_strerror(rc) : "");
    }
    gnutls_certificate_free_credentials(cred);
    return st;
}

qw_status qw_http_tls_init(qw_http_tls *t, const qw_http_options *o, qw_error *err)
{
    *t = (qw_http_tls){.cert_reqs = GNUTLS_CERT_IGNORE};
    if (o->ssl_cert_reqs < 0 || o->ssl_cert_reqs > 2)
        return qw_fail(err, QW_ERR_USAGE,
                       "client certificates: 0 (none), 1 (optional) or 2 (required), not %d",
                       o->ssl_cert_reqs);
    if (!o->ssl_certfile && !o->ssl_keyfile) {
        if (!o->ssl_ca_certs && o->ssl_cert_reqs == 0) return QW_OK;
        return qw_fail(err, QW_ERR_USAGE,
                       "client certificates need TLS: give a certificate and a key, too");
    }
    if (!o->ssl_certfile || !o->ssl_keyfile)
        return qw_fail(err, QW_ERR_USAGE, "TLS needs a certificate and a key; only '%s' is given",
                       o->ssl_certfile ? o->ssl_certfile : o->ssl_keyfile);
    if (o->ssl_cert_reqs > 0 && !o->ssl_ca_certs)
        return qw_fail(err, QW_ERR_USAGE,
                       "client certificates are asked for, but no file names who may sign them");

    qw_status st = read_pem(&t->cert, o->ssl_certfile, "certificate", err);
    if (st == QW_OK) st = read_pem(&t->key, o->ssl_keyfile, "key", err);
    if (st == QW_OK && o->ssl_cert_reqs > 0)
        st = read_pem(&t->trust, o->ssl_ca_certs, "authorities", err);
    if (st == QW_OK) st = check_pair(t, o, err);
    if (st != QW_OK) {
        qw_http_tls_release(t);
        return st;
    }
    t->is_on = true;
    if (o->ssl_cert_reqs > 0)
        t->cert_reqs = o->ssl_cert_reqs == 2 ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST;
    return QW_OK;
}

void qw_http_tls_release(qw_http_tls *t)
{
    if (t->key.data) gnutls_memset(t->key.data, 0, t->key.cap);
    qw_buf_release(&t->cert);
    qw_buf_release(&t->key);
    qw_buf_release(&t->trust);
    *t = (qw_http_tls){0};
}

// Called at the end of the handshake; another result than 0 ends it.
static int check_peer(gnutls_session_t session)
{
    unsigned n = 0, status = 0;
    // Who must show a certificate and did not, got an alert before this.
    if (!gnutls_certificate_get_peers(session, &n) || n == 0) return 0;
    int rc = gnutls_certificate_verify_peers2(session, &status);
    return rc == GNUTLS_E_SUCCESS && status == 0 ? 0 : GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

// libmicrohttpd only asks for a certificate and leaves it unchecked.
void qw_http_tls_session(const qw_http_tls *t, gnutls_session_t session)
{
    if (t->cert_reqs == GNUTLS_CERT_IGNORE) return;
    gnutls_certificate_server_set_request(session, t->cert_reqs);
    gnutls_session_set_verify_function(session, check_peer);
}
