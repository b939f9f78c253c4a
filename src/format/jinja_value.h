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

typedef struct qw_jinja_run qw_jinja_run;
typedef struct qw_jinja_value qw_jinja_value;

typedef enum qw_jinja_kind {
    QW_JINJA_ABSENT = 0, /* an argument that was not given; templates never see it */
    QW_JINJA_UNDEFINED,
    QW_JINJA_NONE,
    QW_JINJA_BOOL,
    QW_JINJA_INT,
    QW_JINJA_BIGINT, /* an integer literal beyond int64: printed and compared, not computed with */
    QW_JINJA_FLOAT,
    QW_JINJA_STRING,
    QW_JINJA_BYTES, /* result of encode(): can only be printed */
    QW_JINJA_LIST,
    QW_JINJA_TUPLE,
    QW_JINJA_RANGE,
    QW_JINJA_VIEW,     /* keys(), values(), items() of a dict */
    QW_JINJA_ITERATOR, /* result of map, select ...: can be consumed once */
    QW_JINJA_DICT,
    QW_JINJA_NAMESPACE,
    QW_JINJA_FUNCTION,
    QW_JINJA_METHOD,
    QW_JINJA_MACRO,
    QW_JINJA_LOOP,
    QW_JINJA_CYCLER,
    QW_JINJA_JOINER,
} qw_jinja_kind;

/** What an undefined value remembers for the error that its use raises. */
typedef enum qw_jinja_missing {
    QW_JINJA_MISSING_NAME,    /* str = the variable */
    QW_JINJA_MISSING_ATTR,    /* str = the attribute, owner = kind of the object */
    QW_JINJA_MISSING_ELEMENT, /* str = repr of the index, owner = kind of the object */
    QW_JINJA_MISSING_UNSAFE,  /* str = the attribute that the sandbox hides, owner as above */
    QW_JINJA_MISSING_HINT,    /* str = the whole sentence */
} qw_jinja_missing;

/** One value, 24 bytes, copied freely. */
struct qw_jinja_value {
    uint8_t kind;    /* qw_jinja_kind */
    uint8_t missing; /* UNDEFINED: qw_jinja_missing */
    uint8_t owner;   /* UNDEFINED: kind of the object that lacks the attribute or element */
    bool grouped;    /* TUPLE: made by groupby, so .grouper and .list work */
    union {
        bool boolean;
        int64_t integer;
        double real;
        qw_str str; /* STRING, BYTES: content; BIGINT: digits with sign; UNDEFINED: see missing */
        struct qw_jinja_list *list; /* LIST, TUPLE, VIEW, ITERATOR */
        struct qw_jinja_range *range;
        struct qw_jinja_dict *dict; /* DICT, NAMESPACE */
        const struct qw_jinja_builtin *builtin;
        struct qw_jinja_method *method;
        struct qw_jinja_macro *macro;
        struct qw_jinja_loop *loop;
        struct qw_jinja_cycler *cycler;
        struct qw_jinja_joiner *joiner;
    };
};

/** A sequence. With `source` set its items are still in the caller's JSON (see qw_jinja_items). */
typedef struct qw_jinja_list {
    qw_jinja_value *items;
    size_t n, cap;
    const json_t *source;
    const char *view; /* VIEW: "dict_keys", "dict_values" or "dict_items" */
    size_t consumed;  /* ITERATOR: items already handed out */
} qw_jinja_list;

typedef struct qw_jinja_range {
    int64_t start, stop, step;
    size_t n;
} qw_jinja_range;

typedef struct qw_jinja_entry {
    qw_jinja_value key, value;
    uint64_t hash;
} qw_jinja_entry;

/** Insertion-ordered map; more than a few entries get an open-addressing index of entry + 1. */
typedef struct qw_jinja_dict {
    qw_jinja_entry *entries;
    uint32_t n, cap;
    uint32_t *index;
    uint32_t index_size; /* a power of two, or 0 */
    const json_t *source;
} qw_jinja_dict;

/** A built-in bound to the value it was looked up on. */
typedef struct qw_jinja_method {
    const struct qw_jinja_builtin *builtin;
    qw_jinja_value self;
} qw_jinja_method;

typedef struct qw_jinja_cycler {
    const qw_jinja_value *items;
    size_t n, next;
} qw_jinja_cycler;

typedef struct qw_jinja_joiner {
    qw_str separator;
    bool used;
} qw_jinja_joiner;

/** Arguments of a call. `v` holds those that the built-in's parameter list names, in its order. */
typedef struct qw_jinja_keyword {
    qw_str name;
    qw_jinja_value value;
} qw_jinja_keyword;

#define QW_JINJA_MAX_PARAMS 5

typedef struct qw_jinja_args {
    const qw_jinja_value *pos;
    size_t n_pos;
    const qw_jinja_keyword *kw;
    size_t n_kw;
    qw_jinja_value v[QW_JINJA_MAX_PARAMS]; /* ABSENT where nothing was given */
} qw_jinja_args;

typedef qw_status qw_jinja_builtin_fn(qw_jinja_run *r, const qw_jinja_value *self,
                                      const qw_jinja_args *args, qw_jinja_value *out);

/** A filter, test, method or global function. */
typedef struct qw_jinja_builtin {
    const char *name;
    const char *params; /* names separated by blanks, "?" after optional ones; NULL: anything */
    qw_jinja_builtin_fn
        *fn; /* NULL: a name the sandbox blocks (method tables), or end of a table */
} qw_jinja_builtin;

/** One scope of variables. Names are compared by their number in the template's name table. */
typedef struct qw_jinja_variable {
    int32_t name;
    qw_jinja_value value;
} qw_jinja_variable;

typedef struct qw_jinja_scope {
    struct qw_jinja_scope *parent;
    qw_jinja_variable *vars;
    uint32_t n, cap;
    bool captured; /* a macro refers to it: it may not be emptied for the next iteration */
} qw_jinja_scope;

typedef enum qw_jinja_flow {
    QW_JINJA_FLOW_ON,
    QW_JINJA_FLOW_BREAK,
    QW_JINJA_FLOW_CONTINUE
} qw_jinja_flow;

/** One rendering. Used by one thread; the template and the context are only read. */
struct qw_jinja_run {
    const qw_chat_template *tmpl;
    const json_t *context;
    const qw_chat_template_options *opt;
    qw_arena arena;
    size_t memory;  /* bytes taken from the arena */
    uint64_t steps; /* see qw_jinja_step */
    int nesting;    /* evaluations and bodies in progress: bounds the C stack */
    int n_calls;    /* macro calls and recursive loops in progress */
    int line;       /* template line being executed, for errors */
    qw_jinja_scope *scope;
    qw_jinja_flow flow;
    qw_jinja_value
        *context_cache; /* per name: the context's or the global value; ABSENT = not yet */
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
#define QW_JINJA_TRY(x)                                                                            \
    do {                                                                                           \
        qw_status try_status = (x);                                                                \
        if (try_status != QW_OK) return try_status;                                                \
    } while (0)

// ---- jinja_run.c: errors, limits, memory

/** Record a failure of the template at the current line; returns QW_ERR_FORMAT. */
qw_status qw_jinja_fail(qw_jinja_run *r, const char *fmt, ...) QW_PRINTF(2, 3);
/** The same for something that is valid Jinja but left out here; returns QW_ERR_UNSUPPORTED. */
qw_status qw_jinja_refuse(qw_jinja_run *r, const char *fmt, ...) QW_PRINTF(2, 3);
#if defined(__clang_analyzer__) // as in base/status.h
#define qw_jinja_fail(r, ...) ((void)qw_jinja_fail(r, __VA_ARGS__), QW_ERR_FORMAT)
#define qw_jinja_refuse(r, ...) ((void)qw_jinja_refuse(r, __VA_ARGS__), QW_ERR_UNSUPPORTED)
#endif
/** The failure after which a function of this file returned NULL. */
static inline qw_status qw_jinja_failure(const qw_jinja_run *r)
{
    QW_ASSERT(r->failed != QW_OK);
    return r->failed;
}
/** Count `n` units of work against the limit. A unit is one evaluation or about 64 bytes moved. */
qw_status qw_jinja_step(qw_jinja_run *r, size_t n);
qw_status qw_jinja_work(qw_jinja_run *r, size_t n_bytes);
/** Zeroed memory for the rendering; NULL with r->failed set when a limit or memory is reached. */
void *qw_jinja_alloc(qw_jinja_run *r, size_t n, size_t size);
/** Enter and leave one level of recursion over values or syntax. */
qw_status qw_jinja_enter(qw_jinja_run *r);
static inline void qw_jinja_leave(qw_jinja_run *r)
{
    r->nesting--;
}
/** Check the output buffer after writing. */
qw_status qw_jinja_check_output(qw_jinja_run *r);
/** Cut the output back to `start` and return the cut text as a string in the arena. */
qw_status qw_jinja_capture(qw_jinja_run *r, size_t start, qw_str *out);

// ---- jinja_value.c: construction, truth, equality, order, containers

static inline qw_jinja_value qw_jinja_none(void)
{
    return (qw_jinja_value){.kind = QW_JINJA_NONE};
}

static inline qw_jinja_value qw_jinja_bool(bool b)
{
    return (qw_jinja_value){.kind = QW_JINJA_BOOL, .boolean = b};
}

static inline qw_jinja_value qw_jinja_int(int64_t i)
{
    return (qw_jinja_value){.kind = QW_JINJA_INT, .integer = i};
}

static inline qw_jinja_value qw_jinja_float(double f)
{
    return (qw_jinja_value){.kind = QW_JINJA_FLOAT, .real = f};
}

static inline qw_jinja_value qw_jinja_string(qw_str s)
{
    return (qw_jinja_value){.kind = QW_JINJA_STRING, .str = s};
}

static inline qw_jinja_value qw_jinja_text(const char *literal)
{
    return (qw_jinja_value){.kind = QW_JINJA_STRING, .str = {literal, strlen(literal)}};
}

static inline qw_jinja_value qw_jinja_hint(const char *sentence)
{
    return (qw_jinja_value){.kind = QW_JINJA_UNDEFINED,
                            .missing = QW_JINJA_MISSING_HINT,
                            .str = {sentence, strlen(sentence)}};
}

static inline bool qw_jinja_is_integral(const qw_jinja_value *v)
{
    return v->kind == QW_JINJA_INT || v->kind == QW_JINJA_BOOL;
}

/** int, bool or float. */
static inline bool qw_jinja_is_number(const qw_jinja_value *v)
{
    return qw_jinja_is_integral(v) || v->kind == QW_JINJA_FLOAT;
}

static inline int64_t qw_jinja_as_int(const qw_jinja_value *v)
{
    return v->kind == QW_JINJA_BOOL ? v->boolean : v->integer;
}

static inline double qw_jinja_as_double(const qw_jinja_value *v)
{
    return v->kind == QW_JINJA_FLOAT ? v->real : (double)qw_jinja_as_int(v);
}

/** Wrap a JSON value without copying; containers are opened one level at a time, when used. */
qw_status qw_jinja_from_json(qw_jinja_run *r, const json_t *json, qw_jinja_value *out);
/** Python's name of the type: "str", "NoneType", "dict" ... */
const char *qw_jinja_type_name(const qw_jinja_value *v);
/** Fail because `v`, an undefined value, was used. */
qw_status qw_jinja_fail_undefined(qw_jinja_run *r, const qw_jinja_value *v);
/** Python's bool(). */
bool qw_jinja_truth(const qw_jinja_value *v);
qw_status qw_jinja_equal(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                         bool *out);
/** Negative, 0 or positive as a < b, a == b, a > b; fails as Python for types without an order.
 *  `op` names the operator for that error. NaN compares as unordered: *unordered is set. */
qw_status qw_jinja_order(qw_jinja_run *r, const qw_jinja_value *a, const qw_jinja_value *b,
                         const char *op, int *out, bool *unordered);

/** Empty list with room for `cap` items. */
qw_jinja_list *qw_jinja_list_new(qw_jinja_run *r, size_t cap);
qw_status qw_jinja_list_push(qw_jinja_run *r, qw_jinja_list *list, const qw_jinja_value *v);
/** A container around a list: kind LIST, TUPLE, ITERATOR. */
static inline qw_jinja_value qw_jinja_sequence(qw_jinja_kind kind, qw_jinja_list *list)
{
    return (qw_jinja_value){.kind = (uint8_t)kind, .list = list};
}
/** The items of a LIST, TUPLE, VIEW or ITERATOR, opened from JSON if need be. */
qw_status qw_jinja_items(qw_jinja_run *r, qw_jinja_list *list, const qw_jinja_value **items,
                         size_t *n);
/** The items of anything that can be iterated; fails as Python for the rest. */
qw_status qw_jinja_iterate(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value **items,
                           size_t *n);
/** len(v) into *n; *has is false for what has no length. */
qw_status qw_jinja_length(qw_jinja_run *r, const qw_jinja_value *v, size_t *n, bool *has);
bool qw_jinja_is_iterable(const qw_jinja_value *v);

qw_jinja_dict *qw_jinja_dict_new(qw_jinja_run *r);
/** Add or replace. Fails for unhashable keys. */
qw_status qw_jinja_dict_put(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *key,
                            const qw_jinja_value *value);
/** *out = the value, or NULL when the key is absent or unhashable. */
qw_status qw_jinja_dict_find(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_value *key,
                             const qw_jinja_value **out);
/** The entries in order. */
qw_status qw_jinja_entries(qw_jinja_run *r, qw_jinja_dict *d, const qw_jinja_entry **entries,
                           size_t *n);

// ---- jinja_print.c: values as text

/** Append str(v) or repr(v) to r->out. */
qw_status qw_jinja_write(qw_jinja_run *r, const qw_jinja_value *v);
qw_status qw_jinja_write_repr(qw_jinja_run *r, const qw_jinja_value *v);
/** str(v): the string itself, or its text in the arena. */
qw_status qw_jinja_to_str(qw_jinja_run *r, const qw_jinja_value *v, qw_str *out);
typedef struct qw_jinja_json_style {
    bool ensure_ascii, sort_keys, has_indent;
    qw_str indent; /* text of one level */
    qw_str item_separator, key_separator;
} qw_jinja_json_style;
/** Append json.dumps(v) to r->out. */
qw_status qw_jinja_write_json(qw_jinja_run *r, const qw_jinja_value *v,
                              const qw_jinja_json_style *style);

// ---- jinja_access.c: attributes, items, slices, arguments, calls

/** v.name: attribute first, then item; undefined when there is neither. */
qw_status qw_jinja_get_attr(qw_jinja_run *r, const qw_jinja_value *v, qw_str name,
                            qw_jinja_value *out);
/** v[key]: item first, then attribute. */
qw_status qw_jinja_get_item(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *key,
                            qw_jinja_value *out);
/** v[start:stop:step]; ABSENT and none stand for a part left out. */
qw_status qw_jinja_get_slice(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *start,
                             const qw_jinja_value *stop, const qw_jinja_value *step,
                             qw_jinja_value *out);
/** A value by the dotted path of a filter's `attribute` argument ("a.b.0", or an integer). A
 *  missing part becomes *fallback if that is not NULL. */
qw_status qw_jinja_get_path(qw_jinja_run *r, const qw_jinja_value *v, const qw_jinja_value *path,
                            const qw_jinja_value *fallback, qw_jinja_value *out);
/** Match arguments to the built-in's parameters and run it. `what` is "filter", "test" ... */
qw_status qw_jinja_call_builtin(qw_jinja_run *r, const qw_jinja_builtin *b,
                                const qw_jinja_value *self, const qw_jinja_args *args,
                                qw_jinja_value *out);
/** Typed arguments of built-ins: v must be a string; an integer; ABSENT leaves *out as it is. */
qw_status qw_jinja_arg_str(qw_jinja_run *r, const qw_jinja_value *v, const char *what, qw_str *out);
qw_status qw_jinja_arg_int(qw_jinja_run *r, const qw_jinja_value *v, const char *what,
                           int64_t *out);

// ---- jinja_operators.c

/** + - * / // % ** on values; `op` is the spelling. */
qw_status qw_jinja_arithmetic(qw_jinja_run *r, char op, const qw_jinja_value *a,
                              const qw_jinja_value *b, qw_jinja_value *out);
qw_status qw_jinja_contains(qw_jinja_run *r, const qw_jinja_value *container,
                            const qw_jinja_value *item, bool *out);
qw_status qw_jinja_concat(qw_jinja_run *r, qw_str a, qw_str b, qw_str *out);
/** `times` copies of `s` in the arena. */
qw_status qw_jinja_repeat(qw_jinja_run *r, qw_str s, int64_t times, qw_str *out);

// ---- jinja_format.c: "..." % args, and str.format

qw_status qw_jinja_format_percent(qw_jinja_run *r, qw_str format, const qw_jinja_value *args,
                                  qw_str *out);
qw_status qw_jinja_format_braces(qw_jinja_run *r, qw_str format, const qw_jinja_args *args,
                                 qw_str *out);

// ---- tables

const qw_jinja_builtin *qw_jinja_find_filter(qw_str name);
const qw_jinja_builtin *qw_jinja_find_test(qw_str name);
const qw_jinja_builtin *qw_jinja_find_global(qw_str name);
/** A method of the kind's type; one with fn == NULL is blocked by the sandbox. */
const qw_jinja_builtin *qw_jinja_find_method(const qw_jinja_value *v, qw_str name);
/** Linear search of a table that ends with a NULL name. */
const qw_jinja_builtin *qw_jinja_find_builtin(const qw_jinja_builtin *table, qw_str name);

/** Run a test by name, as select('odd') does. */
qw_status qw_jinja_run_test(qw_jinja_run *r, const qw_jinja_builtin *test, const qw_jinja_value *v,
                            const qw_jinja_args *args, bool *out);
/** A stable sort. `keys` decide (compared without letter case unless case_sensitive), `items` move
 *  along. */
qw_status qw_jinja_sort(qw_jinja_run *r, qw_jinja_value *items, qw_jinja_value *keys, size_t n,
                        bool reverse);
/** Lower-case copy of a string for comparisons that ignore case; other values as they are. */
qw_status qw_jinja_fold_case(qw_jinja_run *r, const qw_jinja_value *v, qw_jinja_value *out);

// String methods that filters share (jinja_strings.c).
qw_status qw_jinja_str_replace(qw_jinja_run *r, qw_str s, qw_str old, qw_str new_text,
                               int64_t count, qw_str *out);
qw_status qw_jinja_str_join(qw_jinja_run *r, qw_str separator, const qw_jinja_value *items,
                            size_t n, bool convert, qw_str *out);
qw_status qw_jinja_str_splitlines(qw_jinja_run *r, qw_str s, bool keep_ends, qw_jinja_list **out);
qw_status qw_jinja_str_split(qw_jinja_run *r, qw_str s, const qw_str *separator, int64_t max_split,
                             bool from_right, qw_jinja_list **out);
/** Pad to `width` code points; align is '<', '>', '^' or 'c' (str.center's own rounding). */
qw_status qw_jinja_str_pad(qw_jinja_run *r, qw_str s, int64_t width, qw_str fill, char align,
                           qw_str *out);
typedef enum qw_jinja_case {
    QW_JINJA_UPPER,
    QW_JINJA_LOWER,
    QW_JINJA_TITLE,
    QW_JINJA_CAPITALIZE,
    QW_JINJA_SWAPCASE
} qw_jinja_case;
qw_status qw_jinja_str_case(qw_jinja_run *r, qw_str s, qw_jinja_case to, qw_str *out);

#endif
