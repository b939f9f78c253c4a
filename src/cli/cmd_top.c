// qwench top: a running server, watched in the terminal.

#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bench/load_client.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/top_screen.h"
#include "cli/top_view.h"
#include "format/json.h"

typedef struct top_options {
    const char *url, *api_key;
    double interval_s;
    bool once, insecure;
} top_options;

#define FIELD(x) offsetof(top_options, x)

static const qw_opt rows[] = {
    {"url", QW_OPT_STR, FIELD(url), .positional = true, .metavar = "URL",
     .def = "http://localhost:8000", .help = "the server, with its root path if it has one"},
    {"api_key", QW_OPT_STR, FIELD(api_key), .env = "OPENAI_API_KEY", .metavar = "KEY",
     .help = "the server's key: it lists its requests only to those who have one"},
    {"interval", QW_OPT_FLOAT, FIELD(interval_s), .def = "2", .min = 0.1, .max = 3600,
     .metavar = "SECONDS", .help = "time between two looks"},
    {"once", QW_OPT_FLAG, FIELD(once),
     .help =
         "print one view, of two looks, as plain text; so it is when the output is no terminal"},
    {"insecure", QW_OPT_FLAG, FIELD(insecure), .help = "do not check the server's certificate"},
};

/** How to ask the server. */
typedef struct source {
    char *metrics_url, *requests_url, *header;
    const char *headers[1];
    qw_load_target target;
} source;

static char *joined(const char *a, const char *b)
{
    qw_buf out;
    qw_buf_init(&out, 1 << 16);
    qw_buf_puts(&out, a);
    qw_buf_puts(&out, b);
    char *text = qw_buf_take(&out, NULL);
    qw_buf_release(&out);
    return text;
}

static qw_status source_init(source *s, const top_options *o, qw_error *err)
{
    *s = (source){0};
    const char *scheme = strstr(o->url, "://") ? "" : "http://";
    char *base = joined(scheme, o->url);
    size_t len = base ? strlen(base) : 0;
    while (len > 0 && base[len - 1] == '/') base[--len] = '\0';
    if (base) {
        s->metrics_url = joined(base, "/metrics");
        s->requests_url = joined(base, "/qwench/requests");
    }
    qw_mem_free(base);
    if (o->api_key) s->header = joined("Authorization: Bearer ", o->api_key);
    if (!s->metrics_url || !s->requests_url || (o->api_key && !s->header))
        return qw_fail_memory(err, 0, "the address of the server");
    s->headers[0] = s->header;
    s->target = (qw_load_target){
        .is_insecure = o->insecure, .headers = s->headers, .n_headers = s->header ? 1 : 0};
    return QW_OK;
}

static void source_release(source *s)
{
    qw_mem_free(s->metrics_url);
    qw_mem_free(s->requests_url);
    qw_mem_free(s->header);
}

// Ask for the list; that there is none says the view's note, and is no failure.
static qw_status look_at_requests(const source *s, qw_top_sample *sample, qw_top_view *v,
                                  qw_error *err)
{
    qw_buf body;
    int status = 0;
    qw_buf_init(&body, (size_t)1 << 26);
    qw_status st = qw_load_get(&body, &status, s->requests_url, &s->target, err);
    if (st == QW_OK && status == 200)
        st = qw_top_sample_requests(sample, body.data ? body.data : "", body.len, err);
    else if (st == QW_OK)
        snprintf(v->requests_note, sizeof v->requests_note,
                 status == 401   ? "the server lists its requests only for its key: --api-key KEY"
                 : status == 404 ? "this server does not list its requests"
                                 : "no list of requests: the server answers %d",
                 status);
    qw_buf_release(&body);
    return st;
}

static qw_status look(const source *s, qw_top_view *v, qw_error *err)
{
    qw_buf body;
    int status = 0;
    qw_buf_init(&body, (size_t)1 << 26);
    qw_top_sample sample = {0};
    qw_status st = qw_load_get(&body, &status, s->metrics_url, &s->target, err);
    if (st == QW_OK && status != 200)
        st = qw_fail(err, QW_ERR_IO, "'%s' answers %d; is this the address of a server?",
                     s->metrics_url, status);
    if (st == QW_OK) {
        qw_top_sample_metrics(&sample, (qw_str){body.data ? body.data : "", body.len});
        st = look_at_requests(s, &sample, v, err);
    }
    sample.time_ns = qw_clock_ns();
    if (st == QW_OK) qw_top_view_add(v, &sample);
    qw_top_sample_release(&sample);
    qw_buf_release(&body);
    return st;
}

// Plain: two looks, so that there are rates, and their view.
static qw_status show_once(const source *s, qw_top_view *v, qw_error *err)
{
    qw_status st = look(s, v, err);
    if (st != QW_OK) return st;
    (void)poll(NULL, 0, (int)(v->interval_s * 1e3));
    st = look(s, v, err);
    if (st != QW_OK) return st;
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 26);
    qw_top_view_write(v, 0, 0, &out);
    st = qw_buf_check(&out, "the view", err);
    for (const char *p = out.data; st == QW_OK && p && *p;) {
        size_t len = strcspn(p, "\n") + 1;
        fwrite(p + 1, 1, len - 1, stdout);
        p += len;
    }
    qw_buf_release(&out);
    return st;
}

static bool take_key(qw_top_view *v, qw_top_key key)
{
    switch (key) {
    case QW_TOP_QUIT: return false;
    case QW_TOP_PAUSE: v->is_paused = !v->is_paused; break;
    case QW_TOP_SORT: v->sort = (qw_top_sort)((v->sort + 1) % QW_TOP_N_SORTS); break;
    case QW_TOP_UP: v->first -= v->first > 0; break;
    case QW_TOP_DOWN: v->first++; break;
    case QW_TOP_FASTER: v->interval_s = v->interval_s > 0.2 ? v->interval_s / 2 : 0.1; break;
    case QW_TOP_SLOWER: v->interval_s = v->interval_s < 1800 ? v->interval_s * 2 : 3600; break;
    case QW_TOP_NOTHING: break;
    }
    return true;
}

static qw_status show_live(const source *s, qw_top_view *v, qw_error *err)
{
    // A server that cannot be reached is told before the screen is taken.
    qw_status st = look(s, v, err);
    if (st != QW_OK) return st;
    st = qw_top_screen_open(err);
    int64_t due = qw_clock_ns();
    for (bool goes_on = st == QW_OK; goes_on && st == QW_OK;) {
        int64_t now = qw_clock_ns();
        if (now >= due && !v->is_paused) {
            qw_error why;
            v->note[0] = '\0';
            if (look(s, v, &why) != QW_OK) snprintf(v->note, sizeof v->note, "%s", why.text);
            now = qw_clock_ns();
            due = now + (int64_t)(v->interval_s * 1e9);
        }
        st = qw_top_screen_draw(v, err);
        int wait_ms = v->is_paused ? 1000 : (int)((due - now) / 1000000) + 1;
        double before = v->interval_s;
        if (st == QW_OK) goes_on = take_key(v, qw_top_screen_key(wait_ms));
        if (v->interval_s < before) due = qw_clock_ns();
    }
    qw_top_screen_close();
    return st;
}

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term &&
           strcmp(term, "dumb") != 0;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    return 1;
}

static int cmd_top(const qw_command_call *call)
{
    top_options options = {0};
    void *const targets[] = {&options};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    source s;
    qw_json_init();
    qw_top_view *v = qw_mem_calloc(1, sizeof *v);
    qw_status st = source_init(&s, &options, &err);
    if (st == QW_OK && !v) st = qw_fail_memory(&err, sizeof *v, "the view");
    if (st == QW_OK) {
        v->url = options.url;
        v->interval_s = options.interval_s;
        st = options.once || !is_terminal() ? show_once(&s, v, &err) : show_live(&s, v, &err);
        qw_top_view_release(v);
    }
    status =
        st == QW_OK ? qw_cli_flush_stdout(call->name) : qw_cli_fail(call->name, st, &err, NULL);
    qw_mem_free(v);
    source_release(&s);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench top", "watch the server on this machine"},
    {"qwench top https://gpu7:8443 --api-key \"$KEY\"", "another one, with its key"},
    {"qwench top --once --interval 10", "print the numbers of ten seconds"},
    {0},
};

const qw_command qw_cmd_top = {
    .name = "top",
    .help = "watch a running server in the terminal",
    .summary = "Shows what a server does: speed, requests, KV cache, times to tokens.",
    .description =
        "Reads /metrics, of this server or of vLLM's, and /qwench/requests, which needs the "
        "server's key if it has one. Keys: q quits, p pauses, s sorts the requests by age, "
        "tokens, blocks or state, the arrows scroll, + and - change how often it looks. "
        "Percentiles are estimated from the server's histograms over the last 30 looks.",
    .examples = examples,
    .run = cmd_top,
    .tables = tables,
};
