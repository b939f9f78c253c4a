#ifndef QW_CLI_SHARE_H
#define QW_CLI_SHARE_H

#include "base/status.h"

/**
 * Where a file or directory that comes with the program lies: in $QWENCH_SHARE, in ../share/qwench
 * beside the executable's directory (an installation), or in share/qwench in it (a build tree).
 * `name` is relative, e.g. "models/tiny". Caller owns *out (qw_mem_free). QW_ERR_IO lists the
 * places that were searched.
 */
QW_MUST_CHECK qw_status qw_share_find(char **out, const char *name, qw_error *err);

/** The directory for compiled tokenizers and packed weights: $XDG_CACHE_HOME/qwench, else
 *  ~/.cache/qwench; NULL when there is no home or memory. Caller owns. */
char *qw_cache_dir(void);

#endif
