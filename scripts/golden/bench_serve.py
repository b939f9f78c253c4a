#!/usr/bin/env python3
"""Writes tests/golden/data/bench-serve: logs of runs of `bench serve`, and what a second
implementation of its formulas and its table makes of them.

usage: bench_serve.py [RESULT.json]

RESULT.json, a file that `bench serve --save-detailed` wrote, becomes the log recorded.json. The other
logs are made here: failures, answers of one token, speculative decoding, nothing but failures.
"""
import json
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/data/bench-serve"
sys.path.insert(0, str(ROOT / "tests/e2e"))
import bench_formulas  # noqa: E402

BEFORE = """# HELP vllm:spec_decode_num_drafts_total x
vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 10.0
vllm:spec_decode_num_drafts_created{engine="0",model_name="m"} 1.7e+09
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 30.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 12.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="0"} 7.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="1"} 4.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="2"} 1.0
"""
AFTER = """vllm:spec_decode_num_drafts_total{engine="0",model_name="m"} 1234.0
vllm:spec_decode_num_drafts_created{engine="0",model_name="m"} 1.7e+09
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 3702.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 1801.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="0"} 905.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="1"} 601.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="2"} 295.0
"""


def outcome(rng, ok=True, n_tokens=None):
    n = rng.randint(2, 40) if n_tokens is None else n_tokens
    itls = [rng.expovariate(50) for _ in range(n - 1)]
    ttft = rng.expovariate(10)
    return {"ok": ok, "start": 1000 + rng.random() * 5, "ttft": ttft, "latency": ttft + sum(itls),
            "itls": itls, "input_len": rng.randint(1, 500), "output_len": n if ok else 0,
            "error": "" if ok else rng.choice(["Internal Server Error", "Not Found: no such model"])}


def made_up():
    rng = random.Random(7)
    mixed = [outcome(rng, ok=i % 6 != 5, n_tokens=1 if i % 9 == 4 else None) for i in range(60)]
    base = {"percentiles": [50, 99, 99.9], "selected": ["ttft", "tpot", "itl", "e2el"],
            "goodput": {"ttft": 150, "tpot": 25}, "request_rate": 12.5, "burstiness": 0.5,
            "max_concurrency": 16}
    yield "mixed", dict(base, duration=7.25, outcomes=mixed)
    yield "speculative", dict(base, duration=6.5, outcomes=mixed[:7], percentiles=[99],
                              selected=["ttft", "itl"], goodput={"e2el": 300}, request_rate="inf",
                              max_concurrency=None, spec_before=BEFORE, spec_after=AFTER)
    yield "failed", dict(base, duration=0.5, outcomes=[outcome(rng, ok=False) for _ in range(12)],
                         goodput={})
    yield "one", dict(base, duration=1.5, outcomes=[outcome(rng, n_tokens=1)], goodput={})


def main():
    OUT.mkdir(exist_ok=True)
    logs = dict(made_up())
    if len(sys.argv) > 1:
        result = json.loads(pathlib.Path(sys.argv[1]).read_text())
        logs["recorded"] = bench_formulas.log_of_result(result)
    elif (OUT / "recorded.json").exists():
        logs["recorded"] = json.loads((OUT / "recorded.json").read_text())["log"]
    for name, log in logs.items():
        data = {"log": log, "figures": bench_formulas.figures(log)}
        (OUT / f"{name}.json").write_text(json.dumps(data) + "\n")
        (OUT / f"{name}.txt").write_text(bench_formulas.table(log))


main()
