#include "quant/quant_files.h"

#include <dirent.h>
#include <errno.h>

#include "base/str.h"
#include "format/json.h"

void qw_quant_part_name(char out[QW_QUANT_PART_NAME], size_t part, size_t n_parts)
{
    snprintf(out, QW_QUANT_PART_NAME, "quant_model_weights-%05zu-of-%05zu.safetensors", part + 1,
             n_parts);
}

static qw_status write_text(const char *dir, const char *name, qw_buf *text, qw_error *err)
{
    qw_status st = qw_buf_check(text, name, err);
    char *path = qw_file_join(dir, name);
    if (st == QW_OK && !path) st = qw_fail_memory(err, 0, "a path");
    if (st == QW_OK) st = qw_file_write_atomic(path, text->data, text->len, err);
    qw_mem_free(path);
    return st;
}

// "    "key": "value""
static void write_entry(qw_buf *b, const char *key, const char *value)
{
    qw_buf_puts(b, "    ");
    qw_json_write_string(b, qw_str_of(key));
    qw_buf_puts(b, ": ");
    qw_json_write_string(b, qw_str_of(value));
}

static qw_status write_index(const qw_quant_plan *p, const char *dir, qw_error *err)
{
    qw_buf b;
    qw_buf_init(&b, (size_t)1 << 30);
    qw_buf_printf(
        &b, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {\n",
        p->total_size);
    for (size_t i = 0; i < p->n_outputs; i++) {
        char part[QW_QUANT_PART_NAME];
        qw_quant_part_name(part, p->outputs[i].part, p->n_parts);
        write_entry(&b, p->outputs[i].t.name, part);
        qw_buf_puts(&b, i + 1 < p->n_outputs ? ",\n" : "\n");
    }
    qw_buf_puts(&b, "  }\n}\n");
    qw_status st = write_text(dir, "quant_model_weights.safetensors.index.json", &b, err);
    qw_buf_release(&b);
    return st;
}

static qw_status write_description(const qw_quant_plan *p, const char *dir, qw_error *err)
{
    qw_buf b;
    qw_buf_init(&b, (size_t)1 << 30);
    qw_buf_puts(&b, "{\n");
    for (size_t i = 0; i < p->n_outputs; i++) {
        write_entry(&b, p->outputs[i].t.name, p->outputs[i].tag);
        qw_buf_puts(&b, ",\n");
    }
    write_entry(&b, "version", "1.0.0");
    qw_buf_puts(&b, ",\n");
    write_entry(&b, "model_quant_type", qw_target_name(qw_quant_plan_headline(p)));
    qw_buf_printf(&b,
                  ",\n    \"metadata\": {},\n    \"group_size\": %zu,\n    \"optional\": {}\n}\n",
                  p->group_size);
    qw_status st = write_text(dir, "quant_model_description.json", &b, err);
    qw_buf_release(&b);
    return st;
}

// config.json as it is, unless something in it has to change.
static qw_status write_config(const qw_quant_plan *p, const char *from, const char *dir,
                              qw_error *err)
{
    json_t *config;
    qw_status st = qw_json_load(&config, from, (size_t)64 << 20, err);
    if (st != QW_OK) return st;
    qw_buf b;
    qw_buf_init(&b, (size_t)64 << 20);
    bool untie = p->is_rotated && p->config->tie_word_embeddings;
    bool failed = false;
    if (untie || json_object_get(config, "quantization_config")) {
        json_object_del(config, "quantization_config");
        if (untie) failed = json_object_set_new(config, "tie_word_embeddings", json_false()) != 0;
        qw_json_write(&b, config, false);
        qw_buf_putc(&b, '\n');
        if (failed) st = qw_fail_memory(err, 0, "config.json");
    } else {
        st = qw_file_read(&b, from, err);
    }
    if (st == QW_OK) st = write_text(dir, "config.json", &b, err);
    qw_buf_release(&b);
    json_decref(config);
    return st;
}

static bool is_copied(const char *name)
{
    static const char *const endings[] = {".json", ".txt", ".jinja", ".py"};
    qw_str s = qw_str_of(name);
    if (qw_str_ends_with(s, QW_STR("index.json")) ||
        qw_str_starts_with(s, QW_STR("quant_model_description")))
        return false;
    for (size_t i = 0; i < QW_ARRAY_LEN(endings); i++)
        if (qw_str_ends_with(s, qw_str_of(endings[i]))) return true;
    return false;
}

static qw_status copy_file(const qw_quant_plan *p, const char *src, const char *name,
                           const char *dir, qw_error *err)
{
    char *from = qw_file_join(src, name), *to = qw_file_join(dir, name);
    qw_file f = {0};
    qw_status st = QW_OK;
    if (!from || !to) st = qw_fail_memory(err, 0, "a path");
    if (st == QW_OK && strcmp(name, "config.json") == 0) {
        st = write_config(p, from, dir, err);
    } else if (st == QW_OK && qw_file_exists(from)) {
        st = qw_file_open(&f, from, err);
        if (st == QW_OK) st = qw_file_write_atomic(to, f.data, (size_t)f.size, err);
        qw_file_close(&f);
    }
    qw_mem_free(to);
    qw_mem_free(from);
    return st;
}

qw_status qw_quant_files_write(const qw_quant_plan *p, const char *src, const char *dir,
                               qw_error *err)
{
    qw_status st = write_index(p, dir, err);
    if (st == QW_OK) st = write_description(p, dir, err);
    if (st != QW_OK) return st;
    DIR *d = opendir(src);
    if (!d) return qw_fail(err, QW_ERR_IO, "cannot open '%s': %s", src, strerror(errno));
    for (const struct dirent *e; st == QW_OK && (e = readdir(d));)
        if (is_copied(e->d_name)) st = copy_file(p, src, e->d_name, dir, err);
    closedir(d);
    return st;
}
