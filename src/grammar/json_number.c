// Numbers between bounds, as digits: an automaton that compares with both bounds while it reads.

#include "grammar/json_schema_internal.h"

enum { MAX_DIGITS = 400 }; // 1e308 and its like

static qw_str trim_zeros(const char *digits, size_t n, bool leading)
{
    while (n > 0 && leading && *digits == '0') digits++, n--;
    while (n > 0 && !leading && digits[n - 1] == '0') n--;
    return (qw_str){digits, n};
}

// "-12.5e+3" with its point moved by the exponent.
static bool parse_decimal(qw_schema *s, const char *text, size_t len, qw_decimal *out)
{
    char *digits = qw_gram_alloc(s->g, len + 2 * MAX_DIGITS + 2, 1);
    if (!digits) return false;
    size_t i = 0, n = 0;
    int64_t point = -1, exponent = 0;
    out->negative = len > 0 && text[0] == '-';
    if (len > 0 && (text[0] == '-' || text[0] == '+')) i++;
    for (; i < len && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] == '.')
            point = (int64_t)n;
        else if (text[i] >= '0' && text[i] <= '9')
            digits[MAX_DIGITS + n++] = text[i];
        else
            return false;
    }
    if (point < 0) point = (int64_t)n;
    if (i < len && !qw_str_to_i64((qw_str){text + i + 1, len - i - 1}, &exponent)) return false;
    if (exponent > MAX_DIGITS || exponent < -MAX_DIGITS) return false;
    // Zeros on both sides make room for the point wherever it goes.
    memset(digits, '0', MAX_DIGITS);
    memset(digits + MAX_DIGITS + n, '0', MAX_DIGITS);
    size_t at = (size_t)((int64_t)MAX_DIGITS + point + exponent);
    size_t all = n + 2 * MAX_DIGITS;
    if (at > all) return false;
    out->whole = trim_zeros(digits, at, true);
    out->fraction = trim_zeros(digits + at, all - at, false);
    if (out->whole.len == 0 && out->fraction.len == 0) out->negative = false;
    return true;
}

bool qw_json_decimal(qw_schema *s, const json_t *number, qw_decimal *out)
{
    char text[64];
    bool ok;
    if (qw_json_is_big_integer(number)) {
        qw_str d = qw_json_digits(number);
        ok = d.len < 4000 && parse_decimal(s, d.ptr, d.len, out);
    } else if (json_is_integer(number)) {
        int n = snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
        ok = parse_decimal(s, text, (size_t)n, out);
    } else {
        int n = qw_str_from_f64(text, json_real_value(number));
        ok = parse_decimal(s, text, (size_t)n, out);
    }
    if (!ok) qw_pda_fail(s->p, QW_ERR_USAGE, "a number of the schema is too large or too small");
    return ok;
}

static int compare_digits(qw_str a, qw_str b, bool whole)
{
    if (whole && a.len != b.len) return a.len < b.len ? -1 : 1;
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

int qw_decimal_compare(const qw_decimal *a, const qw_decimal *b)
{
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    int order = compare_digits(a->whole, b->whole, true);
    if (order == 0) order = compare_digits(a->fraction, b->fraction, false);
    return a->negative ? -order : order;
}

static void tighten_min(qw_number_bounds *b, const qw_decimal *d, bool open)
{
    int order = b->has_min ? qw_decimal_compare(d, &b->min) : 1;
    if (order < 0) return;
    b->open_min = order == 0 ? b->open_min || open : open;
    b->min = *d;
    b->has_min = true;
}

static void tighten_max(qw_number_bounds *b, const qw_decimal *d, bool open)
{
    int order = b->has_max ? qw_decimal_compare(d, &b->max) : -1;
    if (order > 0) return;
    b->open_max = order == 0 ? b->open_max || open : open;
    b->max = *d;
    b->has_max = true;
}

qw_number_bounds qw_schema_bounds(qw_schema *s, const qw_conj *leaf)
{
    static const struct {
        const char *keyword;
        bool is_max, open;
    } rows[] = {{"minimum", false, false},
                {"exclusiveMinimum", false, true},
                {"maximum", true, false},
                {"exclusiveMaximum", true, true}};
    qw_number_bounds b = {0};
    for (size_t i = 0; i < leaf->n; i++)
        for (size_t k = 0; k < QW_ARRAY_LEN(rows); k++) {
            const json_t *v = json_object_get(leaf->parts[i], rows[k].keyword);
            if (!v || json_is_boolean(v)) continue; // draft 4's flags are read with their bound
            if (!qw_json_is_any_number(v)) {
                qw_pda_fail(s->p, QW_ERR_USAGE, "'%s' must be a number", rows[k].keyword);
                return b;
            }
            qw_decimal d;
            if (!qw_json_decimal(s, v, &d)) return b;
            bool open = rows[k].open;
            if (!open)
                open = json_is_true(json_object_get(
                    leaf->parts[i], rows[k].is_max ? "exclusiveMaximum" : "exclusiveMinimum"));
            if (rows[k].is_max)
                tighten_max(&b, &d, open);
            else
                tighten_min(&b, &d, open);
        }
    return b;
}

bool qw_decimal_in_bounds(const qw_decimal *d, const qw_number_bounds *b)
{
    int low = b->has_min ? qw_decimal_compare(d, &b->min) : 1;
    int high = b->has_max ? qw_decimal_compare(d, &b->max) : -1;
    return (low > 0 || (low == 0 && !b->open_min)) && (high < 0 || (high == 0 && !b->open_max));
}

// ---- magnitudes: numbers without a sign, lo <= x <= hi

typedef struct magnitude {
    qw_gram *g;
    bool integer;
    bool has_hi, open_lo, open_hi;
    qw_str lo, lo_fraction, hi, hi_fraction; /* whole parts: "0" for zero */
    int32_t to;
    int32_t *fraction_nodes; /* [n_fraction][4], -1: not made yet */
    size_t n_fraction;
} magnitude;

// Whether x may end after these digits: `tl` and `th`: so far equal to the bound's.
static bool may_end(const magnitude *m, size_t n_fraction, bool tl, bool th)
{
    if (tl && (n_fraction < m->lo_fraction.len || m->open_lo)) return false;
    return !(th && n_fraction >= m->hi_fraction.len && m->open_hi);
}

static uint8_t digit_at(qw_str digits, size_t i)
{
    return i < digits.len ? (uint8_t)digits.ptr[i] : '0';
}

// The node after n digits of the fraction, n >= 0 (0: behind the point).
static int32_t fraction_node(magnitude *m, size_t n, bool tl, bool th)
{
    qw_pda *p = m->g->pda;
    if (n >= m->n_fraction) n = m->n_fraction - 1; // all later ones are alike
    int32_t *known = &m->fraction_nodes[n * 4 + (size_t)tl * 2 + th];
    if (*known >= 0) return *known;
    int32_t node = *known = qw_pda_node_new(p);
    if (n > 0 && may_end(m, n, tl, th)) qw_pda_empty(p, node, m->to);
    uint8_t lo = tl ? digit_at(m->lo_fraction, n) : '0',
            hi = th ? digit_at(m->hi_fraction, n) : '9';
    for (uint8_t d = lo; d <= hi && qw_pda_spend(p, 1);) {
        bool on_lo = tl && d == lo, on_hi = th && d == hi;
        uint8_t last = d; // digits that are on no bound go together
        if (!on_lo && !on_hi) last = th ? (uint8_t)(hi - 1) : hi;
        qw_pda_bytes(p, node, d, last, fraction_node(m, n + 1, on_lo, on_hi));
        d = (uint8_t)(last + 1);
    }
    return node;
}

// Behind the whole part.
static void after_whole(magnitude *m, int32_t node, bool tl, bool th)
{
    if (may_end(m, 0, tl, th)) qw_pda_empty(m->g->pda, node, m->to);
    if (!m->integer) qw_pda_bytes(m->g->pda, node, '.', '.', fraction_node(m, 0, tl, th));
}

// Whole parts of exactly `len` digits. States: how many digits, on which bounds.
static void whole_of_length(magnitude *m, int32_t from, size_t len, bool tl, bool th)
{
    qw_pda *p = m->g->pda;
    int32_t now[4] = {-1, -1, -1, -1}, next[4];
    now[(size_t)tl * 2 + th] = from;
    for (size_t i = 0; i < len && qw_pda_ok(p); i++) {
        for (int k = 0; k < 4; k++) next[k] = -1;
        for (int k = 0; k < 4; k++) {
            if (now[k] < 0) continue;
            bool on_l = k & 2, on_h = k & 1;
            uint8_t least = i == 0 && len > 1 ? '1' : '0', most = '9';
            if (on_l && digit_at(m->lo, i) > least) least = digit_at(m->lo, i);
            if (on_h) most = digit_at(m->hi, i);
            for (uint8_t d = least; d <= most && qw_pda_spend(p, 1); d++) {
                int to = (on_l && d == digit_at(m->lo, i)) * 2 + (on_h && d == digit_at(m->hi, i));
                if (next[to] < 0) next[to] = qw_pda_node_new(p);
                qw_pda_bytes(p, now[k], d, d, next[to]);
            }
        }
        memcpy(now, next, sizeof now);
    }
    for (int k = 0; k < 4; k++)
        if (now[k] >= 0) after_whole(m, now[k], k & 2, k & 1);
}

static void put_magnitudes(qw_gram *g, magnitude *m, int32_t from)
{
    qw_pda *p = g->pda;
    if (m->lo.len == 0) m->lo = QW_STR("0");
    if (m->has_hi && m->hi.len == 0) m->hi = QW_STR("0");
    if (m->has_hi && m->hi.len < m->lo.len) return;
    m->n_fraction =
        (m->lo_fraction.len > m->hi_fraction.len ? m->lo_fraction.len : m->hi_fraction.len) + 2;
    m->fraction_nodes = qw_gram_alloc(g, m->n_fraction * 4, sizeof *m->fraction_nodes);
    if (!m->fraction_nodes) return;
    for (size_t i = 0; i < m->n_fraction * 4; i++) m->fraction_nodes[i] = -1;
    size_t last = m->has_hi ? m->hi.len : m->lo.len;
    for (size_t len = m->lo.len; len <= last && qw_pda_ok(p); len++)
        whole_of_length(m, from, len, len == m->lo.len, m->has_hi && len == m->hi.len);
    if (m->has_hi) return;
    // Any number of digits more than the least has.
    int32_t node = qw_pda_node_new(p);
    qw_pda_bytes(p, from, '1', '9', node);
    for (size_t i = 0; i < m->lo.len && qw_pda_ok(p); i++) {
        int32_t next = qw_pda_node_new(p);
        qw_pda_bytes(p, node, '0', '9', next);
        node = next;
    }
    qw_pda_bytes(p, node, '0', '9', node);
    after_whole(m, node, false, false);
}

// The side of the numbers with this sign: bounds on the magnitude.
static void put_side(qw_gram *g, const qw_number_bounds *b, bool negative, bool integer,
                     int32_t from, int32_t to)
{
    magnitude m = {.g = g, .integer = integer, .to = to};
    // x <= max < 0 has magnitudes >= -max; x >= min > 0 those >= min.
    bool has_lo = negative ? b->has_max : b->has_min, has_hi = negative ? b->has_min : b->has_max;
    const qw_decimal *lo = negative ? &b->max : &b->min, *hi = negative ? &b->min : &b->max;
    bool is_zero = has_hi && hi->whole.len == 0 && hi->fraction.len == 0;
    if (has_hi && hi->negative != negative && !is_zero) return; // the bound is on the other side
    if (has_lo && (lo->negative == negative || (lo->whole.len == 0 && lo->fraction.len == 0))) {
        m.lo = lo->whole;
        m.lo_fraction = lo->fraction;
        m.open_lo = negative ? b->open_max : b->open_min;
    }
    m.has_hi = has_hi;
    if (has_hi) {
        m.hi = hi->whole;
        m.hi_fraction = hi->fraction;
        m.open_hi = negative ? b->open_min : b->open_max;
    }
    put_magnitudes(g, &m, from);
}

void qw_number_range(qw_gram *g, const qw_number_bounds *b, bool integer, int32_t from, int32_t to)
{
    qw_pda *p = g->pda;
    int32_t minus = qw_pda_node_new(p);
    if (b->has_min && b->has_max && qw_decimal_compare(&b->min, &b->max) > 0) return;
    put_side(g, b, false, integer, from, to);
    qw_pda_bytes(p, from, '-', '-', minus);
    put_side(g, b, true, integer, minus, to);
}

// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
static void any_number(qw_pda *p, bool integer, int32_t from, int32_t to)
{
    int32_t start = qw_pda_node_new(p), whole = qw_pda_node_new(p), done = qw_pda_node_new(p);
    qw_pda_empty(p, from, start);
    int32_t minus = qw_pda_node_new(p);
    qw_pda_bytes(p, start, '-', '-', minus);
    for (int i = 0; i < 2; i++) {
        qw_pda_bytes(p, i ? minus : start, '0', '0', done);
        qw_pda_bytes(p, i ? minus : start, '1', '9', whole);
    }
    qw_pda_bytes(p, whole, '0', '9', whole);
    qw_pda_empty(p, whole, done);
    qw_pda_empty(p, done, to);
    if (integer) return;
    int32_t point = qw_pda_node_new(p), fraction = qw_pda_node_new(p);
    int32_t e = qw_pda_node_new(p), sign = qw_pda_node_new(p), exponent = qw_pda_node_new(p);
    qw_pda_bytes(p, done, '.', '.', point);
    qw_pda_bytes(p, point, '0', '9', fraction);
    qw_pda_bytes(p, fraction, '0', '9', fraction);
    qw_pda_empty(p, fraction, to);
    for (int i = 0; i < 2; i++) {
        qw_pda_bytes(p, i ? fraction : done, 'e', 'e', e);
        qw_pda_bytes(p, i ? fraction : done, 'E', 'E', e);
    }
    qw_pda_bytes(p, e, '+', '+', sign);
    qw_pda_bytes(p, e, '-', '-', sign);
    qw_pda_bytes(p, e, '0', '9', exponent);
    qw_pda_bytes(p, sign, '0', '9', exponent);
    qw_pda_bytes(p, exponent, '0', '9', exponent);
    qw_pda_empty(p, exponent, to);
}

// multipleOf: 1 says "integer"; others cannot be told digit by digit here.
static bool wants_integer(qw_schema *s, const qw_conj *leaf)
{
    bool integer = false;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *v = json_object_get(leaf->parts[i], "multipleOf");
        if (!v) continue;
        if (json_is_number(v) && json_number_value(v) == 1)
            integer = true;
        else
            qw_schema_refuse(s, "multipleOf", NULL);
    }
    return integer;
}

void qw_schema_number(qw_schema *s, const qw_conj *leaf, bool integer, int32_t from, int32_t to)
{
    qw_number_bounds b = qw_schema_bounds(s, leaf);
    if (wants_integer(s, leaf)) integer = true;
    if (!qw_pda_ok(s->p)) return;
    if (b.has_min || b.has_max)
        qw_number_range(s->g, &b, integer, from, to);
    else
        any_number(s->p, integer, from, to);
}
