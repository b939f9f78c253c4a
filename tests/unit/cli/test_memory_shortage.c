// Whole commands with every one of their allocations failing in turn.
#include "test_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "unit/format/tokenizer_test.h"

static qw_error err;
static char dir[] = QW_TEST_TMP "/shortage_XXXXXX";
static char model[600], cache[600], out_path[600], err_path[600];

static void link_file(const char *name, const char *target)
{
    char *path = qw_file_join(model, name);
    assert_int_equal(symlink(target, path), 0);
    qw_mem_free(path);
}

// A model of 320 ids with a tokenizer so small that a command makes some thousand allocations.
static int make_model(void **state)
{
    (void)state;
    qw_json_init();
    if (!mkdtemp(dir)) return -1;
    snprintf(out_path, sizeof out_path, "%s/out", dir);
    snprintf(err_path, sizeof err_path, "%s/err", dir);
    snprintf(cache, sizeof cache, "%s/cache", dir);
    snprintf(model, sizeof model, "%s/model", dir);
    assert_int_equal(mkdir(model, 0700), 0);
    link_file("config.json", QW_TEST_DATA "/tiny-models/tied/config.json");
    link_file("generation_config.json", QW_TEST_DATA "/tiny-models/tied/generation_config.json");
    link_file("model.safetensors", QW_TEST_DATA "/tiny-models/tied/model.safetensors");
    link_file("chat_template.jinja", QW_SOURCE_DIR "/models/tiny/chat_template.jinja");
    size_t len;
    char *json = synthetic_json(&len);
    write_file(model, "tokenizer.json", json, len);
    qw_mem_free(json);
    static const char config[] = "{\"eos_token\": \"<s>\", \"bos_token\": null}";
    write_file(model, "tokenizer_config.json", config, sizeof config - 1);
    return 0;
}

static int redirect(int fd, const char *path)
{
    int saved = dup(fd), file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && file >= 0 && dup2(file, fd) >= 0);
    close(file);
    return saved;
}

static void restore(int fd, int saved)
{
    dup2(saved, fd);
    close(saved);
}

typedef struct outcome {
    int status;
    bool has_failed; /* the n-th allocation: false if there are fewer */
} outcome;

// Run a command line, its n-th allocation failing.
static outcome run(char **argv, uint64_t n)
{
    static const qw_program program = {"qwench", "1", "abc", "qwench 1 (abc)"};
    int argc = 0;
    while (argv[argc]) argc++;
    fflush(stdout);
    fflush(stderr);
    int saved_out = redirect(STDOUT_FILENO, out_path),
        saved_err = redirect(STDERR_FILENO, err_path);
    qw_mem_fail_at(n);
    int status = qw_command_run(&qw_commands, &program, argc, argv);
    bool has_failed = qw_mem_fail_at(0) == 0;
    restore(STDOUT_FILENO, saved_out);
    restore(STDERR_FILENO, saved_err);
    return (outcome){status, has_failed};
}

static void read_all(qw_buf *out, const char *path)
{
    qw_buf_init(out, 1 << 20);
    assert_ok(qw_file_read(out, path, &err));
    qw_buf_puts(out, "");
    assert_non_null(out->data);
}

// One line on stderr, an error's; or, where the failure did not matter, the right answer.
static bool check_run(int status, uint64_t n, const char *want)
{
    qw_buf out, said;
    read_all(&out, out_path);
    read_all(&said, err_path);
    if (status == 0) {
        if (strcmp(out.data, want) != 0)
            fail_msg("allocation %d: no error, but '%s' instead of '%s'", (int)n, out.data, want);
    } else {
        const char *text = strstr(said.data, ": error: ");
        if (status != 1 || !text || strlen(text) < 20 || strchr(text, '\n')[1] != '\0')
            fail_msg("allocation %d: exit status %d, '%s'", (int)n, status, said.data);
    }
    qw_buf_release(&out);
    qw_buf_release(&said);
    return status == 0;
}

// Fail allocation 1, 2, 3, ... of a command, each time from the same state, until there are no
// more.
static void fail_each(const char *what, char **argv, void (*reset)(void))
{
    enum { ALL = 1 << 30 };
    qw_buf want;
    reset();
    outcome o = run(argv, ALL);
    assert_int_equal(o.status, 0);
    read_all(&want, out_path);
    assert_true(want.len > 1);
    size_t live = qw_mem_live();
    uint64_t n = 0, n_harmless = 0;
    while (o.has_failed || n == 0) {
        n++;
        reset();
        o = run(argv, n);
        n_harmless += check_run(o.status, n, want.data);
        if (qw_mem_live() != live) fail_msg("%s: allocation %d leaks", what, (int)n);
    }
    qw_buf_release(&want);
    print_message("%s: %d allocations failed in turn, %d of them without harm\n", what, (int)n - 1,
                  (int)n_harmless - 1);
    assert_true(n > 100);
}

static void nothing(void)
{
}

static void remove_cache(void)
{
    DIR *d = opendir(cache);
    if (!d) return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char *path = qw_file_join(cache, e->d_name);
        assert_non_null(path);
        unlink(path); // not "." and "..", which are directories
        qw_mem_free(path);
    }
    closedir(d);
    assert_int_equal(rmdir(cache), 0);
}

#define COMMAND(...) ((char *[]){"qwench", __VA_ARGS__, NULL})
#define ANSWER                                                                                     \
    "generate", model, "--cpu-threads", "1", "--max-num-seqs", "2", "--max-model-len", "256",      \
        "--seed", "1", "--max-tokens", "3", "--json"

static void generate_from_caches(void **state)
{
    (void)state;
    fail_each("generate",
              COMMAND(ANSWER, "--pack-cache", cache, "-p", "Once", "--temperature", "0.7",
                      "--top-k", "20", "--logprobs", "2", "--prompt-logprobs", "1", "--stop", "zzz",
                      "--bad-words", "qqq", "--frequency-penalty", "0.5", "--n", "2"),
              nothing);
}

static void generate_without_caches(void **state)
{
    (void)state;
    fail_each("generate --chat, nothing kept",
              COMMAND(ANSWER, "--pack-cache", "", "--chat", "-p", "Hi", "--temperature", "0"),
              nothing);
}

static void generate_writes_caches(void **state)
{
    (void)state;
    fail_each("generate, caches being made",
              COMMAND(ANSWER, "--pack-cache", cache, "-p", "Hi", "--temperature", "0"),
              remove_cache);
}

static void tokenize_chats(void **state)
{
    (void)state;
    static const char lines[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"abc\"}]}\n{\"text\": \"aaaa\"}\n";
    char path[600];
    write_file(dir, "chats", lines, sizeof lines - 1);
    snprintf(path, sizeof path, "%s/chats", dir);
    fail_each("tokenize", COMMAND("tokenize", model, "--pack-cache", "", "--file", path), nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenize_chats),
        cmocka_unit_test(generate_from_caches),
        cmocka_unit_test(generate_without_caches),
        cmocka_unit_test(generate_writes_caches),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
