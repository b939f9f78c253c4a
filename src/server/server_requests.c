// GET /qwench/requests. What the engine's thread knows of a sequence it tells between two steps, as
// events like any other; those who asked wait for the last of them.

#include "base/mem.h"
#include "format/json.h"
#include "server/server_internal.h"

struct qw_listing {
    qw_pending pending; /* first: what the exchange points to */
    qw_server *server;
    qw_http_exchange *x;
    qw_listing *next;
};

static void on_gone(qw_pending *p)
{
    qw_listing *l = (qw_listing *)p;
    qw_listing **link = &l->server->listings;
    while (*link != l) link = &(*link)->next;
    *link = l->next;
    qw_mem_free(l);
}

void qw_answer_requests(qw_server *s, qw_http_exchange *x)
{
    qw_listing *l = qw_mem_calloc(1, sizeof *l);
    if (!l) {
        qw_http_reply_error(x, 503, "ServiceUnavailableError", NULL,
                            "not enough memory for the request");
        return;
    }
    *l = (qw_listing){{.gone = on_gone}, s, x, s->listings};
    s->listings = l;
    qw_http_set_user(x, &l->pending);
    qw_runner_list(s->runner);
}

static const char *state_name(const qw_request_state *r)
{
    if (!r->id) return "preparing";
    if (!r->is_running) return r->is_preempted ? "preempted" : "waiting";
    return r->n_generated > 0 ? "decode" : "prefill";
}

static void write_request(void *ctx, const qw_request_state *r)
{
    qw_buf *out = ctx;
    if (out->data[out->len - 1] == '}') qw_buf_putc(out, ',');
    qw_buf_puts(out, "{\"id\":");
    if (r->id)
        qw_json_write_string(out, qw_str_of(r->id));
    else
        qw_buf_puts(out, "null");
    qw_buf_printf(out,
                  ",\"state\":\"%s\",\"choices\":%zu,\"prompt_tokens\":%lld,"
                  "\"computed_tokens\":%lld,\"generated_tokens\":%lld,\"kv_blocks\":%lld,"
                  "\"age_seconds\":%.3f}",
                  state_name(r), r->n_choices, (long long)r->n_prompt, (long long)r->n_computed,
                  (long long)r->n_generated, (long long)r->n_blocks, r->age_s);
}

void qw_server_answer_requests(qw_server *s)
{
    if (!s->listings) return;
    qw_engine_stats stats;
    qw_runner_stats(s->runner, &stats);
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 28);
    qw_buf_printf(&out, "{\"object\":\"list\",\"kv_blocks\":%d,\"kv_blocks_used\":%d,\"data\":[",
                  stats.n_blocks, stats.n_blocks_used);
    if (!out.failed) qw_generations_describe(s, write_request, &out);
    qw_buf_puts(&out, "]}");
    while (s->listings) {
        qw_listing *l = s->listings;
        s->listings = l->next;
        qw_buf copy;
        qw_buf_init(&copy, out.max);
        if (out.failed)
            copy.failed = out.failed;
        else
            qw_buf_append(&copy, out.data, out.len);
        qw_http_set_user(l->x, NULL);
        qw_reply_json(l->x, 200, &copy);
        qw_mem_free(l);
    }
    qw_buf_release(&out);
}
