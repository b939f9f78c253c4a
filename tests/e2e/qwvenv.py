"""Environments with packages from PyPI, for tests that skip when they cannot be had."""

import os
import subprocess
import sys
from pathlib import Path


def fetch(module, *packages):
    """The Python of an environment with the packages, or None. `module`: one that they bring."""
    venv = Path(os.environ.get("QW_TEST_TMP", "/tmp")) / f"venv-{module}"
    python = venv / "bin/python"
    if python.exists() and subprocess.run([str(python), "-c", f"import {module}"], capture_output=True,
                                          check=False).returncode == 0:
        return python
    for argv in ([sys.executable, "-m", "venv", str(venv)],
                 [str(python), "-m", "pip", "install", "-q", "--retries", "0", "--timeout", "10", *packages]):
        try:
            p = subprocess.run(argv, capture_output=True, timeout=240, check=False)
        except (subprocess.TimeoutExpired, OSError):
            return None
        if p.returncode != 0:
            return None
    return python
