#ifndef QW_FORMAT_CACHE_PATH_H
#define QW_FORMAT_CACHE_PATH_H

#include "base/status.h"
#include "base/str.h"

/**
 * Where something derived from a model directory is kept: <cache_dir>/<hash>.<extension>, the hash
 * over the directory's real path and `variant`, the bytes that tell apart what may be derived from
 * one directory ("": only one thing). Caller owns.
 */
QW_MUST_CHECK qw_status qw_cache_path(char **out, const char *cache_dir, const char *model_dir,
                                      qw_str variant, const char *extension, qw_error *err);

#endif
