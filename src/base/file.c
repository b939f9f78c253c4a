#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static qw_status fail_errno(qw_error *err, const char *what, const char *path)
{
    return qw_fail(err, QW_ERR_IO, "cannot %s '%s': %s", what, path, strerror(errno));
}

// Open `path` for reading and check that it is a regular file; the descriptor or -1.
static int open_regular(const char *path, struct stat *st, qw_status *status, qw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO must not block us
    if (fd < 0) {
        *status = fail_errno(err, "open", path);
        return -1;
    }
    if (fstat(fd, st) != 0) {
        *status = fail_errno(err, "stat", path);
    } else if (!S_ISREG(st->st_mode)) {
        *status = qw_fail(err, QW_ERR_IO, "cannot read '%s': it is %s", path,
                          S_ISDIR(st->st_mode) ? "a directory" : "no regular file");
    } else {
        *status = QW_OK;
        return fd;
    }
    close(fd);
    return -1;
}

qw_status qw_file_open(qw_file *out, const char *path, qw_error *err)
{
    struct stat st;
    qw_status status;
    int fd = open_regular(path, &st, &status, err);
    if (fd < 0) return status;
    qw_file f = {.size = (uint64_t)st.st_size,
                 .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec};
    if (f.size > 0) {
        void *data = mmap(NULL, (size_t)f.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = fail_errno(err, "map", path);
        else
            f.data = data;
    }
    close(fd);
    if (status == QW_OK) *out = f;
    return status;
}

void qw_file_close(qw_file *f)
{
    if (f->data) munmap((void *)(uintptr_t)f->data, (size_t)f->size);
    *f = (qw_file){0};
}

qw_status qw_file_read(qw_buf *out, const char *path, qw_error *err)
{
    struct stat st;
    qw_status status;
    int fd = open_regular(path, &st, &status, err);
    if (fd < 0) return status;
    if ((uint64_t)st.st_size > out->max)
        status = qw_fail(err, QW_ERR_FORMAT, "'%s' has %lld bytes, more than the limit of %zu",
                         path, (long long)st.st_size, out->max);
    char chunk[65536];
    while (status == QW_OK) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = fail_errno(err, "read", path);
        if (n <= 0) break;
        qw_buf_append(out, chunk, (size_t)n);
        if (out->failed) status = qw_buf_check(out, path, err);
    }
    close(fd);
    return status;
}

qw_status qw_file_writer_open(qw_file_writer *out, const char *path, qw_error *err)
{
    static unsigned serial; // several threads of one process may write
    qw_status st;
    qw_file_writer w = {.fd = -1, .path = qw_mem_strdup(path)};
    qw_buf name;
    qw_buf_init(&name, 1 << 16);
    qw_buf_printf(&name, "%s.tmp.%ld.%u", path, (long)getpid(),
                  __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    st = qw_buf_check(&name, "a file name", err);
    if (st == QW_OK && !w.path) st = qw_fail_memory(err, strlen(path) + 1, "a file name");
    if (st != QW_OK) goto out;
    w.temp_path = qw_buf_take(&name, NULL);
    w.fd = open(w.temp_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (w.fd < 0) st = fail_errno(err, "create", w.temp_path);
out:
    qw_buf_release(&name);
    if (st == QW_OK) {
        *out = w;
    } else {
        qw_mem_free(w.temp_path);
        qw_mem_free(w.path);
    }
    return st;
}

qw_status qw_file_writer_append(qw_file_writer *w, const void *data, size_t size, qw_error *err)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, "write", w->path);
        p += n;
        size -= (size_t)n;
    }
    return QW_OK;
}

// Close the descriptor; true if the system had nothing to complain about.
static bool close_writer(qw_file_writer *w)
{
    bool ok = close(w->fd) == 0;
    w->fd = -1;
    return ok;
}

qw_status qw_file_writer_commit(qw_file_writer *w, qw_error *err)
{
    qw_status st = QW_OK;
    if (fsync(w->fd) != 0) st = fail_errno(err, "sync", w->path);
    if (!close_writer(w) && st == QW_OK) st = fail_errno(err, "close", w->path);
    if (st == QW_OK && rename(w->temp_path, w->path) != 0)
        st = fail_errno(err, "rename to", w->path);
    if (st == QW_OK) { // nothing left to remove
        qw_mem_free(w->temp_path);
        w->temp_path = NULL;
    }
    qw_file_writer_abort(w);
    return st;
}

void qw_file_writer_abort(qw_file_writer *w)
{
    if (w->fd >= 0) close_writer(w);
    if (w->temp_path) unlink(w->temp_path);
    qw_mem_free(w->temp_path);
    qw_mem_free(w->path);
    *w = (qw_file_writer){.fd = -1};
}

qw_status qw_file_write_atomic(const char *path, const void *data, size_t size, qw_error *err)
{
    qw_file_writer w;
    qw_status st = qw_file_writer_open(&w, path, err);
    if (st != QW_OK) return st;
    st = qw_file_writer_append(&w, data, size, err);
    if (st == QW_OK) return qw_file_writer_commit(&w, err);
    qw_file_writer_abort(&w);
    return st;
}

bool qw_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool qw_file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

qw_status qw_file_make_dirs(const char *path, qw_error *err)
{
    if (*path == '\0') return qw_fail(err, QW_ERR_IO, "cannot create a directory without a name");
    char *copy = qw_mem_strdup(path);
    if (!copy) return qw_fail_memory(err, strlen(path) + 1, "a path");
    qw_status st = QW_OK;
    for (char *p = copy + 1; st == QW_OK; p++) {
        if (*p != '/' && *p != '\0') continue;
        char saved = *p;
        *p = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) st = fail_errno(err, "create", copy);
        *p = saved;
        if (saved == '\0') break;
    }
    if (st == QW_OK && !qw_file_is_dir(path))
        st = qw_fail(err, QW_ERR_IO, "cannot create '%s': it exists and is no directory", path);
    qw_mem_free(copy);
    return st;
}

char *qw_file_join(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    char *path = qw_mem_alloc(a + b + 2);
    if (!path) return NULL;
    memcpy(path, dir, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    return path;
}
