#include "bench/machine_limits.h"

#include <xxhash.h>

#include "base/file.h"
#include "base/mem.h"
#include "bench/json_fields.h"
#include "format/json.h"

enum {
    READ_SLICES = 7, /* of 25 ms: bandwidth is what predictions stand on */
    COMPUTE_SLICES = 2,
    MAX_BUFFER = 512 << 20, /* filling a larger one would take longer than measuring */
    VERSION = 1,
};

typedef struct key {
    const qw_machine *machine;
    const char *isa;
    int n_threads;
} key;

static char *cache_path(const key *k, const char *dir)
{
    qw_buf text;
    qw_buf_init(&text, 4096);
    qw_buf_printf(&text, "%d|%s|%d|%zu|%s|%d", VERSION, k->machine->cpu, k->machine->n_cores,
                  k->machine->last_cache, k->isa, k->n_threads);
    char *path = NULL;
    if (!text.failed) {
        char name[48];
        snprintf(name, sizeof name, "machine-%016" PRIx64 ".json",
                 (uint64_t)XXH3_64bits(text.data, text.len));
        path = qw_file_join(dir, name);
    }
    qw_buf_release(&text);
    return path;
}

// Whatever is wrong with the file, the answer is to measure.
static bool read_file(double limits[QW_N_LIMITS], const char *path)
{
    json_t *object = NULL;
    if (!qw_file_exists(path) || qw_json_load(&object, path, 1 << 16, NULL) != QW_OK) return false;
    double found[QW_N_LIMITS] = {0};
    bool good = json_is_object(object);
    for (int i = 0; i < QW_N_LIMITS && good; i++)
        good = qw_json_get_f64(&found[i], object, qw_limit_name((qw_limit_kind)i), 0, 1e18, NULL) ==
               QW_OK;
    good = good && found[QW_LIMIT_READ] > 0 && found[QW_LIMIT_FMA] > 0;
    json_decref(object);
    if (good) memcpy(limits, found, sizeof found);
    return good;
}

static void write_file(const key *k, const double limits[QW_N_LIMITS], const char *dir,
                       const char *path)
{
    qw_buf text;
    qw_buf_init(&text, 1 << 16);
    qw_fields_open(&text, NULL, '{');
    qw_fields_text(&text, "cpu", k->machine->cpu);
    qw_fields_text(&text, "isa", k->isa);
    qw_fields_count(&text, "n_threads", k->n_threads);
    for (int i = 0; i < QW_N_LIMITS; i++)
        qw_fields_number(&text, qw_limit_name((qw_limit_kind)i), limits[i]);
    qw_fields_close(&text, '}');
    qw_buf_putc(&text, '\n');
    if (!text.failed && qw_file_make_dirs(dir, NULL) == QW_OK &&
        qw_file_write_atomic(path, text.data, text.len, NULL) != QW_OK)
        qw_buf_clear(&text); // a directory that cannot be written: the next call measures again
    qw_buf_release(&text);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of_slices(qw_limit_meter *m, qw_limit_kind kind, int n)
{
    double slices[READ_SLICES] = {0};
    for (int i = 0; i < n; i++) slices[i] = qw_limit_meter_measure(m, kind);
    qsort(slices, (size_t)n, sizeof *slices, compare);
    return slices[n / 2];
}

static qw_status measure(double limits[QW_N_LIMITS], const key *k, qw_error *err)
{
    size_t size = qw_bench_buffer_size(k->machine->last_cache, k->machine->memory);
    if (size > MAX_BUFFER) size = MAX_BUFFER;
    qw_bench_buffer buffer;
    qw_status st = qw_bench_buffer_init(&buffer, size, err);
    if (st != QW_OK) return st;
    qw_limit_meter *meter = NULL;
    st = qw_limit_meter_new(&meter, k->isa, k->n_threads, &buffer, err);
    if (st == QW_OK) {
        limits[QW_LIMIT_READ] = median_of_slices(meter, QW_LIMIT_READ, READ_SLICES);
        for (int i = QW_LIMIT_READ + 1; i < QW_N_LIMITS; i++) // 0 where there is no such loop
            limits[i] = median_of_slices(meter, (qw_limit_kind)i, COMPUTE_SLICES);
    }
    qw_limit_meter_free(meter);
    qw_bench_buffer_release(&buffer);
    return st;
}

qw_status qw_machine_limits_get(qw_machine_limits *out, const qw_machine *machine, const char *isa,
                                int n_threads, const char *cache_dir, bool anew, qw_error *err)
{
    const key k = {machine, isa, n_threads};
    qw_machine_limits l = {0};
    char *path = cache_dir ? cache_path(&k, cache_dir) : NULL;
    qw_status st = QW_OK;
    if (path && !anew) l.from_cache = read_file(l.limits, path);
    if (!l.from_cache) {
        st = measure(l.limits, &k, err);
        if (st == QW_OK && path) write_file(&k, l.limits, cache_dir, path);
    }
    qw_mem_free(path);
    if (st == QW_OK) *out = l;
    return st;
}
