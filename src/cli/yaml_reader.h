#ifndef QW_CLI_YAML_READER_H
#define QW_CLI_YAML_READER_H

// YAML by libyaml, event by event: what config files and recipes are read with.
#include <yaml.h>

#include "base/str.h"
#include "format/json.h"

/** Largest file, in bytes; deepest nesting. */
enum { QW_YAML_MAX_SIZE = 1 << 20, QW_YAML_MAX_LEVELS = 32 };

/** A text that is being read. */
typedef struct qw_yaml_reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one at hand, if has_event */
    bool has_event;
    const char *kind, *name; /* "config file" and its path, for errors */
    qw_error *err;
} qw_yaml_reader;

/** Text and names are borrowed until qw_yaml_release. */
QW_MUST_CHECK qw_status qw_yaml_init(qw_yaml_reader *r, const char *text, size_t len,
                                     const char *kind, const char *name, qw_error *err);
void qw_yaml_release(qw_yaml_reader *r);

/** QW_ERR_USAGE: "KIND 'NAME' line N: WHAT". */
qw_status qw_yaml_fail(qw_yaml_reader *r, const yaml_mark_t *mark, const char *what);
/** Make the next event the one at hand. */
QW_MUST_CHECK qw_status qw_yaml_next(qw_yaml_reader *r);
/** The text of a scalar event. */
qw_str qw_yaml_text(const yaml_event_t *e);
/** A plain scalar that means nothing: empty, ~ or null. */
bool qw_yaml_is_null(const yaml_event_t *e);
/**
 * The value that the event at hand begins; the event that ends it is the one at hand afterwards.
 * Plain scalars are YAML's core schema, quoted ones texts. Aliases are refused. Caller owns *out.
 */
QW_MUST_CHECK qw_status qw_yaml_value(qw_yaml_reader *r, json_t **out, int level);
/**
 * Go to the first key of the document, a mapping: true if there is one, false at the end of an
 * empty file. `expected` is the error's text for everything else.
 */
QW_MUST_CHECK qw_status qw_yaml_begin(qw_yaml_reader *r, bool *any, const char *expected);
/** After the mapping's end: nothing else follows. */
QW_MUST_CHECK qw_status qw_yaml_end(qw_yaml_reader *r);

#endif
