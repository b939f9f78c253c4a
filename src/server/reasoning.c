#include "server/reasoning.h"

#define THINK "<think>"
#define END_THINK "</think>"

static int32_t id_of(const qw_tokenizer *tokenizer, const char *text)
{
    int32_t id;
    return tokenizer && qw_tokenizer_id_of(tokenizer, qw_str_of(text), &id) ? id : -1;
}

qw_status qw_reasoning_parser_init(qw_reasoning_parser *p, const char *name,
                                   const qw_tokenizer *tokenizer, qw_str chat_template,
                                   qw_error *err)
{
    if (!name) name = "auto";
    bool is_auto = strcmp(name, "auto") == 0, is_none = strcmp(name, "none") == 0;
    if (!is_auto && !is_none && strcmp(name, "qwen3") != 0 && strcmp(name, "deepseek_r1") != 0)
        return qw_fail(err, QW_ERR_USAGE,
                       "'%.80s' is no reasoning parser; choose auto, qwen3, deepseek_r1 or none",
                       name);
    qw_reasoning_parser n = {
        .is_auto = is_auto,
        .think_id = id_of(tokenizer, THINK),
        .end_think_id = id_of(tokenizer, END_THINK),
        .tool_call_id = id_of(tokenizer, "<tool_call>"),
        .eos_id = tokenizer ? qw_tokenizer_get_info(tokenizer)->eos_id : -1,
        .im_start_id = id_of(tokenizer, "<|im_start|>"),
        .im_end_id = id_of(tokenizer, "<|im_end|>"),
    };
    bool has_tags = n.think_id >= 0 && n.end_think_id >= 0;
    if (!is_auto && !is_none && !has_tags)
        return qw_fail(err, QW_ERR_USAGE,
                       "reasoning parser '%s' needs the tokens " THINK " and " END_THINK
                       ", which this model's vocabulary does not have",
                       name);
    n.is_on = has_tags && !is_none;
    if (is_auto && qw_str_find(chat_template, QW_STR(THINK), 0) == SIZE_MAX) n.is_on = false;
    *p = n;
    return QW_OK;
}

qw_reasoning_state qw_reasoning_start(const qw_reasoning_parser *p, const int32_t *prompt,
                                      size_t n_prompt, qw_thinking_wish wish)
{
    if (!p->is_on || wish == QW_THINKING_OFF) return QW_REASONING_CONTENT;
    // Backwards to the last tag, but not into the last message.
    for (size_t i = n_prompt; i-- > 0;) {
        int32_t id = prompt[i];
        if (id == p->think_id) return QW_REASONING_THINKING;
        if (id == p->end_think_id) return QW_REASONING_CONTENT;
        if (id == p->eos_id || id == p->im_start_id || id == p->im_end_id) break;
    }
    return p->is_auto ? QW_REASONING_UNDECIDED : QW_REASONING_THINKING;
}

void qw_reasoning_init(qw_reasoning *r, const qw_reasoning_parser *parser, qw_reasoning_state start)
{
    *r = (qw_reasoning){
        .parser = parser,
        .told_state = start,
        .state = start,
        .at_start = start != QW_REASONING_CONTENT,
    };
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// ---- over tokens

// Text without a tag settles that an undecided model does not think, unless it may still be white
// space in front of one.
static void tell_text(qw_reasoning *r, qw_str text, size_t end)
{
    for (; r->n_told < end; r->n_told++) {
        if (is_space(text.ptr[r->n_told]) && r->n_told < QW_REASONING_HELD) continue;
        r->told_state = QW_REASONING_CONTENT;
        r->n_told = end;
        return;
    }
}

static void add_mark(qw_reasoning *r, size_t begin, size_t end, int32_t id)
{
    r->marks[r->n_marks++] = (qw_reasoning_mark){begin, end, id};
}

void qw_reasoning_token(qw_reasoning *r, int32_t id, qw_str text)
{
    const qw_reasoning_parser *p = r->parser;
    if (r->told_state == QW_REASONING_CONTENT) return;
    bool is_think = id == p->think_id, is_end = id == p->end_think_id;
    bool is_tool = id == p->tool_call_id && id >= 0;
    // A tag comes out of the detokenizer whole, at the end. It may be hidden as a special token, or
    // cut by a stop string: then it marks a place without text.
    qw_str name = is_think ? QW_STR(THINK) : is_end ? QW_STR(END_THINK) : QW_STR("<tool_call>");
    size_t begin = text.len;
    if ((is_think || is_end || is_tool) && qw_str_ends_with(text, name)) begin -= name.len;

    if (r->told_state == QW_REASONING_UNDECIDED) tell_text(r, text, begin);
    if (r->told_state == QW_REASONING_CONTENT) return;
    r->n_told = text.len;
    if (is_think && !r->saw_think) {
        r->saw_think = true;
        r->told_state = QW_REASONING_THINKING;
        add_mark(r, begin, text.len, id);
    } else if (is_end || is_tool) {
        r->told_state = QW_REASONING_CONTENT;
        add_mark(r, begin, text.len, id);
    } else if (r->told_state == QW_REASONING_THINKING) {
        r->n_reasoning_tokens++;
    }
}

// ---- over text

static void release_held(qw_reasoning *r, qw_buf *to)
{
    qw_buf_append(to, r->held, r->n_held);
    r->n_held = 0;
    r->at_start = false;
}

// Text between marks.
static void divide_text(qw_reasoning *r, qw_str s, qw_buf *reasoning, qw_buf *content)
{
    if (r->at_start) {
        while (s.len > 0 && is_space(*s.ptr) && r->n_held < QW_REASONING_HELD) {
            r->held[r->n_held++] = *s.ptr++;
            s.len--;
        }
        if (s.len == 0) return;
        if (r->state == QW_REASONING_UNDECIDED) r->state = QW_REASONING_CONTENT;
        release_held(r, r->state == QW_REASONING_THINKING ? reasoning : content);
    }
    qw_buf_append(r->state == QW_REASONING_THINKING ? reasoning : content, s.ptr, s.len);
}

static void pass_mark(qw_reasoning *r, qw_buf *reasoning, qw_buf *content)
{
    const qw_reasoning_parser *p = r->parser;
    qw_reasoning_mark mark = r->marks[0];
    r->marks[0] = r->marks[1];
    r->n_marks--;
    if (mark.id == p->think_id) {
        if (r->at_start) r->n_held = 0; // white space in front of <think> says nothing
        r->at_start = false;
        r->state = QW_REASONING_THINKING;
        r->skip_until = mark.end;
    } else if (mark.id == p->end_think_id) {
        release_held(r, reasoning);
        r->state = QW_REASONING_CONTENT;
        r->skip_until = mark.end;
    } else { // <tool_call> is content itself
        release_held(r, r->state == QW_REASONING_THINKING ? reasoning : content);
        r->state = QW_REASONING_CONTENT;
    }
}

void qw_reasoning_divide(qw_reasoning *r, qw_str piece, bool last, qw_buf *reasoning,
                         qw_buf *content)
{
    for (;;) {
        if (r->n_marks > 0 && r->marks[0].begin <= r->n_done) pass_mark(r, reasoning, content);
        if (piece.len == 0) {
            if (r->n_marks > 0 && r->marks[0].begin <= r->n_done) continue;
            break;
        }
        size_t n = piece.len;
        bool skipped = r->n_done < r->skip_until;
        if (skipped && n > r->skip_until - r->n_done) n = r->skip_until - r->n_done;
        if (!skipped && r->n_marks > 0 && n > r->marks[0].begin - r->n_done)
            n = r->marks[0].begin - r->n_done;
        if (!skipped) divide_text(r, (qw_str){piece.ptr, n}, reasoning, content);
        r->n_done += n;
        piece.ptr += n;
        piece.len -= n;
    }
    if (last) release_held(r, r->state == QW_REASONING_THINKING ? reasoning : content);
}
