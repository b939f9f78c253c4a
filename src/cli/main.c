#include <signal.h>

#include "base/log.h"
#include "cli/command_table.h"
#include "cli/commands.h"
#include "format/json.h"
#include "version.h"

static const qw_command commands[] = {
    {"bench", "measure speed against the machine's limits", qw_cmd_bench},
    {"chat", "a conversation in the terminal", qw_cmd_chat},
    {"generate", "answer a prompt, or a file of prompts", qw_cmd_generate},
    {"tokenize", "text or messages to token ids, and back", qw_cmd_tokenize},
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a closed pipe is an error of the write, told by a sentence
    signal(SIGXFSZ, SIG_IGN); // so is a file that may not grow
    qw_log_init();
    qw_json_init();
    const qw_command_table table = {
        .program = "qwench",
        .version = "qwench " QWENCH_VERSION " (" QWENCH_COMMIT ")",
        .summary = "Runs Qwen3 checkpoints on the CPU.",
        .commands = commands,
        .n_commands = QW_ARRAY_LEN(commands),
    };
    return qw_command_table_run(&table, argc, argv);
}
