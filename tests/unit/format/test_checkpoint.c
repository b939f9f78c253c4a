#include "test_util.h"

#include <sys/stat.h>
#include <unistd.h>

#include "format/checkpoint.h"
#include "format/json.h"

static qw_error err;
static char root[400]; // a fresh folder below QW_TEST_TMP
static char dir[420];  // the model folder of the running test

#define TINY QW_TEST_DATA "/tiny-models/"

static int new_dir(void **state)
{
    (void)state;
    static int serial;
    snprintf(dir, sizeof dir, "%s/%d", root, serial++);
    return mkdir(dir, 0700);
}

static const char *in_dir(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    assert_ok(qw_file_write_atomic(in_dir(name), text, strlen(text), &err));
}

static void write_index(const char *weight_map)
{
    char text[2000];
    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":1},\"weight_map\":%s}", weight_map);
    write_file("model.safetensors.index.json", text);
}

// A shard with one-byte tensors called after the letters of `names`.
static void write_shard(const char *file, const char *names)
{
    static const size_t one[] = {1};
    qw_stored_tensor tensors[8];
    char text[8][2];
    size_t n = strlen(names);
    for (size_t i = 0; i < n; i++) {
        text[i][0] = names[i];
        text[i][1] = '\0';
        tensors[i] = (qw_stored_tensor){text[i], QW_DTYPE_U8, 1, one, (const uint8_t *)text[i], 1};
    }
    assert_ok(qw_safetensors_write(in_dir(file), tensors, n, NULL, 0, &err));
}

static void expect_failure(qw_status want, const char *part)
{
    qw_checkpoint c;
    size_t live = qw_mem_live();
    assert_fails(qw_checkpoint_open(&c, dir, &err), want, part);
    assert_non_null(strstr(err.text, dir));
    assert_int_equal(qw_mem_live(), live);
}

static void single_file(void **state)
{
    (void)state;
    qw_checkpoint c;
    assert_ok(qw_checkpoint_open(&c, TINY "tied", &err));
    assert_int_equal(c.n_shards, 1);
    assert_string_equal(c.shards[0].name, "model.safetensors");
    assert_int_equal(c.shards[0].size, 553104);
    assert_true(c.shards[0].mtime_ns > 0);
    assert_int_equal(c.n_tensors, 2 * 11 + 3); // the file holds a redundant lm_head
    const qw_stored_tensor *t = qw_checkpoint_find(&c, "model.embed_tokens.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, QW_DTYPE_BF16);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 320);
    assert_int_equal(t->shape[1], 64);
    assert_non_null(qw_checkpoint_find(&c, "lm_head.weight"));
    assert_null(qw_checkpoint_find(&c, "model.layers.2.input_layernorm.weight"));
    qw_checkpoint_close(&c);
}

static void sharded(void **state)
{
    (void)state;
    qw_checkpoint c;
    assert_ok(qw_checkpoint_open(&c, TINY "untied-sharded", &err));
    assert_int_equal(c.n_shards, 2);
    assert_string_equal(c.shards[1].name, "model-00002-of-00002.safetensors");
    assert_int_equal(c.shards[1].size, 390040);
    assert_int_equal(c.n_tensors, 3 * 11 + 3);
    assert_int_equal(c.total_size, 797760); // the index's own total_size
    uint64_t sum = 0;
    for (size_t i = 0; i < c.n_tensors; i++) {
        assert_ptr_equal(qw_checkpoint_find(&c, c.tensors[i]->name), c.tensors[i]);
        sum += c.tensors[i]->size;
    }
    assert_int_equal(sum, c.total_size);
    const qw_stored_tensor *t = qw_checkpoint_find(&c, "model.layers.2.self_attn.q_proj.weight");
    assert_non_null(t);
    assert_int_equal(t->shape[0], 320);
    assert_int_equal(t->shape[1], 96);
    qw_checkpoint_close(&c);
}

// The index decides: over model.safetensors, and which copy of a tensor counts.
static void index_wins(void **state)
{
    (void)state;
    write_shard("model.safetensors", "xyz");
    write_shard("1.safetensors", "cab");
    write_shard("2.safetensors", "bd");
    write_index("{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\",\"c\":\"1.safetensors\"}");
    qw_checkpoint c;
    assert_ok(qw_checkpoint_open(&c, dir, &err));
    assert_int_equal(c.n_shards, 2);
    assert_int_equal(c.n_tensors, 3);
    assert_string_equal(c.tensors[0]->name, "a");
    assert_string_equal(c.tensors[1]->name, "c");
    assert_string_equal(c.tensors[2]->name, "b");
    assert_ptr_equal(c.tensors[2], qw_safetensors_find(&c.shards[1].file, "b"));
    assert_null(qw_checkpoint_find(&c, "d"));
    assert_null(qw_checkpoint_find(&c, "x"));
    qw_checkpoint_close(&c);
}

static void missing_shard(void **state)
{
    (void)state;
    write_shard("1.safetensors", "a");
    write_shard("2.safetensors", "b");
    write_index("{\"c\":\"3.safetensors\",\"b\":\"2.safetensors\",\"a\":\"1.safetensors\"}");
    expect_failure(QW_ERR_IO, "shard 3 of 3, '");
    expect_failure(QW_ERR_IO, "/3.safetensors': cannot be opened: no such file");
    assert_int_equal(mkdir(in_dir("3.safetensors"), 0700), 0);
    expect_failure(QW_ERR_IO, "shard 3 of 3, '");
}

static void damaged_shard(void **state)
{
    (void)state;
    write_shard("1.safetensors", "a");
    write_file("2.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    write_index("{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\"}");
    expect_failure(QW_ERR_FORMAT, "/2.safetensors': weights not downloaded");
    expect_failure(QW_ERR_FORMAT, "shard 2 of 2, '");
}

static void shard_lacks_a_tensor(void **state)
{
    (void)state;
    write_shard("1.safetensors", "a");
    write_shard("2.safetensors", "b");
    write_index("{\"b\":\"1.safetensors\",\"a\":\"1.safetensors\",\"d\":\"2.safetensors\"}");
    expect_failure(QW_ERR_FORMAT, "/1.safetensors': has no tensor 'b'");
}

static void bad_index(void **state)
{
    (void)state;
    write_shard("1.safetensors", "a");
    static const char *const names[] = {
        "../1.safetensors",     "..", ".", "", "/etc/passwd", "x/1.safetensors",
        "1.safetensors\\u0000x"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        char map[200];
        snprintf(map, sizeof map, "{\"a\":\"%s\"}", names[i]);
        write_index(map);
        expect_failure(QW_ERR_FORMAT, "tensor 'a': its file must be a plain file name");
    }
    write_index("{\"a\":1}");
    expect_failure(QW_ERR_FORMAT, "got 'integer'");
    write_index("{}");
    expect_failure(QW_ERR_FORMAT, "'weight_map' names no tensor");
    write_index("[]");
    expect_failure(QW_ERR_FORMAT, "'weight_map' must be an object, got array");
    write_file("model.safetensors.index.json", "[]");
    expect_failure(QW_ERR_FORMAT, "'weight_map' must be an object, got nothing");
    write_file("model.safetensors.index.json", "{\"weight_map\":");
    expect_failure(QW_ERR_FORMAT, "no valid JSON");
}

static void no_weights(void **state)
{
    (void)state;
    expect_failure(QW_ERR_IO, "no weights in '");
    write_file("pytorch_model.bin", "PK");
    expect_failure(QW_ERR_UNSUPPORTED, "only pickled weights ('pytorch_model.bin')");
    write_file("model-00001-of-00002.safetensors", "");
    expect_failure(QW_ERR_IO, "has 'model-00001-of-00002.safetensors' but neither");
    qw_checkpoint c;
    assert_fails(qw_checkpoint_open(&c, in_dir("nowhere"), &err), QW_ERR_IO,
                 "cannot open directory");
}

static void out_of_memory(void **state)
{
    (void)state;
    static const char *const models[] = {TINY "tied", TINY "untied-sharded",
                                         QW_TEST_DATA "/ascend/w8a8/model",
                                         QW_TEST_DATA "/ascend/w8a8-v0/model"};
    for (size_t i = 0; i < QW_ARRAY_LEN(models); i++) {
        size_t live = qw_mem_live();
        qw_status st = QW_ERR_NO_MEMORY;
        for (uint64_t n = 1; st != QW_OK; n++) {
            qw_checkpoint c;
            qw_mem_fail_at(n);
            st = qw_checkpoint_open(&c, models[i], &err);
            qw_mem_fail_at(0);
            if (st == QW_OK)
                qw_checkpoint_close(&c);
            else
                assert_int_equal(st, QW_ERR_NO_MEMORY);
            assert_int_equal(qw_mem_live(), live);
        }
    }
}

int main(void)
{
    qw_json_init();
    snprintf(root, sizeof root, "%s/checkpoint.XXXXXX", QW_TEST_TMP);
    if (!mkdtemp(root)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_file),
        cmocka_unit_test(sharded),
        cmocka_unit_test_setup(index_wins, new_dir),
        cmocka_unit_test_setup(missing_shard, new_dir),
        cmocka_unit_test_setup(damaged_shard, new_dir),
        cmocka_unit_test_setup(shard_lacks_a_tensor, new_dir),
        cmocka_unit_test_setup(bad_index, new_dir),
        cmocka_unit_test_setup(no_weights, new_dir),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
