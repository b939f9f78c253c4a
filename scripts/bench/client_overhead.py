#!/usr/bin/env python3
"""What the client of `bench serve` costs by itself: CPU for each event, and how late it stamps.

usage: client_overhead.py [--streams 500] [--rate 20] [--events 200] [--json FILE]

tools/null_server sends STREAMS streams of RATE events a second each and notes when it wrote every
event; --save-detailed tells when the client stamped it, on the same clock. CPU is the whole client's,
start and tokenizer included, divided by all events. The delay of an event is stamp - write, so the
kernel's part counts. Delays are looked at in slices of 200 ms; a slice is clean when the hypervisor
stole nothing and client and server together waited less than 1 % of it for a CPU that others had
(/proc/PID/schedstat). Where others keep the machine busy, `chrt -f 1` in front of the command makes
clean slices. Marks: 20 us of CPU, 1 ms at the 99th percentile of clean slices.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_CPU_US, MAX_P99_MS = 20.0, 1.0


def percentile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q / 100 * len(values)))]


def stolen():
    """Ticks that the hypervisor took, all CPUs."""
    return int(pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[8])


def waited(pids):
    """Seconds that the processes were ready and did not run."""
    total = 0
    for pid in pids:
        try:
            total += int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[1])
        except OSError:
            pass
    return total * 1e-9


class Watch(threading.Thread):
    """Slice after slice: (begin, end, ticks stolen, share of it that was waited)."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.slices, self.ended = pids, [], threading.Event()

    def run(self):
        before = (time.monotonic(), stolen(), waited(self.pids))
        while not self.ended.wait(0.2):
            now = (time.monotonic(), stolen(), waited(self.pids))
            seconds = now[0] - before[0]
            self.slices.append((before[0], now[0], now[1] - before[1], (now[2] - before[2]) / seconds))
            before = now


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=float, default=20, help="events a second of each stream")
    parser.add_argument("--events", type=int, default=200, help="events of each stream")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        log, result = pathlib.Path(tmp, "log"), pathlib.Path(tmp, "result.json")
        server = subprocess.Popen([args.build / "bin/null_server", str(args.events), str(args.rate),
                                   log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().strip()
        start = time.monotonic()
        client = subprocess.Popen(
            [args.build / "qwench", "bench", "serve", "--model", ROOT / "models/tiny", "--port", port,
             "--num-prompts", str(args.streams), "--random-input-len", "4", "--disable-tqdm",
             "--save-result", "--save-detailed", "--result-filename", result],
            stdout=subprocess.DEVNULL)
        watch = Watch((server.pid, client.pid))
        watch.start()
        _, status, usage = os.wait4(client.pid, 0)
        seconds = time.monotonic() - start
        watch.ended.set()
        watch.join()
        server.stdin.close()
        server.wait()
        if status:
            sys.exit(f"the client ended with status {status}")
        written = {int(line.split()[0]): [int(x) * 1e-9 for x in line.split()[1:]]
                   for line in log.read_text().splitlines()}
        data = json.loads(result.read_text())
    delays = []  # (when, how late)
    for i, (ttft, itls) in enumerate(zip(data["ttfts"], data["itls"])):
        at = data["start_times"][i] + ttft
        for j, gap in enumerate([0.0, *itls]):
            at += gap
            delays.append((written[i][j], at - written[i][j]))
    if data["failed"] or len(delays) != args.streams * args.events:
        sys.exit(f"{data['failed']} requests failed, {len(delays)} events came")
    clean = [s for s in watch.slices if s[2] == 0 and 0 <= s[3] < 0.01]
    good = [late for at, late in delays if any(a <= at < b for a, b, _, _ in clean)]
    cpu_us = (usage.ru_utime + usage.ru_stime) / len(delays) * 1e6
    figures = {"streams": args.streams, "rate": args.rate, "events": len(delays),
               "user_s": usage.ru_utime, "system_s": usage.ru_stime,
               "events_per_s": len(delays) / data["duration"], "seconds": seconds,
               "cpu_us_per_event": cpu_us,
               "delay_ms": {f"p{q}": percentile([d for _, d in delays], q) * 1000
                            for q in (50, 99, 99.9)},
               "clean_slices": len(clean), "all_slices": len(watch.slices),
               "clean_delay_ms": {f"p{q}": percentile(good, q) * 1000 for q in (50, 99, 99.9)}
               if good else None}
    version = subprocess.run([args.build / "qwench", "--version"], capture_output=True, text=True,
                             check=False).stdout.strip()
    print(f"{version}; {args.streams} streams of {args.rate:g} events/s: {len(delays)} events")
    print(f"CPU of the client      {cpu_us:8.2f} us an event (at most {MAX_CPU_US:g}): "
          f"{'met' if cpu_us <= MAX_CPU_US else 'missed'}")
    for name, key in (("all slices", "delay_ms"), ("clean slices", "clean_delay_ms")):
        d = figures[key]
        if d:
            print(f"delay, {name:14} " + "  ".join(f"{q} {v:.3f} ms" for q, v in d.items()))
    if figures["clean_delay_ms"]:
        met = figures["clean_delay_ms"]["p99"] < MAX_P99_MS
        print(f"p99 of {len(clean)} clean slices of {len(watch.slices)} (below {MAX_P99_MS:g} ms): "
              f"{'met' if met else 'missed'}")
    else:
        print("no clean slice: the machine is too busy to tell")
    if args.json:
        args.json.write_text(json.dumps(dict(figures, version=version), indent=1) + "\n")


main()
