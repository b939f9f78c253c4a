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
#define JINJA_MAX_TREE_DEPTH 200
/** Evaluations and bodies inside each other while rendering, macro calls included. Together with
 *  the size of their stack frames it keeps a rendering well below a 1 MiB thread stack. */
#define JINJA_MAX_NESTING 1000

// ---- tokens

typedef enum jinja_token_type {
    JINJA_TOKEN_END, /* end of the template */
    JINJA_TOKEN_TEXT,
    JINJA_TOKEN_PRINT_BEGIN, /* {{ */
    JINJA_TOKEN_PRINT_END,   /* }} */
    JINJA_TOKEN_BLOCK_BEGIN, /* {% */
    JINJA_TOKEN_BLOCK_END,   /* %} */
    JINJA_TOKEN_NAME,
    JINJA_TOKEN_STRING,
    JINJA_TOKEN_NUMBER,
    JINJA_TOKEN_OPERATOR,
} jinja_token_type;

typedef struct jinja_token {
    jinja_token_type type;
    int line;
    qw_str text;       /* TEXT: the text; else the token as written, also for errors */
    jinja_value value; /* STRING, NUMBER */
} jinja_token;

typedef struct jinja_lexer {
    qw_str source; /* newlines normalized, one trailing newline dropped */
    size_t pos;
    int line;
    enum { JINJA_IN_TEXT, JINJA_IN_PRINT, JINJA_IN_BLOCK, JINJA_IN_RAW } mode;
    jinja_token_type pending; /* a begin token that follows the text just returned; END = none */
    size_t pending_from, pending_to;     /* the bytes of that token */
    bool line_starting;                  /* the last token ended with a newline */
    char brackets[JINJA_MAX_TREE_DEPTH]; /* closing brackets that are due */
    int n_brackets;
    qw_arena *arena; /* for decoded strings */
    qw_error *err;
} jinja_lexer;

/** `source` is UTF-8 and outlives the tokens. */
void jinja_lexer_init(jinja_lexer *lx, qw_str source, qw_arena *arena, qw_error *err);
qw_status jinja_lexer_next(jinja_lexer *lx, jinja_token *out);
/** Record "line N: ..." and return QW_ERR_FORMAT. */
qw_status jinja_syntax_error(qw_error *err, int line, const char *fmt, ...) QW_PRINTF(3, 4);

// ---- syntax tree

typedef enum jinja_expr_type {
    JINJA_EXPR_CONST,
    JINJA_EXPR_NAME,
    JINJA_EXPR_LIST,
    JINJA_EXPR_TUPLE,
    JINJA_EXPR_DICT,       /* first: key, value, key, value ... */
    JINJA_EXPR_CONCAT,     /* first ~ ... */
    JINJA_EXPR_COMPARE,    /* first `op` second `op` ...: the operator is in the right operand */
    JINJA_EXPR_ARITHMETIC, /* a op b */
    JINJA_EXPR_NEGATE,     /* -a */
    JINJA_EXPR_PLUS,       /* +a */
    JINJA_EXPR_NOT,        /* not a */
    JINJA_EXPR_AND,        /* a and b */
    JINJA_EXPR_OR,         /* a or b */
    JINJA_EXPR_IF,         /* b if a else c (may be NULL) */
    JINJA_EXPR_ATTR,       /* a.text */
    JINJA_EXPR_ITEM,       /* a[b] */
    JINJA_EXPR_SLICE,     /* a[start:stop:step] = first, three operands, CONST ABSENT if left out */
    JINJA_EXPR_CALL,      /* a(args) */
    JINJA_EXPR_FILTER,    /* a | text(args); a == NULL: the text of a filter block */
    JINJA_EXPR_TEST,      /* a is text(args) */
    JINJA_EXPR_NAMESPACE, /* a.text as the target of set */
} jinja_expr_type;

typedef enum jinja_compare {
    JINJA_EQ,
    JINJA_NE,
    JINJA_LT,
    JINJA_LE,
    JINJA_GT,
    JINJA_GE,
    JINJA_IN,
    JINJA_NOT_IN,
} jinja_compare;

typedef struct jinja_expr jinja_expr;
struct jinja_expr {
    uint8_t type;
    uint8_t compare; /* jinja_compare that stands before this operand */
    char op;         /* ARITHMETIC: + - * / % and '.' for //, '^' for ** */
    bool star;       /* argument of a call: *a; keyword argument: **a */
    uint16_t depth;  /* 1 + the depth of the deepest operand */
    int32_t name;    /* NAME: number of the name */
    int line;
    uint32_t n;       /* length of the list at `first` */
    jinja_expr *next; /* the next one of the list this node is in */
    jinja_expr *a, *b, *c;
    jinja_expr *first;    /* operands, or positional arguments */
    jinja_expr *keywords; /* keyword arguments; their names are in `keyword` */
    uint32_t n_keywords;
    qw_str text;    /* NAME, ATTR, FILTER, TEST: the name */
    qw_str keyword; /* as a keyword argument: its name */
    jinja_value constant;
    const jinja_builtin *builtin; /* FILTER, TEST; NULL = unknown, fails when executed */
};

typedef enum jinja_stmt_type {
    JINJA_STMT_TEXT,
    JINJA_STMT_PRINT,     /* expr */
    JINJA_STMT_IF,        /* expr, body, orelse (an elif is an IF in orelse's place) */
    JINJA_STMT_FOR,       /* target in expr if filter: body, orelse */
    JINJA_STMT_SET,       /* target = expr */
    JINJA_STMT_SET_BLOCK, /* target = body through expr (filters, may be NULL) */
    JINJA_STMT_MACRO,
    JINJA_STMT_CALL,   /* expr is the call; body and params are the caller */
    JINJA_STMT_FILTER, /* body through expr */
    JINJA_STMT_WITH,   /* targets = values, pairwise, then body; also generation blocks */
    JINJA_STMT_BREAK,
    JINJA_STMT_CONTINUE,
    JINJA_STMT_REFUSED, /* a tag that fails when executed */
} jinja_stmt_type;

typedef struct jinja_stmt jinja_stmt;
struct jinja_stmt {
    uint8_t type;
    bool uses_loop;                              /* FOR: the body mentions `loop` */
    bool recursive;                              /* FOR */
    bool uses_varargs, uses_kwargs, uses_caller; /* MACRO, CALL: names the body mentions */
    int line;
    int32_t name; /* MACRO: number of its name */
    qw_str text;  /* TEXT; MACRO: name; REFUSED: tag */
    jinja_stmt *next;
    jinja_expr *target, *expr, *filter;
    jinja_expr
        *params; /* MACRO, CALL: NAME nodes, default value in `a`; WITH: targets, value in `a` */
    uint32_t n_params;
    jinja_stmt *body, *orelse; /* first statement of each */
};

/** Numbers of names that the interpreter itself looks for; interned first, in this order. */
enum {
    JINJA_NAME_LOOP,
    JINJA_NAME_CALLER,
    JINJA_NAME_VARARGS,
    JINJA_NAME_KWARGS,
    JINJA_N_KNOWN_NAMES,
};

struct qw_chat_template {
    qw_arena arena; /* everything below */
    char *name;     /* for errors */
    qw_str given;   /* the text as it was given */
    qw_str source;  /* the same with newlines normalized; the tree points into it */
    qw_str *names;  /* by number */
    size_t n_names;
    jinja_stmt *body;
    bool wants_parts; /* see qw_chat_template_wants_parts */
};

/** Parse t->source into t->body and t->names. */
qw_status jinja_parse(qw_chat_template *t, qw_error *err);
/** Find out t->wants_parts (jinja_content.c). */
qw_status jinja_find_content_loops(qw_chat_template *t, qw_error *err);

// ---- evaluation

/** Keeps a function of the recursive evaluator out of its caller, whose stack frame would grow. */
#define JINJA_OWN_FRAME __attribute__((noinline))

/** A macro, or the body of a call block, with the scope it was defined in. */
typedef struct jinja_macro {
    const jinja_stmt *stmt;
    jinja_scope *scope;
} jinja_macro;

/** The state of a for loop, and the `loop` variable. */
typedef struct jinja_loop {
    const jinja_stmt *stmt;
    jinja_scope *outer;        /* scope around the loop */
    jinja_scope *filter_scope; /* where the loop's filter sees the target */
    const jinja_value *items;  /* the iterable */
    size_t n_items, i_item;    /* i_item: the next one to look at */
    bool filtered;             /* items still have to pass the loop's filter */
    bool has_next;             /* `following` holds the next item that passed */
    jinja_value previous, current, following;
    int64_t index0, depth0;
    bool has_changed;
    jinja_value changed; /* last arguments of loop.changed, a tuple */
} jinja_loop;

// jinja_eval.c: expressions

qw_status jinja_eval(jinja_run *r, const jinja_expr *e, jinja_value *out);
/** Apply a chain of filters whose innermost input is `text` (set and filter blocks). */
qw_status jinja_eval_filters(jinja_run *r, const jinja_expr *e, const jinja_value *text,
                             jinja_value *out);
/** A call expression; `caller` (may be NULL) goes along as the keyword argument of that name. */
qw_status jinja_eval_call(jinja_run *r, const jinja_expr *e, const jinja_value *caller,
                          jinja_value *out);
/** Value of a variable: scopes, then context, then globals, else undefined. */
qw_status jinja_lookup(jinja_run *r, int32_t name, jinja_value *out);

// jinja_exec.c: statements, scopes, macros

/** Execute a list of statements. Sets r->flow on break and continue. */
qw_status jinja_exec(jinja_run *r, const jinja_stmt *body);
/** Call any value. */
qw_status jinja_call(jinja_run *r, const jinja_value *callee, const jinja_args *args,
                     jinja_value *out);
/** An empty scope inside `parent`; NULL with r->failed set. */
jinja_scope *jinja_scope_new(jinja_run *r, jinja_scope *parent);
qw_status jinja_scope_set(jinja_run *r, jinja_scope *scope, int32_t name, const jinja_value *v);
/** Assign to a name, a tuple of targets, or a namespace attribute, in the current scope. */
qw_status jinja_assign(jinja_run *r, const jinja_expr *target, const jinja_value *v);

// jinja_loop.c

/** Run a for statement over `iterable`, in scopes inside `outer`. */
qw_status jinja_run_loop(jinja_run *r, const jinja_stmt *stmt, const jinja_value *iterable,
                         jinja_scope *outer, int64_t depth0);
/** An attribute of `loop`; *found is false if it has none of that name (methods: see the table). */
qw_status jinja_loop_attr(jinja_run *r, jinja_loop *loop, qw_str name, jinja_value *out,
                          bool *found);
extern const jinja_builtin jinja_loop_methods[];

#endif
