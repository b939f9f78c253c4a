// qwench serve: many clients at once on one model, with vLLM's command line and OpenAI's API.

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve_run.h"

static int cmd_serve(const qw_command_call *call)
{
    qw_serve_options o = {0};
    int status;
    if (!qw_serve_options_read(&o, call, &status)) return status;
    qw_error err;
    qw_status st = qw_serve_run(&o, call->program, &err);
    status = st == QW_OK ? 0 : qw_cli_fail(call->name, st, &err, NULL);
    qw_serve_options_release(&o);
    return status;
}

static const qw_command_example examples[] = {
    {"qwench serve", "serve the built-in model on port 8000"},
    {"qwench serve ~/models/Qwen3-0.6B --served-model-name qwen3 --port 8004",
     "serve a checkpoint under a name of its own"},
    {"qwench serve ~/models/Qwen3-0.6B --max-num-seqs 64 --explain",
     "tell what the options do, and exit"},
    {0},
};

const qw_command qw_cmd_serve = {
    .name = "serve",
    .help = "answer requests over HTTP, as vllm serve does",
    .summary = "Serves a model over HTTP in the way of OpenAI's API, as a drop-in for vllm serve.",
    .description =
        "Takes the command lines that are written for vllm serve: its options and short names, "
        "names with '_' or '-', beginnings of names, dotted JSON keys, a --config file and its "
        "environment variables. What has no use on one host's CPUs is accepted and named in the "
        "table at start; what would change the answers is refused. --explain tells what each "
        "given option does here.",
    .examples = examples,
    .run = cmd_serve,
    .tables = qw_serve_options_tables,
};
