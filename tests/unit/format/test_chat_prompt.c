// From requests to prompts: where templates come from, how messages and tools are prepared.

#include "unit/format/template_cases.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/chat_messages.h"
#include "format/chat_prompt.h"

#define TINY QW_SOURCE_DIR "/models/tiny"

// Prints each message as its JSON, the tools, and the variables under test.
#define DUMP "{{ messages | tojson }}|{{ tools | tojson }}"

// ---- directories

static char directory[256];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%s/chat_prompt_XXXXXX", QW_TEST_TMP);
    return mkdtemp(directory) ? 0 : -1;
}

static void put_file(const char *name, const char *text)
{
    char path[512];
    qw_error err = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_ok(qw_file_write_atomic(path, text, strlen(text), &err));
}

static void put_templates_directory(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/additional_chat_templates", directory);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int remove_directory(void **state)
{
    (void)state;
    static const char *const names[] = {"chat_template.jinja",
                                        "tokenizer_config.json",
                                        "chat_template.json",
                                        "given.jinja",
                                        "additional_chat_templates/tool_use.jinja",
                                        "additional_chat_templates/other.jinja",
                                        "additional_chat_templates"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)remove(path);
    }
    return rmdir(directory);
}

// ---- rendering

static qw_status open_and_render(const char *dir, const char *chosen, const char *request,
                                 qw_buf *out, qw_error *err)
{
    json_t *json = NULL;
    qw_chat_prompt *p = NULL;
    if (qw_json_parse(&json, request, strlen(request), "request", err) != QW_OK)
        fail_msg("%s", err->text);
    json_t *before = json_deep_copy(json);
    qw_chat_request req = {
        .messages = json_object_get(json, "messages"),
        .tools = json_object_get(json, "tools"),
        .documents = json_object_get(json, "documents"),
        .chat_template_kwargs = json_object_get(json, "kwargs"),
        .add_generation_prompt = json_is_true(json_object_get(json, "generate")),
        .continue_final_message = json_is_true(json_object_get(json, "continue")),
    };
    qw_status st = qw_chat_prompt_open(&p, dir, chosen, err);
    if (st == QW_OK) st = qw_chat_prompt_render(p, &req, out, err);
    qw_chat_prompt_close(p);
    assert_true(json_equal(json, before)); // the caller's JSON stays as it is
    json_decref(before);
    json_decref(json);
    return st;
}

static void expect_prompt(const char *dir, const char *chosen, const char *request,
                          const char *want)
{
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_buf_puts(&out, ">");
    assert_ok(open_and_render(dir, chosen, request, &out, &err));
    if (strcmp(out.data + 1, want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", request, out.data + 1, want);
    qw_buf_release(&out);
}

static void expect_failure(const char *dir, const char *chosen, const char *request, qw_status want,
                           const char *part)
{
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_buf_puts(&out, ">");
    qw_status st = open_and_render(dir, chosen, request, &out, &err);
    if (st != want || !strstr(err.text, part))
        fail_msg("%s\n got: %d '%s'\nwant: %d '%s'", request, st, st ? err.text : out.data, want,
                 part);
    assert_string_equal(out.data, ">");
    qw_buf_release(&out);
}

#define HI "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}"
#define HI_TOOLS                                                                                   \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"tools\": [{\"type\": "          \
    "\"function\", \"function\": {\"name\": \"f\"}}]}"

// ---- where the template comes from

static void test_template_priority(void **state)
{
    (void)state;
    expect_failure(directory, NULL, HI, QW_ERR_IO, "no chat template in '");
    put_file("tokenizer_config.json", "{\"model_max_length\": 1000000000000000000000000000000}");
    expect_failure(directory, NULL, HI, QW_ERR_IO, "give one with --chat-template");
    put_file("chat_template.json", "{\"chat_template\": \"from json\"}");
    expect_prompt(directory, NULL, HI, "from json");
    put_file("tokenizer_config.json", "{\"chat_template\": \"from config\"}");
    expect_prompt(directory, NULL, HI, "from config");
    put_file("tokenizer_config.json",
             "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"tools of config\"},"
             " {\"name\": \"default\", \"template\": \"default of config\"},"
             " {\"name\": \"rag\", \"template\": \"{% block x %}\"}]}");
    expect_prompt(directory, NULL, HI, "default of config");
    expect_prompt(directory, NULL, HI_TOOLS, "tools of config");
    expect_prompt(directory, "tool_use", HI, "tools of config");
    put_templates_directory();
    put_file("additional_chat_templates/tool_use.jinja", "tools of folder");
    put_file("additional_chat_templates/other.jinja", "other of folder");
    expect_prompt(directory, NULL, HI, "default of config");
    expect_prompt(directory, NULL, HI_TOOLS, "tools of folder");
    put_file("chat_template.jinja", "from jinja");
    expect_prompt(directory, NULL, HI, "from jinja");
    expect_prompt(directory, NULL, HI_TOOLS, "tools of folder");
    expect_prompt(directory, "other", HI_TOOLS, "other of folder");
    expect_failure(directory, "rag", HI, QW_ERR_IO, "no template of that name");
    put_file("given.jinja", "given {{ messages[0].content }}");
    char path[512];
    snprintf(path, sizeof path, "%s/given.jinja", directory);
    expect_prompt(directory, path, HI_TOOLS, "given hi");
    expect_prompt(directory, "text {{ messages[0].role }}", HI_TOOLS, "text user");
    expect_failure(directory, "no/such/file.jinja", HI, QW_ERR_IO, "'no/such/file.jinja'");
}

static void test_bad_template_files(void **state)
{
    (void)state;
    put_file("tokenizer_config.json", "[]");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "tokenizer_config.json must hold an object");
    put_file("tokenizer_config.json", "{");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "tokenizer_config.json: no valid JSON");
    put_file("tokenizer_config.json", "{\"chat_template\": 5}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "must be a string, got integer");
    put_file("tokenizer_config.json", "{\"chat_template\": [5]}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "chat_template[0]");
    put_file("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\"}]}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "must be a string, got nothing");
    put_file("tokenizer_config.json", "{\"chat_template\": \"{% if %}\"}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "chat template 'default': line 1: expected");
    put_file("tokenizer_config.json", "{\"chat_template\": \"x\", \"eos_token\": 5}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "'eos_token'");
    put_file("tokenizer_config.json",
             "{\"chat_template\": \"x\", \"additional_special_tokens\": [\"a\", {}]}");
    expect_failure(directory, NULL, HI, QW_ERR_FORMAT, "'additional_special_tokens[1]'");
}

static void test_special_tokens(void **state)
{
    (void)state;
    put_file("tokenizer_config.json",
             "{\"eos_token\": \"E\", \"pad_token\": {\"content\": \"P\", \"lstrip\": false}, "
             "\"bos_token\": null, \"additional_special_tokens\": [\"A\", {\"content\": \"B\"}]}");
    expect_prompt(directory,
                  "{{ eos_token }}{{ pad_token }}{{ bos_token is defined }}{{ unk_token is defined "
                  "}}{{ additional_special_tokens }}",
                  HI, "EPFalseFalse['A', 'B']");
    expect_prompt(directory, "{{ eos_token }}",
                  "{\"messages\": [{\"role\": \"user\"}], \"kwargs\": {\"eos_token\": \"mine\"}}",
                  "mine");
    expect_prompt(directory,
                  "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}"
                  "{{ continue_final_message is defined }}",
                  "{\"messages\": [{\"role\": \"user\"}], \"tools\": [], \"generate\": true}",
                  "TrueTrueTrueFalse");
    expect_prompt(directory, "{{ documents[0].a }}",
                  "{\"messages\": [{\"role\": \"user\"}], \"documents\": [{\"a\": 1}]}", "1");
}

static void test_tiny_model(void **state)
{
    (void)state;
    expect_prompt(TINY, NULL,
                  "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"generate\": true, "
                  "\"kwargs\": {\"enable_thinking\": false}}",
                  "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
    qw_error err = {0};
    qw_chat_prompt *p;
    assert_ok(qw_chat_prompt_open(&p, TINY, NULL, &err));
    assert_true(qw_str_find(qw_chat_prompt_template(p), QW_STR("<think>"), 0) != SIZE_MAX);
    qw_chat_prompt_close(p);
}

// ---- preparation

static void test_content(void **state)
{
    (void)state;
    expect_prompt(TINY, DUMP,
                  "{\"messages\": [{\"role\": \"user\"}, {\"content\": null, \"role\": \"x\"}]}",
                  "[{\"role\": \"user\", \"content\": \"\"}, {\"content\": \"\", \"role\": \"x\"}]"
                  "|null");
    const char *parts = "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", "
                        "\"text\": \"a\"}, \"b\", {\"type\": \"input_text\", \"text\": null}, "
                        "{\"type\": \"refusal\", \"refusal\": \"c\"}], \"name\": \"n\"}]}";
    expect_prompt(TINY, "{{ messages | tojson }}", parts,
                  "[{\"role\": \"user\", \"content\": \"a\\nb\\nc\", \"name\": \"n\"}]");
    expect_prompt(TINY,
                  "{% for m in messages %}{% for p in m.content %}{{ p | tojson }}{% endfor %}"
                  "{% endfor %}",
                  parts,
                  "{\"type\": \"text\", \"text\": \"a\"}{\"type\": \"text\", \"text\": \"b\"}"
                  "{\"type\": \"text\", \"text\": \"c\"}");
    expect_prompt(TINY, "{{ messages[0].content }}",
                  "{\"messages\": [{\"role\": \"user\", \"content\": []}]}", "");
}

static void test_tool_calls(void **state)
{
    (void)state;
    expect_prompt(
        TINY, "{% for c in messages[0].tool_calls %}{{ c | tojson }};{% endfor %}",
        "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": ["
        "{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": "
        "\"{\\\"x\\\":  1.0}\"}},"
        "{\"type\": \"function\", \"function\": {\"arguments\": \"\", \"name\": \"g\"}},"
        "{\"type\": \"function\", \"function\": {\"name\": \"h\", \"arguments\": null}},"
        "{\"function\": {\"name\": \"i\", \"arguments\": {\"y\": [1]}}},"
        "{\"name\": \"j\"}]}]}",
        "{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": "
        "{\"x\": 1.0}}};"
        "{\"type\": \"function\", \"function\": {\"arguments\": {}, \"name\": \"g\"}};"
        "{\"type\": \"function\", \"function\": {\"name\": \"h\", \"arguments\": {}}};"
        "{\"function\": {\"name\": \"i\", \"arguments\": {\"y\": [1]}}};"
        "{\"name\": \"j\", \"arguments\": {}};");
    expect_prompt(TINY, "{{ messages | tojson }}",
                  "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": "
                  "[]}, {\"role\": \"assistant\", \"content\": \"b\", \"tool_calls\": null}]}",
                  "[{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"assistant\", "
                  "\"content\": \"b\"}]");
}

static void test_reasoning(void **state)
{
    (void)state;
    const char *both = "{% for m in messages %}{{ m.reasoning }},{{ m.reasoning_content }};"
                       "{% endfor %}";
    expect_prompt(TINY, both,
                  "{\"messages\": [{\"role\": \"assistant\", \"reasoning\": \"r\"}, {\"role\": "
                  "\"assistant\", \"reasoning_content\": \"c\"}, {\"role\": \"assistant\", "
                  "\"reasoning\": null, \"reasoning_content\": \"d\"}, {\"role\": \"user\", "
                  "\"reasoning\": \"u\"}]}",
                  "r,r;c,c;d,d;u,;");
}

static void test_tools(void **state)
{
    (void)state;
    expect_prompt(
        TINY, "{% for t in tools %}{{ t | tojson }}{% endfor %}",
        "{\"messages\": [{\"role\": \"user\"}], \"tools\": [{\"x\": 1, \"function\": {\"strict\": "
        "true, \"parameters\": {\"b\": 1, \"a\": 1.0}, \"name\": \"f\"}, \"type\": \"function\"},"
        " {\"function\": {\"name\": \"g\", \"description\": \"d\"}}]}",
        "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"description\": null, "
        "\"parameters\": {\"b\": 1, \"a\": 1.0}, \"strict\": true}, \"x\": 1}"
        "{\"type\": \"function\", \"function\": {\"name\": \"g\", \"description\": \"d\", "
        "\"parameters\": null}}");
}

static void test_request_errors(void **state)
{
    (void)state;
#define MESSAGES(list) "{\"messages\": [" list "]}"
#define USER(content) MESSAGES("{\"role\": \"user\", \"content\": " content "}")
#define CALLS(calls) MESSAGES("{\"role\": \"assistant\", \"tool_calls\": " calls "}")
#define TOOLS(tools) "{\"messages\": [{\"role\": \"user\"}], \"tools\": " tools "}"
#define KWARGS(kwargs) "{\"messages\": [{\"role\": \"user\"}], \"kwargs\": " kwargs "}"
    static const struct {
        const char *request, *message;
        qw_status status;
    } cases[] = {
        {"{}", "messages must be a list, got nothing", QW_ERR_FORMAT},
        {"{\"messages\": {}}", "messages must be a list, got object", QW_ERR_FORMAT},
        {MESSAGES(""), "messages must not be empty", QW_ERR_FORMAT},
        {MESSAGES("5"), "messages[0] must be an object, got integer", QW_ERR_FORMAT},
        {MESSAGES("{}"), "messages[0].role must be a string, got nothing", QW_ERR_FORMAT},
        {MESSAGES("{\"role\": \"a\"}, {\"role\": 1}"), "messages[1].role must be", QW_ERR_FORMAT},
        {USER("5"), "messages[0].content must be a string, null or a list", QW_ERR_FORMAT},
        {USER("[5]"), "messages[0].content[0] must be an object", QW_ERR_FORMAT},
        {USER("[{}]"), "messages[0].content[0].type must be a string", QW_ERR_FORMAT},
        {USER("[\"a\", {\"type\": \"text\"}]"), "messages[0].content[1].text must be",
         QW_ERR_FORMAT},
        {USER("[{\"type\": \"image_url\"}]"), "a part of type 'image_url'", QW_ERR_UNSUPPORTED},
        {USER("[{\"type\": \"image_url\"}]"), "messages[0].content[0]", QW_ERR_UNSUPPORTED},
        {CALLS("5"), "messages[0].tool_calls must be a list", QW_ERR_FORMAT},
        {CALLS("[5]"), "messages[0].tool_calls[0] must be an object", QW_ERR_FORMAT},
        {CALLS("[{\"function\": 1}]"), "messages[0].tool_calls[0].function must", QW_ERR_FORMAT},
        {CALLS("[{\"function\": {}}]"), "tool_calls[0].function.name must be", QW_ERR_FORMAT},
        {CALLS("[{\"function\": {\"name\": \"f\", \"arguments\": 1}}]"),
         "messages[0].tool_calls[0].function.arguments must be", QW_ERR_FORMAT},
        {CALLS("[{\"function\": {\"name\": \"f\", \"arguments\": \"{a\"}}]"),
         "messages[0].tool_calls[0].function.arguments: no valid JSON", QW_ERR_FORMAT},
        {MESSAGES("{\"role\": \"assistant\", \"reasoning\": 5}"), "messages[0].reasoning must be",
         QW_ERR_FORMAT},
        {TOOLS("{}"), "tools must be a list", QW_ERR_FORMAT},
        {TOOLS("[5]"), "tools[0] must be an object", QW_ERR_FORMAT},
        {TOOLS("[{\"type\": \"x\"}]"), "tools[0].type must be 'function'", QW_ERR_FORMAT},
        {TOOLS("[{\"type\": \"function\"}]"), "tools[0].function must be", QW_ERR_FORMAT},
        {TOOLS("[{\"function\": {}}]"), "tools[0].function.name must be", QW_ERR_FORMAT},
        {KWARGS("5"), "chat_template_kwargs must be an object", QW_ERR_FORMAT},
        {KWARGS("{\"messages\": []}"), "may not set 'messages'", QW_ERR_USAGE},
        {KWARGS("{\"tools\": null}"), "may not set 'tools'", QW_ERR_USAGE},
        {KWARGS("{\"add_generation_prompt\": true}"), "may not set 'add_gen", QW_ERR_USAGE},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        expect_failure(TINY, DUMP, cases[i].request, cases[i].status, cases[i].message);
    expect_failure(TINY, "{{ raise_exception('roles must alternate') }}", HI, QW_ERR_FORMAT,
                   "roles must alternate");
}

// ---- continue_final_message

static void test_continue_final_message(void **state)
{
    (void)state;
#define CONTINUE(content)                                                                          \
    "{\"continue\": true, \"messages\": [{\"role\": \"user\", \"content\": \"One\"}, {\"role\": "  \
    "\"assistant\", \"content\": " content "}]}"
    const char *simple = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}";
    expect_prompt(TINY, simple, CONTINUE("\"One, two\""), "<user>One</>\n<assistant>One, two");
    expect_prompt(TINY, simple, CONTINUE("\" One \\n\""), "<user>One</>\n<assistant> One \n");
    expect_prompt(TINY, "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}",
                  CONTINUE("\" One \\n\""), "<One><One");
    expect_prompt(TINY, simple, CONTINUE("[\"One,\", \"two\"]"),
                  "<user>One</>\n<assistant>One,\ntwo");
    expect_prompt(
        TINY, NULL, CONTINUE("\"Fo\""),
        "<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nFo");
    expect_failure(TINY, simple, CONTINUE("\" \\n\""), QW_ERR_USAGE,
                   "messages[1].content is empty");
    expect_failure(TINY, "fixed{{ 1 }}", CONTINUE("\"a\""), QW_ERR_USAGE, "changes the content");
    expect_failure(TINY, simple,
                   "{\"continue\": true, \"generate\": true, \"messages\": [{\"role\": \"user\"}]}",
                   QW_ERR_USAGE, "cannot both be true");
}

// ---- memory

static void test_failing_allocations(void **state)
{
    (void)state;
    qw_error err = {0};
    json_t *json = NULL;
    const char *text =
        "{\"messages\": [{\"role\": \"user\", \"content\": [\"a\", {\"type\": \"text\", \"text\": "
        "\"b\"}]}, {\"role\": \"assistant\", \"reasoning\": \"r\", \"content\": \"c\", "
        "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": [1, "
        "2]}\"}}]}, {\"role\": \"assistant\", \"content\": \"end\"}], \"tools\": [{\"function\": "
        "{\"name\": \"f\"}}]}";
    put_file("tokenizer_config.json",
             "{\"chat_template\": [{\"name\": \"default\", \"template\": \"x\"}, {\"name\": "
             "\"tool_use\", \"template\": \"{{ messages | tojson }}{{ messages[-1].content }}\"}], "
             "\"eos_token\": \"E\", \"additional_special_tokens\": [\"A\"]}");
    assert_ok(qw_json_parse(&json, text, strlen(text), "request", &err));
    qw_chat_request req = {.messages = json_object_get(json, "messages"),
                           .tools = json_object_get(json, "tools"),
                           .continue_final_message = true};
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        qw_chat_prompt *p = NULL;
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_mem_fail_at(n);
        qw_status st = qw_chat_prompt_open(&p, directory, NULL, &err);
        if (st == QW_OK) st = qw_chat_prompt_render(p, &req, &out, &err);
        qw_mem_fail_at(0);
        if (st != QW_OK) assert_int_equal(out.len, 0);
        qw_chat_prompt_close(p);
        if (st == QW_OK) assert_true(qw_str_ends_with((qw_str){out.data, out.len}, QW_STR("end")));
        qw_buf_release(&out);
        assert_int_equal(qw_mem_live(), live);
        if (st == QW_OK) {
            assert_true(n > 50);
            break;
        }
        if (st != QW_ERR_NO_MEMORY) fail_msg("allocation %d: %s", (int)n, err.text);
    }
    json_decref(json);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_template_priority),   IN_DIRECTORY(test_bad_template_files),
        IN_DIRECTORY(test_special_tokens),      cmocka_unit_test(test_tiny_model),
        cmocka_unit_test(test_content),         cmocka_unit_test(test_tool_calls),
        cmocka_unit_test(test_reasoning),       cmocka_unit_test(test_tools),
        cmocka_unit_test(test_request_errors),  cmocka_unit_test(test_continue_final_message),
        IN_DIRECTORY(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
