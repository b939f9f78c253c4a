#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>

bool qw_str_starts_with(qw_str s, qw_str prefix)
{
    return s.len >= prefix.len && qw_str_eq((qw_str){s.ptr, prefix.len}, prefix);
}

bool qw_str_ends_with(qw_str s, qw_str suffix)
{
    if (s.len < suffix.len || suffix.len == 0) return suffix.len == 0;
    return qw_str_eq((qw_str){s.ptr + (s.len - suffix.len), suffix.len}, suffix);
}

size_t qw_str_find(qw_str s, qw_str needle, size_t from)
{
    if (from > s.len || needle.len > s.len - from) return SIZE_MAX;
    if (needle.len == 0) return from;
    for (size_t i = from; i <= s.len - needle.len; i++) {
        const char *hit = memchr(s.ptr + i, needle.ptr[0], s.len - needle.len - i + 1);
        if (!hit) return SIZE_MAX;
        i = (size_t)(hit - s.ptr);
        if (memcmp(hit, needle.ptr, needle.len) == 0) return i;
    }
    return SIZE_MAX;
}

// Length of the sequence that `lead` opens (0: no lead byte), and the range of its second byte.
static int lead_length(unsigned char lead, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0) *lo = 0xA0;
        if (lead == 0xED) *hi = 0x9F; // surrogates
        return 3;
    }
    if (lead > 0xF4) return 0;
    if (lead == 0xF0) *lo = 0x90;
    if (lead == 0xF4) *hi = 0x8F;
    return 4;
}

int32_t qw_utf8_next(qw_str s, size_t *pos)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = *pos;
    unsigned char lo, hi, lead = p[i++];
    int n = lead_length(lead, &lo, &hi);
    if (n <= 1) {
        *pos = i;
        return n == 1 ? lead : -1;
    }
    int32_t cp = lead & (0xFF >> (n + 1));
    for (int k = 1; k < n; k++) {
        if (i >= s.len || p[i] < lo || p[i] > hi) {
            *pos = i;
            return -1;
        }
        cp = cp << 6 | (p[i++] & 0x3F);
        lo = 0x80;
        hi = 0xBF;
    }
    *pos = i;
    return cp;
}

int qw_utf8_missing(qw_str s, size_t pos)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char lo, hi;
    int n = lead_length(p[pos], &lo, &hi);
    for (int k = 1; k < n; k++) {
        if (pos + (size_t)k >= s.len) return n - k;
        unsigned char c = p[pos + (size_t)k];
        if (c < lo || c > hi) return 0;
        lo = 0x80;
        hi = 0xBF;
    }
    return 0;
}

bool qw_utf8_is_valid(qw_str s)
{
    size_t pos = 0;
    while (pos < s.len) {
        if ((unsigned char)s.ptr[pos] < 0x80)
            pos++;
        else if (qw_utf8_next(s, &pos) < 0)
            return false;
    }
    return true;
}

int qw_utf8_put(char out[4], int32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

bool qw_str_to_i64(qw_str s, int64_t *out)
{
    size_t i = 0;
    bool negative = false;
    if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+')) negative = s.ptr[i++] == '-';
    if (i == s.len) return false;
    int64_t value = 0; // built downwards, so that INT64_MIN fits
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        if (__builtin_mul_overflow(value, (int64_t)10, &value)) return false;
        if (__builtin_sub_overflow(value, (int64_t)(s.ptr[i] - '0'), &value)) return false;
    }
    if (!negative && value == INT64_MIN) return false;
    *out = negative ? value : -value;
    return true;
}

// One "C" locale object for strtod_l; the process may run in any locale.
static locale_t the_c_locale;

static void make_c_locale(void)
{
    the_c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static locale_t c_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    return the_c_locale;
}

bool qw_str_to_f64(qw_str s, double *out)
{
    char text[512];
    if (s.len == 0 || s.len >= sizeof text) return false;
    bool digit = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c >= '0' && c <= '9')
            digit = true;
        else if (!strchr("+-.eE", c) || c == '\0')
            return false; // keeps out hex, inf, nan, blanks
    }
    if (!digit) return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    errno = 0;
    double value = strtod_l(text, &end, c_locale());
    if (*end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}

// Add one to the last digit of "d.ddde+xx"; false if that carries out of the first digit.
static bool bump_last_digit(char *sci)
{
    for (char *p = strchr(sci, 'e'); p-- > sci;) {
        if (*p < '0' || *p > '9') continue;
        if (*p != '9') {
            ++*p;
            return true;
        }
        *p = '0';
    }
    return false;
}

static bool reads_back(const char *sci, double value)
{
    return strtod_l(sci, NULL, c_locale()) == value;
}

// d.ddde+xx with so many digits, whatever the locale.
static void print_digits(char *out, size_t size, int digits, double value)
{
    snprintf(out, size, "%.*e", digits - 1, value);
    for (char *p = out; *p; p++)
        if (*p == ',') *p = '.';
}

int qw_str_from_f64(char out[32], double value)
{
    if (isnan(value)) return snprintf(out, 32, "nan");
    if (isinf(value)) return snprintf(out, 32, value < 0 ? "-inf" : "inf");
    // The fewest significant digits that read back; 17 always do. At a power of two the doubles
    // below lie closer than those above, so there the nearest decimal may miss while the next one
    // up reads back.
    uint64_t bits;
    memcpy(&bits, &value, 8);
    bool at_power_of_two = (bits & 0xFFFFFFFFFFFFF) == 0;
    char sci[40];
    int first = 1;
    if (isnormal(value) && !at_power_of_two) {
        // A decimal of 15 digits survives its way through a double. So when the 15 digits of the
        // value do not read back, no fewer do; most numbers that were computed are of that kind.
        print_digits(sci, sizeof sci, 15, value);
        if (!reads_back(sci, value)) first = 16;
    }
    for (int digits = first; digits <= 17; digits++) {
        print_digits(sci, sizeof sci, digits, value);
        if (reads_back(sci, value)) break;
        char next[40];
        memcpy(next, sci, sizeof next);
        if (at_power_of_two && bump_last_digit(next) && reads_back(next, value)) {
            memcpy(sci, next, sizeof sci);
            break;
        }
    }
    // sci is [-]d[.ddd]e[+-]xx: take it apart, then spell it as Python does.
    char digits[24] = "0";
    int n = 0;
    const char *p = sci;
    bool negative = *p == '-';
    if (negative) p++;
    for (; *p && *p != 'e'; p++)
        if (*p != '.') digits[n++] = *p;
    int64_t exponent = 0;
    if (!qw_str_to_i64(qw_str_of(p + 1), &exponent)) exponent = 0;
    while (n > 1 && digits[n - 1] == '0') n--;
    int len = 0;
    if (negative) out[len++] = '-';
    if (exponent < -4 || exponent >= 16) {
        out[len++] = digits[0];
        if (n > 1) {
            out[len++] = '.';
            memcpy(out + len, digits + 1, (size_t)n - 1);
            len += n - 1;
        }
        len += snprintf(out + len, 32 - (size_t)len, "e%c%02d", exponent < 0 ? '-' : '+',
                        (int)(exponent < 0 ? -exponent : exponent));
        return len;
    }
    int point = (int)exponent + 1; // digits before the decimal point
    if (point <= 0) {
        out[len++] = '0';
        out[len++] = '.';
        for (int i = point; i < 0; i++) out[len++] = '0';
        memcpy(out + len, digits, (size_t)n);
        len += n;
    } else {
        for (int i = 0; i < point; i++) out[len++] = i < n ? digits[i] : '0';
        out[len++] = '.';
        if (n <= point) out[len++] = '0';
        for (int i = point; i < n; i++) out[len++] = digits[i];
    }
    out[len] = '\0';
    return len;
}
