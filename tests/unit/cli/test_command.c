#include "test_util.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/command.h"

static qw_error err;
static int seen_argc;
static const char *seen_name, *seen_last;
static char seen_call[64];

static int run_good(const qw_command_call *call)
{
    seen_argc = call->argc;
    seen_name = call->argv[0];
    seen_last = call->argv[call->argc - 1];
    snprintf(seen_call, sizeof seen_call, "%s", call->name);
    puts("result");
    return 0;
}

static int run_bad(const qw_command_call *call)
{
    (void)call;
    return 2;
}

static const qw_command generate = {.name = "generate", .help = "answer a prompt", .run = run_good};
static const qw_command tokenize = {
    .name = "tokenize", .help = "text to token ids", .run = run_bad};
static const qw_command kernels = {.name = "kernels", .help = "speed", .run = run_good};
static const qw_command *const bench_commands[] = {&kernels};
static const qw_command bench = {.name = "bench",
                                 .help = "measure",
                                 .summary = "Measures.",
                                 .commands = bench_commands,
                                 .n_commands = QW_ARRAY_LEN(bench_commands)};
static const qw_command *const commands[] = {&bench, &generate, &tokenize};
static const qw_command root = {.name = "qwench",
                                .summary = "Serves models.",
                                .commands = commands,
                                .n_commands = QW_ARRAY_LEN(commands)};
static const qw_program program = {"qwench", "1.2", "abc", "qwench 1.2 (abc)"};

// What a run printed, and its exit status.
static qw_buf out, errors;
static int status;

static int redirect(int fd, const char *path, int *saved)
{
    *saved = dup(fd);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (*saved < 0 || file < 0) return -1;
    int failed = dup2(file, fd) < 0 ? -1 : 0;
    close(file);
    return failed;
}

static void restore(int fd, int saved)
{
    dup2(saved, fd);
    close(saved);
}

// Run with stdout going to `stdout_path` (NULL: read into `out`) and stderr read into `errors`.
static void run_to(const char *stdout_path, int argc, char **argv)
{
    char dir[] = QW_TEST_TMP "/command_XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *out_path = qw_file_join(dir, "out"), *err_path = qw_file_join(dir, "err");
    int saved_out, saved_err;
    fflush(stdout);
    fflush(stderr);
    int failed = redirect(STDOUT_FILENO, stdout_path ? stdout_path : out_path, &saved_out);
    failed |= redirect(STDERR_FILENO, err_path, &saved_err);
    status = failed ? -1 : qw_command_run(&root, &program, argc, argv);
    clearerr(stdout);
    restore(STDOUT_FILENO, saved_out);
    restore(STDERR_FILENO, saved_err);
    qw_buf_clear(&out);
    qw_buf_clear(&errors);
    if (!stdout_path) assert_ok(qw_file_read(&out, out_path, &err));
    assert_ok(qw_file_read(&errors, err_path, &err));
    qw_buf_puts(&out, "");
    qw_buf_puts(&errors, "");
    unlink(out_path);
    unlink(err_path);
    rmdir(dir);
    qw_mem_free(out_path);
    qw_mem_free(err_path);
}
#define RUN(...)                                                                                   \
    do {                                                                                           \
        char *argv_[] = {"qwench", __VA_ARGS__, NULL};                                             \
        run_to(NULL, (int)QW_ARRAY_LEN(argv_) - 1, argv_);                                         \
    } while (0)

static void test_dispatch(void **unused)
{
    (void)unused;
    RUN("generate", "--port", "x");
    assert_int_equal(status, 0);
    assert_int_equal(seen_argc, 3);
    assert_string_equal(seen_name, "generate");
    assert_string_equal(seen_call, "qwench generate");
    assert_string_equal(seen_last, "x");
    assert_string_equal(out.data, "result\n");
    assert_string_equal(errors.data, "");
    RUN("tokenize");
    assert_int_equal(status, 2);
}

static void test_groups(void **unused)
{
    (void)unused;
    RUN("bench", "kernels", "-x");
    assert_int_equal(status, 0);
    assert_int_equal(seen_argc, 2);
    assert_string_equal(seen_name, "kernels");
    assert_string_equal(seen_call, "qwench bench kernels");
    RUN("bench");
    assert_int_equal(status, 0);
    assert_non_null(strstr(out.data, "usage: qwench bench COMMAND [options]\n"));
    RUN("bench", "--version");
    assert_string_equal(out.data, "qwench 1.2 (abc)\n");
    RUN("bench", "kernel");
    assert_int_equal(status, 2);
    assert_string_equal(
        errors.data, "qwench bench: error: unknown command 'kernel' (did you mean 'kernels'?)\n");
}

static void test_lists_commands(void **unused)
{
    (void)unused;
    char *argv[] = {"qwench", NULL};
    run_to(NULL, 1, argv);
    assert_int_equal(status, 0);
    char *listed = strdup(out.data);
    assert_non_null(strstr(listed, "usage: qwench COMMAND [options]\n"));
    assert_non_null(strstr(listed, "  generate     answer a prompt\n"));
    assert_non_null(strstr(listed, "  tokenize     text to token ids\n"));
    for (const char *line = listed; *line;) {
        size_t len = strcspn(line, "\n");
        assert_true(len <= 80);
        line += len + (line[len] == '\n');
    }
    RUN("--help");
    assert_string_equal(out.data, listed);
    assert_int_equal(status, 0);
    RUN("-h");
    assert_string_equal(out.data, listed);
    free(listed);
}

static void test_version(void **unused)
{
    (void)unused;
    RUN("--version");
    assert_string_equal(out.data, "qwench 1.2 (abc)\n");
    assert_int_equal(status, 0);
    RUN("-v");
    assert_string_equal(out.data, "qwench 1.2 (abc)\n");
}

static void test_unknown_command(void **unused)
{
    (void)unused;
    RUN("genrate");
    assert_int_equal(status, 2);
    assert_string_equal(out.data, "");
    assert_string_equal(errors.data,
                        "qwench: error: unknown command 'genrate' (did you mean 'generate'?)\n");
    RUN("sing");
    assert_int_equal(status, 2);
    assert_string_equal(errors.data, "qwench: error: unknown command 'sing'; 'qwench --help' lists "
                                     "the commands\n");
    RUN("--colour");
    assert_int_equal(status, 2);
    assert_non_null(strstr(errors.data, "unknown option '--colour'"));
}

static void test_full_disk(void **unused)
{
    (void)unused;
    if (access("/dev/full", W_OK) != 0) skip();
    char *argv[] = {"qwench", "generate", NULL};
    run_to("/dev/full", 2, argv);
    assert_int_equal(status, 1);
    assert_string_equal(errors.data,
                        "qwench: error: cannot write the output: No space left on device\n");
    argv[1] = "--version";
    run_to("/dev/full", 2, argv);
    assert_int_equal(status, 1);
}

static void test_closed_pipe(void **unused)
{
    (void)unused;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    printf("text");
    int flushed = qw_cli_flush_stdout("qwench");
    clearerr(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    assert_int_equal(flushed, 1);
    assert_int_equal(qw_cli_flush_stdout("qwench"), 0);
}

static void test_fail(void **unused)
{
    (void)unused;
    qw_status st = qw_fail(&err, QW_ERR_IO, "cannot open 'x'");
    assert_int_equal(qw_cli_fail("qwench generate", st, &err, "usage: ...\n"), 1);
    st = qw_fail(&err, QW_ERR_USAGE, "unrecognized arguments: --x");
    assert_int_equal(qw_cli_fail("qwench generate", st, &err, NULL), 2);
}

static int set_up(void **unused)
{
    (void)unused;
    qw_buf_init(&out, 1 << 16);
    qw_buf_init(&errors, 1 << 16);
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR;
}

static int tear_down(void **unused)
{
    (void)unused;
    qw_buf_release(&out);
    qw_buf_release(&errors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispatch),        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_lists_commands),  cmocka_unit_test(test_version),
        cmocka_unit_test(test_unknown_command), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_closed_pipe),     cmocka_unit_test(test_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
