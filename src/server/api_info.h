#ifndef QW_SERVER_API_INFO_H
#define QW_SERVER_API_INFO_H
#include "server/api_request.h"
void qw_api_version_write(qw_buf *out, const char *version);
void qw_api_load_write(qw_buf *out, int64_t n);
void qw_api_models_write(qw_buf *out, const qw_api_config *cfg);
qw_status qw_api_model_write(qw_buf *out, const qw_api_config *cfg, qw_str name, qw_api_error *err);
qw_status qw_api_tokenize(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err);
qw_status qw_api_detokenize(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err);
qw_status qw_api_tokenizer_info(const qw_api_config *cfg, const qw_api_call *call, qw_buf *out, qw_api_error *err);
#endif
