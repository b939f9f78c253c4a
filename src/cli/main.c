#include <signal.h>

#include "base/log.h"
#include "cli/commands.h"
#include "format/json.h"
#include "version.h"

static const qw_program qwench = {
    .name = "qwench",
    .version = QWENCH_VERSION,
    .commit = QWENCH_COMMIT,
    .version_line = "qwench " QWENCH_VERSION " (" QWENCH_COMMIT ")",
};

// Scripts written for vLLM read the whole line as the version.
static const qw_program vllm = {
    .name = "vllm",
    .version = QWENCH_VERSION,
    .commit = QWENCH_COMMIT,
    .version_line = QWENCH_VERSION,
};

static bool is_called_vllm(int argc, char **argv)
{
    if (argc < 1) return false;
    const char *slash = strrchr(argv[0], '/');
    return strcmp(slash ? slash + 1 : argv[0], "vllm") == 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a closed pipe is an error of the write, told by a sentence
    signal(SIGXFSZ, SIG_IGN); // so is a file that may not grow
    qw_log_init();
    qw_json_init();
    return qw_command_run(&qw_commands, is_called_vllm(argc, argv) ? &vllm : &qwench, argc, argv);
}
