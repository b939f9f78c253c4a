#ifndef QW_BASE_FILE_H
#define QW_BASE_FILE_H

#include "base/buf.h"
#include "base/status.h"

/** A file mapped read-only. `data` is NULL for an empty file. */
typedef struct qw_file {
    const uint8_t *data;
    uint64_t size;    /* bytes */
    int64_t mtime_ns; /* last change, nanoseconds since 1970 */
} qw_file;

/** Map `path`. Refuses directories and other non-regular files. Release with qw_file_close. */
QW_MUST_CHECK qw_status qw_file_open(qw_file *out, const char *path, qw_error *err);
void qw_file_close(qw_file *f);

/** Append the whole of `path` to `out`; files larger than out->max are an error. */
QW_MUST_CHECK qw_status qw_file_read(qw_buf *out, const char *path, qw_error *err);

/**
 * Replace `path` by `size` bytes so that a reader sees the old file or the whole new one: written
 * beside it under a name of its own, synced, renamed. On failure nothing is left behind.
 */
QW_MUST_CHECK qw_status qw_file_write_atomic(const char *path, const void *data, size_t size,
                                             qw_error *err);

/**
 * The same in pieces, for files that should not be built in memory first: open, append in order,
 * commit. Until the commit `path` is as it was.
 */
typedef struct qw_file_writer {
    int fd;
    char *path, *temp_path; /* owned */
} qw_file_writer;

/** Create the file beside `path`. */
QW_MUST_CHECK qw_status qw_file_writer_open(qw_file_writer *out, const char *path, qw_error *err);
QW_MUST_CHECK qw_status qw_file_writer_append(qw_file_writer *w, const void *data, size_t size,
                                              qw_error *err);
/** Put the file in place. Releases `w`, whether it succeeds or fails; a failure leaves `path`. */
QW_MUST_CHECK qw_status qw_file_writer_commit(qw_file_writer *w, qw_error *err);
/** Give up: removes what was written and releases `w`. */
void qw_file_writer_abort(qw_file_writer *w);

/** True if `path` exists and is a regular file (links followed). */
bool qw_file_exists(const char *path);
/** True if `path` exists and is a directory (links followed). */
bool qw_file_is_dir(const char *path);
/** Create `path` and its missing parents (mode 0700). */
QW_MUST_CHECK qw_status qw_file_make_dirs(const char *path, qw_error *err);
/** dir + "/" + name, newly allocated; NULL when memory is short. Caller owns. */
char *qw_file_join(const char *dir, const char *name);

#endif
