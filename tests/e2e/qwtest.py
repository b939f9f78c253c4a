"""What the end-to-end tests share: run the real binary, read golden data, compare.

Python's standard library only. Environment (set by CTest): QWENCH the binary, QW_TEST_DATA the
golden data, QW_TEST_TMP a directory to write in, QW_SOURCE_DIR the source tree.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

SOURCE = Path(os.environ.get("QW_SOURCE_DIR", Path(__file__).resolve().parents[2]))
DATA = Path(os.environ.get("QW_TEST_DATA", SOURCE / "tests/golden/data"))
QWENCH = os.environ.get("QWENCH", str(SOURCE / "build/release/qwench"))
TINY = SOURCE / "models/tiny"


class Scratch:
    """A directory of this test's own, removed at the end."""

    def __enter__(self):
        base = os.environ.get("QW_TEST_TMP")
        self.path = Path(tempfile.mkdtemp(prefix="e2e-", dir=base))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def run(*args, stdin=None, env=None, timeout=600):
    """The finished process: returncode, stdout and stderr as bytes."""
    full_env = dict(os.environ)
    full_env.setdefault("XDG_CACHE_HOME", str(Path(os.environ.get("QW_TEST_TMP", "/tmp")) / "cache"))
    full_env.update(env or {})
    return subprocess.run([QWENCH, *map(str, args)], input=stdin, capture_output=True, env=full_env,
                          timeout=timeout, check=False)


def ok(*args, **kwargs):
    """stdout of a run that must succeed."""
    p = run(*args, **kwargs)
    if p.returncode != 0:
        fail(f"{args}: exit {p.returncode}: {p.stderr.decode(errors='replace')}")
    return p.stdout


def fail(text):
    print("FAILED:", text)
    sys.exit(1)


def check(condition, text):
    if not condition:
        fail(text)


def json_lines(path_or_bytes):
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
    return [json.loads(line) for line in data.decode().split("\n") if line.strip()]


def generate_file(requests, *args, **kwargs):
    """Run all requests through `generate -f`; the answers in input order."""
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests).encode()
    return json_lines(ok("generate", *args, "-f", "-", "--json", stdin=text, **kwargs))


def read_logits(path):
    """The F32 tensor `logits` of a safetensors file as (rows, columns, array of floats)."""
    raw = Path(path).read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    entry = json.loads(raw[8:8 + n])["logits"]
    check(entry["dtype"] == "F32", f"{path}: dtype {entry['dtype']}")
    begin, end = entry["data_offsets"]
    values = array("f")
    values.frombytes(raw[8 + n + begin:8 + n + end])
    rows, columns = entry["shape"]
    check(len(values) == rows * columns, f"{path}: {len(values)} values for {entry['shape']}")
    return rows, columns, values
