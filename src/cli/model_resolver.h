#ifndef QW_CLI_MODEL_RESOLVER_H
#define QW_CLI_MODEL_RESOLVER_H

#include "base/status.h"

/** A model as a user names it. */
typedef struct qw_model_query {
    const char *model;        /* a directory, or a hub id: ORG/NAME */
    const char *download_dir; /* --download-dir: one more cache, looked into first; NULL: none */
    const char *revision;     /* branch, tag or commit in a Hugging Face cache; NULL: main */
} qw_model_query;

/**
 * The directory of a model; nothing is ever downloaded. A directory is taken as it is. A hub id is
 * looked for in the caches of the two hubs on this machine (cli-and-bench.md 2.1):
 *
 *   Hugging Face  $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub:
 *                 models--ORG--NAME/snapshots/COMMIT, the commit from refs/REVISION
 *   ModelScope    $MODELSCOPE_CACHE, ~/.cache/modelscope: hub/models/ORG/NAME and the older
 *                 models/ORG/NAME, hub/ORG/NAME, ORG/NAME; dots may be stored as "___"
 *
 * ModelScope comes first under VLLM_USE_MODELSCOPE. Caller owns *out (qw_mem_free). QW_ERR_IO lists
 * the places that were searched.
 */
QW_MUST_CHECK qw_status qw_model_resolve(char **out, const qw_model_query *query, qw_error *err);

#endif
