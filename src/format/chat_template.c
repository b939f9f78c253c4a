// The template interpreter's entry points. The work is done by
//
//   lexer, parser, parse_expr      text -> tokens -> tree
//   exec, loop, eval               statements, loops, expressions
//   value, print, access           containers, text forms, attributes and arguments
//   operators, format, strings     arithmetic, "%" and str.format, what string built-ins share
//   filters, select, tests,        the built-ins
//   methods, globals
//   run                            limits and memory of one rendering
//   content                        what a template expects as message content
//   text                           Python's view of Unicode text
//
// each in jinja_<name>.c.

#include "format/chat_template.h"

#include "base/mem.h"
#include "format/jinja_internal.h"

const qw_chat_template_options qw_chat_template_defaults = {
    .max_output = (size_t)64 << 20,
    .max_memory = (size_t)256 << 20,
    .max_steps = 10000000,
    .max_calls = 200,
};

// "\r\n" and "\r" become "\n", and one newline at the end goes.
static qw_str normalize_newlines(char *copy, qw_str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\r') {
            copy[n++] = '\n';
            if (i + 1 < text.len && text.ptr[i + 1] == '\n') i++;
        } else {
            copy[n++] = text.ptr[i];
        }
    }
    if (n > 0 && copy[n - 1] == '\n') n--;
    return (qw_str){copy, n};
}

static qw_status parse_into(qw_chat_template *t, qw_str text, const char *name, qw_error *err)
{
    char *given = qw_arena_strndup(&t->arena, text.ptr, text.len);
    char *copy = qw_arena_strndup(&t->arena, text.ptr, text.len);
    t->name = qw_arena_strndup(&t->arena, name, strlen(name));
    if (!given || !copy || !t->name) return qw_fail_memory(err, text.len, "a chat template");
    if (!qw_utf8_is_valid(text)) return qw_fail(err, QW_ERR_FORMAT, "the text is no valid UTF-8");
    t->given = (qw_str){given, text.len};
    t->source = normalize_newlines(copy, text);
    qw_status st = qw_jinja_parse(t, err);
    return st == QW_OK ? qw_jinja_find_content_loops(t, err) : st;
}

qw_status qw_chat_template_parse(qw_chat_template **out, const char *text, size_t len,
                                 const char *name, qw_error *err)
{
    qw_chat_template *t = qw_mem_calloc(1, sizeof *t);
    if (!t) return qw_fail_memory(err, sizeof *t, "a chat template");
    qw_arena_init(&t->arena, 32 << 10);
    qw_status st = parse_into(t, (qw_str){len ? text : "", len}, name, err);
    if (st != QW_OK) {
        qw_chat_template_free(t);
        return qw_context(err, st, "chat template '%s'", name);
    }
    *out = t;
    return QW_OK;
}

void qw_chat_template_free(qw_chat_template *t)
{
    if (!t) return;
    qw_arena_release(&t->arena);
    qw_mem_free(t);
}

qw_str qw_chat_template_text(const qw_chat_template *t)
{
    return t->given;
}

bool qw_chat_template_wants_parts(const qw_chat_template *t)
{
    return t->wants_parts;
}

static qw_status run_template(qw_jinja_run *r)
{
    r->scope = qw_jinja_alloc(r, 1, sizeof *r->scope);
    r->context_cache = qw_jinja_alloc(r, r->tmpl->n_names, sizeof *r->context_cache);
    if (!r->scope || !r->context_cache) return qw_jinja_failure(r);
    QW_JINJA_TRY(qw_jinja_exec(r, r->tmpl->body));
    return qw_jinja_check_output(r);
}

qw_status qw_chat_template_render(const qw_chat_template *t, const json_t *context, qw_buf *out,
                                  const qw_chat_template_options *options, qw_error *err)
{
    qw_error local = {0};
    qw_jinja_run r = {
        .tmpl = t,
        .context = context,
        .opt = options ? options : &qw_chat_template_defaults,
        .line = 1,
        .err = err ? err : &local,
    };
    qw_arena_init(&r.arena, 32 << 10);
    qw_buf_init(&r.out, r.opt->max_output);
    qw_status st = run_template(&r);
    if (st == QW_OK) {
        size_t len_before = out->len;
        qw_buf_append(out, r.out.data, r.out.len);
        st = qw_buf_check(out, "the rendered prompt", err);
        if (st != QW_OK) {
            out->failed = QW_OK;
            out->len = len_before;
        }
    } else {
        st = qw_context(err, st, "chat template '%s'", t->name);
    }
    qw_buf_release(&r.out);
    qw_arena_release(&r.arena);
    return st;
}
