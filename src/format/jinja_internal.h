#ifndef QW_FORMAT_JINJA_INTERNAL_H
#define QW_FORMAT_JINJA_INTERNAL_H

// Private to the template interpreter: tokens, the syntax tree, and what connects the passes
//
//     text --lexer--> tokens --parser--> tree --eval--> text
//
// The tree lies in the template's arena and never changes after parsing.

#include "base/map.h"
#include "format/jinja_value.h"

/** Deepest nesting of the syntax tree: brackets, operators, and blocks inside each other. */
#define QW_JINJA_MAX_TREE_DEPTH 200
/** Evaluations and bodies inside each other while rendering, macro calls included. Together with
 *  the size of their stack frames it keeps a rendering well below a 1 MiB thread stack. */
#define QW_JINJA_MAX_NESTING 1000

// ---- tokens

typedef enum qw_jinja_token_type {
    QW_JINJA_TOKEN_END, /* end of the template */
    QW_JINJA_TOKEN_TEXT,
    QW_JINJA_TOKEN_PRINT_BEGIN, /* {{ */
    QW_JINJA_TOKEN_PRINT_END,   /* }} */
    QW_JINJA_TOKEN_BLOCK_BEGIN, /* {% */
    QW_JINJA_TOKEN_BLOCK_END,   /* %} */
    QW_JINJA_TOKEN_NAME,
    QW_JINJA_TOKEN_STRING,
    QW_JINJA_TOKEN_NUMBER,
    QW_JINJA_TOKEN_OPERATOR,
} qw_jinja_token_type;

typedef struct qw_jinja_token {
    qw_jinja_token_type type;
    int line;
    qw_str text;          /* TEXT: the text; else the token as written, also for errors */
    qw_jinja_value value; /* STRING, NUMBER */
} qw_jinja_token;

typedef struct qw_jinja_lexer {
    qw_str source; /* newlines normalized, one trailing newline dropped */
    size_t pos;
    int line;
    enum { QW_JINJA_IN_TEXT, QW_JINJA_IN_PRINT, QW_JINJA_IN_BLOCK, QW_JINJA_IN_RAW } mode;
    qw_jinja_token_type pending; /* a begin token that follows the text just returned; END = none */
    size_t pending_from, pending_to;        /* the bytes of that token */
    bool line_starting;                     /* the last token ended with a newline */
    char brackets[QW_JINJA_MAX_TREE_DEPTH]; /* closing brackets that are due */
    int n_brackets;
    qw_arena *arena; /* for decoded strings */
    qw_error *err;
} qw_jinja_lexer;

/** `source` is UTF-8 and outlives the tokens. */
void qw_jinja_lexer_init(qw_jinja_lexer *lx, qw_str source, qw_arena *arena, qw_error *err);
qw_status qw_jinja_lexer_next(qw_jinja_lexer *lx, qw_jinja_token *out);
/** Record "line N: ..." and return QW_ERR_FORMAT. */
qw_status qw_jinja_syntax_error(qw_error *err, int line, const char *fmt, ...) QW_PRINTF(3, 4);
#if defined(__clang_analyzer__) // as in base/status.h
#define qw_jinja_syntax_error(err, ...)                                                            \
    ((void)qw_jinja_syntax_error(err, __VA_ARGS__), QW_ERR_FORMAT)
#endif

// ---- syntax tree

typedef enum qw_jinja_expr_type {
    QW_JINJA_EXPR_CONST,
    QW_JINJA_EXPR_NAME,
    QW_JINJA_EXPR_LIST,
    QW_JINJA_EXPR_TUPLE,
    QW_JINJA_EXPR_DICT,       /* first: key, value, key, value ... */
    QW_JINJA_EXPR_CONCAT,     /* first ~ ... */
    QW_JINJA_EXPR_COMPARE,    /* first `op` second `op` ...: the operator is in the right operand */
    QW_JINJA_EXPR_ARITHMETIC, /* a op b */
    QW_JINJA_EXPR_NEGATE,     /* -a */
    QW_JINJA_EXPR_PLUS,       /* +a */
    QW_JINJA_EXPR_NOT,        /* not a */
    QW_JINJA_EXPR_AND,        /* a and b */
    QW_JINJA_EXPR_OR,         /* a or b */
    QW_JINJA_EXPR_IF,         /* b if a else c (may be NULL) */
    QW_JINJA_EXPR_ATTR,       /* a.text */
    QW_JINJA_EXPR_ITEM,       /* a[b] */
    QW_JINJA_EXPR_SLICE,  /* a[start:stop:step] = first, three operands, CONST ABSENT if left out */
    QW_JINJA_EXPR_CALL,   /* a(args) */
    QW_JINJA_EXPR_FILTER, /* a | text(args); a == NULL: the text of a filter block */
    QW_JINJA_EXPR_TEST,   /* a is text(args) */
    QW_JINJA_EXPR_NAMESPACE, /* a.text as the target of set */
} qw_jinja_expr_type;

typedef enum qw_jinja_compare {
    QW_JINJA_EQ,
    QW_JINJA_NE,
    QW_JINJA_LT,
    QW_JINJA_LE,
    QW_JINJA_GT,
    QW_JINJA_GE,
    QW_JINJA_IN,
    QW_JINJA_NOT_IN,
} qw_jinja_compare;

typedef struct qw_jinja_expr qw_jinja_expr;
struct qw_jinja_expr {
    uint8_t type;
    uint8_t compare; /* qw_jinja_compare that stands before this operand */
    char op;         /* ARITHMETIC: + - * / % and '.' for //, '^' for ** */
    bool star;       /* argument of a call: *a; keyword argument: **a */
    uint16_t depth;  /* 1 + the depth of the deepest operand */
    int32_t name;    /* NAME: number of the name */
    int line;
    uint32_t n;          /* length of the list at `first` */
    qw_jinja_expr *next; /* the next one of the list this node is in */
    qw_jinja_expr *a, *b, *c;
    qw_jinja_expr *first;    /* operands, or positional arguments */
    qw_jinja_expr *keywords; /* keyword arguments; their names are in `keyword` */
    uint32_t n_keywords;
    qw_str text;    /* NAME, ATTR, FILTER, TEST: the name */
    qw_str keyword; /* as a keyword argument: its name */
    qw_jinja_value constant;
    const qw_jinja_builtin *builtin; /* FILTER, TEST; NULL = unknown, fails when executed */
};

typedef enum qw_jinja_stmt_type {
    QW_JINJA_STMT_TEXT,
    QW_JINJA_STMT_PRINT,     /* expr */
    QW_JINJA_STMT_IF,        /* expr, body, orelse (an elif is an IF in orelse's place) */
    QW_JINJA_STMT_FOR,       /* target in expr if filter: body, orelse */
    QW_JINJA_STMT_SET,       /* target = expr */
    QW_JINJA_STMT_SET_BLOCK, /* target = body through expr (filters, may be NULL) */
    QW_JINJA_STMT_MACRO,
    QW_JINJA_STMT_CALL,   /* expr is the call; body and params are the caller */
    QW_JINJA_STMT_FILTER, /* body through expr */
    QW_JINJA_STMT_WITH,   /* targets = values, pairwise, then body; also generation blocks */
    QW_JINJA_STMT_BREAK,
    QW_JINJA_STMT_CONTINUE,
    QW_JINJA_STMT_REFUSED, /* a tag that fails when executed */
} qw_jinja_stmt_type;

typedef struct qw_jinja_stmt qw_jinja_stmt;
struct qw_jinja_stmt {
    uint8_t type;
    bool uses_loop;                              /* FOR: the body mentions `loop` */
    bool recursive;                              /* FOR */
    bool uses_varargs, uses_kwargs, uses_caller; /* MACRO, CALL: names the body mentions */
    int line;
    int32_t name; /* MACRO: number of its name */
    qw_str text;  /* TEXT; MACRO: name; REFUSED: tag */
    qw_jinja_stmt *next;
    qw_jinja_expr *target, *expr, *filter;
    qw_jinja_expr
        *params; /* MACRO, CALL: NAME nodes, default value in `a`; WITH: targets, value in `a` */
    uint32_t n_params;
    qw_jinja_stmt *body, *orelse; /* first statement of each */
};

/** Numbers of names that the interpreter itself looks for; interned first, in this order. */
enum {
    QW_JINJA_NAME_LOOP,
    QW_JINJA_NAME_CALLER,
    QW_JINJA_NAME_VARARGS,
    QW_JINJA_NAME_KWARGS,
    QW_JINJA_N_KNOWN_NAMES,
};

struct qw_chat_template {
    qw_arena arena; /* everything below */
    char *name;     /* for errors */
    qw_str given;   /* the text as it was given */
    qw_str source;  /* the same with newlines normalized; the tree points into it */
    qw_str *names;  /* by number */
    size_t n_names;
    qw_jinja_stmt *body;
    bool wants_parts; /* see qw_chat_template_wants_parts */
};

/** Parse t->source into t->body and t->names. */
qw_status qw_jinja_parse(qw_chat_template *t, qw_error *err);
/** Find out t->wants_parts (jinja_content.c). */
qw_status qw_jinja_find_content_loops(qw_chat_template *t, qw_error *err);

// ---- evaluation

/** Keeps a function of the recursive evaluator out of its caller, whose stack frame would grow. */
#define QW_JINJA_OWN_FRAME __attribute__((noinline))

/** A macro, or the body of a call block, with the scope it was defined in. */
typedef struct qw_jinja_macro {
    const qw_jinja_stmt *stmt;
    qw_jinja_scope *scope;
} qw_jinja_macro;

/** The state of a for loop, and the `loop` variable. */
typedef struct qw_jinja_loop {
    const qw_jinja_stmt *stmt;
    qw_jinja_scope *outer;        /* scope around the loop */
    qw_jinja_scope *filter_scope; /* where the loop's filter sees the target */
    const qw_jinja_value *items;  /* the iterable */
    size_t n_items, i_item;       /* i_item: the next one to look at */
    bool filtered;                /* items still have to pass the loop's filter */
    bool has_next;                /* `following` holds the next item that passed */
    qw_jinja_value previous, current, following;
    int64_t index0, depth0;
    bool has_changed;
    qw_jinja_value changed; /* last arguments of loop.changed, a tuple */
} qw_jinja_loop;

// jinja_eval.c: expressions

qw_status qw_jinja_eval(qw_jinja_run *r, const qw_jinja_expr *e, qw_jinja_value *out);
/** Apply a chain of filters whose innermost input is `text` (set and filter blocks). */
qw_status qw_jinja_eval_filters(qw_jinja_run *r, const qw_jinja_expr *e, const qw_jinja_value *text,
                                qw_jinja_value *out);
/** A call expression; `caller` (may be NULL) goes along as the keyword argument of that name. */
qw_status qw_jinja_eval_call(qw_jinja_run *r, const qw_jinja_expr *e, const qw_jinja_value *caller,
                             qw_jinja_value *out);
/** Value of a variable: scopes, then context, then globals, else undefined. */
qw_status qw_jinja_lookup(qw_jinja_run *r, int32_t name, qw_jinja_value *out);

// jinja_exec.c: statements, scopes, macros

/** Execute a list of statements. Sets r->flow on break and continue. */
qw_status qw_jinja_exec(qw_jinja_run *r, const qw_jinja_stmt *body);
/** Call any value. */
qw_status qw_jinja_call(qw_jinja_run *r, const qw_jinja_value *callee, const qw_jinja_args *args,
                        qw_jinja_value *out);
/** An empty scope inside `parent`; NULL with r->failed set. */
qw_jinja_scope *qw_jinja_scope_new(qw_jinja_run *r, qw_jinja_scope *parent);
qw_status qw_jinja_scope_set(qw_jinja_run *r, qw_jinja_scope *scope, int32_t name,
                             const qw_jinja_value *v);
/** Assign to a name, a tuple of targets, or a namespace attribute, in the current scope. */
qw_status qw_jinja_assign(qw_jinja_run *r, const qw_jinja_expr *target, const qw_jinja_value *v);

// jinja_loop.c

/** Run a for statement over `iterable`, in scopes inside `outer`. */
qw_status qw_jinja_run_loop(qw_jinja_run *r, const qw_jinja_stmt *stmt,
                            const qw_jinja_value *iterable, qw_jinja_scope *outer, int64_t depth0);
/** An attribute of `loop`; *found is false if it has none of that name (methods: see the table). */
qw_status qw_jinja_loop_attr(qw_jinja_run *r, qw_jinja_loop *loop, qw_str name, qw_jinja_value *out,
                             bool *found);
extern const qw_jinja_builtin qw_jinja_loop_methods[];

#endif
