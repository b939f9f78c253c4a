// The file of packed weights: what was written comes back, and whatever else is found is noticed.
#include "test_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "format/weight_cache_internal.h"

enum { N = 3 };

// A product with a bias, one above 2 MiB (another alignment), one of another format.
static const qw_packed_entry entries[N] = {
    {"layers.0.qkv", QW_PACKED_BF16, 0, 0, 0, 40, 40, 64, 64, 3, {20, 10, 10}, {8192, 256}},
    {"layers.0.gate_up",
     QW_PACKED_BF16,
     1,
     0,
     0,
     2048,
     600,
     2048,
     608,
     2,
     {1024, 1024},
     {2490368, 0}},
    {"lm_head", QW_PACKED_F32, 0, 0, 0, 100, 30, 112, 32, 1, {100}, {14336, 0}},
};
static const qw_fingerprint source = {0x1234, 0x5678};

typedef struct place {
    char dir[200], path[256];
} place;

static place make_place(void)
{
    place p;
    snprintf(p.dir, sizeof p.dir, "%s/wcache-XXXXXX", QW_TEST_TMP);
    assert_non_null(mkdtemp(p.dir));
    snprintf(p.path, sizeof p.path, "%s/x.qwpack", p.dir);
    return p;
}

// Files in the directory whose names contain `part`; "" counts all.
static int count_files(const char *dir, const char *part)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    int n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.' && strstr(e->d_name, part) != NULL;
    closedir(d);
    return n;
}

static void remove_place(const place *p)
{
    DIR *d = opendir(p->dir);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", p->dir, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(d);
    rmdir(p->dir);
}

static uint8_t byte_at(size_t i, size_t array, size_t offset)
{
    return (uint8_t)(i * 101 + array * 37 + offset * 7 + offset / 251);
}

// Everything in pieces, last piece first.
static int put_all(qw_weight_cache_writer *w)
{
    for (size_t i = 0; i < N; i++)
        for (size_t a = 0; a < QW_PACKED_N_ARRAYS; a++)
            for (size_t end = entries[i].sizes[a]; end > 0;) {
                uint8_t piece[4099];
                size_t n = end < sizeof piece ? end : sizeof piece;
                end -= n;
                for (size_t k = 0; k < n; k++) piece[k] = byte_at(i, a, end + k);
                int failure = qw_weight_cache_writer_put(w, i, (qw_packed_array)a, end, piece, n);
                if (failure) return failure;
            }
    return 0;
}

static qw_status write_cache(const char *path, qw_weight_cache *out, qw_error *err)
{
    qw_weight_cache_writer w;
    qw_status st = qw_weight_cache_writer_open(&w, path, entries, N, err);
    if (st != QW_OK) return st;
    int failure = put_all(&w);
    qw_weight_cache_writer_flush(&w, 1);
    if (failure == 0) return qw_weight_cache_writer_commit(&w, source, out, err);
    qw_weight_cache_writer_abort(&w);
    return qw_fail(err, QW_ERR_IO, "%s", strerror(failure));
}

static void check_content(const qw_weight_cache *c)
{
    for (size_t i = 0; i < N; i++)
        for (size_t a = 0; a < QW_PACKED_N_ARRAYS; a++) {
            const uint8_t *p = qw_weight_cache_array(c, i, (qw_packed_array)a);
            assert_int_equal(p != NULL, entries[i].sizes[a] > 0);
            if (!p) continue;
            assert_int_equal((uintptr_t)p % 4096, 0);
            for (size_t k = 0; k < entries[i].sizes[a]; k++)
                if (p[k] != byte_at(i, a, k)) fail_msg("entry %zu, array %zu, byte %zu", i, a, k);
        }
}

static qw_status open_cache(qw_weight_cache *c, const char *path, bool verify, qw_error *err)
{
    return qw_weight_cache_open(c, path, entries, N, source, verify, err);
}

// The file's bytes, to be damaged.
static uint8_t *read_bytes(const char *path, size_t *size)
{
    qw_error err;
    qw_file f;
    assert_ok(qw_file_open(&f, path, &err));
    uint8_t *copy = qw_mem_alloc(f.size);
    memcpy(copy, f.data, f.size);
    *size = (size_t)f.size;
    qw_file_close(&f);
    return copy;
}

static void write_bytes(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

// Make the hashes right again, as a forger would.
static void seal(uint8_t *bytes, size_t size)
{
    qw_pack_header h;
    memcpy(&h, bytes, sizeof h);
    if (h.table_offset <= size) {
        XXH128_hash_t hash = XXH3_128bits(bytes + h.table_offset, size - h.table_offset);
        h.table_hash[0] = hash.low64;
        h.table_hash[1] = hash.high64;
    }
    h.header_hash = qw_pack_header_hash(&h);
    memcpy(bytes, &h, sizeof h);
}

static void expect_refusal(const char *path, const void *bytes, size_t size, const char *part)
{
    qw_error err;
    qw_weight_cache c;
    size_t live = qw_mem_live();
    write_bytes(path, bytes, size);
    assert_fails(open_cache(&c, path, false, &err), QW_ERR_FORMAT, part);
    assert_int_equal(qw_mem_live(), live);
}

static void comes_back(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    size_t live = qw_mem_live();
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    check_content(&c);
    qw_weight_cache_close(&c);
    for (int verify = 0; verify < 2; verify++) {
        assert_ok(open_cache(&c, p.path, verify, &err));
        check_content(&c);
        qw_weight_cache_close(&c);
    }
    assert_int_equal(qw_mem_live(), live);
    assert_int_equal(count_files(p.dir, ""), 1);
    remove_place(&p);
}

// The bytes on disk are the specification's (cpu-kernels 2.4).
static void layout_on_disk(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    qw_weight_cache_close(&c);
    size_t size;
    uint8_t *b = read_bytes(p.path, &size);
    uint64_t u64;
    uint32_t u32;
    assert_memory_equal(b, "QWPACK\r\n", 8);
    memcpy(&u32, b + 8, 4);
    assert_int_equal(u32, QW_WEIGHT_CACHE_CONTAINER);
    memcpy(&u32, b + 12, 4);
    assert_int_equal(u32, QW_WEIGHT_CACHE_LAYOUT);
    memcpy(&u64, b + 16, 8);
    assert_int_equal(u64, size);
    memcpy(&u32, b + 32, 4);
    assert_int_equal(u32, N);
    memcpy(&u64, b + 40, 8);
    assert_int_equal(u64, source.low);
    memcpy(&u64, b + 48, 8);
    assert_int_equal(u64, source.high);
    memcpy(&u64, b + 72, 8);
    assert_true(u64 == XXH3_64bits(b, 72));
    // The first matrix at 4096, its bias behind it, the large one at 2 MiB.
    assert_int_equal(b[4096], byte_at(0, 0, 0));
    assert_int_equal(b[4096 + 8192], byte_at(0, 1, 0));
    assert_int_equal(b[((size_t)2 << 20) + 1], byte_at(1, 0, 1));
    qw_mem_free(b);
    remove_place(&p);
}

static void every_header_byte_counts(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    qw_weight_cache_close(&c);
    size_t size;
    uint8_t *b = read_bytes(p.path, &size);
    int fd = open(p.path, O_RDWR);
    for (size_t i = 0; i < QW_PACK_DATA_OFFSET; i += i < QW_PACK_HEADER_SIZE ? 1 : 97) {
        uint8_t damaged = b[i] ^ 0x10;
        assert_int_equal(pwrite(fd, &damaged, 1, (off_t)i), 1);
        if (open_cache(&c, p.path, false, &err) != QW_ERR_FORMAT) fail_msg("byte %zu", i);
        assert_int_equal(pwrite(fd, &b[i], 1, (off_t)i), 1);
    }
    assert_ok(open_cache(&c, p.path, true, &err));
    qw_weight_cache_close(&c);
    close(fd);
    qw_mem_free(b);
    remove_place(&p);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    qw_weight_cache_close(&c);
    size_t size;
    uint8_t *good = read_bytes(p.path, &size), *b = qw_mem_alloc(size + 1);
    const size_t cuts[] = {0, 1, 79, 4095, 4096, 5000, (size_t)2 << 20, size - 1};
    for (size_t i = 0; i < QW_ARRAY_LEN(cuts); i++) expect_refusal(p.path, good, cuts[i], "bytes");
    memcpy(b, good, size);
    b[size] = 0;
    expect_refusal(p.path, b, size + 1, "its header says");
    memset(b, 0, size);
    expect_refusal(p.path, b, size, "no file of packed weights");
    memcpy(b, good, size);
    b[size - 5] ^= 1;
    expect_refusal(p.path, b, size, "table is damaged");
    // Another version, well made.
    for (size_t at = 8; at <= 12; at += 4) {
        memcpy(b, good, size);
        b[at]++;
        seal(b, size);
        expect_refusal(p.path, b, size, "version");
    }
    memcpy(b, good, size);
    b[36] = 1;
    seal(b, size);
    expect_refusal(p.path, b, size, "flags");
    // Of another source.
    write_bytes(p.path, good, size);
    qw_fingerprint other = {source.low, source.high + 1};
    assert_fails(qw_weight_cache_open(&c, p.path, entries, N, other, false, &err), QW_ERR_FORMAT,
                 "other weights");
    // Data: only asked for by verify.
    memcpy(b, good, size);
    b[4096 + 8192 + 3] ^= 0x80;
    write_bytes(p.path, b, size);
    assert_ok(open_cache(&c, p.path, false, &err));
    qw_weight_cache_close(&c);
    assert_fails(open_cache(&c, p.path, true, &err), QW_ERR_FORMAT, "'layers.0.qkv' are damaged");
    qw_mem_free(b);
    qw_mem_free(good);
    remove_place(&p);
}

// A table that lies and whose hashes are right.
static void lies_are_noticed(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    qw_weight_cache_close(&c);
    size_t size;
    uint8_t *good = read_bytes(p.path, &size), *b = qw_mem_alloc(size + 16);
    uint64_t table;
    memcpy(&table, good + 24, 8);
    const size_t name = (size_t)table + 4, shape = name + strlen(entries[0].name);
    const size_t n_segments = shape + 16 + 32, n_arrays = n_segments + 4 + 24;
    const size_t panels = n_arrays + 4, bias = panels + 28;
    const struct {
        size_t at;
        uint64_t value;
        size_t width;
        const char *part;
    } lies[] = {
        {(size_t)table, 11, 4, "has no 'layers.0.qkv'"},
        {(size_t)table, UINT32_MAX, 4, "middle of an entry"},
        {name, 'L', 1, "has no 'layers.0.qkv'"},
        {shape, QW_PACKED_F16, 4, "another shape or format"},
        {shape + 4, 1, 4, "another shape"},  // concat
        {shape + 8, 32, 4, "another shape"}, // group
        {shape + 12, 1, 4, "another shape"}, // input
        {shape + 16, 41, 8, "another shape"},
        {shape + 24, 41, 8, "another shape"},
        {shape + 32, 80, 8, "another shape"},
        {shape + 40, 96, 8, "another shape"},
        {n_segments, 2, 4, "another shape"},
        {n_segments, UINT32_MAX, 4, "another shape"},
        {n_segments + 4, 19, 8, "another shape"},
        {n_arrays, 1, 4, "1 arrays instead of 2"},
        {panels, 1, 4, "an array of"},          // kind
        {panels + 4, 0, 8, "outside the data"}, // into the header
        {panels + 4, 4097, 8, "not aligned"},   //
        {panels + 4, UINT64_MAX - 100, 8, "outside the data"},
        {panels + 4, table, 8, "outside the data"},
        {panels + 12, 8191, 8, "an array of 8191 bytes"},
        {panels + 12, UINT64_MAX, 8, "an array of"},
        {bias + 4, 4096, 8, "overlaps"},
        {24, 0, 8, "outside the file"},
        {24, size + 1, 8, "outside the file"},
        {24, UINT64_MAX, 8, "outside the file"},
        {32, 2, 4, "it has 2 matrices"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(lies); i++) {
        memcpy(b, good, size);
        memcpy(b + lies[i].at, &lies[i].value, lies[i].width);
        seal(b, size);
        expect_refusal(p.path, b, size, lies[i].part);
    }
    // A longer and a shorter table.
    for (int change = -4; change <= 4; change += 8) {
        size_t new_size = size + (size_t)(ptrdiff_t)change;
        memcpy(b, good, size);
        memset(b + size, 0, 16);
        memcpy(b + 16, &new_size, 8);
        seal(b, new_size);
        expect_refusal(p.path, b, new_size, change < 0 ? "middle of an entry" : "goes on behind");
    }
    qw_mem_free(b);
    qw_mem_free(good);
    remove_place(&p);
}

// What a killed writer leaves is removed; a living writer's file is not.
static void leftovers_are_removed(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    char dead[300], alive[300], foreign[300];
    snprintf(dead, sizeof dead, "%s.tmp.1.0", p.path);
    snprintf(alive, sizeof alive, "%s.tmp.2.0", p.path);
    snprintf(foreign, sizeof foreign, "%s/y.qwpack.tmp.1.0", p.dir);
    write_bytes(dead, "dead", 4);
    write_bytes(alive, "alive", 5);
    write_bytes(foreign, "foreign", 7);
    int lock = open(alive, O_RDONLY);
    assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    qw_weight_cache_close(&c);
    assert_false(qw_file_exists(dead));
    assert_true(qw_file_exists(alive));
    assert_true(qw_file_exists(foreign));
    assert_int_equal(count_files(p.dir, ""), 3);
    close(lock);
    remove_place(&p);
}

static void killed_writer_leaves_nothing_to_trust(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    pid_t child = fork();
    if (child == 0) {
        qw_weight_cache_writer w;
        if (qw_weight_cache_writer_open(&w, p.path, entries, N, &err) == QW_OK) (void)put_all(&w);
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_false(qw_file_exists(p.path));
    assert_int_equal(count_files(p.dir, ".tmp."), 1);
    qw_weight_cache c;
    assert_ok(write_cache(p.path, &c, &err));
    check_content(&c);
    qw_weight_cache_close(&c);
    assert_int_equal(count_files(p.dir, ""), 1);
    remove_place(&p);
}

static void *write_on_thread(void *path)
{
    qw_error err;
    qw_weight_cache c;
    qw_status st = write_cache(path, &c, &err);
    if (st == QW_OK) {
        check_content(&c);
        qw_weight_cache_close(&c);
    } else {
        fprintf(stderr, "%s\n", err.text);
    }
    return (void *)(uintptr_t)st;
}

static void writers_at_once(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    for (int round = 0; round < 5; round++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, write_on_thread, p.path), 0);
        for (int i = 0; i < 4; i++) {
            void *st;
            pthread_join(threads[i], &st);
            assert_null(st);
        }
        assert_int_equal(count_files(p.dir, ""), 1);
    }
    qw_weight_cache c;
    assert_ok(open_cache(&c, p.path, true, &err));
    qw_weight_cache_close(&c);
    remove_place(&p);
}

static void no_space(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    struct rlimit before, small = {1 << 20, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    qw_weight_cache c;
    qw_status st = write_cache(p.path, &c, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_fails(st, QW_ERR_IO, "cannot reserve");
    assert_int_equal(count_files(p.dir, ""), 0);
    // A directory that cannot be made.
    char below[300];
    snprintf(below, sizeof below, "%s/file/x.qwpack", p.dir);
    snprintf(p.path, sizeof p.path, "%s/file", p.dir);
    write_bytes(p.path, "x", 1);
    assert_int_equal(write_cache(below, &c, &err), QW_ERR_IO);
    remove_place(&p);
}

static void short_of_memory(void **state)
{
    (void)state;
    qw_error err;
    place p = make_place();
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_weight_cache c;
        qw_mem_fail_at(n);
        st = write_cache(p.path, &c, &err);
        qw_mem_fail_at(0);
        if (st == QW_OK)
            qw_weight_cache_close(&c);
        else
            assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(count_files(p.dir, ".tmp."), 0);
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 200);
    }
    remove_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(layout_on_disk),
        cmocka_unit_test(every_header_byte_counts),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(lies_are_noticed),
        cmocka_unit_test(leftovers_are_removed),
        cmocka_unit_test(killed_writer_leaves_nothing_to_trust),
        cmocka_unit_test(writers_at_once),
        cmocka_unit_test(no_space),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
