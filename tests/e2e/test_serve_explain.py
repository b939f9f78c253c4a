"""Every serve command of the two reference pages, run through the `vllm` link with --explain.

The commands are read from tests/golden/data/reference-commands.txt. Replaced are what the pages
leave open: the model's path, the draft's path, host and port.
"""

import os
import re
import subprocess

from qwtest import DATA, QWENCH, TINY, Scratch, check, fail

COMMANDS = DATA / "reference-commands.txt"
CHANGED = {
    "your_model_path": str(TINY),
    "your_eagle3_model_path": str(TINY),
    "Qwen/Qwen3-Omni-30B-A3B-Thinking": str(TINY),
    "<port>": "8000",
    "<host_ip>": "127.0.0.1",
    "python3 -m vllm.entrypoints.openai.api_server": "vllm serve",
}
# Words of a command that stand for a row's full name.
FULL_NAMES = {"--disable-log-request": "--disable-log-requests"}
JSON_OPTIONS = {"--compilation-config", "--additional-config", "--speculative-config"}


def blocks():
    """(id, text) of every serve command."""
    found = []
    for part in COMMANDS.read_text().split("#### ")[1:]:
        head, text = part.split("\n", 1)
        name = head.split(" |")[0]
        if name.endswith(("-serve", "-api_server")):
            found.append((name, text.split("vllm bench")[0].rstrip()))
    return found


def clean_env(link_dir):
    env = {k: v for k, v in os.environ.items()
           if not re.match(r"VLLM_|HCCL_|ASCEND_|OMP_|HF_|QWENCH_|TASK_QUEUE|PYTORCH_", k)}
    env["PATH"] = f"{link_dir}:{env['PATH']}"
    return env


def records(output):
    """{name: (effect, whole line)}"""
    found = {}
    for line in output.splitlines():
        m = re.match(r"(\S+)(?: .*?)?: (active|adjusted|inert|refused): ", line)
        if m:
            found[m.group(1)] = (m.group(2), line)
    return found


def check_block(name, text, env):
    for old, new in sorted(CHANGED.items(), key=lambda c: -len(c[0])):
        text = text.replace(old, new)
    p = subprocess.run(["bash", "-c", text + " --explain"], capture_output=True, env=env,
                       timeout=60, check=False)
    out, errors = p.stdout.decode(), p.stderr.decode()
    check(p.returncode == 0, f"{name}: exit {p.returncode}: {errors}")
    for word in ("unknown", "unrecognized", "Unknown"):
        check(word not in out + errors, f"{name}: {word!r} in {out + errors}")
    got = records(out)
    for option in re.findall(r"(?<=\s)--[a-z_-]+", text):
        option = option.replace("_", "-")
        option = FULL_NAMES.get(option, option)
        known = option in got or (option in JSON_OPTIONS and
                                  any(key.startswith(option + ".") for key in got))
        check(known, f"{name}: nothing is said of {option}: {out}")
    for variable in re.findall(r"^export ([A-Z_0-9]+)=", text, re.M):
        check(variable in got or variable == "MODEL", f"{name}: nothing is said of {variable}")
    for key, (effect, line) in got.items():
        if key.startswith(("--speculative-config", "--additional-config", "HCCL", "ASCEND")):
            check(effect != "active", f"{name}: {line}")
        if key == "--tensor-parallel-size":
            ranks = re.search(r"--tensor-parallel-size (\d+)", text).group(1)
            check(effect == ("active" if ranks == "1" else "adjusted"), f"{name}: {line}")
        if key == "--quantization":
            check(effect == "refused" and "quant_model_description" in line, f"{name}: {line}")


def check_start(link, env):
    """What keeps a server from starting is the last line, and the exit status tells."""
    cases = [
        (["serve", TINY, "--quantization", "ascend"], 1, "leave the option out"),
        (["serve", "/no/such/model"], 1, "no model directory '/no/such/model'"),
        (["serve", TINY, "--max-num-seqs", "64", "--max-num-batched-tokens", "8"], 2,
         "must be greater than or equal to max_num_seqs (64)"),
        (["serve", "--served-model-name", "x"], 2, "`model` should be provided"),
        (["serve", TINY, "--foo"], 2, "vllm serve: error: unrecognized arguments: --foo"),
    ]
    for args, status, text in cases:
        p = subprocess.run([link, *map(str, args)], capture_output=True, env=env, timeout=60,
                           check=False)
        lines = p.stderr.decode().splitlines()
        check(p.returncode == status, f"{args}: exit {p.returncode}: {lines}")
        check(lines and text in lines[-1], f"{args}: {lines}")
        check(status != 2 or lines[0].startswith("usage: vllm serve"), f"{args}: {lines}")


def check_help(link, env):
    def show(arg):
        p = subprocess.run([link, "serve", arg], capture_output=True, env=env, check=False)
        check(p.returncode == 0, f"{arg}: {p.stderr}")
        text = p.stdout.decode()
        check(max(map(len, text.splitlines())) <= 80, f"{arg}: a line is longer than 80 columns")
        return text

    groups = show("--help")
    for group in ("ModelConfig", "CacheConfig", "SchedulerConfig", "ParallelConfig", "Frontend"):
        check(f"  {group}\n" in groups, f"{group} is not in {groups}")
        show(f"--help={group}")
    check("--max-model-len" in show("--help=max-model-len"), "--help=max-model-len")
    check(len(re.findall(r"--[a-z]", show("--help=all"))) > 200, "--help=all is short")


def main():
    found = blocks()
    check(len(found) == 11, f"{len(found)} serve commands in {COMMANDS}")
    with Scratch() as scratch:
        link = scratch / "vllm"
        link.symlink_to(QWENCH)
        env = clean_env(scratch)
        for name, text in found:
            check_block(name, text, env)
        check_start(link, env)
        check_help(link, env)
    print(f"{len(found)} commands explained")


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as e:
        fail(str(e))
