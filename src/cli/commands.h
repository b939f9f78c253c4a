#ifndef QW_CLI_COMMANDS_H
#define QW_CLI_COMMANDS_H

// The commands of main.c's table, one cmd_<name>.c each: argv[0] is the command's name, the result
// is the exit status (0; 1 failed; 2 wrong usage).

int qw_cmd_bench(int argc, char **argv);
int qw_cmd_chat(int argc, char **argv);
int qw_cmd_generate(int argc, char **argv);
int qw_cmd_tokenize(int argc, char **argv);

#endif
