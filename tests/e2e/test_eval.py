"""eval: scores of the built-in model and of a quantized one, by every scorer; what is refused."""

import json
import math
import re
import xml.dom.minidom

from qwtest import DATA, TINY, Scratch, check, json_lines, ok, run

NO_THINKING = ["--chat-template-kwargs", '{"enable_thinking": false}']
SUMS = json_lines(DATA / "tiny-chat/eval_arith.jsonl")


def evaluate(tmp, *args):
    """The table's lines and the JSON object of a run."""
    said = ok("eval", *args, "--json", tmp / "out.json").decode()
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
    refused([], "give --task", [2])
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
