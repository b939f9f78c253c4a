// Strings: every keyword is a set of texts (char_dfa.h); what is left of them is spelled inside of
// quotes, each character also by its escapes.

#include "grammar/json_schema_internal.h"

qw_char_dfa qw_schema_pattern(qw_schema *s, qw_str pattern, bool search)
{
    const qw_regex *r = qw_regex_parse(s->g, pattern);
    return qw_dfa_of_regex(s->g, r, search);
}

int64_t qw_schema_count(qw_schema *s, const json_t *schema, const char *keyword, int64_t def)
{
    const json_t *v = json_object_get(schema, keyword);
    if (!v) return def;
    double real = json_is_real(v) ? json_real_value(v) : -1;
    if (json_is_integer(v) && json_integer_value(v) >= 0) return json_integer_value(v);
    if (real >= 0 && real < 1e15 && real == (double)(int64_t)real) return (int64_t)real;
    qw_pda_fail(s->p, QW_ERR_USAGE, "'%s' must be a non-negative integer", keyword);
    return def;
}

int64_t qw_schema_most(qw_schema *s, const qw_conj *leaf, const char *keyword)
{
    int64_t most = -1;
    for (size_t i = 0; i < leaf->n; i++) {
        int64_t n = qw_schema_count(s, leaf->parts[i], keyword, -1);
        if (n > most) most = n;
    }
    return most;
}

int64_t qw_schema_least(qw_schema *s, const qw_conj *leaf, const char *keyword)
{
    int64_t least = -1;
    for (size_t i = 0; i < leaf->n; i++) {
        int64_t n = qw_schema_count(s, leaf->parts[i], keyword, -1);
        if (n >= 0 && (least < 0 || n < least)) least = n;
    }
    return least;
}

static void narrow(qw_schema *s, qw_char_dfa *d, bool *is_any, qw_char_dfa by)
{
    *d = *is_any ? by : qw_dfa_join_of(s->g, d, &by, QW_DFA_AND);
    *is_any = false;
}

static qw_str text_keyword(qw_schema *s, const json_t *schema, const char *keyword)
{
    const json_t *v = json_object_get(schema, keyword);
    if (v && !qw_json_is_text(v)) qw_pda_fail(s->p, QW_ERR_USAGE, "'%s' must be a string", keyword);
    return qw_json_is_text(v) ? qw_json_str(v) : (qw_str){NULL, 0};
}

static void narrow_by_format(qw_schema *s, qw_str format, qw_char_dfa *d, bool *is_any)
{
    const char *pattern = qw_json_format_pattern(format);
    if (!pattern) {
        qw_pda_fail(s->p, QW_ERR_UNSUPPORTED, "the JSON schema format '%.40s' is not supported",
                    format.ptr);
        return;
    }
    narrow(s, d, is_any, qw_schema_pattern(s, qw_str_of(pattern), false));
    if (qw_str_is(format, "hostname")) narrow(s, d, is_any, qw_dfa_of_length(s->g, 1, 253));
}

qw_char_dfa qw_schema_string_dfa(qw_schema *s, const qw_conj *leaf, bool *is_any)
{
    qw_char_dfa d = {0};
    *is_any = true;
    for (size_t i = 0; i < leaf->n && qw_pda_ok(s->p); i++) {
        qw_str pattern = text_keyword(s, leaf->parts[i], "pattern");
        qw_str format = text_keyword(s, leaf->parts[i], "format");
        if (pattern.ptr) narrow(s, &d, is_any, qw_schema_pattern(s, pattern, true));
        if (format.ptr) narrow_by_format(s, format, &d, is_any);
    }
    int64_t min = qw_schema_most(s, leaf, "minLength"), max = qw_schema_least(s, leaf, "maxLength");
    if (max >= 0 && min > max) {
        *is_any = false;
        return (qw_char_dfa){0};
    }
    if (min > 0 || max >= 0) narrow(s, &d, is_any, qw_dfa_of_length(s->g, min > 0 ? min : 0, max));
    return d;
}

void qw_schema_quoted(qw_schema *s, const qw_char_dfa *d, qw_dfa_spelling spelling, int32_t from,
                      int32_t to)
{
    if (qw_dfa_is_empty(d)) return;
    int32_t open = qw_pda_node_new(s->p), close = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, from, '"', '"', open);
    qw_dfa_spell(s->g, d, spelling, s->style->max_token, open, close);
    qw_pda_bytes(s->p, close, '"', '"', to);
}

// The constraints as text: equal ones share a rule.
static qw_str constraints_key(qw_schema *s, const qw_conj *leaf)
{
    static const char *const keywords[] = {"minLength", "maxLength", "pattern", "format"};
    qw_buf b;
    qw_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < leaf->n; i++)
        for (size_t k = 0; k < QW_ARRAY_LEN(keywords); k++) {
            const json_t *v = json_object_get(leaf->parts[i], keywords[k]);
            if (!v) continue;
            qw_buf_printf(&b, "%zu=", k);
            qw_json_write(&b, v, true);
        }
    qw_str key = {NULL, b.len};
    if (b.failed == QW_ERR_NO_MEMORY)
        qw_pda_fail_memory(s->p);
    else if (b.failed != QW_OK)
        qw_pda_fail(s->p, QW_ERR_USAGE, "a string of the schema has too long constraints");
    else if (b.len == 0)
        key.ptr = "";
    else {
        char *copy = qw_gram_alloc(s->g, b.len, 1);
        if (copy) memcpy(copy, b.data, b.len);
        key.ptr = copy;
    }
    qw_buf_release(&b);
    return key;
}

void qw_schema_string(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to)
{
    qw_str key = constraints_key(s, leaf);
    if (!qw_pda_ok(s->p)) return;
    for (const qw_string_rule *r = s->strings; r && qw_pda_spend(s->p, 1); r = r->next)
        if (qw_str_eq(r->key, key)) {
            qw_pda_call(s->p, from, r->rule, to);
            return;
        }
    bool is_any;
    qw_char_dfa d = qw_schema_string_dfa(s, leaf, &is_any);
    if (is_any) d = qw_dfa_of_length(s->g, 0, -1);
    // A format is ASCII, mostly, and need not be escaped.
    bool has_format = false;
    for (size_t i = 0; i < leaf->n; i++)
        has_format = has_format || json_object_get(leaf->parts[i], "format");
    qw_string_rule *r = qw_gram_alloc(s->g, 1, sizeof *r);
    int32_t rule = qw_pda_rule_new(s->p);
    if (!r || !qw_pda_ok(s->p)) return;
    *r = (qw_string_rule){.key = key, .rule = rule, .next = s->strings};
    s->strings = r;
    qw_schema_quoted(s, &d, has_format ? QW_SPELL_JSON_LITERAL : QW_SPELL_JSON,
                     s->p->rules[rule].start, s->p->rules[rule].end);
    qw_pda_call(s->p, from, rule, to);
}

// Any text without `</parameter>`: where a suffix is the beginning of the tag is the state.
static void put_until_tag(qw_schema *s, int32_t from, int32_t to)
{
    static const char tag[] = "</parameter>"; // its bytes are all different where it matters: '<'
    enum { N = sizeof tag - 1 };
    int32_t nodes[N];
    for (int i = 0; i < N; i++) nodes[i] = qw_pda_node_new(s->p);
    qw_pda_empty(s->p, from, nodes[0]);
    for (int i = 0; i < N; i++) {
        uint8_t next = (uint8_t)tag[i];
        qw_pda_empty(s->p, nodes[i], to);
        if (i + 1 < N) qw_pda_bytes(s->p, nodes[i], next, next, nodes[i + 1]);
        if (i > 0) qw_pda_bytes(s->p, nodes[i], '<', '<', nodes[1]);
        for (int b = 0; b < 256;) { // all others begin anew
            int hi = b;
            if (b == next || b == '<') {
                b++;
                continue;
            }
            while (hi < 255 && hi + 1 != next && hi + 1 != '<') hi++;
            qw_pda_bytes(s->p, nodes[i], (uint8_t)b, (uint8_t)hi, nodes[0]);
            b = hi + 1;
        }
    }
}

void qw_schema_raw_string(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to)
{
    bool is_any;
    qw_char_dfa d = qw_schema_string_dfa(s, leaf, &is_any);
    if (is_any)
        put_until_tag(s, from, to);
    else
        qw_dfa_spell(s->g, &d, QW_SPELL_UTF8, s->style->max_token, from, to);
}

// ---- the strings of a conjunction, for the names of members and to tell alternatives apart

static qw_char_dfa leaf_texts(qw_schema *s, const qw_conj *leaf)
{
    const json_t *list = NULL;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *e = json_object_get(leaf->parts[i], "enum");
        const json_t *c = json_object_get(leaf->parts[i], "const");
        if (c && !qw_json_is_text(c)) return (qw_char_dfa){0};
        if (c) {
            qw_str text = qw_json_str(c);
            return qw_schema_valid_leaf(s, leaf, c) ? qw_dfa_of_texts(s->g, &text, 1)
                                                    : (qw_char_dfa){0};
        }
        if (json_is_array(e)) list = e;
    }
    if (!(qw_schema_types(s, leaf) & QW_JSON_STRING)) return (qw_char_dfa){0};
    if (!list) {
        bool is_any;
        qw_char_dfa d = qw_schema_string_dfa(s, leaf, &is_any);
        return is_any ? qw_dfa_of_length(s->g, 0, -1) : d;
    }
    size_t n = 0;
    qw_str *texts = qw_gram_alloc(s->g, json_array_size(list), sizeof *texts);
    for (size_t i = 0; texts && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (qw_json_is_text(v) && qw_schema_valid_leaf(s, leaf, v)) texts[n++] = qw_json_str(v);
    }
    return texts ? qw_dfa_of_texts(s->g, texts, n) : (qw_char_dfa){0};
}

qw_char_dfa qw_schema_texts(qw_schema *s, const qw_conj *c)
{
    qw_leaves l = qw_schema_leaves(s, c);
    qw_char_dfa all = {0};
    for (size_t i = 0; i < l.n && qw_pda_ok(s->p); i++) {
        qw_char_dfa one = leaf_texts(s, &l.leaves[i]);
        all = i == 0 ? one : qw_dfa_join_of(s->g, &all, &one, QW_DFA_OR);
    }
    return all;
}
