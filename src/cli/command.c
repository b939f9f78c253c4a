#include "cli/command.h"

#include "base/nearest.h"
#include "cli/cli.h"

static void print_help(const qw_command_call *call)
{
    const qw_command *group = call->command;
    printf("usage: %s COMMAND [options]\n\n%s\n\ncommands:\n", call->name, group->summary);
    for (size_t i = 0; i < group->n_commands; i++)
        printf("  %-12s %s\n", group->commands[i]->name, group->commands[i]->help);
    printf("\n%s COMMAND --help explains one command; %s --version prints the version\n",
           call->name, call->name);
}

static const qw_command *find(const qw_command *group, const char *name)
{
    for (size_t i = 0; i < group->n_commands; i++)
        if (strcmp(group->commands[i]->name, name) == 0) return group->commands[i];
    return NULL;
}

static int fail_unknown(const qw_command_call *call, const char *name)
{
    const qw_command *group = call->command;
    qw_nearest near;
    qw_nearest_init(&near, qw_str_of(name));
    for (size_t i = 0; i < group->n_commands; i++)
        qw_nearest_offer(&near, group->commands[i]->name);
    const char *what = name[0] == '-' ? "option" : "command";
    qw_error err;
    qw_status st;
    if (near.name)
        st = qw_fail(&err, QW_ERR_USAGE, "unknown %s '%s' (did you mean '%s'?)", what, name,
                     near.name);
    else
        st = qw_fail(&err, QW_ERR_USAGE, "unknown %s '%s'; '%s --help' lists the commands", what,
                     name, call->name);
    return qw_cli_fail(call->name, st, &err, NULL);
}

static bool is_one_of(const char *arg, const char *a, const char *b)
{
    return strcmp(arg, a) == 0 || strcmp(arg, b) == 0;
}

static int run(const qw_command_call *call);

static int run_group(const qw_command_call *call)
{
    const char *arg = call->argc < 2 ? "--help" : call->argv[1];
    if (is_one_of(arg, "--help", "-h")) {
        print_help(call);
        return 0;
    }
    if (is_one_of(arg, "--version", "-v")) {
        printf("%s\n", call->program->version_line);
        return 0;
    }
    const qw_command *command = find(call->command, arg);
    if (!command) return fail_unknown(call, arg);
    char name[128];
    snprintf(name, sizeof name, "%s %s", call->name, command->name);
    qw_command_call inner = {.program = call->program,
                             .command = command,
                             .name = name,
                             .argc = call->argc - 1,
                             .argv = call->argv + 1};
    return run(&inner);
}

static int run(const qw_command_call *call)
{
    return call->command->run ? call->command->run(call) : run_group(call);
}

int qw_command_run(const qw_command *command, const qw_program *program, int argc, char **argv)
{
    const qw_command_call call = {
        .program = program, .command = command, .name = program->name, .argc = argc, .argv = argv};
    int status = run(&call);
    if (status == 0) return qw_cli_flush_stdout(program->name);
    (void)fflush(stdout); // one error has been told
    return status;
}
