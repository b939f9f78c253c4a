#include "test_util.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static qw_error err;
static char dir[512]; // a fresh folder below QW_TEST_TMP

static const char *in_dir(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void expect_content(const char *name, const char *want, size_t len)
{
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    assert_ok(qw_file_read(&b, in_dir(name), &err));
    assert_int_equal(b.len, len);
    if (len) assert_memory_equal(b.data, want, len);
    qw_buf_release(&b);
}

static int n_entries(const char *path)
{
    DIR *d = opendir(path);
    assert_non_null(d);
    int n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void map_and_read(void **state)
{
    (void)state;
    assert_ok(qw_file_write_atomic(in_dir("f"), "a\0b", 3, &err));
    expect_content("f", "a\0b", 3);
    qw_file f;
    assert_ok(qw_file_open(&f, in_dir("f"), &err));
    assert_int_equal(f.size, 3);
    assert_memory_equal(f.data, "a\0b", 3);
    struct stat st;
    assert_int_equal(stat(in_dir("f"), &st), 0);
    assert_true(f.mtime_ns == (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
    qw_file_close(&f);
    assert_null(f.data);
    qw_file_close(&f);

    assert_ok(qw_file_write_atomic(in_dir("empty"), NULL, 0, &err));
    assert_ok(qw_file_open(&f, in_dir("empty"), &err));
    assert_null(f.data);
    assert_int_equal(f.size, 0);
    qw_file_close(&f);
    expect_content("empty", "", 0);

    qw_buf b;
    qw_buf_init(&b, 2);
    assert_fails(qw_file_read(&b, in_dir("f"), &err), QW_ERR_FORMAT,
                 "has 3 bytes, more than the limit of 2");
    qw_buf_release(&b);
}

static void refused_kinds(void **state)
{
    (void)state;
    qw_file f;
    qw_buf b;
    qw_buf_init(&b, 100);
    assert_fails(qw_file_open(&f, in_dir("missing"), &err), QW_ERR_IO, "No such file");
    assert_fails(qw_file_open(&f, dir, &err), QW_ERR_IO, "it is a directory");
    assert_fails(qw_file_read(&b, dir, &err), QW_ERR_IO, "it is a directory");
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_fails(qw_file_open(&f, in_dir("fifo"), &err), QW_ERR_IO, "no regular file");
    assert_fails(qw_file_read(&b, in_dir("fifo"), &err), QW_ERR_IO, "no regular file");
    assert_fails(qw_file_open(&f, "/dev/null", &err), QW_ERR_IO, "no regular file");
    assert_false(qw_file_exists(in_dir("fifo")));
    assert_false(qw_file_exists(dir));
    assert_true(qw_file_is_dir(dir));
    qw_buf_release(&b);
    // Links are followed: the hub cache consists of them.
    assert_ok(qw_file_write_atomic(in_dir("target"), "t", 1, &err));
    assert_int_equal(symlink("target", in_dir("link")), 0);
    assert_true(qw_file_exists(in_dir("link")));
    expect_content("link", "t", 1);
}

static void atomic_write(void **state)
{
    (void)state;
    char sub[600];
    snprintf(sub, sizeof sub, "%s", in_dir("sub"));
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_ok(qw_file_write_atomic(in_dir("sub/a"), "one", 3, &err));
    assert_ok(qw_file_write_atomic(in_dir("sub/a"), "two!", 4, &err));
    expect_content("sub/a", "two!", 4);
    assert_int_equal(n_entries(sub), 1);

    // A directory in the way: nothing is left behind.
    assert_int_equal(mkdir(in_dir("sub/d"), 0700), 0);
    assert_int_equal(qw_file_write_atomic(in_dir("sub/d"), "x", 1, &err), QW_ERR_IO);
    assert_int_equal(n_entries(sub), 2);
    assert_fails(qw_file_write_atomic(in_dir("nowhere/a"), "x", 1, &err), QW_ERR_IO,
                 "cannot create '");
    if (geteuid() == 0) return; // root may write anywhere
    assert_int_equal(chmod(sub, 0500), 0);
    assert_int_equal(qw_file_write_atomic(in_dir("sub/a"), "x", 1, &err), QW_ERR_IO);
    expect_content("sub/a", "two!", 4);
    assert_int_equal(chmod(sub, 0700), 0);
}

static void writer(void **state)
{
    (void)state;
    char sub[600];
    snprintf(sub, sizeof sub, "%s", in_dir("writer"));
    assert_int_equal(mkdir(sub, 0700), 0);
    qw_file_writer w;
    assert_ok(qw_file_writer_open(&w, in_dir("writer/a"), &err));
    assert_ok(qw_file_writer_append(&w, "abc", 3, &err));
    assert_ok(qw_file_writer_append(&w, NULL, 0, &err));
    assert_false(qw_file_exists(in_dir("writer/a"))); // not before the commit
    assert_ok(qw_file_writer_append(&w, "def", 3, &err));
    assert_ok(qw_file_writer_commit(&w, &err));
    expect_content("writer/a", "abcdef", 6);

    assert_ok(qw_file_writer_open(&w, in_dir("writer/a"), &err));
    assert_ok(qw_file_writer_append(&w, "x", 1, &err));
    qw_file_writer_abort(&w);
    qw_file_writer_abort(&w); // does no harm
    expect_content("writer/a", "abcdef", 6);
    assert_int_equal(n_entries(sub), 1);

    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_mem_fail_at(n);
        st = qw_file_write_atomic(in_dir("writer/b"), "b", 1, &err);
        qw_mem_fail_at(0);
        if (st != QW_OK) {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_int_equal(n_entries(sub), 1);
        }
        assert_int_equal(qw_mem_live(), live);
    }
}

static void make_dirs(void **state)
{
    (void)state;
    assert_ok(qw_file_make_dirs(in_dir("x/y//z"), &err));
    assert_true(qw_file_is_dir(in_dir("x/y/z")));
    assert_ok(qw_file_make_dirs(in_dir("x/y/z/"), &err));
    assert_ok(qw_file_make_dirs("/", &err));
    assert_ok(qw_file_write_atomic(in_dir("x/file"), "", 0, &err));
    assert_fails(qw_file_make_dirs(in_dir("x/file"), &err), QW_ERR_IO, "no directory");
    assert_int_equal(qw_file_make_dirs(in_dir("x/file/y"), &err), QW_ERR_IO);
    assert_int_equal(qw_file_make_dirs("", &err), QW_ERR_IO);
    char *path = qw_file_join("a/b", "c");
    assert_string_equal(path, "a/b/c");
    qw_mem_free(path);
}

int main(void)
{
    snprintf(dir, sizeof dir, "%s/file.XXXXXX", QW_TEST_TMP);
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_and_read), cmocka_unit_test(refused_kinds),
        cmocka_unit_test(atomic_write), cmocka_unit_test(writer),
        cmocka_unit_test(make_dirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
