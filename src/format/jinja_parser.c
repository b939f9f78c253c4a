// Statements, and what both halves of the parser share.

#include "format/jinja_parser.h"

#include "format/jinja_text.h"

// ---- shared with jinja_parse_expr.c

qw_status qw_jinja_parser_advance(qw_jinja_parser *p)
{
    p->token = p->ahead;
    return p->token.type == QW_JINJA_TOKEN_END ? QW_OK : qw_jinja_lexer_next(&p->lexer, &p->ahead);
}

bool qw_jinja_parser_at_op(const qw_jinja_parser *p, const char *op)
{
    return p->token.type == QW_JINJA_TOKEN_OPERATOR && qw_str_is(p->token.text, op);
}

bool qw_jinja_parser_at_name(const qw_jinja_parser *p, const char *name)
{
    return p->token.type == QW_JINJA_TOKEN_NAME && qw_str_is(p->token.text, name);
}

qw_status qw_jinja_parser_skip(qw_jinja_parser *p, const char *text, bool *was_there)
{
    *was_there = qw_jinja_parser_at_op(p, text) || qw_jinja_parser_at_name(p, text);
    return *was_there ? qw_jinja_parser_advance(p) : QW_OK;
}

qw_status qw_jinja_parser_unexpected(qw_jinja_parser *p, const char *what)
{
    const qw_jinja_token *t = &p->token;
    if (t->type == QW_JINJA_TOKEN_END)
        return qw_jinja_syntax_error(p->err, t->line, "%s, but the template ends", what);
    return qw_jinja_syntax_error(p->err, t->line, "%s, got '%.*s'", what,
                                 qw_jinja_clip(t->text, 60), t->text.ptr);
}

qw_status qw_jinja_parser_expect(qw_jinja_parser *p, const char *op)
{
    if (qw_jinja_parser_at_op(p, op)) return qw_jinja_parser_advance(p);
    char what[32];
    snprintf(what, sizeof what, "expected '%s'", op);
    return qw_jinja_parser_unexpected(p, what);
}

qw_status qw_jinja_parser_expect_name(qw_jinja_parser *p, qw_jinja_token *out)
{
    if (p->token.type != QW_JINJA_TOKEN_NAME)
        return qw_jinja_parser_unexpected(p, "expected a name");
    *out = p->token;
    return qw_jinja_parser_advance(p);
}

qw_status qw_jinja_parser_enter(qw_jinja_parser *p)
{
    if (++p->depth <= QW_JINJA_MAX_TREE_DEPTH) return QW_OK;
    return qw_jinja_syntax_error(p->err, p->token.line, "the template nests deeper than %d levels",
                                 QW_JINJA_MAX_TREE_DEPTH);
}

qw_status qw_jinja_parser_alloc(qw_jinja_parser *p, size_t size, void **out)
{
    void *ptr = qw_arena_alloc(&p->tmpl->arena, size);
    if (!ptr) return qw_fail_memory(p->err, size, "a chat template");
    *out = ptr;
    return QW_OK;
}

qw_status qw_jinja_parser_node(qw_jinja_parser *p, qw_jinja_expr_type type, int line,
                               qw_jinja_expr **out)
{
    void *node = NULL;
    QW_JINJA_TRY(qw_jinja_parser_alloc(p, sizeof(qw_jinja_expr), &node));
    *out = node;
    **out = (qw_jinja_expr){.type = (uint8_t)type, .line = line, .depth = 1};
    return QW_OK;
}

qw_status qw_jinja_parser_intern(qw_jinja_parser *p, qw_str name, int32_t *out)
{
    uint32_t number;
    qw_chat_template *t = p->tmpl;
    if (qw_map_get(&p->name_numbers, name, &number)) {
        *out = (int32_t)number;
        return QW_OK;
    }
    if (t->n_names ==
        p->names_cap) { // the arena keeps the old array too; it doubles, so that is fine
        size_t cap = p->names_cap ? p->names_cap * 2 : 32;
        void *names = NULL;
        QW_JINJA_TRY(qw_jinja_parser_alloc(p, cap * sizeof *t->names, &names));
        if (t->n_names) memcpy(names, t->names, t->n_names * sizeof *t->names);
        t->names = names;
        p->names_cap = cap;
    }
    QW_JINJA_TRY(qw_map_put(&p->name_numbers, name, (uint32_t)t->n_names, NULL, p->err));
    *out = (int32_t)t->n_names;
    t->names[t->n_names++] = name;
    return QW_OK;
}

// ---- statements

static qw_status parse_body(qw_jinja_parser *p, const char *const *ends,
                            const qw_jinja_token *opened, qw_jinja_stmt **out);

// The "%}" or "}}" that ends a tag; unknown filters of the tag are reported here.
static qw_status end_tag(qw_jinja_parser *p, qw_jinja_token_type end)
{
    if (p->unknown) {
        const qw_jinja_expr *e = p->unknown;
        return qw_jinja_syntax_error(p->err, e->line, "there is no %s named '%.*s'",
                                     e->type == QW_JINJA_EXPR_FILTER ? "filter" : "test",
                                     (int)e->text.len, e->text.ptr);
    }
    if (p->token.type == end) return qw_jinja_parser_advance(p);
    return qw_jinja_parser_unexpected(p, end == QW_JINJA_TOKEN_BLOCK_END ? "expected '%}'"
                                                                         : "expected '}}'");
}

static qw_status end_block_tag(qw_jinja_parser *p)
{
    return end_tag(p, QW_JINJA_TOKEN_BLOCK_END);
}

// The rest of an opening tag, the body, and the tag word that ends it (one of `ends`), which is
// the current token afterwards.
static qw_status tag_and_body(qw_jinja_parser *p, const char *const *ends,
                              const qw_jinja_token *opened, qw_jinja_stmt **body)
{
    bool colon;
    QW_JINJA_TRY(qw_jinja_parser_skip(p, ":", &colon)); // "{% if x: %}" is tolerated, as in Jinja
    QW_JINJA_TRY(end_block_tag(p));
    return parse_body(p, ends, opened, body);
}

// The same for bodies with only one possible end: consumes it with its "%}".
static qw_status whole_body(qw_jinja_parser *p, const char *end, const qw_jinja_token *opened,
                            qw_jinja_stmt **body)
{
    const char *const ends[] = {end, NULL};
    QW_JINJA_TRY(tag_and_body(p, ends, opened, body));
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    return end_block_tag(p);
}

static qw_status parse_if(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    p->n_conditional++;
    for (;;) {
        QW_JINJA_TRY(qw_jinja_parse_tuple(p, false, &s->expr));
        QW_JINJA_TRY(tag_and_body(p, ends, tag, &s->body));
        if (!qw_jinja_parser_at_name(p, "elif")) break;
        void *next = NULL;
        QW_JINJA_TRY(qw_jinja_parser_alloc(p, sizeof *s, &next));
        s->orelse = next;
        s = next;
        *s = (qw_jinja_stmt){.type = QW_JINJA_STMT_IF, .line = p->token.line};
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
    }
    bool has_else = qw_jinja_parser_at_name(p, "else");
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    if (has_else) {
        QW_JINJA_TRY(whole_body(p, "endif", tag, &s->orelse));
    } else {
        QW_JINJA_TRY(end_block_tag(p));
    }
    p->n_conditional--;
    return QW_OK;
}

static qw_status parse_for(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    bool found;
    QW_JINJA_TRY(qw_jinja_parse_target(p, false, &s->target));
    QW_JINJA_TRY(qw_jinja_parser_skip(p, "in", &found));
    if (!found) return qw_jinja_parser_unexpected(p, "expected 'in'");
    QW_JINJA_TRY(qw_jinja_parse_tuple(p, false, &s->expr));
    QW_JINJA_TRY(qw_jinja_parser_skip(p, "if", &found));
    if (found) QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &s->filter));
    QW_JINJA_TRY(qw_jinja_parser_skip(p, "recursive", &s->recursive));
    unsigned before = p->mentioned;
    p->mentioned = 0;
    p->n_loops++;
    QW_JINJA_TRY(tag_and_body(p, ends, tag, &s->body));
    p->n_loops--;
    s->uses_loop = s->recursive || (p->mentioned & QW_JINJA_MENTIONS_LOOP);
    p->mentioned = before | (p->mentioned & ~(unsigned)QW_JINJA_MENTIONS_LOOP);
    bool has_else = qw_jinja_parser_at_name(p, "else");
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    return has_else ? whole_body(p, "endfor", tag, &s->orelse) : end_block_tag(p);
}

static qw_status parse_set(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    bool assigned;
    QW_JINJA_TRY(qw_jinja_parse_target(p, true, &s->target));
    QW_JINJA_TRY(qw_jinja_parser_skip(p, "=", &assigned));
    if (assigned) {
        QW_JINJA_TRY(qw_jinja_parse_tuple(p, true, &s->expr));
        return end_block_tag(p);
    }
    s->type = QW_JINJA_STMT_SET_BLOCK;
    QW_JINJA_TRY(qw_jinja_parse_filters(p, NULL, false, &s->expr));
    return whole_body(p, "endset", tag, &s->body);
}

// "(a, b=1)" of a macro or a call block.
static qw_status parse_params(qw_jinja_parser *p, qw_jinja_stmt *s)
{
    qw_jinja_expr **end = &s->params, *param;
    bool defaults = false;
    QW_JINJA_TRY(qw_jinja_parser_expect(p, "("));
    while (!qw_jinja_parser_at_op(p, ")")) {
        if (s->n_params > 0) QW_JINJA_TRY(qw_jinja_parser_expect(p, ","));
        qw_jinja_token token = {0};
        QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &token));
        QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_NAME, token.line, &param));
        QW_JINJA_TRY(qw_jinja_parser_intern(p, token.text, &param->name));
        param->text = token.text;
        bool has_default;
        QW_JINJA_TRY(qw_jinja_parser_skip(p, "=", &has_default));
        if (has_default)
            QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &param->a));
        else if (defaults)
            return qw_jinja_syntax_error(
                p->err, token.line, "parameter '%.*s' without a default follows one with a default",
                (int)token.text.len, token.text.ptr);
        defaults = has_default;
        *end = param;
        end = &param->next;
        s->n_params++;
    }
    return qw_jinja_parser_expect(p, ")");
}

// The body of a macro or call block. It is a function of its own: loops around it do not count.
static qw_status parse_function_body(qw_jinja_parser *p, const char *end, const qw_jinja_token *tag,
                                     qw_jinja_stmt *s)
{
    unsigned before = p->mentioned;
    int loops = p->n_loops;
    p->mentioned = 0;
    p->n_loops = 0;
    QW_JINJA_TRY(whole_body(p, end, tag, &s->body));
    unsigned here = p->mentioned;
    for (const qw_jinja_expr *param = s->params; param; param = param->next)
        if (param->name < QW_JINJA_N_KNOWN_NAMES) here &= ~(1u << param->name);
    s->uses_varargs = here & QW_JINJA_MENTIONS_VARARGS;
    s->uses_kwargs = here & QW_JINJA_MENTIONS_KWARGS;
    s->uses_caller = here & QW_JINJA_MENTIONS_CALLER;
    p->mentioned = before | here;
    p->n_loops = loops;
    return QW_OK;
}

static qw_status parse_macro(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    qw_jinja_token name = {0};
    QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &name));
    s->text = name.text;
    QW_JINJA_TRY(qw_jinja_parser_intern(p, name.text, &s->name));
    QW_JINJA_TRY(parse_params(p, s));
    return parse_function_body(p, "endmacro", tag, s);
}

static qw_status parse_call_block(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    s->text = QW_STR("caller");
    if (qw_jinja_parser_at_op(p, "(")) QW_JINJA_TRY(parse_params(p, s));
    QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &s->expr));
    if (s->expr->type != QW_JINJA_EXPR_CALL)
        return qw_jinja_syntax_error(p->err, s->line,
                                     "the tag 'call' needs a call, as in 'call f()'");
    return parse_function_body(p, "endcall", tag, s);
}

static qw_status parse_filter_block(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    QW_JINJA_TRY(qw_jinja_parse_filters(p, NULL, true, &s->expr));
    return whole_body(p, "endfilter", tag, &s->body);
}

static qw_status parse_with(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    qw_jinja_expr **end = &s->params, *target, *param;
    while (p->token.type != QW_JINJA_TOKEN_BLOCK_END) {
        if (s->n_params > 0) QW_JINJA_TRY(qw_jinja_parser_expect(p, ","));
        // A tuple as target would swallow the comma before the next pair: names only.
        QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_NAME, p->token.line, &param));
        qw_jinja_token token = {0};
        QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &token));
        QW_JINJA_TRY(qw_jinja_parser_intern(p, token.text, &param->name));
        param->text = token.text;
        QW_JINJA_TRY(qw_jinja_parser_expect(p, "="));
        QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &target));
        param->a = target;
        *end = param;
        end = &param->next;
        s->n_params++;
    }
    return whole_body(p, "endwith", tag, &s->body);
}

static qw_status parse_generation(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    s->type = QW_JINJA_STMT_WITH; // its variables stay inside, nothing else
    return whole_body(p, "endgeneration", tag, &s->body);
}

static qw_status parse_loop_control(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    (void)s;
    if (p->n_loops == 0)
        return qw_jinja_syntax_error(p->err, tag->line, "'%.*s' stands outside of a loop",
                                     (int)tag->text.len, tag->text.ptr);
    return end_block_tag(p);
}

// "{% print a, b %}" is "{{ a }}{{ b }}"; the tuple form of {{ }} is not meant.
static qw_status parse_print(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    (void)tag;
    QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &s->expr));
    if (qw_jinja_parser_at_op(p, ","))
        return qw_jinja_parser_unexpected(p, "the tag 'print' takes one expression here");
    return end_block_tag(p);
}

// Tags that load other templates fail when they are executed, because there are none to load.
static qw_status parse_refused(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    s->text = tag->text;
    while (p->token.type != QW_JINJA_TOKEN_BLOCK_END && p->token.type != QW_JINJA_TOKEN_END)
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
    return end_block_tag(p);
}

static qw_status parse_unsupported(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s)
{
    (void)s;
    return qw_fail(p->err, QW_ERR_UNSUPPORTED,
                   "line %d: the tag '%.*s' is not supported in chat templates", tag->line,
                   (int)tag->text.len, tag->text.ptr);
}

static const struct {
    const char *tag;
    qw_jinja_stmt_type type;
    qw_status (*parse)(qw_jinja_parser *p, const qw_jinja_token *tag, qw_jinja_stmt *s);
} tags[] = {
    {"if", QW_JINJA_STMT_IF, parse_if},
    {"for", QW_JINJA_STMT_FOR, parse_for},
    {"set", QW_JINJA_STMT_SET, parse_set},
    {"macro", QW_JINJA_STMT_MACRO, parse_macro},
    {"call", QW_JINJA_STMT_CALL, parse_call_block},
    {"filter", QW_JINJA_STMT_FILTER, parse_filter_block},
    {"with", QW_JINJA_STMT_WITH, parse_with},
    {"generation", QW_JINJA_STMT_WITH, parse_generation},
    {"break", QW_JINJA_STMT_BREAK, parse_loop_control},
    {"continue", QW_JINJA_STMT_CONTINUE, parse_loop_control},
    {"print", QW_JINJA_STMT_PRINT, parse_print},
    {"include", QW_JINJA_STMT_REFUSED, parse_refused},
    {"import", QW_JINJA_STMT_REFUSED, parse_refused},
    {"from", QW_JINJA_STMT_REFUSED, parse_refused},
    {"extends", QW_JINJA_STMT_REFUSED, parse_refused},
    {"block", QW_JINJA_STMT_REFUSED, parse_unsupported},
    {"autoescape", QW_JINJA_STMT_REFUSED, parse_unsupported},
};

// "{% word ... %}" with the word as the current token.
static qw_status parse_tag(qw_jinja_parser *p, qw_jinja_stmt *s)
{
    qw_jinja_token tag = {0};
    if (p->token.type != QW_JINJA_TOKEN_NAME)
        return qw_jinja_parser_unexpected(p, "expected a tag name after '{%'");
    QW_JINJA_TRY(qw_jinja_parser_enter(p));
    QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &tag));
    for (size_t i = 0; i < QW_ARRAY_LEN(tags); i++) {
        if (!qw_str_is(tag.text, tags[i].tag)) continue;
        s->type = (uint8_t)tags[i].type;
        QW_JINJA_TRY(tags[i].parse(p, &tag, s));
        p->depth--;
        return QW_OK;
    }
    return qw_jinja_syntax_error(p->err, tag.line, "unknown tag '%.*s'", (int)tag.text.len,
                                 tag.text.ptr);
}

static bool is_one_of(const qw_jinja_parser *p, const char *const *ends)
{
    for (size_t i = 0; ends && ends[i]; i++)
        if (qw_jinja_parser_at_name(p, ends[i])) return true;
    return false;
}

static qw_status parse_statement(qw_jinja_parser *p, qw_jinja_stmt *s)
{
    if (p->token.type == QW_JINJA_TOKEN_TEXT) {
        s->type = QW_JINJA_STMT_TEXT;
        s->text = p->token.text;
        return qw_jinja_parser_advance(p);
    }
    if (p->token.type == QW_JINJA_TOKEN_PRINT_BEGIN) {
        s->type = QW_JINJA_STMT_PRINT;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(qw_jinja_parse_tuple(p, true, &s->expr));
        return end_tag(p, QW_JINJA_TOKEN_PRINT_END);
    }
    return parse_tag(p, s);
}

// Statements until a tag word of `ends` (then the current token) or, without ends, the end of the
// template. `opened` is the tag whose body this is.
static qw_status parse_body(qw_jinja_parser *p, const char *const *ends,
                            const qw_jinja_token *opened, qw_jinja_stmt **out)
{
    qw_jinja_stmt **end = out;
    while (p->token.type != QW_JINJA_TOKEN_END) {
        int line = p->token.line;
        if (p->token.type == QW_JINJA_TOKEN_BLOCK_BEGIN) {
            QW_JINJA_TRY(qw_jinja_parser_advance(p));
            if (is_one_of(p, ends)) return QW_OK;
        }
        void *s = NULL;
        QW_JINJA_TRY(qw_jinja_parser_alloc(p, sizeof(qw_jinja_stmt), &s));
        *end = s;
        **end = (qw_jinja_stmt){.line = line};
        QW_JINJA_TRY(parse_statement(p, *end));
        end = &(*end)->next;
    }
    if (!opened) return QW_OK;
    char expected[64] = "";
    for (size_t i = 0; ends[i]; i++) {
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s'%s'", i ? " or " : "", ends[i]);
    }
    return qw_jinja_syntax_error(p->err, p->token.line,
                                 "the template ends inside '%.*s' of line %d: expected %s",
                                 (int)opened->text.len, opened->text.ptr, opened->line, expected);
}

static qw_status parse_template(qw_jinja_parser *p)
{
    static const char *const known[QW_JINJA_N_KNOWN_NAMES] = {
        [QW_JINJA_NAME_LOOP] = "loop",
        [QW_JINJA_NAME_CALLER] = "caller",
        [QW_JINJA_NAME_VARARGS] = "varargs",
        [QW_JINJA_NAME_KWARGS] = "kwargs",
    };
    for (int i = 0; i < QW_JINJA_N_KNOWN_NAMES; i++) {
        int32_t number;
        QW_JINJA_TRY(qw_jinja_parser_intern(p, qw_str_of(known[i]), &number));
    }
    QW_JINJA_TRY(qw_jinja_lexer_next(&p->lexer, &p->ahead));
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    return parse_body(p, NULL, NULL, &p->tmpl->body);
}

qw_status qw_jinja_parse(qw_chat_template *t, qw_error *err)
{
    qw_jinja_parser p = {.tmpl = t, .err = err};
    qw_jinja_lexer_init(&p.lexer, t->source, &t->arena, err);
    qw_map_init(&p.name_numbers);
    qw_status st = parse_template(&p);
    qw_map_release(&p.name_numbers);
    return st;
}
