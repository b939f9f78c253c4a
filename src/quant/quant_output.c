#include "quant/quant_output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "quant/quant_files.h"

static const char journal_name[] = "journal", temporary_name[] = "calibration.safetensors";

static qw_status fail_errno(qw_error *err, const char *what, const char *path)
{
    return qw_fail(err, QW_ERR_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

// The files of a directory whose names contain `part`; all of them for "".
static void remove_files(const char *path, const char *part)
{
    DIR *dir = opendir(path);
    if (!dir) return;
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strstr(e->d_name, part))
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

static void remove_dir(const char *path)
{
    remove_files(path, "");
    rmdir(path);
}

static void release(qw_quant_output *o)
{
    for (size_t i = 0; o->parts && i < o->plan->n_parts; i++)
        if (o->parts[i] >= 0) close(o->parts[i]);
    if (o->journal >= 0) close(o->journal);
    qw_mem_free(o->parts);
    qw_mem_free(o->offsets);
    qw_mem_free(o->done);
    qw_mem_free(o->partial);
    qw_mem_free(o->dst);
    *o = (qw_quant_output){.journal = -1};
}

void qw_quant_output_abort(qw_quant_output *o)
{
    if (o->is_new) remove_dir(o->partial);
    release(o);
}

char *qw_quant_output_temporary(const qw_quant_output *o)
{
    return qw_file_join(o->partial, temporary_name);
}

// Parts

// The tensors of a part, their header and the places of their data.
static qw_status lay_out_part(qw_quant_output *o, size_t part, qw_buf *header, uint64_t *size,
                              qw_error *err)
{
    const qw_quant_plan *p = o->plan;
    size_t n = 0, first = SIZE_MAX;
    for (size_t i = 0; i < p->n_outputs; i++) {
        if (p->outputs[i].part != part) continue;
        if (first == SIZE_MAX) first = i; // those of a part follow each other
        n++;
    }
    qw_stored_tensor *tensors = qw_mem_array(n, sizeof *tensors);
    size_t *begins = qw_mem_array(n, sizeof *begins);
    qw_status st = QW_OK;
    if (!tensors || !begins) st = qw_fail_memory(err, n * sizeof *tensors, "a tensor table");
    for (size_t i = 0; i < n && st == QW_OK; i++) tensors[i] = p->outputs[first + i].t;
    if (st == QW_OK) st = qw_safetensors_layout(header, begins, tensors, n, err);
    if (st == QW_OK) *size = header->len;
    for (size_t i = 0; i < n && st == QW_OK; i++) {
        o->offsets[first + i] = header->len + begins[i];
        *size += tensors[i].size;
    }
    qw_mem_free(begins);
    qw_mem_free(tensors);
    return st;
}

static qw_status write_at(int fd, const char *name, uint64_t offset, const void *data, size_t size,
                          qw_error *err)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, "write", name);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return QW_OK;
}

// The room is taken at once, so that a disk that is too small is noticed before hours of work.
static qw_status create_part(int fd, const char *path, const qw_buf *header, uint64_t size,
                             qw_error *err)
{
    if (ftruncate(fd, 0) != 0) return fail_errno(err, "write", path);
    if (fallocate(fd, 0, 0, (off_t)size) != 0) {
        if (errno != EOPNOTSUPP && errno != ENOSYS)
            return qw_fail(err, QW_ERR_IO, "cannot write '%s' of %.1f MB: %s", path,
                           (double)size / 1e6, strerror(errno));
        if (ftruncate(fd, (off_t)size) != 0) return fail_errno(err, "write", path);
    }
    return write_at(fd, path, 0, header->data, header->len, err);
}

static qw_status check_part(int fd, const char *path, const qw_buf *header, uint64_t size,
                            qw_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return fail_errno(err, "stat", path);
    if ((uint64_t)info.st_size != size)
        return qw_fail(err, QW_ERR_FORMAT,
                       "'%s' has %llu bytes where %llu belong: it cannot be resumed, remove the "
                       "directory",
                       path, (unsigned long long)info.st_size, (unsigned long long)size);
    return write_at(fd, path, 0, header->data, header->len, err); // the same bytes
}

static qw_status open_parts(qw_quant_output *o, bool create, qw_error *err)
{
    qw_status st = QW_OK;
    for (size_t i = 0; i < o->plan->n_parts && st == QW_OK; i++) {
        char name[QW_QUANT_PART_NAME];
        qw_quant_part_name(name, i, o->plan->n_parts);
        char *path = qw_file_join(o->partial, name);
        qw_buf header;
        qw_buf_init(&header, QW_SAFETENSORS_MAX_HEADER + 8);
        uint64_t size = 0;
        if (!path) st = qw_fail_memory(err, 0, "a path");
        if (st == QW_OK) st = lay_out_part(o, i, &header, &size, err);
        if (st == QW_OK) {
            o->parts[i] = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644);
            if (o->parts[i] < 0) st = fail_errno(err, create ? "create" : "open", path);
        }
        if (st == QW_OK)
            st = create ? create_part(o->parts[i], path, &header, size, err)
                        : check_part(o->parts[i], path, &header, size, err);
        qw_buf_release(&header);
        qw_mem_free(path);
    }
    return st;
}

// Journal

// "unit N" for each line; what a kill cut off is no line.
static void read_units(qw_quant_output *o, const char *text)
{
    static const char word[] = "unit ";
    for (const char *line = strchr(text, '\n'), *end; line; line = end) {
        line++;
        end = strchr(line, '\n');
        int64_t u;
        if (!end || strncmp(line, word, sizeof word - 1) != 0) continue;
        line += sizeof word - 1;
        if (!qw_str_to_i64((qw_str){line, (size_t)(end - line)}, &u) || u < 0) continue;
        if ((uint64_t)u >= o->plan->n_units || o->done[u]) continue;
        o->done[u] = true;
        o->n_done++;
    }
}

static qw_status read_journal(qw_quant_output *o, const char *path, const char *fingerprint,
                              qw_error *err)
{
    qw_buf text;
    qw_buf_init(&text, (size_t)64 << 20);
    qw_status st = qw_file_read(&text, path, err);
    size_t n = strlen(fingerprint);
    if (st == QW_OK &&
        (text.len <= n || memcmp(text.data, fingerprint, n) != 0 || text.data[n] != '\n'))
        st = qw_fail(err, QW_ERR_USAGE,
                     "'%s' was begun with another model, other options or another version; remove "
                     "it to start anew",
                     o->partial);
    if (st == QW_OK) read_units(o, text.data);
    // A line that was cut off is ended, so that the next one begins on its own.
    if (st == QW_OK && text.data[text.len - 1] != '\n' && write(o->journal, "\n", 1) != 1)
        st = fail_errno(err, "write", path);
    qw_buf_release(&text);
    return st;
}

static qw_status open_journal(qw_quant_output *o, const char *path, qw_error *err)
{
    o->journal = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (o->journal < 0) return fail_errno(err, "open", path);
    if (flock(o->journal, LOCK_EX | LOCK_NB) != 0)
        return qw_fail(err, QW_ERR_BUSY, "another run is writing '%s'", o->partial);
    return QW_OK;
}

// The journal comes last: where there is one, all parts are there.
static qw_status create_all(qw_quant_output *o, const char *journal, const char *fingerprint,
                            qw_error *err)
{
    qw_status st = open_parts(o, true, err);
    qw_buf line;
    qw_buf_init(&line, 1 << 16);
    qw_buf_printf(&line, "%s\n", fingerprint);
    if (st == QW_OK) st = qw_buf_check(&line, "the journal", err);
    if (st == QW_OK) st = qw_file_write_atomic(journal, line.data, line.len, err);
    qw_buf_release(&line);
    return st == QW_OK ? open_journal(o, journal, err) : st;
}

static qw_status open_partial(qw_quant_output *o, const char *fingerprint, bool resume,
                              qw_error *err)
{
    struct stat info;
    if (lstat(o->dst, &info) == 0)
        return qw_fail(err, QW_ERR_USAGE, "'%s' already exists; give a new directory", o->dst);
    if (mkdir(o->partial, 0755) == 0)
        o->is_new = true;
    else if (errno != EEXIST)
        return fail_errno(err, "create", o->partial);
    else if (!resume)
        return qw_fail(err, QW_ERR_USAGE,
                       "'%s' is left from a run that did not end; go on with --resume or remove it",
                       o->partial);
    char *journal = qw_file_join(o->partial, journal_name);
    if (!journal) return qw_fail_memory(err, 0, "a path");
    qw_status st;
    if (o->is_new || !qw_file_exists(journal)) {
        remove_files(o->partial, ".tmp.");
        st = create_all(o, journal, fingerprint, err);
    } else {
        st = open_journal(o, journal, err);
        if (st == QW_OK) remove_files(o->partial, ".tmp."); // a kill left them half written
        if (st == QW_OK) st = read_journal(o, journal, fingerprint, err);
        if (st == QW_OK) st = open_parts(o, false, err);
    }
    qw_mem_free(journal);
    return st;
}

qw_status qw_quant_output_open(qw_quant_output *out, const char *dst, const qw_quant_plan *plan,
                               const char *fingerprint, bool resume, qw_error *err)
{
    qw_quant_output o = {.plan = plan, .journal = -1};
    size_t len = strlen(dst);
    while (len > 1 && dst[len - 1] == '/') len--;
    o.dst = qw_mem_strndup(dst, len);
    o.partial = qw_mem_alloc(len + sizeof ".partial");
    o.parts = qw_mem_array(plan->n_parts, sizeof *o.parts);
    o.offsets = qw_mem_calloc(plan->n_outputs, sizeof *o.offsets);
    o.done = qw_mem_calloc(plan->n_units, sizeof *o.done);
    for (size_t i = 0; o.parts && i < plan->n_parts; i++) o.parts[i] = -1;
    qw_status st = QW_OK;
    if (!o.dst || !o.partial || !o.parts || !o.offsets || !o.done) {
        st = qw_fail_memory(err, plan->n_outputs * sizeof *o.offsets, "the output");
    } else {
        memcpy(o.partial, o.dst, len);
        memcpy(o.partial + len, ".partial", sizeof ".partial");
        st = open_partial(&o, fingerprint, resume, err);
    }
    if (st == QW_OK)
        *out = o;
    else
        qw_quant_output_abort(&o);
    return st;
}

// Writing

qw_status qw_quant_output_write(qw_quant_output *o, size_t i_output, uint64_t offset,
                                const void *data, size_t size, qw_error *err)
{
    const qw_out_tensor *t = &o->plan->outputs[i_output];
    QW_ASSERT(offset <= t->t.size && size <= t->t.size - offset);
    return write_at(o->parts[t->part], t->t.name, o->offsets[i_output] + offset, data, size, err);
}

qw_status qw_quant_output_unit_done(qw_quant_output *o, size_t unit, qw_error *err)
{
    const qw_quant_plan *p = o->plan;
    // First the data, then the line that vouches for it.
    for (size_t i = p->unit_first[unit]; i < p->unit_first[unit + 1]; i++)
        if (fdatasync(o->parts[p->outputs[p->items[i].first].part]) != 0)
            return fail_errno(err, "sync", o->partial);
    char line[32];
    int n = snprintf(line, sizeof line, "unit %zu\n", unit);
    if (write(o->journal, line, (size_t)n) != n || fdatasync(o->journal) != 0)
        return fail_errno(err, "write the journal of", o->partial);
    o->done[unit] = true;
    o->n_done++;
    return QW_OK;
}

static qw_status sync_dir(const char *path, qw_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, "open", path);
    qw_status st = fsync(fd) == 0 ? QW_OK : fail_errno(err, "sync", path);
    close(fd);
    return st;
}

static void remove_file(const qw_quant_output *o, const char *name)
{
    char *path = qw_file_join(o->partial, name);
    if (path) unlink(path);
    qw_mem_free(path);
}

qw_status qw_quant_output_finish(qw_quant_output *o, const char *src, qw_error *err)
{
    qw_status st = qw_quant_files_write(o->plan, src, o->partial, err);
    for (size_t i = 0; i < o->plan->n_parts && st == QW_OK; i++)
        if (fsync(o->parts[i]) != 0) st = fail_errno(err, "sync", o->partial);
    if (st == QW_OK) {
        remove_file(o, temporary_name);
        remove_file(o, journal_name);
        st = sync_dir(o->partial, err);
    }
    if (st == QW_OK && rename(o->partial, o->dst) != 0) st = fail_errno(err, "create", o->dst);
    if (st == QW_OK) o->is_new = false;
    qw_quant_output_abort(o);
    return st;
}
