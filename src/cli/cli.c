#include "cli/cli.h"

#include <errno.h>

int qw_cli_fail(const char *program, qw_status code, const qw_error *err, const char *usage)
{
    if (usage && code == QW_ERR_USAGE) fputs(usage, stderr);
    fprintf(stderr, "%s: error: %s\n", program, err->text);
    return qw_status_exit_code(code);
}

int qw_cli_flush_stdout(const char *program)
{
    // A write that failed earlier left only the stream's mark; errno has been overwritten since.
    bool failed_before = ferror(stdout);
    if (fflush(stdout) == 0 && !failed_before) return 0;
    char reason[128];
    snprintf(reason, sizeof reason, "%s", failed_before ? "a write failed" : strerror(errno));
    fprintf(stderr, "%s: error: cannot write the output: %s\n", program, reason);
    return 1;
}
