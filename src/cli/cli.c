#include "cli/cli.h"

#include <errno.h>

#include "base/log.h"

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

static qw_status read_options(qw_cli_options *o, int argc, char **argv, bool *shown, qw_error *err)
{
    qw_status st = qw_opts_parse(&o->opts, argc, argv, err);
    if (st != QW_OK) return st;
    if (!o->opts.wants_help) return qw_opts_finish(&o->opts, err);
    qw_buf help;
    qw_buf_init(&help, (size_t)1 << 20);
    st = qw_opts_help(&o->opts, o->opts.help_topic, &help, err);
    if (st == QW_OK) st = qw_buf_check(&help, "the help", err);
    if (st == QW_OK) {
        fwrite(help.data, 1, help.len, stdout);
        *shown = true;
    }
    qw_buf_release(&help);
    return st;
}

bool qw_cli_options_read(qw_cli_options *out, const qw_command_call *call, void *const *targets,
                         size_t n_targets, int *exit_status)
{
    qw_error err;
    qw_buf_init(&out->usage, 1 << 16);
    qw_opt_table tables[QW_COMMAND_MAX_TABLES] = {0};
    size_t n_tables = call->command->tables(tables);
    QW_ASSERT(n_tables == n_targets);
    for (size_t i = 0; i < n_tables; i++) tables[i].target = targets[i];
    qw_status st =
        qw_opts_init(&out->opts, call->name, call->command->summary, tables, n_tables, &err);
    if (st != QW_OK) {
        *exit_status = qw_cli_fail(call->name, st, &err, NULL);
        return false;
    }
    bool shown = false;
    qw_opts_usage(&out->opts, &out->usage);
    st = read_options(out, call->argc, call->argv, &shown, &err);
    if (st == QW_OK && !shown) {
        for (size_t i = 0; i < out->opts.n_warnings; i++)
            QW_LOG(QW_LOG_WARN, "cli", "%s", out->opts.warnings[i]);
        return true;
    }
    *exit_status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, out->usage.data);
    qw_cli_options_release(out);
    return false;
}

void qw_cli_options_release(qw_cli_options *o)
{
    qw_opts_release(&o->opts);
    qw_buf_release(&o->usage);
}
