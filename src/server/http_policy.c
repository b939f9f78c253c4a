#include "server/http_policy.h"

#include <strings.h>

#include "base/mem.h"
#include "base/random_hex.h"

static void free_list(char **list)
{
    if (!list) return;
    for (char **p = list; *p; p++) qw_mem_free(*p);
    qw_mem_free(list);
}

static size_t list_len(const char *const *list)
{
    size_t n = 0;
    while (list[n]) n++;
    return n;
}

// The strings of `first` and then of `second` (which may be NULL), copied; NULL when memory is
// short.
static char **copy_lists(const char *const *first, const char *const *second)
{
    size_t n = list_len(first) + (second ? list_len(second) : 0);
    char **copy = qw_mem_calloc(n + 1, sizeof *copy);
    if (!copy) return NULL;
    size_t i = 0;
    for (; *first; first++, i++)
        if (!(copy[i] = qw_mem_strdup(*first))) goto fail;
    for (; second && *second; second++, i++)
        if (!(copy[i] = qw_mem_strdup(*second))) goto fail;
    return copy;
fail:
    free_list(copy);
    return NULL;
}

static bool contains(char *const *list, const char *text, size_t len, bool any_case)
{
    for (; *list; list++) {
        if (strlen(*list) != len) continue;
        if ((any_case ? strncasecmp(*list, text, len) : strncmp(*list, text, len)) == 0)
            return true;
    }
    return false;
}

static bool has_star(const char *const *list)
{
    if (!list) return true; // the default is "*"
    for (; *list; list++)
        if (strcmp(*list, "*") == 0) return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *join(char *const *list)
{
    qw_buf b;
    qw_buf_init(&b, SIZE_MAX / 2);
    qw_buf_puts(&b, "");
    for (char *const *p = list; *p; p++) {
        if (p != list) qw_buf_puts(&b, ", ");
        qw_buf_puts(&b, *p);
    }
    char *text = b.failed == QW_OK ? qw_buf_take(&b, NULL) : NULL;
    qw_buf_release(&b);
    return text;
}

// The lists of CORS and the texts a preflight gets, as Starlette's CORSMiddleware makes them.
static bool init_cors(qw_http_policy *p, const qw_http_options *o)
{
    static const char *const all_methods[] = {"DELETE", "GET",  "HEAD", "OPTIONS",
                                              "PATCH",  "POST", "PUT",  NULL};
    static const char *const always[] = {"Accept", "Accept-Language", "Content-Language",
                                         "Content-Type", NULL};
    if (!has_star(o->allowed_origins) &&
        !(p->allowed_origins = copy_lists(o->allowed_origins, NULL)))
        return false;
    const char *const *methods = has_star(o->allowed_methods) ? all_methods : o->allowed_methods;
    if (!(p->allowed_methods = copy_lists(methods, NULL))) return false;
    if (!(p->methods_text = join(p->allowed_methods))) return false;
    if (has_star(o->allowed_headers)) return true;
    if (!(p->allowed_headers = copy_lists(always, o->allowed_headers))) return false;
    qsort(p->allowed_headers, list_len((const char *const *)p->allowed_headers),
          sizeof *p->allowed_headers, by_name);
    return (p->headers_text = join(p->allowed_headers)) != NULL;
}

qw_status qw_http_policy_init(qw_http_policy *p, const qw_http_options *o, qw_error *err)
{
    *p = (qw_http_policy){.allow_credentials = o->allow_credentials,
                          .request_id_headers = o->request_id_headers};
    if (!init_cors(p, o)) goto fail;
    if (o->api_keys && !(p->api_keys = copy_lists(o->api_keys, NULL))) goto fail;
    if (o->root_path && *o->root_path) {
        size_t len = strlen(o->root_path);
        while (len > 0 && o->root_path[len - 1] == '/') len--;
        if (len > 0 && !(p->root_path = qw_mem_strndup(o->root_path, len))) goto fail;
    }
    return QW_OK;
fail:
    qw_http_policy_release(p);
    return qw_fail_memory(err, 0, "the HTTP options");
}

void qw_http_policy_release(qw_http_policy *p)
{
    free_list(p->api_keys);
    free_list(p->allowed_origins);
    free_list(p->allowed_methods);
    free_list(p->allowed_headers);
    qw_mem_free(p->methods_text);
    qw_mem_free(p->headers_text);
    qw_mem_free(p->root_path);
    *p = (qw_http_policy){0};
}

const char *qw_http_policy_route(const qw_http_policy *p, const char *path)
{
    if (!p->root_path) return path;
    size_t len = strlen(p->root_path);
    if (strncmp(path, p->root_path, len) != 0) return path;
    return path[len] == '/' || path[len] == '\0' ? path + len : path;
}

// True if the key equals the token; the time depends on the lengths only.
static bool equals(const char *key, const char *token, size_t token_len)
{
    size_t len = strlen(key);
    unsigned char difference = len != token_len;
    for (size_t i = 0; i < token_len; i++)
        difference |=
            (unsigned char)((unsigned char)token[i] ^ (unsigned char)(i < len ? key[i] : 0));
    return difference == 0;
}

bool qw_http_policy_has_key(const qw_http_policy *p, const char *method, const char *path,
                            const char *authorization, const char *x_api_key)
{
    static const char *const guarded[] = {"/v1", "/v2", "/inference", "/qwench"};
    if (!p->api_keys || strcmp(method, "OPTIONS") == 0) return true;
    bool is_guarded = false;
    for (size_t i = 0; i < QW_ARRAY_LEN(guarded); i++)
        is_guarded |= strncmp(path, guarded[i], strlen(guarded[i])) == 0;
    if (!is_guarded) return true;
    const char *token = x_api_key;
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0) token = authorization + 7;
    if (!token) return false;
    while (*token == ' ') token++;
    size_t len = strlen(token);
    bool found = false;
    for (char **key = p->api_keys; *key; key++) found |= equals(*key, token, len);
    return found;
}

static bool may_origin(const qw_http_policy *p, const char *origin)
{
    return !p->allowed_origins || contains(p->allowed_origins, origin, strlen(origin), false);
}

static void add_origin(const qw_http_policy *p, const qw_http_exchange *x, const char *origin,
                       bool explicit_always, qw_http_header_fn *add, void *ctx)
{
    // A browser takes no "*" for a request with cookies.
    bool is_explicit = p->allowed_origins || explicit_always || qw_http_header(x, "Cookie");
    if (!is_explicit) {
        add(ctx, "Access-Control-Allow-Origin", "*");
        return;
    }
    if (may_origin(p, origin)) add(ctx, "Access-Control-Allow-Origin", origin);
    add(ctx, "Vary", "Origin");
}

static void add_preflight(const qw_http_policy *p, const qw_http_exchange *x,
                          qw_http_header_fn *add, void *ctx)
{
    add(ctx, "Access-Control-Allow-Methods", p->methods_text);
    add(ctx, "Access-Control-Max-Age", "600");
    const char *headers = p->headers_text;
    if (!headers) headers = qw_http_header(x, "Access-Control-Request-Headers");
    if (headers) add(ctx, "Access-Control-Allow-Headers", headers);
}

static void add_request_id(const qw_http_exchange *x, qw_http_header_fn *add, void *ctx)
{
    const char *given = qw_http_header(x, "X-Request-Id");
    char text[33];
    if (!given) qw_random_hex(text, 32);
    add(ctx, "X-Request-Id", given ? given : text);
}

void qw_http_policy_headers(const qw_http_policy *p, const qw_http_exchange *x,
                            qw_http_header_fn *add, void *ctx)
{
    const char *origin = qw_http_header(x, "Origin");
    if (origin) {
        bool is_preflight = qw_http_policy_is_preflight(x);
        add_origin(p, x, origin, is_preflight && p->allow_credentials, add, ctx);
        if (is_preflight) add_preflight(p, x, add, ctx);
        if (p->allow_credentials) add(ctx, "Access-Control-Allow-Credentials", "true");
    }
    if (p->request_id_headers) add_request_id(x, add, ctx);
}

bool qw_http_policy_is_preflight(const qw_http_exchange *x)
{
    return strcmp(qw_http_method(x), "OPTIONS") == 0 && qw_http_header(x, "Origin") &&
           qw_http_header(x, "Access-Control-Request-Method");
}

// True if each name of the comma-separated list is allowed.
static bool may_headers(const qw_http_policy *p, const char *names)
{
    while (*names) {
        names += strspn(names, " \t,");
        size_t len = strcspn(names, ",");
        size_t end = len;
        while (end > 0 && (names[end - 1] == ' ' || names[end - 1] == '\t')) end--;
        if (end > 0 && !contains(p->allowed_headers, names, end, true)) return false;
        names += len;
    }
    return true;
}

void qw_http_policy_preflight(const qw_http_policy *p, qw_http_exchange *x)
{
    const char *method = qw_http_header(x, "Access-Control-Request-Method");
    const char *headers = qw_http_header(x, "Access-Control-Request-Headers");
    bool bad_origin = !may_origin(p, qw_http_header(x, "Origin"));
    bool bad_method = !contains(p->allowed_methods, method, strlen(method), false);
    bool bad_headers = headers && p->allowed_headers && !may_headers(p, headers);

    // The texts of the eight cases; bit 0 origin, 1 method, 2 headers.
    static const char *const texts[] = {
        "OK",
        "Disallowed CORS origin",
        "Disallowed CORS method",
        "Disallowed CORS origin, method",
        "Disallowed CORS headers",
        "Disallowed CORS origin, headers",
        "Disallowed CORS method, headers",
        "Disallowed CORS origin, method, headers",
    };
    int what = (bad_origin ? 1 : 0) + (bad_method ? 2 : 0) + (bad_headers ? 4 : 0);
    qw_http_reply_static(x, what ? 400 : 200, "text/plain; charset=utf-8", texts[what]);
}
