#include "server/http_exchange.h"

#include "base/mem.h"
#include "server/http_internal.h"

const char *qw_http_method(const qw_http_exchange *x)
{
    return x->method;
}

const char *qw_http_path(const qw_http_exchange *x)
{
    return x->path;
}

const char *qw_http_target(const qw_http_exchange *x)
{
    return x->target;
}

const char *qw_http_peer(const qw_http_exchange *x)
{
    return x->conn->peer;
}

const char *qw_http_version(const qw_http_exchange *x)
{
    return strncmp(x->version, "HTTP/", 5) == 0 ? x->version + 5 : x->version;
}

bool qw_http_is_http10(const qw_http_exchange *x)
{
    return strcmp(x->version, "HTTP/1.0") == 0;
}

const char *qw_http_query(const qw_http_exchange *x, const char *name)
{
    const char *value = NULL;
    if (MHD_lookup_connection_value_n(x->conn->mhd, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                      &value, NULL) == MHD_NO)
        return NULL;
    return value ? value : "";
}

const char *qw_http_header(const qw_http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->conn->mhd, MHD_HEADER_KIND, name);
}

qw_str qw_http_body(const qw_http_exchange *x)
{
    return (qw_str){x->body.data ? x->body.data : "", x->body.len};
}

char *qw_http_take_body(qw_http_exchange *x, size_t *len)
{
    *len = 0;
    return x->body.len > 0 ? qw_buf_take(&x->body, len) : NULL;
}

void qw_http_set_user(qw_http_exchange *x, void *user)
{
    x->user = user;
}

void *qw_http_user(const qw_http_exchange *x)
{
    return x->user;
}

const char *qw_http_status_text(int status)
{
    if (status < 100 || status > 999) return "";
    const char *text = MHD_get_reason_phrase_for((unsigned)status);
    return text && strcmp(text, "Unknown") != 0 ? text : "";
}
