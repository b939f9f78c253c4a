#ifndef QW_CLI_COMMANDS_H
#define QW_CLI_COMMANDS_H

#include "cli/command.h"

/** All commands, as a group: "qwench". One file cmd_<name>.c for each of them. */
extern const qw_command qw_commands;

extern const qw_command qw_cmd_bench;
extern const qw_command qw_cmd_bench_latency;    /* in the group qw_cmd_bench */
extern const qw_command qw_cmd_bench_throughput; /* likewise */
extern const qw_command qw_cmd_bench_serve;      /* in the group qw_cmd_bench */
extern const qw_command qw_cmd_bench_server;     /* likewise */
extern const qw_command qw_cmd_bench_coldstart;  /* likewise */
extern const qw_command qw_cmd_chat;
extern const qw_command qw_cmd_eval;
extern const qw_command qw_cmd_generate;
extern const qw_command qw_cmd_inspect;
extern const qw_command qw_cmd_plan;
extern const qw_command qw_cmd_quantize;
extern const qw_command qw_cmd_serve;
extern const qw_command qw_cmd_tokenize, qw_cmd_top;

#endif
