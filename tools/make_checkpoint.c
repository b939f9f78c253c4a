// make_checkpoint CONFIG_DIR OUT_DIR SEED [--shards N]
//
// Writes the weights of --load-format dummy --dummy-seed SEED as a checkpoint directory: the same
// bits, read from files. For tests and measurements that need a real checkpoint of any size.

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "format/dummy_checkpoint.h"
#include "format/json.h"
#include "model/model.h"

static const uint64_t max_shard_size = 4000000000u; // unless --shards says otherwise

typedef struct args {
    const char *config_dir, *out_dir;
    int64_t seed, n_shards; /* n_shards 0: by size */
} args;

static bool parse_args(args *a, int argc, char **argv)
{
    const char *words[3];
    int n_words = 0;
    *a = (args){0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--shards") == 0) {
            if (++i == argc || !qw_str_to_i64(qw_str_of(argv[i]), &a->n_shards)) return false;
            if (a->n_shards < 1 || a->n_shards > 99999) return false;
        } else if (n_words < 3) {
            words[n_words++] = argv[i];
        } else {
            return false;
        }
    }
    if (n_words != 3 || !qw_str_to_i64(qw_str_of(words[2]), &a->seed) || a->seed < 0) return false;
    a->config_dir = words[0];
    a->out_dir = words[1];
    return true;
}

// Give each tensor its shard, in order, all shards about equally large. Returns the largest size.
static uint64_t assign(uint32_t *shard_of, const qw_checkpoint *c, size_t n_shards)
{
    uint64_t before = 0, size = 0, largest = 0;
    size_t shard = 0;
    for (size_t i = 0; i < c->n_tensors; i++) {
        size_t n_left = c->n_tensors - i, n_shards_behind = n_shards - 1 - shard;
        bool is_full = before >= c->total_size / n_shards * (shard + 1);
        if (n_shards_behind > 0 && size > 0 && (is_full || n_left <= n_shards_behind)) {
            shard++;
            size = 0;
        }
        shard_of[i] = (uint32_t)shard;
        before += c->tensors[i]->size;
        size += c->tensors[i]->size;
        if (size > largest) largest = size;
    }
    return largest;
}

static qw_status read_tensor(void *ctx, const qw_stored_tensor *t, size_t offset, void *out,
                             size_t size, qw_error *err)
{
    (void)err;
    const qw_dummy_tensor *dummy =
        qw_dummy_tensor_of(ctx, qw_checkpoint_find(ctx, t->name)); // `t` is a copy
    size_t cols = t->shape[t->rank - 1], first = offset / 2, n = size / 2;
    uint16_t *elements = out;
    while (n > 0) {
        size_t col = first % cols, n_here = cols - col < n ? cols - col : n;
        qw_dummy_tensor_row(dummy, elements, first / cols, col, n_here);
        elements += n_here;
        first += n_here;
        n -= n_here;
    }
    return QW_OK;
}

static void file_name(char out[64], size_t shard, size_t n_shards)
{
    if (n_shards == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, n_shards);
}

static qw_status write_shard(const char *dir, qw_checkpoint *c, const uint32_t *shard_of,
                             size_t shard, size_t n_shards, qw_error *err)
{
    char name[64];
    file_name(name, shard, n_shards);
    char *path = qw_file_join(dir, name);
    qw_stored_tensor *tensors = qw_mem_array(c->n_tensors, sizeof *tensors);
    qw_status st = QW_OK;
    if (!path || !tensors) st = qw_fail_memory(err, 0, "a shard");
    size_t n = 0;
    for (size_t i = 0; i < c->n_tensors && st == QW_OK; i++)
        if (shard_of[i] == shard) tensors[n++] = *c->tensors[i];
    const qw_safetensors_metadata metadata = {QW_STR("format"), QW_STR("pt")};
    if (st == QW_OK)
        st = qw_safetensors_write_from(path, tensors, n, &metadata, 1, read_tensor, c, err);
    qw_mem_free(tensors);
    qw_mem_free(path);
    return st;
}

static qw_status write_index(const char *dir, const qw_checkpoint *c, const uint32_t *shard_of,
                             size_t n_shards, qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)1 << 30);
    qw_buf_printf(&text, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{",
                  c->total_size);
    for (size_t i = 0; i < c->n_tensors; i++) {
        char name[64];
        file_name(name, shard_of[i], n_shards);
        if (i > 0) qw_buf_putc(&text, ',');
        qw_json_write_string(&text, qw_str_of(c->tensors[i]->name));
        qw_buf_printf(&text, ":\"%s\"", name);
    }
    qw_buf_puts(&text, "}}\n");
    qw_status st = qw_buf_check(&text, "the index", err);
    char *path = qw_file_join(dir, "model.safetensors.index.json");
    if (st == QW_OK && !path) st = qw_fail_memory(err, 0, "a path");
    if (st == QW_OK) st = qw_file_write_atomic(path, text.data, text.len, err);
    qw_mem_free(path);
    qw_buf_release(&text);
    return st;
}

static qw_status write_weights(const args *a, qw_checkpoint *c, qw_error *err)
{
    uint32_t *shard_of = qw_mem_array(c->n_tensors, sizeof *shard_of);
    if (!shard_of) return qw_fail_memory(err, 0, "the list of shards");
    size_t n_shards = a->n_shards > 0 ? (size_t)a->n_shards : 1;
    if (n_shards > c->n_tensors) n_shards = c->n_tensors;
    while (assign(shard_of, c, n_shards) > max_shard_size && a->n_shards == 0 &&
           n_shards < c->n_tensors)
        n_shards++;
    qw_status st = QW_OK;
    for (size_t i = 0; i < n_shards && st == QW_OK; i++)
        st = write_shard(a->out_dir, c, shard_of, i, n_shards, err);
    if (st == QW_OK && n_shards > 1) st = write_index(a->out_dir, c, shard_of, n_shards, err);
    qw_mem_free(shard_of);
    return st;
}

// Everything beside the weights: a file that is missing is left out.
static qw_status copy_files(const args *a, qw_error *err)
{
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "tokenizer_config.json", "chat_template.jinja"};
    qw_status st = QW_OK;
    for (size_t i = 0; i < QW_ARRAY_LEN(names) && st == QW_OK; i++) {
        char *from = qw_file_join(a->config_dir, names[i]),
             *to = qw_file_join(a->out_dir, names[i]);
        qw_file file = {0};
        if (!from || !to) st = qw_fail_memory(err, 0, "a path");
        if (st == QW_OK && qw_file_exists(from)) {
            st = qw_file_open(&file, from, err);
            if (st == QW_OK) st = qw_file_write_atomic(to, file.data, (size_t)file.size, err);
            qw_file_close(&file);
        }
        qw_mem_free(from);
        qw_mem_free(to);
    }
    return st;
}

// The reader would prefer an old index to a new single file.
static qw_status check_empty(const char *dir, qw_error *err)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    for (size_t i = 0; i < QW_ARRAY_LEN(names); i++) {
        char *path = qw_file_join(dir, names[i]);
        if (!path) return qw_fail_memory(err, 0, "a path");
        bool exists = qw_file_exists(path);
        qw_mem_free(path);
        if (exists)
            return qw_fail(err, QW_ERR_USAGE,
                           "'%s' already holds weights ('%s'); give a new "
                           "directory",
                           dir, names[i]);
    }
    return QW_OK;
}

static qw_status make_checkpoint(const args *a, qw_error *err)
{
    qw_model_config config = {0};
    qw_checkpoint c = {0};
    qw_status st = qw_model_config_load(&config, a->config_dir, NULL, err);
    if (st == QW_OK) st = qw_model_dummy_checkpoint(&c, &config, NULL, (uint64_t)a->seed, err);
    if (st == QW_OK) st = check_empty(a->out_dir, err);
    if (st == QW_OK) st = qw_file_make_dirs(a->out_dir, err);
    if (st == QW_OK) st = write_weights(a, &c, err);
    if (st == QW_OK) st = copy_files(a, err); // config.json last: now the directory is a model
    qw_checkpoint_close(&c);
    qw_model_config_release(&config);
    return st;
}

int main(int argc, char **argv)
{
    qw_log_init();
    qw_json_init();
    args a;
    if (!parse_args(&a, argc, argv)) {
        fputs("usage: make_checkpoint CONFIG_DIR OUT_DIR SEED [--shards N]\n"
              "writes the weights of --load-format dummy --dummy-seed SEED as safetensors files\n",
              stderr);
        return 2;
    }
    qw_error err;
    qw_status st = make_checkpoint(&a, &err);
    if (st != QW_OK) fprintf(stderr, "make_checkpoint: error: %s\n", err.text);
    return qw_status_exit_code(st);
}
