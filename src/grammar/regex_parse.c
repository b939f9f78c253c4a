#include "grammar/regex_parse.h"

#include <utf8proc.h>

typedef struct parser {
    qw_gram *g;
    qw_str text;
    size_t pos;
    int depth;
    bool ignore_case;
} parser;

static bool fail(parser *p, qw_status code, const char *what)
{
    size_t shown = p->text.len < 60 ? p->text.len : 60;
    qw_pda_fail(p->g->pda, code, "the regular expression '%.*s%s' %s, at position %zu", (int)shown,
                p->text.ptr ? p->text.ptr : "", shown < p->text.len ? "..." : "", what, p->pos);
    return false;
}

static bool at_end(const parser *p)
{
    return p->pos >= p->text.len;
}

static int peek(const parser *p)
{
    return at_end(p) ? -1 : (uint8_t)p->text.ptr[p->pos];
}

static bool take(parser *p, const char *what)
{
    size_t n = strlen(what);
    if (n > p->text.len || p->pos > p->text.len - n) return false;
    if (memcmp(p->text.ptr + p->pos, what, n) != 0) return false;
    p->pos += n;
    return true;
}

static int32_t next_char(parser *p)
{
    int32_t c = qw_utf8_next(p->text, &p->pos);
    if (c < 0) (void)fail(p, QW_ERR_USAGE, "is not valid UTF-8");
    return c;
}

static qw_regex *new_node(parser *p, qw_regex_kind kind, qw_regex *a, qw_regex *b)
{
    qw_regex *r = qw_pda_spend(p->g->pda, 1) ? qw_gram_alloc(p->g, 1, sizeof *r) : NULL;
    if (!r) return NULL;
    r->kind = kind;
    r->a = a;
    r->b = b;
    return r;
}

static qw_regex *set_node(parser *p, const qw_char_set *set)
{
    qw_regex *r = new_node(p, QW_REGEX_SET, NULL, NULL);
    if (r) r->set = *set;
    return r;
}

// ---- classes

static void add_class(parser *p, qw_char_set *out, int letter)
{
    qw_char_set s = {0};
    qw_gram *g = p->g;
    int lower = letter | 32;
    if (lower == 'd' || lower == 'w') qw_char_set_add(g, &s, '0', '9');
    if (lower == 'w') {
        qw_char_set_add(g, &s, 'A', 'Z');
        qw_char_set_add(g, &s, 'a', 'z');
        qw_char_set_add(g, &s, '_', '_');
    }
    if (lower == 's') {
        static const qw_char_range spaces[] = {{9, 13},          {32, 32},         {0xA0, 0xA0},
                                               {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                               {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
                                               {0xFEFF, 0xFEFF}};
        for (size_t i = 0; i < QW_ARRAY_LEN(spaces); i++)
            qw_char_set_add(g, &s, spaces[i].lo, spaces[i].hi);
    }
    qw_char_set_normalize(&s);
    if (letter != lower) s = qw_char_set_invert(g, &s);
    qw_char_set_add_set(g, out, &s);
}

// General categories by their first letter or whole name, as utf8proc numbers them.
static bool category_matches(const char *name, int category)
{
    static const char names[][3] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                    "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                    "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
    if (category < 0 || (size_t)category >= QW_ARRAY_LEN(names)) return false;
    return name[0] == names[category][0] && (name[1] == '\0' || name[1] == names[category][1]);
}

static const char *short_category(qw_str name)
{
    static const char *const known[][2] = {{"Letter", "L"},
                                           {"Lowercase_Letter", "Ll"},
                                           {"Uppercase_Letter", "Lu"},
                                           {"Mark", "M"},
                                           {"Number", "N"},
                                           {"Decimal_Number", "Nd"},
                                           {"Punctuation", "P"},
                                           {"Symbol", "S"},
                                           {"Separator", "Z"},
                                           {"digit", "Nd"},
                                           {"Space_Separator", "Zs"},
                                           {"Other", "C"}};
    static const char letters[][3] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                      "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                      "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                      "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};
    for (size_t i = 0; i < QW_ARRAY_LEN(known); i++)
        if (qw_str_is(name, known[i][0])) return known[i][1];
    for (size_t i = 0; i < QW_ARRAY_LEN(letters); i++)
        if (qw_str_is(name, letters[i])) return letters[i];
    return NULL;
}

// \p{Name} or \P{Name}; the position is behind the letter.
static bool add_property(parser *p, qw_char_set *out, bool negated)
{
    if (!take(p, "{")) return fail(p, QW_ERR_USAGE, "has \\p without {a category}");
    size_t end = qw_str_find(p->text, QW_STR("}"), p->pos);
    if (end == SIZE_MAX) return fail(p, QW_ERR_USAGE, "has \\p{ without }");
    qw_str name = {p->text.ptr + p->pos, end - p->pos};
    if (qw_str_starts_with(name, QW_STR("General_Category=")))
        name = (qw_str){name.ptr + 17, name.len - 17};
    const char *category = short_category(name);
    if (!category)
        return fail(p, QW_ERR_UNSUPPORTED, "has a \\p property that is no general category");
    p->pos = end + 1;
    qw_char_set s = {0};
    if (!qw_pda_spend(p->g->pda, 200000)) return false;
    int32_t from = -1;
    for (int32_t c = 0; c <= QW_CHAR_MAX + 1; c++) {
        bool in = c <= QW_CHAR_MAX && category_matches(category, (int)utf8proc_category(c));
        if (in && from < 0) from = c;
        if (in || from < 0) continue;
        qw_char_set_add(p->g, &s, from, c - 1);
        from = -1;
    }
    qw_char_set_normalize(&s);
    if (negated) s = qw_char_set_invert(p->g, &s);
    qw_char_set_add_set(p->g, out, &s);
    return qw_pda_ok(p->g->pda);
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f') return (c | 32) - 'a' + 10;
    return -1;
}

static int32_t take_hex(parser *p, int n)
{
    int32_t v = 0;
    for (int i = 0; i < n; i++) {
        int h = hex_value(peek(p));
        if (h < 0) {
            (void)fail(p, QW_ERR_USAGE, "has too few hexadecimal digits in an escape");
            return -1;
        }
        v = v * 16 + h;
        p->pos++;
    }
    return v;
}

static int32_t take_unicode(parser *p)
{
    if (take(p, "{")) {
        int32_t v = 0;
        while (hex_value(peek(p)) >= 0 && v <= QW_CHAR_MAX)
            v = v * 16 + hex_value(peek(p)), p->pos++;
        if (v <= QW_CHAR_MAX && take(p, "}")) return v;
        (void)fail(p, QW_ERR_USAGE, "has a \\u{...} that is no code point");
        return -1;
    }
    int32_t v = take_hex(p, 4);
    if (v < 0xD800 || v > 0xDBFF || !take(p, "\\u")) return v;
    int32_t low = take_hex(p, 4);
    if (low < 0xDC00 || low > 0xDFFF) {
        (void)fail(p, QW_ERR_USAGE, "has half a surrogate pair");
        return -1;
    }
    return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
}

// What follows a backslash: one code point, or a class into `out` (then *is_class). -1: failure.
static int32_t escape(parser *p, qw_char_set *out, bool *is_class, bool in_class)
{
    *is_class = false;
    if (at_end(p)) {
        (void)fail(p, QW_ERR_USAGE, "ends in a backslash");
        return -1;
    }
    int32_t c = next_char(p);
    switch (c) {
    case 'd':
    case 'D':
    case 'w':
    case 'W':
    case 's':
    case 'S':
        add_class(p, out, c);
        *is_class = true;
        return 0;
    case 'p':
    case 'P': *is_class = true; return add_property(p, out, c == 'P') ? 0 : -1;
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return in_class ? 7 : 7;
    case '0': return 0;
    case 'x': return take_hex(p, 2);
    case 'u': return take_unicode(p);
    case 'U': return take_hex(p, 8);
    case 'c': {
        int letter = peek(p);
        if ((letter | 32) < 'a' || (letter | 32) > 'z') {
            (void)fail(p, QW_ERR_USAGE, "has \\c without a letter");
            return -1;
        }
        p->pos++;
        return letter & 31;
    }
    case 'b':
        if (in_class) return '\b';
        (void)fail(p, QW_ERR_UNSUPPORTED, "has \\b, which is not supported");
        return -1;
    default:
        if (c >= '1' && c <= '9' && !in_class)
            (void)fail(p, QW_ERR_UNSUPPORTED, "has a back-reference, which is not supported");
        else if ((c | 32) >= 'a' && (c | 32) <= 'z' && c < 128)
            (void)fail(p, QW_ERR_UNSUPPORTED, "has an escape that is not supported");
        else if (c >= 0)
            return c;
        return -1;
    }
}

static bool parse_class(parser *p, qw_char_set *out)
{
    qw_char_set s = {0};
    p->pos++; // [
    bool negated = take(p, "^");
    while (peek(p) != ']') {
        if (at_end(p)) return fail(p, QW_ERR_USAGE, "has [ without ]");
        bool is_class = false;
        int32_t lo = take(p, "\\") ? escape(p, &s, &is_class, true) : next_char(p);
        if (lo < 0) return false;
        if (is_class) continue;
        int32_t hi = lo;
        if (peek(p) == '-' && p->pos + 1 < p->text.len && p->text.ptr[p->pos + 1] != ']') {
            p->pos++;
            hi = take(p, "\\") ? escape(p, &s, &is_class, true) : next_char(p);
            if (hi < 0) return false;
            if (is_class) { // [a-\d]: a hyphen like any other
                qw_char_set_add(p->g, &s, '-', '-');
                hi = lo;
            }
            if (hi < lo) return fail(p, QW_ERR_USAGE, "has a range in the wrong order");
        }
        qw_char_set_add(p->g, &s, lo, hi);
    }
    p->pos++;
    qw_char_set_normalize(&s);
    if (p->ignore_case) qw_char_set_fold(p->g, &s);
    *out = negated ? qw_char_set_invert(p->g, &s) : s;
    return qw_pda_ok(p->g->pda);
}

bool qw_regex_parse_class(qw_gram *g, qw_str text, size_t *pos, qw_char_set *out)
{
    parser p = {.g = g, .text = text, .pos = *pos};
    bool ok = parse_class(&p, out);
    *pos = p.pos;
    return ok;
}

// ---- the grammar: alternatives of sequences of repeated atoms

static qw_regex *parse_alternatives(parser *p);

static qw_regex *parse_group(parser *p)
{
    p->pos++; // (
    if (take(p, "?")) {
        if (take(p, "=") || take(p, "!") || take(p, "<=") || take(p, "<!")) {
            (void)fail(p, QW_ERR_UNSUPPORTED, "has look-around, which is not supported");
            return NULL;
        }
        if (take(p, "P<") || take(p, "<")) {
            while (!at_end(p) && peek(p) != '>') p->pos++;
            if (!take(p, ">")) {
                (void)fail(p, QW_ERR_USAGE, "has a group name without >");
                return NULL;
            }
        } else if (!take(p, ":")) {
            (void)fail(p, QW_ERR_UNSUPPORTED, "has a (?...) that is not supported");
            return NULL;
        }
    }
    if (p->depth++ == QW_REGEX_MAX_DEPTH) {
        (void)fail(p, QW_ERR_USAGE, "has groups nested too deeply");
        return NULL;
    }
    qw_regex *r = parse_alternatives(p);
    p->depth--;
    if (!r) return NULL;
    if (take(p, ")")) return r;
    (void)fail(p, QW_ERR_USAGE, "has ( without )");
    return NULL;
}

static qw_regex *parse_atom(parser *p)
{
    qw_char_set s = {0};
    int c = peek(p);
    if (c == '(') return parse_group(p);
    if (c == '[') return parse_class(p, &s) ? set_node(p, &s) : NULL;
    if (take(p, "^")) return new_node(p, QW_REGEX_BEGIN, NULL, NULL);
    if (take(p, "$")) return new_node(p, QW_REGEX_END, NULL, NULL);
    if (c == '*' || c == '+' || c == '?') {
        (void)fail(p, QW_ERR_USAGE, "repeats nothing");
        return NULL;
    }
    if (take(p, ".")) { // all but the line ends
        qw_char_set_add(p->g, &s, 0, 9);
        qw_char_set_add(p->g, &s, 11, 12);
        qw_char_set_add(p->g, &s, 14, 0x2027);
        qw_char_set_add(p->g, &s, 0x202A, QW_CHAR_MAX);
        return set_node(p, &s);
    }
    bool is_class = false;
    int32_t code;
    if (take(p, "\\")) {
        if (take(p, "A")) return new_node(p, QW_REGEX_BEGIN, NULL, NULL);
        if (take(p, "Z") || take(p, "z")) return new_node(p, QW_REGEX_END, NULL, NULL);
        code = escape(p, &s, &is_class, false);
    } else {
        code = next_char(p);
    }
    if (code < 0) return NULL;
    if (!is_class) qw_char_set_add(p->g, &s, code, code);
    qw_char_set_normalize(&s);
    if (p->ignore_case) qw_char_set_fold(p->g, &s);
    return set_node(p, &s);
}

// {m}, {m,}, {m,n} or {,n}; false: it is none, and the brace an ordinary character.
static bool parse_count(parser *p, int32_t *min, int32_t *max)
{
    size_t at = p->pos + 1;
    int64_t v[2] = {-1, -1};
    int i = 0;
    for (; at < p->text.len; at++) {
        char c = p->text.ptr[at];
        if (c >= '0' && c <= '9') {
            v[i] = (v[i] < 0 ? 0 : v[i]) * 10 + (c - '0');
            if (v[i] > QW_REGEX_MAX_REPEAT) v[i] = QW_REGEX_MAX_REPEAT + 1;
        } else if (c == ',' && i == 0) {
            i = 1;
        } else {
            break;
        }
    }
    if (at >= p->text.len || p->text.ptr[at] != '}' || (v[0] < 0 && v[1] < 0)) return false;
    p->pos = at + 1;
    *min = v[0] < 0 ? 0 : (int32_t)v[0];
    *max = i == 0 ? *min : (int32_t)v[1];
    if (*min > QW_REGEX_MAX_REPEAT || *max > QW_REGEX_MAX_REPEAT)
        (void)fail(p, QW_ERR_USAGE, "repeats something more than 100000 times");
    else if (*max >= 0 && *max < *min)
        (void)fail(p, QW_ERR_USAGE, "has a repetition whose maximum is below its minimum");
    return true;
}

static qw_regex *parse_repeated(parser *p)
{
    qw_regex *r = parse_atom(p);
    for (int n = 0; r && n < 8; n++) {
        int32_t min = 0, max = -1;
        if (take(p, "*")) {
        } else if (take(p, "+")) {
            min = 1;
        } else if (take(p, "?")) {
            max = 1;
        } else if (peek(p) != '{' || !parse_count(p, &min, &max)) {
            return r;
        }
        if (!qw_pda_ok(p->g->pda)) return NULL;
        if (take(p, "+")) {
            (void)fail(p, QW_ERR_UNSUPPORTED, "has a possessive quantifier");
            return NULL;
        }
        (void)take(p, "?"); // lazy: the same language
        qw_regex *repeat = new_node(p, QW_REGEX_REPEAT, r, NULL);
        if (!repeat) return NULL;
        repeat->min = min;
        repeat->max = max;
        r = repeat;
    }
    if (r) (void)fail(p, QW_ERR_USAGE, "has too many quantifiers in a row");
    return NULL;
}

static qw_regex *parse_sequence(parser *p)
{
    qw_regex *all = NULL, **last = &all;
    while (!at_end(p) && peek(p) != '|' && peek(p) != ')') {
        qw_regex *r = parse_repeated(p);
        if (!r) return NULL;
        if (!*last) {
            *last = r;
            continue;
        }
        // A chain to the right: a (b (c ...)).
        qw_regex *cat = new_node(p, QW_REGEX_CAT, *last, r);
        if (!cat) return NULL;
        *last = cat;
        last = &cat->b;
    }
    return all ? all : new_node(p, QW_REGEX_EMPTY, NULL, NULL);
}

static qw_regex *parse_alternatives(parser *p)
{
    qw_regex *all = parse_sequence(p), **last = &all;
    while (all && take(p, "|")) {
        qw_regex *r = parse_sequence(p);
        qw_regex *alt = r ? new_node(p, QW_REGEX_ALT, *last, r) : NULL;
        if (!alt) return NULL;
        *last = alt;
        last = &alt->b;
    }
    return all;
}

qw_regex *qw_regex_parse(qw_gram *g, qw_str text)
{
    parser p = {.g = g, .text = text};
    p.ignore_case = take(&p, "(?i)");
    qw_regex *r = parse_alternatives(&p);
    if (r && !at_end(&p)) {
        (void)fail(&p, QW_ERR_USAGE, "has ) without (");
        return NULL;
    }
    return qw_pda_ok(g->pda) ? r : NULL;
}
