"""Few descriptors and full disks: one sentence for what is missing, and what can go on goes on."""

import os
import resource
import shutil
import subprocess

from qwtest import QWENCH, TINY, Scratch, check, ok


def generate(*args, env=None, **kwargs):
    return subprocess.run([QWENCH, "generate", TINY, "-p", "1 + 1 =", "--max-tokens", "3",
                           "--temperature", "0", *map(str, args)], capture_output=True, check=False,
                          env={**os.environ, **(env or {})}, **kwargs)


def few_descriptors(tmp, want):
    """One descriptor beside the standard three is enough, for the loader too: none stays open."""
    for n in (4, 5):
        for cache in ("", tmp / f"descriptors{n}", tmp / f"descriptors{n}"):
            p = generate("--pack-cache", cache, preexec_fn=lambda n=n: resource.setrlimit(
                resource.RLIMIT_NOFILE, (n, n)))
            check(p.returncode == 0 and p.stdout == want and not p.stderr,
                  f"{n} descriptors, cache '{cache}': exit {p.returncode}: {p.stderr}")


def said_of_caches(p):
    """What a run at level info says about files that it could not keep."""
    lines = p.stderr.decode().splitlines()
    return [line for line in lines if "not kept" in line or "stay in memory" in line]


def full_disk(tmp, want):
    """Neither the tokenizer nor the packed weights can be kept: one line each, and an answer."""
    limited = tmp / "limited"
    p = generate("--pack-cache", limited, env={"QWENCH_LOG": "info"},
                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    check(p.returncode == 0 and p.stdout == want, f"file limit: {p.returncode}: {p.stderr}")
    said = said_of_caches(p)
    check(len(said) == 2 and all("File too large" in line for line in said), f"file limit: {said}")
    check(not list(limited.iterdir()), f"file limit: left {list(limited.iterdir())}")

    disk = tmp / "disk"
    disk.mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && "$@"; s=$?; '
             'ls "$0" >&2; exit $s', str(disk)]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True,
                                                     check=False).returncode != 0:
        print("no tmpfs here: full disk not tested")
        return
    p = subprocess.run([*mount, QWENCH, "generate", TINY, "-p", "1 + 1 =", "--max-tokens", "3",
                        "--temperature", "0", "--pack-cache", disk], capture_output=True,
                       check=False, env={**os.environ, "QWENCH_LOG": "info"})
    check(p.returncode == 0 and p.stdout == want, f"full disk: {p.returncode}: {p.stderr}")
    said = said_of_caches(p)
    check(len(said) == 2 and all("No space left" in line for line in said), f"full disk: {said}")
    check(b".tmp." not in p.stderr.splitlines()[-1], f"full disk: left {p.stderr}")


def full_output():
    """An answer that cannot be written is an error."""
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "wb") as full:
        p = subprocess.run([QWENCH, "generate", TINY, "-p", "1", "--max-tokens", "2"], stdout=full,
                           stderr=subprocess.PIPE, check=False)
    check(p.returncode == 1 and p.stderr.count(b"\n") == 1 and b"cannot write" in p.stderr,
          f"/dev/full: {p.returncode}: {p.stderr}")


def main():
    with Scratch() as tmp:
        want = ok("generate", TINY, "-p", "1 + 1 =", "--max-tokens", "3", "--temperature", "0",
                  "--pack-cache", "")
        few_descriptors(tmp, want)
        full_disk(tmp, want)
        full_output()


main()
