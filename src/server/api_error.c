#include "server/api_error.h"

#include <stdarg.h>

#include "base/str.h"
#include "format/json.h"

static const struct {
    int status;
    qw_status code;
    const char *type; // NULL: the body is `whole`
    const char *whole;
} faults[] = {
    [QW_FAULT_SCHEMA] = {400, QW_ERR_FORMAT, "Bad Request", NULL},
    [QW_FAULT_REQUEST] = {400, QW_ERR_USAGE, "BadRequestError", NULL},
    [QW_FAULT_AUTH] = {401, QW_ERR_USAGE, NULL, "{\"error\":\"Unauthorized\"}"},
    [QW_FAULT_NOT_FOUND] = {404, QW_ERR_USAGE, "NotFoundError", NULL},
    [QW_FAULT_PATH] = {404, QW_ERR_USAGE, NULL, "{\"detail\":\"Not Found\"}"},
    [QW_FAULT_METHOD] = {405, QW_ERR_USAGE, NULL, "{\"detail\":\"Method Not Allowed\"}"},
    [QW_FAULT_TOO_LARGE] = {413, QW_ERR_USAGE, "BadRequestError", NULL},
    [QW_FAULT_BUSY] = {429, QW_ERR_BUSY, "rate_limit_error", NULL},
    [QW_FAULT_INTERNAL] = {500, QW_ERR_DEVICE, "InternalServerError", NULL},
    [QW_FAULT_UNSUPPORTED] = {501, QW_ERR_UNSUPPORTED, "NotImplementedError", NULL},
    [QW_FAULT_UNAVAILABLE] = {503, QW_ERR_NO_MEMORY, "ServiceUnavailableError", NULL},
};

int qw_api_fault_status(qw_api_fault fault)
{
    return faults[fault].status;
}

// Cut an unfinished character off the end of a text that did not fit.
static void trim_broken_end(char *text)
{
    size_t len = strlen(text), back = 0;
    while (back < 4 && back < len) {
        back++;
        if (((unsigned char)text[len - back] & 0xC0) == 0x80) continue;
        if (qw_utf8_missing((qw_str){text, len}, len - back) > 0) text[len - back] = '\0';
        return;
    }
}

// " at 0x7f12ab>" becomes ">": where something lay in memory is nobody's business (vLLM's
// sanitize_message).
static void strip_addresses(char *text)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    for (char *at = strstr(text, " at 0x"); at; at = strstr(at, " at 0x")) {
        char *end = at + 6 + strspn(at + 6, hex);
        if (*end == '>' && end > at + 6)
            memmove(at, end, strlen(end) + 1);
        else
            at = end;
    }
}

qw_status qw_api_fail(qw_api_error *err, qw_api_fault fault, const char *param, const char *fmt,
                      ...)
{
    qw_api_error e = {.fault = fault};
    va_list args;
    va_start(args, fmt);
    vsnprintf(e.text, sizeof e.text, fmt, args);
    va_end(args);
    trim_broken_end(e.text);
    strip_addresses(e.text);
    snprintf(e.param, sizeof e.param, "%s", param ? param : "");
    trim_broken_end(e.param);
    *err = e;
    return faults[fault].code;
}

qw_status qw_api_fail_with(qw_api_error *err, qw_status st, const qw_error *why, const char *param)
{
    switch (st) {
    case QW_ERR_USAGE:
    case QW_ERR_FORMAT:
    case QW_ERR_UNSUPPORTED: return qw_api_fail(err, QW_FAULT_REQUEST, param, "%s", why->text);
    case QW_ERR_NO_MEMORY: return qw_api_fail(err, QW_FAULT_UNAVAILABLE, NULL, "%s", why->text);
    case QW_ERR_BUSY: return qw_api_fail(err, QW_FAULT_BUSY, NULL, "%s", why->text);
    case QW_OK:
    case QW_ERR_IO:
    case QW_ERR_CANCELLED:
    case QW_ERR_DEVICE: break;
    }
    return qw_api_fail(err, QW_FAULT_INTERNAL, NULL, "Internal server error");
}

// ---- writing

// A string as json.dumps prints it by default: ASCII only. Broken UTF-8 counts as U+FFFD.
static void write_ascii_string(qw_buf *b, qw_str s)
{
    qw_buf_putc(b, '"');
    for (size_t pos = 0; pos < s.len;) {
        size_t start = pos;
        int32_t c = qw_utf8_next(s, &pos);
        if (c < 0) c = 0xFFFD;
        if (c < 0x80) { // the common writer knows the escapes of the ASCII range
            size_t at = b->len;
            qw_json_write_string(b, (qw_str){s.ptr + start, 1});
            if (b->failed) return;
            memmove(b->data + at, b->data + at + 1, b->len - at - 2);
            b->len -= 2;
        } else if (c < 0x10000) {
            qw_buf_printf(b, "\\u%04x", (unsigned)c);
        } else { // a surrogate pair
            uint32_t rest = (uint32_t)c - 0x10000;
            qw_buf_printf(b, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
        }
    }
    qw_buf_putc(b, '"');
}

static void write_utf8_string(qw_buf *b, qw_str s)
{
    if (qw_utf8_is_valid(s))
        qw_json_write_string(b, s);
    else // the text quotes bytes of a client
        write_ascii_string(b, s);
}

static void write_object(qw_buf *out, const qw_api_error *e, bool spaced)
{
    void (*write)(qw_buf *, qw_str) = spaced ? write_ascii_string : write_utf8_string;
    const char *comma = spaced ? ", " : ",", *colon = spaced ? ": " : ":";
    const char *type = faults[e->fault].type ? faults[e->fault].type : "BadRequestError";
    qw_buf_printf(out, "{\"error\"%s{\"message\"%s", colon, colon);
    write(out, qw_str_of(e->text));
    qw_buf_printf(out, "%s\"type\"%s\"%s\"%s\"param\"%s", comma, colon, type, comma, colon);
    if (e->param[0])
        write(out, qw_str_of(e->param));
    else
        qw_buf_puts(out, "null");
    qw_buf_printf(out, "%s\"code\"%s%d}}", comma, colon, faults[e->fault].status);
}

void qw_api_error_write(qw_buf *out, const qw_api_error *e)
{
    if (faults[e->fault].whole)
        qw_buf_puts(out, faults[e->fault].whole);
    else
        write_object(out, e, false);
}

void qw_api_error_write_event(qw_buf *out, const qw_api_error *e)
{
    qw_buf_puts(out, "data: ");
    write_object(out, e, true);
    qw_buf_puts(out, "\n\n");
}
