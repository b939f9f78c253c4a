#include "test_util.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/bench_report.h"
#include "unit/bench/bench_test.h"

static qw_error err;

static const qw_probe start = {19.0, 50, 7, 0}, end = {18.9, 51, 7, 30000000};
static const qw_probe busy = {9.0, 900, 7, 30000000};
static const qw_slice_rule rule = {.best_spin = 19.0, .n_threads = 2, .ticks_per_s = 100};

// n rounds of a kernel that moves 1 MB and takes 100 us, 110 us, ...; `n_busy` of them spoilt.
static void record(qw_bench_row *row, const char *op, const char *shape, int m, int context,
                   size_t n, size_t n_busy)
{
    qw_sample samples[40] = {0};
    for (size_t i = 0; i < n; i++) {
        const qw_slice limit = {start, end, 20e9};
        samples[i].run = (qw_slice){start, i < n_busy ? busy : end, 0.03 + 0.003 * (double)i};
        samples[i].run_count = 300;
        samples[i].limits[0][QW_LIMIT_READ] = samples[i].limits[1][QW_LIMIT_READ] = limit;
    }
    qw_bench_case c = {.op = op,
                       .format = "bf16",
                       .m = m,
                       .context = context,
                       .kernel = "gemm_bf16",
                       .work = {.bytes = 1e6, .product_ops = 1e6, .peak = QW_LIMIT_FMA}};
    snprintf(c.shape, sizeof c.shape, "%s", shape);
    const qw_bench_record r = {.bench_case = &c,
                               .isa = "avx2",
                               .threads = 2,
                               .kinds = 1u << QW_LIMIT_READ,
                               .samples = samples,
                               .n_samples = n,
                               .parts = strcmp(op, "step") == 0 ? "products 100 %" : ""};
    assert_ok(qw_bench_row_make(row, &r, &rule, &err));
}

static void test_row(void **unused)
{
    (void)unused;
    qw_bench_row row;
    record(&row, "linear", "0.6b/qkv", 1, 0, 11, 0);
    assert_int_equal(row.n_clean, 11);
    assert_false(row.is_noisy);
    assert_near(row.time_us.min, 100, 1e-6);
    assert_near(row.time_us.p50, 150, 1e-6);
    assert_near(row.ratio.p50, 50.0 / 150, 1e-9); // 1 MB at 20 GB/s takes 50 us
    assert_int_equal(row.limit, QW_LIMIT_READ);
    qw_bench_row_release(&row);
    // Spoilt rounds do not count ...
    record(&row, "linear", "0.6b/qkv", 1, 0, 11, 5);
    assert_int_equal(row.n_clean, 6);
    assert_false(row.is_noisy);
    assert_near(row.time_us.min, 150, 1e-6);
    qw_bench_row_release(&row);
    // ... unless hardly any are left: then the row says so and shows them all.
    record(&row, "linear", "0.6b/qkv", 1, 0, 11, 7);
    assert_int_equal(row.n_clean, 4);
    assert_true(row.is_noisy);
    assert_near(row.time_us.min, 100, 1e-6);
    qw_bench_row_release(&row);
}

static void add_row(qw_bench_report *r, const char *op, const char *shape, int m, int context,
                    size_t n_busy)
{
    qw_bench_row row;
    record(&row, op, shape, m, context, 20, n_busy);
    assert_ok(qw_bench_report_add_row(r, &row, &err));
}

static void make_report(qw_bench_report *r)
{
    *r = (qw_bench_report){.version = "1.2.3", .commit = "abcdef", .isa = "avx2", .rounds = 20};
    snprintf(r->machine.cpu, sizeof r->machine.cpu, "A \"Test\" CPU");
    assert_ok(qw_bench_report_add_limit(r, "bw", 2, 20.5, "GB/s", &err));
    assert_ok(qw_bench_report_add_limit(r, "fma", 2, 150, "GFLOP/s", &err));
    add_row(r, "linear", "0.6b/qkv", 1, 0, 0);
    add_row(r, "attn", "0.6b/decode", 1, 4096, 0);
    add_row(r, "step", "0.6b/decode", 1, 512, 18);
    add_row(r, "step", "0.6b/prefill", 512, 512, 0);
    assert_ok(qw_bench_report_judge(r, &err));
}

static void test_marks(void **unused)
{
    (void)unused;
    qw_bench_report r;
    make_report(&r);
    assert_int_equal(r.n_marks, 3);
    assert_string_equal(r.marks[0].shape, "0.6b/decode"); // attention: 26 % of 70
    assert_int_equal(r.marks[0].verdict, QW_MARK_MISSED);
    assert_int_equal(r.marks[1].verdict, QW_MARK_NOISY);
    assert_int_equal(r.marks[2].verdict, QW_MARK_OTHER); // for avx512
    qw_bench_mark start_mark = {.value = 0.9, .mark = 1, .is_at_most = true};
    assert_ok(qw_bench_report_add_mark(&r, &start_mark, false, &err));
    assert_int_equal(r.marks[3].verdict, QW_MARK_MET);
    qw_bench_report_release(&r);
}

// A format against another one: rows are compared where shape, tokens and threads agree.
static void test_pair_marks(void **unused)
{
    (void)unused;
    qw_bench_report r = {.isa = "avx2"};
    static const char *const formats[] = {"w8a8", "w4a8", "bf16"};
    for (size_t i = 0; i < 3; i++) {
        add_row(&r, "step", "0.6b/prefill", 512, 512, 0);
        snprintf(r.rows[i].format, sizeof r.rows[i].format, "%s", formats[i]);
        r.rows[i].time_us.p50 = i == 1 ? 110 : i == 2 ? 300 : 100;
    }
    add_row(&r, "step", "1.7b/prefill", 512, 512, 0);
    snprintf(r.rows[3].format, sizeof r.rows[3].format, "w4a8");
    assert_ok(qw_bench_report_judge(&r, &err));
    assert_int_equal(r.n_marks, 4);
    assert_int_equal(r.marks[0].verdict, QW_MARK_MISSED); // w8a8 of its limit
    assert_int_equal(r.marks[1].verdict, QW_MARK_OTHER);  // bf16, for avx512
    assert_int_equal(r.marks[2].verdict, QW_MARK_OTHER);  // w8a8 against bf16, for vnni
    assert_near(r.marks[2].value, 300, 1e-9);
    assert_near(r.marks[3].value, 100 / 1.1, 1e-9);
    assert_int_equal(r.marks[3].verdict, QW_MARK_MET);
    qw_bench_report_release(&r);
}

// What was written reads back: every row is found again, with its ratios to the bit.
static void test_json(void **unused)
{
    (void)unused;
    char dir[] = QW_TEST_TMP "/bench_report_XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = qw_file_join(dir, "r.json");
    qw_bench_report r, back;
    make_report(&r);
    assert_ok(qw_bench_report_write(&r, path, &err));
    assert_ok(qw_bench_report_read(&back, path, &err));
    assert_string_equal(back.commit, r.commit);
    assert_string_equal(back.machine.cpu, r.machine.cpu);
    assert_int_equal(back.rounds, 20);
    assert_int_equal(back.n_rows, r.n_rows);
    for (size_t i = 0; i < r.n_rows; i++) {
        const qw_bench_row *a = &r.rows[i], *b = &back.rows[i];
        assert_true(qw_bench_row_is_same(a, b));
        assert_string_equal(a->kernel, b->kernel);
        assert_string_equal(a->isa, b->isa);
        assert_string_equal(a->parts, b->parts);
        assert_int_equal(a->n_clean, b->n_clean);
        assert_int_equal(a->n_total, b->n_total);
        assert_int_equal(a->is_noisy, b->is_noisy);
        assert_int_equal(a->limit, b->limit);
        assert_memory_equal(a->ratios, b->ratios, a->n_clean * sizeof(double));
        assert_true(a->time_us.p50 == b->time_us.p50 && a->ratio.p90 == b->ratio.p90);
    }
    // Compared with itself nothing has changed.
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    assert_ok(qw_bench_report_print(&r, &back, &text, &err));
    assert_ok(qw_buf_check(&text, "the table", &err));
    assert_non_null(strstr(text.data, "A \"Test\" CPU"));
    assert_non_null(strstr(text.data, "commit abcdef"));
    assert_non_null(strstr(text.data, "time_us  p10"));
    assert_non_null(strstr(text.data, "x1.000 +-0.000 same (20 pairs)"));
    assert_non_null(strstr(text.data, "products 100 %"));
    assert_non_null(strstr(text.data, "2/20 0.0%  noisy"));
    qw_buf_release(&text);
    qw_bench_report_release(&back);
    qw_bench_report_release(&r);
    unlink(path);
    rmdir(dir);
    qw_mem_free(path);
}

static void expect_bad(const char *path, const char *text, const char *part)
{
    qw_bench_report r;
    assert_ok(qw_file_write_atomic(path, text, strlen(text), &err));
    assert_fails(qw_bench_report_read(&r, path, &err), QW_ERR_FORMAT, part);
}

static void test_bad_json(void **unused)
{
    (void)unused;
    char dir[] = QW_TEST_TMP "/bench_report_XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = qw_file_join(dir, "r.json");
    const size_t live = qw_mem_live();
    expect_bad(path, "[]", "qwench bench");
    expect_bad(path, "{}", "qwench_bench");
    expect_bad(path, "{\"qwench_bench\": 2}", "qwench_bench");
    expect_bad(path, "{\"qwench_bench\": 1, \"rows\": [3]}", "object");
    expect_bad(path, "{\"qwench_bench\": 1, \"rows\": [{}]}", "time_us");
    expect_bad(path, "{\"qwench_bench\": 1, \"rows\": [{\"op\": \"a far too long operation\"}]}",
               "'op'");
    expect_bad(path,
               "{\"qwench_bench\": 1, \"rows\": [{\"time_us\": {}, \"of_limit\": {}, "
               "\"clean_ratios\": [0.5, \"x\"]}]}",
               "clean_ratios");
    expect_bad(path, "{\"qwench_bench\": 1, \"rows\": [{\"limit\": \"warp\"}]}", "warp");
    assert_int_equal(qw_mem_live(), live);
    unlink(path);
    rmdir(dir);
    qw_mem_free(path);
}

static qw_status write_and_read(const char *path, const qw_bench_report *r)
{
    qw_bench_report back;
    qw_status st = qw_bench_report_write(r, path, &err);
    if (st == QW_OK) st = qw_bench_report_read(&back, path, &err);
    if (st == QW_OK)
        qw_bench_report_release(&back);
    else
        assert_int_equal(st, QW_ERR_NO_MEMORY);
    return st;
}

static void test_memory(void **unused)
{
    (void)unused;
    char dir[] = QW_TEST_TMP "/bench_report_XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = qw_file_join(dir, "r.json");
    qw_bench_report r;
    make_report(&r);
    const size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_mem_fail_at(n);
        st = write_and_read(path, &r);
        qw_mem_fail_at(0);
        assert_int_equal(qw_mem_live(), live);
    }
    qw_bench_report_release(&r);
    unlink(path);
    rmdir(dir);
    qw_mem_free(path);
}

int main(void)
{
    qw_json_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_pair_marks), cmocka_unit_test(test_json),
        cmocka_unit_test(test_bad_json),   cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
