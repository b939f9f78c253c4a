#!/usr/bin/env python3
"""Compares qwench with other programs on one checkpoint, their commands in turns with ours.

usage: peers.py MODEL_DIR [--rounds 5] [--prompt 512] [--generate 64] [--threads 2]
                [--only NAME,NAME] [--venvs /tmp/peers] [--json FILE]

Round r runs every command of peers.txt once, in an order that turns by one each round, so that a
machine that others use too is as kind to one as to another. The table gives the medians, and the
medians of the ratios within a round: those are what counts. Prints the machine and our commit.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIGURES = {"prompt_tokens_per_s": "prompt tokens/s", "generated_tokens_per_s": "generated tokens/s"}
OURS = "qwench"


def read_peers(path):
    """The entries of peers.txt, as dictionaries, in their order."""
    peers, entry = [], {}
    for number, line in enumerate(path.read_text().split("\n") + [""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if entry:
                missing = {"name", "setup", "command"} - set(entry)
                if missing:
                    sys.exit(f"{path}:{number}: an entry without {' and '.join(sorted(missing))}")
                peers.append(entry)
            entry = {}
            continue
        key, _, value = line.partition(" ")
        if key not in ("name", "setup", "command"):
            sys.exit(f"{path}:{number}: '{key}' is none of name, setup, command")
        entry[key] = value.strip()
    return peers


def fill(text, args):
    values = {"model": shlex.quote(str(args.model_dir.resolve())), "prompt": args.prompt,
              "generate": args.generate, "threads": args.threads,
              "qwench": shlex.quote(str(args.qwench)), "venvs": shlex.quote(str(args.venvs))}
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def run(peer, args):
    """The figures of one run, or a text that says why there are none."""
    command = shlex.split(fill(peer["command"], args))
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False,
                              timeout=args.timeout)
    except OSError as e:
        return str(e)
    except subprocess.TimeoutExpired:
        return f"no result within {args.timeout} s"
    lines = done.stdout.strip().split("\n")
    try:
        result = json.loads(lines[-1])
        return {name: float(result[name]) for name in FIGURES}
    except (ValueError, KeyError, TypeError):
        errors = [line for line in done.stderr.strip().split("\n") if line.strip()]
        return f"exit status {done.returncode}: {(errors or lines)[-1]}"


def measure(peers, args):
    """{name: list of figures, None where a run failed} of all rounds."""
    results = {peer["name"]: [] for peer in peers}
    broken = set()
    for r in range(args.rounds):
        turn = r % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            name = peer["name"]
            if name in broken:
                results[name].append(None)
                continue
            start = time.monotonic()
            figures = run(peer, args)
            if isinstance(figures, str):
                print(f"{name}: {figures}\n  set up by: {fill(peer['setup'], args)}",
                      file=sys.stderr)
                broken.add(name)
                figures = None
            else:
                shown = ", ".join(f"{figures[f]:.1f} {text}" for f, text in FIGURES.items())
                print(f"round {r + 1}: {name}: {shown} ({time.monotonic() - start:.0f} s)",
                      file=sys.stderr, flush=True)
            results[name].append(figures)
    return results


def ratios(results, name, figure):
    """Ours divided by theirs, of the rounds that have both."""
    pairs = zip(results.get(OURS, []), results[name])
    return [ours[figure] / theirs[figure] for ours, theirs in pairs if ours and theirs]


def summarize(results):
    rows = []
    for name, figures in results.items():
        good = [f for f in figures if f]
        row = {"name": name, "rounds": len(good)}
        for figure in FIGURES:
            row[figure] = statistics.median(f[figure] for f in good) if good else None
            r = ratios(results, name, figure)
            row[f"ratio_{figure}"] = statistics.median(r) if r else None
        rows.append(row)
    return rows


def print_table(rows):
    def cell(value, form):
        return form.format(value) if value is not None else "-"
    print(f"{'':12}" + "".join(f"{text:>22}{'qwench is':>12}" for text in FIGURES.values())
          + f"{'rounds':>8}")
    for row in rows:
        line = f"{row['name']:12}"
        for figure in FIGURES:
            line += f"{cell(row[figure], '{:.1f}'):>22}"
            line += f"{cell(row['ratio_' + figure], 'x{:.2f}'):>12}"
        print(line + f"{row['rounds']:>8}")


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens decoded one by one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="names of peers.txt, separated by commas")
    parser.add_argument("--peers", type=pathlib.Path, default=HERE / "peers.txt")
    parser.add_argument("--qwench", type=pathlib.Path, default=ROOT / "build/release/qwench")
    parser.add_argument("--venvs", type=pathlib.Path, default=pathlib.Path("/tmp/peers"))
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one run")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    args = parser.parse_args()
    peers = read_peers(args.peers)
    if args.only:
        wanted = args.only.split(",")
        unknown = set(wanted) - {peer["name"] for peer in peers}
        if unknown:
            parser.error(f"{args.peers} has no {', '.join(sorted(unknown))}")
        peers = [peer for peer in peers if peer["name"] in wanted]
    version = subprocess.run([args.qwench, "--version"], capture_output=True, text=True,
                             check=False).stdout.strip()
    about = {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "version": version,
             "model": args.model_dir.resolve().name, "prompt": args.prompt,
             "generate": args.generate, "threads": args.threads}
    results = measure(peers, args)
    rows = summarize(results)
    print(f"{about['cpu']}, {about['cores']} cores; {version}; {about['model']}: prompt of "
          f"{args.prompt}, {args.generate} generated, {args.threads} threads; medians")
    print_table(rows)
    if args.json:
        args.json.write_text(json.dumps({"about": about, "summary": rows, "rounds": results},
                                        indent=1) + "\n")
    return 0 if any(row["rounds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
