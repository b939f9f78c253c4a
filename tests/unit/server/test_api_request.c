// Bodies read and refused: what becomes of every kind of field, and a table of wrong requests with
// the status, the type, the field and the words of the answer (http-api.md 1.3, 1.5, 1.8).

#include "test_util.h"

#include "unit/server/api_test.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}"
#define TOOLS "\"tools\":[" TOOL "]"
#define BIG "99999999999999999999"

typedef struct wrong_body {
    qw_api_kind kind;
    const char *body;
    qw_api_fault fault;
    const char *param; // NULL: null in the answer
    const char *part;  // of the message
} wrong_body;

#define CHAT QW_API_CHAT
#define TEXT QW_API_COMPLETION
#define SCHEMA QW_FAULT_SCHEMA
#define REFUSED QW_FAULT_REQUEST
#define MISSING QW_FAULT_NOT_FOUND
#define LATER QW_FAULT_UNSUPPORTED
/** A chat body with one more member. */
#define C(member) CHAT, "{" HI "," member "}"
/** A completion body with one more member. */
#define P(member) TEXT, "{\"prompt\":\"a\"," member "}"

static const wrong_body wrong_bodies[] = {
    // No JSON, or not an object.
    {CHAT, "", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{\"messages\":[}", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{'messages':1}", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{\"a\":NaN}", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{\"a\":1}x", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{\"a\":\"\xff\"}", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "{\"a\":1e999}", SCHEMA, NULL, "JSON decode error"},
    {CHAT, "[]", SCHEMA, NULL, "valid dictionary"},
    {CHAT, "null", SCHEMA, NULL, "valid dictionary"},
    {CHAT, "\"hi\"", SCHEMA, NULL, "valid dictionary"},
    {TEXT, "7", SCHEMA, NULL, "valid dictionary"},
    // Messages.
    {CHAT, "{}", SCHEMA, NULL, "('body', 'messages'), 'msg': \"Field required\""},
    {CHAT, "{\"messages\":null}", SCHEMA, NULL, "Input should be a valid list"},
    {CHAT, "{\"messages\":\"hi\"}", SCHEMA, NULL, "Input should be a valid list"},
    {CHAT, "{\"messages\":{}}", SCHEMA, NULL, "Input should be a valid list"},
    {CHAT, "{\"messages\":[]}", REFUSED, "messages", "must not be empty"},
    {CHAT, "{\"messages\":[1]}", SCHEMA, NULL, "'messages', 0), 'msg'"},
    {CHAT, "{\"messages\":[{}]}", SCHEMA, NULL,
     "'messages', 0, 'role'), 'msg': \"Field required\""},
    {CHAT, "{\"messages\":[{\"role\":5}]}", SCHEMA, NULL, "'messages', 0, 'role'), 'msg': \"Input"},
    {CHAT, "{\"messages\":[{\"role\":null}]}", SCHEMA, NULL, "'role'"},
    {CHAT, "{\"messages\":[{\"role\":" BIG "}]}", SCHEMA, NULL, "'role'"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":5}]}", SCHEMA, NULL, "'content'"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":" BIG "}]}", SCHEMA, NULL, "'content'"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":{}}]}", SCHEMA, NULL, "'content'"},
    {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[5]}]}", SCHEMA, NULL, "'content', 0"},
#define PART(part) CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[" part "]}]}"
    {PART("{}"), REFUSED, "type", "Missing 'type'"},
    {PART("{\"type\":1}"), REFUSED, "type", "Invalid 'type'"},
    {PART("{\"type\":\"smell\"}"), REFUSED, "type", "Unknown part type: smell"},
    {PART("{\"type\":\"smell\"}"), REFUSED, "type", "supported: text, "},
    {PART("{\"type\":\"text\"}"), REFUSED, "text", "needs a string 'text'"},
    {PART("{\"type\":\"text\",\"text\":1}"), REFUSED, "text", "needs a string 'text'"},
    {PART("{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}"), REFUSED, "image",
     "At most 0 image(s) may be provided in one prompt."},
    {PART("{\"image_url\":\"x\"}"), REFUSED, "image", "At most 0 image(s)"},
    {PART("{\"type\":\"input_image\",\"image_url\":\"x\"}"), REFUSED, "image",
     "At most 0 image(s)"},
    {PART("{\"type\":\"audio_url\",\"audio_url\":{\"url\":\"x\"}}"), REFUSED, "audio",
     "At most 0 audio(s)"},
    {PART("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"\",\"format\":\"wav\"}}"), REFUSED,
     "audio", "At most 0 audio(s)"},
    {PART("{\"type\":\"video_url\",\"video_url\":{\"url\":\"x\"}}"), REFUSED, "video",
     "At most 0 video(s)"},
    {PART("{\"type\":\"image_embeds\",\"image_embeds\":\"x\"}"), REFUSED, "image", "At most 0"},
    // Types of members.
    {C("\"model\":5"), SCHEMA, NULL,
     "('body', 'model'), 'msg': \"Input should be a valid string\""},
    {C("\"n\":\"x\""), SCHEMA, NULL, "'n'), 'msg': \"Input should be a valid integer, unable"},
    {C("\"n\":1.5"), SCHEMA, NULL, "got a number with a fractional part"},
    {C("\"n\":\"1.5\""), SCHEMA, NULL, "'n'"},
    {C("\"n\":[]"), SCHEMA, NULL, "Input should be a valid integer\", 'input': []"},
    {C("\"n\":{}"), SCHEMA, NULL, "'input': {}"},
    {C("\"n\":" BIG), SCHEMA, NULL, "('body', 'n'), 'msg': \"Unable to parse input string"},
    {C("\"seed\":" BIG), SCHEMA, NULL, "'seed'"},
    {C("\"seed\":-" BIG), SCHEMA, NULL, "'seed'"},
    {C("\"seed\":\"" BIG "\""), SCHEMA, NULL, "'seed'"},
    {C("\"seed\":1e30"), SCHEMA, NULL, "'seed'"},
    {C("\"max_tokens\":" BIG), SCHEMA, NULL, "'max_tokens'"},
    {C("\"max_tokens\":true1"), SCHEMA, NULL, "JSON decode error"},
    {C("\"max_tokens\":\"\""), SCHEMA, NULL, "'max_tokens'"},
    {C("\"temperature\":\"hot\""), SCHEMA, NULL,
     "'temperature'), 'msg': \"Input should be a valid number"},
    {C("\"temperature\":[]"), SCHEMA, NULL, "'temperature'"},
    {C("\"temperature\":" BIG), SCHEMA, NULL, "'temperature'"},
    {C("\"temperature\":\"nan\""), SCHEMA, NULL, "'temperature'"},
    {C("\"top_p\":{}"), SCHEMA, NULL, "'top_p'"},
    {C("\"min_p\":\"a\""), SCHEMA, NULL, "'min_p'"},
    {C("\"top_k\":\"a\""), SCHEMA, NULL, "'top_k'"},
    {C("\"repetition_penalty\":\"a\""), SCHEMA, NULL, "'repetition_penalty'"},
    {C("\"frequency_penalty\":[1]"), SCHEMA, NULL, "'frequency_penalty'"},
    {C("\"presence_penalty\":\"a\""), SCHEMA, NULL, "'presence_penalty'"},
    {C("\"stream\":\"maybe\""), SCHEMA, NULL,
     "'stream'), 'msg': \"Input should be a valid boolean, unable"},
    {C("\"stream\":2"), SCHEMA, NULL, "'stream'"},
    {C("\"stream\":[]"), SCHEMA, NULL, "'stream'), 'msg': \"Input should be a valid boolean\""},
    {C("\"ignore_eos\":null"), SCHEMA, NULL, "'ignore_eos'"},
    {C("\"min_tokens\":null"), SCHEMA, NULL, "'min_tokens'"},
    {C("\"skip_special_tokens\":\"x\""), SCHEMA, NULL, "'skip_special_tokens'"},
    {C("\"include_reasoning\":null"), SCHEMA, NULL, "'include_reasoning'"},
    {C("\"add_generation_prompt\":5"), SCHEMA, NULL, "'add_generation_prompt'"},
    {C("\"continue_final_message\":\"?\""), SCHEMA, NULL, "'continue_final_message'"},
    {C("\"priority\":null"), SCHEMA, NULL, "'priority'"},
    {C("\"priority\":\"high\""), SCHEMA, NULL, "'priority'"},
    {C("\"request_id\":5"), SCHEMA, NULL, "'request_id'"},
    {C("\"stop\":5"), SCHEMA, NULL, "'stop'"},
    {C("\"stop\":[5]"), SCHEMA, NULL, "'stop', 0"},
    {C("\"stop\":[\"a\",null]"), SCHEMA, NULL, "'stop', 1"},
    {C("\"stop\":" BIG), SCHEMA, NULL, "'stop'"},
    {C("\"stop_token_ids\":5"), SCHEMA, NULL, "'stop_token_ids'"},
    {C("\"stop_token_ids\":[\"a\"]"), SCHEMA, NULL, "'stop_token_ids', 0"},
    {C("\"stop_token_ids\":[null]"), SCHEMA, NULL, "'stop_token_ids', 0"},
    {C("\"stop_token_ids\":[1.5]"), SCHEMA, NULL, "'stop_token_ids', 0"},
    {C("\"stop_token_ids\":[" BIG "]"), SCHEMA, NULL, "'stop_token_ids', 0"},
    {C("\"bad_words\":\"x\""), SCHEMA, NULL, "'bad_words'"},
    {C("\"bad_words\":null"), SCHEMA, NULL, "'bad_words'"},
    {C("\"bad_words\":[1]"), SCHEMA, NULL, "'bad_words', 0"},
    {C("\"allowed_token_ids\":{}"), SCHEMA, NULL, "'allowed_token_ids'"},
    {C("\"allowed_token_ids\":[{}]"), SCHEMA, NULL, "'allowed_token_ids', 0"},
    {C("\"logit_bias\":[]"), SCHEMA, NULL,
     "'logit_bias'), 'msg': \"Input should be a valid dictionary"},
    {C("\"logit_bias\":{\"5\":\"x\"}"), SCHEMA, NULL, "'logit_bias', '5'"},
    {C("\"logit_bias\":{\"5\":null}"), SCHEMA, NULL, "'logit_bias', '5'"},
    {C("\"logit_bias\":{\"5\":" BIG "}"), SCHEMA, NULL, "'logit_bias', '5'"},
    {C("\"logprobs\":7"), SCHEMA, NULL, "'logprobs'"},
    {C("\"logprobs\":\"x\""), SCHEMA, NULL, "'logprobs'"},
    {C("\"logprobs\":true,\"top_logprobs\":\"x\""), SCHEMA, NULL, "'top_logprobs'"},
    {C("\"prompt_logprobs\":\"x\""), SCHEMA, NULL, "'prompt_logprobs'"},
    {C("\"tools\":5"), SCHEMA, NULL, "'tools'"},
    {C("\"tools\":[5]"), SCHEMA, NULL, "'tools', 0"},
    {C("\"tools\":[{}]"), SCHEMA, NULL, "'tools', 0, 'function'), 'msg': \"Field required\""},
    {C("\"tools\":[{\"function\":5}]"), SCHEMA, NULL, "'tools', 0, 'function'"},
    {C("\"tools\":[{\"function\":{}}]"), SCHEMA, NULL, "'function', 'name'"},
    {C("\"tools\":[{\"function\":{\"name\":5}}]"), SCHEMA, NULL, "'function', 'name'"},
    {C("\"tools\":[{\"type\":\"web\",\"function\":{\"name\":\"f\"}}]"), SCHEMA, NULL,
     "'tools', 0, 'type'"},
    {C("\"documents\":{}"), SCHEMA, NULL, "'documents'"},
    {C("\"chat_template\":5"), SCHEMA, NULL, "'chat_template'"},
    {C("\"chat_template_kwargs\":[]"), SCHEMA, NULL, "'chat_template_kwargs'"},
    {C("\"mm_processor_kwargs\":5"), SCHEMA, NULL, "'mm_processor_kwargs'"},
    {C("\"media_io_kwargs\":5"), SCHEMA, NULL, "'media_io_kwargs'"},
    {C("\"reasoning_effort\":\"huge\""), SCHEMA, NULL, "Input should be 'none', 'minimal'"},
    {C("\"reasoning_effort\":5"), SCHEMA, NULL, "'xhigh' or 'max'"},
    {C("\"truncation_side\":\"up\""), SCHEMA, NULL, "Input should be 'left' or 'right'"},
    {C("\"truncate_prompt_tokens\":-2"), SCHEMA, NULL, "greater than or equal to -1"},
    {C("\"kv_transfer_params\":5"), SCHEMA, NULL, "'kv_transfer_params'"},
    {C("\"stream\":true,\"stream_options\":5"), SCHEMA, NULL, "'stream_options'"},
    {C("\"stream\":true,\"stream_options\":{\"include_usage\":5}"), SCHEMA, NULL,
     "'include_usage'"},
    {C("\"response_format\":\"text\""), SCHEMA, NULL, "'response_format'"},
    {C("\"structured_outputs\":\"x\""), SCHEMA, NULL, "'structured_outputs'"},
    {C("\"n\":\"x\",\"seed\":\"y\",\"top_p\":\"z\""), SCHEMA, NULL, "3 validation errors:"},
    {C("\"thinking_token_budget\":1.5"), SCHEMA, NULL, "'thinking_token_budget'"},
    // Rules between members.
    {C("\"stream_options\":{\"include_usage\":true}"), SCHEMA, "stream_options",
     "Stream options can only be defined when stream=True."},
    {C("\"stream\":false,\"stream_options\":{\"include_usage\":true}"), SCHEMA, "stream_options",
     "Stream options"},
    {C("\"top_logprobs\":2"), SCHEMA, "top_logprobs",
     "when using top_logprobs, logprobs must be set to true."},
    {C("\"top_logprobs\":-1"), SCHEMA, "top_logprobs", "when using top_logprobs"},
    {C("\"logprobs\":false,\"top_logprobs\":2"), SCHEMA, "top_logprobs", "when using top_logprobs"},
    {C("\"logprobs\":true,\"top_logprobs\":-2"), SCHEMA, "top_logprobs",
     "must be a positive value or -1"},
    {C("\"prompt_logprobs\":1,\"stream\":true"), SCHEMA, "prompt_logprobs",
     "not available when stream"},
    {C("\"prompt_logprobs\":-1,\"stream\":true"), SCHEMA, "prompt_logprobs",
     "not available when stream"},
    {C("\"prompt_logprobs\":-2"), SCHEMA, "prompt_logprobs", "positive value or -1"},
    {C("\"continue_final_message\":true,\"add_generation_prompt\":true"), SCHEMA, NULL,
     "Cannot set both"},
    {C("\"tools\":[]"), SCHEMA, "tools", "must not be an empty array"},
    {C("\"tool_choice\":\"auto\""), SCHEMA, "tool_choice", "`tools` must be set"},
    {C("\"tool_choice\":\"required\",\"tools\":null"), SCHEMA, "tool_choice",
     "`tools` must be set"},
    {C(TOOLS ",\"tool_choice\":\"maybe\""), SCHEMA, "tool_choice",
     "Invalid value for `tool_choice`: maybe"},
    {C(TOOLS ",\"tool_choice\":5"), SCHEMA, "tool_choice", "Invalid value for `tool_choice`"},
    {C(TOOLS ",\"tool_choice\":{}"), SCHEMA, "tool_choice", "Expected field `function`"},
    {C(TOOLS ",\"tool_choice\":{\"function\":{}}"), SCHEMA, "tool_choice", "Expected field `name`"},
    {C(TOOLS ",\"tool_choice\":{\"function\":{\"name\":\"\"}}"), SCHEMA, "tool_choice",
     "Invalid `name`"},
    {C(TOOLS ",\"tool_choice\":{\"function\":{\"name\":\"g\"}}"), SCHEMA, "tool_choice",
     "does not match any"},
    {C("\"cache_salt\":\"\""), SCHEMA, "cache_salt", "must be a non-empty string"},
    {C("\"cache_salt\":5"), SCHEMA, "cache_salt", "must be a non-empty string"},
    {C("\"response_format\":{\"type\":\"json_schema\"}"), SCHEMA, "response_format",
     "the 'json_schema' field must be provided"},
    {C("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}"), SCHEMA,
     "response_format", "must be provided"},
    {C("\"response_format\":{\"type\":\"yaml\"}"), SCHEMA, "response_format", "type must be"},
    {C("\"response_format\":{}"), SCHEMA, "response_format", "type must be"},
    {C("\"structured_outputs\":{\"json\":{},\"regex\":\"a\"}"), SCHEMA, "structured_outputs",
     "only use one kind"},
    {C("\"structured_outputs\":{}"), SCHEMA, "structured_outputs", "needs one of"},
    {C("\"guided_json\":{},\"guided_regex\":\"a\""), SCHEMA, "structured_outputs",
     "only use one kind"},
    {C("\"structured_outputs\":{\"regex\":\"a\"},\"response_format\":{\"type\":\"json_object\"}"),
     SCHEMA, "response_format", "only use one of"},
    // Rules come before types.
    {C("\"tools\":[],\"n\":\"x\""), SCHEMA, "tools", "must not be an empty array"},
    // Model; it comes before features and ranges.
    {C("\"model\":\"other\""), MISSING, "model", "The model `other` does not exist."},
    {C("\"model\":\"other\",\"temperature\":-1"), MISSING, "model", "`other`"},
    {C("\"model\":\"qwen\"," TOOLS), MISSING, "model", "`qwen`"},
    {C("\"model\":\"/\""), MISSING, "model", "`/`"},
    {P("\"model\":\"other\",\"suffix\":\"x\""), MISSING, "model", "`other`"},
    // Features.
    {C(TOOLS), REFUSED, NULL,
     "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"},
    {C(TOOLS ",\"tool_choice\":\"auto\""), REFUSED, NULL, "\"auto\" tool choice requires"},
    {C(TOOLS ",\"tool_choice\":\"required\""), REFUSED, NULL, "tool_choice=\"required\" requires"},
    {C(TOOLS ",\"tool_choice\":{\"function\":{\"name\":\"f\"}}"), REFUSED, NULL,
     "tool_choice=\"named\" requires"},
    {C("\"chat_template\":\"{{ x }}\""), REFUSED, NULL, "--trust-request-chat-template"},
    {C("\"chat_template_kwargs\":{\"chat_template\":\"{{ x }}\"}"), REFUSED, NULL,
     "--trust-request-chat-template"},
    {C("\"use_beam_search\":true"), LATER, NULL, "use_beam_search"},
    {C("\"thinking_token_budget\":5"), REFUSED, "thinking_token_budget", "no reasoning parser"},
    {C("\"thinking_token_budget\":-2"), REFUSED, "thinking_token_budget", "got -2."},
    // Ranges.
    {C("\"temperature\":-1"), REFUSED, "temperature",
     "temperature must be non-negative, got -1.0."},
    {C("\"temperature\":\"-0.5\""), REFUSED, "temperature", "got -0.5."},
    {C("\"top_p\":0"), REFUSED, "top_p", "top_p must be in (0, 1], got 0.0."},
    {C("\"top_p\":1.1"), REFUSED, "top_p", "top_p must be in (0, 1], got 1.1."},
    {C("\"top_k\":-2"), REFUSED, "top_k", "top_k must be 0 (disable), or at least 1, got -2."},
    {C("\"min_p\":-0.1"), REFUSED, "min_p", "min_p must be in [0, 1]"},
    {C("\"min_p\":1.5"), REFUSED, "min_p", "min_p must be in [0, 1]"},
    {C("\"presence_penalty\":2.5"), REFUSED, "presence_penalty", "must be in [-2, 2]"},
    {C("\"frequency_penalty\":-2.5"), REFUSED, "frequency_penalty", "must be in [-2, 2]"},
    {C("\"repetition_penalty\":0"), REFUSED, "repetition_penalty", "greater than zero"},
    {C("\"max_tokens\":0"), REFUSED, "max_tokens", "max_tokens must be at least 1, got 0."},
    {C("\"max_tokens\":-1"), REFUSED, "max_tokens", "max_tokens must be at least 1, got -1."},
    {C("\"max_completion_tokens\":0"), REFUSED, "max_completion_tokens", "at least 1, got 0."},
    {C("\"max_tokens\":65"), REFUSED, "max_tokens",
     "max_tokens=65 cannot be greater than max_model_len=64"},
    {C("\"max_tokens\":5,\"max_completion_tokens\":100"), REFUSED, "max_completion_tokens",
     "max_completion_tokens=100 cannot be greater"},
    {C("\"min_tokens\":-1"), REFUSED, "min_tokens", "greater than or equal to 0"},
    {C("\"min_tokens\":6,\"max_tokens\":5"), REFUSED, "min_tokens", "max_tokens=5, got 6."},
    {C("\"n\":0"), REFUSED, "n", "n must be at least 1, got 0."},
    {C("\"n\":-3"), REFUSED, "n", "n must be at least 1, got -3."},
    {C("\"n\":16385"), REFUSED, "n", "n must be at most 16384, got 16385."},
    {C("\"n\":2,\"temperature\":0"), REFUSED, "n",
     "n must be 1 when using greedy sampling, got 2."},
    {C("\"stop\":\"\""), REFUSED, "stop", "stop cannot contain an empty string."},
    {C("\"stop\":[\"a\",\"\"]"), REFUSED, "stop", "stop cannot contain an empty string."},
    {C("\"bad_words\":[\"\"]"), REFUSED, "bad_words", "bad_words cannot contain an empty string."},
    {C("\"logprobs\":true,\"top_logprobs\":21"), REFUSED, "logprobs",
     "Requested sample logprobs of 21, which is greater than max allowed: 20"},
    {C("\"logprobs\":true,\"top_logprobs\":-1"), REFUSED, "logprobs",
     "Requested sample logprobs of 3968, which is greater than max allowed: 20"},
    {C("\"prompt_logprobs\":21"), REFUSED, "prompt_logprobs", "Requested prompt logprobs of 21"},
    {C("\"logit_bias\":{\"3968\":1}"), REFUSED, "logit_bias", "out-of-vocab"},
    {C("\"logit_bias\":{\"-1\":1}"), REFUSED, "logit_bias", "out-of-vocab"},
    {C("\"logit_bias\":{\"x\":1}"), REFUSED, "logit_bias", "'x'"},
    {C("\"allowed_token_ids\":[]"), REFUSED, "allowed_token_ids", "empty"},
    {C("\"allowed_token_ids\":[3968]"), REFUSED, "allowed_token_ids", "out-of-vocab"},
    {C("\"allowed_token_ids\":[-1]"), REFUSED, "allowed_token_ids", "out-of-vocab"},
    {C("\"truncate_prompt_tokens\":65"), REFUSED, "truncate_prompt_tokens",
     "greater than max_model_len"},
    // Completions.
    {TEXT, "{}", SCHEMA, "prompt",
     "Either prompt or prompt_embeds must be provided and non-empty."},
    {TEXT, "{\"prompt\":null}", SCHEMA, "prompt", "Either prompt"},
    {TEXT, "{\"prompt\":\"\"}", SCHEMA, "prompt", "Either prompt"},
    {TEXT, "{\"prompt\":[]}", SCHEMA, "prompt", "Either prompt"},
    {TEXT, "{\"prompt\":5}", SCHEMA, NULL, "'prompt'"},
    {TEXT, "{\"prompt\":" BIG "}", SCHEMA, NULL, "'prompt'"},
    {TEXT, "{\"prompt\":{}}", SCHEMA, NULL, "'prompt'"},
    {TEXT, "{\"prompt\":[null]}", SCHEMA, NULL, "'prompt', 0"},
    {TEXT, "{\"prompt\":[\"a\",1]}", SCHEMA, NULL, "'prompt', 1"},
    {TEXT, "{\"prompt\":[1,\"a\"]}", SCHEMA, NULL, "'prompt', 0"},
    {TEXT, "{\"prompt\":[-1]}", SCHEMA, NULL, "'prompt', 0"},
    {TEXT, "{\"prompt\":[1.5]}", SCHEMA, NULL, "'prompt', 0"},
    {TEXT, "{\"prompt\":[" BIG "]}", SCHEMA, NULL, "'prompt', 0"},
    {TEXT, "{\"prompt\":[[1],[\"a\"]]}", SCHEMA, NULL, "'prompt', 1"},
    {TEXT, "{\"prompt\":[[1],2]}", SCHEMA, NULL, "'prompt', 1"},
    {P("\"suffix\":\"x\""), REFUSED, NULL, "suffix is not currently supported"},
    {P("\"suffix\":\"\""), REFUSED, NULL, "suffix is not currently supported"},
    {P("\"prompt_embeds\":\"x\""), LATER, NULL, "prompt_embeds"},
    {P("\"logprobs\":-1"), SCHEMA, "logprobs", "logprobs must be a positive value."},
    {P("\"logprobs\":21"), REFUSED, "logprobs", "Requested sample logprobs of 21"},
    {P("\"logprobs\":\"x\""), SCHEMA, NULL, "'logprobs'"},
    {P("\"max_tokens\":0"), REFUSED, "max_tokens", "max_tokens must be at least 1, got 0."},
    {P("\"max_tokens\":-1,\"echo\":true"), REFUSED, "max_tokens", "at least 1, got -1."},
    {P("\"max_tokens\":65"), REFUSED, "max_tokens", "cannot be greater than max_model_len=64"},
    {P("\"stream_options\":{\"include_usage\":true}"), SCHEMA, "stream_options", "Stream options"},
    {P("\"prompt_logprobs\":1,\"stream\":true"), SCHEMA, "prompt_logprobs", "not available"},
    {P("\"cache_salt\":\"\""), SCHEMA, "cache_salt", "non-empty"},
    {P("\"temperature\":-1"), REFUSED, "temperature", "non-negative"},
    {P("\"n\":2,\"temperature\":0"), REFUSED, "n", "greedy"},
};

static void check_wrong(const wrong_body *w)
{
    qw_api_error refusal = {0};
    qw_api_request r;
    qw_status st = parse(&r, w->kind, w->body, &refusal);
    if (st == QW_OK) fail_msg("accepted: %s", w->body);
    if (refusal.fault != w->fault || strcmp(refusal.param, w->param ? w->param : "") != 0 ||
        !strstr(refusal.text, w->part))
        fail_msg("%s\ngot  fault %d, param '%s', '%s'\nwant fault %d, param '%s', '%s'", w->body,
                 refusal.fault, refusal.param, refusal.text, w->fault, w->param ? w->param : "",
                 w->part);
}

static void test_wrong_bodies(void **state)
{
    (void)state;
    use_parser("none");
    size_t live = qw_mem_live();
    for (size_t i = 0; i < QW_ARRAY_LEN(wrong_bodies); i++) check_wrong(&wrong_bodies[i]);
    assert_int_equal(qw_mem_live(), live);
    assert_true(QW_ARRAY_LEN(wrong_bodies) >= 150);
    print_message("%zu wrong bodies\n", QW_ARRAY_LEN(wrong_bodies));
}

static void test_content_type(void **state)
{
    (void)state;
    static const char *const good[] = {"application/json", "Application/JSON",
                                       "application/json; charset=utf-8", "application/json;x"};
    static const char *const bad[] = {NULL, "", "text/plain", "application/jsonp",
                                      "application/x-www-form-urlencoded"};
    qw_api_error refusal;
    qw_api_request r;
    qw_api_call call = call_of("{" HI "}");
    for (size_t i = 0; i < QW_ARRAY_LEN(good); i++) {
        call.content_type = good[i];
        assert_served(qw_api_request_parse_chat(&r, &config, &call, &refusal));
        qw_api_request_release(&r);
    }
    for (size_t i = 0; i < QW_ARRAY_LEN(bad); i++) {
        call.content_type = bad[i];
        assert_int_not_equal(qw_api_request_parse_chat(&r, &config, &call, &refusal), QW_OK);
        assert_int_equal(refusal.fault, QW_FAULT_SCHEMA);
        assert_non_null(
            strstr(refusal.text, "Unsupported Media Type: Only 'application/json' is allowed"));
    }
}

static qw_api_request parsed(qw_api_kind kind, const char *body)
{
    qw_api_error refusal;
    qw_api_request r;
    assert_served(parse(&r, kind, body, &refusal));
    return r;
}

static void test_defaults(void **state)
{
    (void)state;
    qw_api_request r = parsed(QW_API_CHAT, "{\"unknown\":1,\"user\":\"me\"," HI "}");
    assert_string_equal(r.id, "chatcmpl-00112233445566778899aabbccddeeff");
    assert_true(r.params.temperature == 0.6 && r.params.top_p == 0.95 && r.params.top_k == 20);
    assert_true(r.params.max_tokens == -1 && r.asked_max_tokens == -1);
    assert_true(r.add_generation_prompt && !r.continue_final_message && r.include_reasoning);
    assert_false(r.stream || r.echo || r.logprobs || r.return_token_ids || r.add_special_tokens);
    assert_true(r.thinking == QW_THINKING_UNSAID && r.thinking_token_budget == -1);
    assert_null(r.cache_salt.ptr);
    qw_api_request_release(&r);
    r = parsed(QW_API_COMPLETION,
               "{\"prompt\":\"a\",\"logprobs\":null,\"max_completion_tokens\":3}");
    assert_true(r.params.max_tokens == 16 && r.asked_max_tokens == 16 && r.add_special_tokens);
    assert_string_equal(r.id, "cmpl-00112233445566778899aabbccddeeff");
    assert_false(r.logprobs);
    qw_api_request_release(&r);
    r = parsed(QW_API_COMPLETION, "{\"prompt\":\"a\",\"max_tokens\":null}");
    assert_true(r.params.max_tokens == -1 && r.asked_max_tokens == -1);
    qw_api_request_release(&r);
}

static void test_lax_types(void **state)
{
    (void)state;
    qw_api_request r = parsed(
        QW_API_CHAT,
        "{\"n\":\"2\",\"seed\":7.0,\"temperature\":\"0.5\",\"stream\":\"true\",\"top_k\":true,"
        "\"ignore_eos\":1,\"logprobs\":\"yes\",\"top_logprobs\":\"3\",\"stop\":\"x\",\"min_p\":"
        "null,"
        "\"stop_token_ids\":[\"5\",6.0],\"logit_bias\":{\"3\":\"-200\"},\"priority\":-4,"
        "\"cache_salt\":\"s\",\"max_tokens\":9,\"max_completion_tokens\":\"8\"," HI "}");
    assert_true(r.params.n == 2 && r.params.has_seed && r.params.seed == 7);
    assert_true(r.params.temperature == 0.5 && r.stream && r.params.top_k == 1);
    assert_true(r.params.ignore_eos && r.logprobs && r.params.logprobs == 3);
    assert_true(r.params.n_stop == 1 && r.params.n_stop_token_ids == 2);
    assert_int_equal(r.params.stop_token_ids[1], 6);
    assert_true(r.params.logit_bias[0].bias == -100.0f);
    assert_true(r.priority == -4 && qw_str_is(r.cache_salt, "s"));
    assert_true(r.asked_max_tokens == 8 && r.params.max_tokens == 8);
    assert_string_equal(r.asked_by, "max_completion_tokens");
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{\"seed\":-1,\"seed2\":" BIG "," HI "}"); // unknown: not looked at
    assert_false(r.params.has_seed);
    qw_api_request_release(&r);
}

static void test_ids(void **state)
{
    (void)state;
    qw_api_error refusal;
    qw_api_request r;
    qw_api_call call = call_of("{\"request_id\":\"mine\"," HI "}");
    assert_served(qw_api_request_parse_chat(&r, &config, &call, &refusal));
    assert_string_equal(r.id, "chatcmpl-mine");
    qw_api_request_release(&r);
    call.request_id = "bench-01234567-0";
    assert_served(qw_api_request_parse_chat(&r, &config, &call, &refusal));
    assert_string_equal(r.id, "chatcmpl-bench-01234567-0");
    qw_api_request_release(&r);
    call.request_id = "\xff";
    assert_served(qw_api_request_parse_chat(&r, &config, &call, &refusal));
    assert_string_equal(r.id, "chatcmpl-00112233445566778899aabbccddeeff");
    qw_api_request_release(&r);
    char longest[400];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    call.request_id = longest;
    assert_served(qw_api_request_parse_chat(&r, &config, &call, &refusal));
    assert_int_equal(strlen(r.id), QW_API_ID_SIZE - 1);
    qw_api_request_release(&r);
}

static void test_model_names(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "qwen3",
                                       "second",
                                       QW_SOURCE_DIR "/models/tiny",
                                       "/resolved/path/tiny",
                                       "tiny",
                                       "/root/.cache/modelscope/hub/models/Qwen/tiny"};
    static const char *const bad[] = {"Qwen3", "qwen3 ", "tiny/",      "/",
                                      "tin",   "xtiny",  "path/tiny/x"};
    for (size_t i = 0; i < QW_ARRAY_LEN(good); i++)
        assert_true(qw_api_config_knows_model(&config, qw_str_of(good[i])));
    for (size_t i = 0; i < QW_ARRAY_LEN(bad); i++)
        if (qw_api_config_knows_model(&config, qw_str_of(bad[i]))) fail_msg("knows '%s'", bad[i]);
    config.skip_model_name_check = true;
    assert_true(qw_api_config_knows_model(&config, QW_STR("any")));
    config.skip_model_name_check = false;
}

static void test_thinking(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        qw_thinking_wish want;
        const char *kwargs;
    } cases[] = {
        {"\"n\":1", QW_THINKING_UNSAID, NULL},
        {"\"reasoning_effort\":null", QW_THINKING_UNSAID, NULL},
        {"\"reasoning_effort\":\"none\"", QW_THINKING_OFF,
         "{\"reasoning_effort\":\"none\",\"enable_thinking\":false}"},
        {"\"reasoning_effort\":\"low\"", QW_THINKING_ON,
         "{\"reasoning_effort\":\"low\",\"enable_thinking\":true}"},
        {"\"reasoning_effort\":\"low\",\"chat_template_kwargs\":{\"enable_thinking\":false}",
         QW_THINKING_OFF, "{\"reasoning_effort\":\"low\",\"enable_thinking\":false}"},
        {"\"chat_template_kwargs\":{\"enable_thinking\":false}", QW_THINKING_OFF,
         "{\"enable_thinking\":false}"},
        {"\"chat_template_kwargs\":{\"x\":1}", QW_THINKING_UNSAID, "{\"x\":1}"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        char body[512];
        qw_buf kwargs;
        qw_buf_init(&kwargs, 1 << 16);
        snprintf(body, sizeof body, "{%s," HI "}", cases[i].member);
        qw_api_request r = parsed(QW_API_CHAT, body);
        assert_int_equal(r.thinking, cases[i].want);
        if (r.template_kwargs) qw_json_write(&kwargs, r.template_kwargs, true);
        if (cases[i].kwargs)
            assert_string_equal(kwargs.data, cases[i].kwargs);
        else
            assert_null(r.template_kwargs);
        qw_api_request_release(&r);
        qw_buf_release(&kwargs);
    }
    json_t *server = json_pack("{s:b,s:i}", "enable_thinking", 0, "y", 2);
    config.chat_template_kwargs = server;
    qw_api_request r = parsed(QW_API_CHAT, "{" HI "}");
    assert_int_equal(r.thinking, QW_THINKING_OFF);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{\"reasoning_effort\":\"high\"," HI "}");
    assert_int_equal(r.thinking, QW_THINKING_ON);
    assert_int_equal(json_integer_value(json_object_get(r.template_kwargs, "y")), 2);
    qw_api_request_release(&r);
    config.chat_template_kwargs = NULL;
    json_decref(server);
}

static void test_tools(void **state)
{
    (void)state;
    qw_api_error refusal;
    qw_api_request r = parsed(QW_API_CHAT, "{" TOOLS ",\"tool_choice\":\"none\"," HI "}");
    assert_non_null(r.tools);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{" TOOLS ",\"tool_choice\":null," HI "}");
    assert_non_null(r.tools);
    qw_api_request_release(&r);
    config.exclude_tools_when_tool_choice_none = true;
    r = parsed(QW_API_CHAT, "{" TOOLS ",\"tool_choice\":\"none\"," HI "}");
    assert_null(r.tools);
    qw_api_request_release(&r);
    config.exclude_tools_when_tool_choice_none = false;
    config.tool_form = QW_TOOL_FORM_HERMES;
    assert_int_not_equal(parse(&r, QW_API_CHAT, "{" TOOLS "," HI "}", &refusal), QW_OK);
    assert_int_equal(refusal.fault, QW_FAULT_REQUEST); // the other flag is missing
    config.enable_auto_tool_choice = true;
    r = parsed(QW_API_CHAT, "{" TOOLS "," HI "}");
    assert_int_equal(r.tool_form, QW_TOOL_FORM_HERMES);
    assert_int_equal(r.max_tool_calls, 0);
    assert_false(r.params.skip_special_tokens);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{" TOOLS ",\"parallel_tool_calls\":false," HI "}");
    assert_int_equal(r.max_tool_calls, 1);
    qw_api_request_release(&r);
    config.tool_form = QW_TOOL_FORM_NONE;
    config.enable_auto_tool_choice = false;
}

// ---- prompts

static void assert_prompt_refused(qw_api_kind kind, const char *body, const char *param,
                                  const char *part)
{
    qw_api_error refusal;
    qw_api_prompt p;
    qw_api_request r = parsed(kind, body);
    size_t live = qw_mem_live();
    assert_int_not_equal(qw_api_request_prompt(&p, &r, 0, &config, &refusal), QW_OK);
    assert_int_equal(qw_mem_live(), live);
    assert_int_equal(refusal.fault, QW_FAULT_REQUEST);
    assert_string_equal(refusal.param, param);
    if (!strstr(refusal.text, part)) fail_msg("'%s' not in '%s'", part, refusal.text);
    qw_api_request_release(&r);
}

// A completion with a prompt of n ids.
static const char *prompt_of(int n, const char *more)
{
    static char body[4096];
    int len = snprintf(body, sizeof body, "{\"prompt\":[");
    for (int i = 0; i < n; i++)
        len += snprintf(body + len, sizeof body - (size_t)len, "%s%d", i ? "," : "", i + 1);
    snprintf(body + len, sizeof body - (size_t)len, "]%s}", more);
    return body;
}

static void test_lengths(void **state)
{
    (void)state;
    assert_prompt_refused(
        QW_API_COMPLETION, prompt_of(60, ""), "input_tokens",
        "This model's maximum context length is 64 tokens. However, you requested 16 output tokens "
        "and your prompt contains 60 input tokens, for a total of 76 tokens. Please reduce");
    assert_prompt_refused(QW_API_COMPLETION, prompt_of(65, ",\"max_tokens\":null"), "input_tokens",
                          "you requested 0 output tokens and your prompt contains 65");
    assert_prompt_refused(QW_API_COMPLETION, prompt_of(64, ",\"max_tokens\":null"), "",
                          "The decoder prompt (length 64) plus the number of requested output "
                          "tokens (at least 1) is longer than the maximum model length of 64.");
    assert_prompt_refused(QW_API_COMPLETION, "{\"prompt\":[\"\"]}", "",
                          "The decoder prompt cannot be empty");
    assert_prompt_refused(QW_API_COMPLETION, "{\"prompt\":[3968]}", "prompt",
                          "Token id 3968 is out of vocabulary");
    assert_prompt_refused(QW_API_COMPLETION, prompt_of(60, ",\"max_tokens\":null,\"min_tokens\":5"),
                          "min_tokens", "max_tokens=4, got 5.");

    // Far too long for its characters alone.
    size_t len = (size_t)config.longest_token * 64 + 100;
    char *body = qw_mem_alloc(len + 100);
    int head = snprintf(body, 100, "{\"max_tokens\":4,\"prompt\":\"");
    memset(body + head, 'a', len);
    memcpy(body + head + len, "\"}", 3);
    assert_prompt_refused(QW_API_COMPLETION, body, "input_text", "characters (more than");
    qw_mem_free(body);
}

static qw_api_prompt prompted(qw_api_request *r, size_t i)
{
    qw_api_error refusal;
    qw_api_prompt p;
    assert_served(qw_api_request_prompt(&p, r, i, &config, &refusal));
    return p;
}

static void test_room(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        int64_t cap;
        int32_t want;
    } cases[] = {
        {"", 0, 16},
        {",\"max_tokens\":null", 0, 54},
        {",\"max_tokens\":20", 0, 20},
        {",\"max_tokens\":54", 0, 54},
        {",\"max_tokens\":20", 7, 7},
        {",\"max_tokens\":null", 7, 7},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        config.max_tokens_cap = cases[i].cap;
        qw_api_request r = parsed(QW_API_COMPLETION, prompt_of(10, cases[i].more));
        qw_api_prompt p = prompted(&r, 0);
        assert_int_equal(p.max_tokens, cases[i].want);
        qw_api_prompt_release(&p);
        qw_api_request_release(&r);
    }
    config.max_tokens_cap = 0;
    defaults.max_tokens = 5; // the model's own default does not bound what is asked for
    qw_api_request r = parsed(QW_API_CHAT, "{\"max_tokens\":9," HI "}");
    qw_api_prompt p = prompted(&r, 0);
    assert_int_equal(p.max_tokens, 9);
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{" HI "}");
    p = prompted(&r, 0);
    assert_int_equal(p.max_tokens, 5);
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    defaults.max_tokens = -1;
}

static void test_truncation(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        int n;
        size_t want;
        int32_t first;
    } cases[] = {
        {",\"truncate_prompt_tokens\":3", 10, 3, 8},
        {",\"truncate_prompt_tokens\":3,\"truncation_side\":\"right\"", 10, 3, 1},
        {",\"truncate_prompt_tokens\":30", 10, 10, 1},
        {",\"truncate_prompt_tokens\":-1", 100, 48, 53}, // 64 - 16
        {",\"truncate_prompt_tokens\":-1,\"max_tokens\":null", 100, 63, 38},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        qw_api_request r = parsed(QW_API_COMPLETION, prompt_of(cases[i].n, cases[i].more));
        qw_api_prompt p = prompted(&r, 0);
        assert_int_equal(p.ids.len, cases[i].want);
        assert_int_equal(p.ids.data[0], cases[i].first);
        qw_api_prompt_release(&p);
        qw_api_request_release(&r);
    }
    assert_prompt_refused(QW_API_COMPLETION, prompt_of(5, ",\"truncate_prompt_tokens\":0"), "",
                          "cannot be empty");
}

static void test_prompt_forms(void **state)
{
    (void)state;
    static const struct {
        const char *prompt;
        size_t n;
    } cases[] = {{"\"a b\"", 1}, {"[\"a\",\"b\"]", 2}, {"[1,2,3]", 1}, {"[[1],[2,3],[4]]", 3}};
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"prompt\":%s,\"echo\":true}", cases[i].prompt);
        qw_api_request r = parsed(QW_API_COMPLETION, body);
        assert_int_equal(r.n_prompts, cases[i].n);
        for (size_t k = 0; k < r.n_prompts; k++) {
            qw_api_prompt p = prompted(&r, k);
            assert_true(p.ids.len > 0 && p.text.len > 0);
            assert_int_equal(p.thinking, QW_REASONING_CONTENT);
            qw_api_prompt_release(&p);
        }
        qw_api_request_release(&r);
    }
}

static void test_chat_prompt(void **state)
{
    (void)state;
    use_parser("auto");
    qw_api_request r = parsed(QW_API_CHAT, "{\"return_prompt_text\":true," HI "}");
    qw_api_prompt p = prompted(&r, 0);
    assert_string_equal(p.text.data, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    assert_int_equal(p.thinking, QW_REASONING_UNDECIDED);
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{\"return_prompt_text\":true,\"reasoning_effort\":\"none\"," HI "}");
    p = prompted(&r, 0);
    assert_non_null(strstr(p.text.data, "<think>\n\n</think>\n\n"));
    assert_int_equal(p.thinking, QW_REASONING_CONTENT);
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    r = parsed(QW_API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                            "\"text\":\"a\"},\"b\"]}],\"return_prompt_text\":true}");
    p = prompted(&r, 0);
    assert_non_null(strstr(p.text.data, "user\na\nb<|im_end|>"));
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    assert_prompt_refused(QW_API_CHAT, "{\"chat_template_kwargs\":{\"messages\":[]}," HI "}", "",
                          "messages");
}

static void test_own_template(void **state)
{
    (void)state;
    config.trust_request_chat_template = true;
    qw_api_request r = parsed(QW_API_CHAT, "{\"chat_template\":\"<{{ messages[0].content }}>\","
                                           "\"return_prompt_text\":true," HI "}");
    qw_api_prompt p = prompted(&r, 0);
    assert_string_equal(p.text.data, "<hi>");
    qw_api_prompt_release(&p);
    qw_api_request_release(&r);
    assert_prompt_refused(QW_API_CHAT, "{\"chat_template\":\"{% if %}\"," HI "}", "chat_template",
                          "");
    qw_api_error refusal;
    assert_int_not_equal(
        parse(&r, QW_API_CHAT, "{\"chat_template\":\"/etc/passwd\"," HI "}", &refusal), QW_OK);
    config.trust_request_chat_template = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_bodies), cmocka_unit_test(test_content_type),
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_lax_types),
        cmocka_unit_test(test_ids),          cmocka_unit_test(test_model_names),
        cmocka_unit_test(test_thinking),     cmocka_unit_test(test_tools),
        cmocka_unit_test(test_lengths),      cmocka_unit_test(test_room),
        cmocka_unit_test(test_truncation),   cmocka_unit_test(test_prompt_forms),
        cmocka_unit_test(test_chat_prompt),  cmocka_unit_test(test_own_template),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
