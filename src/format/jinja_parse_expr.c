// Expressions. Precedence, low to high, one function each:
//
//   inline if; or; and; not; comparisons and in; + -; ~; * / // %; **; unary + -; then postfix
//   (attributes, subscripts, calls), filters and tests
//
// "**" binds weaker than a sign and groups to the left, as Jinja's does.

#include "format/jinja_parser.h"

#include "format/jinja_text.h"

// Depth of `e` from its operands; fails beyond the limit, so that evaluation may recurse.
static qw_status set_depth(qw_jinja_parser *p, qw_jinja_expr *e)
{
    int depth = 0;
    const qw_jinja_expr *operands[] = {e->a, e->b, e->c};
    for (size_t i = 0; i < QW_ARRAY_LEN(operands); i++)
        if (operands[i] && operands[i]->depth > depth) depth = operands[i]->depth;
    for (const qw_jinja_expr *x = e->first; x; x = x->next)
        if (x->depth > depth) depth = x->depth;
    for (const qw_jinja_expr *x = e->keywords; x; x = x->next)
        if (x->depth > depth) depth = x->depth;
    if (depth >= QW_JINJA_MAX_TREE_DEPTH)
        return qw_jinja_syntax_error(p->err, e->line, "the expression nests deeper than %d levels",
                                     QW_JINJA_MAX_TREE_DEPTH);
    e->depth = (uint16_t)(depth + 1);
    return QW_OK;
}

static qw_status finish(qw_jinja_parser *p, qw_jinja_expr *e, qw_jinja_expr **out)
{
    QW_JINJA_TRY(set_depth(p, e));
    *out = e;
    return QW_OK;
}

static qw_status unary_node(qw_jinja_parser *p, qw_jinja_expr_type type, int line, qw_jinja_expr *a,
                            qw_jinja_expr **out)
{
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, type, line, &e));
    e->a = a;
    return finish(p, e, out);
}

static qw_status binary_node(qw_jinja_parser *p, qw_jinja_expr_type type, char op, int line,
                             qw_jinja_expr *a, qw_jinja_expr *b, qw_jinja_expr **out)
{
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, type, line, &e));
    e->op = op;
    e->a = a;
    e->b = b;
    return finish(p, e, out);
}

static void append(qw_jinja_expr *list, qw_jinja_expr ***end, qw_jinja_expr *item)
{
    **end = item;
    *end = &item->next;
    list->n++;
}

// Items up to the closing bracket `close`, each followed by a comma or the bracket.
static qw_status parse_items(qw_jinja_parser *p, const char *close, qw_jinja_expr *list)
{
    qw_jinja_expr **end = &list->first;
    while (!qw_jinja_parser_at_op(p, close)) {
        if (list->n > 0) {
            QW_JINJA_TRY(qw_jinja_parser_expect(p, ","));
            if (qw_jinja_parser_at_op(p, close)) break;
        }
        qw_jinja_expr *item;
        QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &item));
        append(list, &end, item);
    }
    return qw_jinja_parser_expect(p, close);
}

static qw_status parse_dict(qw_jinja_parser *p, qw_jinja_expr *dict)
{
    qw_jinja_expr **end = &dict->first;
    while (!qw_jinja_parser_at_op(p, "}")) {
        if (dict->n > 0) {
            QW_JINJA_TRY(qw_jinja_parser_expect(p, ","));
            if (qw_jinja_parser_at_op(p, "}")) break;
        }
        qw_jinja_expr *key, *value;
        QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &key));
        QW_JINJA_TRY(qw_jinja_parser_expect(p, ":"));
        QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &value));
        append(dict, &end, key);
        append(dict, &end, value);
    }
    return qw_jinja_parser_expect(p, "}");
}

static bool ends_tuple(const qw_jinja_parser *p)
{
    return p->token.type == QW_JINJA_TOKEN_PRINT_END || p->token.type == QW_JINJA_TOKEN_BLOCK_END ||
           qw_jinja_parser_at_op(p, ")");
}

// Items separated by commas; without a comma just the one. An empty tuple needs parentheses.
static qw_status parse_comma_list(qw_jinja_parser *p, bool with_if, bool may_be_empty,
                                  qw_jinja_expr **out)
{
    qw_jinja_expr *list;
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_TUPLE, p->token.line, &list));
    qw_jinja_expr **end = &list->first;
    bool comma = false;
    while (!ends_tuple(p) && !(list->n > 0 && qw_jinja_parser_at_name(p, "recursive"))) {
        qw_jinja_expr *item;
        QW_JINJA_TRY(qw_jinja_parse_expression(p, with_if, &item));
        append(list, &end, item);
        if (!qw_jinja_parser_at_op(p, ",")) break;
        comma = true;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
    }
    if (!comma && list->n == 1) {
        *out = list->first;
        return QW_OK;
    }
    if (list->n == 0 && !may_be_empty)
        return qw_jinja_parser_unexpected(p, "expected an expression");
    return finish(p, list, out);
}

qw_status qw_jinja_parse_tuple(qw_jinja_parser *p, bool with_if, qw_jinja_expr **out)
{
    return parse_comma_list(p, with_if, false, out);
}

static qw_status const_node(qw_jinja_parser *p, qw_jinja_value value, int line, qw_jinja_expr **out)
{
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_CONST, line, &e));
    e->constant = value;
    *out = e;
    return QW_OK;
}

// Adjacent string literals are one string.
static qw_status parse_strings(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_token first = p->token;
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    if (p->token.type != QW_JINJA_TOKEN_STRING) return const_node(p, first.value, first.line, out);
    qw_buf text;
    qw_buf_init(&text, SIZE_MAX / 2);
    qw_buf_append(&text, first.value.str.ptr, first.value.str.len);
    qw_status st = QW_OK;
    while (st == QW_OK && p->token.type == QW_JINJA_TOKEN_STRING) {
        qw_buf_append(&text, p->token.value.str.ptr, p->token.value.str.len);
        st = qw_jinja_parser_advance(p);
    }
    if (st == QW_OK) st = qw_buf_check(&text, "a template literal", p->err);
    void *copy = NULL;
    if (st == QW_OK) st = qw_jinja_parser_alloc(p, text.len + 1, &copy);
    if (st == QW_OK && text.len) memcpy(copy, text.data, text.len);
    if (st == QW_OK) st = const_node(p, qw_jinja_string((qw_str){copy, text.len}), first.line, out);
    qw_buf_release(&text);
    return st;
}

static bool literal_of(qw_str name, qw_jinja_value *out)
{
    if (qw_str_is(name, "true") || qw_str_is(name, "True"))
        *out = qw_jinja_bool(true);
    else if (qw_str_is(name, "false") || qw_str_is(name, "False"))
        *out = qw_jinja_bool(false);
    else if (qw_str_is(name, "none") || qw_str_is(name, "None"))
        *out = qw_jinja_none();
    else
        return false;
    return true;
}

static qw_status name_node(qw_jinja_parser *p, const qw_jinja_token *token, qw_jinja_expr **out)
{
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_NAME, token->line, &e));
    QW_JINJA_TRY(qw_jinja_parser_intern(p, token->text, &e->name));
    e->text = token->text;
    *out = e;
    return QW_OK;
}

static qw_status parse_name(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_token token = p->token;
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    qw_jinja_value literal;
    if (literal_of(token.text, &literal)) return const_node(p, literal, token.line, out);
    QW_JINJA_TRY(name_node(p, &token, out));
    if ((*out)->name < QW_JINJA_N_KNOWN_NAMES) p->mentioned |= 1u << (*out)->name;
    return QW_OK;
}

static qw_status parse_primary(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_token token = p->token;
    qw_jinja_expr *e;
    switch (token.type) {
    case QW_JINJA_TOKEN_NAME: return parse_name(p, out);
    case QW_JINJA_TOKEN_STRING: return parse_strings(p, out);
    case QW_JINJA_TOKEN_NUMBER:
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        return const_node(p, token.value, token.line, out);
    case QW_JINJA_TOKEN_OPERATOR: break;
    default: return qw_jinja_parser_unexpected(p, "expected an expression");
    }
    if (qw_str_is(token.text, "(")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_comma_list(p, true, true, out));
        return qw_jinja_parser_expect(p, ")");
    }
    bool is_list = qw_str_is(token.text, "[");
    if (!is_list && !qw_str_is(token.text, "{"))
        return qw_jinja_parser_unexpected(p, "expected an expression");
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    QW_JINJA_TRY(
        qw_jinja_parser_node(p, is_list ? QW_JINJA_EXPR_LIST : QW_JINJA_EXPR_DICT, token.line, &e));
    QW_JINJA_TRY(is_list ? parse_items(p, "]", e) : parse_dict(p, e));
    return finish(p, e, out);
}

// ---- postfix: attributes, subscripts, calls

static qw_status slice_part(qw_jinja_parser *p, qw_jinja_expr **out)
{
    if (qw_jinja_parser_at_op(p, ":") || qw_jinja_parser_at_op(p, "]") ||
        qw_jinja_parser_at_op(p, ","))
        return const_node(p, (qw_jinja_value){.kind = QW_JINJA_ABSENT}, p->token.line, out);
    return qw_jinja_parse_expression(p, true, out);
}

// What stands inside [ ]: an index, or start:stop:step.
static qw_status parse_subscript(qw_jinja_parser *p, qw_jinja_expr *object, qw_jinja_expr **out)
{
    int line = p->token.line;
    qw_jinja_expr *part, *e;
    QW_JINJA_TRY(qw_jinja_parser_expect(p, "["));
    if (qw_jinja_parser_at_op(p, "]")) return qw_jinja_parser_unexpected(p, "expected a subscript");
    QW_JINJA_TRY(slice_part(p, &part));
    if (!qw_jinja_parser_at_op(p, ":")) {
        if (qw_jinja_parser_at_op(p, ",")) { // a tuple as the key
            qw_jinja_expr *key;
            QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_TUPLE, line, &key));
            key->first = part;
            key->n = 1;
            qw_jinja_expr **end = &part->next;
            bool more = true;
            while (more) {
                QW_JINJA_TRY(qw_jinja_parser_skip(p, ",", &more));
                if (!more) break;
                QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &part));
                append(key, &end, part);
            }
            QW_JINJA_TRY(finish(p, key, &part));
        }
        QW_JINJA_TRY(qw_jinja_parser_expect(p, "]"));
        return binary_node(p, QW_JINJA_EXPR_ITEM, 0, line, object, part, out);
    }
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_SLICE, line, &e));
    e->a = object;
    qw_jinja_expr **end = &e->first;
    append(e, &end, part);
    for (int i = 0; i < 2; i++) {
        bool colon;
        QW_JINJA_TRY(qw_jinja_parser_skip(p, ":", &colon));
        if (colon) {
            QW_JINJA_TRY(slice_part(p, &part));
        } else {
            QW_JINJA_TRY(
                const_node(p, (qw_jinja_value){.kind = QW_JINJA_ABSENT}, p->token.line, &part));
        }
        append(e, &end, part);
    }
    QW_JINJA_TRY(qw_jinja_parser_expect(p, "]"));
    return finish(p, e, out);
}

static qw_status parse_attribute(qw_jinja_parser *p, qw_jinja_expr *object, qw_jinja_expr **out)
{
    QW_JINJA_TRY(qw_jinja_parser_expect(p, "."));
    qw_jinja_token token = p->token;
    qw_jinja_expr *e;
    if (token.type == QW_JINJA_TOKEN_NUMBER && token.value.kind == QW_JINJA_INT) { // a.0 is a[0]
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(const_node(p, token.value, token.line, &e));
        return binary_node(p, QW_JINJA_EXPR_ITEM, 0, token.line, object, e, out);
    }
    if (token.type != QW_JINJA_TOKEN_NAME)
        return qw_jinja_parser_unexpected(p, "expected an attribute name or number after '.'");
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_ATTR, token.line, &e));
    e->a = object;
    e->text = token.text;
    return finish(p, e, out);
}

// One argument of a call: positional (or *a) into e->first, named (or **a) into e->keywords.
static qw_status parse_argument(qw_jinja_parser *p, qw_jinja_expr *e, qw_jinja_expr ***end,
                                qw_jinja_expr ***keywords_end)
{
    bool star = qw_jinja_parser_at_op(p, "*"), star_star = qw_jinja_parser_at_op(p, "**");
    bool named = p->token.type == QW_JINJA_TOKEN_NAME && p->ahead.type == QW_JINJA_TOKEN_OPERATOR &&
                 qw_str_is(p->ahead.text, "=");
    qw_str keyword = {NULL, 0};
    if (e->n_keywords > 0 && !named && !star_star)
        return qw_jinja_parser_unexpected(
            p, "a positional argument may not follow a keyword argument");
    if (star || star_star) QW_JINJA_TRY(qw_jinja_parser_advance(p));
    if (named) {
        keyword = p->token.text;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
    }
    qw_jinja_expr *value;
    QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &value));
    value->star = star || star_star;
    value->keyword = keyword;
    if (named || star_star) {
        **keywords_end = value;
        *keywords_end = &value->next;
        e->n_keywords++;
    } else {
        append(e, end, value);
    }
    return QW_OK;
}

// "(a, *b, c=d, **e)".
static qw_status parse_arguments(qw_jinja_parser *p, qw_jinja_expr *e)
{
    QW_JINJA_TRY(qw_jinja_parser_expect(p, "("));
    qw_jinja_expr **end = &e->first, **keywords_end = &e->keywords;
    while (!qw_jinja_parser_at_op(p, ")")) {
        if (e->n + e->n_keywords > 0) {
            QW_JINJA_TRY(qw_jinja_parser_expect(p, ","));
            if (qw_jinja_parser_at_op(p, ")")) break;
        }
        QW_JINJA_TRY(parse_argument(p, e, &end, &keywords_end));
    }
    return qw_jinja_parser_expect(p, ")");
}

static qw_status parse_call(qw_jinja_parser *p, qw_jinja_expr *callee, qw_jinja_expr **out)
{
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_CALL, p->token.line, &e));
    e->a = callee;
    QW_JINJA_TRY(parse_arguments(p, e));
    return finish(p, e, out);
}

static qw_status parse_postfix(qw_jinja_parser *p, qw_jinja_expr *e, qw_jinja_expr **out)
{
    for (;;) {
        if (qw_jinja_parser_at_op(p, "."))
            QW_JINJA_TRY(parse_attribute(p, e, &e));
        else if (qw_jinja_parser_at_op(p, "["))
            QW_JINJA_TRY(parse_subscript(p, e, &e));
        else if (qw_jinja_parser_at_op(p, "("))
            QW_JINJA_TRY(parse_call(p, e, &e));
        else
            break;
    }
    *out = e;
    return QW_OK;
}

// ---- filters and tests

// The node's name and built-in. An unknown name is an error at the end of the tag, except inside a
// branch, where Jinja complains only when the branch is taken.
static qw_status bind_builtin(qw_jinja_parser *p, qw_jinja_expr *e, bool is_filter)
{
    qw_jinja_token token = {0};
    QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &token));
    e->line = token.line;
    e->text = token.text;
    while (qw_jinja_parser_at_op(p, ".")) { // part of the name: "x|list.y" names no filter
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &token));
        e->text.len = (size_t)(token.text.ptr + token.text.len - e->text.ptr);
    }
    e->builtin = is_filter ? qw_jinja_find_filter(e->text) : qw_jinja_find_test(e->text);
    if (!e->builtin && p->n_conditional == 0 && !p->unknown) p->unknown = e;
    return QW_OK;
}

qw_status qw_jinja_parse_filters(qw_jinja_parser *p, qw_jinja_expr *input, bool inline_start,
                                 qw_jinja_expr **out)
{
    qw_jinja_expr *chain = input;
    while (inline_start || qw_jinja_parser_at_op(p, "|")) {
        if (!inline_start) QW_JINJA_TRY(qw_jinja_parser_advance(p));
        inline_start = false;
        qw_jinja_expr *e;
        QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_FILTER, p->token.line, &e));
        e->a = chain;
        QW_JINJA_TRY(bind_builtin(p, e, true));
        if (qw_jinja_parser_at_op(p, "(")) QW_JINJA_TRY(parse_arguments(p, e));
        QW_JINJA_TRY(finish(p, e, &chain));
    }
    *out = chain;
    return QW_OK;
}

// True if an argument without parentheses follows a test's name, as in "is divisibleby 3".
static bool at_bare_argument(const qw_jinja_parser *p)
{
    switch (p->token.type) {
    case QW_JINJA_TOKEN_STRING:
    case QW_JINJA_TOKEN_NUMBER: return true;
    case QW_JINJA_TOKEN_NAME:
        return !qw_jinja_parser_at_name(p, "else") && !qw_jinja_parser_at_name(p, "or") &&
               !qw_jinja_parser_at_name(p, "and");
    case QW_JINJA_TOKEN_OPERATOR:
        return qw_jinja_parser_at_op(p, "[") || qw_jinja_parser_at_op(p, "{");
    default: return false;
    }
}

static qw_status parse_test(qw_jinja_parser *p, qw_jinja_expr *value, qw_jinja_expr **out)
{
    int line = p->token.line;
    QW_JINJA_TRY(qw_jinja_parser_advance(p)); // "is"
    bool negated;
    QW_JINJA_TRY(qw_jinja_parser_skip(p, "not", &negated));
    qw_jinja_expr *e;
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_TEST, line, &e));
    e->a = value;
    QW_JINJA_TRY(bind_builtin(p, e, false));
    if (qw_jinja_parser_at_op(p, "(")) {
        QW_JINJA_TRY(parse_arguments(p, e));
    } else if (at_bare_argument(p)) {
        if (qw_jinja_parser_at_name(p, "is"))
            return qw_jinja_parser_unexpected(p, "tests cannot be chained with 'is'");
        qw_jinja_expr *argument;
        QW_JINJA_TRY(parse_primary(p, &argument));
        QW_JINJA_TRY(parse_postfix(p, argument, &e->first));
        e->n = 1;
    }
    QW_JINJA_TRY(finish(p, e, out));
    return negated ? unary_node(p, QW_JINJA_EXPR_NOT, line, e, out) : QW_OK;
}

static qw_status parse_unary(qw_jinja_parser *p, bool with_filters, qw_jinja_expr **out)
{
    QW_JINJA_TRY(qw_jinja_parser_enter(p));
    int line = p->token.line;
    bool minus = qw_jinja_parser_at_op(p, "-");
    qw_jinja_expr *e;
    if (minus || qw_jinja_parser_at_op(p, "+")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_unary(p, false, &e));
        QW_JINJA_TRY(unary_node(p, minus ? QW_JINJA_EXPR_NEGATE : QW_JINJA_EXPR_PLUS, line, e, &e));
    } else {
        QW_JINJA_TRY(parse_primary(p, &e));
    }
    QW_JINJA_TRY(parse_postfix(p, e, &e));
    while (with_filters) { // calls are allowed after filters and tests too
        if (qw_jinja_parser_at_op(p, "|"))
            QW_JINJA_TRY(qw_jinja_parse_filters(p, e, false, &e));
        else if (qw_jinja_parser_at_name(p, "is"))
            QW_JINJA_TRY(parse_test(p, e, &e));
        else if (qw_jinja_parser_at_op(p, "("))
            QW_JINJA_TRY(parse_call(p, e, &e));
        else
            break;
    }
    *out = e;
    p->depth--;
    return QW_OK;
}

// ---- binary operators

static qw_status parse_power(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *left, *right;
    QW_JINJA_TRY(parse_unary(p, true, &left));
    while (qw_jinja_parser_at_op(p, "**")) {
        int line = p->token.line;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_unary(p, true, &right));
        QW_JINJA_TRY(binary_node(p, QW_JINJA_EXPR_ARITHMETIC, '^', line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_product(qw_jinja_parser *p, qw_jinja_expr **out)
{
    static const struct {
        const char *text;
        char op;
    } operators[] = {{"*", '*'}, {"/", '/'}, {"//", '.'}, {"%", '%'}};
    qw_jinja_expr *left, *right;
    QW_JINJA_TRY(parse_power(p, &left));
    for (;;) {
        size_t i = 0;
        while (i < QW_ARRAY_LEN(operators) && !qw_jinja_parser_at_op(p, operators[i].text)) i++;
        if (i == QW_ARRAY_LEN(operators)) break;
        int line = p->token.line;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_power(p, &right));
        QW_JINJA_TRY(
            binary_node(p, QW_JINJA_EXPR_ARITHMETIC, operators[i].op, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_concat(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *item, *list;
    QW_JINJA_TRY(parse_product(p, &item));
    if (!qw_jinja_parser_at_op(p, "~")) {
        *out = item;
        return QW_OK;
    }
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_CONCAT, p->token.line, &list));
    qw_jinja_expr **end = &list->first;
    append(list, &end, item);
    while (qw_jinja_parser_at_op(p, "~")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_product(p, &item));
        append(list, &end, item);
    }
    return finish(p, list, out);
}

static qw_status parse_sum(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *left, *right;
    QW_JINJA_TRY(parse_concat(p, &left));
    while (qw_jinja_parser_at_op(p, "+") || qw_jinja_parser_at_op(p, "-")) {
        char op = p->token.text.ptr[0];
        int line = p->token.line;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_concat(p, &right));
        QW_JINJA_TRY(binary_node(p, QW_JINJA_EXPR_ARITHMETIC, op, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

// The comparison operator at the current token, consumed; *found is false if there is none.
static qw_status parse_comparison(qw_jinja_parser *p, uint8_t *out, bool *found)
{
    static const struct {
        const char *text;
        qw_jinja_compare op;
    } operators[] = {{"==", QW_JINJA_EQ}, {"!=", QW_JINJA_NE}, {"<", QW_JINJA_LT},
                     {"<=", QW_JINJA_LE}, {">", QW_JINJA_GT},  {">=", QW_JINJA_GE}};
    *found = true;
    for (size_t i = 0; i < QW_ARRAY_LEN(operators); i++) {
        if (!qw_jinja_parser_at_op(p, operators[i].text)) continue;
        *out = (uint8_t)operators[i].op;
        return qw_jinja_parser_advance(p);
    }
    if (qw_jinja_parser_at_name(p, "in")) {
        *out = QW_JINJA_IN;
        return qw_jinja_parser_advance(p);
    }
    if (qw_jinja_parser_at_name(p, "not") && p->ahead.type == QW_JINJA_TOKEN_NAME &&
        qw_str_is(p->ahead.text, "in")) {
        *out = QW_JINJA_NOT_IN;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        return qw_jinja_parser_advance(p);
    }
    *found = false;
    return QW_OK;
}

static qw_status parse_compare(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *item, *list = NULL, **end = NULL;
    QW_JINJA_TRY(parse_sum(p, &item));
    for (;;) {
        int line = p->token.line;
        uint8_t op;
        bool found;
        QW_JINJA_TRY(parse_comparison(p, &op, &found));
        if (!found) break;
        if (!list) {
            QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_COMPARE, line, &list));
            end = &list->first;
            append(list, &end, item);
        }
        QW_JINJA_TRY(parse_sum(p, &item));
        item->compare = op;
        append(list, &end, item);
    }
    if (list) return finish(p, list, out);
    *out = item;
    return QW_OK;
}

static qw_status parse_not(qw_jinja_parser *p, qw_jinja_expr **out)
{
    if (!qw_jinja_parser_at_name(p, "not")) return parse_compare(p, out);
    QW_JINJA_TRY(qw_jinja_parser_enter(p));
    int line = p->token.line;
    QW_JINJA_TRY(qw_jinja_parser_advance(p));
    qw_jinja_expr *e;
    QW_JINJA_TRY(parse_not(p, &e));
    p->depth--;
    return unary_node(p, QW_JINJA_EXPR_NOT, line, e, out);
}

static qw_status parse_and(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *left, *right;
    QW_JINJA_TRY(parse_not(p, &left));
    while (qw_jinja_parser_at_name(p, "and")) {
        int line = p->token.line;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_not(p, &right));
        QW_JINJA_TRY(binary_node(p, QW_JINJA_EXPR_AND, 0, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_or(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *left, *right;
    QW_JINJA_TRY(parse_and(p, &left));
    while (qw_jinja_parser_at_name(p, "or")) {
        int line = p->token.line;
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(parse_and(p, &right));
        QW_JINJA_TRY(binary_node(p, QW_JINJA_EXPR_OR, 0, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_inline_if(qw_jinja_parser *p, qw_jinja_expr **out)
{
    qw_jinja_expr *value, *e;
    const qw_jinja_expr *unknown_before = p->unknown;
    p->unknown = NULL;
    QW_JINJA_TRY(parse_or(p, &value));
    while (qw_jinja_parser_at_name(p, "if")) {
        p->unknown = NULL; // what stands before turns out to be a branch
        QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_IF, p->token.line, &e));
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        p->n_conditional++;
        e->b = value;
        QW_JINJA_TRY(parse_or(p, &e->a));
        bool has_else;
        QW_JINJA_TRY(qw_jinja_parser_skip(p, "else", &has_else));
        if (has_else) QW_JINJA_TRY(qw_jinja_parse_expression(p, true, &e->c));
        p->n_conditional--;
        QW_JINJA_TRY(finish(p, e, &value));
    }
    if (unknown_before) p->unknown = unknown_before;
    *out = value;
    return QW_OK;
}

qw_status qw_jinja_parse_expression(qw_jinja_parser *p, bool with_if, qw_jinja_expr **out)
{
    QW_JINJA_TRY(qw_jinja_parser_enter(p));
    QW_JINJA_TRY(with_if ? parse_inline_if(p, out) : parse_or(p, out));
    p->depth--;
    return QW_OK;
}

// ---- targets

static qw_status parse_target_item(qw_jinja_parser *p, bool with_namespace, qw_jinja_expr **out)
{
    QW_JINJA_TRY(qw_jinja_parser_enter(p));
    if (qw_jinja_parser_at_op(p, "(")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        QW_JINJA_TRY(qw_jinja_parse_target(p, with_namespace, out));
        QW_JINJA_TRY(qw_jinja_parser_expect(p, ")"));
        p->depth--;
        return QW_OK;
    }
    qw_jinja_token token = {0};
    qw_jinja_value literal;
    QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &token));
    if (literal_of(token.text, &literal))
        return qw_jinja_syntax_error(p->err, token.line, "cannot assign to '%.*s'",
                                     (int)token.text.len, token.text.ptr);
    QW_JINJA_TRY(name_node(p, &token, out));
    if (with_namespace && qw_jinja_parser_at_op(p, ".")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        qw_jinja_token attribute = {0};
        QW_JINJA_TRY(qw_jinja_parser_expect_name(p, &attribute));
        QW_JINJA_TRY(unary_node(p, QW_JINJA_EXPR_NAMESPACE, token.line, *out, out));
        (*out)->text = attribute.text;
    }
    p->depth--;
    return QW_OK;
}

qw_status qw_jinja_parse_target(qw_jinja_parser *p, bool with_namespace, qw_jinja_expr **out)
{
    qw_jinja_expr *item, *list;
    QW_JINJA_TRY(parse_target_item(p, with_namespace, &item));
    if (!qw_jinja_parser_at_op(p, ",")) {
        *out = item;
        return QW_OK;
    }
    QW_JINJA_TRY(qw_jinja_parser_node(p, QW_JINJA_EXPR_TUPLE, p->token.line, &list));
    qw_jinja_expr **end = &list->first;
    append(list, &end, item);
    while (qw_jinja_parser_at_op(p, ",")) {
        QW_JINJA_TRY(qw_jinja_parser_advance(p));
        if (p->token.type != QW_JINJA_TOKEN_NAME && !qw_jinja_parser_at_op(p, "(")) break;
        if (qw_jinja_parser_at_name(p, "in")) break; // "for a, in pairs"
        QW_JINJA_TRY(parse_target_item(p, with_namespace, &item));
        append(list, &end, item);
    }
    return finish(p, list, out);
}
