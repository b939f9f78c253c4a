"""quantize: every scheme satisfies its format, and stopping, failing and repeating do as they say."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from qwtest import DATA, QWENCH, SOURCE, TINY, Scratch, check, ok, run

CHECKER = SOURCE / "scripts/check_ascend.py"
PLAIN = ["w8a8-dynamic", "w8a16", "w4a8", "w4a4-flatquant"]
STATIC = ["w8a8", "w8a8-mix"]


def files(path):
    return {p.name: p.read_bytes() for p in path.iterdir()}


def conforms(path, *args):
    p = subprocess.run([sys.executable, CHECKER, path, *args], capture_output=True, text=True)
    check(p.returncode == 0, f"{path.name}: {p.stdout}{p.stderr}")


def quantize(*args):
    return ok("quantize", *args).decode()


def calibration(tmp):
    path = tmp / "calib.jsonl"
    with open(DATA / "tiny-chat/eval_arith.jsonl", encoding="utf-8") as f:
        texts = [json.loads(line)["full"] for line in f][:24]
    path.write_text("".join(json.dumps({"id": i, "inputs_pretokenized": t}) + "\n"
                            for i, t in enumerate(texts)))
    return path


def formats(tmp, calib):
    for scheme in PLAIN:
        out = tmp / scheme
        said = quantize(TINY, out, "--scheme", scheme)
        check(str(out) in said and " MB in 1 file" in said, f"{scheme}: said {said}")
        conforms(out, "--minmax", "--source", TINY)
    for scheme in STATIC + ["w4a4-laos"]:
        quantize(TINY, tmp / scheme, "--scheme", scheme, "--calib", calib)
        conforms(tmp / scheme, "--minmax")
    p = run("quantize", TINY, tmp / "flat-warned", "--scheme", "w4a4-flatquant")
    check(p.returncode == 0 and p.stderr.count(b"\n") == 1 and b"without --calib" in p.stderr,
          f"no warning: {p.stderr}")
    quantize(TINY, tmp / "smooth", "--calib", calib)
    check(files(tmp / "smooth") != files(tmp / "w8a8-dynamic"), "smoothing changed nothing")
    quantize(TINY, tmp / "flat-clip", "--scheme", "w4a4-flatquant", "--calib", calib)
    conforms(tmp / "flat-clip", "--minmax")


def runs(tmp):
    """Every scheme is understood and still adds."""
    for scheme in PLAIN + STATIC + ["w4a4-laos"]:
        check(ok("inspect", tmp / scheme), f"{scheme}: inspect says nothing")
        said = ok("generate", tmp / scheme, "--pack-cache", "", "--chat", "-p", "What is 47 + 38?")
        check(b"47 + 38 = 85" in said, f"{scheme}: said {said}")


def same_bytes(tmp, calib):
    """On one thread and on three, in one file and in many."""
    for scheme, extra in (("w8a8-mix", ["--calib", calib]), ("w4a4-laos", [])):
        a, b = tmp / f"{scheme}-1", tmp / f"{scheme}-3"
        quantize(TINY, a, "--scheme", scheme, "--cpu-threads", "1", *extra)
        quantize(TINY, b, "--scheme", scheme, "--cpu-threads", "3", *extra)
        check(files(a) == files(b), f"{scheme}: bytes depend on the number of threads")
    said = quantize(TINY, tmp / "parts", "--part-size", "1m")
    check(" files" in said, f"parts: said {said}")
    conforms(tmp / "parts", "--minmax", "--source", TINY)


def recipes(tmp):
    recipe = tmp / "recipe.yaml"
    recipe.write_text("layers:\n- match: 'model.layers.{0,3}.mlp.down_proj'\n  type: FLOAT\n"
                      "- {match: ['*.q_proj', '*.k_proj', '*.v_proj'], type: W8A16, method: mse}\n")
    quantize(TINY, tmp / "by-recipe", "--recipe", recipe)
    conforms(tmp / "by-recipe", "--source", TINY)
    types = json.loads((tmp / "by-recipe/quant_model_description.json").read_text())
    got = [types[f"model.layers.{i}.mlp.down_proj.weight"] for i in range(4)]
    check(got == ["FLOAT", "W8A8_DYNAMIC", "W8A8_DYNAMIC", "FLOAT"], f"recipe: {got}")
    check(types["model.layers.2.self_attn.v_proj.weight"] == "W8A16", "recipe: v_proj")

    for text, said in (("layers: []", "names no layer"),
                       ("layers:\n\n- {match: '*.z_proj', type: FLOAT}", "line 3: '*.z_proj' names"),
                       ("layers:\n- {match: '*.q_proj', type: FLOAT}", "must be of one type"),
                       ("layers:\n- {match: '*', type: W9A9}", "line 2: a rule needs a type"),
                       ("layers:\n- {mtch: '*', type: FLOAT}", "has no 'mtch'"),
                       ("layers: 3", "must be a list"), ("a: b", "expected 'layers:'"),
                       ("layers: [", "line "),
                       ("layers:\n- {match: '*', type: W8A8}", "give --calib")):
        recipe.write_text(text)
        refused([TINY, tmp / "no", "--recipe", recipe], said, tmp / "no")
    for first in ("apiversion: modelslim_v1\nmetadata:\n  config_id: w8a8\n",
                  "metadata: {label: {w_bit: 8}}\n", ""):
        recipe.write_text(first + "spec:\n  process:\n  - type: iter_smooth\n  - &w8a8\n"
                          "    type: linear_quant\n    include: ['*']\n    exclude: ['*down_proj*']\n")
        refused([TINY, tmp / "no", "--recipe", recipe],
                "line 1: this is a practice file of msModelSlim: give the types of its linear_quant "
                "by --scheme", tmp / "no")
    recipe.write_text("layers:\n- {match: '*', type: W8A8}")
    refused([TINY, tmp / "no", "--scheme", "w4a4-laos", "--recipe", recipe], "rotation", tmp / "no")


def refused(args, said, dst, status=(1, 2), **kwargs):
    """One sentence, and nothing is left of DST."""
    p = run("quantize", *args, **kwargs)
    text = p.stderr.decode()
    check(p.returncode in status and said in text and text.count("\n") == 1,
          f"{args}: {p.returncode}: {text}")
    check(not os.path.exists(dst) and not os.path.exists(f"{dst}.partial"), f"{args}: left {dst}")


def bad_input(tmp, calib):
    no = tmp / "no"
    refused([TINY, no, "--scheme", "w8a8"], "give --calib", no)
    refused([tmp / "w4a8", no], "is quantized already", no)
    refused([tmp, no], "config.json", no)
    refused([TINY, tmp / "a/b/no"], "No such file", tmp / "a/b/no")
    refused([TINY, calib / "no"], "Not a directory", calib / "no")
    refused([TINY, no, "--scheme", "w4a8", "--group-size", "100"], "group size 100 does not divide",
            no)
    bad = tmp / "bad.jsonl"
    for text, said in (('{"text": "a"}\nnot json\n', "line 2"), ('{"txt": "a"}\n', "line 1"),
                       ("\n\n", "holds no text"), ('["a"]\n', "JSON object")):
        bad.write_text(text)
        refused([TINY, no, "--calib", bad], said, no)
    refused([TINY, no, "--calib", tmp / "none.jsonl"], "No such file", no)
    kept = files(tmp / "w4a8")
    p = run("quantize", TINY, tmp / "w4a8")
    check(p.returncode == 2 and b"already exists" in p.stderr, f"existing DST: {p.stderr}")
    check(files(tmp / "w4a8") == kept, "an existing DST was touched")


def full_disk(tmp):
    """A disk without room: noticed before anything is computed, and nothing is left."""
    p = subprocess.run([QWENCH, "quantize", TINY, tmp / "no"], capture_output=True, check=False,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                             (1 << 20, 1 << 20)))
    check(p.returncode != 0 and not (tmp / "no").exists(), f"file size limit: {p.stderr}")
    (tmp / "disk").mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && "$@"; s=$?; '
             'ls -A "$0" >&2; exit $s', str(tmp / "disk")]
    if subprocess.run(mount + ["true"], capture_output=True, check=False).returncode != 0:
        print("no tmpfs here: full disk not tested")
        return
    p = subprocess.run(mount + [QWENCH, "quantize", TINY, str(tmp / "disk/no")],
                       capture_output=True, check=False)
    said = p.stderr.decode().splitlines()
    check(p.returncode == 1 and len(said) == 1 and "No space left" in said[0], f"full disk: {said}")
    mount[4] = mount[4].replace("size=2m", "ro")
    p = subprocess.run(mount + [QWENCH, "quantize", TINY, str(tmp / "disk/no")],
                       capture_output=True, check=False)
    said = p.stderr.decode().splitlines()
    check(p.returncode == 1 and len(said) == 1 and "Read-only file system" in said[0],
          f"read-only target: {said}")


def killed(tmp, calib, n):
    """Killed at random moments: DST is absent or complete, and --resume ends with the same bytes."""
    source = Path(os.environ.get("QW_TEST_KILL_SOURCE", TINY))
    args = ["quantize", source, tmp / "cut", "--scheme", "w8a8-mix", "--calib", calib,
            "--part-size", "2m" if source == TINY else "300m", "--calib-length", "64"]
    begin = time.monotonic()
    ok(*args)
    length = time.monotonic() - begin
    want = files(tmp / "cut")
    outcomes = {}
    for i in range(n):
        shutil.rmtree(tmp / "cut")
        resumes = 0
        while not (tmp / "cut").exists():
            p = subprocess.Popen([QWENCH, *map(str, args), "--resume"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
            try:
                p.wait(random.random() * length if resumes < 3 else None)
            except subprocess.TimeoutExpired:
                p.kill()
            said = p.communicate()[1]
            check(p.returncode in (0, -9), f"kill {i}: exit {p.returncode}: {said}")
            check(p.returncode != 0 or (tmp / "cut").exists(), f"kill {i}: no DST")
            resumes += p.returncode == -9
        check(files(tmp / "cut") == want, f"kill {i}: other bytes after {resumes} kills")
        check(not (tmp / "cut.partial").exists(), f"kill {i}: left DST.partial")
        outcomes[resumes] = outcomes.get(resumes, 0) + 1
    print(f"{n} runs, with so many kills each: {dict(sorted(outcomes.items()))}")


def resumed(tmp):
    """Only what was begun with the same model and options is gone on with."""
    args = [TINY, tmp / "again"]
    whole = tmp / "again.partial"
    whole.mkdir()
    p = run("quantize", *args)
    check(p.returncode == 2 and b"--resume" in p.stderr, f"partial: {p.stderr}")
    (whole / "journal").write_text("qwench quantize 1 of something else\nunit 1\n")
    p = run("quantize", *args, "--resume")
    check(p.returncode == 2 and b"begun with another" in p.stderr, f"other journal: {p.stderr}")
    check((whole / "journal").exists(), "what another run left was removed")
    (whole / "journal").unlink()
    quantize(*args, "--resume")
    check(files(tmp / "again") == files(tmp / "w8a8-dynamic"), "resumed from nothing: other bytes")


if __name__ == "__main__":
    with Scratch() as tmp:
        calib = calibration(tmp)
        formats(tmp, calib)
        runs(tmp)
        same_bytes(tmp, calib)
        recipes(tmp)
        bad_input(tmp, calib)
        full_disk(tmp)
        resumed(tmp)
        killed(tmp, calib, int(os.environ.get("QW_TEST_KILLS", "5")))
