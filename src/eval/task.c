#include "eval/task.h"

#include "eval/score.h"

const char *const qw_scorer_names[] = {"gsm8k", "choice", "exact", "arithmetic", "auto", NULL};

enum { MAX_CHOICES = 26 };

void qw_task_release(qw_task *t)
{
    for (size_t i = 0; i < t->n; i++) json_decref(t->items[i].messages);
    qw_mem_free(t->items);
    qw_arena_release(&t->arena);
    *t = (qw_task){0};
}

static bool keep(qw_task *t, qw_str *out, qw_str text)
{
    char *copy = qw_arena_strndup(&t->arena, text.ptr, text.len);
    *out = (qw_str){copy, text.len};
    return copy != NULL;
}

static qw_status keep_list(qw_task *t, qw_str **out, size_t *n, const json_t *list, qw_error *err)
{
    *n = json_array_size(list);
    *out = qw_arena_array(&t->arena, *n, sizeof **out);
    if (!*out) return qw_fail_memory(err, *n * sizeof **out, "a question");
    for (size_t i = 0; i < *n; i++)
        if (!keep(t, &(*out)[i], qw_json_str(json_array_get(list, i))))
            return qw_fail_memory(err, 0, "a question");
    return QW_OK;
}

static qw_status keep_answer(qw_task *t, qw_task_item *item, qw_str text, qw_error *err)
{
    item->n_answers = 1;
    item->answers = qw_arena_array(&t->arena, 1, sizeof *item->answers);
    if (!item->answers || !keep(t, item->answers, text))
        return qw_fail_memory(err, text.len, "an answer");
    return QW_OK;
}

static bool is_text_list(const json_t *v, size_t min, size_t max)
{
    if (!json_is_array(v) || json_array_size(v) < min || json_array_size(v) > max) return false;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)) || qw_json_is_big_integer(json_array_get(v, i)))
            return false;
    return true;
}

// The whole of an answer as a number in canonical form.
static bool whole_number(char out[QW_SCORE_NUMBER_SIZE], const json_t *answer)
{
    char text[32];
    if (json_is_integer(answer)) {
        int n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(answer));
        return qw_score_whole_number(out, (qw_str){text, (size_t)n});
    }
    if (json_is_real(answer)) {
        int n = qw_str_from_f64(text, json_real_value(answer));
        return qw_score_whole_number(out, (qw_str){text, (size_t)n});
    }
    return json_is_string(answer) && qw_score_whole_number(out, qw_json_str(answer));
}

static bool is_gsm8k(const json_t *answer)
{
    return json_is_string(answer) &&
           qw_str_find(qw_json_str(answer), QW_STR("####"), 0) != SIZE_MAX;
}

// Which scorer

static qw_status named_scorer(qw_scorer *out, const json_t *line, qw_error *err)
{
    const json_t *name = json_object_get(line, "scorer");
    if (!name || json_is_null(name)) return QW_OK;
    for (int s = 0; s <= QW_SCORER_AUTO && json_is_string(name); s++) {
        if (!qw_str_is(qw_json_str(name), qw_scorer_names[s])) continue;
        *out = (qw_scorer)s;
        return QW_OK;
    }
    return qw_fail(err, QW_ERR_FORMAT,
                   "'scorer' must be gsm8k, choice, exact, arithmetic or auto, got %.100s",
                   json_is_string(name) ? json_string_value(name) : qw_json_type_name(name));
}

static qw_status choose_scorer(qw_scorer *out, const json_t *line, qw_error *err)
{
    const json_t *answer = json_object_get(line, "answer");
    char number[QW_SCORE_NUMBER_SIZE];
    qw_status st = named_scorer(out, line, err);
    if (st != QW_OK || *out != QW_SCORER_AUTO) return st;
    if (json_object_get(line, "choices"))
        *out = QW_SCORER_CHOICE;
    else if (is_gsm8k(answer))
        *out = QW_SCORER_GSM8K;
    else if (whole_number(number, answer))
        *out = QW_SCORER_ARITHMETIC;
    else
        *out = QW_SCORER_EXACT;
    return QW_OK;
}

// What is right

static qw_status read_gsm8k(qw_task *t, qw_task_item *item, const json_t *answer, qw_error *err)
{
    char number[QW_SCORE_NUMBER_SIZE];
    qw_str text = qw_json_str(answer);
    size_t at = SIZE_MAX;
    if (is_gsm8k(answer)) // the last one
        for (size_t i = 0; (i = qw_str_find(text, QW_STR("####"), i)) != SIZE_MAX; i += 4) at = i;
    if (at == SIZE_MAX ||
        !qw_score_whole_number(number, (qw_str){text.ptr + at + 4, text.len - at - 4}))
        return qw_fail(err, QW_ERR_FORMAT,
                       "the 'answer' of a gsm8k question must end with '#### ' and a number");
    return keep_answer(t, item, qw_str_of(number), err);
}

static qw_status read_arithmetic(qw_task *t, qw_task_item *item, const json_t *answer,
                                 qw_error *err)
{
    char number[QW_SCORE_NUMBER_SIZE];
    if (!whole_number(number, answer))
        return qw_fail(err, QW_ERR_FORMAT,
                       "the 'answer' of an arithmetic question must be a number");
    return keep_answer(t, item, qw_str_of(number), err);
}

static qw_status read_choice(qw_task *t, qw_task_item *item, const json_t *line, qw_error *err)
{
    const json_t *choices = json_object_get(line, "choices"),
                 *answer = json_object_get(line, "answer");
    if (!is_text_list(choices, 2, MAX_CHOICES))
        return qw_fail(err, QW_ERR_FORMAT, "'choices' must be a list of 2 to %d texts",
                       MAX_CHOICES);
    size_t n = json_array_size(choices), right = SIZE_MAX;
    if (json_is_integer(answer)) right = (size_t)json_integer_value(answer);
    if (json_is_string(answer)) {
        qw_str text = qw_json_str(answer);
        if (text.len == 1 && text.ptr[0] >= 'A') right = (size_t)((text.ptr[0] & 0x5F) - 'A');
        for (size_t i = 0; i < n && right >= n; i++)
            if (qw_str_eq(text, qw_json_str(json_array_get(choices, i)))) right = i;
    }
    if (right >= n)
        return qw_fail(err, QW_ERR_FORMAT,
                       "the 'answer' must be a letter from A to %c, a number from 0 to %zu, or one "
                       "of the choices",
                       (char)('A' + n - 1), n - 1);
    char letter = (char)('A' + right);
    qw_status st = keep_list(t, &item->choices, &item->n_choices, choices, err);
    return st == QW_OK ? keep_answer(t, item, (qw_str){&letter, 1}, err) : st;
}

static qw_status read_exact(qw_task *t, qw_task_item *item, const json_t *answer, qw_error *err)
{
    if (is_text_list(answer, 1, SIZE_MAX))
        return keep_list(t, &item->answers, &item->n_answers, answer, err);
    if (json_is_string(answer)) return keep_answer(t, item, qw_json_str(answer), err);
    char number[QW_SCORE_NUMBER_SIZE];
    if (whole_number(number, answer)) return keep_answer(t, item, qw_str_of(number), err);
    return qw_fail(err, QW_ERR_FORMAT, "'answer' must be a text, a number or a list of texts, %s",
                   answer ? qw_json_type_name(answer) : "and there is none");
}

static qw_status read_question(qw_task *t, qw_task_item *item, const json_t *line, qw_error *err)
{
    const json_t *question = json_object_get(line, "question"),
                 *messages = json_object_get(line, "messages");
    if (json_is_string(question) && !messages)
        return keep(t, &item->question, qw_json_str(question))
                   ? QW_OK
                   : qw_fail_memory(err, 0, "a question");
    if (!question && json_is_array(messages) && json_array_size(messages) > 0) {
        item->messages = json_deep_copy(messages);
        return item->messages ? QW_OK : qw_fail_memory(err, 0, "a question");
    }
    return qw_fail(
        err, QW_ERR_FORMAT,
        "nothing is asked: it needs 'question' (a text) or 'messages' (a conversation)%s",
        question && messages ? ", not both" : "");
}

static qw_status read_item(qw_task *t, qw_task_item *item, const json_t *line, qw_error *err)
{
    const json_t *answer = json_object_get(line, "answer");
    qw_status st = read_question(t, item, line, err);
    if (st == QW_OK) st = choose_scorer(&item->scorer, line, err);
    if (st != QW_OK) return st;
    switch (item->scorer) {
    case QW_SCORER_GSM8K: return read_gsm8k(t, item, answer, err);
    case QW_SCORER_CHOICE: return read_choice(t, item, line, err);
    case QW_SCORER_ARITHMETIC: return read_arithmetic(t, item, answer, err);
    default: return read_exact(t, item, answer, err);
    }
}

qw_status qw_task_add(qw_task *t, const json_t *line, qw_scorer scorer, qw_error *err)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        qw_task_item *more = qw_mem_realloc(t->items, cap * sizeof *more);
        if (!more) return qw_fail_memory(err, cap * sizeof *more, "the questions");
        if (!t->cap) qw_arena_init(&t->arena, 1 << 16);
        t->items = more;
        t->cap = cap;
    }
    qw_task_item *item = &t->items[t->n];
    *item = (qw_task_item){.scorer = scorer};
    qw_status st = read_item(t, item, line, err);
    if (st == QW_OK)
        t->n++;
    else
        json_decref(item->messages);
    return st;
}

// What is asked

static const char *default_instruction(qw_scorer scorer)
{
    switch (scorer) {
    case QW_SCORER_GSM8K:
        return "Reason step by step, and end with a line of \"#### \" and the answer as a number.";
    case QW_SCORER_CHOICE: return "Answer with the letter of the right choice.";
    default: return "";
    }
}

void qw_task_write_question(const qw_task_item *item, const char *instruction, qw_buf *out)
{
    if (!instruction) instruction = default_instruction(item->scorer);
    qw_buf_append(out, item->question.ptr, item->question.len);
    if (item->n_choices) qw_buf_putc(out, '\n');
    for (size_t i = 0; i < item->n_choices; i++) {
        qw_buf_printf(out, "\n%c. ", (char)('A' + i));
        qw_buf_append(out, item->choices[i].ptr, item->choices[i].len);
    }
    if (*instruction) qw_buf_printf(out, "\n\n%s", instruction);
}
