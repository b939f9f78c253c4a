#include "test_util.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/file.h"
#include "unit/server/http_fixture.h"

// Certificates made for the run: an authority, a server and a client signed by it, and a stranger.
static struct {
    char dir[256];
    char ca[300], cert[300], key[300], stranger_cert[300], stranger_key[300], client_cert[300],
        client_key[300], garbage[300];
} pki;

#define assert_gnutls(call)                                                                        \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0) fail_msg("%s: %s", #call, gnutls_strerror(rc_));                              \
    } while (0)

static void write_file(char *path, const char *name, const void *data, size_t size)
{
    snprintf(path, 300, "%s/%s", pki.dir, name);
    qw_error err;
    assert_ok(qw_file_write_atomic(path, data, size, &err));
}

static gnutls_x509_privkey_t make_key(char *path, const char *name)
{
    gnutls_x509_privkey_t key;
    assert_gnutls(gnutls_x509_privkey_init(&key));
    assert_gnutls(gnutls_x509_privkey_generate(
        key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    char pem[8192];
    size_t size = sizeof pem;
    assert_gnutls(gnutls_x509_privkey_export(key, GNUTLS_X509_FMT_PEM, pem, &size));
    write_file(path, name, pem, size);
    return key;
}

// A certificate for `key`, signed by `ca` with `ca_key`, or by itself.
static gnutls_x509_crt_t make_cert(char *path, const char *name, gnutls_x509_privkey_t key,
                                   gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key)
{
    static unsigned char serial = 1;
    gnutls_x509_crt_t crt;
    time_t now = time(NULL);
    assert_gnutls(gnutls_x509_crt_init(&crt));
    assert_gnutls(gnutls_x509_crt_set_key(crt, key));
    assert_gnutls(gnutls_x509_crt_set_version(crt, 3));
    assert_gnutls(gnutls_x509_crt_set_serial(crt, &serial, 1));
    serial++;
    assert_gnutls(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                                (unsigned)strlen(name)));
    assert_gnutls(gnutls_x509_crt_set_activation_time(crt, now - 3600));
    assert_gnutls(gnutls_x509_crt_set_expiration_time(crt, now + 3600));
    if (!ca) assert_gnutls(gnutls_x509_crt_set_ca_status(crt, 1));
    assert_gnutls(
        gnutls_x509_crt_sign2(crt, ca ? ca : crt, ca ? ca_key : key, GNUTLS_DIG_SHA256, 0));
    char pem[8192];
    size_t size = sizeof pem;
    assert_gnutls(gnutls_x509_crt_export(crt, GNUTLS_X509_FMT_PEM, pem, &size));
    write_file(path, name, pem, size);
    return crt;
}

static int make_pki(void **state)
{
    (void)state;
    snprintf(pki.dir, sizeof pki.dir, "%s/http-tls-XXXXXX", QW_TEST_TMP);
    assert_non_null(mkdtemp(pki.dir));
    char ca_key_path[300];
    gnutls_x509_privkey_t ca_key = make_key(ca_key_path, "ca.key");
    gnutls_x509_crt_t ca = make_cert(pki.ca, "ca.crt", ca_key, NULL, NULL);
    gnutls_x509_privkey_t server_key = make_key(pki.key, "server.key");
    gnutls_x509_crt_t server = make_cert(pki.cert, "server.crt", server_key, ca, ca_key);
    gnutls_x509_privkey_t client_key = make_key(pki.client_key, "client.key");
    gnutls_x509_crt_t client_crt = make_cert(pki.client_cert, "client.crt", client_key, ca, ca_key);
    gnutls_x509_privkey_t stranger_key = make_key(pki.stranger_key, "stranger.key");
    gnutls_x509_crt_t stranger =
        make_cert(pki.stranger_cert, "stranger.crt", stranger_key, NULL, NULL);
    write_file(pki.garbage, "garbage", "not a key\n", 10);
    gnutls_x509_privkey_t keys[] = {ca_key, server_key, client_key, stranger_key};
    gnutls_x509_crt_t certs[] = {ca, server, client_crt, stranger};
    for (size_t i = 0; i < 4; i++) {
        gnutls_x509_privkey_deinit(keys[i]);
        gnutls_x509_crt_deinit(certs[i]);
    }
    return 0;
}

static int remove_pki(void **state)
{
    (void)state;
    char command[400];
    snprintf(command, sizeof command, "rm -r '%s'", pki.dir);
    return system(command);
}

typedef struct tls_client {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t cred;
} tls_client;

// Connect and shake hands; false when the server refuses (TLS 1.3 tells only with the first read).
static bool tls_open(tls_client *c, const fixture *f, const char *cert, const char *key)
{
    c->fd = try_connect(qw_http_server_port(f->server));
    assert_true(c->fd >= 0);
    assert_gnutls(gnutls_certificate_allocate_credentials(&c->cred));
    assert_gnutls(gnutls_certificate_set_x509_trust_file(c->cred, pki.ca, GNUTLS_X509_FMT_PEM));
    if (cert)
        assert_gnutls(
            gnutls_certificate_set_x509_key_file(c->cred, cert, key, GNUTLS_X509_FMT_PEM));
    assert_gnutls(
        gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT));
    assert_gnutls(gnutls_set_default_priority(c->session));
    assert_gnutls(gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->cred));
    gnutls_session_set_verify_cert(c->session, NULL, 0);
    gnutls_transport_set_int(c->session, c->fd);
    gnutls_handshake_set_timeout(c->session, PATIENCE_MS);
    int rc;
    do {
        rc = gnutls_handshake(c->session);
    } while (rc < 0 && !gnutls_error_is_fatal(rc));
    return rc >= 0;
}

static void tls_close(tls_client *c)
{
    gnutls_bye(c->session, GNUTLS_SHUT_WR);
    gnutls_deinit(c->session);
    gnutls_certificate_free_credentials(c->cred);
    close(c->fd);
}

static void tls_puts(tls_client *c, const char *text)
{
    ssize_t n = gnutls_record_send(c->session, text, strlen(text));
    assert_int_equal(n, strlen(text));
}

// Append what comes until `end` is in it; false if the connection ends before.
static bool tls_read_until(tls_client *c, qw_buf *in, const char *end)
{
    static char bytes[65536];
    for (;;) {
        size_t back = in->len < 64 ? in->len : 64;
        if (in->len > 0 && strstr(in->data + in->len - back, end)) return true;
        ssize_t n = gnutls_record_recv(c->session, bytes, sizeof bytes);
        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) continue;
        if (n <= 0) return false;
        qw_buf_append(in, bytes, (size_t)n);
    }
}

static void requests_and_streams_over_tls(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, &(qw_http_options){.ssl_certfile = pki.cert, .ssl_keyfile = pki.key});
    assert_true(strncmp(qw_http_server_url(f.server), "https://127.0.0.1:", 18) == 0);
    tls_client c;
    assert_true(tls_open(&c, &f, NULL, NULL));
    qw_buf in;
    qw_buf_init(&in, SIZE_MAX / 2);
    for (int round = 0; round < 3; round++) { // the connection is kept
        tls_puts(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        assert_true(tls_read_until(&c, &in, "hello"));
        qw_buf_clear(&in);
        // all written before anything is read: far more than a record, and than a socket takes
        int before = get(&f, &f.n_request);
        tls_puts(&c, "GET /events?n=100&size=100000 HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_until(&f, &f.n_request, before + 1);
        assert_true(tls_read_until(&c, &in, "\r\n0\r\n\r\n"));
        const char *at = strstr(in.data, "\r\n\r\n") + 4;
        for (int i = 0; i < 100; i++) {
            assert_memory_equal(at, "186a8\r\ndata: ", 13); // 100008
            at += 13;
            for (int k = 0; k < 100000; k++) assert_true(at[k] == 'a' + i % 26);
            assert_memory_equal(at + 100000, "\n\n\r\n", 4);
            at += 100004;
        }
        assert_string_equal(at, "0\r\n\r\n");
        qw_buf_clear(&in);
    }
    // events one by one, each a record of its own
    int before = get(&f, &f.n_request);
    tls_puts(&c, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, before + 1);
    assert_true(tls_read_until(&c, &in, "\r\n\r\n"));
    f.piece = "data: x\n\n";
    f.piece_size = 9;
    for (int i = 0; i < 5; i++) {
        char bytes[64];
        on_io_thread(&f, write_held, &f);
        ssize_t n = gnutls_record_recv(c.session, bytes, sizeof bytes);
        assert_int_equal(n, 14);
        assert_memory_equal(bytes, "9\r\ndata: x\n\n\r\n", 14);
    }
    on_io_thread(&f, end_held, &f);
    assert_true(tls_read_until(&c, &in, "0\r\n\r\n"));
    // leaving is noticed here, too
    tls_puts(&c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until(&f, &f.n_request, before + 2);
    tls_close(&c);
    wait_until(&f, &f.n_gone, 1);
    // plain text is not for this port
    client plain = client_open(&f);
    client_puts(&plain, "GET /info HTTP/1.1\r\nHost: x\r\n\r\n");
    while (client_fill(&plain)) continue;
    assert_true(plain.in.len == 0 || plain.in.data[0] == 21); // at most an alert
    client_close(&plain);
    qw_buf_release(&in);
    fixture_close(&f, false);
}

// Whether a client with these files gets an answer.
static bool is_served(const fixture *f, const char *cert, const char *key)
{
    tls_client c;
    bool served = tls_open(&c, f, cert, key);
    if (served) {
        const char *request = "GET /info HTTP/1.1\r\nHost: x\r\n\r\n";
        qw_buf in;
        qw_buf_init(&in, 1 << 20);
        served = gnutls_record_send(c.session, request, strlen(request)) > 0 &&
                 tls_read_until(&c, &in, "GET|/info");
        qw_buf_release(&in);
    }
    tls_close(&c);
    return served;
}

static void client_certificates(void **state)
{
    (void)state;
    for (int reqs = 0; reqs <= 2; reqs++) {
        fixture f;
        fixture_open(&f, &(qw_http_options){.ssl_certfile = pki.cert,
                                            .ssl_keyfile = pki.key,
                                            .ssl_ca_certs = pki.ca,
                                            .ssl_cert_reqs = reqs});
        assert_true(is_served(&f, pki.client_cert, pki.client_key));
        assert_true(is_served(&f, NULL, NULL) == (reqs < 2));
        assert_true(is_served(&f, pki.stranger_cert, pki.stranger_key) == (reqs == 0));
        fixture_close(&f, false);
    }
}

static void wrong_files_are_told(void **state)
{
    (void)state;
    const struct {
        qw_http_options o;
        const char *text;
    } cases[] = {
        {{.ssl_certfile = pki.cert}, "only '"},
        {{.ssl_keyfile = pki.key}, "only '"},
        {{.ssl_certfile = pki.cert, .ssl_keyfile = "/nowhere/key"}, "reading the TLS key"},
        {{.ssl_certfile = "/nowhere/cert", .ssl_keyfile = pki.key}, "reading the TLS certificate"},
        {{.ssl_certfile = pki.cert, .ssl_keyfile = pki.stranger_key}, "cannot be used together"},
        {{.ssl_certfile = pki.cert, .ssl_keyfile = pki.garbage}, "cannot be used together"},
        {{.ssl_certfile = pki.garbage, .ssl_keyfile = pki.key}, "cannot be used together"},
        {{.ssl_certfile = pki.cert, .ssl_keyfile = pki.key, .ssl_cert_reqs = 2}, "who may sign"},
        {{.ssl_certfile = pki.cert, .ssl_keyfile = pki.key, .ssl_cert_reqs = 3}, "not 3"},
        {{.ssl_certfile = pki.cert,
          .ssl_keyfile = pki.key,
          .ssl_ca_certs = pki.garbage,
          .ssl_cert_reqs = 1},
         "no certificate can be read from"},
        {{.ssl_ca_certs = pki.ca}, "need TLS"},
    };
    size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_http_handler h = {.request = on_request, .gone = on_gone};
        qw_http_options o = cases[i].o;
        o.host = "127.0.0.1";
        qw_http_server *s = NULL;
        qw_error err = {0};
        qw_status st = qw_http_server_bind(&s, &o, &h, &err);
        assert_true(st == QW_ERR_USAGE || st == QW_ERR_IO);
        if (!strstr(err.text, cases[i].text)) fail_msg("case %zu: '%s'", i, err.text);
        assert_null(s);
        assert_int_equal(qw_mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_and_streams_over_tls),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(wrong_files_are_told),
    };
    return cmocka_run_group_tests(tests, make_pki, remove_pki);
}
