#ifndef QW_FORMAT_JINJA_VALUE_H
#define QW_FORMAT_JINJA_VALUE_H

// Private to the template interpreter: the values of a running template and the state of one
// rendering. Everything a rendering allocates lies in its arena and goes away with it; text that
// comes from the template or from the caller's JSON is borrowed.

#include <jansson.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/str.h"
#include "format/chat_template.h"

typedef struct jinja_run jinja_run;
typedef struct jinja_value jinja_value;

typedef enum jinja_kind {
    JINJA_ABSENT = 0, /* an argument that was not given; templates never see it */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_BIGINT, /* an integer literal beyond int64: printed and compared, not computed with */
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_BYTES, /* result of encode(): can only be printed */
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_RANGE,
    JINJA_VIEW,     /* keys(), values(), items() of a dict */
    JINJA_ITERATOR, /* result of map, select ...: can be consumed once */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_FUNCTION,
    JINJA_METHOD,
    JINJA_MACRO,
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
} jinja_kind;

/** What an undefined value remembers for the error that its use raises. */
typedef enum jinja_missing {
    JINJA_MISSING_NAME,    /* str = the variable */
    JINJA_MISSING_ATTR,    /* str = the attribute, owner = kind of the object */
    JINJA_MISSING_ELEMENT, /* str = repr of the index, owner = kind of the object */
    JINJA_MISSING_UNSAFE,  /* str = the attribute that the sandbox hides, owner as above */
    JINJA_MISSING_HINT,    /* str = the whole sentence */
} jinja_missing;

/** One value, 24 bytes, copied freely. */
struct jinja_value {
    uint8_t kind;    /* jinja_kind */
    uint8_t missing; /* UNDEFINED: jinja_missing */
    uint8_t owner;   /* UNDEFINED: kind of the object that lacks the attribute or element */
    bool grouped;    /* TUPLE: made by groupby, so .grouper and .list work */
    union {
        bool boolean;
        int64_t integer;
        double real;
        qw_str str; /* STRING, BYTES: content; BIGINT: digits with sign; UNDEFINED: see missing */
        struct jinja_list *list; /* LIST, TUPLE, VIEW, ITERATOR */
        struct jinja_range *range;
        struct jinja_dict *dict; /* DICT, NAMESPACE */
        const struct jinja_builtin *builtin;
        struct jinja_method *method;
        struct jinja_macro *macro;
        struct jinja_loop *loop;
        struct jinja_cycler *cycler;
        struct jinja_joiner *joiner;
    };
};

/** A sequence. With `source` set its items are still in the caller's JSON (see jinja_items). */
typedef struct jinja_list {
    jinja_value *items;
    size_t n, cap;
    const json_t *source;
    const char *view; /* VIEW: "dict_keys", "dict_values" or "dict_items" */
    size_t consumed;  /* ITERATOR: items already handed out */
} jinja_list;

typedef struct jinja_range {
    int64_t start, stop, step;
    size_t n;
} jinja_range;

typedef struct jinja_entry {
    jinja_value key, value;
    uint64_t hash;
} jinja_entry;

/** Insertion-ordered map; more than a few entries get an open-addressing index of entry + 1. */
typedef struct jinja_dict {
    jinja_entry *entries;
    uint32_t n, cap;
    uint32_t *index;
    uint32_t index_size; /* a power of two, or 0 */
    const json_t *source;
} jinja_dict;

/** A built-in bound to the value it was looked up on. */
typedef struct jinja_method {
    const struct jinja_builtin *builtin;
    jinja_value self;
} jinja_method;

typedef struct jinja_cycler {
    const jinja_value *items;
    size_t n, next;
} jinja_cycler;

typedef struct jinja_joiner {
    qw_str separator;
    bool used;
} jinja_joiner;

/** Arguments of a call. `v` holds those that the built-in's parameter list names, in its order. */
typedef struct jinja_keyword {
    qw_str name;
    jinja_value value;
} jinja_keyword;

#define JINJA_MAX_PARAMS 5

typedef struct jinja_args {
    const jinja_value *pos;
    size_t n_pos;
    const jinja_keyword *kw;
    size_t n_kw;
    jinja_value v[JINJA_MAX_PARAMS]; /* ABSENT where nothing was given */
} jinja_args;

typedef qw_status jinja_builtin_fn(jinja_run *r, const jinja_value *self, const jinja_args *args,
                                   jinja_value *out);

/** A filter, test, method or global function. */
typedef struct jinja_builtin {
    const char *name;
    const char *params;   /* names separated by blanks, "?" after optional ones; NULL: anything */
    jinja_builtin_fn *fn; /* NULL: a name the sandbox blocks (method tables), or end of a table */
} jinja_builtin;

/** One scope of variables. Names are compared by their number in the template's name table. */
typedef struct jinja_variable {
    int32_t name;
    jinja_value value;
} jinja_variable;

typedef struct jinja_scope {
    struct jinja_scope *parent;
    jinja_variable *vars;
    uint32_t n, cap;
    bool captured; /* a macro refers to it: it may not be emptied for the next iteration */
} jinja_scope;

typedef enum jinja_flow { JINJA_FLOW_ON, JINJA_FLOW_BREAK, JINJA_FLOW_CONTINUE } jinja_flow;

/** One rendering. Used by one thread; the template and the context are only read. */
struct jinja_run {
    const qw_chat_template *tmpl;
    const json_t *context;
    const qw_chat_template_options *opt;
    qw_arena arena;
    size_t memory;  /* bytes taken from the arena */
    uint64_t steps; /* see jinja_step */
    int nesting;    /* evaluations and bodies in progress: bounds the C stack */
    int n_calls;    /* macro calls and recursive loops in progress */
    int line;       /* template line being executed, for errors */
    jinja_scope *scope;
    jinja_flow flow;
    jinja_value *context_cache; /* per name: the context's or the global value; ABSENT = not yet */
    // All output goes to one buffer. A captured body (macro, set block ...) is the tail of it,
    // copied into the arena and cut off again when the body ends.
    qw_buf out;
    // The text made by the last concatenation has room behind it: a + b + c ... appends there.
    char *tip;
    size_t tip_len, tip_cap;
    qw_error *err;
    qw_status failed;
};

/** Evaluate `x`; leave the calling function with its status unless that is QW_OK. */
#define JINJA_TRY(x)                                                                               \
    do {                                                                                           \
        qw_status try_status = (x);                                                                \
        if (try_status != QW_OK) return try_status;                                                \
    } while (0)

// ---- jinja_run.c: errors, limits, memory

/** Record a failure of the template at the current line; returns QW_ERR_FORMAT. */
qw_status jinja_fail(jinja_run *r, const char *fmt, ...) QW_PRINTF(2, 3);
/** The same for something that is valid Jinja but left out here; returns QW_ERR_UNSUPPORTED. */
qw_status jinja_refuse(jinja_run *r, const char *fmt, ...) QW_PRINTF(2, 3);
/** Count `n` units of work against the limit. A unit is one evaluation or about 64 bytes moved. */
qw_status jinja_step(jinja_run *r, size_t n);
qw_status jinja_work(jinja_run *r, size_t n_bytes);
/** Zeroed memory for the rendering; NULL with r->failed set when a limit or memory is reached. */
void *jinja_alloc(jinja_run *r, size_t n, size_t size);
/** Enter and leave one level of recursion over values or syntax. */
qw_status jinja_enter(jinja_run *r);
static inline void jinja_leave(jinja_run *r)
{
    r->nesting--;
}
/** Check the output buffer after writing. */
qw_status jinja_check_output(jinja_run *r);
/** Cut the output back to `start` and return the cut text as a string in the arena. */
qw_status jinja_capture(jinja_run *r, size_t start, qw_str *out);

// ---- jinja_value.c: construction, truth, equality, order, containers

static inline jinja_value jinja_none(void)
{
    return (jinja_value){.kind = JINJA_NONE};
}

static inline jinja_value jinja_bool(bool b)
{
    return (jinja_value){.kind = JINJA_BOOL, .boolean = b};
}

static inline jinja_value jinja_int(int64_t i)
{
    return (jinja_value){.kind = JINJA_INT, .integer = i};
}

static inline jinja_value jinja_float(double f)
{
    return (jinja_value){.kind = JINJA_FLOAT, .real = f};
}

static inline jinja_value jinja_string(qw_str s)
{
    return (jinja_value){.kind = JINJA_STRING, .str = s};
}

static inline jinja_value jinja_text(const char *literal)
{
    return (jinja_value){.kind = JINJA_STRING, .str = {literal, strlen(literal)}};
}

static inline jinja_value jinja_hint(const char *sentence)
{
    return (jinja_value){.kind = JINJA_UNDEFINED,
                         .missing = JINJA_MISSING_HINT,
                         .str = {sentence, strlen(sentence)}};
}

static inline bool jinja_is_integral(const jinja_value *v)
{
    return v->kind == JINJA_INT || v->kind == JINJA_BOOL;
}

/** int, bool or float. */
static inline bool jinja_is_number(const jinja_value *v)
{
    return jinja_is_integral(v) || v->kind == JINJA_FLOAT;
}

static inline int64_t jinja_as_int(const jinja_value *v)
{
    return v->kind == JINJA_BOOL ? v->boolean : v->integer;
}

static inline double jinja_as_double(const jinja_value *v)
{
    return v->kind == JINJA_FLOAT ? v->real : (double)jinja_as_int(v);
}

/** Wrap a JSON value without copying; containers are opened one level at a time, when used. */
qw_status jinja_from_json(jinja_run *r, const json_t *json, jinja_value *out);
/** Python's name of the type: "str", "NoneType", "dict" ... */
const char *jinja_type_name(const jinja_value *v);
/** Fail because `v`, an undefined value, was used. */
qw_status jinja_fail_undefined(jinja_run *r, const jinja_value *v);
/** Python's bool(). */
bool jinja_truth(const jinja_value *v);
qw_status jinja_equal(jinja_run *r, const jinja_value *a, const jinja_value *b, bool *out);
/** Negative, 0 or positive as a < b, a == b, a > b; fails as Python for types without an order.
 *  `op` names the operator for that error. NaN compares as unordered: *unordered is set. */
qw_status jinja_order(jinja_run *r, const jinja_value *a, const jinja_value *b, const char *op,
                      int *out, bool *unordered);

/** Empty list with room for `cap` items. */
jinja_list *jinja_list_new(jinja_run *r, size_t cap);
qw_status jinja_list_push(jinja_run *r, jinja_list *list, const jinja_value *v);
/** A container around a list: kind LIST, TUPLE, ITERATOR. */
static inline jinja_value jinja_sequence(jinja_kind kind, jinja_list *list)
{
    return (jinja_value){.kind = (uint8_t)kind, .list = list};
}
/** The items of a LIST, TUPLE, VIEW or ITERATOR, opened from JSON if need be. */
qw_status jinja_items(jinja_run *r, jinja_list *list, const jinja_value **items, size_t *n);
/** The items of anything that can be iterated; fails as Python for the rest. */
qw_status jinja_iterate(jinja_run *r, const jinja_value *v, const jinja_value **items, size_t *n);
/** len(v) into *n; *has is false for what has no length. */
qw_status jinja_length(jinja_run *r, const jinja_value *v, size_t *n, bool *has);
bool jinja_is_iterable(const jinja_value *v);

jinja_dict *jinja_dict_new(jinja_run *r);
/** Add or replace. Fails for unhashable keys. */
qw_status jinja_dict_put(jinja_run *r, jinja_dict *d, const jinja_value *key,
                         const jinja_value *value);
/** *out = the value, or NULL when the key is absent or unhashable. */
qw_status jinja_dict_find(jinja_run *r, jinja_dict *d, const jinja_value *key,
                          const jinja_value **out);
/** The entries in order. */
qw_status jinja_entries(jinja_run *r, jinja_dict *d, const jinja_entry **entries, size_t *n);

// ---- jinja_print.c: values as text

/** Append str(v) or repr(v) to r->out. */
qw_status jinja_write(jinja_run *r, const jinja_value *v);
qw_status jinja_write_repr(jinja_run *r, const jinja_value *v);
/** str(v): the string itself, or its text in the arena. */
qw_status jinja_to_str(jinja_run *r, const jinja_value *v, qw_str *out);
typedef struct jinja_json_style {
    bool ensure_ascii, sort_keys, has_indent;
    qw_str indent; /* text of one level */
    qw_str item_separator, key_separator;
} jinja_json_style;
/** Append json.dumps(v) to r->out. */
qw_status jinja_write_json(jinja_run *r, const jinja_value *v, const jinja_json_style *style);

// ---- jinja_access.c: attributes, items, slices, arguments, calls

/** v.name: attribute first, then item; undefined when there is neither. */
qw_status jinja_get_attr(jinja_run *r, const jinja_value *v, qw_str name, jinja_value *out);
/** v[key]: item first, then attribute. */
qw_status jinja_get_item(jinja_run *r, const jinja_value *v, const jinja_value *key,
                         jinja_value *out);
/** v[start:stop:step]; ABSENT and none stand for a part left out. */
qw_status jinja_get_slice(jinja_run *r, const jinja_value *v, const jinja_value *start,
                          const jinja_value *stop, const jinja_value *step, jinja_value *out);
/** A value by the dotted path of a filter's `attribute` argument ("a.b.0", or an integer). A
 *  missing part becomes *fallback if that is not NULL. */
qw_status jinja_get_path(jinja_run *r, const jinja_value *v, const jinja_value *path,
                         const jinja_value *fallback, jinja_value *out);
/** Match arguments to the built-in's parameters and run it. `what` is "filter", "test" ... */
qw_status jinja_call_builtin(jinja_run *r, const jinja_builtin *b, const jinja_value *self,
                             const jinja_args *args, jinja_value *out);
/** Typed arguments of built-ins: v must be a string; an integer; ABSENT leaves *out as it is. */
qw_status jinja_arg_str(jinja_run *r, const jinja_value *v, const char *what, qw_str *out);
qw_status jinja_arg_int(jinja_run *r, const jinja_value *v, const char *what, int64_t *out);

// ---- jinja_operators.c

/** + - * / // % ** on values; `op` is the spelling. */
qw_status jinja_arithmetic(jinja_run *r, char op, const jinja_value *a, const jinja_value *b,
                           jinja_value *out);
qw_status jinja_contains(jinja_run *r, const jinja_value *container, const jinja_value *item,
                         bool *out);
qw_status jinja_concat(jinja_run *r, qw_str a, qw_str b, qw_str *out);
/** `times` copies of `s` in the arena. */
qw_status jinja_repeat(jinja_run *r, qw_str s, int64_t times, qw_str *out);

// ---- jinja_format.c: "..." % args, and str.format

qw_status jinja_format_percent(jinja_run *r, qw_str format, const jinja_value *args, qw_str *out);
qw_status jinja_format_braces(jinja_run *r, qw_str format, const jinja_args *args, qw_str *out);

// ---- tables

const jinja_builtin *jinja_find_filter(qw_str name);
const jinja_builtin *jinja_find_test(qw_str name);
const jinja_builtin *jinja_find_global(qw_str name);
/** A method of the kind's type; one with fn == NULL is blocked by the sandbox. */
const jinja_builtin *jinja_find_method(const jinja_value *v, qw_str name);
/** Linear search of a table that ends with a NULL name. */
const jinja_builtin *jinja_find_builtin(const jinja_builtin *table, qw_str name);

/** Run a test by name, as select('odd') does. */
qw_status jinja_run_test(jinja_run *r, const jinja_builtin *test, const jinja_value *v,
                         const jinja_args *args, bool *out);
/** A stable sort. `keys` decide (compared without letter case unless case_sensitive), `items` move
 *  along. */
qw_status jinja_sort(jinja_run *r, jinja_value *items, jinja_value *keys, size_t n, bool reverse);
/** Lower-case copy of a string for comparisons that ignore case; other values as they are. */
qw_status jinja_fold_case(jinja_run *r, const jinja_value *v, jinja_value *out);

// String methods that filters share (jinja_strings.c).
qw_status jinja_str_replace(jinja_run *r, qw_str s, qw_str old, qw_str new_text, int64_t count,
                            qw_str *out);
qw_status jinja_str_join(jinja_run *r, qw_str separator, const jinja_value *items, size_t n,
                         bool convert, qw_str *out);
qw_status jinja_str_splitlines(jinja_run *r, qw_str s, bool keep_ends, jinja_list **out);
qw_status jinja_str_split(jinja_run *r, qw_str s, const qw_str *separator, int64_t max_split,
                          bool from_right, jinja_list **out);
/** Pad to `width` code points; align is '<', '>', '^' or 'c' (str.center's own rounding). */
qw_status jinja_str_pad(jinja_run *r, qw_str s, int64_t width, qw_str fill, char align,
                        qw_str *out);
typedef enum jinja_case {
    JINJA_UPPER,
    JINJA_LOWER,
    JINJA_TITLE,
    JINJA_CAPITALIZE,
    JINJA_SWAPCASE
} jinja_case;
qw_status jinja_str_case(jinja_run *r, qw_str s, jinja_case to, qw_str *out);

#endif
