#ifndef QW_SERVER_API_MODELS_H
#define QW_SERVER_API_MODELS_H

#include "server/api_request.h"

// Answers that need no engine (http-api.md 1.4, 1.9).

/** /v1/models: an entry for each served name. `random_id`: 32 hex digits. */
void qw_api_models_write(qw_buf *out, const qw_api_config *cfg, const char *random_id);
/** /v1/models/{id}: its entry; 404 for other names than the served ones. */
QW_MUST_CHECK qw_status qw_api_model_write(qw_buf *out, const qw_api_config *cfg, qw_str id,
                                           const char *random_id, qw_api_error *err);
/** /version: {"version":"..."} */
void qw_api_version_write(qw_buf *out, const char *version);
/** /load: {"server_load":N} */
void qw_api_load_write(qw_buf *out, int64_t n_requests);

#endif
