"""serve: forty mixed requests through HTTP get the same tokens and logprobs, to the bit, however the
server is set up, and whoever runs beside them."""

import json
import random
import threading
import time

from qwserve import Server
from qwtest import check, fail

N_REQUESTS = 40
FEW_BLOCKS = ("--num-gpu-blocks-override", "36", "--block-size", "16")
# options, and whether sequences must have been preempted
SETUPS = [
    (("--no-async-scheduling",), False),
    (("--no-enable-prefix-caching",), False),
    (("--no-enable-chunked-prefill",), False),
    (("--max-num-batched-tokens", "64"), False),
    (("--compilation-config", '{"cudagraph_mode": "NONE"}'), False),
    (("--max-num-seqs", "2"), False),
    (FEW_BLOCKS, True),
    (FEW_BLOCKS + ("--scheduling-policy", "priority", "--no-async-scheduling"), True),
    (("--scheduling-policy", "priority", "--max-num-seqs", "4", "--max-num-batched-tokens", "100"), False),
]


def make_requests():
    """(path, body); what is random is seeded, for order of arrival must not matter."""
    rng = random.Random(6)
    shared = [rng.randrange(3000) for _ in range(220)]
    out = []
    for i in range(N_REQUESTS):
        body = {"seed": i, "temperature": rng.choice((0, 0.7, 1.3)), "max_tokens": rng.choice((3, 12, 30, 60)),
                "ignore_eos": rng.random() < 0.7, "return_token_ids": True, "priority": rng.randrange(-3, 4),
                "stream": i % 3 == 0, "top_p": rng.choice((1, 0.9)), "top_k": rng.choice((0, 20)),
                "repetition_penalty": rng.choice((1, 1.2)), "frequency_penalty": rng.choice((0, 0.5))}
        if body["temperature"] > 0 and rng.random() < 0.25:
            body["n"] = 3
        if i % 4 == 1:
            a, b = rng.randrange(99), rng.randrange(99)
            body.update(messages=[{"role": "user", "content": f"What is {a} + {b}?"}], logprobs=True, top_logprobs=3)
            out.append(("/v1/chat/completions", body))
            continue
        body.update(logprobs=rng.choice((0, 4)), prompt=rng.choice((
            shared[:rng.randrange(1, 220)], shared[:150] + [rng.randrange(3000) for _ in range(90)],
            f"{i} + {i} =", [rng.randrange(3000) for _ in range(rng.randrange(1, 300))])))
        if not body["stream"] and rng.random() < 0.3:
            body["prompt_logprobs"] = 2
        if rng.random() < 0.2:
            body["stop"] = ["a", "\n"]
        if rng.random() < 0.2:
            body.update(min_tokens=3, logit_bias={"5": 4, "77": -100})
        out.append(("/v1/completions", body))
    return out



def merge(events):
    """The choices of a stream put together: texts joined, lists appended, the last word kept."""
    out = {}

    def add(into, part):
        for k, v in part.items():
            if isinstance(v, dict):
                into[k] = into.get(k) or {}
                add(into[k], v)
            elif isinstance(v, (str, list)) and k != "role":
                into[k] = v if into.get(k) is None else into[k] + v
            elif v is not None or k not in into:
                into[k] = v

    for e in events:
        for c in e["choices"]:
            add(out.setdefault(c["index"], {}), {k: v for k, v in c.items() if k != "index"})
    return [out[i] for i in sorted(out)]


def ask(s, path, body):
    if not body["stream"]:
        return s.must(path, body)["choices"]
    return merge(s.stream(path, body))


def ask_all(s, requests, n_threads):
    answers, numbers = [None] * len(requests), iter(range(len(requests)))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            answers[i] = ask(s, *requests[i])

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


COMMON = ("--max-model-len", "512", "--disable-uvicorn-access-log")
todo = make_requests()
with Server(*COMMON) as server:
    want = ask_all(server, todo, 1)
    n_tokens = sum(len(c["token_ids"]) for a in want for c in a)
for options, must_preempt in SETUPS:
    begin = time.monotonic()
    with Server(*COMMON, *options) as server:
        got = ask_all(server, todo, N_REQUESTS)
        n_preempted = int(server.metric("vllm:num_preemptions_total"))
        server.wait_idle()
    for (path, request), a, b in zip(todo, want, got):
        if a != b:
            fail(f"{options}: {path} {json.dumps(request)}\n{b}\nalone: {a}")
    check(n_preempted > 0 or not must_preempt, f"{options}: no preemption")
    print(f"{' '.join(options)}: {len(todo)} requests, {n_tokens} tokens the same, {n_preempted} preemptions, "
          f"{time.monotonic() - begin:.1f} s")
