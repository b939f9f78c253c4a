#include "test_util.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "format/json.h"
#include "format/safetensors.h"

static qw_error err;
static char dir[512]; // a fresh folder below QW_TEST_TMP

static const char *in_dir(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t size)
{
    assert_ok(qw_file_write_atomic(in_dir(name), data, size, &err));
}

// A file image: length field, header, `n_data` bytes 0, 1, 2, ...
static void build(qw_buf *b, const char *header, size_t n_data)
{
    qw_buf_init(b, 1 << 20);
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) qw_buf_putc(b, (char)(n >> 8 * i & 0xFF));
    qw_buf_puts(b, header);
    for (size_t i = 0; i < n_data; i++) qw_buf_putc(b, (char)i);
    assert_ok(qw_buf_check(b, "test", &err));
}

static void expect_error(const char *header, size_t n_data, const char *part)
{
    qw_buf b;
    build(&b, header, n_data);
    qw_safetensors st;
    assert_fails(qw_safetensors_parse(&st, (const uint8_t *)b.data, b.len, &err), QW_ERR_FORMAT,
                 part);
    qw_buf_release(&b);
}

static uint8_t *from_hex(const char *hex, size_t *size)
{
    *size = strlen(hex) / 2;
    uint8_t *bytes = malloc(*size + 1); // its own block, so that ASan sees reads past the end
    assert_non_null(bytes);
    for (size_t i = 0; i < *size; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

// The verdicts of data/tiny-models/safetensors_cases.jsonl, from memory and from a file.
static void golden_cases(void **state)
{
    (void)state;
    qw_buf text;
    qw_buf_init(&text, 1 << 20);
    assert_ok(qw_file_read(&text, QW_TEST_DATA "/tiny-models/safetensors_cases.jsonl", &err));
    int n_cases = 0;
    for (char *line = text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        json_t *c;
        assert_ok(qw_json_parse(&c, line, (size_t)(end - line), "case", &err));
        const char *name = json_string_value(json_object_get(c, "name"));
        bool valid = json_is_true(json_object_get(c, "valid"));
        size_t size;
        uint8_t *bytes = from_hex(json_string_value(json_object_get(c, "hex")), &size);

        size_t live = qw_mem_live();
        qw_safetensors st;
        qw_status status = qw_safetensors_parse(&st, bytes, size, &err);
        if ((status == QW_OK) != valid)
            fail_msg("case '%s': expected %s: %s", name, valid ? "valid" : "an error",
                     status == QW_OK ? "accepted" : err.text);
        if (status == QW_OK)
            qw_safetensors_close(&st);
        else
            assert_int_equal(status, QW_ERR_FORMAT);

        write_file("case.safetensors", bytes, size);
        assert_int_equal(qw_safetensors_open(&st, in_dir("case.safetensors"), &err), status);
        if (status == QW_OK)
            qw_safetensors_close(&st);
        else if (!strstr(err.text, "case.safetensors"))
            fail_msg("case '%s': no file in '%s'", name, err.text);
        assert_int_equal(qw_mem_live(), live);
        free(bytes);
        json_decref(c);
        n_cases++;
    }
    assert_int_equal(n_cases, 63);
    qw_buf_release(&text);
}

static void views(void **state)
{
    (void)state;
    qw_buf b;
    build(&b,
          "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[3,15]},"
          "\"a\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]},"
          "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[15,19]},"
          "\"e\":{\"dtype\":\"F32\",\"shape\":[4,0],\"data_offsets\":[19,19]},"
          "\"__metadata__\":{\"format\":\"pt\",\"x\":\"\\u0000y\"}}",
          19);
    qw_safetensors st;
    assert_ok(qw_safetensors_parse(&st, (const uint8_t *)b.data, b.len, &err));
    assert_int_equal(st.n_tensors, 4);
    assert_string_equal(st.tensors[0].name, "a"); // in the order of the data
    const qw_stored_tensor *t = qw_safetensors_find(&st, "b");
    assert_non_null(t);
    assert_int_equal(t->dtype, QW_DTYPE_BF16);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->size, 12);
    assert_int_equal(t->data[0], 3);
    assert_ptr_equal(t->data + t->size, qw_safetensors_find(&st, "s")->data);
    assert_int_equal(qw_safetensors_find(&st, "s")->rank, 0);
    assert_int_equal(qw_safetensors_find(&st, "s")->size, 4);
    assert_int_equal(qw_safetensors_find(&st, "e")->size, 0);
    assert_null(qw_safetensors_find(&st, "c"));
    assert_null(qw_safetensors_find(&st, "__metadata__"));
    assert_int_equal(st.n_metadata, 2);
    assert_true(qw_str_is(st.metadata[0].key, "format") && qw_str_is(st.metadata[0].value, "pt"));
    assert_true(qw_str_eq(st.metadata[1].value, QW_STR("\0y")));
    qw_safetensors_close(&st);
    qw_buf_release(&b);
}

static void errors_say_what_is_wrong(void **state)
{
    (void)state;
    expect_error("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 5,
                 "tensor 'w': bytes [0, 8) end past the 5-byte data section, which should have 8 "
                 "bytes; the download looks incomplete");
    expect_error("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
                 "tensor 'w': has 4 bytes, but its shape and dtype F32 need 8");
    expect_error("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9,
                 "the tensors end at byte 8 of the data section, which has 9 bytes");
    expect_error("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
                 "tensor 'w': starts at byte 4 of the data section, but the tensors before it end "
                 "at byte 0");
    expect_error("{\"w\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
                 "tensor 'w': unknown dtype 'F99'");
    expect_error("{\"w\":{\"dtype\":\"F\\u00003\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
                 "unknown dtype 'F'");
    expect_error("{\"w\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
                 "times 4 bits overflows or is no whole number of bytes");
    expect_error("{\"w\":1,\"w\":2}", 0, "duplicate object key");
    expect_error("[]", 0, "header must be a JSON object, got array");
    expect_error("{\"w\":[]}", 0, "tensor 'w': its entry must be an object, got array");
    expect_error("{\"w\":{\"shape\":[]}}", 0, "tensor 'w': 'dtype' must be a string, got nothing");
    expect_error("{\"__metadata__\":{\"k\":1}}", 0,
                 "'__metadata__' must hold strings, 'k' is integer");
}

static void damaged_files(void **state)
{
    (void)state;
    qw_safetensors st;
    assert_fails(qw_safetensors_open(&st, in_dir("missing"), &err), QW_ERR_IO, "No such file");
    assert_fails(qw_safetensors_open(&st, dir, &err), QW_ERR_IO, "a directory");
    write_file("empty", "", 0);
    assert_fails(qw_safetensors_open(&st, in_dir("empty"), &err), QW_ERR_FORMAT,
                 "this one has 0; the download looks incomplete");
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
                              "size 1192135096\n";
    write_file("lfs", lfs, sizeof lfs - 1);
    assert_fails(qw_safetensors_open(&st, in_dir("lfs"), &err), QW_ERR_FORMAT,
                 "weights not downloaded");
    write_file("html", "<!DOCTYPE html>", 15);
    assert_fails(qw_safetensors_open(&st, in_dir("html"), &err), QW_ERR_FORMAT,
                 "no safetensors file");

    // Every truncation of a real file is found.
    qw_buf whole;
    qw_buf_init(&whole, 1 << 20);
    assert_ok(qw_file_read(&whole, QW_TEST_DATA "/tiny-models/tied/model.safetensors", &err));
    for (size_t size = 0; size < whole.len; size += size < 3000 ? 1 : 9973)
        assert_fails(qw_safetensors_parse(&st, (const uint8_t *)whole.data, size, &err),
                     QW_ERR_FORMAT, "the download looks incomplete");
    qw_buf_release(&whole);
}

static const float values[] = {0, 1, 2, 3, 4, 5};

// The reference's own tests fix these bytes (safetensors/src/tensor.rs, mod tests).
static void written_bytes(void **state)
{
    (void)state;
    static const size_t shape[] = {1, 1, 2, 3};
    qw_stored_tensor t = {"attn0", QW_DTYPE_F32, 4, shape, (const uint8_t *)values, sizeof values};
    assert_ok(qw_safetensors_write(in_dir("w"), &t, 1, NULL, 0, &err));
    qw_buf got;
    qw_buf_init(&got, 1 << 20);
    assert_ok(qw_file_read(&got, in_dir("w"), &err));
    static const char header[] = "H\0\0\0\0\0\0\0{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],"
                                 "\"data_offsets\":[0,24]}}       ";
    assert_int_equal(got.len, sizeof header - 1 + sizeof values);
    assert_memory_equal(got.data, header, sizeof header - 1);
    assert_memory_equal(got.data + sizeof header - 1, values, sizeof values);

    qw_buf_clear(&got);
    assert_ok(qw_safetensors_write(in_dir("w"), NULL, 0, NULL, 0, &err));
    assert_ok(qw_file_read(&got, in_dir("w"), &err));
    assert_int_equal(got.len, 16);
    assert_memory_equal(got.data, "\10\0\0\0\0\0\0\0{}      ", 16);

    qw_buf_clear(&got);
    qw_safetensors_metadata m = {QW_STR("framework"), QW_STR("pt")};
    assert_ok(qw_safetensors_write(in_dir("w"), NULL, 0, &m, 1, &err));
    assert_ok(qw_file_read(&got, in_dir("w"), &err));
    assert_int_equal(got.len, 48);
    assert_memory_equal(got.data, "(\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ",
                        48);
    qw_buf_release(&got);
}

static void round_trip(void **state)
{
    (void)state;
    static const size_t two[] = {2}, three[] = {3}, none[] = {0, 7};
    const uint8_t *v = (const uint8_t *)values;
    const qw_stored_tensor tensors[] = {
        {"z.bf16", QW_DTYPE_BF16, 1, three, v, 6},
        {"f32.b", QW_DTYPE_F32, 1, two, v + 1, 8},
        {"f32.a", QW_DTYPE_F32, 1, three, v, 12},
        {"scalar", QW_DTYPE_I64, 0, NULL, v, 8},
        {"empty", QW_DTYPE_F16, 2, none, NULL, 0},
        {"quote\"\n\xC3\xA4", QW_DTYPE_U8, 1, three, v, 3},
    };
    const size_t n = QW_ARRAY_LEN(tensors);
    static const char *const order[] = {"scalar", "f32.a", "f32.b",
                                        "z.bf16", "empty", "quote\"\n\xC3\xA4"};
    const qw_safetensors_metadata m[] = {{QW_STR("a"), QW_STR("1\n")}, {QW_STR("b"), QW_STR("")}};
    assert_ok(qw_safetensors_write(in_dir("rt"), tensors, n, m, 2, &err));
    qw_safetensors st;
    assert_ok(qw_safetensors_open(&st, in_dir("rt"), &err));
    assert_int_equal(st.n_tensors, n);
    assert_int_equal(st.n_metadata, 2);
    assert_true(qw_str_is(st.metadata[0].value, "1\n") && qw_str_is(st.metadata[1].value, ""));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(st.tensors[i].name, order[i]);
        const qw_stored_tensor *t = qw_safetensors_find(&st, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, tensors[i].dtype);
        assert_int_equal(t->rank, tensors[i].rank);
        for (size_t k = 0; k < t->rank; k++) assert_int_equal(t->shape[k], tensors[i].shape[k]);
        assert_int_equal(t->size, tensors[i].size);
        if (t->size) assert_memory_equal(t->data, tensors[i].data, t->size);
    }
    qw_safetensors_close(&st);
}

static void writer_refuses(void **state)
{
    (void)state;
    static const size_t two[] = {2};
    const uint8_t *v = (const uint8_t *)values;
    write_file("keep", "old", 3);
    qw_stored_tensor t[2] = {{"a", QW_DTYPE_F32, 1, two, v, 8}, {"a", QW_DTYPE_I8, 1, two, v, 2}};
    const char *path = in_dir("keep");
    assert_fails(qw_safetensors_write(path, t, 2, NULL, 0, &err), QW_ERR_USAGE,
                 "two tensors are called 'a'");
    t[1].name = "__metadata__";
    assert_fails(qw_safetensors_write(path, t, 2, NULL, 0, &err), QW_ERR_USAGE,
                 "cannot be a tensor's name");
    t[1].name = "b\xFF";
    assert_fails(qw_safetensors_write(path, t, 2, NULL, 0, &err), QW_ERR_USAGE,
                 "cannot be a tensor's name");
    t[1].name = "b";
    t[1].size = 3;
    assert_fails(qw_safetensors_write(path, t, 2, NULL, 0, &err), QW_ERR_USAGE,
                 "tensor 'b': 3 bytes do not match");
    qw_safetensors_metadata m[2] = {{QW_STR("k"), QW_STR("1")}, {QW_STR("k"), QW_STR("2")}};
    assert_fails(qw_safetensors_write(path, t, 1, m, 2, &err), QW_ERR_USAGE, "is repeated");
    qw_buf old;
    qw_buf_init(&old, 100);
    assert_ok(qw_file_read(&old, path, &err));
    assert_string_equal(old.data, "old");
    qw_buf_release(&old);
}

// As many tensors as the largest mixture-of-experts model has; all are found by name.
static void many_tensors(void **state)
{
    (void)state;
    enum { N = 18000 };
    static qw_stored_tensor tensors[N];
    static char names[N][40];
    static const size_t shape[] = {1};
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%zu.experts.%zu.w", i / 128, i % 128);
        tensors[i] =
            (qw_stored_tensor){names[i], QW_DTYPE_U8, 1, shape, (const uint8_t *)names[i] + 13, 1};
    }
    assert_ok(qw_safetensors_write(in_dir("many"), tensors, N, NULL, 0, &err));
    qw_safetensors st;
    assert_ok(qw_safetensors_open(&st, in_dir("many"), &err));
    assert_int_equal(st.n_tensors, N);
    for (size_t i = 0; i < N; i++) {
        const qw_stored_tensor *t = qw_safetensors_find(&st, names[i]);
        assert_non_null(t);
        assert_int_equal(*t->data, *tensors[i].data);
    }
    qw_safetensors_close(&st);
}

static void out_of_memory(void **state)
{
    (void)state;
    static const size_t two[] = {2};
    const qw_stored_tensor tensors[] = {{"a", QW_DTYPE_F32, 1, two, (const uint8_t *)values, 8},
                                        {"b", QW_DTYPE_I8, 1, two, (const uint8_t *)values, 2}};
    const qw_safetensors_metadata m = {QW_STR("k"), QW_STR("v")};
    size_t live = qw_mem_live();
    qw_status st = QW_ERR_NO_MEMORY;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_mem_fail_at(n);
        st = qw_safetensors_write(in_dir("oom"), tensors, 2, &m, 1, &err);
        qw_mem_fail_at(0);
        if (st != QW_OK) assert_int_equal(st, QW_ERR_NO_MEMORY);
        assert_int_equal(qw_mem_live(), live);
    }
    st = QW_ERR_NO_MEMORY;
    uint64_t n_failures = 0;
    for (uint64_t n = 1; st != QW_OK; n++) {
        qw_safetensors file;
        qw_mem_fail_at(n);
        st = qw_safetensors_open(&file, in_dir("oom"), &err);
        qw_mem_fail_at(0);
        if (st == QW_OK) {
            assert_int_equal(file.n_tensors, 2);
            qw_safetensors_close(&file);
        } else {
            assert_int_equal(st, QW_ERR_NO_MEMORY);
            n_failures++;
        }
        assert_int_equal(qw_mem_live(), live);
    }
    assert_true(n_failures > 10);
}

int main(void)
{
    qw_json_init();
    snprintf(dir, sizeof dir, "%s/safetensors.XXXXXX", QW_TEST_TMP);
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases),
        cmocka_unit_test(views),
        cmocka_unit_test(errors_say_what_is_wrong),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(written_bytes),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(many_tensors),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
