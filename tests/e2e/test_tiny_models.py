"""The tiny random checkpoints through the command line: logits, greedy ids, prompt logprobs."""

import json

from qwtest import DATA, Scratch, check, generate_file, ok, read_logits

MODELS = DATA / "tiny-models"


def cases_of(model):
    expected = json.loads((MODELS / model / "expected.json").read_text())
    return expected["cases"] if isinstance(expected, dict) else expected


def check_greedy(model, dtype, cases):
    requests = [{"prompt_token_ids": c["prompt"], "max_tokens": len(c["greedy"]), "temperature": 0,
                 "ignore_eos": True, "prompt_logprobs": 0} for c in cases]
    answers = generate_file(requests, MODELS / model, "--dtype", dtype)
    for c, a in zip(cases, answers):
        n = len(c["greedy"])
        if dtype == "bfloat16":  # only up to the first close call
            n = next((i for i, m in enumerate(c["greedy_margin"]) if m <= 0.3), n)
        check(a["token_ids"][:n] == c["greedy"][:n], f"{model} {dtype}: greedy ids differ")
        check(a["prompt_token_ids"] == c["prompt"], f"{model}: prompt ids differ")
        if dtype != "float32":
            continue
        got = a["prompt_logprobs"]
        check(got[0] is None and len(got) == len(c["prompt"]), f"{model}: prompt_logprobs shape")
        for i in range(1, len(got)):
            lp = got[i][str(c["prompt"][i])]["logprob"]
            check(abs(lp - c["prompt_logprobs"][i]) < 2e-4, f"{model}: prompt logprob {i}: {lp}")


def check_logits(model, dtype, cases, tmp):
    worst = 0.0
    for c in cases:
        path = tmp / "logits.safetensors"
        ids = ",".join(map(str, c["prompt"]))
        ok("generate", MODELS / model, "--prompt-ids", ids, "--max-tokens", 3, "--temperature", 0,
           "--ignore-eos", "--dtype", dtype, "--dump-logits", path)
        rows, columns, values = read_logits(path)
        check(rows == len(c["prompt"]) + 2, f"{model}: {rows} rows of logits")
        last = values[(len(c["prompt"]) - 1) * columns:len(c["prompt"]) * columns]
        worst = max(worst, max(abs(x - y) for x, y in zip(last, c["last_logits"])))
        for i, best in enumerate(c["argmax_each_position"]):
            row = values[i * columns:(i + 1) * columns]
            if dtype == "float32":
                check(row.index(max(row)) == best, f"{model}: argmax of position {i}")
    bound = 1e-4 if dtype == "float32" else 0.3
    check(worst <= bound, f"{model} {dtype}: logits differ by {worst}")
    print(f"{model} {dtype}: {len(cases)} cases, last logits within {worst:.2g}")


def main():
    with Scratch() as tmp:
        for model in ("tied", "untied-sharded", "yarn"):
            for dtype in ("float32", "bfloat16"):
                check_greedy(model, dtype, cases_of(model))
                check_logits(model, dtype, cases_of(model), tmp)


main()
