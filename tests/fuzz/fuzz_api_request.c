// Bytes as the body of a call: whatever they say, the call is either refused with a body that is
// JSON, or goes all the way to an answer that is JSON. The first byte chooses the call.
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
        .max_model_len = 256,
        .vocab_size = 3968,
        .defaults = &defaults,
        .max_logprobs = 20,
        .max_n = 8,
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
    QW_ASSERT(qw_json_parse(&v, text, len, "answer", &err) == QW_OK);
    json_decref(v);
}

static void check_refusal(const qw_api_error *refusal)
{
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    QW_ASSERT(refusal->text[0]);
    qw_api_error_write(&b, refusal);
    check_json(b.data, b.len);
    qw_buf_clear(&b);
    qw_api_error_write_event(&b, refusal);
    check_json(b.data + strlen("data: "), b.len - strlen("data: "));
    qw_buf_release(&b);
}

// Whole: one object. A stream: events, each an object but the last.
static void check_answer(const qw_buf *out, bool stream)
{
    if (!stream) {
        check_json(out->data, out->len);
        return;
    }
    qw_str all = {out->data, out->len};
    for (size_t at = 0; at < all.len;) {
        size_t end = qw_str_find(all, QW_STR("\n\n"), at);
        QW_ASSERT(end != SIZE_MAX && memcmp(all.ptr + at, "data: ", 6) == 0);
        bool is_done = end - at == 12 && memcmp(all.ptr + at, "data: [DONE]", 12) == 0;
        if (!is_done) check_json(all.ptr + at + 6, end - at - 6);
        QW_ASSERT(is_done == (end + 2 == all.len));
        at = end + 2;
    }
}

// Every choice gets a few tokens, tags among them.
static void feed(qw_api_response *r, const qw_api_request *req, qw_buf *out)
{
    static const int32_t ids[] = {3864, 100, 200, 3865, 255, 3854, 65};
    const qw_logprob entries[] = {{100, 2, -1.5f}, {255, 1, -0.5f}, {0, 3, -1e30f}};
    qw_api_error refusal;
    bool withdraw;
    for (size_t i = 0; i < req->n_prompts; i++)
        QW_ASSERT(qw_api_response_prompt_logprobs(r, i, 1, entries, 3, &refusal) == QW_OK);
    for (size_t k = 0; k < QW_ARRAY_LEN(ids); k++)
        for (size_t i = 0; i < req->n_prompts; i++)
            for (int32_t c = 0; c < req->params.n; c++) {
                const qw_token_event event = {.child = c,
                                              .id = ids[k],
                                              .logprobs = entries,
                                              .n_logprobs = 3,
                                              .finish = k + 1 == QW_ARRAY_LEN(ids) ? QW_FINISH_STOP
                                                                                   : QW_FINISH_NONE,
                                              .stop_id = -1};
                QW_ASSERT(qw_api_response_push(r, i, &event, &withdraw, &refusal) == QW_OK);
                if (k % 2 == 0) QW_ASSERT(qw_api_response_flush(r, out, &refusal) == QW_OK);
            }
    QW_ASSERT(qw_api_response_is_done(r));
    QW_ASSERT(qw_api_response_flush(r, out, &refusal) == QW_OK);
}

static void answer(qw_api_request *req, const qw_api_prompt *prompts)
{
    qw_api_response *r;
    qw_api_error refusal;
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 28);
    QW_ASSERT(qw_api_response_new(&r, &config, req, prompts, 1, &refusal) == QW_OK);
    feed(r, req, &out);
    check_answer(&out, req->stream);
    qw_api_response_free(r);
    qw_buf_release(&out);
}

static void generate(const qw_api_call *call, bool chat)
{
    enum { MOST = 16 };
    qw_api_request req;
    qw_api_prompt prompts[MOST];
    qw_api_error refusal;
    size_t n = 0;
    qw_status st = chat ? qw_api_request_parse_chat(&req, &config, call, &refusal)
                        : qw_api_request_parse_completion(&req, &config, call, &refusal);
    if (st != QW_OK) {
        check_refusal(&refusal);
        return;
    }
    QW_ASSERT(req.n_prompts >= 1 && req.params.n >= 1 && req.params.n <= 8);
    for (; n < req.n_prompts && n < MOST && st == QW_OK; n += st == QW_OK) {
        st = qw_api_request_prompt(&prompts[n], &req, n, &config, &refusal);
        if (st != QW_OK) break;
        QW_ASSERT(prompts[n].ids.len > 0 && prompts[n].max_tokens >= 1);
        QW_ASSERT(prompts[n].ids.len + (size_t)prompts[n].max_tokens <= 256);
    }
    if (st != QW_OK)
        check_refusal(&refusal);
    else if (n == req.n_prompts)
        answer(&req, prompts);
    while (n > 0) qw_api_prompt_release(&prompts[--n]);
    qw_api_request_release(&req);
}

static void use_tokenizer(const qw_api_call *call, bool back)
{
    qw_api_error refusal;
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 28);
    qw_status st = back ? qw_api_detokenize(&out, &config, call, &refusal)
                        : qw_api_tokenize(&out, &config, call, &refusal);
    if (st == QW_OK)
        check_json(out.data, out.len);
    else
        check_refusal(&refusal);
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
    config.trust_request_chat_template = data[0] & 4;
    if ((data[0] & 3) < 2)
        generate(&call, (data[0] & 3) == 0);
    else
        use_tokenizer(&call, (data[0] & 3) == 3);
    QW_ASSERT(qw_mem_live() == live);
    return 0;
}
