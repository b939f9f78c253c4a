#!/usr/bin/env python3
"""Times qwench on a checkpoint directory as run_llamacpp.py and run_vllm.py time theirs.

usage: run_qwench.py MODEL_DIR [--prompt 512] [--generate 64] [--threads 2] [--repeat 3]

Prints one JSON line, the medians of the repeats after a warm-up:
{"prompt_tokens_per_s": ..., "generated_tokens_per_s": ...}
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("--qwench", default=str(ROOT / "build/release/qwench"))
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens decoded one by one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        report = pathlib.Path(tmp, "start.json")
        done = subprocess.run(
            [args.qwench, "bench", "coldstart", args.model_dir, "--starts", "0",
             "--rounds", str(args.repeat), "--prompt-tokens", str(args.prompt),
             "--generate", str(args.generate), "--cpu-threads", str(args.threads),
             "--json", str(report)], stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)
        result = json.loads(report.read_text())
    print(json.dumps({name: result[name]["p50"]
                      for name in ("prompt_tokens_per_s", "generated_tokens_per_s")}))


if __name__ == "__main__":
    main()
