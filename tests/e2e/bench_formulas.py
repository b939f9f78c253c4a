"""What `bench serve` computes and prints, written again in Python from vLLM's definitions
(cli-and-bench.md 7.1): the second opinion of the tests.

A log is {"duration", "outcomes": [{"ok", "start", "ttft", "latency", "itls", "input_len",
"output_len", "error"}], "percentiles", "selected", "goodput" ({} or {"ttft": ms, ...}),
"request_rate", "burstiness", "max_concurrency", "spec_before", "spec_after" (texts of /metrics)}.
"""

import math
import statistics


def percentile(values, q):
    """numpy.percentile, linear."""
    values = sorted(values)
    at = q / 100 * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def spread(name, values, percentiles, out):
    values = values or [0]
    out[f"mean_{name}_ms"] = math.fsum(values) / len(values) * 1000
    out[f"median_{name}_ms"] = statistics.median(values) * 1000
    out[f"std_{name}_ms"] = statistics.pstdev(values) * 1000
    for q in percentiles:
        word = str(int(q)) if int(q) == q else str(q)
        out[f"p{word}_{name}_ms"] = percentile(values, q) * 1000


def spec_counters(text):
    c = {"drafts": 0, "draft": 0, "accepted": 0, "at": {}}
    lines = [line for line in text.splitlines() if line.startswith("vllm:spec_decode")]
    for line in lines:
        value = int(float(line.split()[-1]))
        if "_created" in line:
            continue
        if "num_drafts" in line:
            c["drafts"] += value
        elif "num_draft_tokens" in line:
            c["draft"] += value
        elif "num_accepted_tokens_per_pos" in line:
            position = int(line.split('position="')[1].split('"')[0])
            c["at"][position] = c["at"].get(position, 0) + value
        elif "num_accepted_tokens" in line:
            c["accepted"] += value
    return c if lines else None


def spec_stats(before, after):
    before, after = spec_counters(before), spec_counters(after)
    if not before or not after or after["draft"] <= before["draft"]:
        return {}
    drafts, draft = after["drafts"] - before["drafts"], after["draft"] - before["draft"]
    accepted = after["accepted"] - before["accepted"]
    return {"spec_decode_acceptance_rate": accepted / draft * 100,
            "spec_decode_acceptance_length": 1 + accepted / drafts if drafts else 0.0,
            "spec_decode_num_drafts": drafts,
            "spec_decode_draft_tokens": draft,
            "spec_decode_accepted_tokens": accepted,
            "spec_decode_per_position_acceptance_rates":
                [(after["at"][p] - before["at"].get(p, 0)) / drafts for p in sorted(after["at"])]}


def peaks(good):
    """(events in the fullest second, requests in the fullest second)."""
    if not good:
        return 0.0, 0
    start = min(o["start"] for o in good)
    end = max(o["start"] + o["latency"] for o in good)
    n = int(math.ceil(end - start)) + 1
    events, alive = [0.0] * n, [0] * n
    for o in good:
        times = [o["start"] + o["ttft"]]
        for gap in o["itls"]:
            times.append(times[-1] + gap)
        for at in times:
            if 0 <= int(at - start) < n:
                events[int(at - start)] += 1
        for s in range(int(o["start"] - start), int(o["start"] + o["latency"] - start) + 1):
            alive[s] += 1
    return max(events), max(alive)


def figures(log):
    """The members of the result file that are computed."""
    good = [o for o in log["outcomes"] if o["ok"]]
    duration = log["duration"]
    tpots, all_tpots = [], []
    for o in good:
        tpot = 0
        if o["output_len"] > 1:
            tpot = (o["latency"] - o["ttft"]) / (o["output_len"] - 1)
            tpots.append(tpot)
        all_tpots.append(tpot)
    limits = log["goodput"]
    n_good = sum(all(limits.get(name, math.inf) / 1000 >= value
                     for name, value in (("ttft", o["ttft"]), ("tpot", tpot), ("e2el", o["latency"])))
                 for o, tpot in zip(good, all_tpots))
    total_in = sum(o["input_len"] for o in good)
    total_out = sum(o["output_len"] for o in good)
    most_events, most_alive = peaks(good)
    out = {"duration": duration, "completed": len(good), "failed": len(log["outcomes"]) - len(good),
           "total_input_tokens": total_in, "total_output_tokens": total_out,
           "request_throughput": len(good) / duration,
           "request_goodput": n_good / duration if limits else None,
           "output_throughput": total_out / duration,
           "total_token_throughput": (total_in + total_out) / duration,
           "max_output_tokens_per_s": most_events, "max_concurrent_requests": most_alive,
           "rtfx": 0.0}
    out.update(spec_stats(log.get("spec_before", ""), log.get("spec_after", "")))
    values = {"ttft": [o["ttft"] for o in good], "tpot": tpots,
              "itl": [gap for o in good for gap in o["itls"]],
              "e2el": [o["latency"] for o in good]}
    for name in ("ttft", "tpot", "itl", "e2el"):
        if name in log["selected"]:
            spread(name, values[name], log["percentiles"], out)
    return out


def table(log):
    """The printed text, failures first."""
    f = figures(log)
    lines = []
    failed = [o for o in log["outcomes"] if not o["ok"]]
    if failed:
        lines.append("Failed requests during benchmark run detected (capping to 10):")
    lines += [f"Error {i}: {o['error']}" for i, o in enumerate(failed[:10])]
    lines.append("tip: --plot FILE.svg draws the latencies and a timeline")

    def head(text, fill):
        lines.append("{s:{c}^{n}}".format(s=text, n=50, c=fill))

    def count(label, value):
        lines.append("{:<40} {:<10}".format(label, value))

    def number(label, value):
        lines.append("{:<40} {:<10.2f}".format(label, value))

    head(" Serving Benchmark Result ", "=")
    count("Successful requests:", f["completed"])
    count("Failed requests:", f["failed"])
    if log["max_concurrency"]:
        count("Maximum request concurrency:", log["max_concurrency"])
    if log["request_rate"] != "inf":
        number("Request rate configured (RPS):", log["request_rate"])
    number("Benchmark duration (s):", f["duration"])
    count("Total input tokens:", f["total_input_tokens"])
    count("Total generated tokens:", f["total_output_tokens"])
    number("Request throughput (req/s):", f["request_throughput"])
    if log["goodput"]:
        number("Request goodput (req/s):", f["request_goodput"])
    number("Output token throughput (tok/s):", f["output_throughput"])
    number("Peak output token throughput (tok/s):", f["max_output_tokens_per_s"])
    number("Peak concurrent requests:", f["max_concurrent_requests"])
    number("Total token throughput (tok/s):", f["total_token_throughput"])
    for name, title in (("ttft", "Time to First Token"),
                        ("tpot", "Time per Output Token (excl. 1st token)"),
                        ("itl", "Inter-token Latency"), ("e2el", "End-to-end Latency")):
        if name not in log["selected"]:
            continue
        head(title, "-")
        number(f"Mean {name.upper()} (ms):", f[f"mean_{name}_ms"])
        number(f"Median {name.upper()} (ms):", f[f"median_{name}_ms"])
        for q in log["percentiles"]:
            word = str(int(q)) if int(q) == q else str(q)
            number(f"P{word} {name.upper()} (ms):", f[f"p{word}_{name}_ms"])
    if "spec_decode_num_drafts" in f:
        head("Speculative Decoding", "-")
        number("Acceptance rate (%):", f["spec_decode_acceptance_rate"])
        number("Acceptance length:", f["spec_decode_acceptance_length"])
        count("Drafts:", f["spec_decode_num_drafts"])
        count("Draft tokens:", f["spec_decode_draft_tokens"])
        count("Accepted tokens:", f["spec_decode_accepted_tokens"])
        lines.append("Per-position acceptance (%):")
        for i, rate in enumerate(f["spec_decode_per_position_acceptance_rates"]):
            number(f"  Position {i}:", rate * 100)
    lines.append("=" * 50)
    return "\n".join(lines) + "\n"


def log_of_result(result, percentiles=(99,), selected=("ttft", "tpot", "itl"), goodput=None):
    """The log in a file that --save-detailed wrote; of a run without chat, where the last event
    ends a request."""
    outcomes = []
    for i, ttft in enumerate(result["ttfts"]):
        itls, error = result["itls"][i], result["errors"][i]
        outcomes.append({"ok": not error, "start": result["start_times"][i], "ttft": ttft,
                         "latency": ttft + math.fsum(itls), "itls": itls,
                         "input_len": result["input_lens"][i],
                         "output_len": result["output_lens"][i], "error": error})
    return {"duration": result["duration"], "outcomes": outcomes, "percentiles": list(percentiles),
            "selected": list(selected), "goodput": goodput or {},
            "request_rate": result["request_rate"], "burstiness": result["burstiness"],
            "max_concurrency": result["max_concurrency"]}
