#!/usr/bin/env python3
"""Checks the structure of the sources: who includes whom, headers, file names.

  - a layer includes only the layers below it (LAYERS)
  - project includes are written from src/ (or tests/, for tests), in quotes, and name a file
  - x.c includes x.h first
  - an include guard spells the header's path
  - a source file's name occurs once in the tree
  - every header compiles alone, and twice in a row (skip with --no-compile)

Prints one line per violation, "file:line: what"; exit status 1 when there is one.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What each layer may include, by path from src/; a name that ends in "/" allows the folder.
# A layer may always include itself, except where LOCKED says otherwise.
BACKEND_API = ["backend/tensor.h", "backend/backend.h", "backend/ops.h"]
LAYERS = {
    "base": [],
    "format": ["base/"],
    "grammar": ["base/", "format/"],
    "backend": ["base/"],
    "parallel": ["base/", "backend/"],
    "model": ["base/", "format/", "parallel/comm.h", "parallel/shard.h"] + BACKEND_API,
    "engine": ["base/", "format/", "grammar/", "backend/", "parallel/", "model/"],
    "server": ["base/", "format/", "grammar/grammar.h", "engine/engine.h", "engine/frontend.h", "engine/request.h",
               "engine/output.h", "engine/runner.h", "engine/sampler.h", "engine/sampling_params.h",
               "engine/metrics.h"],
    "quant": ["base/", "format/", "backend/", "model/"],
    "bench": ["base/", "format/", "grammar/", "backend/", "model/", "engine/", "server/"],
    "eval": ["base/", "format/", "grammar/", "backend/", "model/", "engine/", "quant/", "bench/"],
    "cli": ["base/", "format/", "grammar/", "backend/", "parallel/", "model/", "engine/", "server/", "quant/",
            "bench/", "eval/"],
}
# Folders that only their own layer may look into: a device is used through its operation table.
LOCKED = ["backend/cpu/", "backend/cuda/"]
GENERATED = ["version.h"]  # made by CMake, from any layer
# The one header that takes something from tests/: intrinsics that a kernel test emulates.
FROM_TESTS = {"src/backend/cpu/x86/intrinsics.h": ["kernels/emulated_intrinsics.h"]}
# They only compile where a kernel's intrinsics are replaced.
EMULATION = ("tests/kernels/emulated_intrinsics.h", "tests/kernels/emulated_names.h")
# Bodies over a level's vocabulary of vectors: they compile after that, here for one level of each
# processor.
VECTOR_BODIES = "src/backend/cpu/simd/"
VECTOR_LEVELS = {"x86": ("backend/cpu/x86/kv8_avx2.h", "avx2"),
                 "arm": ("backend/cpu/arm/kv8_neon.h", "neon")}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
FLAGS = ("-std=c11 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion "
         "-Wno-sign-conversion -Wundef -Wstrict-prototypes -Wmissing-prototypes -Werror "
         "-D_GNU_SOURCE").split()


def sources(suffixes, *folders):
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file() and "data" not in path.parts:
                found.append(path)
    return found


def includes_of(path):
    """(line number, quote, name) of each include line."""
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if m:
                yield number, m.group(1), m.group(2)


def may_include(layer, name):
    allowed = LAYERS[layer]
    if not name.startswith(layer + "/"):
        if not any(name == a or (a.endswith("/") and name.startswith(a)) for a in allowed):
            return False
        if any(name.startswith(locked) for locked in LOCKED):
            return False
        if name.endswith("_internal.h"):
            return False
    return True


def check_file(path, problems):
    rel = path.relative_to(ROOT).as_posix()
    in_src = rel.startswith("src/")
    layer = rel.split("/")[1] if in_src else None
    if in_src and layer not in LAYERS:
        problems.append(f"{rel}:1: '{layer}' is no layer; the table in scripts/check_includes.py "
                        "says what there is")
        return
    project = []
    for line, quote, name in includes_of(path):
        here = f"{rel}:{line}"
        if quote == "<":
            if (ROOT / "src" / name).is_file():
                problems.append(f"{here}: write \"{name}\", in quotes")
            continue
        project.append(name)
        if name in GENERATED or name in FROM_TESTS.get(rel, []):
            continue
        roots = ["src"] if in_src else ["src", "tests"]
        if ".." in name.split("/") or not any((ROOT / r / name).is_file() for r in roots):
            problems.append(f"{here}: no file '{name}' below {' or '.join(roots)}; includes are "
                            "written from there")
        elif in_src and not may_include(layer, name):
            problems.append(f"{here}: layer {layer} may not include '{name}'")
    own = path.with_suffix(".h")
    if in_src and path.suffix == ".c" and own.is_file():
        own_name = own.relative_to(ROOT / "src").as_posix()
        first = next((name for _, _, name in includes_of(path)), None)
        if first != own_name:
            problems.append(f"{rel}:1: the first include must be \"{own_name}\"")


def guard_of(header):
    """The include guard, or None: the header is a body that others include once per variant."""
    m = re.search(r"^#ifndef (\w+_H)$", header.read_text(encoding="utf-8"), re.M)
    return m.group(1) if m else None


def kernel_flags():
    """{"avx2": [flags], ...} as cmake/kernel_flags.cmake sets them for the files of a level."""
    flags = {}
    text = (ROOT / "cmake/kernel_flags.cmake").read_text(encoding="utf-8")
    for level, value in re.findall(r'^\s*set\(flags_(\w+) "([^"]*)"\)', text, re.M):
        words = []
        for word in value.split():
            m = re.fullmatch(r"\$\{flags_(\w+)\}", word)
            words += flags[m.group(1)] if m else [word]
        flags[level] = words
    return flags


def check_guard(path, problems):
    rel = path.relative_to(ROOT).as_posix()
    stem = rel.removeprefix("src/")
    names = [stem] if rel.startswith("src/") else [stem, "tests/" + path.name]
    wanted = ["QW_" + re.sub(r"[/.]", "_", name).upper() for name in names]
    guard = guard_of(path)
    if guard and guard not in wanted:
        problems.append(f"{rel}:1: the include guard is {guard}, expected {wanted[0]}")


def check_names(problems):
    places = collections.defaultdict(list)
    for path in sources({".c", ".h", ".py", ".sh"}, "src", "include", "tests", "tools", "scripts"):
        places[path.name].append(path.relative_to(ROOT).as_posix())
    for paths in places.values():
        if len(paths) > 1:
            problems.append(f"{paths[1]}:1: the name is taken by {paths[0]}")


def processor_of(cc):
    """The folder of the kernels that this compiler compiles, "x86" or "arm", or None."""
    machine = subprocess.run([cc, "-dumpmachine"], text=True, capture_output=True,
                             check=True).stdout.partition("-")[0]
    return {"x86_64": "x86", "aarch64": "arm"}.get(machine)


def compile_alone(header, args, levels, processor):
    """The compiler's complaint about a file that holds only this header, twice; or ''."""
    rel = header.relative_to(ROOT).as_posix()
    in_src = rel.startswith("src/")
    flags = FLAGS + ["-I" + str(ROOT / "src"), "-I" + str(args.build / "generated")]
    vector_header, vector_level = VECTOR_LEVELS.get(processor, ("", ""))
    level = vector_level if rel.startswith(VECTOR_BODIES) else header.stem.rpartition("_")[2]
    flags += levels.get(level, [])
    name = header.relative_to(ROOT / ("src" if in_src else "tests")).as_posix()
    text = f'#include "{name}"\n' * 2 + "extern int qw_not_empty;\n"
    if rel.startswith(VECTOR_BODIES):
        text = f'#include "{vector_header}"\n' + text
    if not in_src:  # every test program includes test_util.h first
        flags += ["-I" + str(ROOT / "tests"), "-Wno-unused-function"]
        flags += [f'-D{name}=""' for name in ("QW_TEST_DATA", "QW_TEST_TMP", "QW_SOURCE_DIR")]
        flags += ["-DQW_TEST_EMULATED=0"]
        text = '#include "test_util.h"\n' + text
    done = subprocess.run([args.cc, *flags, "-x", "c", "-"], input=text, text=True,
                          capture_output=True, check=False, cwd=ROOT)
    return "" if done.returncode == 0 else "\n".join(done.stderr.splitlines()[:12])


def check_headers(args, problems):
    headers = [h for h in sources({".h"}, "src", "include", "tests") if guard_of(h)]
    headers = [h for h in headers if not h.as_posix().endswith(EMULATION)]
    levels = kernel_flags()
    processor = processor_of(args.cc)
    others = set(VECTOR_LEVELS) - {processor} | (set() if processor else {"simd"})
    headers = [h for h in headers if not others.intersection(h.parts)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = pool.map(lambda h: compile_alone(h, args, levels, processor), headers)
        for header, text in zip(headers, texts):
            if text:
                problems.append(f"{header.relative_to(ROOT)}:1: does not compile alone:\n{text}")
    return len(headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cc", default="gcc", help="compiler for the headers (gcc)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release",
                        help="build folder with generated headers (build/release)")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the headers")
    args = parser.parse_args()
    problems = []
    files = sources({".c", ".h"}, "src", "include", "tests", "tools")
    for path in files:
        check_file(path, problems)
        if path.suffix == ".h":
            check_guard(path, problems)
    check_names(problems)
    n_headers = 0 if args.no_compile else check_headers(args, problems)
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {n_headers} headers compiled alone, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
