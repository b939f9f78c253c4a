#ifndef QW_TESTS_TEMPLATE_CASES_H
#define QW_TESTS_TEMPLATE_CASES_H

// What the tests of chat templates share: files of JSON lines, and one-step rendering.

#include "test_util.h"

#include "base/file.h"
#include "base/mem.h"
#include "format/chat_template.h"
#include "format/json.h"

/** Local time of the golden data: 2025-05-17 09:08:07, a Saturday. */
static inline struct tm golden_time(void)
{
    return (struct tm){.tm_year = 125,
                       .tm_mon = 4,
                       .tm_mday = 17,
                       .tm_hour = 9,
                       .tm_min = 8,
                       .tm_sec = 7,
                       .tm_wday = 6,
                       .tm_yday = 136,
                       .tm_isdst = -1};
}

/** Call `fn` with each line of a file of JSON lines, parsed; returns the number of lines. */
static inline size_t each_json_line(const char *path, void (*fn)(const json_t *line, size_t i))
{
    qw_error err = {0};
    qw_buf text;
    qw_buf_init(&text, (size_t)64 << 20);
    assert_ok(qw_file_read(&text, path, &err));
    size_t n = 0;
    for (char *at = text.data; *at;) {
        char *end = strchr(at, '\n');
        if (!end) end = at + strlen(at);
        json_t *line;
        assert_ok(qw_json_parse_digits(&line, at, (size_t)(end - at), path, &err));
        fn(line, n++);
        json_decref(line);
        at = *end ? end + 1 : end;
    }
    qw_buf_release(&text);
    return n;
}

/** Parse and render in one step. `context` is JSON text, or NULL for an empty object. */
static inline qw_status render_text(qw_buf *out, const char *text, size_t len, const char *context,
                                    const qw_chat_template_options *options, qw_error *err)
{
    json_t *variables = NULL;
    qw_chat_template *t = NULL;
    const char *json = context ? context : "{}";
    assert_int_equal(qw_json_parse(&variables, json, strlen(json), "context", err), QW_OK);
    qw_status st = qw_chat_template_parse(&t, text, len, "test", err);
    if (st == QW_OK) st = qw_chat_template_render(t, variables, out, options, err);
    qw_chat_template_free(t);
    json_decref(variables);
    return st;
}

/** Fail unless the template gives `want`. */
static inline void expect_text(const char *text, const char *context, const char *want)
{
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, (size_t)64 << 20);
    qw_status st = render_text(&out, text, strlen(text), context, NULL, &err);
    if (st != QW_OK) fail_msg("%s: %s", text, err.text);
    qw_buf_append(&out, "", 0);
    if (strcmp(out.data, want) != 0) fail_msg("%s\n got: %s\nwant: %s", text, out.data, want);
    qw_buf_release(&out);
}

/** Fail unless the template fails, at parsing or rendering, with `part` in the message. */
static inline void expect_error(const char *text, const char *context, qw_status want,
                                const char *part)
{
    qw_error err = {0};
    qw_buf out;
    qw_buf_init(&out, (size_t)64 << 20);
    qw_status st = render_text(&out, text, strlen(text), context, NULL, &err);
    if (st != want || !strstr(err.text, part))
        fail_msg("%.200s\n got: %d '%s' %s\nwant: %d '%s'", text, st, st ? err.text : "",
                 st         ? ""
                 : out.data ? out.data
                            : "",
                 want, part);
    assert_int_equal(out.len, 0);
    qw_buf_release(&out);
}

#endif
