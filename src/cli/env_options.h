#ifndef QW_CLI_ENV_OPTIONS_H
#define QW_CLI_ENV_OPTIONS_H

#include "cli/serve_options.h"

/**
 * Read vLLM's environment variables, those of the Ascend tools and those that thread libraries know
 * (cli-and-bench.md 3, features 1G) into `o`, and note in o->records what each does here. The table
 * is in env_options.c. An unknown VLLM_* variable is a warning that suggests the nearest name.
 * QW_ERR_USAGE: a value that its variable cannot have. QWENCH_* variables of options are not read
 * here: base/opt.h does.
 */
QW_MUST_CHECK qw_status qw_env_options_read(qw_serve_options *o, qw_error *err);

#endif
