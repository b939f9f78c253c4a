// Grammars in the EBNF that xgrammar and llama.cpp read:
//
//   root  ::= "say " name ("," name){0,3} "."   # a comment
//   name  ::= [A-Za-z]+ | "\u4f60"
//
// Literals and classes have the escapes of regular expressions; a rule goes on over lines until
// the next `name ::=`.

#include "grammar/grammar_sources.h"

enum { MAX_DEPTH = 200, MAX_EBNF_RULES = 20000, MAX_REPEAT = 20000 };

typedef struct ebnf_rule {
    qw_str name;
    int32_t rule;
    bool defined;
    struct ebnf_rule *next;
} ebnf_rule;

typedef struct ebnf {
    qw_gram *g;
    qw_pda *p;
    qw_str text;
    size_t pos;
    ebnf_rule *rules;
    size_t n_rules;
    int depth;
} ebnf;

static void fail(ebnf *e, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < e->pos && i < e->text.len; i++) line += e->text.ptr[i] == '\n';
    qw_pda_fail(e->p, QW_ERR_USAGE, "the grammar %s, in line %zu", what, line);
}

static int peek(const ebnf *e)
{
    return e->pos < e->text.len ? (uint8_t)e->text.ptr[e->pos] : -1;
}

static void skip_space(ebnf *e)
{
    for (;;) {
        int c = peek(e);
        if (c == '#')
            while (peek(e) >= 0 && peek(e) != '\n') e->pos++;
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            e->pos++;
        else
            return;
    }
}

static bool take(ebnf *e, const char *what)
{
    size_t n = strlen(what);
    if (n > e->text.len || e->pos > e->text.len - n) return false;
    if (memcmp(e->text.ptr + e->pos, what, n) != 0) return false;
    e->pos += n;
    return true;
}

static bool is_name_byte(int c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && ((c >= '0' && c <= '9') || c == '-' || c == '.'));
}

static qw_str take_name(ebnf *e)
{
    size_t begin = e->pos;
    while (is_name_byte(peek(e), e->pos == begin)) e->pos++;
    return (qw_str){e->text.ptr + begin, e->pos - begin};
}

// True if a rule's definition begins here; the position stays.
static bool at_definition(ebnf *e)
{
    size_t saved = e->pos;
    bool is_it = take_name(e).len > 0;
    if (is_it) skip_space(e);
    is_it = is_it && take(e, "::=");
    e->pos = saved;
    return is_it;
}

static ebnf_rule *find_rule(ebnf *e, qw_str name)
{
    for (ebnf_rule *r = e->rules; r && qw_pda_spend(e->p, 1); r = r->next)
        if (qw_str_eq(r->name, name)) return r;
    if (e->n_rules++ == MAX_EBNF_RULES) fail(e, "has too many rules");
    ebnf_rule *r = qw_gram_alloc(e->g, 1, sizeof *r);
    int32_t rule = qw_pda_rule_new(e->p);
    if (!r || !qw_pda_ok(e->p)) return NULL;
    e->p->rules[rule].name = name;
    *r = (ebnf_rule){.name = name, .rule = rule, .next = e->rules};
    e->rules = r;
    return r;
}

static int hex(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A character of a literal, as UTF-8 into `out`; its length, 0: failure.
static int literal_char(ebnf *e, char out[4])
{
    if (!take(e, "\\")) {
        out[0] = e->text.ptr[e->pos++];
        return 1;
    }
    int c = peek(e), n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    static const char plain[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'b', '\b'},
                                    {'f', '\f'}, {'v', '\v'}, {'0', '\0'}, {'a', '\a'}};
    e->pos++;
    for (size_t i = 0; i < QW_ARRAY_LEN(plain); i++)
        if (plain[i][0] == c) return out[0] = plain[i][1], 1;
    if (n_hex == 0) {
        if (c > ' ' && c < 127 && !is_name_byte(c, true)) return out[0] = (char)c, 1;
        fail(e, "has an unknown escape");
        return 0;
    }
    int64_t code = 0;
    for (int i = 0; i < n_hex; i++, e->pos++) {
        if (hex(peek(e)) < 0) {
            fail(e, "has too few hexadecimal digits in an escape");
            return 0;
        }
        code = code * 16 + hex(peek(e));
    }
    if (code > QW_CHAR_MAX || (code >= 0xD800 && code <= 0xDFFF)) {
        fail(e, "has an escape that is no character");
        return 0;
    }
    return qw_utf8_put(out, (int32_t)code);
}

static void put_literal(ebnf *e, int32_t from, int32_t to)
{
    char quote = e->text.ptr[e->pos++], bytes[4];
    while (peek(e) != quote && qw_pda_ok(e->p)) {
        if (peek(e) < 0 || peek(e) == '\n') {
            fail(e, "has a literal without its closing quote");
            return;
        }
        int n = literal_char(e, bytes);
        int32_t next = qw_pda_node_new(e->p);
        if (n) qw_pda_literal(e->p, from, (qw_str){bytes, (size_t)n}, next);
        from = next;
    }
    e->pos++;
    qw_pda_empty(e->p, from, to);
}

static void put_set(ebnf *e, qw_char_set *set, int32_t from, int32_t to)
{
    const qw_regex r = {.kind = QW_REGEX_SET, .set = *set};
    qw_char_dfa d = qw_dfa_of_regex(e->g, &r, false);
    qw_dfa_spell(e->g, &d, QW_SPELL_UTF8, 0, from, to);
}

static void put_alternatives(ebnf *e, int32_t from, int32_t to, char end);

static void put_atom(ebnf *e, int32_t from, int32_t to)
{
    int c = peek(e);
    qw_char_set set = {0};
    if (c == '"' || c == '\'') {
        put_literal(e, from, to);
    } else if (c == '[') {
        if (qw_regex_parse_class(e->g, e->text, &e->pos, &set)) put_set(e, &set, from, to);
    } else if (c == '.') {
        e->pos++;
        qw_char_set_add(e->g, &set, 0, QW_CHAR_MAX);
        put_set(e, &set, from, to);
    } else if (c == '(') {
        e->pos++;
        if (peek(e) == '=' || peek(e) == '!' || peek(e) == '?')
            fail(e, "has a look-ahead, which is not supported");
        else if (e->depth++ == MAX_DEPTH)
            fail(e, "has groups nested too deeply");
        else
            put_alternatives(e, from, to, ')');
        e->depth--;
    } else if (is_name_byte(c, true)) {
        ebnf_rule *r = find_rule(e, take_name(e));
        if (peek(e) == '(')
            fail(e, "has a macro, which is not supported");
        else if (r)
            qw_pda_call(e->p, from, r->rule, to);
    } else {
        fail(e, c < 0 ? "ends too early" : "has an unexpected character");
    }
}

static bool take_number(ebnf *e, int64_t *out)
{
    size_t begin = e->pos;
    *out = 0;
    for (; peek(e) >= '0' && peek(e) <= '9'; e->pos++)
        if (*out <= MAX_REPEAT) *out = *out * 10 + (peek(e) - '0');
    return e->pos > begin;
}

// {m}, {m,} or {m,n}, behind the brace.
static bool take_count(ebnf *e, int64_t *min, int64_t *max)
{
    skip_space(e);
    if (!take_number(e, min)) *min = 0;
    *max = *min;
    skip_space(e);
    if (take(e, ",")) {
        skip_space(e);
        if (!take_number(e, max)) *max = -1;
        skip_space(e);
    }
    bool ok = take(e, "}") && (*max < 0 || *max >= *min);
    if (!ok)
        fail(e, "has a repetition that is not {m}, {m,} or {m,n}");
    else if (*min > MAX_REPEAT || *max > MAX_REPEAT)
        fail(e, "repeats something more than 20000 times");
    return qw_pda_ok(e->p);
}

// An atom and what repeats it: the atom becomes a rule that is called as often as needed.
static void put_repeated(ebnf *e, int32_t from, int32_t to)
{
    int32_t rule = qw_pda_rule_new(e->p);
    if (!qw_pda_ok(e->p)) return;
    put_atom(e, e->p->rules[rule].start, e->p->rules[rule].end);
    for (int n = 0; qw_pda_ok(e->p); n++) {
        int64_t min = 0, max = -1;
        if (take(e, "*")) {
        } else if (take(e, "+")) {
            min = 1;
        } else if (take(e, "?")) {
            max = 1;
        } else if (!take(e, "{")) {
            break;
        } else if (!take_count(e, &min, &max)) {
            return;
        }
        int32_t outer = qw_pda_rule_new(e->p);
        if (!qw_pda_ok(e->p)) return;
        int32_t at = e->p->rules[outer].start, end = e->p->rules[outer].end;
        for (int64_t i = 0; i < min && qw_pda_ok(e->p); i++) {
            int32_t next = qw_pda_node_new(e->p);
            qw_pda_call(e->p, at, rule, next);
            at = next;
        }
        if (max < 0) {
            int32_t loop = qw_pda_node_new(e->p);
            qw_pda_empty(e->p, at, loop);
            qw_pda_call(e->p, loop, rule, loop);
            at = loop;
        }
        for (int64_t i = min; i < max && qw_pda_ok(e->p); i++) {
            int32_t next = qw_pda_node_new(e->p);
            qw_pda_empty(e->p, at, end);
            qw_pda_call(e->p, at, rule, next);
            at = next;
        }
        qw_pda_empty(e->p, at, end);
        rule = outer;
        if (n == 8) fail(e, "has too many repetitions of one thing");
    }
    qw_pda_call(e->p, from, rule, to);
}

static void put_sequence(ebnf *e, int32_t from, int32_t to)
{
    while (qw_pda_ok(e->p)) {
        skip_space(e);
        int c = peek(e);
        if (c < 0 || c == '|' || c == ')' || at_definition(e)) break;
        int32_t next = qw_pda_node_new(e->p);
        put_repeated(e, from, next);
        from = next;
    }
    qw_pda_empty(e->p, from, to);
}

static void put_alternatives(ebnf *e, int32_t from, int32_t to, char end)
{
    do {
        int32_t begin = qw_pda_node_new(e->p);
        qw_pda_empty(e->p, from, begin);
        put_sequence(e, begin, to);
        skip_space(e);
    } while (qw_pda_ok(e->p) && take(e, "|"));
    if (end && qw_pda_ok(e->p) && !take(e, ")")) fail(e, "has ( without )");
}

void qw_source_ebnf(qw_gram *g, qw_str text, int32_t from, int32_t to)
{
    ebnf e = {.g = g, .p = g->pda, .text = text};
    if (!text.ptr || !qw_utf8_is_valid(text)) {
        qw_pda_fail(g->pda, QW_ERR_USAGE, "the grammar must be UTF-8 text");
        return;
    }
    for (skip_space(&e); e.pos < text.len && qw_pda_ok(e.p); skip_space(&e)) {
        if (!at_definition(&e)) {
            fail(&e, "must consist of rules `name ::= ...`");
            return;
        }
        ebnf_rule *r = find_rule(&e, take_name(&e));
        skip_space(&e);
        (void)take(&e, "::=");
        if (!r) return;
        r->defined = true;
        qw_pda_rule rule = e.p->rules[r->rule];
        put_alternatives(&e, rule.start, rule.end, '\0');
        if (peek(&e) == ')') fail(&e, "has ) without (");
    }
    ebnf_rule *root = NULL;
    for (ebnf_rule *r = e.rules; r && qw_pda_ok(e.p); r = r->next) {
        if (qw_str_is(r->name, "root")) root = r;
        if (!r->defined)
            qw_pda_fail(e.p, QW_ERR_USAGE, "the grammar uses rule '%.*s' but does not define it",
                        (int)(r->name.len < 60 ? r->name.len : 60), r->name.ptr);
    }
    if (!root || !root->defined)
        qw_pda_fail(e.p, QW_ERR_USAGE, "the grammar has no rule `root ::= ...`");
    else
        qw_pda_call(e.p, from, root->rule, to);
}
