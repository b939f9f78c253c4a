"""What is made of the option tables: docs/cli.md, manual pages, completions."""

import difflib
import os
import re
import shutil
import subprocess
from pathlib import Path

from qwtest import QWENCH, SOURCE, Scratch, check, ok

BUILD = Path(QWENCH).parent
VERSION = (SOURCE / "VERSION").read_text().strip()


def make_docs(directory):
    for folder in ("man/man1", "bash-completion/completions", "zsh/site-functions"):
        (directory / "share" / folder).mkdir(parents=True)
    subprocess.run([BUILD / "bin/qwench-docs", VERSION, directory], check=True)


def leaf_commands():
    """["generate"], ["bench", "kernels"], ...: as the help lists them."""
    found, groups = [], [[]]
    while groups:
        group = groups.pop()
        text = ok(*group, "--help").decode()
        for name in re.findall(r"^  (\S+) +\S", text.partition("\ncommands:\n")[2], re.M):
            path = [*group, name]
            is_group = "\ncommands:\n" in ok(*path, "--help").decode()
            (groups if is_group else found).append(path)
    return found


def option_names(command):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", ok(*command, "--help=all").decode()))


def check_markdown(made):
    want = (made / "cli.md").read_text().splitlines()
    got = (SOURCE / "docs/cli.md").read_text().splitlines()
    if want != got:
        print("\n".join(difflib.unified_diff(got, want, "docs/cli.md", "option tables", "", "", 1)))
    check(want == got, "docs/cli.md is not what the option tables say; run `make docs`")


def check_man_pages(made, commands):
    man = made / "share/man"
    pages = sorted(man.glob("man1/*.1"))
    check(len(pages) >= len(commands) + 2, f"only {len(pages)} pages")
    for command in commands:
        text = (man / f"man1/qwench-{'-'.join(command)}.1").read_text().replace("\\-", "-")
        for name in option_names(command):
            check(name in text, f"{' '.join(command)}: {name} is not in its manual page")
    if not shutil.which("groff"):
        print("groff is not installed: manual pages are not formatted")
        return
    for page in pages:
        p = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", f"man1/{page.name}"], cwd=man,
                           capture_output=True, text=True, check=False)
        check(p.returncode == 0 and not p.stderr, f"{page.name}: {p.stderr}")
    print(f"{len(pages)} manual pages without a warning of groff")


def bash_completions(made, words, cwd, wordbreaks=None):
    """What bash offers behind `words`, the last of which is being typed."""
    script = made / "share/bash-completion/completions/qwench"
    # The line is cut into words as bash itself would: '=' is a word unless COMP_WORDBREAKS says no.
    if wordbreaks is None:
        words = [w for word in words for w in re.split("(=)", word)]
        if words[-1] == "" and len(words) > 1 and words[-2] == "=":
            words.pop()
    code = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qwench; '
            'printf "%s\\n" "${COMPREPLY[@]}"')
    p = subprocess.run(["bash", "--norc", "-c", code, "bash", str(script), *words],
                       cwd=cwd, capture_output=True, text=True, check=False)
    check(p.returncode == 0 and not p.stderr, f"bash {words}: {p.stderr}")
    return set(p.stdout.split("\n")) - {""}


def check_bash(made, commands, scratch):
    cwd = scratch / "work"
    (cwd / "model dir").mkdir(parents=True)
    (cwd / "notes.txt").write_text("")

    def offers(words, want):
        got = bash_completions(made, words, cwd)
        check(got == want, f"{words}: bash offers {got}, expected {want}")

    offers(["qwench", "gen"], {"generate"})
    offers(["vllm", "tok"], {"tokenize"})
    offers(["qwench", "--ver"], {"--version"})
    offers(["qwench", "bench", ""], {"coldstart", "kernels", "latency", "serve", "server", "throughput"})
    offers(["qwench", "generate", "--max-m"], {"--max-model-len"})
    offers(["qwench", "generate", "--no-ig"], {"--no-ignore-eos"})
    offers(["qwench", "generate", "--dtype", "fl"], {"float32", "float16", "float"})
    offers(["qwench", "generate", "--dtype=b"], {"bfloat16"})
    offers(["qwench", "generate", "--generation-config="], {"auto", "vllm"})
    offers(["qwench", "generate", "-f", "no"], {"notes.txt"})
    offers(["qwench", "generate", "--file", "m"], {"model dir"})
    offers(["qwench", "generate", "--temperature", ""], set())
    offers(["qwench", "generate", "-p", "no"], set())
    offers(["qwench", "chat", ""], {"model dir"})
    offers(["qwench", "chat", "--dtype", "auto", "--fo"], {"--fold"})
    offers(["qwench", "bench", "kernels", "--sha"], {"--shape"})
    got = bash_completions(made, ["qwench", "chat", "--dtype=fl"], cwd, "no =")
    check(got == {"--dtype=float32", "--dtype=float16", "--dtype=float"}, f"one word: {got}")
    for command in commands:
        got = bash_completions(made, ["qwench", *command, "--"], cwd)
        check(got == option_names(command), f"{command}: {got ^ option_names(command)}")
    p = subprocess.run(["bash", "--norc", "-c", 'source "$1"; complete -p vllm', "bash",
                        str(made / "share/bash-completion/completions/vllm")],
                       capture_output=True, text=True, check=False)
    check("_qwench" in p.stdout, f"vllm's completion: {p.stdout}{p.stderr}")
    print("bash completion offers what the tables say")


def check_zsh(made):
    script = made / "share/zsh/site-functions/_qwench"
    check(script.read_text().startswith("#compdef qwench vllm\n"), "no #compdef line")
    if not shutil.which("zsh"):
        print("zsh is not installed: its completion is not checked")
        return
    p = subprocess.run(["zsh", "-f", "-n", script], capture_output=True, text=True, check=False)
    check(p.returncode == 0 and not p.stderr, f"zsh -n: {p.stderr}")
    print("zsh reads its completion")


with Scratch() as directory:
    docs = directory / "docs"
    make_docs(docs)
    leaves = leaf_commands()
    check(["generate"] in leaves and ["bench", "kernels"] in leaves, f"commands: {leaves}")
    check_markdown(docs)
    check_man_pages(docs, leaves)
    check_bash(docs, leaves, directory)
    check_zsh(docs)
