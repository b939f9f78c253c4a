#include "grammar/grammar.h"

#include "grammar/grammar_internal.h"
#include "grammar/grammar_sources.h"

enum { ARENA_CHUNK = 64 * 1024 };

void qw_source_regex(qw_gram *g, qw_str pattern, int32_t max_token, int32_t from, int32_t to)
{
    const qw_regex *r = qw_regex_parse(g, pattern);
    qw_char_dfa d = qw_dfa_of_regex(g, r, false);
    if (qw_pda_ok(g->pda) && qw_dfa_is_empty(&d))
        qw_pda_fail(g->pda, QW_ERR_USAGE, "nothing matches the regular expression");
    qw_dfa_spell(g, &d, QW_SPELL_UTF8, max_token, from, to);
}

void qw_source_choice(qw_gram *g, const json_t *choices, int32_t from, int32_t to)
{
    size_t n = json_array_size(choices);
    if (!json_is_array(choices) || n == 0) {
        qw_pda_fail(g->pda, QW_ERR_USAGE, "choice must be a list of strings, and not empty");
        return;
    }
    qw_str *texts = qw_gram_alloc(g, n, sizeof *texts);
    for (size_t i = 0; texts && i < n; i++) {
        const json_t *v = json_array_get(choices, i);
        if (!json_is_string(v) || qw_json_is_big_integer(v)) {
            qw_pda_fail(g->pda, QW_ERR_USAGE, "choice[%zu] must be a string", i);
            return;
        }
        texts[i] = qw_json_str(v);
    }
    if (texts) qw_pda_literals(g->pda, from, texts, n, to);
}

static void any_object(qw_gram *g, const qw_json_style *style, int32_t from, int32_t to)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    if (!schema) {
        qw_pda_fail_memory(g->pda);
        return;
    }
    qw_source_json_schema(g, schema, style, from, to);
    json_decref(schema);
}

static void add_source(qw_gram *g, const qw_grammar_spec *spec, int32_t max_token, int32_t from,
                       int32_t to)
{
    qw_json_style style = {.compact = spec->compact,
                           .closed = spec->closed,
                           .whitespace = spec->whitespace,
                           .max_token = max_token};
    switch (spec->kind) {
    case QW_GRAMMAR_JSON_OBJECT: any_object(g, &style, from, to); break;
    case QW_GRAMMAR_JSON_SCHEMA: qw_source_json_schema(g, spec->json, &style, from, to); break;
    case QW_GRAMMAR_REGEX: qw_source_regex(g, spec->text, max_token, from, to); break;
    case QW_GRAMMAR_CHOICE: qw_source_choice(g, spec->json, from, to); break;
    case QW_GRAMMAR_EBNF: qw_source_ebnf(g, spec->text, from, to); break;
    case QW_GRAMMAR_STRUCTURAL_TAG:
        qw_source_structural_tag(g, spec->json, &style, from, to);
        break;
    }
}

qw_status qw_grammar_new(qw_grammar **out, const qw_vocab_trie *trie, qw_pda *pda, int32_t root,
                         qw_error *err)
{
    qw_grammar *g = qw_mem_calloc(1, sizeof *g);
    if (!g) {
        qw_pda_release(pda);
        return qw_fail_memory(err, sizeof *g, "a grammar");
    }
    atomic_init(&g->n_owners, 1);
    pthread_mutex_init(&g->mu, NULL);
    g->trie = trie;
    g->pda = *pda;
    g->start = pda->rules[root].start;
    g->node_masks = qw_mem_calloc((size_t)pda->n_nodes, sizeof *g->node_masks);
    g->path = qw_mem_array((size_t)trie->max_depth + 2, sizeof *g->path);
    g->bits = qw_mem_array(qw_mask_words((size_t)trie->n_ids) + 1, sizeof *g->bits);
    qw_status st = QW_OK;
    if (!g->node_masks || !g->path || !g->bits)
        st = qw_fail_memory(err, (size_t)pda->n_nodes * sizeof *g->node_masks, "a grammar");
    if (st == QW_OK) st = qw_states_init(&g->states, &g->pda, err);
    if (st != QW_OK) {
        qw_grammar_unref(g);
        return st;
    }
    *out = g;
    return QW_OK;
}

qw_grammar *qw_grammar_ref(qw_grammar *g)
{
    atomic_fetch_add(&g->n_owners, 1);
    return g;
}

// The mask of the beginning is made here, on the thread that compiles, and shows what is hopeless.
static qw_status warm(qw_grammar *g, qw_error *err)
{
    qw_matcher *m;
    qw_status st = qw_matcher_new(&m, g, err);
    if (st != QW_OK) return st;
    st = qw_matcher_mask(m, NULL, 0, NULL, err);
    qw_matcher_free(m);
    return st;
}

qw_status qw_grammar_compile(qw_grammar **out, const qw_vocab_trie *trie,
                             const qw_grammar_spec *spec, qw_error *err)
{
    qw_pda pda;
    qw_gram g = {.pda = &pda};
    qw_arena_init(&g.arena, ARENA_CHUNK);
    qw_pda_init(&pda);
    int32_t root = qw_pda_rule_new(&pda);
    if (qw_pda_ok(&pda))
        add_source(&g, spec, trie->max_depth, pda.rules[root].start, pda.rules[root].end);
    qw_status st = qw_pda_finish(&pda, root, err);
    qw_arena_release(&g.arena);
    if (st != QW_OK) {
        qw_pda_release(&pda);
        return st;
    }
    qw_grammar *made;
    st = qw_grammar_new(&made, trie, &pda, root, err);
    if (st != QW_OK) return st;
    st = warm(made, err);
    if (st != QW_OK) {
        qw_grammar_unref(made);
        return st;
    }
    *out = made;
    return QW_OK;
}
