#!/usr/bin/env python3
"""What each scheme of `qwench quantize` costs the built-in model: size, arithmetic score.

    scripts/quantize_scores.py [--qwench build/release/qwench] [--questions 200] [--schemes A,B]

For the built-in model, and for the same model with outliers in the inputs of its layers
(quantization.md 10.3: eight channels of each norm 64 times larger, the columns behind them as much
smaller; the float model computes the same), without and with calibration. Prints a Markdown table.
"""
import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCHEMES = ["w8a8-dynamic", "w8a8", "w8a8-mix", "w8a16", "w4a8", "w4a4-flatquant", "w4a4-laos"]
STATIC = ("w8a8", "w8a8-mix")
CHANNELS = [5, 37, 64, 101, 130, 177, 200, 251]
EVAL = ROOT / "tests/golden/data/tiny-chat/eval_arith.jsonl"


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


def score(qwench, model, questions):
    requests = "".join(json.dumps({"messages": [{"role": "user", "content": q["question"]}],
                                   "temperature": 0, "max_tokens": 24,
                                   "chat_template_kwargs": {"enable_thinking": False}}) + "\n"
                       for q in questions)
    p = subprocess.run([qwench, "generate", model, "-f", "-", "--json", "--pack-cache", ""],
                       input=requests.encode(), capture_output=True, check=False)
    if p.returncode != 0:
        return None
    answers = [json.loads(line) for line in p.stdout.decode().splitlines()]
    return sum(q["full"] in a["text"] for q, a in zip(questions, answers))


def size_of(model):
    return sum(p.stat().st_size for p in Path(model).glob("*.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qwench", default=str(ROOT / "build/release/qwench"))
    parser.add_argument("--runner", help="the program that runs the checkpoints (the same)")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    args = parser.parse_args()
    runner = args.runner or args.qwench
    with open(EVAL, encoding="utf-8") as f:
        questions = [json.loads(line) for line in f][:args.questions]
    n = len(questions)
    tiny = ROOT / "models/tiny"
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        make_outliers(tiny, tmp / "outliers")
        write_calibration(tmp / "calib.jsonl", 64)
        print("| model | scheme | calibration | MB | right |\n|---|---|---|---|---|")
        for title, model in (("built-in", tiny), ("with outliers", tmp / "outliers")):
            print(f"| {title} | float | | {size_of(model) / 1e6:.1f} | "
                  f"{score(runner, model, questions)} of {n} |", flush=True)
            for scheme in args.schemes.split(","):
                ways = [("smoothed", ["--calib", tmp / "calib.jsonl"])]
                if scheme not in STATIC:
                    ways.insert(0, ("none", []))
                else:
                    ways.insert(0, ("ranges only", ["--calib", tmp / "calib.jsonl", "--no-smooth"]))
                if scheme in ("w8a16", "w4a4-laos"):
                    del ways[1]
                for way, extra in ways:
                    out = tmp / "out"
                    shutil.rmtree(out, ignore_errors=True)
                    subprocess.run([args.qwench, "quantize", model, out, "--scheme", scheme,
                                    *map(str, extra)], check=True, stdout=subprocess.DEVNULL)
                    print(f"| {title} | {scheme} | {way} | {size_of(out) / 1e6:.1f} | "
                          f"{score(runner, out, questions)} of {n} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
