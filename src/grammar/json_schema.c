// JSON schemas as automata. A place in a document has to satisfy a set of schemas (a conjunction):
// its own, what $ref and allOf add, and what schemas further up say about members and items. Each
// set becomes one rule, so recursion in the schema is recursion in the automaton and ends as soon
// as the sets repeat. anyOf and oneOf part a set into alternatives.

#include "grammar/json_schema_internal.h"

enum { MAX_LEAVES = 2000, MAX_RULES = 50000 };

/** A rule that was promised and whose nodes are to be made. */
typedef struct qw_schema_todo {
    qw_conj conj;
    int32_t rule;
    bool xml;
    struct qw_schema_todo *next;
} todo;

void qw_schema_refuse(qw_schema *s, const char *keyword, const char *why)
{
    qw_pda_fail(s->p, QW_ERR_UNSUPPORTED, "the JSON schema keyword '%s' is not supported%s%s",
                keyword, why ? " " : "", why ? why : "");
}

void qw_conj_add(qw_schema *s, qw_conj *c, const json_t *schema)
{
    if (json_is_true(schema)) return;
    if (json_is_false(schema)) {
        c->never = true;
        return;
    }
    if (!json_is_object(schema)) {
        qw_pda_fail(s->p, QW_ERR_USAGE, "a JSON schema must be an object or a boolean, not %s",
                    qw_json_type_name(schema));
        return;
    }
    if (json_object_size(schema) == 0) return;
    for (size_t i = 0; i < c->n; i++)
        if (c->parts[i] == schema) return;
    if (!qw_pda_spend(s->p, c->n + 1)) return;
    const json_t **grown =
        qw_gram_grow(s->g, (void *)(uintptr_t)c->parts, c->n, &c->cap, sizeof *grown);
    if (!grown) return;
    c->parts = grown;
    c->parts[c->n++] = schema;
}

static qw_conj copy_conj(qw_schema *s, const qw_conj *c)
{
    qw_conj out = {.never = c->never, .n = c->n, .cap = c->n + 4};
    out.parts = qw_gram_alloc(s->g, out.cap, sizeof *out.parts);
    if (!out.parts) return (qw_conj){0};
    if (c->n) memcpy(out.parts, c->parts, c->n * sizeof *out.parts);
    return out;
}

// ---- references

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One token of a JSON pointer in a URI fragment: %XX, then ~1 and ~0.
static qw_str pointer_token(qw_schema *s, qw_str raw)
{
    char *out = qw_gram_alloc(s->g, raw.len + 1, 1);
    size_t n = 0, m = 0;
    if (!out) return (qw_str){NULL, 0};
    for (size_t i = 0; i < raw.len; i++) {
        bool is_hex = raw.ptr[i] == '%' && i + 2 < raw.len && hex(raw.ptr[i + 1]) >= 0 &&
                      hex(raw.ptr[i + 2]) >= 0;
        out[n++] = is_hex ? (char)(hex(raw.ptr[i + 1]) * 16 + hex(raw.ptr[i + 2])) : raw.ptr[i];
        if (is_hex) i += 2;
    }
    for (size_t i = 0; i < n; i++) {
        bool escaped = out[i] == '~' && i + 1 < n && (out[i + 1] == '0' || out[i + 1] == '1');
        out[m++] = escaped ? (out[i + 1] == '1' ? '/' : '~') : out[i];
        if (escaped) i++;
    }
    return (qw_str){out, m};
}

static const json_t *follow_pointer(qw_schema *s, qw_str pointer)
{
    const json_t *at = s->root;
    for (size_t pos = 0; at && pos < pointer.len;) {
        size_t end = qw_str_find(pointer, QW_STR("/"), pos + 1);
        if (end == SIZE_MAX) end = pointer.len;
        qw_str token = pointer_token(s, (qw_str){pointer.ptr + pos + 1, end - pos - 1});
        int64_t index;
        if (!token.ptr) return NULL;
        if (json_is_object(at))
            at = json_object_getn(at, token.ptr, token.len);
        else if (json_is_array(at) && qw_str_to_i64(token, &index) && index >= 0)
            at = json_array_get(at, (size_t)index);
        else
            at = NULL;
        pos = end;
    }
    return at;
}

// The object with this $anchor, anywhere. Depth is limited by the parser of JSON.
static const json_t *find_anchor(const json_t *v, qw_str name)
{
    const char *key;
    json_t *member;
    size_t i;
    const json_t *found = NULL;
    if (json_is_array(v)) {
        json_array_foreach(v, i, member) if (!found) found = find_anchor(member, name);
        return found;
    }
    if (!json_is_object(v)) return NULL;
    const json_t *anchor = json_object_get(v, "$anchor");
    if (qw_json_is_text(anchor) && qw_str_eq(qw_json_str(anchor), name)) return v;
    json_object_foreach((json_t *)(uintptr_t)v, key, member)
    {
        if (found || strcmp(key, "enum") == 0 || strcmp(key, "const") == 0) continue; // no schemas
        found = find_anchor(member, name);
    }
    return found;
}

const json_t *qw_schema_resolve(qw_schema *s, const json_t *ref)
{
    if (!qw_json_is_text(ref)) {
        qw_pda_fail(s->p, QW_ERR_USAGE, "'$ref' must be a string");
        return NULL;
    }
    qw_str text = qw_json_str(ref);
    const json_t *id = json_object_get(s->root, "$id");
    if (qw_json_is_text(id) && qw_str_starts_with(text, qw_json_str(id)) &&
        (text.len == qw_json_str(id).len || text.ptr[qw_json_str(id).len] == '#')) {
        text.ptr += qw_json_str(id).len;
        text.len -= qw_json_str(id).len;
    } else if (text.len > 0 && text.ptr[0] != '#') {
        qw_pda_fail(s->p, QW_ERR_UNSUPPORTED,
                    "'$ref' to '%.100s' is not supported: only references inside of the schema are",
                    text.ptr);
        return NULL;
    }
    if (s->has_inner_ids) {
        qw_schema_refuse(s, "$id", "inside of a schema that uses $ref");
        return NULL;
    }
    if (text.len <= 1) return s->root;
    qw_str fragment = {text.ptr + 1, text.len - 1};
    const json_t *found =
        fragment.ptr[0] == '/' ? follow_pointer(s, fragment) : find_anchor(s->root, fragment);
    if (!found)
        qw_pda_fail(s->p, QW_ERR_USAGE, "'$ref' to '%.100s': the schema has nothing there",
                    text.ptr);
    return found;
}

// ---- alternatives

typedef struct branch {
    qw_conj plain, pending, choices, open;
    qw_conj hidden; /* references beside which nothing counts */
} branch;

// Keywords that are decided here: whatever type the value has.
static void check_keywords(qw_schema *s, const json_t *schema)
{
    static const char *const never[] = {"not", "$dynamicRef", "$recursiveRef"};
    for (size_t i = 0; i < QW_ARRAY_LEN(never); i++)
        if (json_object_get(schema, never[i])) qw_schema_refuse(s, never[i], NULL);
    if (json_object_get(schema, "if") &&
        (json_object_get(schema, "then") || json_object_get(schema, "else")))
        qw_schema_refuse(s, "if", NULL);
}

static const json_t *alternatives_of(const json_t *schema)
{
    const json_t *any = json_object_get(schema, "anyOf");
    return any ? any : json_object_get(schema, "oneOf");
}

// Take one pending schema into a branch. False: the branch is impossible.
static bool take_pending(qw_schema *s, branch *b)
{
    const json_t *schema = b->pending.parts[--b->pending.n];
    // An alternative that is, without reading anything, the schema it is an alternative of: what
    // it would allow is what the other alternatives allow.
    for (size_t i = 0; i < b->open.n; i++)
        if (b->open.parts[i] == schema) return false;
    for (size_t i = 0; i < b->plain.n; i++)
        if (b->plain.parts[i] == schema) return true;
    for (size_t i = 0; i < b->hidden.n; i++)
        if (b->hidden.parts[i] == schema) return true;
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref) {
        const json_t *target = qw_schema_resolve(s, ref);
        if (!target) return false;
        qw_conj_add(s, &b->pending, target);
        if (s->ref_hides) {
            qw_conj_add(s, &b->hidden, schema);
            return !b->pending.never;
        }
    }
    qw_conj_add(s, &b->plain, schema);
    check_keywords(s, schema);
    const json_t *all = json_object_get(schema, "allOf");
    if (all && !json_is_array(all)) qw_pda_fail(s->p, QW_ERR_USAGE, "'allOf' must be a list");
    for (size_t i = json_array_size(all); i-- > 0;)
        qw_conj_add(s, &b->pending, json_array_get(all, i));
    if (json_object_get(schema, "anyOf") && json_object_get(schema, "oneOf"))
        qw_schema_refuse(s, "oneOf", "beside anyOf");
    if (alternatives_of(schema)) qw_conj_add(s, &b->choices, schema);
    return !b->pending.never && qw_pda_ok(s->p);
}

// oneOf is anyOf when no two alternatives can hold at once.
static void check_one_of(qw_schema *s, const json_t *schema)
{
    const json_t *one = json_object_get(schema, "oneOf");
    for (size_t i = 0; i < s->checked.n; i++)
        if (s->checked.parts[i] == schema) return;
    qw_conj_add(s, &s->checked, schema);
    for (size_t i = 0; i < json_array_size(one); i++)
        for (size_t k = 0; k < i && qw_pda_ok(s->p); k++) {
            qw_conj a = {0}, b = {0};
            qw_conj_add(s, &a, json_array_get(one, i));
            qw_conj_add(s, &b, json_array_get(one, k));
            if (!qw_schema_disjoint(s, &a, &b))
                qw_schema_refuse(s, "oneOf",
                                 "when a value may match several alternatives; use anyOf, or tell "
                                 "them apart by a required constant");
        }
}

static void add_leaves(qw_schema *s, branch *b, qw_leaves *out, int depth)
{
    while (b->pending.n > 0)
        if (!take_pending(s, b)) return;
    if (!qw_pda_ok(s->p)) return;
    if (b->choices.n == 0) {
        qw_conj *grown = qw_gram_grow(s->g, out->leaves, out->n, &out->cap, sizeof *grown);
        if (!grown) return;
        out->leaves = grown;
        out->leaves[out->n++] = b->plain;
        if (out->n > MAX_LEAVES)
            qw_pda_fail(s->p, QW_ERR_USAGE,
                        "the JSON schema has too many combinations of alternatives");
        return;
    }
    if (depth == QW_SCHEMA_MAX_DEPTH) {
        qw_pda_fail(s->p, QW_ERR_USAGE, "the JSON schema has alternatives nested too deeply");
        return;
    }
    const json_t *schema = b->choices.parts[--b->choices.n], *list = alternatives_of(schema);
    if (!json_is_array(list) || json_array_size(list) == 0) {
        qw_pda_fail(s->p, QW_ERR_USAGE, "'anyOf' and 'oneOf' must be lists, and not empty");
        return;
    }
    check_one_of(s, schema);
    for (size_t i = 0; i < json_array_size(list) && qw_pda_ok(s->p); i++) {
        branch next = {.plain = copy_conj(s, &b->plain),
                       .choices = copy_conj(s, &b->choices),
                       .hidden = copy_conj(s, &b->hidden),
                       .open = copy_conj(s, &b->open)};
        qw_conj_add(s, &next.open, schema);
        qw_conj_add(s, &next.pending, json_array_get(list, i));
        if (!next.pending.never) add_leaves(s, &next, out, depth + 1);
    }
}

qw_leaves qw_schema_leaves(qw_schema *s, const qw_conj *c)
{
    qw_leaves out = {0};
    branch b = {0};
    if (c->never || !qw_pda_ok(s->p)) return out;
    for (size_t i = c->n; i-- > 0;) qw_conj_add(s, &b.pending, c->parts[i]);
    add_leaves(s, &b, &out, 0);
    return out;
}

unsigned qw_schema_types(qw_schema *s, const qw_conj *leaf)
{
    static const struct {
        const char *name;
        unsigned types;
    } names[] = {{"null", QW_JSON_NULL},       {"boolean", QW_JSON_BOOLEAN},
                 {"integer", QW_JSON_INTEGER}, {"number", QW_JSON_INTEGER | QW_JSON_FRACTION},
                 {"string", QW_JSON_STRING},   {"array", QW_JSON_ARRAY},
                 {"object", QW_JSON_OBJECT}};
    unsigned types = QW_JSON_ALL;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *type = json_object_get(leaf->parts[i], "type");
        if (!type) continue;
        unsigned allowed = 0;
        size_t n = json_is_array(type) ? json_array_size(type) : 1;
        for (size_t k = 0; k < n; k++) {
            const json_t *one = json_is_array(type) ? json_array_get(type, k) : type;
            size_t j = 0;
            while (j < QW_ARRAY_LEN(names) &&
                   !(qw_json_is_text(one) && qw_str_is(qw_json_str(one), names[j].name)))
                j++;
            if (j < QW_ARRAY_LEN(names))
                allowed |= names[j].types;
            else
                qw_pda_fail(s->p, QW_ERR_USAGE, "a JSON schema has the unknown type '%.40s'",
                            qw_json_is_text(one) ? json_string_value(one) : qw_json_type_name(one));
        }
        types &= allowed;
    }
    return types;
}

// ---- white space and separators

int32_t qw_schema_space(qw_schema *s, int32_t from)
{
    if (s->style->compact) return from;
    int32_t node = qw_pda_node_new(s->p);
    if (s->space_rule != QW_PDA_NO_RULE) {
        qw_pda_call(s->p, from, s->space_rule, node);
        return node;
    }
    qw_pda_empty(s->p, from, node);
    qw_pda_bytes(s->p, node, ' ', ' ', node);
    qw_pda_bytes(s->p, node, '\t', '\n', node);
    qw_pda_bytes(s->p, node, '\r', '\r', node);
    return node;
}

int32_t qw_schema_separator(qw_schema *s, int32_t from, char c)
{
    from = qw_schema_space(s, from);
    int32_t node = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, from, (uint8_t)c, (uint8_t)c, node);
    if (!s->style->compact) return qw_schema_space(s, node);
    int32_t space = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, node, ' ', ' ', space);
    return space;
}

// ---- enums

static void put_value(qw_schema *s, const json_t *v, int32_t from, int32_t to);

static int32_t put_key(qw_schema *s, const char *key, size_t len, int32_t from)
{
    int32_t node = qw_pda_node_new(s->p);
    qw_str text = {key, len};
    qw_char_dfa d = qw_dfa_of_texts(s->g, &text, 1);
    qw_schema_quoted(s, &d, QW_SPELL_JSON_LITERAL, from, node);
    return qw_schema_separator(s, node, ':');
}

static void put_object(qw_schema *s, const json_t *v, int32_t from, int32_t to)
{
    const char *key;
    size_t len, i = 0;
    json_t *member;
    int32_t at = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, from, '{', '{', at);
    at = qw_schema_space(s, at);
    json_object_keylen_foreach((json_t *)(uintptr_t)v, key, len, member)
    {
        if (i++ > 0) at = qw_schema_separator(s, at, ',');
        int32_t next = qw_pda_node_new(s->p);
        put_value(s, member, put_key(s, key, len, at), next);
        at = next;
    }
    if (i > 0) at = qw_schema_space(s, at);
    qw_pda_bytes(s->p, at, '}', '}', to);
}

static void put_array(qw_schema *s, const json_t *v, int32_t from, int32_t to)
{
    size_t n = json_array_size(v);
    int32_t at = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, from, '[', '[', at);
    at = qw_schema_space(s, at);
    for (size_t i = 0; i < n && qw_pda_ok(s->p); i++) {
        if (i > 0) at = qw_schema_separator(s, at, ',');
        int32_t next = qw_pda_node_new(s->p);
        put_value(s, json_array_get(v, i), at, next);
        at = next;
    }
    if (n > 0) at = qw_schema_space(s, at);
    qw_pda_bytes(s->p, at, ']', ']', to);
}

// One value, as it is usually written; an integral number without a fraction.
static void put_value(qw_schema *s, const json_t *v, int32_t from, int32_t to)
{
    if (!qw_pda_spend(s->p, 1)) return;
    if (json_is_object(v)) {
        put_object(s, v, from, to);
    } else if (json_is_array(v)) {
        put_array(s, v, from, to);
    } else if (qw_json_is_text(v)) {
        qw_str text = qw_json_str(v);
        qw_char_dfa d = qw_dfa_of_texts(s->g, &text, 1);
        qw_schema_quoted(s, &d, QW_SPELL_JSON_LITERAL, from, to);
    } else if (qw_json_is_any_number(v)) {
        qw_decimal d;
        if (!qw_json_decimal(s, v, &d)) return;
        int32_t at = qw_pda_node_new(s->p);
        qw_pda_literal(s->p, from, d.negative ? QW_STR("-") : QW_STR(""), at);
        int32_t whole = d.fraction.len ? qw_pda_node_new(s->p) : to;
        qw_pda_literal(s->p, at, d.whole.len ? d.whole : QW_STR("0"), whole);
        if (d.fraction.len == 0) return;
        int32_t point = qw_pda_node_new(s->p);
        qw_pda_bytes(s->p, whole, '.', '.', point);
        qw_pda_literal(s->p, point, d.fraction, to);
    } else {
        qw_pda_literal(s->p, from,
                       json_is_true(v)    ? QW_STR("true")
                       : json_is_false(v) ? QW_STR("false")
                                          : QW_STR("null"),
                       to);
    }
}

// The values that a leaf lists, if it lists any.
static const json_t *listed_values(qw_schema *s, const qw_conj *leaf, const json_t **constant)
{
    const json_t *list = NULL;
    *constant = NULL;
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *c = json_object_get(leaf->parts[i], "const");
        const json_t *e = json_object_get(leaf->parts[i], "enum");
        if (e && !json_is_array(e)) qw_pda_fail(s->p, QW_ERR_USAGE, "'enum' must be a list");
        if (c) *constant = c;
        if (e && (!list || json_array_size(e) < json_array_size(list))) list = e;
    }
    return list;
}

static void put_listed(qw_schema *s, const qw_conj *leaf, const json_t *list,
                       const json_t *constant, bool xml, int32_t from, int32_t to)
{
    size_t n = constant ? 1 : json_array_size(list), n_texts = 0;
    qw_str *texts = qw_gram_alloc(s->g, n, sizeof *texts);
    size_t n_lists = 0; // with one list its values need not be looked for in it
    for (size_t i = 0; i < leaf->n; i++)
        n_lists += (json_object_get(leaf->parts[i], "enum") != NULL) +
                   (json_object_get(leaf->parts[i], "const") != NULL);
    for (size_t i = 0; texts && i < n && qw_pda_spend(s->p, 1); i++) {
        const json_t *v = constant ? constant : json_array_get(list, i);
        if (n_lists > 1 && !qw_schema_valid_leaf(s, leaf, v)) continue;
        if (n_lists == 1 && !qw_schema_valid_unlisted(s, leaf, v)) continue;
        if (qw_json_is_text(v))
            texts[n_texts++] = qw_json_str(v);
        else
            put_value(s, v, from, to);
    }
    if (!qw_pda_ok(s->p) || n_texts == 0) return;
    qw_char_dfa d = qw_dfa_of_texts(s->g, texts, n_texts);
    if (xml)
        qw_dfa_spell(s->g, &d, QW_SPELL_UTF8, s->style->max_token, from, to);
    else
        qw_schema_quoted(s, &d, QW_SPELL_JSON_LITERAL, from, to);
}

// ---- rules

static void put_leaf(qw_schema *s, const qw_conj *leaf, bool xml, int32_t from, int32_t to)
{
    const json_t *constant, *list = listed_values(s, leaf, &constant);
    if (list || constant) {
        put_listed(s, leaf, list, constant, xml, from, to);
        return;
    }
    unsigned types = qw_schema_types(s, leaf);
    if (types & QW_JSON_NULL) qw_pda_literal(s->p, from, QW_STR("null"), to);
    if (types & QW_JSON_BOOLEAN) {
        qw_pda_literal(s->p, from, QW_STR("true"), to);
        qw_pda_literal(s->p, from, QW_STR("false"), to);
    }
    if (types & (QW_JSON_INTEGER | QW_JSON_FRACTION))
        qw_schema_number(s, leaf, !(types & QW_JSON_FRACTION), from, to);
    if (types & QW_JSON_STRING) {
        if (xml)
            qw_schema_raw_string(s, leaf, from, to);
        else
            qw_schema_string(s, leaf, from, to);
    }
    if (types & QW_JSON_ARRAY) qw_schema_array(s, leaf, from, to);
    if (types & QW_JSON_OBJECT) qw_schema_object(s, leaf, false, from, to);
}

static int compare_pointers(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

int32_t qw_schema_rule_of(qw_schema *s, const qw_conj *c, bool xml)
{
    if (!qw_pda_spend(s->p, c->n + 1)) return 0;
    qw_conj sorted = copy_conj(s, c);
    if (!qw_pda_ok(s->p)) return 0;
    qsort((void *)(uintptr_t)sorted.parts, sorted.n, sizeof *sorted.parts, compare_pointers);
    uint64_t h = xml;
    for (size_t i = 0; i < sorted.n; i++)
        h = (h ^ (uint64_t)(uintptr_t)sorted.parts[i]) * 0x9E3779B97F4A7C15u, h ^= h >> 29;
    qw_schema_rule **bucket = &s->rules[h % QW_SCHEMA_BUCKETS];
    for (qw_schema_rule *r = *bucket; r; r = r->next)
        if (r->n == sorted.n && r->xml == xml &&
            (r->n == 0 || memcmp(r->parts, sorted.parts, r->n * sizeof *r->parts) == 0))
            return r->rule;
    if (s->p->n_rules >= MAX_RULES)
        qw_pda_fail(s->p, QW_ERR_USAGE, "the JSON schema is too large: more than %d rules",
                    MAX_RULES);
    qw_schema_rule *r = qw_gram_alloc(s->g, 1, sizeof *r);
    todo *t = qw_gram_alloc(s->g, 1, sizeof *t);
    int32_t rule = qw_pda_rule_new(s->p);
    if (!r || !t || !qw_pda_ok(s->p)) return 0;
    *r = (qw_schema_rule){
        .parts = sorted.parts, .n = sorted.n, .rule = rule, .xml = xml, .next = *bucket};
    *bucket = r;
    *t = (todo){.conj = copy_conj(s, c), .rule = rule, .xml = xml};
    *s->last_todo = t;
    s->last_todo = &t->next;
    return rule;
}

static void make_rules(qw_schema *s)
{
    for (todo *t = s->first_todo; t && qw_pda_ok(s->p); t = t->next) {
        qw_pda_rule rule = s->p->rules[t->rule];
        qw_leaves l = qw_schema_leaves(s, &t->conj);
        for (size_t i = 0; i < l.n && qw_pda_ok(s->p); i++)
            put_leaf(s, &l.leaves[i], t->xml, rule.start, rule.end);
    }
}

// ---- entry

// Note whether there is an inner $id: references would start from there.
static void scan(qw_schema *s, const json_t *v, bool is_root)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, member) scan(s, member, false);
        return;
    }
    if (!json_is_object(v)) return;
    if (!is_root && qw_json_is_text(json_object_get(v, "$id"))) s->has_inner_ids = true;
    json_object_foreach((json_t *)(uintptr_t)v, key, member) scan(s, member, false);
}

static bool is_old_draft(const json_t *root)
{
    const json_t *v = json_object_get(root, "$schema");
    if (!qw_json_is_text(v)) return false;
    qw_str url = qw_json_str(v);
    static const char *const old[] = {"draft-07", "draft-06", "draft-04", "draft-03"};
    for (size_t i = 0; i < QW_ARRAY_LEN(old); i++)
        if (qw_str_find(url, qw_str_of(old[i]), 0) != SIZE_MAX) return true;
    return false;
}

static bool open_schema(qw_schema *s, qw_gram *g, const json_t *schema, const qw_json_style *style)
{
    *s = (qw_schema){.g = g,
                     .p = g->pda,
                     .root = schema,
                     .style = style,
                     .ref_hides = is_old_draft(schema),
                     .space_rule = QW_PDA_NO_RULE};
    s->last_todo = &s->first_todo;
    const json_t *dialect = json_object_get(schema, "$schema");
    if (dialect && (!qw_json_is_text(dialect) ||
                    qw_str_find(qw_json_str(dialect), QW_STR("json-schema.org/"), 0) == SIZE_MAX))
        qw_schema_refuse(s, "$schema", "with other than the drafts of json-schema.org");
    scan(s, schema, true);
    if (style->whitespace.ptr && !style->compact) {
        s->space_rule = qw_pda_rule_new(s->p);
        if (!qw_pda_ok(s->p)) return false;
        qw_pda_rule r = s->p->rules[s->space_rule];
        qw_source_regex(g, style->whitespace, style->max_token, r.start, r.end);
    }
    return qw_pda_ok(s->p);
}

void qw_source_json_schema(qw_gram *g, const json_t *schema, const qw_json_style *style,
                           int32_t from, int32_t to)
{
    qw_schema s;
    qw_conj c = {0};
    if (!schema || !open_schema(&s, g, schema, style)) {
        qw_pda_fail(g->pda, QW_ERR_USAGE, "a JSON schema must be an object or a boolean");
        return;
    }
    qw_conj_add(&s, &c, schema);
    if (!c.never) qw_pda_call(g->pda, from, qw_schema_rule_of(&s, &c, false), to);
    make_rules(&s);
}

void qw_source_xml_parameters(qw_gram *g, const json_t *schema, const qw_json_style *style,
                              int32_t from, int32_t to)
{
    qw_schema s;
    qw_conj c = {0};
    if (!schema || !open_schema(&s, g, schema, style)) {
        qw_pda_fail(g->pda, QW_ERR_USAGE, "a JSON schema must be an object or a boolean");
        return;
    }
    qw_conj_add(&s, &c, schema);
    qw_leaves l = qw_schema_leaves(&s, &c);
    for (size_t i = 0; i < l.n && qw_pda_ok(g->pda); i++)
        if (qw_schema_types(&s, &l.leaves[i]) & QW_JSON_OBJECT)
            qw_schema_object(&s, &l.leaves[i], true, from, to);
    make_rules(&s);
}
