#ifndef QW_CLI_CONFIG_FILE_H
#define QW_CLI_CONFIG_FILE_H

#include "base/opt.h"

/**
 * Read a --config file (cli-and-bench.md 1.2) into options whose command line has been parsed: a
 * YAML mapping whose keys are option names without dashes. A text or number is a value, true a
 * switch that is on (false is dropped, as vLLM drops it), a list several values, a mapping a JSON
 * object. The name must end in .yaml or .yml. QW_ERR_USAGE names the file and, where it can, the
 * line; files above 1 MiB, aliases, several documents and nesting beyond 32 are refused.
 */
QW_MUST_CHECK qw_status qw_config_file_apply(qw_opts *o, const char *path, qw_error *err);
/** The same from `len` bytes of text; `name` is for errors. */
QW_MUST_CHECK qw_status qw_config_file_parse(qw_opts *o, const char *text, size_t len,
                                             const char *name, qw_error *err);

#endif
