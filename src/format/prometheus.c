#include "format/prometheus.h"

#include <math.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(qw_str s, size_t *i)
{
    while (*i < s.len && is_blank(s.ptr[*i])) (*i)++;
}

static bool is_name(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
    return letter || (!first && c >= '0' && c <= '9');
}

static qw_str take_name(qw_str s, size_t *i)
{
    size_t begin = *i;
    while (*i < s.len && is_name(s.ptr[*i], *i == begin)) (*i)++;
    return (qw_str){s.ptr + begin, *i - begin};
}

// Behind the quote that ends the string whose first quote is at s[i - 1]; 0: it does not end.
static size_t end_of_string(qw_str s, size_t i)
{
    for (; i < s.len && s.ptr[i] != '"'; i++)
        if (s.ptr[i] == '\\') i++;
    return i < s.len ? i + 1 : 0;
}

/** One label: name and the text between its quotes. */
typedef struct label {
    qw_str name, value;
} label;

// The label at *i, which moves behind it and its comma. False: there is none.
static bool take_label(label *out, qw_str s, size_t *i)
{
    skip_blanks(s, i);
    out->name = take_name(s, i);
    skip_blanks(s, i);
    if (out->name.len == 0 || *i >= s.len || s.ptr[*i] != '=') return false;
    (*i)++;
    skip_blanks(s, i);
    if (*i >= s.len || s.ptr[*i] != '"') return false;
    size_t begin = *i + 1, end = end_of_string(s, begin);
    if (end == 0) return false;
    out->value = (qw_str){s.ptr + begin, end - 1 - begin};
    *i = end;
    skip_blanks(s, i);
    if (*i < s.len && s.ptr[*i] == ',') (*i)++;
    return true;
}

static bool to_number(qw_str s, double *out)
{
    double sign = s.len > 0 && s.ptr[0] == '-' ? -1 : 1;
    qw_str rest = s;
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) rest = (qw_str){s.ptr + 1, s.len - 1};
    if (qw_str_is(rest, "Inf"))
        *out = sign * (double)INFINITY;
    else if (qw_str_is(s, "NaN"))
        *out = (double)NAN;
    else
        return qw_str_to_f64(s, out);
    return true;
}

static bool read_line(qw_prometheus_sample *out, qw_str line)
{
    size_t i = 0;
    skip_blanks(line, &i);
    out->name = take_name(line, &i);
    if (out->name.len == 0) return false;
    skip_blanks(line, &i);
    out->labels = (qw_str){line.ptr + i, 0};
    if (i < line.len && line.ptr[i] == '{') {
        size_t begin = ++i;
        label ignored;
        for (;;) {
            skip_blanks(line, &i);
            if (i < line.len && line.ptr[i] == '}') break;
            if (!take_label(&ignored, line, &i)) return false;
        }
        out->labels = (qw_str){line.ptr + begin, i - begin};
        i++;
    }
    skip_blanks(line, &i);
    size_t begin = i;
    while (i < line.len && !is_blank(line.ptr[i])) i++;
    return to_number((qw_str){line.ptr + begin, i - begin}, &out->value); // a time may follow
}

bool qw_prometheus_next(qw_prometheus_sample *out, qw_str text, size_t *pos)
{
    while (*pos < text.len) {
        const char *begin = text.ptr + *pos;
        const char *end = memchr(begin, '\n', text.len - *pos);
        size_t len = end ? (size_t)(end - begin) : text.len - *pos;
        *pos += len + (end != NULL);
        if (read_line(out, (qw_str){begin, len})) return true;
    }
    return false;
}

bool qw_prometheus_label(char *out, size_t size, qw_str labels, const char *name)
{
    out[0] = '\0';
    label l;
    size_t i = 0, n = 0;
    do {
        if (!take_label(&l, labels, &i)) return false;
    } while (!qw_str_is(l.name, name));
    for (size_t k = 0; k < l.value.len && n + 1 < size; k++) {
        char c = l.value.ptr[k];
        if (c == '\\' && k + 1 < l.value.len) {
            c = l.value.ptr[++k];
            if (c == 'n') c = '\n';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}
