"""`python3 -m vllm.entrypoints.openai.api_server ARGS` becomes `qwench serve ARGS`.

The process is replaced, so signals and the process id are right. qwench is $QWENCH, or the one
beside this package (PREFIX/share/qwench/python, or share/python in the source tree), or in $PATH.
"""

import os
import shutil
import sys
from pathlib import Path


def find():
    if os.environ.get("QWENCH"):
        return os.environ["QWENCH"]
    share = Path(__file__).resolve().parents[4]
    for place in (share.parent.parent / "bin/qwench", share.parent / "build/release/qwench"):
        if os.access(place, os.X_OK):
            return str(place)
    return shutil.which("qwench")


if __name__ == "__main__":
    program = find()
    if not program:
        sys.exit("qwench is not in $PATH; set QWENCH to its path")
    os.execv(program, [program, "serve", *sys.argv[1:]])
