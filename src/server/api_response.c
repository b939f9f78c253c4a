#include "server/api_response.h"

#include "base/mem.h"
#include "server/api_response_internal.h"

enum { MAX_TEXT = 1 << 30 };

// ---- lifetime

// A choice costs memory for its lists only when something is put into them.
static qw_status init_choice(qw_api_response *r, size_t i, qw_error *err)
{
    const qw_api_request *req = r->req;
    qw_choice *c = &r->choices[i];
    const qw_api_prompt *prompt = r->parts[i / r->n_children].prompt;
    c->stop_id = -1;
    qw_buf_init(&c->chat_logprobs, MAX_TEXT);
    qw_logprob_lists_init(&c->lists);
    qw_reasoning_init(&c->reasoning, &r->cfg->reasoning,
                      qw_response_divides(r) ? prompt->thinking : QW_REASONING_CONTENT);
    if (req->tool_form != QW_TOOL_FORM_NONE) {
        qw_status st =
            qw_tool_calls_new(&c->tools, req->tool_form, req->tools, req->max_tool_calls, err);
        if (st != QW_OK) return st;
    }
    if (!r->tokenizer) return QW_OK;
    return qw_output_init(&c->output, r->tokenizer, &req->params, prompt->ids.data, prompt->ids.len,
                          err);
}

// Who speaks, and what of the last message is repeated.
static void choose_role(qw_api_response *r)
{
    const qw_api_request *req = r->req;
    const json_t *last = json_array_get(req->messages, json_array_size(req->messages) - 1);
    r->role = qw_str_of(r->cfg->response_role);
    if (!req->add_generation_prompt) r->role = qw_json_str(json_object_get(last, "role"));
    if (!req->echo || !qw_str_eq(qw_json_str(json_object_get(last, "role")), r->role)) return;
    const json_t *content = json_object_get(last, "content");
    if (json_is_string(content) && json_string_length(content) > 0) r->echo = qw_json_str(content);
}

static void write_head(qw_api_response *r)
{
    qw_buf *b = &r->head;
    QW_PUT(b, "data: {\"id\":");
    qw_json_write_string(b, qw_str_of(r->req->id));
    if (r->req->kind == QW_API_CHAT)
        QW_PUT(b, ",\"object\":\"chat.completion.chunk\",\"created\":");
    else
        QW_PUT(b, ",\"object\":\"text_completion\",\"created\":");
    qw_api_write_int(b, r->created);
    QW_PUT(b, ",\"model\":");
    qw_json_write_string(b, qw_str_of(r->cfg->served_names[0]));
    QW_PUT(b, ",\"choices\":[");
}

static qw_logprobs_style style_of(const qw_api_response *r, int64_t n_top)
{
    return (qw_logprobs_style){r->tokenizer, r->req->return_tokens_as_token_ids, n_top};
}

static bool echoes_logprobs(const qw_api_response *r)
{
    return r->req->kind == QW_API_COMPLETION && r->req->echo && r->req->logprobs;
}

static void init_parts(qw_api_response *r, const qw_api_prompt *prompts)
{
    qw_logprobs_style style = style_of(r, 0);
    for (size_t i = 0; i < r->n_prompts; i++) {
        r->parts[i].prompt = &prompts[i];
        qw_buf_init(&r->parts[i].logprobs, MAX_TEXT);
        qw_logprob_lists_init(&r->parts[i].lists);
        // Nothing is known about the first token of a prompt.
        if (echoes_logprobs(r))
            qw_logprob_lists_add(&r->parts[i].lists, &style, prompts[i].ids.data[0], NULL, 0);
    }
    qw_buf_init(&r->head, MAX_TEXT);
    qw_buf_init(&r->reasoning, MAX_TEXT);
    qw_buf_init(&r->content, MAX_TEXT);
    qw_buf_init(&r->divided, MAX_TEXT);
    qw_buf_init(&r->items.text, MAX_TEXT);
    qw_buf_init(&r->items.done, MAX_TEXT);
}

qw_status qw_api_response_new(qw_api_response **out, const qw_api_config *cfg,
                              const qw_api_request *req, const qw_api_prompt *prompts,
                              int64_t created, qw_api_error *err)
{
    qw_error why;
    qw_status st = QW_OK;
    qw_api_response *r = qw_mem_calloc(1, sizeof *r);
    if (!r) return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "out of memory for an answer");
    *r = (qw_api_response){
        .cfg = cfg,
        .req = req,
        .tokenizer = cfg->frontend->tokenizer,
        .created = created,
        .n_prompts = req->n_prompts,
        .n_children = (size_t)req->params.n,
        .form = qw_item_form_of(req),
    };
    // Bounded when the request was read.
    r->n_choices = r->n_unfinished = r->n_prompts * r->n_children;
    r->parts = qw_mem_calloc(r->n_prompts, sizeof *r->parts);
    r->choices = qw_mem_calloc(r->n_choices, sizeof *r->choices);
    r->dirty = qw_mem_calloc(r->n_choices, sizeof *r->dirty);
    if (r->parts && r->choices && r->dirty) {
        init_parts(r, prompts);
        if (req->kind == QW_API_CHAT) choose_role(r);
        if (req->stream) write_head(r);
        st = qw_buf_check(&r->head, "an answer", &why);
        for (size_t i = 0; i < r->n_choices && st == QW_OK; i++) st = init_choice(r, i, &why);
    } else {
        st = qw_fail_memory(&why, r->n_choices * sizeof *r->choices, "an answer");
    }
    if (st != QW_OK) {
        qw_api_response_free(r);
        return qw_api_fail_with(err, st, &why, NULL);
    }
    *out = r;
    return QW_OK;
}

void qw_api_response_free(qw_api_response *r)
{
    if (!r) return;
    for (size_t i = 0; r->choices && i < r->n_choices; i++) {
        qw_choice *c = &r->choices[i];
        if (r->tokenizer) qw_output_release(&c->output);
        qw_tool_calls_free(c->tools);
        qw_ids_release(&c->ids);
        qw_buf_release(&c->chat_logprobs);
        qw_logprob_lists_release(&c->lists);
    }
    for (size_t i = 0; r->parts && i < r->n_prompts; i++) {
        qw_buf_release(&r->parts[i].logprobs);
        qw_logprob_lists_release(&r->parts[i].lists);
    }
    qw_buf_release(&r->head);
    qw_buf_release(&r->reasoning);
    qw_buf_release(&r->content);
    qw_buf_release(&r->divided);
    qw_buf_release(&r->items.text);
    qw_buf_release(&r->items.done);
    qw_mem_free(r->parts);
    qw_mem_free(r->choices);
    qw_mem_free(r->dirty);
    qw_mem_free(r);
}

// ---- what comes in

static void end_choice(qw_api_response *r, qw_choice *c, qw_finish_reason finish)
{
    if (c->finish != QW_FINISH_NONE) return;
    c->finish = finish;
    r->n_unfinished--;
}

static void mark_dirty(qw_api_response *r, qw_choice *c)
{
    if (c->is_dirty) return;
    c->is_dirty = true;
    r->dirty[r->n_dirty++] = (uint32_t)(c - r->choices);
}

static qw_status add_logprobs(qw_api_response *r, qw_choice *c, const qw_token_event *event,
                              qw_error *err)
{
    if (!r->req->logprobs || event->n_logprobs == 0) return QW_OK;
    qw_logprobs_style style = style_of(r, r->req->params.logprobs);
    if (r->req->kind == QW_API_COMPLETION) {
        qw_logprob_lists_add(&c->lists, &style, event->id, event->logprobs, event->n_logprobs);
        return qw_logprob_lists_check(&c->lists, err);
    }
    if (c->chat_logprobs.len) qw_buf_putc(&c->chat_logprobs, ',');
    qw_api_write_chat_logprob(&c->chat_logprobs, &style, event->logprobs, event->n_logprobs);
    return qw_buf_check(&c->chat_logprobs, "the log-probabilities", err);
}

// A token of a choice that still grows.
static qw_status add_token(qw_api_response *r, qw_choice *c, const qw_token_event *event,
                           bool *stopped, qw_error *err)
{
    qw_status st = QW_OK;
    c->n_tokens++;
    c->n_pending++;
    if (r->req->return_token_ids) st = qw_ids_push(&c->ids, event->id, err);
    if (st == QW_OK) st = add_logprobs(r, c, event, err);
    if (st != QW_OK || !r->tokenizer) return st;
    st = qw_output_push(&c->output, event->id, event->finish == QW_FINISH_STOP, stopped, err);
    if (st == QW_OK && qw_response_divides(r))
        qw_reasoning_token(&c->reasoning, event->id, qw_buf_text(&c->output.text));
    return st;
}

qw_status qw_api_response_push(qw_api_response *r, size_t i_prompt, const qw_token_event *event,
                               bool *withdraw, qw_api_error *err)
{
    qw_error why;
    *withdraw = false;
    if (event->error) return qw_api_fail_with(err, event->error->code, event->error, NULL);
    QW_ASSERT(i_prompt < r->n_prompts && (size_t)event->child < r->n_children);
    qw_choice *c = &r->choices[i_prompt * r->n_children + (size_t)event->child];
    if (c->finish != QW_FINISH_NONE) return QW_OK; // surplus, computed before the stop was known
    mark_dirty(r, c);
    if (echoes_logprobs(r) && c->lists.n == 0 && c->n_tokens == 0)
        qw_logprob_lists_begin_with(&c->lists, &r->parts[i_prompt].lists);
    if (r->req->prompt_only) {
        end_choice(r, c, event->finish == QW_FINISH_ABORT ? QW_FINISH_ABORT : QW_FINISH_LENGTH);
        return QW_OK;
    }
    bool stopped = false;
    if (event->id >= 0) {
        qw_status st = add_token(r, c, event, &stopped, &why);
        if (st != QW_OK) return qw_api_fail_with(err, st, &why, NULL);
    }
    if (stopped) {
        *withdraw = event->finish == QW_FINISH_NONE;
        end_choice(r, c, QW_FINISH_STOP);
    } else if (event->finish != QW_FINISH_NONE) {
        c->stop_id = event->stop_id;
        end_choice(r, c, event->finish);
    }
    return QW_OK;
}

qw_status qw_api_response_prompt_logprobs(qw_api_response *r, size_t i_prompt, int32_t position,
                                          const qw_logprob *logprobs, size_t n, qw_api_error *err)
{
    qw_error why;
    QW_ASSERT(i_prompt < r->n_prompts && position >= 1);
    qw_prompt_part *part = &r->parts[i_prompt];
    qw_status st = QW_OK;
    if (n == 0) return QW_OK;
    if (r->req->prompt_logprobs) {
        qw_buf_putc(&part->logprobs, ',');
        qw_api_write_prompt_logprob(&part->logprobs, r->tokenizer, logprobs, n);
        st = qw_buf_check(&part->logprobs, "the log-probabilities", &why);
    }
    if (st == QW_OK && echoes_logprobs(r)) {
        qw_logprobs_style style = style_of(r, r->req->params.logprobs);
        qw_logprob_lists_add(&part->lists, &style, logprobs[0].id, logprobs, n);
        st = qw_logprob_lists_check(&part->lists, &why);
    }
    return st == QW_OK ? QW_OK : qw_api_fail_with(err, st, &why, NULL);
}

void qw_api_response_set_cached(qw_api_response *r, size_t i_prompt, int32_t n_cached)
{
    r->parts[i_prompt].n_cached = n_cached;
}

// ---- what is known

bool qw_api_response_is_done(const qw_api_response *r)
{
    return r->n_unfinished == 0;
}

bool qw_api_response_has_started(const qw_api_response *r)
{
    return r->has_started;
}

qw_finish_reason qw_api_response_finish(const qw_api_response *r, size_t i)
{
    return r->choices[i].finish;
}

qw_api_usage qw_response_choice_usage(const qw_api_response *r, size_t i)
{
    const qw_choice *c = &r->choices[i];
    const qw_prompt_part *part = &r->parts[i / r->n_children];
    return (qw_api_usage){(int64_t)part->prompt->ids.len, c->n_tokens, part->n_cached,
                          c->reasoning.n_reasoning_tokens};
}

qw_api_usage qw_api_response_usage(const qw_api_response *r)
{
    qw_api_usage sum = {0};
    for (size_t i = 0; i < r->n_prompts; i++) {
        sum.prompt_tokens += (int64_t)r->parts[i].prompt->ids.len;
        sum.cached_tokens += r->parts[i].n_cached;
    }
    for (size_t i = 0; i < r->n_choices; i++) {
        sum.completion_tokens += r->choices[i].n_tokens;
        sum.reasoning_tokens += r->choices[i].reasoning.n_reasoning_tokens;
    }
    return sum;
}

// ---- what goes out

size_t qw_response_n_calls(const qw_api_response *r, const qw_choice *c)
{
    if (!c->tools || (!r->req->stream && qw_tool_calls_is_broken(c->tools))) return 0;
    return qw_tool_calls_count(c->tools);
}

// From r->divided to r->content and the choice's calls.
static void take_calls(qw_api_response *r, qw_choice *c)
{
    qw_error why;
    size_t before = r->content.len;
    qw_text_end end = c->finish == QW_FINISH_NONE   ? QW_TEXT_GOES_ON
                      : c->finish == QW_FINISH_STOP ? QW_TEXT_ENDED
                                                    : QW_TEXT_CUT;
    qw_tool_calls_push(c->tools, qw_buf_text(&r->divided), end, &r->content);
    if (qw_tool_calls_check(c->tools, &why) != QW_OK) r->failed = why.code;
    if (r->req->stream || !qw_tool_calls_is_broken(c->tools)) return;
    r->content.len = before;
    qw_buf_append(&r->content, r->divided.data, r->divided.len);
}

void qw_response_take_text(qw_api_response *r, qw_choice *c)
{
    bool last = c->finish != QW_FINISH_NONE;
    qw_buf_clear(&r->reasoning);
    qw_buf_clear(&r->content);
    qw_buf_clear(&r->divided);
    if (r->req->kind == QW_API_COMPLETION && r->req->echo && !c->has_begun) {
        const qw_buf *prompt = &r->parts[(size_t)(c - r->choices) / r->n_children].prompt->text;
        qw_buf_append(&r->content, prompt->data, prompt->len);
    }
    if (r->echo.ptr && !r->req->stream) qw_buf_append(&r->content, r->echo.ptr, r->echo.len);
    if (!r->tokenizer) return;
    qw_str fresh = qw_output_take(&c->output, last);
    qw_buf *content = c->tools ? &r->divided : &r->content;
    if (qw_response_divides(r))
        qw_reasoning_divide(&c->reasoning, fresh, last, &r->reasoning, content);
    else
        qw_buf_append(content, fresh.ptr, fresh.len);
    if (c->tools) take_calls(r, c);
}

void qw_response_write_usage(qw_buf *b, const qw_api_response *r, qw_api_usage usage, bool whole)
{
    QW_PUT(b, "{\"prompt_tokens\":");
    qw_api_write_int(b, usage.prompt_tokens);
    QW_PUT(b, ",\"total_tokens\":");
    qw_api_write_int(b, usage.prompt_tokens + usage.completion_tokens);
    QW_PUT(b, ",\"completion_tokens\":");
    qw_api_write_int(b, usage.completion_tokens);
    if (r->cfg->enable_prompt_tokens_details && usage.cached_tokens > 0) {
        QW_PUT(b, ",\"prompt_tokens_details\":{\"cached_tokens\":");
        qw_api_write_int(b, usage.cached_tokens);
        qw_buf_putc(b, '}');
    } else if (whole) {
        QW_PUT(b, ",\"prompt_tokens_details\":null");
    }
    if (qw_response_divides(r)) {
        QW_PUT(b, ",\"completion_tokens_details\":{\"reasoning_tokens\":");
        qw_api_write_int(b, usage.reasoning_tokens);
        qw_buf_putc(b, '}');
    } else if (whole) {
        QW_PUT(b, ",\"completion_tokens_details\":null");
    }
    qw_buf_putc(b, '}');
}

const char *qw_response_finish_name(const qw_api_response *r, const qw_choice *c)
{
    bool called = qw_response_n_calls(r, c) > 0 && !r->req->tool_is_named;
    if (c->finish == QW_FINISH_STOP && called) return "tool_calls";
    // A limit that cut a call short is told as such.
    if (c->finish == QW_FINISH_LENGTH && called && !qw_tool_calls_is_broken(c->tools))
        return "tool_calls";
    return qw_finish_reason_name(c->finish);
}

void qw_response_write_finish(qw_buf *b, const qw_api_response *r, const qw_choice *c)
{
    const char *name = qw_response_finish_name(r, c);
    qw_api_write_text(b, name ? qw_str_of(name) : (qw_str){NULL, 0});
}

void qw_response_write_stop_reason(qw_buf *b, const qw_choice *c)
{
    if (c->output.params && c->output.i_stop >= 0)
        qw_json_write_string(b, qw_str_of(c->output.params->stop[c->output.i_stop]));
    else if (c->stop_id >= 0)
        qw_api_write_int(b, c->stop_id);
    else
        QW_PUT(b, "null");
}

qw_status qw_api_response_flush(qw_api_response *r, qw_buf *out, qw_api_error *err)
{
    qw_error why;
    size_t before = out->len;
    if (r->is_closed) return QW_OK;
    if (r->form) {
        qw_response_write_items(r, out);
    } else {
        if (r->req->stream) qw_response_write_chunks(r, out);
        if (r->n_unfinished == 0 && r->req->stream) qw_response_write_end(r, out);
        if (r->n_unfinished == 0 && !r->req->stream) qw_response_write_whole(r, out);
    }
    r->is_closed = r->n_unfinished == 0;
    qw_status st = qw_buf_check(out, "an answer", &why);
    if (st == QW_OK) st = qw_buf_check(&r->reasoning, "an answer", &why);
    if (st == QW_OK) st = qw_buf_check(&r->content, "an answer", &why);
    if (st == QW_OK) st = qw_buf_check(&r->divided, "an answer", &why);
    if (st == QW_OK) st = qw_buf_check(&r->items.text, "an answer", &why);
    if (st == QW_OK) st = qw_buf_check(&r->items.done, "an answer", &why);
    if (st == QW_OK && r->failed != QW_OK)
        st = qw_fail(&why, r->failed, "out of memory for the tool calls of an answer");
    if (st != QW_OK) return qw_api_fail_with(err, st, &why, NULL);
    if (out->len > before) r->has_started = true;
    return QW_OK;
}

void qw_api_response_fail(qw_api_response *r, const qw_api_error *why, qw_buf *out)
{
    if (r->is_closed) return;
    if (r->form) {
        r->form->fail(r, why, out);
    } else {
        qw_api_error_write_event(out, why);
        QW_PUT(out, "data: [DONE]\n\n");
    }
    r->has_started = r->is_closed = true;
}
