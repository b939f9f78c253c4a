#ifndef QW_FORMAT_CACHE_FILE_H
#define QW_FORMAT_CACHE_FILE_H

#include "base/file.h"

/**
 * Writing a file of the cache. Several processes may write the same file at once, and any of them
 * may be killed at any time: a file gets its name when it is whole, each writer works beside it on
 * a file of its own and holds a lock on that, and the next writer removes those without a lock.
 */

/**
 * Begin the file `path`; its directory is made if need be. Then qw_file_writer_append or writes to
 * out->fd, and at the end qw_cache_file_commit or qw_file_writer_abort.
 */
QW_MUST_CHECK qw_status qw_cache_file_create(qw_file_writer *out, const char *path, qw_error *err);

/** Put the file in place. Releases `w`, whether it succeeds or fails; a failure leaves `path`. */
QW_MUST_CHECK qw_status qw_cache_file_commit(qw_file_writer *w, qw_error *err);

#endif
