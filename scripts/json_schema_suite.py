#!/usr/bin/env python3
"""Runs the official JSON Schema test suite through the grammar compiler.

The suite is in the source package of PyPI's jsonschema (json/tests/), which is fetched with pip, or
named: json_schema_suite.py [--draft draft2020-12] [--verbose] [jsonschema-*.tar.gz or its folder].

For each test: "accepted" if the grammar lets exactly the valid documents through, "refused" if the
compiler refuses the schema, else "wrong". Documents are written as the grammar writes them: members in
the order in which the schema names them, integral numbers without a fraction. `format` constrains here,
as it does in vLLM, so format.json, where it is an annotation only, is left out and optional/format/ run.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def fetch(folder):
    subprocess.run([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--no-binary", "jsonschema",
                    "-d", folder, "jsonschema==4.17.3"], check=True)
    return next(pathlib.Path(folder).glob("*.tar.gz"))


def unpack(path, folder):
    path = pathlib.Path(path)
    if path.is_dir():
        return path
    with tarfile.open(path) as tar:
        tar.extractall(folder)
    return next(p for p in pathlib.Path(folder).iterdir() if p.is_dir())


def names_in(schema, out):
    """Names of members in the order in which the schema's text has them."""
    if isinstance(schema, dict):
        for k, v in schema.items():
            if k == "properties" and isinstance(v, dict):
                out.extend(v)
        for k, v in schema.items():
            if k in ("const", "enum"):
                keys_in(v, out)
            elif k != "required":
                names_in(v, out)
        for k in schema.get("required", []) if isinstance(schema.get("required"), list) else []:
            out.append(k)
    elif isinstance(schema, list):
        for v in schema:
            names_in(v, out)


def keys_in(value, out):
    for v in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        keys_in(v, out)
    out.extend(value if isinstance(value, dict) else ())


def canonical(v, place):
    if isinstance(v, dict):
        return {k: canonical(v[k], place) for k in sorted(v, key=lambda k: place.get(k, len(place)))}
    if isinstance(v, list):
        return [canonical(x, place) for x in v]
    return int(v) if isinstance(v, float) and abs(v) < 1e30 and v == int(v) else v


def ask(tool, questions):
    done = subprocess.run([tool], input="".join(json.dumps(q) + "\n" for q in questions), text=True,
                          capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?")
    parser.add_argument("--draft", default="draft2020-12")
    parser.add_argument("--tool", default=ROOT / "build/release/bin/grammar_check")
    parser.add_argument("--verbose", action="store_true", help="name what was refused, with the reason")
    args = parser.parse_args()
    counts, reasons = collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        tests = unpack(args.source or fetch(folder), folder) / "json/tests" / args.draft
        files = sorted(tests.glob("*.json")) + sorted((tests / "optional/format").glob("*.json"))
        groups = [(f, g) for f in files if f.name != "format.json" or f.parent.name == "format"
                  for g in json.loads(f.read_text(encoding="utf-8"))]
    questions = []
    for _, g in groups:
        if args.draft in ("draft4", "draft6", "draft7") and isinstance(g["schema"], dict):
            number = args.draft.replace("draft", "draft-0")
            g["schema"].setdefault("$schema", f"http://json-schema.org/{number}/schema#")
        names = []
        names_in(g["schema"], names)
        place = {n: i for i, n in reversed(list(enumerate(dict.fromkeys(names))))}
        questions.append({"spec": {"json": g["schema"]},
                          "texts": [json.dumps(canonical(t["data"], place)) for t in g["tests"]]})
    for (f, g), q, a in zip(groups, questions, ask(args.tool, questions)):
        if "error" in a:
            if "nothing matches" not in a["error"] or any(t["valid"] for t in g["tests"]):
                counts["refused"] += len(g["tests"])
                reasons[a["error"]] += 1
                if args.verbose:
                    print(f"refused {f.stem}: {g['description']}: {a['error']}")
                continue
            a = {"accepted": [False] * len(g["tests"])}
        for t, text, got in zip(g["tests"], q["texts"], a["accepted"]):
            counts["accepted" if got == t["valid"] else "wrong"] += 1
            if got != t["valid"]:
                print(f"WRONG {f.stem}: {g['description']}: {t['description']}: {text}: says {got}\n"
                      f"      {json.dumps(g['schema'])}")
    for reason, n in reasons.most_common(12):
        print(f"  {n:4} schemas refused: {reason}")
    print(f"{args.draft}: accepted {counts['accepted']}, refused {counts['refused']}, wrong {counts['wrong']}")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
