#include "cli/commands.h"

static const qw_command *const commands[] = {
    &qw_cmd_bench, &qw_cmd_chat,     &qw_cmd_eval,  &qw_cmd_generate, &qw_cmd_inspect,
    &qw_cmd_plan,  &qw_cmd_quantize, &qw_cmd_serve, &qw_cmd_tokenize, &qw_cmd_top,
};

static const qw_command_example examples[] = {
    {"qwench chat", "talk to the built-in model"},
    {"qwench chat ~/models/Qwen3-0.6B", "talk to a downloaded checkpoint"},
    {"qwench generate --chat -p \"What is 47 + 38?\"", "one question, one answer"},
    {0},
};

const qw_command qw_commands = {
    .name = "qwench",
    .help = "runs Qwen3 checkpoints on the CPU",
    .summary = "Runs Qwen3 checkpoints on the CPU.",
    .description =
        "A model is a directory as published: config.json, safetensors files, tokenizer.json. "
        "Without one, the small model that comes with the program answers; it can add two-digit "
        "numbers and knows some capitals.\n\n"
        "Results go to standard output, everything else to standard error.\n\n"
        "Started by the name vllm the program is the same; its messages and its version line are "
        "then in the form that scripts written for vLLM expect.",
    .examples = examples,
    .commands = commands,
    .n_commands = QW_ARRAY_LEN(commands),
};
