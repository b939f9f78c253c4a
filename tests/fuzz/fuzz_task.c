// Task files of `eval`: a line (any JSON text), a newline, and a reply that is judged by it.
#include "eval/score.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qw_error err = {0};
    qw_str text = {(const char *)data, size};
    size_t end = qw_str_find(text, QW_STR("\n"), 0);
    if (end == SIZE_MAX) end = size;
    qw_str reply = {text.ptr + end, size - end};
    json_t *line;
    if (qw_json_parse_digits(&line, text.ptr, end, "the line", &err) != QW_OK) return 0;
    qw_task task = {0};
    qw_status st = qw_task_add(&task, line, QW_SCORER_AUTO, &err);
    if (st != QW_OK && err.text[0] == '\0') abort();
    if (st == QW_OK) {
        qw_score score;
        qw_score_reply(&score, &task.items[0], reply);
        if (score.is_right && !score.found.ptr) abort();
        qw_buf out;
        qw_buf_init(&out, 1 << 20);
        qw_task_write_question(&task.items[0], NULL, &out);
        qw_buf_release(&out);
    }
    json_decref(line);
    qw_task_release(&task);
    return 0;
}
