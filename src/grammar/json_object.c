// Arrays and objects.

#include "grammar/json_schema_internal.h"

enum { MAX_ITEMS = 20000, MAX_CLASSES = 64, MAX_MEMBER_STATES = 200000 };

// ---- arrays

// prefixItems, or `items` as a list in older drafts.
static const json_t *prefix_of(const json_t *schema)
{
    const json_t *prefix = json_object_get(schema, "prefixItems");
    if (json_is_array(prefix)) return prefix;
    const json_t *items = json_object_get(schema, "items");
    return json_is_array(items) ? items : NULL;
}

void qw_schema_item(qw_schema *s, const qw_conj *leaf, size_t index, qw_conj *out)
{
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *schema = leaf->parts[i], *prefix = prefix_of(schema);
        const json_t *items = json_object_get(schema, "items");
        const json_t *rest =
            json_is_array(items) ? json_object_get(schema, "additionalItems") : items;
        const json_t *one = index < json_array_size(prefix) ? json_array_get(prefix, index) : rest;
        if (one) qw_conj_add(s, out, one);
    }
}

static void check_array(qw_schema *s, const qw_conj *leaf, int64_t max)
{
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *schema = leaf->parts[i];
        if (json_is_true(json_object_get(schema, "uniqueItems")) && (max < 0 || max > 1))
            qw_schema_refuse(s, "uniqueItems", NULL);
        if (json_object_get(schema, "contains")) qw_schema_refuse(s, "contains", NULL);
        if (json_object_get(schema, "unevaluatedItems"))
            qw_schema_refuse(s, "unevaluatedItems", "use items: false");
    }
}

void qw_schema_array(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to)
{
    int64_t min = qw_schema_most(s, leaf, "minItems"), max = qw_schema_least(s, leaf, "maxItems");
    size_t n_prefix = 0;
    check_array(s, leaf, max);
    for (size_t i = 0; i < leaf->n; i++) {
        size_t n = json_array_size(prefix_of(leaf->parts[i]));
        if (n > n_prefix) n_prefix = n;
    }
    if (min < 0) min = 0;
    if (max >= 0 && min > max) return;
    // Positions that differ: those of the prefix, those that must or may still come.
    int64_t n = (int64_t)n_prefix > min ? (int64_t)n_prefix : min;
    if (max >= 0) n = max;
    if (n > MAX_ITEMS) {
        qw_pda_fail(s->p, QW_ERR_USAGE,
                    "an array of up to %" PRId64 " items is too much for a grammar; the most is %d",
                    n, MAX_ITEMS);
        return;
    }
    int32_t at = qw_pda_node_new(s->p), close = qw_pda_node_new(s->p);
    qw_pda_bytes(s->p, from, '[', '[', at);
    at = qw_schema_space(s, at);
    if (min == 0) qw_pda_bytes(s->p, at, ']', ']', to);
    int32_t last = qw_schema_space(s, close);
    qw_pda_bytes(s->p, last, ']', ']', to);
    int32_t tail = -1;
    for (int64_t i = 0; i <= n && qw_pda_ok(s->p); i++) {
        if (i == n && max >= 0) break;
        qw_conj item = {0};
        qw_schema_item(s, leaf, (size_t)i, &item);
        if (item.never) break;
        int32_t rule;
        if (i >= (int64_t)n_prefix && tail >= 0)
            rule = tail;
        else
            rule = qw_schema_rule_of(s, &item, false);
        if (i >= (int64_t)n_prefix) tail = rule;
        int32_t before = i > 0 ? qw_schema_separator(s, at, ',') : at;
        int32_t after = qw_pda_node_new(s->p);
        qw_pda_call(s->p, before, rule, after);
        if (i + 1 >= min) qw_pda_empty(s->p, after, close);
        if (i == n) { // any number of them
            int32_t again = qw_schema_separator(s, after, ',');
            qw_pda_call(s->p, again, rule, after);
        }
        at = after;
    }
}

// ---- objects: what schemas say about a member

static bool pattern_matches(qw_schema *s, qw_str pattern, qw_str name)
{
    qw_char_dfa d = qw_schema_pattern(s, pattern, true);
    return qw_pda_ok(s->p) && qw_dfa_matches(&d, name);
}

void qw_schema_member(qw_schema *s, const qw_conj *leaf, qw_str name, qw_conj *out)
{
    const char *key;
    size_t len;
    json_t *v;
    for (size_t i = 0; i < leaf->n && qw_pda_ok(s->p); i++) {
        const json_t *schema = leaf->parts[i];
        const json_t *own =
            json_object_getn(json_object_get(schema, "properties"), name.ptr, name.len);
        bool known = own != NULL;
        if (own) qw_conj_add(s, out, own);
        json_t *patterns = json_object_get(schema, "patternProperties");
        json_object_keylen_foreach(patterns, key, len, v)
        {
            if (!pattern_matches(s, (qw_str){key, len}, name)) continue;
            qw_conj_add(s, out, v);
            known = true;
        }
        const json_t *rest = json_object_get(schema, "additionalProperties");
        if (!known && rest) qw_conj_add(s, out, rest);
        const json_t *names = json_object_get(schema, "propertyNames");
        json_t *text = names ? json_stringn_nocheck(name.ptr, name.len) : NULL;
        if (names && text && !qw_schema_valid(s, names, text)) out->never = true;
        json_decref(text);
    }
}

/** A name that is spoken of: it has its place in the order of members. */
typedef struct member {
    qw_str name;
    bool required;
    bool never;
    int32_t rule;
} member;

typedef struct members {
    member *list;
    size_t n, cap;
} members;

static member *find_member(qw_schema *s, members *m, qw_str name)
{
    for (size_t i = 0; i < m->n; i++)
        if (qw_str_eq(m->list[i].name, name)) return &m->list[i];
    if (!qw_pda_spend(s->p, m->n + 1)) return NULL;
    member *grown = qw_gram_grow(s->g, m->list, m->n, &m->cap, sizeof *grown);
    if (!grown) return NULL;
    m->list = grown;
    m->list[m->n] = (member){.name = name};
    return &m->list[m->n++];
}

// Names in the order in which the schemas list them, then those that are only required.
static members collect_members(qw_schema *s, const qw_conj *leaf, bool xml)
{
    members m = {0};
    const char *key;
    size_t len;
    json_t *v;
    for (size_t i = 0; i < leaf->n; i++) {
        json_t *properties = json_object_get(leaf->parts[i], "properties");
        if (properties && !json_is_object(properties))
            qw_pda_fail(s->p, QW_ERR_USAGE, "'properties' must be an object");
        json_object_keylen_foreach(properties, key, len, v)(void)
            find_member(s, &m, (qw_str){key, len});
    }
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *required = json_object_get(leaf->parts[i], "required");
        if (required && !json_is_array(required) && !json_is_boolean(required))
            qw_pda_fail(s->p, QW_ERR_USAGE, "'required' must be a list of strings");
        for (size_t k = 0; k < json_array_size(required); k++) {
            const json_t *name = json_array_get(required, k);
            member *one = qw_json_is_text(name) ? find_member(s, &m, qw_json_str(name)) : NULL;
            if (one) one->required = true;
        }
    }
    for (size_t i = 0; i < m.n && qw_pda_ok(s->p); i++) {
        qw_conj c = {0};
        qw_schema_member(s, leaf, m.list[i].name, &c);
        m.list[i].never = c.never;
        if (!c.never) m.list[i].rule = qw_schema_rule_of(s, &c, xml);
    }
    return m;
}

/** Names that are not listed, as far as the same schemas apply to their members. */
typedef struct name_class {
    qw_char_dfa names;
    qw_conj conj;
    bool *matched; /* for each pattern of the leaf, in order */
} name_class;

typedef struct name_classes {
    name_class list[MAX_CLASSES];
    size_t n;
} name_classes;

// The schemas for names that match these patterns.
static void class_conj(qw_schema *s, const qw_conj *leaf, bool closed, name_class *c)
{
    const char *key;
    json_t *v;
    size_t k = 0;
    if (closed) c->conj.never = true;
    for (size_t i = 0; i < leaf->n; i++) {
        bool known = false;
        json_object_foreach(json_object_get(leaf->parts[i], "patternProperties"), key, v)
        {
            if (c->matched[k++]) {
                qw_conj_add(s, &c->conj, v);
                known = true;
            }
        }
        if (known && closed) c->conj.never = false;
        const json_t *rest = json_object_get(leaf->parts[i], "additionalProperties");
        if (!known && rest) qw_conj_add(s, &c->conj, rest);
    }
}

// Split every class by a pattern.
static void split(qw_schema *s, name_classes *classes, qw_str pattern, size_t k, size_t n_patterns)
{
    qw_char_dfa d = qw_schema_pattern(s, pattern, true);
    for (size_t i = 0, n = classes->n; i < n && qw_pda_ok(s->p); i++) {
        name_class *c = &classes->list[i];
        qw_char_dfa in = qw_dfa_join_of(s->g, &c->names, &d, QW_DFA_AND);
        qw_char_dfa out = qw_dfa_join_of(s->g, &c->names, &d, QW_DFA_AND_NOT);
        if (qw_dfa_is_empty(&in)) continue;
        if (qw_dfa_is_empty(&out)) {
            c->matched[k] = true;
            continue;
        }
        if (classes->n == MAX_CLASSES) {
            qw_pda_fail(s->p, QW_ERR_USAGE, "too many patterns overlap in 'patternProperties'");
            return;
        }
        name_class *other = &classes->list[classes->n++];
        *other = (name_class){.names = in, .matched = qw_gram_alloc(s->g, n_patterns, 1)};
        if (!other->matched) return;
        memcpy(other->matched, c->matched, n_patterns);
        other->matched[k] = true;
        c->names = out;
    }
}

static qw_char_dfa other_names(qw_schema *s, const qw_conj *leaf, const members *m)
{
    qw_char_dfa names = qw_dfa_of_length(s->g, 0, -1);
    for (size_t i = 0; i < leaf->n && qw_pda_ok(s->p); i++) {
        const json_t *schema = json_object_get(leaf->parts[i], "propertyNames");
        qw_conj c = {0};
        if (!schema) continue;
        qw_conj_add(s, &c, schema);
        qw_char_dfa d = qw_schema_texts(s, &c);
        names = qw_dfa_join_of(s->g, &names, &d, QW_DFA_AND);
    }
    if (m->n == 0) return names;
    qw_str *texts = qw_gram_alloc(s->g, m->n, sizeof *texts);
    if (!texts) return (qw_char_dfa){0};
    for (size_t i = 0; i < m->n; i++) texts[i] = m->list[i].name;
    qw_char_dfa listed = qw_dfa_of_texts(s->g, texts, m->n);
    return qw_dfa_join_of(s->g, &names, &listed, QW_DFA_AND_NOT);
}

// By default an object that lists properties is closed if the style says so.
static bool is_closed(const qw_schema *s, const qw_conj *leaf)
{
    bool lists = false, says = false;
    for (size_t i = 0; i < leaf->n; i++) {
        lists = lists || json_object_get(leaf->parts[i], "properties");
        says = says || json_object_get(leaf->parts[i], "additionalProperties");
    }
    return s->style->closed && lists && !says;
}

static void find_classes(qw_schema *s, const qw_conj *leaf, const members *m, name_classes *out)
{
    const char *key;
    size_t len, n_patterns = 0, k = 0;
    json_t *v;
    bool closed = is_closed(s, leaf);
    for (size_t i = 0; i < leaf->n; i++) {
        const json_t *patterns = json_object_get(leaf->parts[i], "patternProperties");
        if (patterns && !json_is_object(patterns))
            qw_pda_fail(s->p, QW_ERR_USAGE, "'patternProperties' must be an object");
        n_patterns += json_object_size(patterns);
        // The usual case needs no automaton.
        closed = closed || json_is_false(json_object_get(leaf->parts[i], "additionalProperties"));
    }
    out->n = 0;
    if (closed && n_patterns == 0) return;
    out->list[out->n++] = (name_class){.names = other_names(s, leaf, m),
                                       .matched = qw_gram_alloc(s->g, n_patterns, 1)};
    if (!qw_pda_ok(s->p)) return;
    for (size_t i = 0; i < leaf->n; i++)
        json_object_keylen_foreach(json_object_get(leaf->parts[i], "patternProperties"), key, len,
                                   v) split(s, out, (qw_str){key, len}, k++, n_patterns);
    size_t n = 0;
    for (size_t i = 0; i < out->n && qw_pda_ok(s->p); i++) {
        class_conj(s, leaf, is_closed(s, leaf), &out->list[i]);
        if (!out->list[i].conj.never && !qw_dfa_is_empty(&out->list[i].names))
            out->list[n++] = out->list[i];
    }
    out->n = n;
}

// ---- objects: their text

typedef struct object {
    qw_schema *s;
    bool xml;
    members m;
    name_classes *others;
    int64_t min, max; /* members; max -1: any number */
    int64_t n_counts; /* counts that are told apart: 0 .. n_counts - 1, the last one is "or more" */
    int32_t to;
} object;

// From behind the name to behind the value.
static void put_value(object *o, int32_t at, int32_t rule, int32_t to)
{
    qw_pda *p = o->s->p;
    if (!o->xml) {
        qw_pda_call(p, qw_schema_separator(o->s, at, ':'), rule, to);
        return;
    }
    int32_t begin = qw_pda_node_new(p), end = qw_pda_node_new(p), close = qw_pda_node_new(p);
    qw_pda_literal(p, at, QW_STR(">"), begin);
    int32_t start = qw_pda_node_new(p);
    qw_pda_empty(p, begin, start);
    qw_pda_bytes(p, begin, '\n', '\n', start);
    qw_pda_call(p, start, rule, end);
    qw_pda_empty(p, end, close);
    qw_pda_bytes(p, end, '\n', '\n', close);
    qw_pda_literal(p, close, QW_STR("</parameter>"), to);
}

static int32_t before_member(object *o, int32_t at, bool is_first)
{
    if (o->xml) {
        int32_t space = qw_pda_node_new(o->s->p), open = qw_pda_node_new(o->s->p);
        qw_pda_empty(o->s->p, at, space);
        qw_pda_bytes(o->s->p, space, ' ', ' ', space);
        qw_pda_bytes(o->s->p, space, '\n', '\n', space);
        qw_pda_literal(o->s->p, space, QW_STR("<parameter="), open);
        return open;
    }
    return is_first ? at : qw_schema_separator(o->s, at, ',');
}

static void put_name(object *o, qw_str name, int32_t from, int32_t to)
{
    if (o->xml) {
        qw_pda_literal(o->s->p, from, name, to);
        return;
    }
    qw_char_dfa d = qw_dfa_of_texts(o->s->g, &name, 1);
    qw_schema_quoted(o->s, &d, QW_SPELL_JSON_LITERAL, from, to);
}

// A rule for the pair of a name that is not listed and its value.
static int32_t other_pair(object *o, const name_class *c)
{
    qw_schema *s = o->s;
    int32_t pair = qw_pda_rule_new(s->p), value = qw_schema_rule_of(s, &c->conj, o->xml);
    if (!qw_pda_ok(s->p)) return 0;
    int32_t start = s->p->rules[pair].start, name = qw_pda_node_new(s->p);
    if (o->xml) { // a name that cannot be mistaken for markup
        qw_char_dfa plain = qw_schema_pattern(s, QW_STR("[^<>\\s]+"), false);
        qw_char_dfa d = qw_dfa_join_of(s->g, &plain, &c->names, QW_DFA_AND);
        qw_dfa_spell(s->g, &d, QW_SPELL_UTF8, s->style->max_token, start, name);
    } else {
        qw_schema_quoted(s, &c->names, QW_SPELL_JSON, start, name);
    }
    put_value(o, name, value, s->p->rules[pair].end);
    return pair;
}

// After the listed members: the others, then the end. `nodes` is by count.
static void put_tail(object *o, const int32_t *nodes)
{
    qw_pda *p = o->s->p;
    int32_t pairs[MAX_CLASSES];
    size_t n_pairs = o->max == 0 ? 0 : o->others->n;
    for (size_t i = 0; i < n_pairs; i++) pairs[i] = other_pair(o, &o->others->list[i]);
    for (int64_t c = 0; c < o->n_counts && qw_pda_ok(p); c++) {
        if (c >= o->min) {
            int32_t end = o->xml ? nodes[c] : c > 0 ? qw_schema_space(o->s, nodes[c]) : nodes[c];
            if (o->xml)
                qw_pda_empty(p, end, o->to);
            else
                qw_pda_bytes(p, end, '}', '}', o->to);
        }
        if (n_pairs == 0 || (o->max >= 0 && c >= o->max)) continue;
        int32_t begin = before_member(o, nodes[c], c == 0);
        int64_t next = c + 1 < o->n_counts ? c + 1 : c;
        for (size_t i = 0; i < n_pairs; i++) qw_pda_call(p, begin, pairs[i], nodes[next]);
    }
}

static void put_members(object *o, int32_t from)
{
    qw_pda *p = o->s->p;
    size_t n_counts = (size_t)o->n_counts;
    int32_t *now = qw_gram_alloc(o->s->g, n_counts, sizeof *now);
    int32_t *next = qw_gram_alloc(o->s->g, n_counts, sizeof *next);
    if (!now || !next) return;
    for (size_t c = 0; c < n_counts; c++) now[c] = c == 0 ? from : qw_pda_node_new(p);
    for (size_t i = 0; i < o->m.n && qw_pda_ok(p); i++) {
        const member *m = &o->m.list[i];
        if (m->never && m->required) return; // no object satisfies it
        if (m->never) continue;
        for (size_t c = 0; c < n_counts; c++) next[c] = qw_pda_node_new(p);
        for (size_t c = 0; c < n_counts && qw_pda_ok(p); c++) {
            if (!m->required) qw_pda_empty(p, now[c], next[c]);
            if (c > i || (o->max >= 0 && (int64_t)c >= o->max)) continue;
            int32_t name = qw_pda_node_new(p);
            put_name(o, m->name, before_member(o, now[c], c == 0), name);
            put_value(o, name, m->rule, next[c + 1 < n_counts ? c + 1 : c]);
        }
        int32_t *t = now;
        now = next;
        next = t;
    }
    put_tail(o, now);
}

static void check_object(qw_schema *s, const qw_conj *leaf)
{
    static const char *const never[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                        "unevaluatedProperties"};
    for (size_t i = 0; i < leaf->n; i++)
        for (size_t k = 0; k < QW_ARRAY_LEN(never); k++)
            if (json_object_get(leaf->parts[i], never[k])) qw_schema_refuse(s, never[k], NULL);
}

void qw_schema_object(qw_schema *s, const qw_conj *leaf, bool xml, int32_t from, int32_t to)
{
    object o = {.s = s, .xml = xml, .to = to};
    check_object(s, leaf);
    o.min = qw_schema_most(s, leaf, "minProperties");
    o.max = qw_schema_least(s, leaf, "maxProperties");
    if (o.min < 0) o.min = 0;
    if (!qw_pda_ok(s->p) || (o.max >= 0 && o.min > o.max)) return;
    o.m = collect_members(s, leaf, xml);
    o.others = qw_gram_alloc(s->g, 1, sizeof *o.others);
    if (!o.others || !qw_pda_ok(s->p)) return;
    find_classes(s, leaf, &o.m, o.others);
    int64_t n_required = 0;
    for (size_t i = 0; i < o.m.n; i++) n_required += o.m.list[i].required;
    if (o.min <= n_required) o.min = 0; // follows
    if (o.min > 1 && o.others->n > 0) {
        // Nothing keeps a model from writing one name twice, which counts once.
        qw_schema_refuse(s, "minProperties", "above 1 when other than the listed properties count");
        return;
    }
    if (o.max >= (int64_t)o.m.n && o.others->n == 0) o.max = -1; // follows
    int64_t most = o.max > o.min ? o.max : o.min;
    if (most > MAX_ITEMS || (most + 2) * (int64_t)(o.m.n + 1) > MAX_MEMBER_STATES) {
        qw_pda_fail(s->p, QW_ERR_USAGE,
                    "minProperties or maxProperties of %" PRId64 " is too much for a grammar",
                    most);
        return;
    }
    // With "0, or more" a comma is told apart from none; more only to count.
    o.n_counts = most >= 1 ? most + 1 : 2;
    int32_t at = qw_pda_node_new(s->p);
    if (xml)
        qw_pda_empty(s->p, from, at);
    else
        qw_pda_bytes(s->p, from, '{', '{', at);
    put_members(&o, xml ? at : qw_schema_space(s, at));
}
