// --config files: any bytes, read as options of serve.
#include "cli/config_file.h"
#include "cli/serve_options.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static qw_serve_options options;
    qw_opt_table tables[QW_COMMAND_MAX_TABLES] = {0};
    size_t n = qw_serve_options_tables(tables);
    tables[0].target = &options.model;
    for (size_t i = 1; i < n; i++) tables[i].target = &options;
    qw_error err = {0};
    qw_opts opts;
    if (qw_opts_init(&opts, "serve", NULL, tables, n, &err) != QW_OK) return 0;
    qw_status st = qw_config_file_parse(&opts, (const char *)data, size, "fuzz.yaml", &err);
    if (st == QW_OK) st = qw_opts_finish(&opts, &err);
    if (st != QW_OK && err.text[0] == '\0') abort();
    qw_opts_release(&opts);
    return 0;
}
