#ifndef QW_GRAMMAR_GRAMMAR_REQUEST_H
#define QW_GRAMMAR_GRAMMAR_REQUEST_H

#include "grammar/grammar.h"

/** What a request's body asks for. Owns `parsed`; the spec borrows from it and from the body. */
typedef struct qw_grammar_request {
    bool has_grammar; /* false: it asks for no structure */
    qw_grammar_spec spec;
    json_t *parsed;    /* JSON that came as text; NULL: none */
    const char *param; /* the field, for errors; a static text */
} qw_grammar_request;

/**
 * Read response_format, structured_outputs and guided_json, guided_regex, guided_choice,
 * guided_grammar, guided_whitespace_pattern. With more than one, or a wrong type: QW_ERR_USAGE with
 * out->param set. Release also after a failure.
 */
QW_MUST_CHECK qw_status qw_grammar_request_read(qw_grammar_request *out, const json_t *body,
                                                qw_error *err);
/** The same for the inside of structured_outputs alone. */
QW_MUST_CHECK qw_status qw_grammar_request_read_outputs(qw_grammar_request *out,
                                                        const json_t *outputs, qw_error *err);
void qw_grammar_request_release(qw_grammar_request *r);

#endif
