#include "test_util.h"

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/docs.h"

static qw_error err;

typedef struct play_options {
    const char *file, *dir;
    int64_t n;
    bool loud, quiet;
    int pitch;
} play_options;

#define FIELD(x) offsetof(play_options, x)

static const char *const pitches[] = {"low", "high", NULL};
static const qw_opt rows[] = {
    {"dir", QW_OPT_STR, FIELD(dir), .positional = true, .metavar = "SONG_DIR", .help = "songs"},
    {"out_file", QW_OPT_STR, FIELD(file), .shorts = "o", .metavar = "FILE.wav",
     .help = ".wav; it's a \\ of <|x|>, [see]: `y`"},
    {"loud", QW_OPT_FLAG, FIELD(loud), .help = "louder"},
    {"echo", QW_OPT_BOOL, FIELD(quiet), .group = "Room", .help = "with echo"},
    {"pitch", QW_OPT_CHOICE, FIELD(pitch), .choices = pitches, .group = "Room", .def = "low"},
    {"count", QW_OPT_INT, FIELD(n), .hidden = true, .help = "secret"},
};

static size_t tables(qw_opt_table out[QW_COMMAND_MAX_TABLES])
{
    out[0] = (qw_opt_table){.rows = rows, .n_rows = QW_ARRAY_LEN(rows)};
    return 1;
}

static int run(const qw_command_call *call)
{
    return call->argc;
}

static const qw_command play = {
    .name = "play", .help = "it plays", .summary = "Plays.", .run = run, .tables = tables};
static const qw_command again = {
    .name = "again", .help = "once more", .summary = "Plays again.", .run = run, .tables = tables};
static const qw_command *const tape_commands[] = {&again};
static const qw_command tape = {.name = "tape",
                                .help = "with tapes",
                                .summary = "Tapes.",
                                .commands = tape_commands,
                                .n_commands = 1};
static const qw_command *const root_commands[] = {&play, &tape};
static const qw_command root = {.name = "box",
                                .help = "a music box",
                                .summary = "A music box.",
                                .description = "First.\n\nSecond.",
                                .commands = root_commands,
                                .n_commands = 2};

static qw_docs docs;
static qw_buf out;

static void has(const char *text)
{
    if (!strstr(out.data, text)) print_error("not in the text: %s\n%s\n", text, out.data);
    assert_non_null(strstr(out.data, text));
}

static void has_not(const char *text)
{
    assert_null(strstr(out.data, text));
}

static void test_pages(void **unused)
{
    (void)unused;
    static const char *const names[] = {"box", "box play", "box tape", "box tape again"};
    assert_int_equal(docs.n_pages, QW_ARRAY_LEN(names));
    for (size_t i = 0; i < docs.n_pages; i++) assert_string_equal(docs.pages[i].name, names[i]);
    char *joined = qw_doc_joined_name(&docs.pages[3], '-');
    assert_string_equal(joined, "box-tape-again");
    qw_mem_free(joined);
    assert_string_equal(qw_doc_env_example(&docs.pages[1].opts)->env, "QWENCH_OUT_FILE");
}

static void test_man(void **unused)
{
    (void)unused;
    qw_docs_man(&docs, &docs.pages[1], &out);
    has(".TH BOX-PLAY 1 \"\" \"qwench 1.2\"");
    has("\\fBbox play\\fR [\\fIoptions\\fR] [\\fISONG_DIR\\fR]\n");
    has("\\fB\\-o\\fR, \\fB\\-\\-out\\-file\\fR \\fIFILE.wav\\fR\n");
    // A leading dot would be a request.
    has("\n\\&.wav; it\\(aqs a \\e of <|x|>, [see]: \\(gay\\(ga");
    has(".SS Room\n.TP\n\\fB\\-\\-echo\\fR, \\fB\\-\\-no\\-echo\\fR\nwith echo");
    has("(one of: low, high; default: low)");
    has_not("secret");
    qw_buf_clear(&out);
    qw_docs_man(&docs, &docs.pages[0], &out);
    has(".PP\nFirst.\n.PP\nSecond.\n");
    has("\\fBbox\\-play\\fR(1)\nit plays\n");
    has(".SH SEE ALSO\n\\fBbox\\-play\\fR(1),\n\\fBbox\\-tape\\fR(1),\n");
    qw_buf_clear(&out);
    qw_docs_man(&docs, &docs.pages[2], &out);
    has("once more");
    has_not("\nit plays");
}

static void test_markdown(void **unused)
{
    (void)unused;
    qw_docs_markdown(&docs, &out);
    has("# box\n");
    has("| `box tape` | with tapes |\n");
    has("| `-o`, `--out-file FILE.wav` | .wav; it's a \\\\ of &lt;\\|x\\|>, \\[see]: \\`y\\` |\n");
    has("| Room | |\n|---|---|\n| `--echo`, `--no-echo` | with echo |\n");
    has("Room: as for `box play`.\n"); // box tape again has the same rows
    has_not("secret");
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_int_not_equal(out.data[out.len - 2], '\n');
}

static void test_bash(void **unused)
{
    (void)unused;
    qw_docs_bash(&docs, &out);
    has("words=\"play tape\"");
    has("\"box tape again\")\n");
    has("-o | --out-file) kind=files ;;");
    has("--pitch) kind=words words=\"low high\" ;;");
    has("argument=dirs");
    has("options=\"--dir -o --out-file --loud --echo --no-echo --pitch -h --help\"");
    has("complete -F _box box vllm\n");
}

static void test_zsh(void **unused)
{
    (void)unused;
    qw_docs_zsh(&docs, &out);
    has("#compdef box vllm\n");
    has("'(-o --out-file)'{-o,--out-file=}'[.wav; it'\\''s a \\\\ of <|x|>, \\[see\\]\\: "
        "`y`]:FILE.wav:_files'");
    has("'(--echo --no-echo)'{--echo,--no-echo}'[with echo]'");
    has("--pitch='[]:NAME:(low high)'");
    has("'::SONG_DIR:_files -/'");
    has("again) _box_tape_again ;;");
    has_not("secret");
}

static void make_all(void)
{
    qw_docs d;
    if (qw_docs_init(&d, &qw_commands, "1.2", &err) != QW_OK) {
        assert_int_equal(err.code, QW_ERR_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < d.n_pages; i++) qw_docs_man(&d, &d.pages[i], &out);
    qw_docs_markdown(&d, &out);
    qw_docs_bash(&d, &out);
    qw_docs_zsh(&d, &out);
    qw_docs_release(&d);
}

// Every allocation in turn fails: an error or a text marked as failed, nothing lost.
static void test_no_memory(void **unused)
{
    (void)unused;
    size_t live = qw_mem_live();
    for (uint64_t n = 1;; n++) {
        assert_true(n < 100000);
        qw_mem_fail_at(n);
        qw_buf_init(&out, (size_t)1 << 24);
        make_all();
        bool failed_here = out.failed != QW_OK || err.code == QW_ERR_NO_MEMORY;
        qw_mem_fail_at(0);
        err = (qw_error){0};
        qw_buf_release(&out);
        assert_int_equal(qw_mem_live(), live);
        if (!failed_here) break;
    }
}

static int set_up(void **unused)
{
    (void)unused;
    qw_buf_init(&out, (size_t)1 << 24);
    return qw_docs_init(&docs, &root, "1.2", &err) != QW_OK;
}

static int tear_down(void **unused)
{
    (void)unused;
    qw_docs_release(&docs);
    qw_buf_release(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_man, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_markdown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_zsh, set_up, tear_down),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
