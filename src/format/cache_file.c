#include "format/cache_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

// Take the lock that tells others that this file's writer lives. False when somebody has removed
// the file before the lock was taken.
static bool lock_file(int fd)
{
    struct stat st;
    return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

// A writer that was killed leaves its file, without a lock: remove it.
static void remove_leftover(const char *dir, const char *name)
{
    char *path = qw_file_join(dir, name);
    if (!path) return;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
        close(fd);
    }
    qw_mem_free(path);
}

static void remove_leftovers(const char *dir, const char *file_name)
{
    DIR *d = opendir(dir);
    if (!d) return;
    size_t len = strlen(file_name);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, file_name, len) == 0 && strncmp(e->d_name + len, ".tmp.", 5) == 0)
            remove_leftover(dir, e->d_name);
    closedir(d);
}

// The directory part of `path`, newly allocated, and the rest.
static char *split_path(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash) return qw_mem_strdup(".");
    return qw_mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

qw_status qw_cache_file_create(qw_file_writer *out, const char *path, qw_error *err)
{
    const char *name;
    char *dir = split_path(path, &name);
    if (!dir) return qw_fail_memory(err, strlen(path), "a path");
    qw_status st = qw_file_make_dirs(dir, err);
    for (int attempt = 0; st == QW_OK; attempt++) {
        remove_leftovers(dir, name);
        st = qw_file_writer_open(out, path, err);
        if (st != QW_OK || lock_file(out->fd)) break;
        qw_file_writer_abort(out);
        if (attempt == 10) st = qw_fail(err, QW_ERR_IO, "cannot lock a new file beside '%s'", path);
    }
    qw_mem_free(dir);
    return st;
}

static void sync_directory(const char *path)
{
    const char *name;
    char *dir = split_path(path, &name);
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd); // at worst the file is made again after a crash
        close(fd);
    }
    qw_mem_free(dir);
}

qw_status qw_cache_file_commit(qw_file_writer *w, qw_error *err)
{
    char *path = qw_mem_strdup(w->path);
    if (!path) {
        qw_file_writer_abort(w);
        return qw_fail_memory(err, 0, "a path");
    }
    // The descriptor is closed before the file gets its name; this one keeps the lock until then.
    int lock = dup(w->fd);
    qw_status st = qw_file_writer_commit(w, err);
    if (lock >= 0) close(lock);
    if (st == QW_OK) sync_directory(path);
    qw_mem_free(path);
    return st;
}
