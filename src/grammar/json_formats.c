// The values of the keyword `format` as regular expressions, each from the RFC it names.

#include "grammar/json_schema_internal.h"

#include <pthread.h>

#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 "(?:" OCTET "(?:\\." OCTET "){3})"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
// RFC 3986, appendix A.
#define IPV6                                                                                       \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32      \
    "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16             \
    ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16       \
    ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16   \
    ")?::)"
#define LABEL "(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
#define HOST LABEL "(?:\\." LABEL ")*"
// RFC 3339.
#define DATE                                                                                       \
    "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)" \
    "|02-(?:0[1-9]|1\\d|2[0-8]))|(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]"       \
    "|[13579][26])00)-02-29)"
#define TIME                                                                                       \
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define CLOCK "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)"
#define PCT "%[0-9A-Fa-f]{2}"
#define UNRESERVED "A-Za-z0-9._~-"
#define SUB "!$&'()*+,;="
#define PCHAR "(?:[" UNRESERVED SUB ":@]|" PCT ")"
#define SEGMENTS "(?:/" PCHAR "*)*"
#define AUTHORITY                                                                                  \
    "(?:(?:[" UNRESERVED SUB ":]|" PCT ")*@)?(?:\\[(?:" IPV6                                       \
    "|[vV][0-9A-Fa-f]+\\.[" UNRESERVED SUB ":]+)\\]|(?:[" UNRESERVED SUB "]|" PCT ")*)(?::\\d*)?"
#define TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define URI                                                                                        \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://" AUTHORITY SEGMENTS "|/(?:" PCHAR "+" SEGMENTS ")?|" PCHAR      \
    "+" SEGMENTS "|)" TAIL
#define NO_COLON "(?:[" UNRESERVED SUB "@]|" PCT ")"
#define RELATIVE                                                                                   \
    "(?://" AUTHORITY SEGMENTS "|/(?:" PCHAR "+" SEGMENTS ")?|" NO_COLON "+" SEGMENTS "|)" TAIL
#define POINTER "(?:/(?:[^~/\\u0000-\\u001f]|[\\u0000-\\u001f]|~[01])*)*"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
// RFC 6570.
#define VARCHAR "(?:[A-Za-z0-9_]|" PCT ")"
#define VARSPEC VARCHAR "(?:\\.?" VARCHAR ")*(?::[1-9]\\d{0,3}|\\*)?"
#define TEMPLATE                                                                                   \
    "(?:[!#$&(-;=?-\\[\\]_a-z~\\u00a0-\\ud7ff\\ue000-\\uffef\\U00010000-\\U0010ffff]|" PCT         \
    "|\\{[+#./;?&=,!@|]?" VARSPEC "(?:," VARSPEC ")*\\})*"

// Times with leap seconds, which are at 23:59:60 UTC: with an offset, at that time plus the offset.
// Offsets are quarters of an hour; no others are in use.
static pthread_once_t times_once = PTHREAD_ONCE_INIT;
static char time_pattern[10000], date_time_pattern[10400];

static void make_times(void)
{
    size_t n =
        (size_t)snprintf(time_pattern, sizeof time_pattern, "(?:" TIME "|23:59:60(?:\\.\\d+)?[Zz]");
    for (int offset = -23 * 60 - 45; offset < 24 * 60; offset += 15) {
        int local = (23 * 60 + 59 + offset + 24 * 60) % (24 * 60);
        int away = offset < 0 ? -offset : offset;
        n += (size_t)snprintf(time_pattern + n, sizeof time_pattern - n,
                              "|%02d:%02d:60(?:\\.\\d+)?%s%02d:%02d", local / 60, local % 60,
                              offset < 0    ? "-"
                              : offset == 0 ? "[+-]"
                                            : "\\+",
                              away / 60, away % 60);
    }
    snprintf(time_pattern + n, sizeof time_pattern - n, ")");
    snprintf(date_time_pattern, sizeof date_time_pattern, "%s[Tt]%s", DATE, time_pattern);
}

const char *qw_json_format_pattern(qw_str name)
{
    if (qw_str_is(name, "time") || qw_str_is(name, "date-time")) {
        (void)pthread_once(&times_once, make_times);
        return qw_str_is(name, "time") ? time_pattern : date_time_pattern;
    }
    static const struct {
        const char *name, *pattern;
    } formats[] = {
        {"date", DATE},
        {"duration",
         "P(?:\\d+W|(?:\\d+Y(?:\\d+M(?:\\d+D)?)?|\\d+M(?:\\d+D)?|\\d+D)(?:" CLOCK ")?|" CLOCK ")"},
        {"ipv4", IPV4},
        {"ipv6", IPV6},
        {"uuid", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"},
        {"hostname", HOST},
        {"email", "(?:" ATEXT "(?:\\." ATEXT ")*|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\")@(?:" HOST
                  "|\\[(?:" IPV4 "|IPv6:" IPV6 ")\\])"},
        {"uri", URI},
        {"uri-reference", "(?:" URI "|" RELATIVE ")"},
        {"uri-template", TEMPLATE},
        {"json-pointer", POINTER},
        {"relative-json-pointer", "(?:0|[1-9]\\d*)(?:#|" POINTER ")"},
    };
    for (size_t i = 0; i < QW_ARRAY_LEN(formats); i++)
        if (qw_str_is(name, formats[i].name)) return formats[i].pattern;
    return NULL;
}
