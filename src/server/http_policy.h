#ifndef QW_SERVER_HTTP_POLICY_H
#define QW_SERVER_HTTP_POLICY_H

#include "server/http_server.h"

/** Who may ask (API keys, CORS) and which headers every reply gets; http-api 1.2. */
typedef struct qw_http_policy {
    char **api_keys;        /* NULL-terminated, as the lists below; NULL: no key needed */
    char **allowed_origins; /* NULL when any may */
    char **allowed_methods; /* "*" expanded */
    char **allowed_headers; /* lower case, with those that CORS always allows; NULL when any may */
    char *methods_text, *headers_text; /* joined with ", " */
    bool allow_credentials;
    bool request_id_headers;
    char *root_path; /* NULL or without a slash at the end */
} qw_http_policy;

/** Called with each header of a reply. */
typedef void qw_http_header_fn(void *ctx, const char *name, const char *value);

QW_MUST_CHECK qw_status qw_http_policy_init(qw_http_policy *p, const qw_http_options *o,
                                            qw_error *err);
void qw_http_policy_release(qw_http_policy *p);

/** `path` without the root path, if it begins with it. */
const char *qw_http_policy_route(const qw_http_policy *p, const char *path);
/** May this request for `path` be answered? The key is in `authorization`, "Bearer KEY", or else,
 * as Anthropic's clients send it, in `x_api_key`: headers or NULL. */
bool qw_http_policy_has_key(const qw_http_policy *p, const char *method, const char *path,
                            const char *authorization, const char *x_api_key);
/** The headers that x's reply gets in any case. */
void qw_http_policy_headers(const qw_http_policy *p, const qw_http_exchange *x,
                            qw_http_header_fn *add, void *ctx);
bool qw_http_policy_is_preflight(const qw_http_exchange *x);
/** Answer a CORS preflight. */
void qw_http_policy_preflight(const qw_http_policy *p, qw_http_exchange *x);

#endif
