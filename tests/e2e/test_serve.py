"""serve: the endpoints, streamed and whole answers, and that both agree."""

import json
import threading

from qwserve import Server
from qwtest import check, fail

CHAT = {"messages": [{"role": "user", "content": "What is 47 + 38?"}], "temperature": 0}
MESSAGE_KEYS = ["role", "content", "refusal", "annotations", "audio", "function_call", "tool_calls",
                "reasoning", "reasoning_content"]
CHOICE_KEYS = ["index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids",
               "routed_experts"]
CHAT_KEYS = ["id", "object", "created", "model", "choices", "service_tier", "system_fingerprint",
             "usage", "prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params"]


def check_small(s):
    check(s.get("/health") == (200, b""), "health")
    check(s.get("/ping")[0] == 200, "ping")
    check("version" in json.loads(s.get("/version")[1]), "version")
    check(json.loads(s.get("/load")[1]) == {"server_load": 0}, "load")
    models = json.loads(s.get("/v1/models")[1])
    check(models["object"] == "list" and models["data"][0]["id"] == "tiny", f"models: {models}")
    check(s.get("/v1/models/tiny")[0] == 200, "one model")
    check(s.get("/v1/models/other")[0] == 404, "an unknown model")
    check(s.get("/nosuch") == (404, b'{"detail":"Not Found"}'), "an unknown path")
    check(s.get("/v1/chat/completions") == (405, b'{"detail":"Method Not Allowed"}'), "a wrong method")
    tokens = s.must("/tokenize", {"prompt": "Hello world"})
    check(tokens["count"] == len(tokens["tokens"]) > 0, f"tokenize: {tokens}")
    back = s.must("/detokenize", {"tokens": tokens["tokens"]})
    check(back == {"prompt": "Hello world"}, f"detokenize: {back}")
    metrics = s.metrics()
    check(any(k.startswith("vllm:num_requests_running{") for k in metrics), "metrics")


def check_chat(s):
    a = s.must("/v1/chat/completions", CHAT)
    check(list(a) == CHAT_KEYS, f"keys: {list(a)}")
    choice = a["choices"][0]
    check(list(choice) == CHOICE_KEYS, f"choice keys: {list(choice)}")
    message = choice["message"]
    check(list(message) == MESSAGE_KEYS, f"message keys: {list(message)}")
    check("47 + 38 = 85" in message["content"], f"answer: {message}")
    check("Ones:" in message["reasoning"] and message["reasoning"] == message["reasoning_content"],
          f"reasoning: {message}")
    check(choice["finish_reason"] == "stop", f"finish: {choice}")
    usage = a["usage"]
    check(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"{usage}")

    events = s.stream("/v1/chat/completions", dict(CHAT, stream_options={"include_usage": True}))
    check(events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}, f"{events[0]}")
    check(events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] ==
          usage["completion_tokens"], f"usage chunk: {events[-1]}")
    deltas = [e["choices"][0]["delta"] for e in events if e["choices"]]
    text = "".join(d.get("content") or "" for d in deltas)
    thinking = "".join(d.get("reasoning") or "" for d in deltas)
    check(text == message["content"] and thinking == message["reasoning"], "streamed = whole")
    finishes = [e["choices"][0]["finish_reason"] for e in events if e["choices"]]
    check(finishes[-1] == "stop" and not any(finishes[:-1]), f"finish: {finishes}")


def check_completions(s):
    body = {"prompt": ["The capital of France is", "47 + 38 ="], "max_tokens": 12, "n": 2,
            "temperature": 0.8, "seed": 5, "logprobs": 2}
    a = s.must("/v1/completions", body)
    check([c["index"] for c in a["choices"]] == [0, 1, 2, 3], "two prompts, two answers each")
    events = s.stream("/v1/completions", body)
    for i in range(4):
        text = "".join(c["text"] for e in events for c in e["choices"] if c["index"] == i)
        check(text == a["choices"][i]["text"], f"choice {i}: {text!r}, {a['choices'][i]['text']!r}")
    stop = a["choices"][0]["text"][3:6]
    b = s.must("/v1/completions", dict(body, prompt=body["prompt"][0], n=1, stop=[stop]))
    c = b["choices"][0]
    check(c["text"] == a["choices"][0]["text"][:a["choices"][0]["text"].index(stop)] and
          c["stop_reason"] == stop and c["finish_reason"] == "stop", f"stop string: {c}")


def check_together(s):
    """Many at once give what each gives alone."""
    bodies = [{"prompt": f"{a} + {b} =", "max_tokens": 20 + a, "temperature": 0.7, "seed": a,
               "logprobs": 1} for a in range(10, 20) for b in (11, 12, 13)]
    alone = [s.must("/v1/completions", b)["choices"] for b in bodies]
    together = [None] * len(bodies)

    def ask(i):
        together[i] = s.must("/v1/completions", bodies[i])["choices"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, (a, b) in enumerate(zip(alone, together)):
        if a != b:
            fail(f"request {i} in company: {b}\nalone: {a}")


with Server() as server:
    check_small(server)
    check_chat(server)
    check_completions(server)
    check_together(server)
    server.wait_idle()
check(server.stop() == 0, "ends with 0 after SIGTERM")
print("endpoints, chat, completions, company")
