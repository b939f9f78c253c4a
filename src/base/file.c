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

static qw_status write_all(int fd, const char *path, const char *data, size_t size, qw_error *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(err, "write", path);
        data += n;
        size -= (size_t)n;
    }
    return QW_OK;
}

qw_status qw_file_write_atomic(const char *path, const void *data, size_t size, qw_error *err)
{
    static unsigned serial; // several threads of one process may write
    qw_buf name;
    qw_buf_init(&name, 1 << 16);
    qw_buf_printf(&name, "%s.tmp.%ld.%u", path, (long)getpid(),
                  __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    qw_status st = qw_buf_check(&name, "a file name", err);
    if (st != QW_OK) goto out;
    int fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        st = fail_errno(err, "create", name.data);
        goto out;
    }
    st = write_all(fd, path, data, size, err);
    if (st == QW_OK && fsync(fd) != 0) st = fail_errno(err, "sync", path);
    if (close(fd) != 0 && st == QW_OK) st = fail_errno(err, "close", path);
    if (st == QW_OK && rename(name.data, path) != 0) st = fail_errno(err, "rename to", path);
    if (st != QW_OK) unlink(name.data);
out:
    qw_buf_release(&name);
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
