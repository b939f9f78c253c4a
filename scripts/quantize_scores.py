#!/usr/bin/env python3
"""What each scheme of `qwench quantize` costs the built-in model, and what it brings.

    scripts/quantize_scores.py [--qwench build/release/qwench] [--questions 250] [--schemes A,B]

For the built-in model, and for the same model with outliers in the inputs of its layers
(quantization.md 10.3: eight channels of each norm 64 times larger, the columns behind them as much
smaller; the float model computes the same), without and with calibration: quantize, inspect, then
`qwench eval` beside the float model. Prints a Markdown table and the machine and commit it is from.
"""
import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCHEMES = ["w8a8-dynamic", "w8a8", "w8a8-mix", "w8a16", "w4a8", "w4a4-flatquant", "w4a4-laos"]
STATIC = ("w8a8", "w8a8-mix")
CHANNELS = [5, 37, 64, 101, 130, 177, 200, 251]
EVAL = ROOT / "tests/golden/data/tiny-chat/eval_arith.jsonl"
TEXTS = ROOT / "tests/golden/data/tiny-chat/perplexity.jsonl"


def times_power_of_two(data, index, power):
    """A BF16 element times 2^power: exact, by its exponent."""
    (bits,) = struct.unpack_from("<H", data, 2 * index)
    if bits & 0x7F80:
        if not 0 < ((bits >> 7) & 0xFF) + power < 255:
            raise ValueError("out of range")
        struct.pack_into("<H", data, 2 * index, bits + (power << 7))


def make_outliers(source, target):
    """A copy of a BF16 checkpoint whose norms have outliers that its weights take back."""
    shutil.copytree(source, target)
    path = target / "model.safetensors"
    raw = bytearray(path.read_bytes())
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + n + offset for offset in entry["data_offsets"])
        data, power = bytearray(raw[begin:end]), 0
        if name.endswith("layernorm.weight"):
            power = 6
        elif any(f"{part}_proj.weight" in name for part in ("q", "k", "v", "gate", "up")):
            power = -6
        if power:
            columns = entry["shape"][-1]
            for row in range(len(data) // 2 // columns):
                for c in CHANNELS:
                    times_power_of_two(data, row * columns + c, power)
        raw[begin:end] = data
    path.write_bytes(raw)


def write_calibration(path, n):
    """Training-like texts that are not the questions asked."""
    with open(path, "w", encoding="utf-8") as f:
        for i in range(n):
            a, b = 10 + i * 37 % 89, 10 + i * 53 % 89
            text = (f"<|im_start|>user\nWhat is {a} + {b}?<|im_end|>\n<|im_start|>assistant\n"
                    f"<think>\n\n</think>\n\n{a} + {b} = {a + b}<|im_end|>\n")
            f.write(json.dumps({"inputs_pretokenized": text}) + "\n")


def ways_of(scheme):
    """Names of the ways to calibrate, and their options."""
    if scheme in ("w8a16", "w4a4-laos"):  # nothing is smoothed
        return [("none", [])]
    if scheme in STATIC:
        return [("ranges only", ["--calib", "CALIB", "--no-smooth"]), ("smoothed", ["--calib", "CALIB"])]
    return [("none", []), ("smoothed", ["--calib", "CALIB"])]


def quantize_all(qwench, model, schemes, tmp):
    """{(scheme, way): directory}, each of them inspected."""
    made = {}
    for scheme in schemes:
        for way, extra in ways_of(scheme):
            out = tmp / f"{model.name}-{scheme}-{way}".replace(" ", "-")
            extra = [str(tmp / "calib.jsonl") if x == "CALIB" else x for x in extra]
            subprocess.run([qwench, "quantize", model, out, "--scheme", scheme, *extra], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            subprocess.run([qwench, "inspect", out], check=True, stdout=subprocess.DEVNULL)
            made[scheme, way] = out
    return made


def evaluate(args, models, reference, tmp):
    def run(*extra):
        subprocess.run([args.qwench, "eval", *models, "--task", EVAL, "--chat-template-kwargs",
                        '{"enable_thinking": false}', "--max-tokens", "64", "--pack-cache", "",
                        "--cpu-threads",
                        str(args.threads), "--json", tmp / "eval.json", *extra], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads((tmp / "eval.json").read_text())["models"]

    results = run("--limit", str(args.questions), "--kl", reference, "--text", TEXTS,
                  "--plot", args.plot or tmp / "plot.svg")
    for _ in range(args.rounds):  # what else runs here only slows down
        for result, again in zip(results, run("--limit", "1")):
            result["decode_tokens_per_second"] = max(result["decode_tokens_per_second"],
                                                     again["decode_tokens_per_second"])
    return results


def machine():
    names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
             if line.startswith("model name")]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True,
                            text=True, check=False).stdout.strip()
    return f"{names[0] if names else 'unknown CPU'}, commit {commit}"


def print_row(title, scheme, way, m):
    d, t = m["divergence"], m["task"]
    print(f"| {title} | {scheme} | {way} | {m['bytes'] / 1e6:.1f} | "
          f"{m['decode_tokens_per_second']:.0f} | {d['kl_mean']:.2g} | "
          f"{100 * d['flips'] / d['tokens']:.1f} % | {100 * t['score']:.1f} % "
          f"({100 * t['score_low']:.1f} to {100 * t['score_high']:.1f}) |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qwench", default=str(ROOT / "build/release/qwench"))
    parser.add_argument("--questions", type=int, default=250)
    parser.add_argument("--threads", type=int, default=1, help="of qwench eval: one is least disturbed")
    parser.add_argument("--rounds", type=int, default=5, help="speeds are the fastest of so many more")
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("--plot", help="keep the picture of the last model here")
    args = parser.parse_args()
    tiny = ROOT / "models/tiny"
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        make_outliers(tiny, tmp / "outliers")
        write_calibration(tmp / "calib.jsonl", 64)
        print(f"{machine()}; {args.threads} thread(s), speeds the best of {args.rounds + 1}; "
              f"{args.questions} sums\n")
        print("| model | scheme | calibration | MB | tokens/s | KL mean | flips | sums right, 95 % |\n"
              "|---|---|---|---|---|---|---|---|")
        for title, model in (("built-in", tiny), ("with outliers", tmp / "outliers")):
            made = quantize_all(args.qwench, model, args.schemes.split(","), tmp)
            results = evaluate(args, [model, *made.values()], model, tmp)
            print_row(title, "float", "", results[0])
            for (scheme, way), m in zip(made, results[1:]):
                print_row(title, scheme, way, m)
    return 0


if __name__ == "__main__":
    sys.exit(main())
