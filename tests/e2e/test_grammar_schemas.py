"""JSON schemas as grammars: what they let through is valid, and nothing valid is forbidden.

  - every pair of tests/e2e/data/schemas.jsonl (scripts/gen_schema_corpus.py made it)
  - random schemas: samples of their grammars, and documents made for them, against a validator

usage: test_grammar_schemas.py [N_SCHEMAS [SEED]]      (without: as many as a test may take)
"""

import collections
import json
import os
import random
import subprocess
import sys

import jsonvalid
from qwtest import QWENCH, check

TOOL = os.path.join(os.path.dirname(QWENCH), "bin", "grammar_check")
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "schemas.jsonl")


def ask(questions):
    """The tool's answers, one for each question."""
    lines = "".join(json.dumps(q) + "\n" for q in questions)
    done = subprocess.run([TOOL], input=lines, capture_output=True, text=True, check=True)
    check(done.stderr == "", done.stderr[:500])
    return [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]


def check_corpus():
    with open(DATA, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    answers = ask({"spec": {"json": r["schema"]}, "texts": r["valid"] + r["invalid"]} for r in rows)
    n = 0
    for r, a in zip(rows, answers):
        check("error" not in a, f"{r['schema']}: {a}")
        want = [True] * len(r["valid"]) + [False] * len(r["invalid"])
        n += len(want)
        check(a["accepted"] == want, f"{json.dumps(r)}: {a['accepted']}")
    check(n >= 500, f"{n} pairs")
    print(f"corpus: {len(rows)} schemas, {n} documents, wrong 0")


def check_random(n_schemas, seed):
    rnd = random.Random(seed)
    schemas, documents = [], []
    for _ in range(n_schemas):
        s = jsonvalid.random_schema(rnd)
        texts = []
        for _ in range(8):
            v = jsonvalid.random_document(rnd, s, s)
            texts.append(v if rnd.random() < .6 else jsonvalid.mutated(rnd, v))
        schemas.append(s)
        documents.append(texts)
    counts = collections.Counter()
    answers = ask({"spec": {"json": s}, "texts": [jsonvalid.text_of(v) for v in texts], "samples": 5, "seed": i}
                  for i, (s, texts) in enumerate(zip(schemas, documents)))
    for s, texts, a in zip(schemas, documents, answers):
        if "error" in a:
            counts["refused: " + a["status"]] += 1
            check(a["status"] == "unsupported" or "nothing matches" in a["error"], f"{s}: {a}")
            if "nothing matches" in a["error"]:
                check(not any(jsonvalid.valid(s, v, s) for v in texts), f"{json.dumps(s)} allows something")
            continue
        counts["schemas"] += 1
        for text in a["samples"]:
            counts["samples"] += 1
            check(jsonvalid.valid(s, json.loads(text), s), f"{json.dumps(s)} lets through {text!r}")
        for v, accepted in zip(texts, a["accepted"]):
            want = jsonvalid.valid(s, v, s)
            counts["valid" if want else "invalid"] += 1
            check(accepted == want, f"{json.dumps(s)}: {jsonvalid.text_of(v)!r} is "
                                    f"{'valid' if want else 'invalid'}, the grammar says {accepted}")
    print(f"random: {dict(counts)}, wrong 0")
    check(counts["samples"] > n_schemas and counts["valid"] > n_schemas, f"too few: {counts}")


check_corpus()
check_random(int(sys.argv[1]) if len(sys.argv) > 1 else 150, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
