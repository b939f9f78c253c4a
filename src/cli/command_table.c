#include "cli/command_table.h"

#include "base/nearest.h"
#include "cli/cli.h"

static void print_help(const qw_command_table *table)
{
    printf("usage: %s COMMAND [options]\n\n%s\n\ncommands:\n", table->program, table->summary);
    for (size_t i = 0; i < table->n_commands; i++)
        printf("  %-12s %s\n", table->commands[i].name, table->commands[i].help);
    printf("\n%s COMMAND --help explains one command; %s --version prints the version\n",
           table->program, table->program);
}

static const qw_command *find(const qw_command_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_commands; i++)
        if (strcmp(table->commands[i].name, name) == 0) return &table->commands[i];
    return NULL;
}

static int fail_unknown(const qw_command_table *table, const char *name)
{
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(name));
    for (size_t i = 0; i < table->n_commands; i++) qw_nearest_offer(&near, table->commands[i].name);
    const char *what = name[0] == '-' ? "option" : "command";
    qw_error err;
    qw_status st;
    if (near.name)
        st = qw_fail(&err, QW_ERR_USAGE, "unknown %s '%s' (did you mean '%s'?)", what, name,
                     near.name);
    else
        st = qw_fail(&err, QW_ERR_USAGE, "unknown %s '%s'; '%s --help' lists the commands", what,
                     name, table->program);
    return qw_cli_fail(table->program, st, &err, NULL);
}

static bool is_one_of(const char *arg, const char *a, const char *b)
{
    return strcmp(arg, a) == 0 || strcmp(arg, b) == 0;
}

int qw_command_table_run(const qw_command_table *table, int argc, char **argv)
{
    int status = 0;
    if (argc < 2 || is_one_of(argv[1], "--help", "-h")) {
        print_help(table);
    } else if (is_one_of(argv[1], "--version", "-v")) {
        printf("%s\n", table->version);
    } else {
        const qw_command *command = find(table, argv[1]);
        if (!command) return fail_unknown(table, argv[1]);
        status = command->run(argc - 1, argv + 1);
    }
    int written = qw_cli_flush_stdout(table->program);
    return status ? status : written;
}
