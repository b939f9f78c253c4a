"""qwench bench latency and throughput: what they print and write. No timing is asserted."""

import json
import re
import statistics

from bench_formulas import percentile
from qwtest import Scratch, TINY, check, ok, run

NUMBER = r"\d+\.\d+(e-\d+)?"


def latency(tmp):
    path = tmp / "latency.json"
    text = ok("bench", "latency", "--model", TINY, "--max-model-len", 64, "--input-len", 8,
              "--output-len", 4, "--batch-size", 3, "--n", 2, "--num-iters-warmup", 1, "--num-iters", 5,
              "--output-json", path, "--trust-remote-code", "-tp", 2).decode()
    lines = text.split("\n")
    check(lines[0] == "Warming up..." and len(lines) == 9 and lines[-1] == "", text)
    check(re.fullmatch(f"Avg latency: {NUMBER} seconds", lines[1]), lines[1])
    result = json.loads(path.read_text())
    check(list(result) == ["avg_latency", "latencies", "percentiles"], str(result))
    values = result["latencies"]
    check(len(values) == 5 and all(v > 0 for v in values), str(values))
    check(abs(result["avg_latency"] - statistics.fmean(values)) < 1e-12, str(result))
    check(lines[1] == f"Avg latency: {result['avg_latency']!r} seconds", lines[1])
    for line, q in zip(lines[2:], ("10", "25", "50", "75", "90", "99")):
        got = result["percentiles"][q]
        check(abs(got - percentile(values, float(q))) < 1e-12, f"{q}: {got}")
        check(line == f"{q}% percentile latency: {got!r} seconds", line)
    check(path.read_text() == json.dumps(result, indent=4) + "\n", "the form of json.dump, indent 4")


def throughput(tmp):
    path = tmp / "throughput.json"
    text = ok("bench", "throughput", "--model", TINY, "--input-len", 9, "--output-len", 3, "--num-prompts",
              6, "--num-warmups", 2, "--n", 2, "--output-json", path).decode()
    lines = text.split("\n")
    check(lines[0] == "When dataset path is not set, it will default to random dataset", text)
    check(re.fullmatch(r"Throughput: \d+\.\d\d requests/s, \d+\.\d\d total tokens/s, \d+\.\d\d output "
                       r"tokens/s", lines[1]), lines[1])
    check(lines[2:] == ["Total num prompt tokens:  54", "Total num output tokens:  36", ""], text)
    result = json.loads(path.read_text())
    check(list(result) == ["elapsed_time", "num_requests", "total_num_tokens", "requests_per_second",
                           "tokens_per_second"], str(result))
    check(result["num_requests"] == 6 and result["total_num_tokens"] == 90, str(result))
    check(abs(result["tokens_per_second"] * result["elapsed_time"] - 90) < 1e-9, str(result))
    # Conversations, through the template.
    turns = [{"value": "What is the capital of France, please?"}, {"value": "Paris, I should think."}]
    (tmp / "s.json").write_text(json.dumps([{"conversations": turns}]))
    text = ok("bench", "throughput", TINY, "--dataset-path", tmp / "s.json", "--num-prompts", 3,
              "--backend", "vllm-chat", "--disable-detokenize", "--load-format", "dummy").decode()
    check("default to random" not in text and "Throughput: " in text, text)


def bad():
    cases = [
        (2, "max_model_len is greater than the sum", ["latency", "--max-model-len", 30]),
        (2, "Data parallel is not supported in offline", ["throughput", "-dp", 2]),
        (2, "Data parallel is not supported in offline", ["latency", "-dp", 2]),
        (2, "use-beam-search: not supported", ["latency", "--use-beam-search"]),
        (2, "invalid value 'hf'", ["throughput", "--backend", "hf"]),
        (2, "needs a file", ["throughput", "--dataset-name", "custom"]),
        (2, "takes no pictures", ["throughput", "--dataset-name", "random-mm"]),
        (1, "nosuch", ["throughput", "--dataset-path", "nosuch"]),
        (1, "nosuch", ["latency", "--model", "./nosuch"]),
        (2, "unrecognized arguments: --foo", ["latency", "--foo"]),
    ]
    for code, part, args in cases:
        p = run("bench", *args)
        err = p.stderr.decode()
        check(p.returncode == code and part in err, f"{args}: exit {p.returncode}: '{part}': {err}")


def main():
    with Scratch() as tmp:
        latency(tmp)
        throughput(tmp)
    bad()
    print("bench latency and throughput print and write as vLLM does")


main()
