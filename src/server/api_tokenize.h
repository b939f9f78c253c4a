#ifndef QW_SERVER_API_TOKENIZE_H
#define QW_SERVER_API_TOKENIZE_H

#include "server/api_request.h"

// The tokenizer as a service (http-api.md 1.10). For worker threads: a body may be large. Each
// appends its answer to `out`, which on failure is as it was.

/** POST /tokenize, of a text or of messages. No limit of length applies. */
QW_MUST_CHECK qw_status qw_api_tokenize(qw_buf *out, const qw_api_config *cfg,
                                        const qw_api_call *call, qw_api_error *err);
/** POST /detokenize. */
QW_MUST_CHECK qw_status qw_api_detokenize(qw_buf *out, const qw_api_config *cfg,
                                          const qw_api_call *call, qw_api_error *err);
/** GET /tokenizer_info: tokenizer_config.json with the class first and the chat template in it. */
QW_MUST_CHECK qw_status qw_api_tokenizer_info(qw_buf *out, const qw_api_config *cfg,
                                              qw_api_error *err);

/** Body of an answer to /v1/messages/count_tokens. */
QW_MUST_CHECK qw_status qw_api_count_tokens(qw_buf *out, const qw_api_config *cfg,
                                            const qw_api_call *call, qw_api_error *err);

#endif
