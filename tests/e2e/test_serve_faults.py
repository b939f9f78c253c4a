"""serve: memory fails at random while hundreds of requests run; each failure costs its request only.

Every request ends in a whole answer, an error of the API or a closed connection; the server lives,
holds no block afterwards, answers as before, and ends with 0. Under sanitizers it leaks nothing.
"""

import http.client
import json
import os
import random
import threading

from qwserve import Server
from qwtest import check, fail

N_THREADS = 6
N_REQUESTS = int(os.environ.get("QW_TEST_REQUESTS", "240"))  # per period
PERIODS = (30, 300, 2000)
PLAIN = {"prompt": "47 + 38 =", "temperature": 0, "max_tokens": 30, "logprobs": 1}


def random_request(rng):
    """(method, path, body); a few of them are wrong."""
    stream = rng.random() < 0.5
    sampling = {"max_tokens": rng.choice((1, 8, 30, 90)), "temperature": rng.choice((0, 0.7)),
                "seed": rng.randrange(1000), "stream": stream}
    kind = rng.randrange(10)
    if kind < 4:
        messages = [{"role": "user", "content": f"What is {rng.randrange(99)} + {rng.randrange(99)}?"}]
        body = dict(sampling, messages=messages * rng.choice((1, 3)))
        if rng.random() < 0.4:
            body.update(logprobs=True, top_logprobs=rng.randrange(5))
        if stream and rng.random() < 0.5:
            body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        return "POST", "/v1/chat/completions", body
    if kind < 8:
        prompt = [rng.randrange(3000) for _ in range(rng.choice((1, 20, 300)))]
        body = dict(sampling, prompt=rng.choice((prompt, [prompt, prompt[:7] + [5]], "The capital")))
        if rng.random() < 0.3:
            body.update(n=3, temperature=1.0)
        if rng.random() < 0.3:
            body["logprobs"] = 4
        if rng.random() < 0.3:
            body["stop"] = ["e", "\n\n"]
        if not stream and rng.random() < 0.2:
            body["prompt_logprobs"] = 2
        return "POST", "/v1/completions", body
    if kind == 8:
        return rng.choice((("GET", "/v1/models", None), ("GET", "/metrics", None),
                           ("GET", "/nosuch", None),
                           ("POST", "/tokenize", {"prompt": "Hello world " * 50}),
                           ("POST", "/detokenize", {"tokens": [5, 6, 7]}),
                           ("POST", "/reset_prefix_cache", None)))
    return rng.choice((("POST", "/v1/completions", {"prompt": 3}),
                       ("POST", "/v1/chat/completions", {"messages": "x"}),
                       ("POST", "/v1/completions", {"prompt": "x", "model": "other"})))


def check_stream(data):
    """whole or broken; what has come must be events, and an error the last of them."""
    if not data.endswith(b"data: [DONE]\n\n"):
        return "broken"
    for event in data.decode().split("\n\n")[:-2]:
        if not event.startswith("data: "):
            fail(f"an event {event!r}")
        if "error" in json.loads(event[6:]):
            return "error event"
    return "whole"


def ask(server, method, path, body):
    """How the request ended."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        c.request(method, path, None if body is None else json.dumps(body), headers)
        r = c.getresponse()
        status, kind = r.status, r.headers.get("Content-Type") or ""
        try:
            data = r.read()
        except http.client.IncompleteRead as e:
            return "broken" if status == 200 else fail(f"{status} with a broken body {e.partial}")
    except TimeoutError:
        fail(f"no answer for ten minutes to {path} {body}\n" + server.log())
    except (ConnectionError, http.client.HTTPException):
        return "closed"
    finally:
        c.close()
    if kind.startswith("text/event-stream"):
        return check_stream(data)
    if status == 200:
        if kind.startswith("application/json"):
            json.loads(data)
        return "whole"
    if status >= 500:
        if kind.startswith("application/json"):
            check(json.loads(data)["error"]["code"] == status, f"{data}")
        return "refused"
    check(status in (400, 404), f"{path} {body}: {status} {data}")
    return "wrong"


def try_period(period):
    ends, lock = {}, threading.Lock()
    with Server("--max-num-seqs", "8", "--num-gpu-blocks-override", "300", "--max-model-len", "1024",
                "--disable-uvicorn-access-log",
                env={"QWENCH_TEST_FAIL_ALLOCATIONS": str(period)}) as s:
        def work(seed):
            rng = random.Random(period * 1000 + seed)
            for _ in range(N_REQUESTS // N_THREADS):
                how = ask(s, *random_request(rng))
                with lock:
                    ends[how] = ends.get(how, 0) + 1

        threads = [threading.Thread(target=work, args=(i,)) for i in range(N_THREADS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(s.proc.poll() is None, f"the server is gone:\n{s.log()}")
        check(sum(ends.values()) == N_REQUESTS // N_THREADS * N_THREADS, f"threads fell: {ends}")
        idle(s)
        # It still answers, and the same.
        answer = next((a for a in (good_answer(s) for _ in range(2000)) if a), None)
        check(answer, "no request succeeds any more")
    return ends, answer


def idle(s):
    """As wait_idle, with a /metrics that may fail."""
    for _ in range(300):
        try:
            status, data = s.get("/metrics")
        except (OSError, http.client.HTTPException):
            continue
        if status != 200:
            continue
        values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1])
                  for line in data.decode().splitlines() if line and line[0] != "#"}
        if not any(values[f"vllm:{k}"] for k in ("num_requests_running", "num_requests_waiting",
                                                 "kv_cache_usage_perc")):
            return
    fail(f"something is held: {values}\n" + s.log())


def good_answer(s):
    try:
        status, _, data = s.request("POST", "/v1/completions", PLAIN)
    except (OSError, http.client.HTTPException):
        return None
    return json.loads(data)["choices"] if status == 200 else None


with Server() as healthy:
    want = good_answer(healthy)
for p in PERIODS:
    counts, got = try_period(p)
    check(got == want, f"one in {p} fails: another answer: {got}\n{want}")
    bad = sum(counts.get(k, 0) for k in ("refused", "closed", "broken", "error event"))
    check(bad > 0, f"nothing failed with one in {p} failing")
    print(f"one allocation in {p} fails: {dict(sorted(counts.items()))}")
