// qwench tokenize: JSON lines of texts or messages to ids, and back.

#include <unistd.h>

#include "base/mem.h"
#include "base/opt.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/share.h"
#include "engine/frontend.h"

typedef struct tokenize_options {
    const char *model, *file, *chat_template, *pack_cache;
    bool decode, skip_special_tokens, split_special_tokens;
} tokenize_options;

#define FIELD(x) offsetof(tokenize_options, x)

static const qw_opt rows[] = {
    {"model", QW_OPT_STR, FIELD(model), .positional = true, .metavar = "DIR",
     .def_note = "the built-in model", .help = "directory with tokenizer.json"},
    {"file", QW_OPT_STR, FIELD(file), .shorts = "f", .metavar = "FILE.jsonl",
     .def_note = "standard input",
     .help =
         "a line each: {\"text\": ...} or {\"messages\": [...]}; with --decode {\"ids\": [...]}"},
    {"decode", QW_OPT_FLAG, FIELD(decode), .help = "from ids to text"},
    {"skip_special_tokens", QW_OPT_FLAG, FIELD(skip_special_tokens),
     .help = "with --decode: leave tokens such as <|im_end|> out"},
    {"split_special_tokens", QW_OPT_FLAG, FIELD(split_special_tokens),
     .help = "treat the names of special tokens as ordinary text"},
    {"chat_template", QW_OPT_STR, FIELD(chat_template), .metavar = "FILE",
     .def_note = "the model's",
     .help = "chat template for messages: a file, or the template itself"},
    {"pack_cache", QW_OPT_STR, FIELD(pack_cache), .metavar = "DIR", .def_note = "~/.cache/qwench",
     .help = "directory for compiled tokenizers; an empty name: none"},
};

typedef struct tokenizing {
    const tokenize_options *options;
    qw_frontend frontend;
    qw_ids ids;
    qw_buf out;
} tokenizing;

static qw_status encode_line(tokenizing *t, const json_t *line, qw_error *err)
{
    qw_status st;
    t->ids.len = 0;
    if (json_object_get(line, "messages")) {
        st = qw_frontend_prompt_ids(&t->frontend, line, &t->ids, err);
    } else {
        const json_t *text = json_object_get(line, "text");
        if (!json_is_string(text))
            return qw_fail(err, QW_ERR_FORMAT,
                           "no request: it needs 'text' (a string) or 'messages' (a list)");
        st = qw_tokenizer_encode(t->frontend.tokenizer, qw_json_str(text),
                                 t->options->split_special_tokens ? QW_ENCODE_SPLIT_SPECIAL : 0,
                                 &t->ids, err);
    }
    if (st != QW_OK) return st;
    qw_buf_puts(&t->out, "{\"ids\":[");
    for (size_t i = 0; i < t->ids.len; i++)
        qw_buf_printf(&t->out, "%s%d", i ? "," : "", t->ids.data[i]);
    qw_buf_puts(&t->out, "]}\n");
    return QW_OK;
}

static qw_status decode_line(tokenizing *t, const json_t *line, qw_error *err)
{
    t->ids.len = 0;
    qw_status st = qw_ids_append_json(&t->ids, json_object_get(line, "ids"), "ids", err);
    if (st != QW_OK) return st;
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 30);
    qw_tokenizer_decode(t->frontend.tokenizer, t->ids.data, t->ids.len,
                        t->options->skip_special_tokens, &text);
    st = qw_buf_check(&text, "the text", err);
    if (st == QW_OK) {
        qw_buf_puts(&t->out, "{\"text\":");
        qw_json_write_string(&t->out, (qw_str){text.data, text.len});
        qw_buf_puts(&t->out, "}\n");
    }
    qw_buf_release(&text);
    return st;
}

static qw_status tokenize_line(void *ctx, json_t *line, qw_error *err)
{
    tokenizing *t = ctx;
    qw_buf_clear(&t->out);
    qw_status st = t->options->decode ? decode_line(t, line, err) : encode_line(t, line, err);
    if (st == QW_OK) st = qw_buf_check(&t->out, "a line of output", err);
    if (st == QW_OK && fwrite(t->out.data, 1, t->out.len, stdout) != t->out.len)
        st = qw_fail(err, QW_ERR_IO, "cannot write the output");
    return st;
}

static qw_status tokenize(const tokenize_options *o, qw_error *err)
{
    tokenizing t = {.options = o};
    qw_buf_init(&t.out, (size_t)1 << 30);
    char *built_in = NULL, *cache = o->pack_cache ? NULL : qw_cache_dir();
    const char *cache_dir = o->pack_cache ? (*o->pack_cache ? o->pack_cache : NULL) : cache;
    qw_status st = QW_OK;
    if (!o->model) st = qw_share_find(&built_in, "models/tiny", err);
    if (st == QW_OK)
        st = qw_frontend_open(&t.frontend, o->model ? o->model : built_in, NULL, o->chat_template,
                              cache_dir, err);
    if (st == QW_OK) st = qw_frontend_need_tokenizer(&t.frontend, err);
    if (st == QW_OK) st = qw_json_lines_read(o->file, tokenize_line, &t, err);
    qw_frontend_close(&t.frontend);
    qw_ids_release(&t.ids);
    qw_buf_release(&t.out);
    qw_mem_free(built_in);
    qw_mem_free(cache);
    return st;
}

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    return 1;
}

static int cmd_tokenize(const qw_command_call *call)
{
    tokenize_options options = {0};
    void *const targets[] = {&options};
    qw_cli_options cli;
    int status;
    if (!qw_cli_options_read(&cli, call, targets, QW_ARRAY_LEN(targets), &status)) return status;
    qw_error err;
    qw_status st = tokenize(&options, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_cli_options_release(&cli);
    return status;
}

static const qw_command_example examples[] = {
    {"echo '{\"text\": \"hello\"}' | qwench tokenize", "the ids of a text"},
    {"qwench tokenize ~/models/Qwen3-0.6B -f texts.jsonl | qwench tokenize ~/models/Qwen3-0.6B "
     "--decode",
     "there and back"},
    {0},
};

const qw_command qw_cmd_tokenize = {
    .name = "tokenize",
    .help = "text or messages to token ids, and back",
    .summary = "Token ids of texts or conversations, and back, line by line.",
    .description =
        "Each line of input is a JSON object and gives a line of output: {\"ids\": [...]} "
        "for a text or a conversation, {\"text\": ...} with --decode.",
    .examples = examples,
    .run = cmd_tokenize,
    .tables = tables,
};
