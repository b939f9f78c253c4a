#ifndef QW_GRAMMAR_GRAMMAR_H
#define QW_GRAMMAR_GRAMMAR_H

#include "format/json.h"
#include "format/tokenizer.h"

/**
 * Constrained decoding: what an answer may look like, as a pushdown automaton over bytes.
 *
 *   spec (schema, regex, ...) --compile--> qw_grammar --new--> qw_matcher, one for each sequence
 *
 * A compiled grammar says for each state which tokens of the vocabulary may follow. These masks are
 * made when they are first needed and kept, so all requests with the same grammar share them
 * (qw_grammar_cache). Compiling is for worker threads: it takes milliseconds and is limited in time
 * and memory whatever the input.
 */
typedef struct qw_grammar qw_grammar;

typedef enum qw_grammar_kind {
    QW_GRAMMAR_JSON_OBJECT,    /* any JSON object */
    QW_GRAMMAR_JSON_SCHEMA,    /* json: a schema, an object or a boolean */
    QW_GRAMMAR_REGEX,          /* text: the whole answer matches it */
    QW_GRAMMAR_CHOICE,         /* json: a list of strings, one of which is the answer */
    QW_GRAMMAR_EBNF,           /* text: rules in the form `root ::= "a" [0-9]+ | other` */
    QW_GRAMMAR_STRUCTURAL_TAG, /* json: a structural tag, see below */
} qw_grammar_kind;

/**
 * What to compile. Borrowed for the call.
 *
 * A structural tag is what response_format takes, either {"type": "structural_tag", "format": F},
 * F itself, or the older {"structures": [{"begin", "schema", "end"}], "triggers": [...]}. F is one
 * of (the names are xgrammar's):
 *
 *   {"type": "const_string", "value": "text"}
 *   {"type": "json_schema", "json_schema": SCHEMA}
 *   {"type": "qwen_xml_parameter", "json_schema": SCHEMA}
 *          an object's members as <parameter=NAME>VALUE</parameter>, strings without quotes
 *   {"type": "regex", "pattern": "..."}       {"type": "grammar", "grammar": "root ::= ..."}
 *   {"type": "any_text"}                      free text; up to `end` inside of a tag
 *   {"type": "sequence", "elements": [F...]}  {"type": "or", "elements": [F...]}
 *   {"type": "tag", "begin": "text", "content": F, "end": "text"}
 *   {"type": "triggered_tags", "triggers": ["text"...], "tags": [TAG...],
 *    "at_least_one": false, "stop_after_first": false}
 *          free text in which a tag must follow wherever a trigger, a prefix of its begin, appears
 *   {"type": "tags_with_separator", "tags": [TAG...], "separator": "text",
 *    "at_least_one": false, "stop_after_first": false}
 *
 * Example, one or more calls of two tools in the hermes form, and nothing else:
 *
 *   {"type": "tags_with_separator", "separator": "\n", "at_least_one": true, "tags": [
 *     {"type": "tag", "begin": "<tool_call>\n{\"name\": \"f\", \"arguments\": ",
 *      "content": {"type": "json_schema", "json_schema": SCHEMA_OF_F}, "end": "}\n</tool_call>"},
 *     {"type": "tag", "begin": "<tool_call>\n{\"name\": \"g\", \"arguments\": ", ...}]}
 */
typedef struct qw_grammar_spec {
    qw_grammar_kind kind;
    const json_t *json;
    qw_str text;
    bool compact;      /* no optional white space in JSON: ", " and ": " (disable_any_whitespace) */
    bool closed;       /* objects that list properties have no others, unless the schema says so */
    qw_str whitespace; /* a regex for the white space in JSON instead; ptr NULL: none */
} qw_grammar_spec;

/** The vocabulary as a prefix tree, shared by all grammars of a model. */
typedef struct qw_vocab_trie qw_vocab_trie;

/**
 * Compile. The trie is borrowed for the grammar's life. Errors: QW_ERR_USAGE, the spec is malformed
 * or too complex; QW_ERR_UNSUPPORTED, it says something that cannot be guaranteed, by name; both
 * are 400. QW_ERR_NO_MEMORY.
 */
QW_MUST_CHECK qw_status qw_grammar_compile(qw_grammar **out, const qw_vocab_trie *trie,
                                           const qw_grammar_spec *spec, qw_error *err);
/** One more owner; returns `g`. Any thread. */
qw_grammar *qw_grammar_ref(qw_grammar *g);
/** One owner less; the last one frees. NULL is fine. */
void qw_grammar_unref(qw_grammar *g);
/** Bytes it takes now, masks included. */
size_t qw_grammar_size(qw_grammar *g);

/** Compiled grammars of a tokenizer by their text, the least recently used given up first. */
typedef struct qw_grammar_cache qw_grammar_cache;

/**
 * `tokenizer` is borrowed. Nothing is built before the first use, which takes the time of sorting
 * the vocabulary once (qw_grammar_cache_warm does it earlier).
 */
QW_MUST_CHECK qw_status qw_grammar_cache_new(qw_grammar_cache **out, const qw_tokenizer *tokenizer,
                                             qw_error *err);
/** Grammars that were handed out stay valid, as long as the tokenizer does. NULL is fine. */
void qw_grammar_cache_free(qw_grammar_cache *c);
QW_MUST_CHECK qw_status qw_grammar_cache_warm(qw_grammar_cache *c, qw_error *err);
/** Find or compile; the caller owns a reference to *out. Any thread. Errors of compile. */
QW_MUST_CHECK qw_status qw_grammar_cache_get(qw_grammar_cache *c, qw_grammar **out,
                                             const qw_grammar_spec *spec, qw_error *err);

#endif
