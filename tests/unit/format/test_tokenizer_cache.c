// The compiled cache: used when it is right, noticed and rebuilt when it is not.
#include "test_util.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "base/clock.h"
#include "format/tokenizer_internal.h"
#include "unit/format/tokenizer_test.h"

// A model directory with the synthetic tokenizer, and a cache directory beside it.
typedef struct place {
    char dir[256], cache[300];
} place;

static int init_json(void **state)
{
    (void)state;
    qw_json_init();
    return 0;
}

static place make_place(void)
{
    place p;
    size_t len;
    char *json = synthetic_json(&len);
    temp_dir(p.dir);
    snprintf(p.cache, sizeof p.cache, "%s/a/cache", p.dir);
    write_file(p.dir, "tokenizer.json", json, len);
    qw_mem_free(json);
    return p;
}

// Open, check that it works, and tell whether it came from the cache.
static bool opened_from_cache(const place *p, char note[512])
{
    qw_error err;
    qw_tokenizer *t;
    assert_ok(qw_tokenizer_open(&t, p->dir, p->cache, &err));
    assert_ids(t, "abc <s>", 258, ' ', 262);
    bool from_cache = qw_tokenizer_get_info(t)->from_cache;
    snprintf(note, 512, "%s", qw_tokenizer_get_info(t)->cache_note);
    qw_tokenizer_close(t);
    return from_cache;
}

// Path of the only file in the cache directory.
static void cache_file(const place *p, char path[600])
{
    DIR *d = opendir(p->cache);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, 600, "%s/%s", p->cache, e->d_name);
        n++;
    }
    closedir(d);
    assert_int_equal(n, 1);
    assert_true(qw_str_ends_with(qw_str_of(path), QW_STR(".qwtok")));
}

static qw_buf read_file(const char *path)
{
    qw_error err;
    qw_buf b;
    qw_buf_init(&b, 1 << 26);
    assert_ok(qw_file_read(&b, path, &err));
    return b;
}

static void built_once_and_used(void **state)
{
    (void)state;
    place p = make_place();
    char note[512], path[600];
    assert_false(opened_from_cache(&p, note));
    assert_string_equal(note, "");
    cache_file(&p, path);
    for (int i = 0; i < 2; i++) {
        assert_true(opened_from_cache(&p, note));
        assert_string_equal(note, "");
    }
    // Dates do not matter, contents do.
    char json[400];
    snprintf(json, sizeof json, "%s/tokenizer.json", p.dir);
    assert_int_equal(utime(json, &(struct utimbuf){1, 1}), 0);
    assert_true(opened_from_cache(&p, note));
}

static void changed_sources(void **state)
{
    (void)state;
    place p = make_place();
    char note[512], path[600];
    assert_false(opened_from_cache(&p, note));
    // The same length and the same date, one byte changed.
    char json_path[400];
    struct stat before;
    snprintf(json_path, sizeof json_path, "%s/tokenizer.json", p.dir);
    assert_int_equal(stat(json_path, &before), 0);
    size_t len;
    char *json = replaced(synthetic_json(&len), &len, "\"1.0\"", "\"1.1\"");
    write_file(p.dir, "tokenizer.json", json, len);
    qw_mem_free(json);
    assert_int_equal(utime(json_path, &(struct utimbuf){before.st_atime, before.st_mtime}), 0);
    assert_false(opened_from_cache(&p, note));
    assert_non_null(strstr(note, "rebuilt the tokenizer's cache"));
    assert_non_null(strstr(note, "it was made from other files"));
    assert_true(opened_from_cache(&p, note));
    // A configuration appears, changes, and goes.
    write_file(p.dir, "tokenizer_config.json", "{}", 2);
    assert_false(opened_from_cache(&p, note));
    assert_true(opened_from_cache(&p, note));
    write_file(p.dir, "tokenizer_config.json", "{ }", 3);
    assert_false(opened_from_cache(&p, note));
    assert_true(opened_from_cache(&p, note));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", p.dir);
    assert_int_equal(unlink(path), 0);
    assert_false(opened_from_cache(&p, note));
    assert_true(opened_from_cache(&p, note));
    cache_file(&p, path); // still one file
}

// Put `data` in place of the cache file: it must be noticed, and a good one must be there again.
static void check_damaged(const place *p, const char *path, const qw_buf *good, const char *data,
                          size_t size)
{
    qw_error err;
    char note[512];
    assert_ok(qw_file_write_atomic(path, data, size, &err));
    if (opened_from_cache(p, note)) fail_msg("a damaged cache of %zu bytes was used", size);
    assert_non_null(strstr(note, "rebuilt"));
    qw_buf now = read_file(path);
    assert_int_equal(now.len, good->len);
    assert_memory_equal(now.data, good->data, good->len);
    qw_buf_release(&now);
}

static void damaged_files(void **state)
{
    (void)state;
    place p = make_place();
    char note[512], path[600];
    assert_false(opened_from_cache(&p, note));
    cache_file(&p, path);
    qw_buf good = read_file(path);
    char *bad = qw_mem_alloc(good.len);
    memcpy(bad, good.data, good.len);
    for (size_t i = 0; i < sizeof(qw_tokenizer_header); i++) {
        bad[i] = (char)(bad[i] ^ (1 << i % 8));
        check_damaged(&p, path, &good, bad, good.len);
        bad[i] = good.data[i];
    }
    for (size_t i = sizeof(qw_tokenizer_header); i < good.len; i += 499) {
        bad[i] = (char)(bad[i] ^ 0x10);
        check_damaged(&p, path, &good, bad, good.len);
        bad[i] = good.data[i];
    }
    for (size_t size = 0; size < good.len; size += 997)
        check_damaged(&p, path, &good, good.data, size);
    check_damaged(&p, path, &good, good.data, good.len - 1);
    check_damaged(&p, path, &good, "some other file", 15);
    qw_mem_free(bad);
    qw_buf_release(&good);
}

// A file whose checksum is right but whose contents are not: `field` of the header set to `value`,
// or a value inside of a section.
static void check_forged(const qw_buf *good, size_t offset, size_t width, uint64_t value,
                         const char *why)
{
    qw_error err;
    qw_tokenizer_view view;
    char *image = qw_mem_alloc(good->len);
    memcpy(image, good->data, good->len);
    memcpy(image + offset, &value, width); // little endian
    qw_tokenizer_image_seal(image, good->len);
    assert_fails(qw_tokenizer_image_view(&view, image, good->len, &err), QW_ERR_FORMAT, why);
    qw_mem_free(image);
}

static void forged_files(void **state)
{
    (void)state;
    place p = make_place();
    char note[512], path[600];
    assert_false(opened_from_cache(&p, note));
    cache_file(&p, path);
    qw_buf good = read_file(path);
    const qw_tokenizer_header *h = (const void *)good.data;
#define FIELD(name) offsetof(qw_tokenizer_header, name), sizeof h->name
    check_forged(&good, FIELD(version), 2, "it has version 2 where 1 is used");
    check_forged(&good, FIELD(byte_order), 0x04030201, "version");
    check_forged(&good, FIELD(size), good.len + 1, "it is cut off");
    check_forged(&good, FIELD(has_nfc), 2, "a setting is out of range");
    check_forged(&good, FIELD(n_added_raw), 100, "its added tokens are incomplete");
    check_forged(&good, FIELD(string_ids[QW_STRING_EOS]), 1 << 20, "a special token is out of");
    check_forged(&good, FIELD(strings[QW_STRING_PATTERN].len), 1 << 20, "a string lies outside");
    check_forged(&good, FIELD(strings[QW_STRING_PATTERN].offset), 1 << 30, "a string lies outside");
    for (int i = 0; i < QW_N_SECTIONS; i++) {
        check_forged(&good, FIELD(sections[i].offset), h->sections[i].offset + 1, "a section lies");
        check_forged(&good, FIELD(sections[i].offset), (uint64_t)1 << 40, "a section lies outside");
        check_forged(&good, FIELD(sections[i].size), UINT64_MAX - 63, "a section lies outside");
        check_forged(&good, FIELD(sections[i].size), 0, ""); // whatever it says
    }
    check_forged(&good, h->sections[QW_SECTION_ID_OFFSETS].offset, 4, 1, "incomplete");
    check_forged(&good, h->sections[QW_SECTION_ID_OFFSETS].offset + 40, 4, 1 << 30, "out of order");
    check_forged(&good, h->sections[QW_SECTION_BYTE_IDS].offset, 4, 99999, "a byte has no token");
    check_forged(&good, h->sections[QW_SECTION_ADDED].offset, 4, 99999, "an added token is out of");
    check_forged(&good, h->sections[QW_SECTION_ADDED].offset + 12, 4, 1 << 30, "an added token is");
    check_forged(&good, h->sections[QW_SECTION_LOOKUP].offset, 4, 99999, "an index entry");
    qw_bpe_pair pair = {1, 2, 3, 99999};
    uint64_t half;
    memcpy(&half, &pair.rank, 8);
    check_forged(&good, h->sections[QW_SECTION_PAIRS].offset + 8, 8, half, "a merge is out of");
#undef FIELD
    // Tables without an empty slot would be searched for ever.
    char *image = qw_mem_alloc(good.len);
    qw_error err;
    qw_tokenizer_view view;
    memcpy(image, good.data, good.len);
    memset(image + h->sections[QW_SECTION_LOOKUP].offset, 0, h->sections[QW_SECTION_LOOKUP].size);
    qw_tokenizer_image_seal(image, good.len);
    assert_fails(qw_tokenizer_image_view(&view, image, good.len, &err), QW_ERR_FORMAT, "no end");
    memcpy(image, good.data, good.len);
    memset(image + h->sections[QW_SECTION_PAIRS].offset, 0, h->sections[QW_SECTION_PAIRS].size);
    qw_tokenizer_image_seal(image, good.len);
    assert_fails(qw_tokenizer_image_view(&view, image, good.len, &err), QW_ERR_FORMAT, "no end");
    qw_mem_free(image);
    qw_buf_release(&good);
}

static void unwritable_cache(void **state)
{
    (void)state;
    place p = make_place();
    char note[512];
    write_file(p.dir, "a", "in the way", 10);
    assert_false(opened_from_cache(&p, note));
    assert_non_null(strstr(note, "is not kept in"));
    assert_false(opened_from_cache(&p, note));
}

// Open once in a process whose files may not grow beyond 1,000 bytes: what it noted.
static void open_limited(const place *p, const char *note_path)
{
    struct rlimit limit = {1000, 1000};
    signal(SIGXFSZ, SIG_IGN); // as the program does
    qw_tokenizer *t;
    qw_error err;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(10);
    if (qw_tokenizer_open(&t, p->dir, p->cache, &err) != QW_OK) _exit(11);
    const char *note = qw_tokenizer_get_info(t)->cache_note;
    if (qw_file_write_atomic(note_path, note, strlen(note), &err) != QW_OK) _exit(12);
    _exit(0);
}

static void full_disk(void **state)
{
    (void)state;
    place p = make_place();
    char note_path[600], note[512];
    snprintf(note_path, sizeof note_path, "%s/note", p.dir);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) open_limited(&p, note_path);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    qw_error err;
    qw_buf text;
    qw_buf_init(&text, 4096);
    assert_ok(qw_file_read(&text, note_path, &err));
    assert_non_null(strstr(text.data, "is not kept in"));
    assert_non_null(strstr(text.data, "File too large"));
    assert_null(strchr(text.data, '\n'));
    qw_buf_release(&text);
    assert_int_equal(rmdir(p.cache), 0); // nothing is left in it
    assert_false(opened_from_cache(&p, note));
    assert_string_equal(note, "");
}

// Open once in a child that is killed at its n-th stop before or after a system call, for nothing
// else changes the disk. True if it ended before that.
static bool open_and_kill(const place *p, int n)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        qw_tokenizer *t;
        qw_error err;
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0) _exit(10);
        _exit(qw_tokenizer_open(&t, p->dir, p->cache, &err) == QW_OK ? 0 : 11);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    for (int i = 0; i < n && WIFSTOPPED(status); i++) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    if (!WIFSTOPPED(status)) {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        return true;
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    return false;
}

static void killed_at_any_time(void **state)
{
    (void)state;
    if (QW_TEST_EMULATED) skip(); // qemu-user has no ptrace
    int n_cached = 0, n = 0;
    for (bool done = false; !done; n++) {
        place p = make_place();
        char note[512], path[600];
        done = open_and_kill(&p, n);
        n_cached += opened_from_cache(&p, note);
        assert_string_equal(note, ""); // nothing had to be repaired
        cache_file(&p, path);          // and nothing lies beside it
        assert_true(opened_from_cache(&p, note));
    }
    print_message("killed at %d places, in %d of them after the file had its name\n", n - 1,
                  n_cached - 1);
    assert_true(n > 20 && n_cached > 1);
}

static void *open_once(void *arg)
{
    const place *p = arg;
    qw_error err;
    qw_tokenizer *t;
    if (qw_tokenizer_open(&t, p->dir, p->cache, &err) != QW_OK) return "failed";
    bool clean = qw_tokenizer_get_info(t)->cache_note[0] == '\0';
    qw_tokenizer_close(t);
    return clean ? NULL : "noted something";
}

static void built_by_several_at_once(void **state)
{
    (void)state;
    char note[512], path[600];
    for (int round = 0; round < 5; round++) {
        place p = make_place();
        pid_t children[2];
        for (int i = 0; i < 2; i++) {
            children[i] = fork();
            assert_true(children[i] >= 0);
            if (children[i] == 0) _exit(open_once(&p) ? 1 : 0);
        }
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, open_once, &p), 0);
        for (int i = 0; i < 3; i++) {
            void *failure;
            pthread_join(threads[i], &failure);
            if (failure) fail_msg("a thread %s", (char *)failure);
        }
        for (int i = 0; i < 2; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        cache_file(&p, path); // one file, nothing left beside it
        assert_true(opened_from_cache(&p, note));
    }
}

// Numbers for the report; nothing depends on them.
static void time_of_the_real_one(void **state)
{
    (void)state;
    qw_error err;
    char dir[256];
    temp_dir(dir);
    for (int i = 0; i < 3; i++) {
        qw_tokenizer *t;
        int64_t start = qw_clock_ns();
        assert_ok(qw_tokenizer_open(&t, REAL_DIR, dir, &err));
        print_message("%s: %.1f ms\n", qw_tokenizer_get_info(t)->from_cache ? "cached" : "parsed",
                      (double)(qw_clock_ns() - start) / 1e6);
        qw_tokenizer_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_once_and_used),  cmocka_unit_test(changed_sources),
        cmocka_unit_test(damaged_files),        cmocka_unit_test(forged_files),
        cmocka_unit_test(unwritable_cache),     cmocka_unit_test(full_disk),
        cmocka_unit_test(killed_at_any_time),   cmocka_unit_test(built_by_several_at_once),
        cmocka_unit_test(time_of_the_real_one),
    };
    return cmocka_run_group_tests(tests, init_json, NULL);
}
