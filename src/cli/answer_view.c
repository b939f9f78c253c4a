#include "cli/answer_view.h"

enum { MAX_TEXT = 1 << 28 };

static const char dim[] = "\033[2m", normal[] = "\033[0m";

void qw_answer_view_begin(qw_answer_view *v, FILE *out, bool is_styled, bool is_folded,
                          bool starts_thinking)
{
    *v = (qw_answer_view){.out = out,
                          .is_styled = is_styled,
                          .is_folded = is_folded,
                          .is_thinking = starts_thinking,
                          .at_content_start = true};
    qw_buf_init(&v->thinking, MAX_TEXT);
    qw_buf_init(&v->content, MAX_TEXT);
    qw_buf_init(&v->pending, 64);
    if (starts_thinking && is_styled && !is_folded) fputs(dim, out);
}

void qw_answer_view_release(qw_answer_view *v)
{
    qw_buf_release(&v->thinking);
    qw_buf_release(&v->content);
    qw_buf_release(&v->pending);
}

static void emit(qw_answer_view *v, const char *text, size_t len)
{
    if (len == 0) return;
    if (v->is_thinking) {
        qw_buf_append(&v->thinking, text, len);
        if (!v->is_folded)
            fwrite(text, 1, len, v->out);
        else if (!v->has_shown_fold)
            fputs("(thinking ...)", v->out);
        v->has_shown_fold = true;
        return;
    }
    // Blank lines between thinking and content belong to neither.
    while (v->at_content_start && len > 0 && *text == '\n') text++, len--;
    if (len == 0) return;
    v->at_content_start = false;
    qw_buf_append(&v->content, text, len);
    fwrite(text, 1, len, v->out);
}

// Pass over a tag: switch parts. Without styles the tags themselves mark the thinking.
static void switch_part(qw_answer_view *v, bool thinking)
{
    v->is_thinking = thinking;
    if (v->is_folded) {
        if (!thinking && v->has_shown_fold) fputc('\n', v->out);
        return;
    }
    if (v->is_styled)
        fputs(thinking ? dim : normal, v->out);
    else
        fputs(thinking ? "<think>" : "</think>", v->out);
    if (!thinking) fputs("\n\n", v->out);
}

void qw_answer_view_add(qw_answer_view *v, qw_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        const char *tag = v->is_thinking ? "</think>" : "<think>";
        qw_buf_putc(&v->pending, text.ptr[i]);
        // Give out what can no longer become the tag.
        while (v->pending.len > 0 && strncmp(v->pending.data, tag, v->pending.len) != 0) {
            emit(v, v->pending.data, 1);
            memmove(v->pending.data, v->pending.data + 1, v->pending.len);
            v->pending.len--;
        }
        if (v->pending.len == strlen(tag)) {
            qw_buf_clear(&v->pending);
            switch_part(v, !v->is_thinking);
        }
    }
    fflush(v->out);
}

void qw_answer_view_end(qw_answer_view *v)
{
    emit(v, v->pending.data, v->pending.len);
    qw_buf_clear(&v->pending);
    if (v->is_thinking && v->is_styled && !v->is_folded) fputs(normal, v->out);
    fputc('\n', v->out);
    fflush(v->out);
}
