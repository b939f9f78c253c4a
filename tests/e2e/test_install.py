"""Installing into a DESTDIR, running from there, removing: scripts/install.sh and the vllm link.

The build tree is the one that the tested binary lies in.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

from qwtest import QWENCH, SOURCE, Scratch, check

BUILD = Path(QWENCH).parent
VERSION = (SOURCE / "VERSION").read_text().strip()
SCRIPT = SOURCE / "scripts/install.sh"


def script(*args, prefix, destdir="", status=0):
    env = {**os.environ, "PREFIX": str(prefix), "DESTDIR": str(destdir)}
    p = subprocess.run([SCRIPT, *args], env=env, capture_output=True, text=True, check=False)
    check(p.returncode == status, f"install.sh {args}: exit {p.returncode}: {p.stdout}{p.stderr}")
    return p.stdout + p.stderr


def run_installed(binary, *args, home, status=0):
    """Run with nothing in the environment that could point back to the source tree."""
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    p = subprocess.run([str(binary), *args], env=env, cwd=home, capture_output=True, text=True,
                       timeout=600, check=False)
    check(p.returncode == status, f"{binary} {args}: exit {p.returncode}: {p.stderr}")
    return p.stdout if status == 0 else p.stderr


def tree(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def loaded_bytes(binary):
    """What the loader maps of an ELF64 file: everything but the debug information."""
    raw = binary.read_bytes()
    check(raw[:5] == b"\x7fELF\x02", f"{binary} is no 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", raw, 32)
    size, count = struct.unpack_from("<HH", raw, 54)
    for i in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", raw, table + i * size)
        if kind == 1:  # PT_LOAD
            yield raw[offset:offset + length]


def check_runs(root, home):
    binary, vllm = root / "bin/qwench", root / "bin/vllm"
    check(os.readlink(vllm) == "qwench", "bin/vllm is no link to qwench")
    out = run_installed(binary, "--version", home=home)
    check(out.startswith(f"qwench {VERSION} ("), f"qwench --version: {out!r}")
    check(run_installed(vllm, "--version", home=home) == VERSION + "\n", "vllm --version")
    out = run_installed(vllm, "generate", "--bogus", home=home, status=2)
    check(out.startswith("usage: vllm generate ") and "vllm generate: error: " in out,
          f"vllm's own name in messages: {out!r}")
    for program in (binary, vllm):
        out = run_installed(program, "generate", "--chat", "--temperature", "0", "-p",
                            "What is 47 + 38?", home=home)
        check(out.rstrip().endswith("47 + 38 = 85"), f"answer: {out!r}")
    print(f"runs from {root}")


def check_knows_no_source_tree(binary):
    if b"__asan_init" in Path(binary).read_bytes():
        print("a sanitizer's report needs the names of source files: not looked for")
        return
    for segment in loaded_bytes(binary):
        at = segment.find(str(SOURCE).encode() + b"/")
        check(at < 0, f"the binary names the source tree: {segment[at:at + 80]!r}")
    print("the installed binary does not name the source tree")


def check_cycle(scratch):
    """Paths with blanks; a second install over the first; a stranger's file survives."""
    dest, prefix = scratch / "dest dir", "/opt/my prefix"
    root = Path(f"{dest}{prefix}")
    (root / "share/man").mkdir(parents=True)
    (root / "share/man/other.txt").write_text("not ours")
    before = tree(dest)
    script("install", str(BUILD), prefix=prefix, destdir=dest)
    first = tree(dest)
    for path in ("bin/qwench", "share/qwench/models/tiny/model.safetensors",
                 "share/qwench/tokenizer/tokenizer.json", "share/man/man1/qwench.1",
                 "share/man/man1/qwench-generate.1", "share/man/man1/vllm.1",
                 "share/bash-completion/completions/qwench", "share/bash-completion/completions/vllm",
                 "share/zsh/site-functions/_qwench"):
        path = root / path
        check(path.is_file(), f"{path} is not there")
        mode = path.stat().st_mode & 0o777
        check(mode == (0o755 if path.name == "qwench" and path.parent.name == "bin" else 0o644),
              f"{path}: mode {mode:o}")
    check(bool(list((root / "share/qwench").glob("configs/*"))) == (SOURCE / "share/configs").is_dir(),
          "share/configs is not installed as it is in the sources")

    # An older version had a file more.
    (root / "share/qwench/old.txt").write_text("old")
    with open(root / "share/qwench/installed", "a") as f:
        f.write("file share/qwench/old.txt\n")
    script("install", str(BUILD), prefix=prefix, destdir=dest)
    check(tree(dest) == first, "a second install changes the set of files")

    moved = scratch / "elsewhere"
    shutil.copytree(root, moved, symlinks=True)
    check_runs(moved, scratch)
    check_knows_no_source_tree(moved / "bin/qwench")

    script("uninstall", prefix=prefix, destdir=dest)
    check(tree(dest) == before, f"left or lost: {set(tree(dest)) ^ set(before)}")
    out = script("uninstall", prefix=prefix, destdir=dest, status=1)
    check("nothing is installed" in out, out)
    print(f"{len(first) - len(before)} files and directories installed and removed")


def check_foreign_vllm(scratch):
    root = scratch / "usr"
    (root / "bin").mkdir(parents=True)
    (root / "bin/vllm").write_text("another program")
    out = script("install", str(BUILD), prefix=root)
    check("left" in out and "alone" in out, out)
    script("uninstall", prefix=root)
    check(tree(root) == ["bin", "bin/vllm"], f"left: {tree(root)}")
    check((root / "bin/vllm").read_text() == "another program", "another vllm was overwritten")


def check_refusals(scratch):
    script("install", str(BUILD), prefix="relative", status=1)
    script("install", prefix=scratch, status=2)
    script("install", str(scratch / "no-build"), prefix=scratch / "p", status=1)
    if os.geteuid() != 0:
        out = script("install", str(BUILD), prefix="/usr/qwench-test", status=1)
        check("cannot write" in out, out)


with Scratch() as directory:
    check_cycle(directory)
    check_foreign_vllm(directory)
    check_refusals(directory)
