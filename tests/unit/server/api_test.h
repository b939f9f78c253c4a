#ifndef QW_TESTS_API_TEST_H
#define QW_TESTS_API_TEST_H

// Shared by the API tests: a server's configuration over models/tiny. Include behind test_util.h.

#include "base/mem.h"
#include "server/api_response.h"

/** With one of this server's refusals in scope as `refusal`. */
#define assert_served(status)                                                                      \
    do {                                                                                           \
        if ((status) != QW_OK) fail_msg("refused: %s", refusal.text);                              \
    } while (0)

static qw_frontend frontend;
static qw_sampling_params defaults;
static qw_api_config config;
static const char *const served_names[] = {"qwen3", "second"};

static inline int set_up(void **state)
{
    (void)state;
    qw_error err;
    qw_json_init();
    assert_ok(qw_frontend_open(&frontend, QW_SOURCE_DIR "/models/tiny", NULL, NULL, NULL, &err));
    qw_sampling_params_init(&defaults);
    defaults.temperature = 0.6;
    defaults.top_k = 20;
    defaults.top_p = 0.95;
    config = (qw_api_config){
        .frontend = &frontend,
        .longest_token = qw_api_longest_token(frontend.tokenizer),
        .served_names = served_names,
        .n_served_names = 2,
        .model_path = QW_SOURCE_DIR "/models/tiny",
        .resolved_path = "/resolved/path/tiny",
        .created = 1700000000,
        .max_model_len = 64,
        .vocab_size = 3968,
        .defaults = &defaults,
        .max_logprobs = 20,
        .max_n = 16384,
        .response_role = "assistant",
        .stream_interval = 1,
        .system_fingerprint = "vllm-0.22.1-1a2b3c4d",
    };
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    qw_sampling_params_release(&defaults);
    qw_frontend_close(&frontend);
    return 0;
}

static inline void use_parser(const char *name)
{
    qw_error err;
    assert_ok(qw_reasoning_parser_init(&config.reasoning, name, frontend.tokenizer,
                                       qw_chat_prompt_template(frontend.chat), &err));
}

static inline qw_api_call call_of(const char *body)
{
    return (qw_api_call){.body = qw_str_of(body),
                         .content_type = "application/json",
                         .random_id = "00112233445566778899aabbccddeeff"};
}

static inline qw_status parse(qw_api_request *out, qw_api_kind kind, const char *body,
                              qw_api_error *refusal)
{
    qw_api_call call = call_of(body);
    return kind == QW_API_CHAT ? qw_api_request_parse_chat(out, &config, &call, refusal)
                               : qw_api_request_parse_completion(out, &config, &call, refusal);
}

static inline int32_t id_of(const char *token)
{
    int32_t id;
    if (!qw_tokenizer_id_of(frontend.tokenizer, qw_str_of(token), &id))
        fail_msg("no token '%s'", token);
    return id;
}

#endif
