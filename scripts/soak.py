#!/usr/bin/env python3
"""Mixed load on a server for a while; its memory must stay flat.

    scripts/soak.py [--minutes 20] [--clients 12] [--model DIR] [serve options ...]

Clients stream, wait, cancel, send bad requests, share prefixes and ask for several answers at
random. Each minute: requests, tokens, resident memory. At the end: the growth of the resident
memory after the first fifth of the time, and whether anything is still held. Exit status 1 when it
grew by more than 2 % + 8 MiB or something is held. The KV pool is memory once it is touched; it is
kept so small here that the first fifth touches all of it (unless the options say otherwise).
"""

import argparse
import http.client
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/e2e"))
from qwserve import Server  # noqa: E402


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Client(threading.Thread):
    def __init__(self, server, seed, stopping):
        super().__init__(daemon=True)
        self.server, self.rng, self.stopping = server, random.Random(seed), stopping
        self.n_requests = self.n_bad = self.n_left = 0
        self.unexpected = []

    def run(self):
        while not self.stopping.is_set():
            try:
                self.one()
            except (OSError, http.client.HTTPException) as e:
                self.unexpected.append(repr(e))

    def body(self):
        r = self.rng
        prefix = [7] * r.choice((0, 32, 256)) + [r.randrange(100, 140)] * r.choice((1, 40))
        return {"prompt": prefix + [r.randrange(3000) for _ in range(r.choice((1, 10, 120)))],
                "max_tokens": r.choice((1, 16, 64, 300)), "temperature": r.choice((0, 0.8, 1.3)),
                "ignore_eos": r.random() < 0.5, "seed": r.randrange(1000),
                "logprobs": r.choice((None, None, 3)), "stream": r.random() < 0.6,
                "stop": r.choice((None, ["the", "\n\n"]))}

    def one(self):
        r = self.rng
        body = self.body()
        kind = r.random()
        if kind < 0.1:
            body["temperature"] = -1
        elif kind < 0.3 and body["temperature"] > 0:
            body["n"] = 3
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        c.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        self.n_requests += 1
        if kind > 0.85:  # leaves without reading
            self.n_left += 1
            c.close()
            return
        answer = c.getresponse()
        data = answer.read()
        c.close()
        if kind < 0.1:
            self.n_bad += 1
            if answer.status != 400:
                self.unexpected.append(f"{answer.status} for a bad request")
        elif answer.status != 200 or (body["stream"] and not data.endswith(b"data: [DONE]\n\n")):
            self.unexpected.append(f"{answer.status}: {data[-200:]!r}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--minutes", type=float, default=20)
    p.add_argument("--clients", type=int, default=12)
    args, serve_args = p.parse_known_args()
    if not any(a.startswith("--kv-cache-memory-bytes") for a in serve_args):
        serve_args += ["--kv-cache-memory-bytes", str(64 << 20)]
    os.environ.setdefault("QW_TEST_TMP", "/tmp")
    with Server(*serve_args) as server:
        stopping = threading.Event()
        clients = [Client(server, i, stopping) for i in range(args.clients)]
        for c in clients:
            c.start()
        start, base, peak = time.monotonic(), 0, 0
        total = args.minutes * 60
        tick = min(60, total / 10)
        while (now := time.monotonic() - start) < total:
            stopping.wait(min(tick, total - now))
            rss = rss_kib(server.proc.pid)
            if now < total / 5:
                base = max(base, rss)
            peak = max(peak, rss)
            print(f"{time.monotonic() - start:7.0f} s  {sum(c.n_requests for c in clients):7d} requests  "
                  f"{server.metric('vllm:generation_tokens_total'):9.0f} tokens  {rss / 1024:7.1f} MiB",
                  flush=True)
        stopping.set()
        for c in clients:
            c.join()
        server.wait_idle()
        unexpected = [u for c in clients for u in c.unexpected]
        growth = peak - base
        print(f"{sum(c.n_requests for c in clients)} requests ({sum(c.n_bad for c in clients)} bad, "
              f"{sum(c.n_left for c in clients)} left early), {len(unexpected)} unexpected answers; "
              f"memory {base / 1024:.1f} -> {peak / 1024:.1f} MiB; nothing is held")
        for u in unexpected[:10]:
            print("  ", u)
    return 1 if unexpected or growth > base * 0.02 + 8192 else 0


if __name__ == "__main__":
    sys.exit(main())
