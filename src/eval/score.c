#include "eval/score.h"

enum { MAX_DIGITS = 120 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static qw_str trim(qw_str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) s.ptr++, s.len--;
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) s.len--;
    return s;
}

static qw_str tail(qw_str s, size_t from)
{
    return (qw_str){s.ptr + from, s.len - from};
}

// Where the last occurrence of `needle` (lower case, if `fold`) begins; SIZE_MAX: nowhere.
static size_t find_last(qw_str s, qw_str needle, bool fold)
{
    for (size_t i = s.len < needle.len ? 0 : s.len - needle.len + 1; i-- > 0;) {
        size_t k = 0;
        while (k < needle.len && (fold ? lower(s.ptr[i + k]) : s.ptr[i + k]) == needle.ptr[k]) k++;
        if (k == needle.len) return i;
    }
    return SIZE_MAX;
}

qw_str qw_score_final(qw_str reply)
{
    size_t close = find_last(reply, QW_STR("</think>"), false);
    if (close != SIZE_MAX) reply = tail(reply, close + 8);
    if (find_last(reply, QW_STR("<think>"), false) != SIZE_MAX) reply.len = 0;
    return trim(reply);
}

// Numbers

// The minus sign U+2212 and the dash U+2013 that stand for it.
static size_t minus_at(qw_str s, size_t i)
{
    if (s.ptr[i] == '-') return 1;
    bool is_long = s.len - i >= 3 && (memcmp(s.ptr + i, "\xE2\x88\x92", 3) == 0 ||
                                      memcmp(s.ptr + i, "\xE2\x80\x93", 3) == 0);
    return is_long ? 3 : 0;
}

// True if what stands in front of i makes a minus at i a sign, not an operator.
static bool may_be_sign(qw_str s, size_t i)
{
    if (i == 0) return true;
    char c = s.ptr[i - 1];
    return !is_digit(c) && !is_letter(c) && c != ')' && c != ']' && c != '}';
}

// Length of the digits at i, commas of thousands and a fraction included.
static size_t number_length(qw_str s, size_t i)
{
    size_t n = i;
    while (n < s.len) {
        if (is_digit(s.ptr[n])) {
            n++;
        } else if (s.ptr[n] == ',' && s.len - n >= 4 && is_digit(s.ptr[n + 1]) &&
                   is_digit(s.ptr[n + 2]) && is_digit(s.ptr[n + 3]) &&
                   !(s.len - n >= 5 && is_digit(s.ptr[n + 4]))) {
            n += 4;
        } else {
            break;
        }
    }
    if (s.len - n >= 2 && s.ptr[n] == '.' && is_digit(s.ptr[n + 1]))
        for (n++; n < s.len && is_digit(s.ptr[n]);) n++;
    return n - i;
}

// Write the digits in canonical form; false when there are too many.
static bool canonical(char out[QW_SCORE_NUMBER_SIZE], qw_str digits, bool is_negative)
{
    size_t n = 0, point = SIZE_MAX;
    char *p = out + 1; // room for the sign
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        if (c == ',' || (c == '0' && n == 1 && p[0] == '0' && point == SIZE_MAX)) continue;
        if (c == '.') point = n;
        if (is_digit(c) && n == 1 && p[0] == '0' && point == SIZE_MAX) n = 0;
        if (n == MAX_DIGITS) return false;
        p[n++] = c;
    }
    if (point != SIZE_MAX) {
        while (p[n - 1] == '0') n--;
        if (p[n - 1] == '.') n--;
    }
    p[n] = '\0';
    out[0] = '-';
    if (!is_negative || strcmp(p, "0") == 0) memmove(out, p, n + 1);
    return true;
}

/** Where a number stands in a text, its sign included. */
typedef struct place {
    size_t begin, digits, end;
    bool is_negative;
} place;

// The next number whose digits begin at or behind *at; moves *at behind it.
static bool next_number(place *out, qw_str s, size_t *at)
{
    size_t i = *at;
    while (i < s.len && !is_digit(s.ptr[i])) i++;
    if (i == s.len) return false;
    *out = (place){.begin = i, .digits = i, .end = i + number_length(s, i)};
    size_t before = i;
    if (before > 0 && s.ptr[before - 1] == '$') before--;
    for (size_t len = 1; len <= 3; len += 2) {
        if (before < len || minus_at(s, before - len) != len) continue;
        if (!may_be_sign(s, before - len)) continue;
        out->begin = before - len;
        out->is_negative = true;
    }
    *at = out->end;
    return true;
}

bool qw_score_number(char out[QW_SCORE_NUMBER_SIZE], qw_str text, bool want_last)
{
    place p, found = {0};
    size_t at = 0;
    while (next_number(&p, text, &at)) {
        found = p;
        if (!want_last) break;
    }
    if (found.end == 0) return false;
    return canonical(out, (qw_str){text.ptr + found.digits, found.end - found.digits},
                     found.is_negative);
}

bool qw_score_whole_number(char out[QW_SCORE_NUMBER_SIZE], qw_str text)
{
    place p;
    size_t at = 0;
    text = trim(text);
    if (!next_number(&p, text, &at)) return false;
    size_t begin = p.begin;
    if (begin == p.digits && begin > 0 && text.ptr[begin - 1] == '$') begin--;
    qw_str rest = trim(tail(text, p.end));
    bool is_end = rest.len == 0 || (rest.len == 1 && (rest.ptr[0] == '%' || rest.ptr[0] == '.'));
    return begin == 0 && is_end &&
           canonical(out, (qw_str){text.ptr + p.digits, p.end - p.digits}, p.is_negative);
}

// What is in the last \boxed{}; ptr NULL: there is none. Braces inside may nest.
static qw_str boxed(qw_str s)
{
    size_t at = find_last(s, QW_STR("\\boxed{"), false), depth = 1;
    if (at == SIZE_MAX) return (qw_str){0};
    qw_str in = tail(s, at + 7);
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '{') depth++;
        if (in.ptr[i] == '}' && --depth == 0) return (qw_str){in.ptr, i};
    }
    return (qw_str){0};
}

static bool find_number(char out[QW_SCORE_NUMBER_SIZE], qw_str s, qw_str mark)
{
    size_t at = find_last(s, mark, false);
    if (at != SIZE_MAX && qw_score_number(out, tail(s, at + mark.len), false)) return true;
    qw_str box = boxed(s);
    if (box.ptr && qw_score_number(out, box, false)) return true;
    return qw_score_number(out, s, true);
}

static void score_number(qw_score *out, const qw_task_item *item, qw_str s, qw_str mark)
{
    if (!find_number(out->buffer, s, mark)) return;
    out->found = qw_str_of(out->buffer);
    out->is_right = qw_str_eq(out->found, item->answers[0]);
}

// Choices

// A letter of a choice at s, perhaps in brackets, quotes or stars; '\0': none. `strict`: what is
// behind it must not go on as a sentence would ("A dog").
static char letter_at(qw_str s, size_t n_choices, bool strict)
{
    size_t i = 0;
    while (i < s.len && (is_blank(s.ptr[i]) || strchr("(*\"'`:[{$", s.ptr[i])) && s.ptr[i]) i++;
    if (i == s.len) return '\0';
    char c = s.ptr[i];
    if (c < 'A' || (size_t)(c - 'A') >= n_choices) return '\0';
    char next = i + 1 < s.len ? s.ptr[i + 1] : '\n';
    if (is_letter(next) || is_digit(next) || next == '\'') return '\0';
    return strict && !strchr(".):,*\"'`]}\n\r", next) ? '\0' : c;
}

static bool contains(qw_str text, qw_str part)
{
    for (size_t i = 0; part.len > 0 && i + part.len <= text.len; i++) {
        size_t k = 0;
        while (k < part.len && lower(text.ptr[i + k]) == lower(part.ptr[k])) k++;
        if (k == part.len) return true;
    }
    return false;
}

// The one choice that the text contains, those left out that another one contains as well.
static char only_choice(const qw_task_item *item, qw_str s)
{
    char found = '\0';
    for (size_t i = 0; i < item->n_choices; i++) {
        bool is_part = false;
        if (!contains(s, item->choices[i])) continue;
        for (size_t k = 0; k < item->n_choices && !is_part; k++)
            is_part = item->choices[k].len > item->choices[i].len &&
                      contains(s, item->choices[k]) && contains(item->choices[k], item->choices[i]);
        if (is_part) continue;
        if (found) return '\0';
        found = (char)('A' + i);
    }
    return found;
}

static char bracketed(qw_str s, size_t n_choices)
{
    for (size_t i = s.len; i-- > 2;) {
        char c = s.ptr[i - 1];
        if (s.ptr[i] == ')' && s.ptr[i - 2] == '(' && c >= 'A' && (size_t)(c - 'A') < n_choices)
            return c;
    }
    return '\0';
}

static char find_letter(const qw_task_item *item, qw_str s)
{
    static const char *const marks[] = {"answer is", "answer:", "answer**:", "answer:**"};
    char c = '\0';
    qw_str box = boxed(s);
    if (box.ptr && qw_str_starts_with(box, QW_STR("\\text{"))) box = tail(box, 6);
    if (box.ptr) c = letter_at(box, item->n_choices, false);
    for (size_t i = 0; i < QW_ARRAY_LEN(marks) && !c; i++) {
        size_t at = find_last(s, qw_str_of(marks[i]), true);
        if (at != SIZE_MAX) c = letter_at(tail(s, at + strlen(marks[i])), item->n_choices, false);
    }
    if (!c) c = letter_at(s, item->n_choices, true);
    if (!c) c = only_choice(item, s);
    return c ? c : bracketed(s, item->n_choices);
}

static void score_choice(qw_score *out, const qw_task_item *item, qw_str s)
{
    out->buffer[0] = find_letter(item, s);
    if (!out->buffer[0]) return;
    out->found = (qw_str){out->buffer, 1};
    out->is_right = out->buffer[0] == item->answers[0].ptr[0];
}

// Texts

// Equal up to letter case, runs of blanks and a full stop at the end.
static bool is_same_text(qw_str a, qw_str b)
{
    a = trim(a);
    b = trim(b);
    if (a.len > 1 && a.ptr[a.len - 1] == '.') a = trim((qw_str){a.ptr, a.len - 1});
    if (b.len > 1 && b.ptr[b.len - 1] == '.') b = trim((qw_str){b.ptr, b.len - 1});
    size_t i = 0, k = 0;
    while (i < a.len && k < b.len) {
        if (is_blank(a.ptr[i]) != is_blank(b.ptr[k])) return false;
        if (is_blank(a.ptr[i])) {
            while (is_blank(a.ptr[i])) i++; // neither ends with a blank
            while (is_blank(b.ptr[k])) k++;
        } else if (lower(a.ptr[i++]) != lower(b.ptr[k++])) {
            return false;
        }
    }
    return i == a.len && k == b.len;
}

static void score_exact(qw_score *out, const qw_task_item *item, qw_str s)
{
    out->found = s;
    for (size_t i = 0; i < item->n_answers; i++) out->is_right |= is_same_text(s, item->answers[i]);
}

void qw_score_reply(qw_score *out, const qw_task_item *item, qw_str reply)
{
    *out = (qw_score){0};
    qw_str s = qw_score_final(reply);
    if (s.len == 0) return;
    switch (item->scorer) {
    case QW_SCORER_GSM8K: score_number(out, item, s, QW_STR("####")); break;
    case QW_SCORER_ARITHMETIC: score_number(out, item, s, QW_STR("=")); break;
    case QW_SCORER_CHOICE: score_choice(out, item, s); break;
    default: score_exact(out, item, s);
    }
}
