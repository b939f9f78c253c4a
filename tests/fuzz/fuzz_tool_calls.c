// Bytes as what a model says: calls that are whole are JSON, and the pieces do not matter. The
// first byte chooses the form and how the text ends, the second the pieces.
#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "server/tool_calls.h"

static json_t *tools;

static const char tools_text[] =
    "[{\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"integer\"},"
    "\"b\":{\"type\":[\"object\",\"array\",\"null\"]},\"c\":{\"anyOf\":[{\"type\":\"number\"},"
    "{\"type\":\"boolean\"}]}}}}}]";

static qw_tool_calls *parse(qw_tool_form form, qw_str text, size_t step, qw_text_end end,
                            qw_buf *content)
{
    qw_error err;
    qw_tool_calls *p;
    QW_ASSERT(qw_tool_calls_new(&p, form, tools, 0, &err) == QW_OK);
    for (size_t at = 0; step > 0 && at < text.len; at += step) {
        size_t n = text.len - at < step ? text.len - at : step;
        qw_tool_calls_push(p, (qw_str){text.ptr + at, n}, QW_TEXT_GOES_ON, content);
    }
    qw_tool_calls_push(p, step > 0 ? QW_STR("") : text, end, content);
    return p;
}

static void check_call(const qw_tool_call *c)
{
    qw_error err;
    qw_buf out;
    QW_ASSERT(c->id[0] && c->name.len > 0);
    qw_buf_init(&out, 1 << 24);
    qw_tool_call_write_arguments(c, &out);
    // Valid UTF-8 is what the scanner does not look at, nor numbers beyond double, equal names,
    // lone surrogates.
    if (c->is_whole && qw_utf8_is_valid((qw_str){c->arguments.data, c->arguments.len})) {
        json_t *v = NULL;
        qw_status st = qw_json_parse_digits(&v, out.data, out.len, "arguments", &err);
        QW_ASSERT(st == QW_OK || strstr(err.text, "duplicate") || strstr(err.text, "surrogate") ||
                  strstr(err.text, "range") || strstr(err.text, "number") ||
                  strstr(err.text, "Unicode") || strstr(err.text, "NUL"));
        json_decref(v);
    }
    qw_buf_release(&out);
}

static bool same(const qw_buf *a, const qw_buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const qw_tool_form forms[] = {QW_TOOL_FORM_HERMES, QW_TOOL_FORM_QWEN3_CODER};
    qw_error err;
    if (!tools) {
        qw_json_init();
        QW_ASSERT(qw_json_parse(&tools, tools_text, strlen(tools_text), "tools", &err) == QW_OK);
    }
    if (size < 2) return 0;
    size_t live = qw_mem_live();
    qw_str text = {(const char *)data + 2, size - 2};
    qw_text_end end = data[0] & 4 ? QW_TEXT_CUT : QW_TEXT_ENDED;
    qw_tool_form form = forms[data[0] & 1];
    qw_buf content[2];
    for (int i = 0; i < 2; i++) qw_buf_init(&content[i], 1 << 24);
    qw_tool_calls *whole = parse(form, text, 0, end, &content[0]);
    qw_tool_calls *cut = parse(form, text, 1 + data[1] % 16, end, &content[1]);
    if (qw_tool_calls_check(whole, &err) == QW_OK) {
        QW_ASSERT(qw_tool_calls_count(whole) == qw_tool_calls_count(cut));
        QW_ASSERT(qw_tool_calls_is_broken(whole) == qw_tool_calls_is_broken(cut));
        QW_ASSERT(same(&content[0], &content[1]));
        for (size_t i = 0; i < qw_tool_calls_count(whole); i++) {
            const qw_tool_call *a = qw_tool_calls_at(whole, i), *b = qw_tool_calls_at(cut, i);
            QW_ASSERT(same(&a->name, &b->name) && same(&a->arguments, &b->arguments));
            QW_ASSERT(a->is_whole == b->is_whole);
            check_call(a);
        }
    }
    qw_tool_calls_free(whole);
    qw_tool_calls_free(cut);
    for (int i = 0; i < 2; i++) qw_buf_release(&content[i]);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}
