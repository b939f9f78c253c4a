#ifndef QW_GRAMMAR_JSON_SCHEMA_INTERNAL_H
#define QW_GRAMMAR_JSON_SCHEMA_INTERNAL_H

// The inside of the JSON schema compiler, for json_*.c.

#include "grammar/grammar_sources.h"

/**
 * Schemas that must all hold: what a value at some place has to satisfy. None: anything. The
 * references inside are followed and the alternatives parted only when it is compiled.
 */
typedef struct qw_conj {
    const json_t **parts; /* in the order they were met; each once */
    size_t n, cap;
    bool never; /* one of them is `false` */
} qw_conj;

/** What a conjunction comes to: any of these, each a list of plain schema objects that all hold. */
typedef struct qw_leaves {
    qw_conj *leaves;
    size_t n, cap;
} qw_leaves;

typedef enum qw_json_types {
    QW_JSON_NULL = 1,
    QW_JSON_BOOLEAN = 2,
    QW_JSON_INTEGER = 4,
    QW_JSON_FRACTION = 8, /* numbers that are no integers */
    QW_JSON_STRING = 16,
    QW_JSON_ARRAY = 32,
    QW_JSON_OBJECT = 64,
    QW_JSON_ALL = 127,
} qw_json_types;

/** A rule and the conjunction it stands for. */
typedef struct qw_schema_rule {
    const json_t **parts; /* sorted by address */
    size_t n;
    int32_t rule;
    bool xml; /* of values between <parameter> tags */
    struct qw_schema_rule *next;
} qw_schema_rule;

/** A string rule by its constraints, so that equal ones share their states and masks. */
typedef struct qw_string_rule {
    qw_str key;
    int32_t rule;
    struct qw_string_rule *next;
} qw_string_rule;

enum { QW_SCHEMA_BUCKETS = 4096, QW_SCHEMA_MAX_DEPTH = 100 };

typedef struct qw_schema {
    qw_gram *g;
    qw_pda *p; /* the same as g->pda */
    const json_t *root;
    const qw_json_style *style;
    bool ref_hides; /* before draft 2019-09: what stands beside $ref does not count */
    bool has_inner_ids;
    int32_t space_rule; /* of style->whitespace, QW_PDA_NO_RULE: none */
    qw_schema_rule *rules[QW_SCHEMA_BUCKETS];
    qw_string_rule *strings;
    struct qw_schema_todo *first_todo, **last_todo; /* rules whose nodes are still to be made */
    qw_conj checked;                                /* schemas whose oneOf was found to be clear */
    int depth;                                      /* of nested questions */
} qw_schema;

/** Refuse a keyword by name. */
void qw_schema_refuse(qw_schema *s, const char *keyword, const char *why);

/** Add a schema to a conjunction, unless it is there or says nothing. */
void qw_conj_add(qw_schema *s, qw_conj *c, const json_t *schema);
/** Follow references and part alternatives. */
qw_leaves qw_schema_leaves(qw_schema *s, const qw_conj *c);
/** The schema that a $ref names; NULL: failure. */
const json_t *qw_schema_resolve(qw_schema *s, const json_t *ref);
/** The rule of a conjunction; its nodes may still be made later. */
int32_t qw_schema_rule_of(qw_schema *s, const qw_conj *c, bool xml);
/** The types that all of a leaf's `type` keywords allow. */
unsigned qw_schema_types(qw_schema *s, const qw_conj *leaf);

/** White space, if the style has any: the node behind it. */
int32_t qw_schema_space(qw_schema *s, int32_t from);
/** Separators with their white space: ',' or ':'. The node behind. */
int32_t qw_schema_separator(qw_schema *s, int32_t from, char c);

// The types, json_*.c: a leaf's values of one type between two nodes.
void qw_schema_number(qw_schema *s, const qw_conj *leaf, bool integer, int32_t from, int32_t to);
void qw_schema_string(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to);
void qw_schema_array(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to);
void qw_schema_object(qw_schema *s, const qw_conj *leaf, bool xml, int32_t from, int32_t to);
/** A string's text as it is, up to an end tag. */
void qw_schema_raw_string(qw_schema *s, const qw_conj *leaf, int32_t from, int32_t to);

/** The texts that a leaf's keywords for strings allow; *is_any: no keyword says anything. */
qw_char_dfa qw_schema_string_dfa(qw_schema *s, const qw_conj *leaf, bool *is_any);
/** The strings of a conjunction, alternatives and enums included. */
qw_char_dfa qw_schema_texts(qw_schema *s, const qw_conj *c);
/** Add the rule of a text's characters between quotes. */
void qw_schema_quoted(qw_schema *s, const qw_char_dfa *d, qw_dfa_spelling spelling, int32_t from,
                      int32_t to);
/** The pattern of a known `format`, a regex for the whole text; NULL: not known. */
const char *qw_json_format_pattern(qw_str name);
/** Compile a pattern that is known to be right, or a schema's. */
qw_char_dfa qw_schema_pattern(qw_schema *s, qw_str pattern, bool search);

/** What a leaf of an object says about a name: all schemas that the member has to satisfy. */
void qw_schema_member(qw_schema *s, const qw_conj *leaf, qw_str name, qw_conj *out);
/** What leaves of arrays say about an item. */
void qw_schema_item(qw_schema *s, const qw_conj *leaf, size_t index, qw_conj *out);

/** True if a value satisfies a schema. A failure (in g->pda) says false. */
bool qw_schema_valid(qw_schema *s, const json_t *schema, const json_t *value);
bool qw_schema_valid_leaf(qw_schema *s, const qw_conj *leaf, const json_t *value);
/** The same without the keywords enum and const. */
bool qw_schema_valid_unlisted(qw_schema *s, const qw_conj *leaf, const json_t *value);
/** Equal as JSON: 1 and 1.0 are. */
bool qw_json_same(const json_t *a, const json_t *b);
/** True if no value satisfies both; false if that is not clear. */
bool qw_schema_disjoint(qw_schema *s, const qw_conj *a, const qw_conj *b);

/** Decimal digits of a JSON number: sign, integer part without leading zeros, fraction without
 *  trailing ones. Lives in the arena. */
typedef struct qw_decimal {
    bool negative;
    qw_str whole, fraction;
} qw_decimal;

typedef struct qw_number_bounds {
    bool has_min, has_max, open_min, open_max;
    qw_decimal min, max;
} qw_number_bounds;

bool qw_json_decimal(qw_schema *s, const json_t *number, qw_decimal *out);
int qw_decimal_compare(const qw_decimal *a, const qw_decimal *b);
qw_number_bounds qw_schema_bounds(qw_schema *s, const qw_conj *leaf);
bool qw_decimal_in_bounds(const qw_decimal *d, const qw_number_bounds *b);
/** The numbers in bounds, written without exponent. */
void qw_number_range(qw_gram *g, const qw_number_bounds *b, bool integer, int32_t from, int32_t to);

/** A count like minItems: a non-negative integer. `def` if it is absent. */
int64_t qw_schema_count(qw_schema *s, const json_t *schema, const char *keyword, int64_t def);
/** The largest, or smallest, of a leaf's counts; -1: none. */
int64_t qw_schema_most(qw_schema *s, const qw_conj *leaf, const char *keyword);
int64_t qw_schema_least(qw_schema *s, const qw_conj *leaf, const char *keyword);

static inline bool qw_json_is_text(const json_t *v)
{
    return json_is_string(v) && !qw_json_is_big_integer(v);
}

static inline bool qw_json_is_any_number(const json_t *v)
{
    return json_is_number(v) || qw_json_is_big_integer(v);
}

#endif
