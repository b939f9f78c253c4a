"""qwench bench: runs, prints its columns, writes JSON that compares. No timing is asserted."""

import json

from qwtest import DATA, Scratch, TINY, check, ok, run

COLUMNS = ["op", "format", "shape", "M", "ctx", "thr", "kernel", "isa", "time_us", "p10", "p50",
           "p90", "GB/s", "GOP/s", "limit", "clean/total", "steal%"]


def kernels(*args):
    return ok("bench", "kernels", "--config", DATA / "tiny-models/tied", "--rounds", 2, *args)


def rows_of(text, op):
    return [line for line in text.split("\n") if line.split(" ")[0] == op]


def table(tmp):
    path = tmp / "old.json"
    text = kernels("--op", "norm,sample", "--m", "1,8", "--json", path).decode()
    lines = text.split("\n")
    check(lines[0].startswith("machine: "), lines[0])
    check("commit " in lines[1] and "kernels " in lines[1], lines[1])
    check(lines[2].startswith("limits, ") and " bw " in lines[2] and " fma " in lines[2], lines[2])
    head = next(line for line in lines if line.startswith("op "))
    for column in COLUMNS:
        check(column in head.split() or column in head, f"no column {column}: {head}")
    check(len(rows_of(text, "norm")) == 4, text)
    check(len(rows_of(text, "sample")) == 1, text)
    for line in rows_of(text, "norm") + rows_of(text, "sample"):
        check("/2 " in line and line.count("|") == 4, line)

    report = json.loads(path.read_text())
    check(len(report["rows"]) == 5, "5 rows in the JSON")
    for row in report["rows"]:
        check(row["total"] == 2 and len(row["clean_ratios"]) == row["clean"], str(row))
        check(row["time_us"]["p50"] > 0 and row["of_limit"]["p50"] > 0, str(row))
    text = kernels("--op", "norm", "--m", "8", "--compare", path).decode()
    check(sum("before: " in line for line in rows_of(text, "norm")) == 2, text)


def steps():
    """Every family of rows runs on a model whose sizes fill no panel; formats and threads too."""
    text = kernels("--op", "linear,attn,head,step", "--m", "1,3,70", "--context", "70,130",
                   "--threads", "1,2", "--format", "bf16,f32").decode()
    check(len(rows_of(text, "linear")) == 4 * 3 * 2 * 2, text)
    check(len(rows_of(text, "head")) == 2 * 2 * 2, text)
    # Attention over bf16, over int8 and over fp32 pages.
    check(len(rows_of(text, "attn")) == 3 * 2 * 2 * 3, text)
    # Made-up weights are not F32; decode steps run with a plan and without.
    check(len(rows_of(text, "step")) == (2 * 2 + 1) * 2, text)
    check(text.count("products ") == 6 and text.count("       plan ") == 4, text)
    check(text.count("sampling ") == 10, text)
    # Quantized formats, whole steps too.
    text = kernels("--op", "head,step", "--m", "1,70", "--context", "70", "--threads", "1",
                   "--format", "w8a8,w4a8").decode()
    check(len(rows_of(text, "head")) == 2 and len(rows_of(text, "step")) == 3 * 2, text)
    check("int8" in text.split("\n")[2] and "w4a8 decode step, of read bandwidth" in text, text)


def start(tmp):
    path = tmp / "start.json"
    text = ok("bench", "coldstart", TINY, "--starts", 1, "--rounds", 2, "--generate", 4, "--json", path, "--pack-cache",
              tmp / "cache", "--dtype=float32").decode()
    check("exec to first token" in text and "peak RSS" in text, text)
    result = json.loads(path.read_text())
    check(result["first_token_s"]["p50"] > 0 and result["total"] == 1, str(result))
    phases = result["server_phases_s"]
    check(list(phases) == ["options", "model", "listen", "ready", "first_token"], str(phases))
    check(abs(sum(p["p50"] for p in phases.values()) - result["server_first_token_s"]["p50"]) < 1e-6,
          str(result))  # of one start: they add up
    check(all(p["min"] >= 0 for p in phases.values()) and "request to first token" in text, text)
    check(result["generated_tokens_per_s"]["p50"] > 0 and result["peak_rss"] > 0, str(result))


def server(tmp):
    """All parts on a small scale: every row is there, and nothing is absurd."""
    path = tmp / "server.json"
    text = ok("bench", "server", "--quick", "--rounds", 2, "--pack-cache", tmp / "cache", "--json",
              path).decode()
    check(text.startswith("machine: ") and "commit " in text, text)
    report = json.loads(path.read_text())
    rows = {(row["group"], row["name"]): row for row in report["rows"]}
    check(len(rows) == len(report["rows"]) == 29, text)
    marks = [row for row in rows.values() if "verdict" in row]
    check(len(marks) == 10, str(marks))
    for row in marks:
        check(row["verdict"] in ("met", "missed", "noisy"), str(row))
    for (group, name), row in rows.items():
        check(row["total"] == 2 and row["clean"] <= 2, str(row))
        if "growth" in name or name == "CPU of an event":  # differences: noise may win
            continue
        value = row["value"]
        check(0 < value["p10"] <= value["p50"] <= value["p90"] < 1e6, str(row))
        check(f"{group} " in text and f" {name} " in text, f"{group}, {name}: {text}")
    check(rows["prefix 320 + 20", "recomputed"]["value"]["p50"] == 20, str(rows))
    # CPU adds up.
    parts = [rows["chat", f"of it {part}"]["value"]["p50"] for part in ("I/O", "workers", "engine")]
    whole = rows["chat", "CPU of a request"]["value"]
    check(whole["p10"] / 2 < sum(parts) < 2 * whole["p90"], f"{parts} {whole}")

    text = ok("bench", "server", "--quick", "--only", "prefix,requests", "--rounds", 1).decode()
    check("cached / cold" in text and "CPU of a request" in text and "queued" not in text, text)


def bad(tmp):
    cases = [
        (2, "--op 'fly'", ["kernels", "--op", "fly"]),
        (2, "--format 'w9'", ["kernels", "--format", "w9", "--op", "sample"]),
        (2, "--shape '7b'", ["kernels", "--shape", "7b"]),
        (2, "--m '0'", ["kernels", "--m", "0"]),
        (2, "--m '1,x'", ["kernels", "--m", "1,x"]),
        (2, "--threads", ["kernels", "--threads", "1,,2"]),
        (1, "nosuch", ["kernels", "--config", tmp / "nosuch"]),
        (1, "nosuch.json", ["kernels", "--compare", tmp / "nosuch.json"]),
        (1, "nosuch", ["coldstart", tmp / "nosuch"]),
        (1, "nosuch", ["server", tmp / "nosuch"]),
        (2, "--only 'streams,'", ["server", "--only", "streams,"]),
        (2, "cpu-isa", ["kernels", "--cpu-isa", "mmx", "--op", "sample"]),
    ]
    for code, part, args in cases:
        p = run("bench", *args)
        err = p.stderr.decode()
        check(p.returncode == code, f"{args}: exit {p.returncode}: {err}")
        check(part in err and "Sanitizer" not in err, f"{args}: '{part}' is missing: {err}")


def main():
    with Scratch() as tmp:
        table(tmp)
        steps()
        start(tmp)
        server(tmp)
        bad(tmp)
    print("bench runs, prints and compares")


main()
