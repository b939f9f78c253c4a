// Hub ids in the caches of both hubs, laid out as their clients do.
#include "test_util.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/model_resolver.h"

static qw_error err;
static char root[200];

static void put(const char *path, const char *text)
{
    char full[400];
    snprintf(full, sizeof full, "%s/%s", root, path);
    char dir[400];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(full, '/') - full), full);
    assert_ok(qw_file_make_dirs(dir, &err));
    assert_ok(qw_file_write_atomic(full, text, strlen(text), &err));
}

static void finds(const qw_model_query *q, const char *tail)
{
    char *dir = NULL, want[400];
    assert_ok(qw_model_resolve(&dir, q, &err));
    snprintf(want, sizeof want, "%s/%s", root, tail);
    assert_string_equal(dir, want);
    qw_mem_free(dir);
}

static void set(const char *name, const char *tail)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", root, tail);
    setenv(name, path, 1);
}

static void clear(void)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HF_HOME", "MODELSCOPE_CACHE",
                                        "VLLM_USE_MODELSCOPE"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) unsetenv(names[i]);
    set("HOME", "home");
}

static void test_directory(void **unused)
{
    (void)unused;
    clear();
    put("here/config.json", "{}");
    char path[300];
    snprintf(path, sizeof path, "%s/here", root);
    finds(&(qw_model_query){.model = path}, "here");
    char *dir = NULL;
    assert_fails(qw_model_resolve(&dir, &(qw_model_query){.model = "/no/such/dir"}, &err),
                 QW_ERR_IO, "no model directory '/no/such/dir'; give the path of a checkpoint");
    assert_fails(qw_model_resolve(&dir, &(qw_model_query){.model = "../x"}, &err), QW_ERR_IO,
                 "give the path");
    assert_null(dir);
}

static void test_huggingface(void **unused)
{
    (void)unused;
    clear();
    const char *repo = "home/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B";
    char path[300];
    snprintf(path, sizeof path, "%s/snapshots/abc/config.json", repo);
    put(path, "{}");
    snprintf(path, sizeof path, "%s/snapshots/def/config.json", repo);
    put(path, "{}");
    snprintf(path, sizeof path, "%s/refs/main", repo);
    put(path, "abc\n");
    qw_model_query q = {.model = "Qwen/Qwen3-0.6B"};
    snprintf(path, sizeof path, "%s/snapshots/abc", repo);
    finds(&q, path);
    q.revision = "def"; // a commit
    snprintf(path, sizeof path, "%s/snapshots/def", repo);
    finds(&q, path);
    q.revision = "v9";
    char *dir = NULL;
    assert_fails(qw_model_resolve(&dir, &q, &err), QW_ERR_IO, ".cache/huggingface/hub'");
    q.revision = NULL;
    put("hf/hub/models--Qwen--Qwen3-0.6B/snapshots/only/config.json", "{}"); // without refs
    set("HF_HOME", "hf");
    finds(&q, "hf/hub/models--Qwen--Qwen3-0.6B/snapshots/only");
    put("cache/models--Qwen--Qwen3-0.6B/snapshots/c/config.json", "{}");
    set("HF_HUB_CACHE", "cache");
    finds(&q, "cache/models--Qwen--Qwen3-0.6B/snapshots/c");
    put("dl/models--Qwen--Qwen3-0.6B/snapshots/d/config.json", "{}");
    char download[300];
    snprintf(download, sizeof download, "%s/dl", root);
    q.download_dir = download;
    finds(&q, "dl/models--Qwen--Qwen3-0.6B/snapshots/d");
}

static void test_modelscope(void **unused)
{
    (void)unused;
    clear();
    put("home/.cache/modelscope/hub/models/Qwen/Other/config.json", "{}");
    finds(&(qw_model_query){.model = "Qwen/Other"}, "home/.cache/modelscope/hub/models/Qwen/Other");
    put("ms/models/Qwen/Qwen3-1___7B/config.json", "{}"); // dots as ModelScope stores them
    set("MODELSCOPE_CACHE", "ms");
    finds(&(qw_model_query){.model = "Qwen/Qwen3-1.7B"}, "ms/models/Qwen/Qwen3-1___7B");
    // Both hubs have it: the variable says who is asked first.
    put("ms/models/Qwen/Qwen3-0___6B/config.json", "{}");
    const qw_model_query q = {.model = "Qwen/Qwen3-0.6B"};
    finds(&q, "home/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B/snapshots/abc");
    setenv("VLLM_USE_MODELSCOPE", "True", 1);
    finds(&q, "ms/models/Qwen/Qwen3-0___6B");
    char *dir = NULL;
    assert_fails(qw_model_resolve(&dir, &(qw_model_query){.model = "Qwen/None"}, &err), QW_ERR_IO,
                 "no hub cache of this machine has it (searched ");
    if (!strstr(err.text, "/ms'")) fail_msg("%s", err.text);
}

static void test_memory_failures(void **unused)
{
    (void)unused;
    clear();
    size_t live = qw_mem_live();
    int n_whole = 0;
    for (uint64_t n = 1; n_whole < 4; n++) {
        char *dir = NULL;
        qw_mem_fail_at(n);
        qw_status st = qw_model_resolve(&dir, &(qw_model_query){.model = "Qwen/Other"}, &err);
        qw_mem_fail_at(0);
        n_whole = st == QW_OK ? n_whole + 1 : 0;
        qw_mem_free(dir);
        assert_int_equal(qw_mem_live(), live);
        assert_true(n < 1000);
    }
}

static int make_root(void **unused)
{
    (void)unused;
    snprintf(root, sizeof root, "%s/model-resolver-XXXXXX", QW_TEST_TMP);
    return mkdtemp(root) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_huggingface),
        cmocka_unit_test(test_modelscope),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
