// Expressions. Precedence, low to high, one function each:
//
//   inline if; or; and; not; comparisons and in; + -; ~; * / // %; **; unary + -; then postfix
//   (attributes, subscripts, calls), filters and tests
//
// "**" binds weaker than a sign and groups to the left, as Jinja's does.

#include "format/jinja_parser.h"

#include "format/jinja_text.h"

// Depth of `e` from its operands; fails beyond the limit, so that evaluation may recurse.
static qw_status set_depth(jinja_parser *p, jinja_expr *e)
{
    int depth = 0;
    const jinja_expr *operands[] = {e->a, e->b, e->c};
    for (size_t i = 0; i < QW_ARRAY_LEN(operands); i++)
        if (operands[i] && operands[i]->depth > depth) depth = operands[i]->depth;
    for (const jinja_expr *x = e->first; x; x = x->next)
        if (x->depth > depth) depth = x->depth;
    for (const jinja_expr *x = e->keywords; x; x = x->next)
        if (x->depth > depth) depth = x->depth;
    if (depth >= JINJA_MAX_TREE_DEPTH)
        return jinja_syntax_error(p->err, e->line, "the expression nests deeper than %d levels",
                                  JINJA_MAX_TREE_DEPTH);
    e->depth = (uint16_t)(depth + 1);
    return QW_OK;
}

static qw_status finish(jinja_parser *p, jinja_expr *e, jinja_expr **out)
{
    JINJA_TRY(set_depth(p, e));
    *out = e;
    return QW_OK;
}

static qw_status unary_node(jinja_parser *p, jinja_expr_type type, int line, jinja_expr *a,
                            jinja_expr **out)
{
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, type, line, &e));
    e->a = a;
    return finish(p, e, out);
}

static qw_status binary_node(jinja_parser *p, jinja_expr_type type, char op, int line,
                             jinja_expr *a, jinja_expr *b, jinja_expr **out)
{
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, type, line, &e));
    e->op = op;
    e->a = a;
    e->b = b;
    return finish(p, e, out);
}

static void append(jinja_expr *list, jinja_expr ***end, jinja_expr *item)
{
    **end = item;
    *end = &item->next;
    list->n++;
}

// Items up to the closing bracket `close`, each followed by a comma or the bracket.
static qw_status parse_items(jinja_parser *p, const char *close, jinja_expr *list)
{
    jinja_expr **end = &list->first;
    while (!jinja_parser_at_op(p, close)) {
        if (list->n > 0) {
            JINJA_TRY(jinja_parser_expect(p, ","));
            if (jinja_parser_at_op(p, close)) break;
        }
        jinja_expr *item;
        JINJA_TRY(jinja_parse_expression(p, true, &item));
        append(list, &end, item);
    }
    return jinja_parser_expect(p, close);
}

static qw_status parse_dict(jinja_parser *p, jinja_expr *dict)
{
    jinja_expr **end = &dict->first;
    while (!jinja_parser_at_op(p, "}")) {
        if (dict->n > 0) {
            JINJA_TRY(jinja_parser_expect(p, ","));
            if (jinja_parser_at_op(p, "}")) break;
        }
        jinja_expr *key, *value;
        JINJA_TRY(jinja_parse_expression(p, true, &key));
        JINJA_TRY(jinja_parser_expect(p, ":"));
        JINJA_TRY(jinja_parse_expression(p, true, &value));
        append(dict, &end, key);
        append(dict, &end, value);
    }
    return jinja_parser_expect(p, "}");
}

static bool ends_tuple(const jinja_parser *p)
{
    return p->token.type == JINJA_TOKEN_PRINT_END || p->token.type == JINJA_TOKEN_BLOCK_END ||
           jinja_parser_at_op(p, ")");
}

// Items separated by commas; without a comma just the one. An empty tuple needs parentheses.
static qw_status parse_comma_list(jinja_parser *p, bool with_if, bool may_be_empty,
                                  jinja_expr **out)
{
    jinja_expr *list;
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_TUPLE, p->token.line, &list));
    jinja_expr **end = &list->first;
    bool comma = false;
    while (!ends_tuple(p) && !(list->n > 0 && jinja_parser_at_name(p, "recursive"))) {
        jinja_expr *item;
        JINJA_TRY(jinja_parse_expression(p, with_if, &item));
        append(list, &end, item);
        if (!jinja_parser_at_op(p, ",")) break;
        comma = true;
        JINJA_TRY(jinja_parser_advance(p));
    }
    if (!comma && list->n == 1) {
        *out = list->first;
        return QW_OK;
    }
    if (list->n == 0 && !may_be_empty) return jinja_parser_unexpected(p, "expected an expression");
    return finish(p, list, out);
}

qw_status jinja_parse_tuple(jinja_parser *p, bool with_if, jinja_expr **out)
{
    return parse_comma_list(p, with_if, false, out);
}

static qw_status const_node(jinja_parser *p, jinja_value value, int line, jinja_expr **out)
{
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_CONST, line, &e));
    e->constant = value;
    *out = e;
    return QW_OK;
}

// Adjacent string literals are one string.
static qw_status parse_strings(jinja_parser *p, jinja_expr **out)
{
    jinja_token first = p->token;
    JINJA_TRY(jinja_parser_advance(p));
    if (p->token.type != JINJA_TOKEN_STRING) return const_node(p, first.value, first.line, out);
    qw_buf text;
    qw_buf_init(&text, SIZE_MAX / 2);
    qw_buf_append(&text, first.value.str.ptr, first.value.str.len);
    qw_status st = QW_OK;
    while (st == QW_OK && p->token.type == JINJA_TOKEN_STRING) {
        qw_buf_append(&text, p->token.value.str.ptr, p->token.value.str.len);
        st = jinja_parser_advance(p);
    }
    if (st == QW_OK) st = qw_buf_check(&text, "a template literal", p->err);
    void *copy = NULL;
    if (st == QW_OK) st = jinja_parser_alloc(p, text.len + 1, &copy);
    if (st == QW_OK && text.len) memcpy(copy, text.data, text.len);
    if (st == QW_OK) st = const_node(p, jinja_string((qw_str){copy, text.len}), first.line, out);
    qw_buf_release(&text);
    return st;
}

static bool literal_of(qw_str name, jinja_value *out)
{
    if (qw_str_is(name, "true") || qw_str_is(name, "True"))
        *out = jinja_bool(true);
    else if (qw_str_is(name, "false") || qw_str_is(name, "False"))
        *out = jinja_bool(false);
    else if (qw_str_is(name, "none") || qw_str_is(name, "None"))
        *out = jinja_none();
    else
        return false;
    return true;
}

static qw_status name_node(jinja_parser *p, const jinja_token *token, jinja_expr **out)
{
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_NAME, token->line, &e));
    JINJA_TRY(jinja_parser_intern(p, token->text, &e->name));
    e->text = token->text;
    *out = e;
    return QW_OK;
}

static qw_status parse_name(jinja_parser *p, jinja_expr **out)
{
    jinja_token token = p->token;
    JINJA_TRY(jinja_parser_advance(p));
    jinja_value literal;
    if (literal_of(token.text, &literal)) return const_node(p, literal, token.line, out);
    JINJA_TRY(name_node(p, &token, out));
    if ((*out)->name < JINJA_N_KNOWN_NAMES) p->mentioned |= 1u << (*out)->name;
    return QW_OK;
}

static qw_status parse_primary(jinja_parser *p, jinja_expr **out)
{
    jinja_token token = p->token;
    jinja_expr *e;
    switch (token.type) {
    case JINJA_TOKEN_NAME: return parse_name(p, out);
    case JINJA_TOKEN_STRING: return parse_strings(p, out);
    case JINJA_TOKEN_NUMBER:
        JINJA_TRY(jinja_parser_advance(p));
        return const_node(p, token.value, token.line, out);
    case JINJA_TOKEN_OPERATOR: break;
    default: return jinja_parser_unexpected(p, "expected an expression");
    }
    if (qw_str_is(token.text, "(")) {
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_comma_list(p, true, true, out));
        return jinja_parser_expect(p, ")");
    }
    bool is_list = qw_str_is(token.text, "[");
    if (!is_list && !qw_str_is(token.text, "{"))
        return jinja_parser_unexpected(p, "expected an expression");
    JINJA_TRY(jinja_parser_advance(p));
    JINJA_TRY(jinja_parser_node(p, is_list ? JINJA_EXPR_LIST : JINJA_EXPR_DICT, token.line, &e));
    JINJA_TRY(is_list ? parse_items(p, "]", e) : parse_dict(p, e));
    return finish(p, e, out);
}

// ---- postfix: attributes, subscripts, calls

static qw_status slice_part(jinja_parser *p, jinja_expr **out)
{
    if (jinja_parser_at_op(p, ":") || jinja_parser_at_op(p, "]") || jinja_parser_at_op(p, ","))
        return const_node(p, (jinja_value){.kind = JINJA_ABSENT}, p->token.line, out);
    return jinja_parse_expression(p, true, out);
}

// What stands inside [ ]: an index, or start:stop:step.
static qw_status parse_subscript(jinja_parser *p, jinja_expr *object, jinja_expr **out)
{
    int line = p->token.line;
    jinja_expr *part, *e;
    JINJA_TRY(jinja_parser_expect(p, "["));
    if (jinja_parser_at_op(p, "]")) return jinja_parser_unexpected(p, "expected a subscript");
    JINJA_TRY(slice_part(p, &part));
    if (!jinja_parser_at_op(p, ":")) {
        if (jinja_parser_at_op(p, ",")) { // a tuple as the key
            jinja_expr *key;
            JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_TUPLE, line, &key));
            key->first = part;
            key->n = 1;
            jinja_expr **end = &part->next;
            bool more = true;
            while (more) {
                JINJA_TRY(jinja_parser_skip(p, ",", &more));
                if (!more) break;
                JINJA_TRY(jinja_parse_expression(p, true, &part));
                append(key, &end, part);
            }
            JINJA_TRY(finish(p, key, &part));
        }
        JINJA_TRY(jinja_parser_expect(p, "]"));
        return binary_node(p, JINJA_EXPR_ITEM, 0, line, object, part, out);
    }
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_SLICE, line, &e));
    e->a = object;
    jinja_expr **end = &e->first;
    append(e, &end, part);
    for (int i = 0; i < 2; i++) {
        bool colon;
        JINJA_TRY(jinja_parser_skip(p, ":", &colon));
        if (colon) {
            JINJA_TRY(slice_part(p, &part));
        } else {
            JINJA_TRY(const_node(p, (jinja_value){.kind = JINJA_ABSENT}, p->token.line, &part));
        }
        append(e, &end, part);
    }
    JINJA_TRY(jinja_parser_expect(p, "]"));
    return finish(p, e, out);
}

static qw_status parse_attribute(jinja_parser *p, jinja_expr *object, jinja_expr **out)
{
    JINJA_TRY(jinja_parser_expect(p, "."));
    jinja_token token = p->token;
    jinja_expr *e;
    if (token.type == JINJA_TOKEN_NUMBER && token.value.kind == JINJA_INT) { // a.0 is a[0]
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(const_node(p, token.value, token.line, &e));
        return binary_node(p, JINJA_EXPR_ITEM, 0, token.line, object, e, out);
    }
    if (token.type != JINJA_TOKEN_NAME)
        return jinja_parser_unexpected(p, "expected an attribute name or number after '.'");
    JINJA_TRY(jinja_parser_advance(p));
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_ATTR, token.line, &e));
    e->a = object;
    e->text = token.text;
    return finish(p, e, out);
}

// One argument of a call: positional (or *a) into e->first, named (or **a) into e->keywords.
static qw_status parse_argument(jinja_parser *p, jinja_expr *e, jinja_expr ***end,
                                jinja_expr ***keywords_end)
{
    bool star = jinja_parser_at_op(p, "*"), star_star = jinja_parser_at_op(p, "**");
    bool named = p->token.type == JINJA_TOKEN_NAME && p->ahead.type == JINJA_TOKEN_OPERATOR &&
                 qw_str_is(p->ahead.text, "=");
    qw_str keyword = {NULL, 0};
    if (e->n_keywords > 0 && !named && !star_star)
        return jinja_parser_unexpected(p,
                                       "a positional argument may not follow a keyword argument");
    if (star || star_star) JINJA_TRY(jinja_parser_advance(p));
    if (named) {
        keyword = p->token.text;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(jinja_parser_advance(p));
    }
    jinja_expr *value;
    JINJA_TRY(jinja_parse_expression(p, true, &value));
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
static qw_status parse_arguments(jinja_parser *p, jinja_expr *e)
{
    JINJA_TRY(jinja_parser_expect(p, "("));
    jinja_expr **end = &e->first, **keywords_end = &e->keywords;
    while (!jinja_parser_at_op(p, ")")) {
        if (e->n + e->n_keywords > 0) {
            JINJA_TRY(jinja_parser_expect(p, ","));
            if (jinja_parser_at_op(p, ")")) break;
        }
        JINJA_TRY(parse_argument(p, e, &end, &keywords_end));
    }
    return jinja_parser_expect(p, ")");
}

static qw_status parse_call(jinja_parser *p, jinja_expr *callee, jinja_expr **out)
{
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_CALL, p->token.line, &e));
    e->a = callee;
    JINJA_TRY(parse_arguments(p, e));
    return finish(p, e, out);
}

static qw_status parse_postfix(jinja_parser *p, jinja_expr *e, jinja_expr **out)
{
    for (;;) {
        if (jinja_parser_at_op(p, "."))
            JINJA_TRY(parse_attribute(p, e, &e));
        else if (jinja_parser_at_op(p, "["))
            JINJA_TRY(parse_subscript(p, e, &e));
        else if (jinja_parser_at_op(p, "("))
            JINJA_TRY(parse_call(p, e, &e));
        else
            break;
    }
    *out = e;
    return QW_OK;
}

// ---- filters and tests

// The node's name and built-in. An unknown name is an error at the end of the tag, except inside a
// branch, where Jinja complains only when the branch is taken.
static qw_status bind_builtin(jinja_parser *p, jinja_expr *e, bool is_filter)
{
    jinja_token token = {0};
    JINJA_TRY(jinja_parser_expect_name(p, &token));
    e->line = token.line;
    e->text = token.text;
    e->builtin = is_filter ? jinja_find_filter(e->text) : jinja_find_test(e->text);
    if (!e->builtin && p->n_conditional == 0 && !p->unknown) p->unknown = e;
    return QW_OK;
}

qw_status jinja_parse_filters(jinja_parser *p, jinja_expr *input, bool inline_start,
                              jinja_expr **out)
{
    jinja_expr *chain = input;
    while (inline_start || jinja_parser_at_op(p, "|")) {
        if (!inline_start) JINJA_TRY(jinja_parser_advance(p));
        inline_start = false;
        jinja_expr *e;
        JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_FILTER, p->token.line, &e));
        e->a = chain;
        JINJA_TRY(bind_builtin(p, e, true));
        if (jinja_parser_at_op(p, "(")) JINJA_TRY(parse_arguments(p, e));
        JINJA_TRY(finish(p, e, &chain));
    }
    *out = chain;
    return QW_OK;
}

// True if an argument without parentheses follows a test's name, as in "is divisibleby 3".
static bool at_bare_argument(const jinja_parser *p)
{
    switch (p->token.type) {
    case JINJA_TOKEN_STRING:
    case JINJA_TOKEN_NUMBER: return true;
    case JINJA_TOKEN_NAME:
        return !jinja_parser_at_name(p, "else") && !jinja_parser_at_name(p, "or") &&
               !jinja_parser_at_name(p, "and");
    case JINJA_TOKEN_OPERATOR: return jinja_parser_at_op(p, "[") || jinja_parser_at_op(p, "{");
    default: return false;
    }
}

static qw_status parse_test(jinja_parser *p, jinja_expr *value, jinja_expr **out)
{
    int line = p->token.line;
    JINJA_TRY(jinja_parser_advance(p)); // "is"
    bool negated;
    JINJA_TRY(jinja_parser_skip(p, "not", &negated));
    jinja_expr *e;
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_TEST, line, &e));
    e->a = value;
    JINJA_TRY(bind_builtin(p, e, false));
    if (jinja_parser_at_op(p, "(")) {
        JINJA_TRY(parse_arguments(p, e));
    } else if (at_bare_argument(p)) {
        if (jinja_parser_at_name(p, "is"))
            return jinja_parser_unexpected(p, "tests cannot be chained with 'is'");
        jinja_expr *argument;
        JINJA_TRY(parse_primary(p, &argument));
        JINJA_TRY(parse_postfix(p, argument, &e->first));
        e->n = 1;
    }
    JINJA_TRY(finish(p, e, out));
    return negated ? unary_node(p, JINJA_EXPR_NOT, line, e, out) : QW_OK;
}

static qw_status parse_unary(jinja_parser *p, bool with_filters, jinja_expr **out)
{
    JINJA_TRY(jinja_parser_enter(p));
    int line = p->token.line;
    bool minus = jinja_parser_at_op(p, "-");
    jinja_expr *e;
    if (minus || jinja_parser_at_op(p, "+")) {
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_unary(p, false, &e));
        JINJA_TRY(unary_node(p, minus ? JINJA_EXPR_NEGATE : JINJA_EXPR_PLUS, line, e, &e));
    } else {
        JINJA_TRY(parse_primary(p, &e));
    }
    JINJA_TRY(parse_postfix(p, e, &e));
    while (with_filters) { // calls are allowed after filters and tests too
        if (jinja_parser_at_op(p, "|"))
            JINJA_TRY(jinja_parse_filters(p, e, false, &e));
        else if (jinja_parser_at_name(p, "is"))
            JINJA_TRY(parse_test(p, e, &e));
        else if (jinja_parser_at_op(p, "("))
            JINJA_TRY(parse_call(p, e, &e));
        else
            break;
    }
    *out = e;
    p->depth--;
    return QW_OK;
}

// ---- binary operators

static qw_status parse_power(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *left, *right;
    JINJA_TRY(parse_unary(p, true, &left));
    while (jinja_parser_at_op(p, "**")) {
        int line = p->token.line;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_unary(p, true, &right));
        JINJA_TRY(binary_node(p, JINJA_EXPR_ARITHMETIC, '^', line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_product(jinja_parser *p, jinja_expr **out)
{
    static const struct {
        const char *text;
        char op;
    } operators[] = {{"*", '*'}, {"/", '/'}, {"//", '.'}, {"%", '%'}};
    jinja_expr *left, *right;
    JINJA_TRY(parse_power(p, &left));
    for (;;) {
        size_t i = 0;
        while (i < QW_ARRAY_LEN(operators) && !jinja_parser_at_op(p, operators[i].text)) i++;
        if (i == QW_ARRAY_LEN(operators)) break;
        int line = p->token.line;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_power(p, &right));
        JINJA_TRY(binary_node(p, JINJA_EXPR_ARITHMETIC, operators[i].op, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_concat(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *item, *list;
    JINJA_TRY(parse_product(p, &item));
    if (!jinja_parser_at_op(p, "~")) {
        *out = item;
        return QW_OK;
    }
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_CONCAT, p->token.line, &list));
    jinja_expr **end = &list->first;
    append(list, &end, item);
    while (jinja_parser_at_op(p, "~")) {
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_product(p, &item));
        append(list, &end, item);
    }
    return finish(p, list, out);
}

static qw_status parse_sum(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *left, *right;
    JINJA_TRY(parse_concat(p, &left));
    while (jinja_parser_at_op(p, "+") || jinja_parser_at_op(p, "-")) {
        char op = p->token.text.ptr[0];
        int line = p->token.line;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_concat(p, &right));
        JINJA_TRY(binary_node(p, JINJA_EXPR_ARITHMETIC, op, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

// The comparison operator at the current token, consumed; *found is false if there is none.
static qw_status parse_comparison(jinja_parser *p, uint8_t *out, bool *found)
{
    static const struct {
        const char *text;
        jinja_compare op;
    } operators[] = {{"==", JINJA_EQ}, {"!=", JINJA_NE}, {"<", JINJA_LT},
                     {"<=", JINJA_LE}, {">", JINJA_GT},  {">=", JINJA_GE}};
    *found = true;
    for (size_t i = 0; i < QW_ARRAY_LEN(operators); i++) {
        if (!jinja_parser_at_op(p, operators[i].text)) continue;
        *out = (uint8_t)operators[i].op;
        return jinja_parser_advance(p);
    }
    if (jinja_parser_at_name(p, "in")) {
        *out = JINJA_IN;
        return jinja_parser_advance(p);
    }
    if (jinja_parser_at_name(p, "not") && p->ahead.type == JINJA_TOKEN_NAME &&
        qw_str_is(p->ahead.text, "in")) {
        *out = JINJA_NOT_IN;
        JINJA_TRY(jinja_parser_advance(p));
        return jinja_parser_advance(p);
    }
    *found = false;
    return QW_OK;
}

static qw_status parse_compare(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *item, *list = NULL, **end = NULL;
    JINJA_TRY(parse_sum(p, &item));
    for (;;) {
        int line = p->token.line;
        uint8_t op;
        bool found;
        JINJA_TRY(parse_comparison(p, &op, &found));
        if (!found) break;
        if (!list) {
            JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_COMPARE, line, &list));
            end = &list->first;
            append(list, &end, item);
        }
        JINJA_TRY(parse_sum(p, &item));
        item->compare = op;
        append(list, &end, item);
    }
    if (list) return finish(p, list, out);
    *out = item;
    return QW_OK;
}

static qw_status parse_not(jinja_parser *p, jinja_expr **out)
{
    if (!jinja_parser_at_name(p, "not")) return parse_compare(p, out);
    JINJA_TRY(jinja_parser_enter(p));
    int line = p->token.line;
    JINJA_TRY(jinja_parser_advance(p));
    jinja_expr *e;
    JINJA_TRY(parse_not(p, &e));
    p->depth--;
    return unary_node(p, JINJA_EXPR_NOT, line, e, out);
}

static qw_status parse_and(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *left, *right;
    JINJA_TRY(parse_not(p, &left));
    while (jinja_parser_at_name(p, "and")) {
        int line = p->token.line;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_not(p, &right));
        JINJA_TRY(binary_node(p, JINJA_EXPR_AND, 0, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_or(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *left, *right;
    JINJA_TRY(parse_and(p, &left));
    while (jinja_parser_at_name(p, "or")) {
        int line = p->token.line;
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(parse_and(p, &right));
        JINJA_TRY(binary_node(p, JINJA_EXPR_OR, 0, line, left, right, &left));
    }
    *out = left;
    return QW_OK;
}

static qw_status parse_inline_if(jinja_parser *p, jinja_expr **out)
{
    jinja_expr *value, *e;
    const jinja_expr *unknown_before = p->unknown;
    p->unknown = NULL;
    JINJA_TRY(parse_or(p, &value));
    while (jinja_parser_at_name(p, "if")) {
        p->unknown = NULL; // what stands before turns out to be a branch
        JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_IF, p->token.line, &e));
        JINJA_TRY(jinja_parser_advance(p));
        p->n_conditional++;
        e->b = value;
        JINJA_TRY(parse_or(p, &e->a));
        bool has_else;
        JINJA_TRY(jinja_parser_skip(p, "else", &has_else));
        if (has_else) JINJA_TRY(jinja_parse_expression(p, true, &e->c));
        p->n_conditional--;
        JINJA_TRY(finish(p, e, &value));
    }
    if (unknown_before) p->unknown = unknown_before;
    *out = value;
    return QW_OK;
}

qw_status jinja_parse_expression(jinja_parser *p, bool with_if, jinja_expr **out)
{
    JINJA_TRY(jinja_parser_enter(p));
    JINJA_TRY(with_if ? parse_inline_if(p, out) : parse_or(p, out));
    p->depth--;
    return QW_OK;
}

// ---- targets

static qw_status parse_target_item(jinja_parser *p, bool with_namespace, jinja_expr **out)
{
    JINJA_TRY(jinja_parser_enter(p));
    if (jinja_parser_at_op(p, "(")) {
        JINJA_TRY(jinja_parser_advance(p));
        JINJA_TRY(jinja_parse_target(p, with_namespace, out));
        JINJA_TRY(jinja_parser_expect(p, ")"));
        p->depth--;
        return QW_OK;
    }
    jinja_token token = {0};
    jinja_value literal;
    JINJA_TRY(jinja_parser_expect_name(p, &token));
    if (literal_of(token.text, &literal))
        return jinja_syntax_error(p->err, token.line, "cannot assign to '%.*s'",
                                  (int)token.text.len, token.text.ptr);
    JINJA_TRY(name_node(p, &token, out));
    if (with_namespace && jinja_parser_at_op(p, ".")) {
        JINJA_TRY(jinja_parser_advance(p));
        jinja_token attribute = {0};
        JINJA_TRY(jinja_parser_expect_name(p, &attribute));
        JINJA_TRY(unary_node(p, JINJA_EXPR_NAMESPACE, token.line, *out, out));
        (*out)->text = attribute.text;
    }
    p->depth--;
    return QW_OK;
}

qw_status jinja_parse_target(jinja_parser *p, bool with_namespace, jinja_expr **out)
{
    jinja_expr *item, *list;
    JINJA_TRY(parse_target_item(p, with_namespace, &item));
    if (!jinja_parser_at_op(p, ",")) {
        *out = item;
        return QW_OK;
    }
    JINJA_TRY(jinja_parser_node(p, JINJA_EXPR_TUPLE, p->token.line, &list));
    jinja_expr **end = &list->first;
    append(list, &end, item);
    while (jinja_parser_at_op(p, ",")) {
        JINJA_TRY(jinja_parser_advance(p));
        if (p->token.type != JINJA_TOKEN_NAME && !jinja_parser_at_op(p, "(")) break;
        if (jinja_parser_at_name(p, "in")) break; // "for a, in pairs"
        JINJA_TRY(parse_target_item(p, with_namespace, &item));
        append(list, &end, item);
    }
    return finish(p, list, out);
}
