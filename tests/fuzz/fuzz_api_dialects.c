// Bytes as the body of a call in another dialect: it is refused with a body that is JSON, or goes
// all the way to an answer whose every event is JSON. The first byte chooses the call.
#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "server/api_response.h"
#include "server/api_tokenize.h"

static qw_frontend frontend;
static qw_sampling_params defaults;
static const char *const names[] = {"qwen3"};
static qw_api_config config;

static void set_up(void)
{
    qw_error err;
    qw_json_init();
    QW_ASSERT(qw_frontend_open(&frontend, QW_SOURCE_DIR "/models/tiny", NULL, NULL, NULL, &err) ==
              QW_OK);
    qw_sampling_params_init(&defaults);
    config = (qw_api_config){
        .frontend = &frontend,
        .longest_token = qw_api_longest_token(frontend.tokenizer),
        .served_names = names,
        .n_served_names = 1,
        .model_path = QW_SOURCE_DIR "/models/tiny",
        .max_model_len = 1024,
        .vocab_size = 3968,
        .defaults = &defaults,
        .max_logprobs = 20,
        .max_n = 8,
        .enable_auto_tool_choice = true,
        .response_role = "assistant",
        .stream_interval = 1,
    };
    QW_ASSERT(qw_reasoning_parser_init(&config.reasoning, "auto", frontend.tokenizer,
                                       qw_chat_prompt_template(frontend.chat), &err) == QW_OK);
}

static void check_json(const char *text, size_t len)
{
    qw_error err;
    json_t *v = NULL;
    QW_ASSERT(qw_json_parse_digits(&v, text, len, "answer", &err) == QW_OK);
    json_decref(v);
}

static void check_refusal(const qw_api_error *refusal, qw_api_dialect dialect)
{
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    QW_ASSERT(refusal->text[0]);
    qw_api_error_write_dialect(&b, refusal, dialect);
    check_json(b.data, b.len);
    qw_buf_release(&b);
}

static void check_events(const qw_buf *out)
{
    qw_str all = {out->data, out->len};
    for (size_t at = 0; at < all.len;) {
        size_t end = qw_str_find(all, QW_STR("\n\n"), at),
               line = qw_str_find(all, QW_STR("\n"), at);
        QW_ASSERT(end != SIZE_MAX && line < end && memcmp(all.ptr + at, "event: ", 7) == 0);
        QW_ASSERT(memcmp(all.ptr + line, "\ndata: ", 7) == 0);
        check_json(all.ptr + line + 7, end - line - 7);
        at = end + 2;
    }
}

// The model thinks, says something and calls a tool.
static void answer(qw_api_request *req, const qw_api_prompt *prompt)
{
    static const char says[] =
        "<think>a</think>b<tool_call>{\"name\":\"f\",\"arguments\":{\"c\":1}}";
    qw_api_response *r;
    qw_api_error refusal;
    qw_error err;
    qw_buf out;
    qw_ids ids = {0};
    bool withdraw = false;
    qw_buf_init(&out, (size_t)1 << 28);
    QW_ASSERT(qw_tokenizer_encode(frontend.tokenizer, qw_str_of(says), 0, &ids, &err) == QW_OK);
    QW_ASSERT(qw_api_response_new(&r, &config, req, prompt, 1, &refusal) == QW_OK);
    for (size_t i = 0; i < ids.len && !withdraw; i++) {
        const qw_token_event event = {.id = ids.data[i],
                                      .finish = i + 1 == ids.len ? QW_FINISH_STOP : QW_FINISH_NONE,
                                      .stop_id = -1};
        QW_ASSERT(qw_api_response_push(r, 0, &event, &withdraw, &refusal) == QW_OK);
        QW_ASSERT(qw_api_response_flush(r, &out, &refusal) == QW_OK);
    }
    QW_ASSERT(qw_api_response_is_done(r));
    if (req->stream)
        check_events(&out);
    else
        check_json(out.data, out.len);
    qw_api_response_free(r);
    qw_ids_release(&ids);
    qw_buf_release(&out);
}

static void generate(const qw_api_call *call, qw_api_dialect dialect)
{
    qw_api_request req;
    qw_api_prompt prompt;
    qw_api_error refusal;
    if (qw_api_request_parse_dialect(&req, dialect, &config, call, &refusal) != QW_OK) {
        check_refusal(&refusal, dialect);
        return;
    }
    QW_ASSERT(req.n_prompts == 1 && req.params.n == 1);
    if (qw_api_request_prompt(&prompt, &req, 0, &config, &refusal) == QW_OK) {
        answer(&req, &prompt);
        qw_api_prompt_release(&prompt);
    } else {
        check_refusal(&refusal, dialect);
    }
    qw_api_request_release(&req);
}

static void count(const qw_api_call *call)
{
    qw_api_error refusal;
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    if (qw_api_count_tokens(&out, &config, call, &refusal) == QW_OK)
        check_json(out.data, out.len);
    else
        check_refusal(&refusal, QW_DIALECT_MESSAGES);
    qw_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!frontend.tokenizer) set_up();
    if (size == 0) return 0;
    size_t live = qw_mem_live();
    const qw_api_call call = {.body = {(const char *)data + 1, size - 1},
                              .content_type = "application/json",
                              .random_id = "00"};
    config.tool_form = data[0] & 4 ? QW_TOOL_FORM_QWEN3_CODER : QW_TOOL_FORM_HERMES;
    switch (data[0] & 3) {
    case 0: generate(&call, QW_DIALECT_RESPONSES); break;
    case 1: count(&call); break;
    default: generate(&call, QW_DIALECT_MESSAGES); break;
    }
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}
