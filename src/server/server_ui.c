// The web page: files of ui/ as they are, in the binary. Who changes one only builds again.

#include <xxhash.h>

#include "server/server_internal.h"

// Bytes of a file between two symbols, with a NUL behind them. The assembler reads the file; it is
// named in cmake/ui.cmake, so that a change of it is seen.
#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata,\"a\"\n"                                                         \
            "qw_ui_" #name ": .incbin \"" QW_UI_DIR "/" file "\"\n"                                \
            "qw_ui_" #name "_end: .byte 0\n"                                                       \
            ".popsection\n");                                                                      \
    extern const char qw_ui_##name[], qw_ui_##name##_end[]

EMBED(index, "index.html");
EMBED(style, "style.css");
EMBED(icon, "icon.svg");
EMBED(api, "api.js");
EMBED(app, "app.js");
EMBED(dom, "dom.js");
EMBED(generate, "generate.js");
EMBED(highlight, "highlight.js");
EMBED(live, "live.js");
EMBED(markdown, "markdown.js");
EMBED(markdown_inline, "markdown_inline.js");
EMBED(message, "message.js");
EMBED(settings, "settings.js");
EMBED(store, "store.js");

#define HTML "text/html; charset=utf-8"
#define CSS "text/css; charset=utf-8"
#define SVG "image/svg+xml"
#define JS "text/javascript; charset=utf-8"
#define FILE_OF(path, type, name)                                                                  \
    {                                                                                              \
        path, type, qw_ui_##name, qw_ui_##name##_end                                               \
    }

static const struct {
    const char *path, *type, *begin, *end;
} files[] = {
    FILE_OF("/", HTML, index),
    FILE_OF("/ui/style.css", CSS, style),
    FILE_OF("/ui/icon.svg", SVG, icon),
    FILE_OF("/ui/api.js", JS, api),
    FILE_OF("/ui/app.js", JS, app),
    FILE_OF("/ui/dom.js", JS, dom),
    FILE_OF("/ui/generate.js", JS, generate),
    FILE_OF("/ui/highlight.js", JS, highlight),
    FILE_OF("/ui/live.js", JS, live),
    FILE_OF("/ui/markdown.js", JS, markdown),
    FILE_OF("/ui/markdown_inline.js", JS, markdown_inline),
    FILE_OF("/ui/message.js", JS, message),
    FILE_OF("/ui/settings.js", JS, settings),
    FILE_OF("/ui/store.js", JS, store),
};

// Nothing but the page's own files, no inline code, no markup made of text, no frame around it.
static const char content_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

void qw_answer_ui(qw_server *s, qw_http_exchange *x)
{
    (void)s;
    const char *path = qw_http_path(x);
    size_t i = 0;
    while (i < QW_ARRAY_LEN(files) && strcmp(files[i].path, path) != 0) i++;
    if (i == QW_ARRAY_LEN(files)) {
        qw_http_reply_not_found(x);
        return;
    }
    char etag[24];
    XXH64_hash_t hash = XXH3_64bits(files[i].begin, (size_t)(files[i].end - files[i].begin));
    snprintf(etag, sizeof etag, "\"%016llx\"", (unsigned long long)hash);
    // The browser keeps the files and asks each time whether they are still these.
    qw_http_add_header(x, "ETag", etag);
    qw_http_add_header(x, "Cache-Control", "no-cache");
    qw_http_add_header(x, "Content-Security-Policy", content_policy);
    qw_http_add_header(x, "X-Content-Type-Options", "nosniff");
    qw_http_add_header(x, "Referrer-Policy", "no-referrer");
    qw_http_add_header(x, "Cross-Origin-Opener-Policy", "same-origin");
    const char *known = qw_http_header(x, "If-None-Match");
    if (known && (strstr(known, etag) || strcmp(known, "*") == 0))
        qw_http_reply_static(x, 304, NULL, "");
    else
        qw_http_reply_static(x, 200, files[i].type, files[i].begin);
}

void qw_answer_ui_root(qw_server *s, qw_http_exchange *x)
{
    (void)s;
    // "/prefix" of --root-path: the page's addresses are relative to "/prefix/".
    const char *target = qw_http_target(x);
    char location[1024];
    int n = snprintf(location, sizeof location, "%.*s/", (int)strcspn(target, "?"), target);
    if (n < 0 || (size_t)n >= sizeof location) {
        qw_http_reply_not_found(x);
        return;
    }
    qw_http_add_header(x, "Location", location);
    qw_http_reply_static(x, 307, "text/plain; charset=utf-8", "");
}
