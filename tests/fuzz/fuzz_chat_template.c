// Any bytes as a chat template, rendered with a context that has something of everything. Limits
// are tight, so that a run stays short; what is looked for is undefined behaviour, leaks, output
// after a failure, and results that differ between two renderings.

#include "base/mem.h"
#include "format/chat_template.h"
#include "format/json.h"
#include "fuzz/fuzz.h"

static const char context_text[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": "
    "\"Hello <b>W\\u00f6rld</b> \\u4f60\\ud83d\\ude00\"}, {\"role\": \"assistant\", \"content\": "
    "\"<think>\\nr\\n</think>\\n\\nA\\n\", \"tool_calls\": [{\"function\": {\"name\": \"f\", "
    "\"arguments\": {\"x\": 1}}}]}, {\"role\": \"tool\", \"content\": [{\"type\": \"text\", "
    "\"text\": \"t\"}]}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
    "\"parameters\": {\"a\": [1, 2.5, null, true]}}}], \"s\": \"Hello World\", \"e\": \"\", \"n\": "
    "5, \"neg\": -7, \"f\": 2.5, \"t\": true, \"fl\": false, \"no\": null, \"l\": [3, 1, 2], "
    "\"ls\": [\"b\", \"a\", \"C\"], \"d\": {\"b\": 2, \"a\": 1, \"items\": \"shadow\", \"c3\": 3, "
    "\"c4\": 4, \"c5\": 5, \"c6\": 6, \"c7\": 7, \"c8\": 8, \"c9\": 9}, \"uni\": "
    "\"h\\u00e9\\u00e9 \\u4f60\\u597d \\u0130\\u00df\\u03a3\", \"nl\": \"a\\nb\\r\\n\\u2028c\", "
    "\"nul\": \"a\\u0000b\", \"recs\": [{\"n\": \"x\", \"v\": 1}, {\"n\": \"y\", \"v\": 3}], "
    "\"eos_token\": \"<|im_end|>\", \"add_generation_prompt\": true}";

static bool is_text(qw_str s)
{
    return qw_utf8_is_valid(s);
}

// Render; the output is valid UTF-8, and empty after a failure, whose sentence is text too.
static qw_status render(const qw_chat_template *t, const json_t *context, qw_buf *out)
{
    static const struct tm now = {.tm_year = 125, .tm_mon = 4, .tm_mday = 17, .tm_wday = 6};
    const qw_chat_template_options options = {.max_output = 1 << 16,
                                              .max_memory = 1 << 20,
                                              .max_steps = 20000,
                                              .max_calls = 50,
                                              .now = &now};
    qw_error err = {0};
    qw_buf_init(out, 1 << 16);
    qw_status st = qw_chat_template_render(t, context, out, &options, &err);
    QW_ASSERT(st == QW_OK ? is_text((qw_str){out->data, out->len}) : out->len == 0);
    QW_ASSERT(is_text(qw_str_of(err.text)));
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *context;
    qw_error err = {0};
    if (!context) {
        qw_json_init();
        if (qw_json_parse(&context, context_text, sizeof context_text - 1, "context", &err))
            abort();
    }
    size_t live = qw_mem_live();
    qw_chat_template *t = NULL;
    qw_buf out, again;
    if (qw_chat_template_parse(&t, (const char *)data, size, "fuzz", &err) == QW_OK) {
        qw_status st = render(t, context, &out);
        QW_ASSERT(render(t, context, &again) == st);
        QW_ASSERT(qw_str_eq((qw_str){out.data, out.len}, (qw_str){again.data, again.len}));
        qw_buf_release(&again);
        qw_buf_release(&out);
        qw_chat_template_free(t);
    }
    QW_ASSERT(is_text(qw_str_of(err.text)));
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}
