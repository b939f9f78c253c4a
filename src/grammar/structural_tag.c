// Structural tags: literal text, free text and grammars put together (grammar.h has the forms).

#include "grammar/grammar_sources.h"

enum { MAX_TAG_DEPTH = 40 };

typedef struct tagger {
    qw_gram *g;
    qw_pda *p;
    const qw_json_style *style;
    int depth;
} tagger;

static void put_format(tagger *t, const json_t *format, int32_t from, int32_t to);

static qw_str text_of(tagger *t, const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v) || qw_json_is_big_integer(v)) {
        qw_pda_fail(t->p, QW_ERR_USAGE, "a structural tag needs a string '%s'", key);
        return (qw_str){"", 0};
    }
    return qw_json_str(v);
}

static const json_t *list_of(tagger *t, const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (json_is_array(v) && json_array_size(v) > 0) return v;
    qw_pda_fail(t->p, QW_ERR_USAGE, "a structural tag needs a list '%s' that is not empty", key);
    return NULL;
}

static bool flag_of(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

// ---- free text: an automaton that knows which of some strings it is in the middle of

/** Aho and Corasick's automaton of some strings. */
typedef struct finder {
    int32_t (*next)[256]; /* [n] */
    int32_t *found;       /* [n] index of the string that ends here, -1: none */
    int32_t n;
} finder;

static bool finder_init(tagger *t, finder *f, const qw_str *strings, size_t n_strings)
{
    size_t n = 1;
    for (size_t i = 0; i < n_strings; i++) n += strings[i].len;
    if (!qw_pda_spend(t->p, n * 256)) return false;
    f->next = qw_gram_alloc(t->g, n, sizeof *f->next);
    f->found = qw_gram_alloc(t->g, n, sizeof *f->found);
    int32_t *fallback = qw_gram_alloc(t->g, n, sizeof *fallback);
    int32_t *queue = qw_gram_alloc(t->g, n, sizeof *queue);
    if (!f->next || !f->found || !fallback || !queue) return false;
    for (size_t i = 0; i < n; i++) f->found[i] = -1;
    f->n = 1;
    for (size_t i = 0; i < n_strings; i++) { // a tree; 0 is "no edge" for now
        int32_t at = 0;
        for (size_t k = 0; k < strings[i].len; k++) {
            int32_t *to = &f->next[at][(uint8_t)strings[i].ptr[k]];
            if (*to == 0) *to = f->n++;
            at = *to;
        }
        if (f->found[at] < 0) f->found[at] = (int32_t)i;
    }
    int32_t n_queue = 0;
    for (int b = 0; b < 256; b++)
        if (f->next[0][b]) queue[n_queue++] = f->next[0][b];
    for (int32_t done = 0; done < n_queue; done++) {
        int32_t at = queue[done], back = fallback[at];
        if (f->found[at] < 0) f->found[at] = f->found[back];
        for (int b = 0; b < 256; b++) {
            int32_t to = f->next[at][b];
            if (to) {
                fallback[to] = f->next[back][b];
                queue[n_queue++] = to;
            } else {
                f->next[at][b] = f->next[back][b];
            }
        }
    }
    return true;
}

/**
 * Free text from `from`. Where string i is complete, on to on_found[i] and nowhere else; at any
 * other place the text may end, at `to` (-1: it may not).
 */
static void put_free_text(tagger *t, const qw_str *strings, size_t n, const int32_t *on_found,
                          int32_t from, int32_t to)
{
    finder f;
    for (size_t i = 0; i < n; i++)
        if (strings[i].len == 0) {
            qw_pda_fail(t->p, QW_ERR_USAGE, "a trigger or end of a structural tag is empty");
            return;
        }
    if (!finder_init(t, &f, strings, n)) return;
    int32_t *nodes = qw_gram_alloc(t->g, (size_t)f.n, sizeof *nodes);
    if (!nodes) return;
    for (int32_t i = 0; i < f.n; i++)
        nodes[i] = f.found[i] >= 0 ? on_found[f.found[i]] : qw_pda_node_new(t->p);
    qw_pda_empty(t->p, from, nodes[0]);
    for (int32_t i = 0; i < f.n && qw_pda_ok(t->p); i++) {
        if (f.found[i] >= 0) continue;
        if (to >= 0) qw_pda_empty(t->p, nodes[i], to);
        for (int b = 0; b < 256;) {
            int hi = b;
            while (hi < 255 && f.next[i][hi + 1] == f.next[i][b]) hi++;
            qw_pda_bytes(t->p, nodes[i], (uint8_t)b, (uint8_t)hi, nodes[f.next[i][b]]);
            b = hi + 1;
        }
    }
}

// ---- tags

static bool is_any_text(const json_t *format)
{
    const json_t *type = json_object_get(format, "type");
    return json_is_string(type) && qw_str_is(qw_json_str(type), "any_text");
}

// What follows the first `skip` bytes of a tag's begin.
static void put_tag(tagger *t, const json_t *tag, size_t skip, int32_t from, int32_t to)
{
    qw_str begin = text_of(t, tag, "begin");
    const json_t *content = json_object_get(tag, "content");
    const json_t *end = json_object_get(tag, "end");
    int32_t inside = qw_pda_node_new(t->p), after = qw_pda_node_new(t->p);
    if (!qw_pda_ok(t->p)) return;
    qw_pda_literal(t->p, from, (qw_str){begin.ptr + skip, begin.len - skip}, inside);
    qw_str ends[16];
    size_t n_ends = json_is_array(end) ? json_array_size(end) : 1;
    if (n_ends == 0 || n_ends > QW_ARRAY_LEN(ends)) {
        qw_pda_fail(t->p, QW_ERR_USAGE, "'end' of a tag must be a string or a list of 1 to 16");
        return;
    }
    for (size_t i = 0; i < n_ends; i++) {
        const json_t *one = json_is_array(end) ? json_array_get(end, i) : end;
        if (!json_is_string(one)) {
            qw_pda_fail(t->p, QW_ERR_USAGE, "a tag needs a string 'end'");
            return;
        }
        ends[i] = qw_json_str(one);
    }
    bool is_open = n_ends == 1 && ends[0].len == 0; // to the end of the answer
    if (is_any_text(content) && !is_open) {
        int32_t found[QW_ARRAY_LEN(ends)];
        for (size_t i = 0; i < n_ends; i++) found[i] = to;
        put_free_text(t, ends, n_ends, found, inside, -1);
        return;
    }
    const json_t *schema = json_object_get(tag, "schema"); // the older form
    if (!content && schema)
        qw_source_json_schema(t->g, schema, t->style, inside, after);
    else
        put_format(t, content, inside, after);
    for (size_t i = 0; i < n_ends; i++) qw_pda_literal(t->p, after, ends[i], to);
}

// Free text with tags in it, begun by triggers.
static void put_triggered(tagger *t, const json_t *format, const char *key, int32_t from,
                          int32_t to)
{
    const json_t *tags = list_of(t, format, key), *list = list_of(t, format, "triggers");
    size_t n = json_array_size(list);
    qw_str *triggers = qw_gram_alloc(t->g, n, sizeof *triggers);
    int32_t *found = qw_gram_alloc(t->g, n, sizeof *found);
    bool at_least_one = flag_of(format, "at_least_one"), once = flag_of(format, "stop_after_first");
    if (!triggers || !found || !qw_pda_ok(t->p)) return;
    // Two copies of the free text when a tag is needed first: before and after it.
    int32_t again = qw_pda_node_new(t->p);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v)) {
            qw_pda_fail(t->p, QW_ERR_USAGE, "'triggers' must be a list of strings");
            return;
        }
        triggers[i] = qw_json_str(v);
        found[i] = qw_pda_node_new(t->p);
    }
    for (size_t k = 0; k < json_array_size(tags) && qw_pda_ok(t->p); k++) {
        const json_t *tag = json_array_get(tags, k);
        qw_str begin = text_of(t, tag, "begin");
        size_t i = 0;
        while (i < n && !qw_str_starts_with(begin, triggers[i])) i++;
        if (i == n && qw_pda_ok(t->p))
            qw_pda_fail(t->p, QW_ERR_USAGE, "the tag '%.60s' begins with none of the triggers",
                        begin.ptr);
        else if (qw_pda_ok(t->p))
            put_tag(t, tag, triggers[i].len, found[i], once ? to : again);
    }
    if (once || at_least_one) put_free_text(t, triggers, n, found, from, at_least_one ? -1 : to);
    if (!once) put_free_text(t, triggers, n, found, at_least_one ? again : from, to);
    if (!once && !at_least_one) qw_pda_empty(t->p, again, from);
}

static void put_separated(tagger *t, const json_t *format, int32_t from, int32_t to)
{
    const json_t *tags = list_of(t, format, "tags");
    qw_str separator = text_of(t, format, "separator");
    int32_t start = qw_pda_node_new(t->p), after = qw_pda_node_new(t->p);
    qw_pda_empty(t->p, from, start);
    if (!flag_of(format, "at_least_one")) qw_pda_empty(t->p, from, to);
    for (size_t i = 0; i < json_array_size(tags) && qw_pda_ok(t->p); i++)
        put_tag(t, json_array_get(tags, i), 0, start, after);
    qw_pda_empty(t->p, after, to);
    if (!flag_of(format, "stop_after_first")) qw_pda_literal(t->p, after, separator, start);
}

static void put_elements(tagger *t, const json_t *format, bool sequence, int32_t from, int32_t to)
{
    const json_t *list = list_of(t, format, "elements");
    for (size_t i = 0; i < json_array_size(list) && qw_pda_ok(t->p); i++) {
        int32_t next = sequence ? qw_pda_node_new(t->p) : to;
        put_format(t, json_array_get(list, i), from, next);
        if (sequence) from = next;
    }
    if (sequence) qw_pda_empty(t->p, from, to);
}

// Each format is a rule of its own: what comes after it is none of its business.
static void put_typed(tagger *t, const json_t *f, qw_str type, int32_t from, int32_t to)
{
    const json_t *schema = json_object_get(f, "json_schema");
    if (qw_str_is(type, "const_string"))
        qw_pda_literal(t->p, from, text_of(t, f, "value"), to);
    else if (qw_str_is(type, "json_schema"))
        qw_source_json_schema(t->g, schema, t->style, from, to);
    else if (qw_str_is(type, "qwen_xml_parameter") || qw_str_is(type, "qwen_xml"))
        qw_source_xml_parameters(t->g, schema, t->style, from, to);
    else if (qw_str_is(type, "regex"))
        qw_source_regex(t->g, text_of(t, f, "pattern"), t->style->max_token, from, to);
    else if (qw_str_is(type, "grammar"))
        qw_source_ebnf(t->g, text_of(t, f, "grammar"), from, to);
    else if (qw_str_is(type, "any_text"))
        put_free_text(t, NULL, 0, NULL, from, to);
    else if (qw_str_is(type, "sequence") || qw_str_is(type, "or"))
        put_elements(t, f, qw_str_is(type, "sequence"), from, to);
    else if (qw_str_is(type, "tag"))
        put_tag(t, f, 0, from, to);
    else if (qw_str_is(type, "triggered_tags"))
        put_triggered(t, f, "tags", from, to);
    else if (qw_str_is(type, "tags_with_separator"))
        put_separated(t, f, from, to);
    else
        qw_pda_fail(t->p, QW_ERR_UNSUPPORTED, "the structural tag type '%.40s' is not supported",
                    type.ptr);
}

static void put_format(tagger *t, const json_t *format, int32_t from, int32_t to)
{
    int32_t rule = qw_pda_rule_new(t->p);
    if (!qw_pda_ok(t->p)) return;
    if (!json_is_object(format)) {
        qw_pda_fail(t->p, QW_ERR_USAGE, "a structural tag's format must be an object, not %s",
                    format ? qw_json_type_name(format) : "missing");
        return;
    }
    if (t->depth++ == MAX_TAG_DEPTH) {
        qw_pda_fail(t->p, QW_ERR_USAGE, "a structural tag is nested too deeply");
        return;
    }
    qw_str type = text_of(t, format, "type");
    qw_pda_rule r = t->p->rules[rule];
    if (qw_pda_ok(t->p)) put_typed(t, format, type, r.start, r.end);
    qw_pda_call(t->p, from, rule, to);
    t->depth--;
}

void qw_source_structural_tag(qw_gram *g, const json_t *tag, const qw_json_style *style,
                              int32_t from, int32_t to)
{
    tagger t = {.g = g, .p = g->pda, .style = style};
    const json_t *format = json_object_get(tag, "format");
    if (json_object_get(tag, "structures"))
        put_triggered(&t, tag, "structures", from, to);
    else
        put_format(&t, format ? format : tag, from, to);
}
