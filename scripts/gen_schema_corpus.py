#!/usr/bin/env python3
"""Writes tests/e2e/data/schemas.jsonl: random schemas with documents that PyPI's jsonschema calls
valid or invalid. Run in an environment that has it; the file is committed.

usage: gen_schema_corpus.py [N_SCHEMAS [SEED]]
"""
import json
import pathlib
import random
import sys

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
import jsonvalid  # noqa: E402


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 160
    rnd = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    rows = []
    while len(rows) < n:
        schema = jsonvalid.random_schema(rnd)
        check = jsonschema.Draft202012Validator(schema)
        row = {"schema": schema, "valid": [], "invalid": []}
        for _ in range(40):
            v = jsonvalid.random_document(rnd, schema, schema)
            v = v if rnd.random() < .5 else jsonvalid.mutated(rnd, v)
            text = jsonvalid.text_of(v)
            verdict = check.is_valid(v)
            if verdict != jsonvalid.valid(schema, v, schema):
                continue  # Python's $ and \\d are not ECMAScript's
            found = row["valid" if verdict else "invalid"]
            if len(found) < 4 and text not in found and len(text) < 300:
                found.append(text)
        if row["valid"] and len(json.dumps(schema)) < 700:
            rows.append(row)
    out = ROOT / "tests/e2e/data/schemas.jsonl"
    out.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    print(f"{len(rows)} schemas, {sum(len(r['valid']) + len(r['invalid']) for r in rows)} documents, "
          f"{out.stat().st_size} bytes")


main()
