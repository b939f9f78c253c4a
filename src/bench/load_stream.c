#include "bench/load_stream.h"

#include "format/json.h"

void qw_load_stream_init(qw_load_stream *s, qw_load_outcome *outcome, bool is_chat)
{
    *s = (qw_load_stream){.outcome = outcome, .is_chat = is_chat, .last_s = outcome->start_s};
    qw_buf_init(&s->line, QW_LOAD_MAX_LINE);
    qw_buf_init(&s->text, QW_LOAD_MAX_TEXT);
}

void qw_load_stream_release(qw_load_stream *s)
{
    qw_buf_release(&s->line);
    qw_buf_release(&s->text);
}

// An event with choices: the first one, or one more gap.
static qw_status add_event(qw_load_stream *s, const json_t *choice, double now_s, qw_error *err)
{
    qw_load_outcome *o = s->outcome;
    const json_t *holder = s->is_chat ? json_object_get(choice, "delta") : choice;
    qw_str text = qw_json_str(json_object_get(holder, s->is_chat ? "content" : "text"));
    qw_status st = QW_OK;
    if (o->has_first)
        st = qw_load_outcome_add_gap(o, now_s - s->last_s, err);
    else
        o->ttft_s = now_s - o->start_s;
    o->has_first = true;
    s->last_s = now_s;
    if (text.ptr) qw_buf_append(&s->text, text.ptr, text.len);
    return st;
}

static void add_usage(qw_load_stream *s, const json_t *usage, double now_s)
{
    s->outcome->output_tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
    s->outcome->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
    if (s->is_chat) s->last_s = now_s;
}

static qw_status read_error(const json_t *error, qw_error *err)
{
    qw_str text = qw_json_str(json_is_string(error) ? error : json_object_get(error, "message"));
    return qw_fail(err, QW_ERR_DEVICE, "the stream ended with an error: %.*s",
                   (int)(text.len > 300 ? 300 : text.len), text.ptr ? text.ptr : "");
}

static qw_status read_event(qw_load_stream *s, qw_str data, double now_s, qw_error *err)
{
    if (qw_str_is(data, "[DONE]")) {
        s->is_done = true;
        return QW_OK;
    }
    json_t *event;
    qw_status st = qw_json_parse(&event, data.ptr, data.len, "an event of the answer", err);
    if (st != QW_OK) return st;
    const json_t *choices = json_object_get(event, "choices");
    const json_t *usage = json_object_get(event, "usage");
    const json_t *error = json_object_get(event, "error");
    if (json_array_size(choices) > 0) {
        st = add_event(s, json_array_get(choices, 0), now_s, err);
        s->n_events++;
    } else if (json_is_object(usage)) {
        add_usage(s, usage, now_s);
        s->n_events++;
    } else if (error && !json_is_null(error)) {
        st = read_error(error, err);
    }
    json_decref(event);
    return st;
}

// A line without its end. Comments (":") and other fields of an event are passed over.
static qw_status read_line(qw_load_stream *s, qw_str line, double now_s, qw_error *err)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
    if (!qw_str_starts_with(line, QW_STR("data:"))) return QW_OK;
    size_t skip = line.len > 5 && line.ptr[5] == ' ' ? 6 : 5;
    return read_event(s, (qw_str){line.ptr + skip, line.len - skip}, now_s, err);
}

qw_status qw_load_stream_feed(qw_load_stream *s, const char *data, size_t len, double now_s,
                              qw_error *err)
{
    qw_status st = QW_OK;
    while (len > 0 && st == QW_OK) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        if (!end || s->line.len > 0) {
            qw_buf_append(&s->line, data, n);
            st = qw_buf_check(&s->line, "an event of the answer", err);
        }
        if (end && st == QW_OK) {
            qw_str line = s->line.len > 0 ? (qw_str){s->line.data, s->line.len} : (qw_str){data, n};
            st = read_line(s, line, now_s, err);
            s->line.len = 0;
        }
        n += end ? 1 : 0;
        data += n;
        len -= n;
    }
    return st;
}

void qw_load_stream_finish(qw_load_stream *s)
{
    qw_load_outcome *o = s->outcome;
    o->latency_s = s->last_s - o->start_s;
    o->text = qw_buf_take(&s->text, NULL);
    o->is_ok = o->has_first && !o->error;
    if (!o->has_first)
        qw_load_outcome_fail(o, "Never received a valid chunk to calculate TTFT. This response "
                                "will be marked as failed!");
}
