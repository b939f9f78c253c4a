#include "bench/load_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/load_stream.h"
#include "format/json.h"

enum { MAX_EVENTS = 256, MAX_ERROR_BODY = 64 << 10, TIMEOUT_S = 6 * 3600 };

// No more wake-ups than one in so many nanoseconds: waking up costs more than an event does, and at
// thousands of events a second several wait behind each. A stream alone never meets it.
#define WAKE_NS INT64_C(300000)

/** A request under way, or a free place for one: the easy handle and its buffers stay. */
typedef struct transfer {
    struct transfer *next; /* of the free ones */
    struct transfer *all;  /* of all */
    qw_load_client *client;
    CURL *easy;
    struct curl_slist *headers;
    size_t i;
    char *body;
    qw_load_outcome *outcome;
    qw_load_stream stream;
    long status;                   /* of the answer's head; 0: it has not come */
    char reason[64];               /* "Not Found" */
    qw_buf error_body;             /* of an answer that is not 200 */
    qw_error failure;              /* while reading events; code QW_OK: none */
    char message[CURL_ERROR_SIZE]; /* of libcurl */
} transfer;

struct qw_load_client {
    const qw_load_target *target;
    qw_load_done_fn *done;
    void *ctx;
    CURLM *multi;
    struct curl_slist *common; /* headers of all requests */
    int epoll_fd, timer_fd;
    int64_t curl_due_ns; /* when libcurl wants to be called; INT64_MAX: it does not */
    int64_t timer_ns;    /* what the timer is set to */
    int64_t wake_ns;     /* when it last woke up */
    transfer *free, *all;
    size_t n_running;
    uint64_t n_events;
};

static double seconds(int64_t ns)
{
    return (double)ns * 1e-9;
}

// What comes

static size_t on_head(char *data, size_t size, size_t n, void *ctx)
{
    transfer *t = ctx;
    size_t len = size * n;
    // "HTTP/1.1 404 Not Found\r\n"; an answer may follow one with 100 Continue.
    if (len > 12 && strncmp(data, "HTTP/", 5) == 0) {
        const char *space = memchr(data, ' ', len);
        size_t left = space ? len - (size_t)(space - data) : 0;
        t->status = left > 4 ? strtol(space + 1, NULL, 10) : 0;
        size_t reason = left > 5 ? left - 5 : 0;
        while (reason > 0 && (space[5 + reason - 1] == '\n' || space[5 + reason - 1] == '\r'))
            reason--;
        snprintf(t->reason, sizeof t->reason, "%.*s", (int)(reason < 63 ? reason : 63),
                 reason ? space + 5 : "");
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    transfer *t = ctx;
    double now_s = seconds(qw_clock_ns());
    size_t len = size * n;
    if (t->status != 200) {
        size_t room = MAX_ERROR_BODY - t->error_body.len;
        qw_buf_append(&t->error_body, data, len < room ? len : room);
        return len;
    }
    size_t before = t->stream.n_events;
    if (t->failure.code == QW_OK &&
        qw_load_stream_feed(&t->stream, data, len, now_s, &t->failure) != QW_OK)
        return CURL_WRITEFUNC_ERROR;
    t->client->n_events += t->stream.n_events - before;
    return len;
}

// The body's {"error": {"message": ...}} or {"detail": ...} behind the reason phrase.
static void describe_refusal(const transfer *t, char *out, size_t size)
{
    json_t *body = NULL;
    qw_str text = {0};
    if (t->error_body.len > 0 && !t->error_body.failed &&
        qw_json_parse(&body, t->error_body.data, t->error_body.len, "the answer", NULL) == QW_OK) {
        const json_t *error = json_object_get(body, "error");
        const json_t *message = json_object_get(json_is_object(error) ? error : body, "message");
        if (!message) message = json_object_get(body, "detail");
        text = qw_json_str(message);
    }
    const char *reason = t->reason[0] ? t->reason : "no reason given";
    if (text.ptr)
        snprintf(out, size, "%s: %.*s", reason, (int)(text.len < 400 ? text.len : 400), text.ptr);
    else
        snprintf(out, size, "%s", reason);
    json_decref(body);
}

static void end_transfer(transfer *t, CURLcode result)
{
    char text[600];
    if (t->failure.code != QW_OK) {
        qw_load_outcome_fail(t->outcome, t->failure.text);
    } else if (result != CURLE_OK) {
        snprintf(text, sizeof text, "%s", t->message[0] ? t->message : curl_easy_strerror(result));
        qw_load_outcome_fail(t->outcome, text);
    } else if (t->status != 200) {
        describe_refusal(t, text, sizeof text);
        qw_load_outcome_fail(t->outcome, text);
    }
    qw_load_stream_finish(&t->stream);
}

// Between libcurl and epoll

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *is_known)
{
    (void)easy;
    qw_load_client *c = ctx;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    struct epoll_event event = {.data.fd = fd};
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) event.events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) event.events |= EPOLLOUT;
    // A descriptor that was closed has left epoll by itself, whatever libcurl told before.
    int ops[2] = {is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                  is_known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD};
    if (epoll_ctl(c->epoll_fd, ops[0], fd, &event) != 0 &&
        epoll_ctl(c->epoll_fd, ops[1], fd, &event) != 0)
        return -1;
    if (!is_known) curl_multi_assign(c->multi, fd, c);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    qw_load_client *c = ctx;
    c->curl_due_ns = timeout_ms < 0 ? INT64_MAX : qw_clock_ns() + (int64_t)timeout_ms * 1000000;
    return 0;
}

static void collect(qw_load_client *c)
{
    int n_left;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &n_left));) {
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode result = m->data.result;
        char *pointer = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &pointer);
        transfer *t = (transfer *)(void *)pointer;
        curl_multi_remove_handle(c->multi, t->easy);
        end_transfer(t, result);
        qw_load_stream_release(&t->stream);
        qw_mem_free(t->body);
        t->body = NULL;
        t->next = c->free;
        c->free = t;
        c->n_running--;
        c->done(c->ctx, t->i);
    }
}

static qw_status act(qw_load_client *c, curl_socket_t fd, int events, qw_error *err)
{
    int n_running;
    CURLMcode code = curl_multi_socket_action(c->multi, fd, events, &n_running);
    if (code != CURLM_OK)
        return qw_fail(err, QW_ERR_IO, "the HTTP client failed: %s", curl_multi_strerror(code));
    if ((size_t)n_running < c->n_running) collect(c);
    return QW_OK;
}

static void set_timer(qw_load_client *c, int64_t due_ns)
{
    if (c->timer_ns == due_ns) return;
    struct itimerspec at = {0};
    if (due_ns < INT64_MAX) {
        if (due_ns < 1) due_ns = 1;
        at.it_value.tv_sec = due_ns / 1000000000;
        at.it_value.tv_nsec = due_ns % 1000000000;
    }
    (void)timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    c->timer_ns = due_ns;
}

static qw_status act_on(qw_load_client *c, const struct epoll_event *e, qw_error *err)
{
    if (e->data.fd == c->timer_fd) {
        uint64_t n;
        if (read(c->timer_fd, &n, sizeof n) > 0) c->timer_ns = INT64_MAX;
        return QW_OK;
    }
    int what = (e->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (e->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (e->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    return act(c, e->data.fd, what, err);
}

// Let events gather if the last wake-up was just now.
static void rest(const qw_load_client *c, int64_t due_ns)
{
    int64_t until_ns = c->wake_ns + WAKE_NS;
    if (until_ns > due_ns) until_ns = due_ns;
    if (until_ns <= qw_clock_ns()) return;
    const struct timespec at = {until_ns / 1000000000, until_ns % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

qw_status qw_load_client_poll(qw_load_client *c, int64_t deadline_ns, qw_error *err)
{
    qw_status st = QW_OK;
    if (c->curl_due_ns <= qw_clock_ns()) {
        c->curl_due_ns = INT64_MAX;
        st = act(c, CURL_SOCKET_TIMEOUT, 0, err);
        if (st != QW_OK) return st;
    }
    int64_t due_ns = deadline_ns < c->curl_due_ns ? deadline_ns : c->curl_due_ns;
    bool is_due = due_ns <= qw_clock_ns();
    if (!is_due) {
        set_timer(c, due_ns);
        rest(c, due_ns);
    }
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(c->epoll_fd, events, MAX_EVENTS, is_due ? 0 : -1);
    c->wake_ns = qw_clock_ns();
    if (n < 0 && errno != EINTR)
        return qw_fail(err, QW_ERR_IO, "cannot wait for sockets: %s", strerror(errno));
    for (int i = 0; i < n && st == QW_OK; i++) st = act_on(c, &events[i], err);
    return st;
}

// Requests

// A proxy of the environment is for other hosts than this one.
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"127.", "localhost", "[::1]", "0.0.0.0"};
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    for (size_t i = 0; i < QW_ARRAY_LEN(hosts); i++)
        if (strncmp(host, hosts[i], strlen(hosts[i])) == 0) return true;
    return false;
}

static void set_common(CURL *easy, const char *url, bool is_insecure)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (is_loopback(url)) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (is_insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static transfer *new_transfer(qw_load_client *c)
{
    transfer *t = qw_mem_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->easy = curl_easy_init();
    if (!t->easy) {
        qw_mem_free(t);
        return NULL;
    }
    t->client = c;
    t->all = c->all;
    c->all = t;
    qw_buf_init(&t->error_body, MAX_ERROR_BODY);
    set_common(t->easy, c->target->url, c->target->is_insecure);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->message);
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    return t;
}

// The common headers and the request's own in front.
static bool set_headers(transfer *t)
{
    const qw_load_client *c = t->client;
    char text[256];
    snprintf(text, sizeof text, "x-request-id: %s%zu", c->target->request_id_prefix, t->i);
    curl_slist_free_all(t->headers);
    t->headers = curl_slist_append(NULL, text);
    for (const struct curl_slist *h = c->common; h && t->headers; h = h->next) {
        struct curl_slist *longer = curl_slist_append(t->headers, h->data);
        if (!longer) return false;
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    return t->headers != NULL;
}

qw_status qw_load_client_start(qw_load_client *c, size_t i, char *body, size_t len,
                               qw_load_outcome *outcome, qw_error *err)
{
    transfer *t = c->free ? c->free : new_transfer(c);
    if (t) {
        if (t == c->free) c->free = t->next;
        t->i = i;
        t->body = body;
        t->outcome = outcome;
        t->status = 0;
        t->reason[0] = t->message[0] = '\0';
        t->failure.code = QW_OK;
        qw_buf_clear(&t->error_body);
    }
    if (!t || !set_headers(t)) {
        if (!t) qw_mem_free(body);
        return qw_fail_memory(err, sizeof *t, "a request");
    }
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body);
    outcome->start_s = seconds(qw_clock_ns());
    qw_load_stream_init(&t->stream, outcome, c->target->is_chat);
    CURLMcode code = curl_multi_add_handle(c->multi, t->easy);
    if (code != CURLM_OK)
        return qw_fail(err, QW_ERR_IO, "cannot send a request: %s", curl_multi_strerror(code));
    c->n_running++;
    return QW_OK;
}

size_t qw_load_client_n_running(const qw_load_client *c)
{
    return c->n_running;
}

uint64_t qw_load_client_n_events(const qw_load_client *c)
{
    return c->n_events;
}

// The client

static bool add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (!longer) return false;
    *list = longer;
    return true;
}

// One connection for each stream: as many as the system allows.
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static qw_status set_up(qw_load_client *c, qw_error *err)
{
    bool ok = add_header(&c->common, "Content-Type: application/json") &&
              add_header(&c->common, "Expect:"); // none: it would cost a round trip
    for (size_t i = 0; i < c->target->n_headers && ok; i++)
        ok = add_header(&c->common, c->target->headers[i]);
    c->multi = ok ? curl_multi_init() : NULL;
    if (!c->multi) return qw_fail_memory(err, 0, "the HTTP client");
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 1L << 16);
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = c->timer_fd};
    if (c->epoll_fd < 0 || c->timer_fd < 0 ||
        epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->timer_fd, &event) != 0)
        return qw_fail(err, QW_ERR_IO, "cannot wait for sockets: %s", strerror(errno));
    return QW_OK;
}

qw_status qw_load_client_new(qw_load_client **out, const qw_load_target *target,
                             qw_load_done_fn *done, void *ctx, qw_error *err)
{
    qw_load_client *c = qw_mem_calloc(1, sizeof *c);
    if (!c) return qw_fail_memory(err, sizeof *c, "the HTTP client");
    c->target = target;
    c->done = done;
    c->ctx = ctx;
    c->epoll_fd = c->timer_fd = -1;
    c->curl_due_ns = c->timer_ns = INT64_MAX;
    raise_file_limit();
    qw_status st = set_up(c, err);
    if (st == QW_OK)
        *out = c;
    else
        qw_load_client_free(c);
    return st;
}

void qw_load_client_free(qw_load_client *c)
{
    if (!c) return;
    while (c->all) {
        transfer *t = c->all;
        c->all = t->all;
        curl_multi_remove_handle(c->multi, t->easy);
        if (t->body) qw_load_stream_release(&t->stream);
        curl_easy_cleanup(t->easy);
        curl_slist_free_all(t->headers);
        qw_buf_release(&t->error_body);
        qw_mem_free(t->body);
        qw_mem_free(t);
    }
    if (c->multi) curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->common);
    if (c->epoll_fd >= 0) close(c->epoll_fd);
    if (c->timer_fd >= 0) close(c->timer_fd);
    qw_mem_free(c);
}

// A single answer

static size_t keep_body(char *data, size_t size, size_t n, void *ctx)
{
    qw_buf_append(ctx, data, size * n);
    return ((qw_buf *)ctx)->failed ? CURL_WRITEFUNC_ERROR : size * n;
}

qw_status qw_load_get(qw_buf *out, int *status, const char *url, const qw_load_target *target,
                      qw_error *err)
{
    CURL *easy = curl_easy_init();
    if (!easy) return qw_fail_memory(err, 0, "the HTTP client");
    char message[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    set_common(easy, url, target && target->is_insecure);
    for (size_t i = 0; target && i < target->n_headers; i++)
        (void)add_header(&headers, target->headers[i]);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
    CURLcode code = curl_easy_perform(easy);
    long http_status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http_status);
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return qw_fail(err, QW_ERR_IO, "cannot reach '%s': %s", url,
                       message[0] ? message : curl_easy_strerror(code));
    *status = (int)http_status;
    return QW_OK;
}
