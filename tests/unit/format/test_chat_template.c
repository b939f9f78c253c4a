// The 270 golden renderings; parse errors, limits, threads and memory of the interpreter.

#include "unit/format/template_cases.h"

#include <pthread.h>

#define DATA QW_TEST_DATA "/chat-template/"

// ---- golden renderings

static int n_rendered, n_errors;

static void load_template(qw_chat_template **out, const char *path)
{
    qw_error err = {0};
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    assert_ok(qw_file_read(&text, path, &err));
    assert_ok(qw_chat_template_parse(out, text.data, text.len, path, &err));
    qw_buf_release(&text);
}

static json_t *case_context(const json_t *line)
{
    json_t *c = json_object();
    json_object_set(c, "messages", json_object_get(line, "messages"));
    json_object_set(c, "tools", json_object_get(line, "tools"));
    json_object_set_new(c, "eos_token", json_string("<|im_end|>"));
    json_object_set_new(c, "pad_token", json_string("<|endoftext|>"));
    json_object_update(c, json_object_get(line, "kwargs"));
    return c;
}

static void check_case(const json_t *line, size_t i)
{
    (void)i;
    qw_error err = {0};
    const char *name = json_string_value(json_object_get(line, "name"));
    const json_t *rendered = json_object_get(line, "rendered");
    char path[512];
    snprintf(path, sizeof path, DATA "%s", json_string_value(json_object_get(line, "template")));
    qw_chat_template *t;
    load_template(&t, path);
    json_t *context = case_context(line);
    qw_buf out;
    qw_buf_init(&out, (size_t)16 << 20);
    qw_status st = qw_chat_template_render(t, context, &out, NULL, &err);
    if (rendered) {
        if (st != QW_OK) fail_msg("%s, %s: %s", name, path, err.text);
        qw_str want = qw_json_str(rendered);
        if (!qw_str_eq((qw_str){out.data, out.len}, want))
            fail_msg("%s, %s:\n--- got\n%.*s\n--- want\n%.*s", name, path, (int)out.len, out.data,
                     (int)want.len, want.ptr);
        n_rendered++;
    } else {
        if (st == QW_OK) fail_msg("%s, %s: rendered instead of failing", name, path);
        n_errors++;
    }
    json_decref(context);
    qw_buf_release(&out);
    qw_chat_template_free(t);
}

static void test_golden(void **state)
{
    (void)state;
    assert_int_equal(each_json_line(DATA "cases.jsonl", check_case), 270);
    print_message("%d cases rendered, %d failed as they must\n", n_rendered, n_errors);
    assert_int_equal(n_rendered, 267);
    assert_int_equal(n_errors, 3);
}

static void test_tiny_model(void **state)
{
    (void)state;
    qw_error err = {0};
    qw_chat_template *t;
    load_template(&t, QW_SOURCE_DIR "/models/tiny/chat_template.jinja");
    json_t *context;
    const char *json = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}],"
                       " \"add_generation_prompt\": true, \"enable_thinking\": false}";
    assert_ok(qw_json_parse(&context, json, strlen(json), "context", &err));
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    assert_ok(qw_chat_template_render(t, context, &out, NULL, &err));
    assert_string_equal(out.data,
                        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n"
                        "</think>\n\n");
    assert_false(qw_chat_template_wants_parts(t));
    json_decref(context);
    qw_buf_release(&out);
    qw_chat_template_free(t);
}

// ---- parse errors

static void test_parse_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a\n{% if x %}b", "line 2: the template ends inside 'if' of line 2"},
        {"{% for x in y %}\n{% endif %}", "line 2: unknown tag 'endif'"},
        {"\n\n{% bogus %}", "line 3: unknown tag 'bogus'"},
        {"{% endfor %}", "unknown tag 'endfor'"},
        {"{{ a | nofilter }}", "line 1: there is no filter named 'nofilter'"},
        {"{{ a is notest }}", "there is no test named 'notest'"},
        {"{{ 'a\\ud800' }}", "'\\ud800'"},
        {"{{ '\\x4' }}", "no Unicode character"},
        {"{{ '\\N{DASH}' }}", "no Unicode character"},
        {"{{ 'open }}", "is not closed"},
        {"{{ a", "the template ends"},
        {"{% if a", "the template ends"},
        {"{# never closed", "the comment '{#' has no '#}'"},
        {"{% raw %} {{ x }}", "'{% raw %}' has no '{% endraw %}'"},
        {"{{ a b }}", "expected '}}', got 'b'"},
        {"{{ (a }}", "expected ')'"},
        {"{{ a) }}", "unexpected ')'"},
        {"{{ [1} }}", "unexpected '}', expected ']'"},
        {"{{ a ? b }}", "unexpected character '?'"},
        {"{{ a.'b' }}", "expected an attribute name"},
        {"{{ a[] }}", "expected a subscript"},
        {"{{ }}", "expected an expression, got '}}'"},
        {"{% if %}{% endif %}", "expected an expression, got '%}'"},
        {"{% set 1 = 2 %}", "expected a name, got '1'"},
        {"{% set true = 2 %}", "cannot assign to 'true'"},
        {"{% for x of y %}{% endfor %}", "expected 'in', got 'of'"},
        {"{% break %}", "'break' stands outside of a loop"},
        {"{% for x in y %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
         "'break' stands outside of a loop"},
        {"{% macro m(a=1, b) %}{% endmacro %}", "'b' without a default"},
        {"{{ f(a=1, 2) }}", "a positional argument may not follow"},
        {"{{ a is string is defined }}", "got 'is'"},
        {"{% call x %}{% endcall %}", "the tag 'call' needs a call"},
        {"{{ {1: } }}", "expected an expression"},
        {"\xff", "no valid UTF-8"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        expect_error(cases[i].text, NULL, QW_ERR_FORMAT, cases[i].message);
        expect_error(cases[i].text, NULL, QW_ERR_FORMAT, "chat template 'test'");
    }
    expect_error("{% block x %}{% endblock %}", NULL, QW_ERR_UNSUPPORTED, "the tag 'block'");
    expect_error("{% include 'x' %}", NULL, QW_ERR_UNSUPPORTED, "the tag 'include'");
    expect_text("{% if false %}{% include 'x' %}{% endif %}ok", NULL, "ok");
    expect_text("{{ 'a'|nofilter if false else 'b' }}", NULL, "b");
    expect_error("{{ lipsum() }}", NULL, QW_ERR_UNSUPPORTED, "lipsum");
}

// `n` copies of `unit` between `before` and `after`.
static char *repeated(const char *before, const char *unit, size_t n, const char *after)
{
    qw_buf b;
    qw_buf_init(&b, (size_t)64 << 20);
    qw_buf_puts(&b, before);
    for (size_t i = 0; i < n; i++) qw_buf_puts(&b, unit);
    qw_buf_puts(&b, after);
    return qw_buf_take(&b, NULL);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    static const struct {
        const char *before, *unit, *after;
    } cases[] = {
        {"{{ ", "(", ""},
        {"{{ ", "[", ""},
        {"{{ ", "{1:", ""},
        {"{{ ", "-", "1 }}"},
        {"{{ ", "not ", "1 }}"},
        {"{{ 1", "+1", " }}"},
        {"{{ a", ".b", " }}"},
        {"{{ a", "[0]", " }}"},
        {"{{ a", "|e", " }}"},
        {"{{ a", "()", " }}"},
        {"{{ 1 ", "if 1 else 1 ", "}}"},
        {"", "{% if 1 %}", ""},
        {"", "{% for x in y %}", ""},
        {"{% for ", "(", ""},
        {"{{ 1 ", "and 1 ", "}}"},
        {"{{ 1", "**1", " }}"},
        {"{{ a ", "is string ", "}}"},
        {"{{ f(", "f(", ""},
        {"{% set x", "|e", " %}{% endset %}"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++) {
        char *text = repeated(cases[i].before, cases[i].unit, 100000, cases[i].after);
        expect_error(text, NULL, QW_ERR_FORMAT, "line 1: ");
        qw_mem_free(text);
    }
    // Long but flat is fine.
    char *text = repeated("{% if a %}", "{% elif a %}", 20000, "{% endif %}ok");
    expect_text(text, NULL, "ok");
    qw_mem_free(text);
    text = repeated("{{ ''", " ~ ''", 20000, " }}ok");
    expect_text(text, NULL, "ok");
    qw_mem_free(text);
    text = repeated("{{ 1", " < 2 ", 1, "}}");
    expect_text(text, NULL, "True");
    qw_mem_free(text);
    text = repeated("{{ ", "(", 90, "1");
    char *closed = repeated(text, ")", 90, " }}");
    expect_text(closed, NULL, "1");
    qw_mem_free(text);
    qw_mem_free(closed);
}

// ---- limits

static void test_limits(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); // one thread, and minutes of it
#endif
    if (QW_TEST_EMULATED) skip();
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{{ 'a' * 10**9 }}", "longer than the limit"},
        {"{{ 'a' * 10**18 }}", "longer than the limit"},
        {"{{ [1] * 10**9 }}", "memory"},
        {"{{ [1, 2] * 2**62 }}", "memory"},
        {"{{ range(10**9) | list }}", "range too big"},
        {"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
         "steps"},
        {"{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "writes more than"},
        {"{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}",
         "longer than the limit"},
        {"{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}"
         "{% endfor %}",
         "longer than the limit"},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}"
         "{% endfor %}",
         "memory"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(50000) %}{% set ns.l = ns.l + [i] %}"
         "{% endfor %}",
         "memory"},
        {"{{ ('a' * 10**7).replace('a', 'b' * 1000) }}", "writes more than"},
        {"{{ ('a' * 10**7).replace('', 'b' * 1000) }}", "writes more than"},
        {"{{ ('b' * 10**7).join('a' * 1000) }}", "writes more than"},
        {"{{ ('a\\n' * 10**6) | indent(10**6) }}", "writes more than"},
        {"{{ 'a' | indent(10**9) }}", "longer than the limit"},
        {"{{ 'a' | center(10**9) }}", "more than the limit"},
        {"{{ 'a'.ljust(10**12) }}", "more than the limit"},
        {"{{ 'a'.zfill(10**12) }}", "more than the limit"},
        {"{{ '%1000000000d' % 1 }}", "more than the limit"},
        {"{{ '%.1000000000f' % 1 }}", "more than 1000 digits"},
        {"{{ '%99999999999999999999d' % 1 }}", "too big"},
        {"{{ '%*d' % (10**9, 1) }}", "more than the limit"},
        {"{{ '{:1000000000}'.format('a') }}", "more than the limit"},
        {"{{ strftime_now('%1000000000d') }}", "too long"},
        {"{{ [1] | batch(10**9, 0) | list }}", "memory"},
        {"{{ [1] | slice(10**9) | list }}", "memory"},
        {"{{ {'a': 1} | tojson(indent=10**9) }}", "longer than the limit"},
        {"{{ 2 ** 100000000000 }}", "64 bits"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"},
        {"{{ -9223372036854775807 - 2 }}", "64 bits"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"},
        {"{{ (-9223372036854775807 - 1) | abs }}", "64 bits"},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "macro calls inside each other"},
        {"{% macro f() %}{% call f() %}{{ caller }}{% endcall %}{{ caller }}{% endmacro %}{{ f() "
         "}}",
         "macro calls inside each other"},
        {"{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
         "macro calls inside each other"},
        {"{% macro f() %}{{ (((([[f()]])))) }}{% endmacro %}{{ f() }}", "inside each other"},
        {"{% macro f() %}{{ -(-(-(-(-(-(-(-(-(-f()|int))))))))) }}{% endmacro %}{{ f() }}",
         "nests deeper"},
        {"{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}{{ ns.x }}",
         "nests deeper"},
        {"{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
         "{% endfor %}{{ ns.x | tojson }}",
         "nests deeper"},
        {"{% set ns = namespace(x=1, y=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
         "{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
         "nests deeper"},
        {"{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "nests deeper"},
        {"{% set a = 'a' * 10**6 %}{% for i in range(100000) %}{{ a.find('b') }}{% endfor %}",
         "steps"},
        {"{% set a = 'a' * 10**6 %}{% set b = 'a' * 10**5 ~ 'b' %}{{ a.rfind(b) }}"
         "{% for i in range(100000) %}{{ a.rfind(b) }}{% endfor %}",
         "steps"},
        {"{% set a = 'ab' * 10**6 %}{{ a.strip(a) }}", "steps"},
        {"{% set a = 'ab' * 10**6 %}{{ a | trim(a) }}", "steps"},
        {"{% set a = 'a' * 10**6 %}{% for i in range(100000) %}{{ a[i] }}{% endfor %}", "steps"},
        {"{% set a = 'a' * 10**6 %}{% for i in range(100000) %}{{ a|length }}{% endfor %}",
         "steps"},
        {"{% set l = range(100000)|list %}{% for i in range(1000) %}{{ -1 in l }}{% endfor %}",
         "steps"},
        {"{% for i in range(1000) %}{{ range(100000)|sort|length }}{% endfor %}", "steps"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, NULL, QW_ERR_FORMAT, cases[i].message);
}

static void expect_limited(const char *text, qw_chat_template_options options, const char *message)
{
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, 1 << 20);
    qw_buf_puts(&out, "before");
    qw_status st = render_text(&out, text, strlen(text), NULL, &options, &err);
    if (message) {
        assert_fails(st, QW_ERR_FORMAT, message);
        assert_string_equal(out.data, "before");
    } else {
        assert_ok(st);
    }
    qw_buf_release(&out);
}

static void test_limits_are_exact(void **state)
{
    (void)state;
    qw_chat_template_options o = qw_chat_template_defaults;
    o.max_output = 10;
    expect_limited("0123456789", o, NULL);
    expect_limited("0123456789a", o, "writes more than 10 bytes");
    o = qw_chat_template_defaults;
    o.max_calls = 3;
    const char *recursion = "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{% endif %}{% endmacro %}";
    char text[200];
    snprintf(text, sizeof text, "%s{{ f(3) }}", recursion);
    expect_limited(text, o, NULL);
    snprintf(text, sizeof text, "%s{{ f(4) }}", recursion);
    expect_limited(text, o, "more than 3 macro calls");
    o = qw_chat_template_defaults;
    o.max_steps = 1000;
    expect_limited("{% for i in range(10) %}{{ i }}{% endfor %}", o, NULL);
    expect_limited("{% for i in range(500) %}{{ i }}{% endfor %}", o, "more than 1000 steps");
    o = qw_chat_template_defaults;
    o.max_memory = 20000;
    expect_limited("{{ 'a' * 1000 }}", o, NULL);
    expect_limited("{{ 'a' * 20000 }}", o, "more than 20000 bytes of memory");
    snprintf(text, sizeof text, "%s{{ f(190) }}", recursion);
    expect_limited(text, qw_chat_template_defaults, NULL);
}

// ---- threads

static void *render_deep(void *arg)
{
    // The deepest things that the limits allow, on this thread's small stack.
    static const char *const texts[] = {
        "{% macro f(x) %}{% for i in [1] %}{% if x %}{{ f(x=[f]|map('list')|list)|upper }}"
        "{% endif %}{% endfor %}{% endmacro %}{{ f([1]) }}",
        "{% macro f() %}{% call f() %}x{% endcall %}{{ caller() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% filter upper %}{% set x %}{{ {'a': [(f(),)]} }}{% endset %}"
        "{% endfilter %}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x=1) %}{% for i in range(990) %}{% set ns.x = {'a': ns.x} %}"
        "{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = {'a': ns.x} %}"
        "{% endfor %}{{ ns.x|tojson(indent=2) }}",
        "{% macro f() %}{{ 1 + (2 * (3 - (4 ~ (f() < (1 if f() else 2))))) }}{% endmacro %}{{ f() "
        "}}",
    };
    (void)arg;
    qw_error err = {0};
    for (size_t i = 0; i < QW_ARRAY_LEN(texts); i++) {
        qw_buf out;
        qw_buf_init(&out, (size_t)64 << 20);
        (void)render_text(&out, texts[i], strlen(texts[i]), NULL, NULL, &err);
        qw_buf_release(&out);
    }
    static const struct {
        const char *before, *open, *middle, *close, *after;
        size_t n;
    } nested[] = {
        {"{{ ", "(", "1", ")", " }}", 99},
        {"", "{% if 1 %}", "x", "{% endif %}", "", 199},
        {"{% macro a(x=1) %}{{ x }}{% endmacro %}{% macro f() %}{{ ", "a(x=", "f()", ")",
         " }}{% endmacro %}{{ f() }}", 90},
        {"{% macro f() %}{{ ", "a|replace(", "f()", ",1)", " }}{% endmacro %}{{ f() }}", 90},
        {"{% macro f() %}{{ ", "[1][", "f()", "]", " }}{% endmacro %}{{ f() }}", 90},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(nested); i++) {
        char *head = repeated(nested[i].before, nested[i].open, nested[i].n, nested[i].middle);
        char *text = repeated(head, nested[i].close, nested[i].n, nested[i].after);
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        (void)render_text(&out, text, strlen(text), NULL, NULL, &err);
        qw_buf_release(&out);
        qw_mem_free(head);
        qw_mem_free(text);
    }
    return NULL;
}

static void test_small_stack(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); // its frames are not those of any other build
#endif
    pthread_attr_t attr;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 1 << 20), 0);
    assert_int_equal(pthread_create(&thread, &attr, render_deep, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}

typedef struct shared_work {
    const qw_chat_template *tmpl;
    const json_t *context;
    qw_buf out;
    qw_status status;
} shared_work;

static void *render_shared(void *arg)
{
    shared_work *w = arg;
    qw_buf_init(&w->out, 1 << 20);
    for (int i = 0; i < 50 && w->status == QW_OK; i++) {
        qw_buf_clear(&w->out);
        w->status = qw_chat_template_render(w->tmpl, w->context, &w->out, NULL, NULL);
    }
    return NULL;
}

static void test_threads_share_a_template(void **state)
{
    (void)state;
    qw_error err = {0};
    qw_chat_template *t;
    load_template(&t, DATA "qwen3-hybrid-updated.jinja");
    json_t *context;
    const char *json = "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
                       "\"assistant\", \"content\": \"<think>\\nr\\n</think>\\n\\na\"}],"
                       "\"tools\": [{\"name\": \"f\", \"n\": [1, 2.5, null]}]}";
    assert_ok(qw_json_parse(&context, json, strlen(json), "context", &err));
    shared_work work[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        work[i] = (shared_work){.tmpl = t, .context = context};
        assert_int_equal(pthread_create(&threads[i], NULL, render_shared, &work[i]), 0);
    }
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(work[i].status, QW_OK);
        assert_string_equal(work[i].out.data, work[0].out.data);
    }
    for (int i = 0; i < 4; i++) qw_buf_release(&work[i].out);
    json_decref(context);
    qw_chat_template_free(t);
}

// ---- memory

static void test_failing_allocations(void **state)
{
    (void)state;
    qw_error err = {0};
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    assert_ok(qw_file_read(&text, DATA "qwen3-hybrid-updated.jinja", &err));
    qw_buf_puts(&text, "{{ tools|map('tojson')|list }}{{ strftime_now('%Y')|length }}{% set x %}y"
                       "{% endset %}{{ 'a' 'b' ~ '%s-%5.2f' % (x, 1.5) }}{{ '{:>5}'.format(x) }}");
    json_t *context;
    const char *json = "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
                       "\"assistant\", \"content\": \"<think>\\nr\\n</think>\\n\\na\"}],"
                       "\"tools\": [{\"name\": \"f\", \"n\": [1, 2.5, null]}]}";
    assert_ok(qw_json_parse(&context, json, strlen(json), "context", &err));
    size_t live = qw_mem_live();
    uint64_t n = 1;
    for (;; n++) {
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_chat_template *t = NULL;
        qw_mem_fail_at(n);
        qw_status st = qw_chat_template_parse(&t, text.data, text.len, "test", &err);
        if (st == QW_OK) st = qw_chat_template_render(t, context, &out, NULL, &err);
        qw_mem_fail_at(0);
        if (st != QW_OK) assert_int_equal(out.len, 0);
        qw_chat_template_free(t);
        qw_buf_release(&out);
        assert_int_equal(qw_mem_live(), live);
        if (st == QW_OK) break;
        assert_int_equal(st, QW_ERR_NO_MEMORY);
    }
    assert_true(n > 10);
    json_decref(context);
    qw_buf_release(&text);
}

// ---- what content a template wants

static void expect_parts(const char *text, bool want)
{
    qw_error err = {0};
    qw_chat_template *t;
    assert_ok(qw_chat_template_parse(&t, text, strlen(text), "test", &err));
    if (qw_chat_template_wants_parts(t) != want) fail_msg("%s: want %d", text, want);
    qw_chat_template_free(t);
}

static void test_content_format(void **state)
{
    (void)state;
    expect_parts("{% for m in messages %}{{ m.content }}{% endfor %}", false);
    expect_parts("{% for m in messages %}{% for p in m.content %}{% endfor %}{% endfor %}", true);
    expect_parts("{% for m in messages[1:] %}{% set c = m['content'] %}{% for p in c %}{% endfor %}"
                 "{% endfor %}",
                 true);
    expect_parts("{% set x = messages|list %}{% for p in x[0].get('content') %}{% endfor %}", true);
    expect_parts("{% for m in messages %}{% for c in m.tool_calls %}{% endfor %}{% endfor %}",
                 false);
    expect_parts(
        "{% for m in messages %}{% for l in m.content.split('x') %}{% endfor %}{% endfor %}",
        false);
    expect_parts("{% macro r(c, n) %}{% for p in c %}{% endfor %}{% endmacro %}"
                 "{% for m in messages %}{{ r(m.content, 1) }}{% endfor %}",
                 true);
    expect_parts("{% macro r(a, c) %}{% for p in c %}{% endfor %}{% endmacro %}"
                 "{% for m in messages %}{{ r(1, c=m.content) }}{{ r(m.content) }}{% endfor %}",
                 true);
    static const char *const files[] = {"qwen3-hybrid-2504",   "qwen3-hybrid-updated",
                                        "qwen3-thinking-2507", "qwen3-instruct-2507",
                                        "qwen3-nonthinking",   "multimodal-like-test"};
    for (size_t i = 0; i < QW_ARRAY_LEN(files); i++) {
        char path[512];
        qw_chat_template *t;
        snprintf(path, sizeof path, DATA "%s.jinja", files[i]);
        load_template(&t, path);
        assert_int_equal(qw_chat_template_wants_parts(t), i == 5);
        qw_chat_template_free(t);
    }
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_tiny_model),
        cmocka_unit_test(test_parse_errors),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_threads_share_a_template),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_content_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
