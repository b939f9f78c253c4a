// qwench chat: a conversation in the terminal, or through pipes.

#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "cli/answer_view.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/line_reader.h"
#include "cli/session.h"
#include "cli/share.h"
#include "engine/output.h"
#include "format/opt_json.h"

typedef struct chat_options {
    const char *system;
    qw_opt_json chat_template_kwargs;
    bool fold;
} chat_options;

#define FIELD(x) offsetof(chat_options, x)

static const qw_opt rows[] = {
    {"system", QW_OPT_STR, FIELD(system), .metavar = "TEXT", .help = "system message"},
    {"chat_template_kwargs", QW_OPT_JSON, FIELD(chat_template_kwargs),
     .help = "variables for the chat template: '{\"enable_thinking\": false}'"},
    {"fold", QW_OPT_FLAG, FIELD(fold), .help = "do not show the thinking"},
};

typedef struct chat {
    qw_session session;
    qw_line_reader *reader;
    json_t *messages, *kwargs;
    bool is_styled, is_folded, quit;
    char *last_thinking; /* of the last answer; may be NULL */
} chat;

// Ctrl-C while an answer is being made stops the answer; while a line is typed it drops the line.
static volatile sig_atomic_t stop_requested;

static void on_interrupt(int signal)
{
    (void)signal;
    stop_requested = 1;
}

// One answer

typedef struct turn {
    chat *chat;
    qw_output output;
    qw_answer_view view;
    int64_t start_ns, first_ns, last_ns;
    int n_tokens;
    bool was_stopped;
    qw_status status;
    qw_error *err;
} turn;

static bool on_token(void *ctx, const qw_token_event *event)
{
    turn *t = ctx;
    if (event->finish == QW_FINISH_ABORT) {
        if (event->error) *t->err = *event->error;
        t->status = t->err->code;
        return true;
    }
    t->last_ns = qw_clock_ns();
    if (t->n_tokens++ == 0) t->first_ns = t->last_ns;
    bool stopped = false;
    t->status =
        qw_output_push(&t->output, event->id, event->finish == QW_FINISH_STOP, &stopped, t->err);
    if (t->status != QW_OK) return true;
    bool is_end = stopped || event->finish != QW_FINISH_NONE;
    qw_answer_view_add(&t->view, qw_output_take(&t->output, is_end));
    t->was_stopped = stop_requested && !is_end;
    return stopped || t->was_stopped;
}

static void print_speed(const chat *c, const turn *t)
{
    double first_s = (double)(t->first_ns - t->start_ns) / 1e9;
    double rest_s = (double)(t->last_ns - t->first_ns) / 1e9;
    double rate = t->n_tokens > 1 && rest_s > 0 ? (t->n_tokens - 1) / rest_s : 0;
    // A person sees it under the answer; in a pipe it must not mix with the text.
    fprintf(c->is_styled ? stdout : stderr,
            "%s[%d tokens, %.1f tokens/s, first after %.2f s%s]%s\n", c->is_styled ? "\033[2m" : "",
            t->n_tokens, rate, first_s, t->was_stopped ? ", stopped" : "",
            c->is_styled ? "\033[0m" : "");
}

static qw_status keep_answer(chat *c, const turn *t, qw_error *err)
{
    qw_mem_free(c->last_thinking);
    c->last_thinking = t->view.thinking.len ? qw_mem_strdup(t->view.thinking.data) : NULL;
    json_t *message =
        json_pack("{s:s, s:s#}", "role", "assistant", "content",
                  t->view.content.data ? t->view.content.data : "", (int)t->view.content.len);
    if (message && c->last_thinking)
        json_object_set_new(message, "reasoning_content", json_string(c->last_thinking));
    if (!message || json_array_append_new(c->messages, message) != 0)
        return qw_fail_memory(err, t->view.content.len, "the conversation");
    return QW_OK;
}

// The prompt of the whole conversation, and whether it ends inside a thinking block.
static qw_status make_prompt(const chat *c, qw_ids *ids, bool *starts_thinking, qw_error *err)
{
    json_t *request = json_pack("{s:O}", "messages", c->messages);
    if (!request ||
        (c->kwargs && json_object_set(request, "chat_template_kwargs", c->kwargs) != 0)) {
        json_decref(request);
        return qw_fail_memory(err, 0, "a request");
    }
    qw_status st = qw_frontend_prompt_ids(&c->session.frontend, request, ids, err);
    json_decref(request);
    if (st != QW_OK) return st;
    qw_buf tail;
    qw_buf_init(&tail, 1 << 16);
    size_t n = ids->len < 4 ? ids->len : 4;
    qw_tokenizer_decode(c->session.frontend.tokenizer, ids->data + ids->len - n, n, false, &tail);
    st = qw_buf_check(&tail, "the prompt", err);
    qw_str text = {tail.data ? tail.data : "", tail.len};
    while (text.len > 0 && text.ptr[text.len - 1] == '\n') text.len--;
    *starts_thinking = qw_str_ends_with(text, QW_STR("<think>"));
    qw_buf_release(&tail);
    return st;
}

static qw_status run_turn(chat *c, turn *t, const qw_ids *prompt, qw_error *err)
{
    qw_sampling_params params;
    qw_status st = qw_sampling_params_copy(&params, &c->session.defaults, err);
    if (st != QW_OK) return st;
    st = qw_output_init(&t->output, c->session.frontend.tokenizer, &c->session.defaults,
                        prompt->data, prompt->len, err);
    if (st == QW_OK) {
        qw_request_sink sink = {.ctx = t, .token = on_token};
        t->start_ns = qw_clock_ns();
        st = qw_engine_submit(c->session.engine, prompt->data, prompt->len, &params, NULL, &sink,
                              NULL, err);
        while (st == QW_OK && qw_engine_step(c->session.engine)) continue;
        if (st == QW_OK) st = t->status;
    }
    qw_sampling_params_release(&params);
    return st;
}

static qw_status answer(chat *c, qw_error *err)
{
    turn t = {.chat = c, .err = err};
    qw_ids prompt = {0};
    bool starts_thinking = false;
    qw_status st = make_prompt(c, &prompt, &starts_thinking, err);
    if (st == QW_OK) {
        qw_answer_view_begin(&t.view, stdout, c->is_styled, c->is_folded, starts_thinking);
        st = run_turn(c, &t, &prompt, err);
        qw_answer_view_end(&t.view);
        if (st == QW_OK) print_speed(c, &t);
        if (st == QW_OK) st = keep_answer(c, &t, err);
        qw_answer_view_release(&t.view);
        qw_output_release(&t.output);
    }
    qw_ids_release(&prompt);
    stop_requested = 0; // not before: a Ctrl-C between the line and the first token counts
    return st;
}

// Commands: each takes the text behind its name

typedef qw_status command_fn(chat *c, const char *text, qw_error *err);

static qw_status set_system(chat *c, const char *text, qw_error *err)
{
    if (!qw_utf8_is_valid(qw_str_of(text)))
        return qw_fail(err, QW_ERR_USAGE, "the system message is no valid UTF-8 text");
    json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (role && strcmp(role, "system") == 0) json_array_remove(c->messages, 0);
    if (!*text) return QW_OK;
    json_t *message = json_pack("{s:s, s:s}", "role", "system", "content", text);
    return json_array_insert_new(c->messages, 0, message) == 0
               ? QW_OK
               : qw_fail_memory(err, strlen(text), "the system message");
}

static qw_status reset(chat *c, const char *text, qw_error *err)
{
    (void)text;
    (void)err;
    json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool keep = role && strcmp(role, "system") == 0;
    while (json_array_size(c->messages) > (keep ? 1u : 0u))
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    puts(keep ? "a new conversation, with the system message" : "a new conversation");
    return QW_OK;
}

static qw_status on_or_off(bool *out, const char *name, const char *text, qw_error *err)
{
    if (strcmp(text, "on") == 0)
        *out = true;
    else if (strcmp(text, "off") == 0)
        *out = false;
    else
        return qw_fail(err, QW_ERR_USAGE, "%s takes on or off, got '%s'", name, text);
    return QW_OK;
}

static qw_status think(chat *c, const char *text, qw_error *err)
{
    bool on = false;
    qw_status st = on_or_off(&on, "/think", text, err);
    if (st != QW_OK) return st;
    if (!c->kwargs) c->kwargs = json_object();
    if (!c->kwargs || json_object_set_new(c->kwargs, "enable_thinking", json_boolean(on)) != 0)
        return qw_fail_memory(err, 0, "a setting");
    printf("thinking is %s\n", on ? "on" : "off");
    return QW_OK;
}

static qw_status fold(chat *c, const char *text, qw_error *err)
{
    qw_status st = on_or_off(&c->is_folded, "/fold", text, err);
    if (st == QW_OK)
        puts(c->is_folded ? "thinking is folded; /unfold shows the last one" : "thinking is shown");
    return st;
}

static qw_status unfold(chat *c, const char *text, qw_error *err)
{
    (void)text;
    (void)err;
    puts(c->last_thinking ? c->last_thinking : "the last answer came without thinking");
    return QW_OK;
}

// /set temperature 0.2: any sampling field of the API, its value as JSON or as plain text.
static qw_status set(chat *c, const char *text, qw_error *err)
{
    size_t len = strcspn(text, " =");
    const char *value = text + len + strspn(text + len, " =");
    if (len == 0 || !*value)
        return qw_fail(err, QW_ERR_USAGE, "/set takes a name and a value: /set temperature 0.2");
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), text);
    for (char *p = name; *p; p++)
        if (*p == '-') *p = '_';
    size_t n_rows;
    const qw_opt *fields = qw_sampling_params_options(&n_rows);
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(name));
    bool known = false;
    for (size_t i = 0; i < n_rows; i++) {
        known |= strcmp(fields[i].name, name) == 0;
        qw_nearest_offer(&near, fields[i].name);
    }
    if (!known)
        return qw_fail(err, QW_ERR_USAGE, "there is no setting '%s'%s%s%s", name,
                       near.name ? "; did you mean '" : "", near.name ? near.name : "",
                       near.name ? "'?" : "");
    json_t *v = NULL, *object = json_object();
    qw_error ignored;
    if (qw_json_parse(&v, value, strlen(value), "the value", &ignored) != QW_OK)
        v = json_string(value);
    qw_status st = QW_OK;
    if (!object || json_object_set_new(object, name, v) != 0)
        st = qw_fail(err, QW_ERR_USAGE, "the value of '%s' is no valid text", name);
    if (st == QW_OK) st = qw_sampling_params_apply_json(&c->session.defaults, object, err);
    json_decref(object);
    if (st == QW_OK) printf("%s = %s\n", name, value);
    return st;
}

static qw_status save(chat *c, const char *text, qw_error *err)
{
    if (!*text) return qw_fail(err, QW_ERR_USAGE, "/save takes a file name");
    qw_buf out;
    qw_buf_init(&out, (size_t)1 << 30);
    qw_buf_puts(&out, "{\"messages\": ");
    qw_json_write(&out, c->messages, false);
    qw_buf_puts(&out, "}\n");
    qw_status st = qw_buf_check(&out, "the conversation", err);
    if (st == QW_OK) st = qw_file_write_atomic(text, out.data, out.len, err);
    qw_buf_release(&out);
    if (st == QW_OK) printf("saved %zu messages in '%s'\n", json_array_size(c->messages), text);
    return st;
}

static qw_status load(chat *c, const char *text, qw_error *err)
{
    if (!*text) return qw_fail(err, QW_ERR_USAGE, "/load takes a file name");
    json_t *file;
    qw_status st = qw_json_load(&file, text, (size_t)1 << 30, err);
    if (st != QW_OK) return st;
    json_t *messages = json_object_get(file, "messages");
    // The template is the judge of what a conversation is.
    qw_ids ids = {0};
    if (json_is_array(messages)) {
        st = qw_frontend_prompt_ids(&c->session.frontend, file, &ids, err);
        qw_ids_release(&ids);
    } else {
        st = qw_fail(err, QW_ERR_FORMAT, "'%s' holds no 'messages'", text);
    }
    if (st == QW_OK) {
        json_decref(c->messages);
        c->messages = json_incref(messages);
        printf("loaded %zu messages from '%s'\n", json_array_size(messages), text);
    }
    json_decref(file);
    return st;
}

static qw_status quit(chat *c, const char *text, qw_error *err)
{
    (void)text;
    (void)err;
    c->quit = true;
    return QW_OK;
}

static command_fn help;

static const struct {
    qw_command_word word;
    command_fn *run;
} commands[] = {
    {{"/help", "", "this list"}, help},
    {{"/reset", "", "forget the conversation, keep the system message"}, reset},
    {{"/system", "TEXT", "set the system message; without TEXT: none"}, set_system},
    {{"/think", "on|off", "let the model think before it answers"}, think},
    {{"/fold", "on|off", "hide the thinking"}, fold},
    {{"/unfold", "", "show the last thinking"}, unfold},
    {{"/set", "NAME VALUE", "a sampling setting: /set temperature 0.2"}, set},
    {{"/save", "FILE", "write the conversation as JSON"}, save},
    {{"/load", "FILE", "go on with a saved conversation"}, load},
    {{"/quit", "", "leave, as Ctrl-D does"}, quit},
};

static qw_status help(chat *c, const char *text, qw_error *err)
{
    (void)c;
    (void)text;
    (void)err;
    for (size_t i = 0; i < QW_ARRAY_LEN(commands); i++) {
        const qw_command_word *w = &commands[i].word;
        printf("  %-8s %-11s %s\n", w->name, w->argument, w->help);
    }
    puts("  A line that ends in \\ goes on in the next one; \"\"\" begins and ends a longer text.\n"
         "  Ctrl-C stops an answer.");
    return QW_OK;
}

static qw_status run_command(chat *c, const char *line, qw_error *err)
{
    size_t len = strcspn(line, " ");
    const char *text = line + len + strspn(line + len, " ");
    qw_nearest near;
    qw_nearest_init(&near, (qw_str){line, len});
    for (size_t i = 0; i < QW_ARRAY_LEN(commands); i++) {
        const char *name = commands[i].word.name;
        if (qw_str_is((qw_str){line, len}, name)) return commands[i].run(c, text, err);
        qw_nearest_offer(&near, name);
    }
    return qw_fail(err, QW_ERR_USAGE, "there is no command '%.*s'; %s%s", (int)len, line,
                   near.name ? "did you mean " : "/help lists them", near.name ? near.name : "");
}

// Input

// One message: a line, lines joined by a backslash at their end, or a block between """ lines.
static qw_line_result read_message(chat *c, qw_buf *message)
{
    qw_buf line;
    qw_buf_init(&line, (size_t)16 << 20);
    qw_buf_clear(message);
    bool in_block = false, goes_on = true;
    qw_line_result result = QW_LINE_OK;
    while (goes_on && result == QW_LINE_OK) {
        bool first = message->len == 0 && !in_block;
        result = qw_line_reader_read(c->reader, first ? "> " : "... ", &line);
        if (result != QW_LINE_OK) break;
        qw_str text = {line.data, line.len};
        if (!in_block && first && qw_str_starts_with(text, QW_STR("\"\"\""))) {
            in_block = true;
            text = (qw_str){text.ptr + 3, text.len - 3};
        }
        goes_on = in_block;
        if (in_block && qw_str_ends_with(text, QW_STR("\"\"\""))) {
            text.len -= 3;
            goes_on = false;
        } else if (!in_block && qw_str_ends_with(text, QW_STR("\\"))) {
            text.len--;
            goes_on = true;
        }
        qw_buf_append(message, text.ptr, text.len);
        if (goes_on && (message->len > 0 || !in_block)) qw_buf_putc(message, '\n');
    }
    qw_buf_release(&line);
    // What was typed before the end of input still counts.
    return result == QW_LINE_END && message->len > 0 ? QW_LINE_OK : result;
}

static void complain(const chat *c, const qw_error *err)
{
    fprintf(c->is_styled ? stdout : stderr, "%s\n", err->text);
}

static qw_status handle(chat *c, const qw_buf *message, qw_error *err)
{
    if (message->data[0] == '/') return run_command(c, message->data, err);
    if (!qw_utf8_is_valid((qw_str){message->data, message->len}))
        return qw_fail(err, QW_ERR_USAGE, "the message is no valid UTF-8 text");
    json_t *user =
        json_pack("{s:s, s:s#}", "role", "user", "content", message->data, (int)message->len);
    if (json_array_append_new(c->messages, user) != 0)
        return qw_fail_memory(err, message->len, "a message");
    qw_status st = answer(c, err);
    if (st != QW_OK) json_array_remove(c->messages, json_array_size(c->messages) - 1);
    return st;
}

// Until the end of input. A failure is told, and the conversation goes on; a script is told by the
// exit status.
static qw_status converse(chat *c, qw_error *err)
{
    qw_status worst = QW_OK;
    qw_error last = {0};
    qw_buf message;
    qw_buf_init(&message, (size_t)16 << 20);
    while (!c->quit && !ferror(stdout)) {
        qw_line_result result = read_message(c, &message);
        if (result == QW_LINE_END) break;
        if (result == QW_LINE_CANCELLED || message.len == 0) continue;
        qw_line_reader_remember(c->reader, message.data);
        qw_status st = handle(c, &message, &last);
        if (st == QW_OK) continue;
        complain(c, &last);
        if (!qw_line_reader_is_interactive(c->reader)) worst = st;
    }
    qw_buf_release(&message);
    if (worst != QW_OK) *err = last;
    return worst;
}

static char *history_path(void)
{
    char *dir = qw_cache_dir(), *path = NULL;
    qw_error ignored;
    if (dir && qw_file_make_dirs(dir, &ignored) == QW_OK) path = qw_file_join(dir, "chat_history");
    qw_mem_free(dir);
    return path;
}

static qw_status chat_run(const chat_options *o, const qw_model_options *mo, const qw_opts *opts,
                          qw_error *err)
{
    chat c = {.is_folded = o->fold, .messages = json_array()};
    char *history = history_path();
    qw_status st = c.messages ? QW_OK : qw_fail_memory(err, 0, "the conversation");
    if (st == QW_OK && (o->chat_template_kwargs.text || o->chat_template_kwargs.n_assigns))
        st = qw_opt_json_merge(&c.kwargs, &o->chat_template_kwargs, "chat-template-kwargs", err);
    if (st == QW_OK && o->system) st = set_system(&c, o->system, err);
    bool opened = false;
    if (st == QW_OK) {
        st = qw_session_open(&c.session, mo, opts, err);
        opened = st == QW_OK;
    }
    if (st == QW_OK) st = qw_frontend_need_tokenizer(&c.session.frontend, err);
    if (st == QW_OK) st = qw_line_reader_open(&c.reader, "qwench", history, &stop_requested, err);
    if (st == QW_OK) {
        const char *term = getenv("TERM");
        bool interactive = qw_line_reader_is_interactive(c.reader);
        c.is_styled = interactive && term && *term && strcmp(term, "dumb") != 0;
        struct sigaction action = {.sa_handler = on_interrupt}, old;
        sigaction(SIGINT, &action, &old);
        if (interactive) puts("Ask something; /help lists the commands, Ctrl-D leaves.");
        st = converse(&c, err);
        sigaction(SIGINT, &old, NULL);
    }
    qw_line_reader_close(c.reader);
    if (opened) qw_session_close(&c.session);
    json_decref(c.messages);
    json_decref(c.kwargs);
    qw_mem_free(c.last_thinking);
    qw_mem_free(history);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    out[1].rows = qw_model_options_rows(&out[1].n_rows);
    out[2].rows = qw_sampling_params_options(&out[2].n_rows);
    return 3;
}

static int cmd_chat(const qw_command_call *call)
{
    chat_options options = {0};
    qw_model_options model = {0};
    void *const targets[] = {&options, &model, NULL};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = chat_run(&options, &model, &cli.opts, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_word *word(size_t i)
{
    return i < QW_ARRAY_LEN(commands) ? &commands[i].word : NULL;
}

static const qw_command_example examples[] = {
    {"qwench chat --system \"Answer in one sentence.\"", "with a system message"},
    {"qwench chat ~/models/Qwen3-8B --fold --temperature 0.6",
     "without the thinking on the screen"},
    {"echo \"What is 47 + 38?\" | qwench chat", "from a script"},
    {0},
};

const qw_command qw_cmd_chat = {
    .name = "chat",
    .help = "a conversation in the terminal",
    .summary = "A conversation in the terminal.",
    .description =
        "Each line is a message; the answer is printed as it grows, the thinking in front of it "
        "dimmed. A line that ends in a backslash goes on in the next one, and \"\"\" begins and "
        "ends a message of several lines. Ctrl-C stops an answer, Ctrl-D leaves. Lines that begin "
        "with a slash are commands, listed below.\n\n"
        "Without a terminal the messages are read from standard input and only the answers are "
        "printed; the exit status tells whether all were given.",
    .examples = examples,
    .run = cmd_chat,
    .tables = tables,
    .word = word,
};
