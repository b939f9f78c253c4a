"""eval: scores of the built-in model and of a quantized one, by every scorer; both compared token by
token; what is refused."""

import json
import math
import re
import shutil
import xml.dom.minidom

from qwtest import DATA, TINY, Scratch, check, generate_file, json_lines, ok, read_logits, run

NO_THINKING = ["--chat-template-kwargs", '{"enable_thinking": false}']
SUMS = json_lines(DATA / "tiny-chat/eval_arith.jsonl")


def evaluate(tmp, *args):
    """The table's lines and the JSON object of a run."""
    said = ok("eval", *args, "--cpu-threads", "1", "--json", tmp / "out.json").decode()
    return said.splitlines(), json.loads((tmp / "out.json").read_text())


def lines(path, objects):
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def wilson(k, n, z=1.959963984540054):
    p, scale = k / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return (p + z * z / 2 / n - half) / scale, (p + z * z / 2 / n + half) / scale


def arithmetic(tmp):
    """Eighty sums, two models; outcomes counted again here from the answers' texts."""
    n = 80
    ok("quantize", TINY, tmp / "w8a8-tiny")
    out, result = evaluate(tmp, TINY, tmp / "w8a8-tiny", "--limit", n, "--task",
                           DATA / "tiny-chat/eval_arith.jsonl", *NO_THINKING,
                           "--plot", tmp / "plot.svg")
    check(len(out) == 3 and out[1].startswith("tiny ") and out[2].startswith("w8a8-tiny "), out)
    for line, model in zip(out[1:], result["models"]):
        task = model["task"]
        right = sum(a["text"].split("=")[-1].strip() == q["answer"]
                    for a, q in zip(task["answers"], SUMS))
        check(task["n"] == n and task["right"] == right, f"right: {task['right']}, {right}")
        check(task["right"] + task["wrong"] + task["truncated"] + task["empty"] == task["n"],
              f"outcomes do not add up: {task}")
        low, high = wilson(right, n)
        check(abs(task["score_low"] - low) < 1e-12 and abs(task["score_high"] - high) < 1e-12,
              f"interval: {task['score_low']} to {task['score_high']}, not {low} to {high}")
        check(f"{100 * right / n:.1f}%" in line and f"{100 * low:.1f} -" in line, line)
        check(model["decode_tokens_per_second"] > 0 and task["tokens_per_second"] > 0, "no speed")
        check(task["output_tokens"] == sum(a["tokens"] for a in task["answers"]), "tokens")
    tiny, quantized = result["models"]
    check(tiny["bytes"] == (TINY / "model.safetensors").stat().st_size, f"size: {tiny['bytes']}")
    check(quantized["bytes"] < tiny["bytes"], "quantized is not smaller")
    check(tiny["task"]["right"] >= 0.8 * n, f"{tiny['task']['right']} of {n} right")
    svg = xml.dom.minidom.parse(str(tmp / "plot.svg"))
    names = [t.firstChild.data for t in svg.getElementsByTagName("text") if t.firstChild]
    check(len(svg.getElementsByTagName("circle")) == 2 and "w8a8-tiny" in names, f"plot: {names}")


def scorers(tmp):
    """gsm8k's own form (with thinking), exact and choice; the same answers judged again here."""
    sums = SUMS[:10]
    gsm8k = lines(tmp / "gsm8k.jsonl", [
        {"question": q["question"], "answer": f"It is <<{q['full']}>>{q['answer']}.\n#### {q['answer']}"}
        for q in sums])
    _, result = evaluate(tmp, TINY, "--task", gsm8k, "--instruction", "")
    task = result["models"][0]["task"]
    right = sum(re.findall(r"-?\d+", a["text"].split("</think>")[-1])[-1:] == [q["answer"]]
                for a, q in zip(task["answers"], sums))
    check(task["right"] == right >= 9, f"gsm8k: {task['right']} right, {right} by the texts")
    check(all("<think>" in a["text"] for a in task["answers"]), "gsm8k: no thinking")

    exact = lines(tmp / "exact.jsonl", [{"question": q["question"], "answer": ["?", q["full"]]}
                                        for q in sums])
    _, result = evaluate(tmp, TINY, "--task", exact, *NO_THINKING, "--limit", "8")
    task = result["models"][0]["task"]
    right = sum(a["text"] == q["full"] for a, q in zip(task["answers"], sums))
    check(task["n"] == 8 and task["right"] == right >= 5, f"exact: {task['right']}, {right}")

    choice = lines(tmp / "choice.jsonl", [
        {"question": q["question"], "choices": ["a banana", q["full"]], "answer": 1} for q in sums])
    _, result = evaluate(tmp, TINY, "--task", choice, "--instruction", "", "--limit", "5")
    check(result["models"][0]["task"]["n"] == 5, "choice")
    _, text = evaluate(tmp, "--task", exact, "--no-chat", "--limit", "3", "--max-tokens", "8")
    check(text["models"][0]["model"] == "built-in" and text["models"][0]["task"]["n"] == 3, "text")


def counted_apart(tmp):
    sums = DATA / "tiny-chat/eval_arith.jsonl"
    _, result = evaluate(tmp, "--task", sums, "--limit", "8", "--max-tokens", "3")
    check(result["models"][0]["task"]["truncated"] == 8, "truncated")
    _, result = evaluate(tmp, "--task", sums, "--limit", "8", "--stop", "<think>")
    check(result["models"][0]["task"]["empty"] == 8, "empty")
    full = lines(tmp / "cut.jsonl", [{"question": q["question"], "answer": q["question"][-1]}
                                     for q in SUMS[:1]])
    _, result = evaluate(tmp, "--task", full, "--scorer", "exact")
    check(result["models"][0]["task"]["wrong"] == 1, "wrong")


def log_softmax(row):
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row)) + top
    return [x - total for x in row]


def divergence(tmp):
    """Once more from the logits and greedy tokens that `generate` gives."""
    texts = [t["text"] for t in json_lines(DATA / "tiny-chat/perplexity.jsonl")[:4]]
    path = lines(tmp / "texts.jsonl", [{"text": t} for t in texts])
    quantized = tmp / "w8a8-tiny"
    out, result = evaluate(tmp, quantized, TINY, "--kl", TINY, "--text", path, "--greedy-tokens", 12)
    d, same = (m["divergence"] for m in result["models"])
    kl, flips, nll, n_tokens, parts = [], 0, [0.0, 0.0], 0, []
    for text in texts:
        rows = []
        for model in (TINY, quantized):
            dump = tmp / "logits.safetensors"
            answer = json.loads(ok("generate", model, "-p", text, "--max-tokens", "1", "--json",
                                   "--temperature", "0", "--cpu-threads", "1",
                                   "--dump-logits", dump))
            ids = answer["prompt_token_ids"]
            _, vocab, values = read_logits(dump)
            rows.append([values[i * vocab:(i + 1) * vocab] for i in range(len(ids) - 1)])
        for p, q, token in zip(*rows, ids[1:]):
            log_p, log_q = log_softmax(p), log_softmax(q)
            kl.append(math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q)))
            flips += p.index(max(p)) != q.index(max(q))
            nll[0] -= log_p[token]
            nll[1] -= log_q[token]
            n_tokens += 1
        request = [{"prompt_token_ids": ids[:len(ids) // 2], "max_tokens": 12, "temperature": 0}]
        a, b = (generate_file(request, model, "--cpu-threads", "1")[0]["token_ids"]
                for model in (TINY, quantized))
        parts.append(next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), None))
    kl.sort()
    check(d["tokens"] == n_tokens and d["texts"] == 4 and d["flips"] == flips, f"{d}, flips {flips}")
    for name, want in (("kl_mean", math.fsum(kl) / n_tokens), ("kl_max", kl[-1]),
                       ("kl_median", (kl[(n_tokens - 1) // 2] + kl[n_tokens // 2]) / 2),
                       ("perplexity_reference", math.exp(nll[0] / n_tokens)),
                       ("perplexity_change", math.exp((nll[1] - nll[0]) / n_tokens) - 1)):
        check(abs(d[name] - want) <= 1e-9 + 1e-9 * abs(want), f"{name}: {d[name]}, not {want}")
    check(0 < d["kl_mean"] < 0.1 and d["perplexity_change_low"] <= d["perplexity_change"] <=
          d["perplexity_change_high"], f"{d}")
    check(d["parts_at"] == parts, f"greedy texts part at {d['parts_at']}, not {parts}")
    check(len(d["snr_db"]) == 5 and d["snr_db"][0] is None and
          all(20 < x < 60 for x in d["snr_db"][1:]), f"signal to noise: {d['snr_db']}")
    check(same["kl_max"] == 0 and same["flips"] == 0 and same["parts_at"] == [None] * 4 and
          same["snr_db"] == [None] * 5, f"the model itself: {same}")
    check(len(out) == 7 and "exact exact" in out[-1], out)

    again = evaluate(tmp, quantized, "--kl", TINY, "--text", path, "--greedy-tokens", 12)[1]
    check(again["models"][0]["divergence"] == d, "another result the second time")
    ok("quantize", TINY, tmp / "laos", "--scheme", "w4a4-laos")
    d = evaluate(tmp, tmp / "laos", "--kl", TINY, "--text", path)[1]["models"][0]["divergence"]
    check(d["is_rotated"] and all(10 < x < 70 for x in d["snr_db"]), f"rotated: {d['snr_db']}")


def bad_comparisons(tmp):
    other = tmp / "other"
    shutil.copytree(TINY, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-400]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused([other, "--kl", TINY], "its tokenizer is not that of --kl: text ", [2])
    config = {**json.loads((TINY / "config.json").read_text()), "vocab_size": 4096}
    (other / "config.json").write_text(json.dumps(config))
    shutil.copy(TINY / "tokenizer.json", other)
    refused([other, "--kl", TINY, "--load-format", "dummy"], "vocabulary of 3968", [2])
    refused(["--kl", tmp / "none"], "none")
    refused(["--kl", TINY, "--text", tmp / "none.txt"], "No such file", [1])
    text = tmp / "text.txt"
    text.write_bytes(b"\xff\xfe")
    refused(["--kl", TINY, "--text", text], "no valid UTF-8", [1])
    text.write_text("a")
    refused(["--kl", TINY, "--text", text], "no text of two tokens", [1])
    refused(["--kl", TINY, "--text", lines(tmp / "t.jsonl", [{"txt": "a"}])], "line 1: no text", [1])
    refused(["--text", text, "--task", text], "--text is for --kl", [2])
    refused(["--kl", TINY, "--plot", tmp / "x.svg"], "it needs --task", [2])


def refused(args, said, status=(1, 2)):
    p = run("eval", *args)
    text = p.stderr.decode()
    sentences = [line for line in text.splitlines() if not line.startswith(("usage: ", "built-in: "))]
    check(p.returncode in status and said in text and len(sentences) == 1 and not p.stdout,
          f"{args}: {p.returncode}: {text}")


def bad_input(tmp):
    bad = tmp / "bad.jsonl"
    good = '{"question": "1 + 1?", "answer": "2"}\n'
    for text, said in ((good + "not json\n", "bad.jsonl line 2: "),
                       (good + "\n[1]\n", "line 3: a JSON object is needed"),
                       ('{"text": "a"}\n', "line 1: nothing is asked"),
                       ('{"question": "a"}\n', "line 1: 'answer' must be"),
                       ('{"question": "a", "answer": "#### x"}\n', "line 1: the 'answer' of a gsm8k"),
                       ("\n", "asks nothing")):
        bad.write_text(text)
        refused(["--task", bad], said)
    bad.write_text(good)
    refused([], "give --task, --kl or both", [2])
    refused(["--task", tmp / "none.jsonl"], "No such file")
    refused(["--task", tmp], "it is a directory")
    refused(["--task", bad, "--scorer", "rouge"], "rouge", [2])
    refused(["--task", bad, "--n", "2", "--temperature", "1"], "one answer", [2])
    refused([tmp / "none", "--task", bad], "none")
    refused([TINY, tmp, "--task", bad], "evaluating")
    refused(["--task", bad, "--json", tmp / "no/out.json"], "No such file", [1])
    lines(bad, [json.loads(good), {"question": "word " * 6000, "answer": 1}])
    refused(["--task", bad], "question 2")


if __name__ == "__main__":
    with Scratch() as tmp:
        arithmetic(tmp)
        scorers(tmp)
        counted_apart(tmp)
        bad_input(tmp)
        divergence(tmp)
        bad_comparisons(tmp)
