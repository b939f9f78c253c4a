"""serve: /v1/responses and /v1/messages over real sockets, with tools; and what is not served."""

import json

from qwserve import Server
from qwtest import TINY, check

ASK = "What is the weather in Manila?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "The city's name."}},
          "required": ["city"]}
WEATHER = "Get the current weather of a city."
R_TOOL = {"type": "function", "name": "get_weather", "description": WEATHER, "parameters": SCHEMA}
M_TOOL = {"name": "get_weather", "description": WEATHER, "input_schema": SCHEMA}


def events(s, path, body):
    """[(event, data)] of a stream that has names."""
    status, got, data = s.request("POST", path, dict(body, stream=True))
    check(status == 200 and got["Content-Type"].startswith("text/event-stream"), f"{path}: {status} {data}")
    out = []
    for e in data.decode().split("\n\n")[:-1]:
        name, text = e.split("\n", 1)
        check(name.startswith("event: ") and text.startswith("data: "), f"an event {e!r}")
        out.append((name[7:], json.loads(text[6:])))
        check(out[-1][1]["type"] == out[-1][0], f"its name is its type: {e}")
    return out


def check_responses(s):
    path = "/v1/responses"
    a = s.must(path, {"input": "What is 47 + 38?", "temperature": 0})
    kinds = [i["type"] for i in a["output"]]
    check(kinds == ["reasoning", "message"] and a["status"] == "completed", f"{a}")
    check("47 + 38 = 85" in a["output"][1]["content"][0]["text"], f"{a}")
    check("Ones:" in a["output"][0]["content"][0]["text"], f"{a}")
    u = a["usage"]
    check(u["total_tokens"] == u["input_tokens"] + u["output_tokens"] and
          0 < u["output_tokens_details"]["reasoning_tokens"] < u["output_tokens"], f"{u}")
    told = events(s, path, {"input": "What is 47 + 38?", "temperature": 0})
    names = [n for n, _ in told]
    check(names[:3] == ["response.created", "response.in_progress", "response.output_item.added"] and
          names[-2:] == ["response.output_item.done", "response.completed"], f"{names}")
    check([e["sequence_number"] for _, e in told] == list(range(len(told))), "sequence numbers")
    text = "".join(e["delta"] for n, e in told if n == "response.output_text.delta")
    check(text == a["output"][1]["content"][0]["text"], f"{text!r}")
    # How many pieces: tokens that come while the last ones are written share an event.
    check("response.output_text.delta" in names, "told in deltas")
    # A call, and its result on the way back
    ask = {"input": [{"role": "user", "content": ASK}], "temperature": 0, "tools": [R_TOOL]}
    call = s.must(path, ask)["output"][-1]
    check(call["type"] == "function_call" and call["name"] == "get_weather" and
          json.loads(call["arguments"]) == {"city": "Manila"}, f"{call}")
    told = events(s, path, ask)
    pieces = "".join(e["delta"] for n, e in told if n == "response.function_call_arguments.delta")
    check(json.loads(pieces) == {"city": "Manila"}, pieces)
    later = dict(ask, max_output_tokens=20,
                 input=ask["input"] + [call, {"type": "function_call_output", "call_id": call["call_id"],
                                              "output": "20 degrees, sunny"}])
    check(s.must(path, later)["output"], "an answer to the result")
    for method, p in (("GET", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel")):
        status, _, data = s.request(method, p)
        check(status == 404 and b"'resp_1' not found" in data, f"{p}: {status} {data}")
    status, error = s.post(path, {"input": "a", "max_output_tokens": 0})
    check(status == 400 and "error" in error, f"{status} {error}")


def check_messages(s):
    path = "/v1/messages"
    base = {"model": "tiny", "max_tokens": 200, "temperature": 0}
    ask = dict(base, messages=[{"role": "user", "content": "What is 47 + 38?"}])
    a = s.must(path, ask)
    check([b["type"] for b in a["content"]] == ["thinking", "text"] and a["stop_reason"] == "end_turn", f"{a}")
    check("47 + 38 = 85" in a["content"][1]["text"] and a["role"] == "assistant", f"{a}")
    told = events(s, path, ask)
    text = "".join(e["delta"].get("text", "") for n, e in told if n == "content_block_delta")
    check(text == a["content"][1]["text"], f"{text!r}")
    check(told[0][0] == "message_start" and told[-1][0] == "message_stop", f"{told[0]} {told[-1]}")
    check(told[0][1]["message"]["usage"]["input_tokens"] == a["usage"]["input_tokens"] and
          told[-2][1]["usage"] == a["usage"], f"{told[-2]} {a['usage']}")
    # Counting needs no engine and agrees with it.
    n = s.must(path + "/count_tokens", {"model": "tiny", "messages": ask["messages"]})["input_tokens"]
    check(n == a["usage"]["input_tokens"], f"{n} {a['usage']}")
    short = s.must(path, dict(ask, max_tokens=5))
    check(short["stop_reason"] == "max_tokens" and short["usage"]["output_tokens"] == 5, f"{short}")
    off = s.must(path, dict(ask, thinking={"type": "disabled"}, stop_sequences=["= 8"]))
    check(off["stop_reason"] == "stop_sequence" and off["stop_sequence"] == "= 8" and
          off["content"][0]["text"].endswith("47 + 38 "), f"{off}")
    # A use, and its result on the way back
    ask = dict(base, messages=[{"role": "user", "content": ASK}], tools=[M_TOOL])
    a = s.must(path, ask)
    use = a["content"][-1]
    check(a["stop_reason"] == "tool_use" and use["type"] == "tool_use" and use["input"] == {"city": "Manila"},
          f"{a}")
    told = events(s, path, ask)
    pieces = "".join(e["delta"].get("partial_json", "") for n, e in told if n == "content_block_delta")
    check(json.loads(pieces) == {"city": "Manila"} and
          told[-2][1]["delta"]["stop_reason"] == "tool_use", f"{pieces} {told[-2]}")
    forced = s.must(path, dict(ask, thinking={"type": "disabled"}, tool_choice={"type": "any"},
                               messages=[{"role": "user", "content": "What is 4 + 5?"}]))
    check(forced["content"][0]["type"] == "tool_use" and "city" in forced["content"][0]["input"] or
          forced["stop_reason"] == "max_tokens", f"{forced}")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"],
                                           "content": [{"type": "text", "text": "20 degrees, sunny"}]}]}
    said = {"role": "assistant", "content": a["content"]}
    later = s.must(path, dict(ask, max_tokens=20, messages=ask["messages"] + [said, result]))
    check(later["content"], f"{later}")
    for body, code, kind in ((dict(ask, model="gpt"), 404, "not_found_error"),
                             ({"model": "tiny"}, 400, "invalid_request_error")):
        status, error = s.post(path, body)
        check(status == code and error["type"] == "error" and error["error"]["type"] == kind, f"{error}")
    status, error = s.post(path + "/count_tokens", {"model": "tiny"})
    check(status == 400 and error["type"] == "error", f"{status} {error}")
    key = {"Content-Type": "application/json", "X-Api-Key": "wrong"}
    status, _, data = s.request("POST", path, json.dumps(ask), headers=key)
    check(status == 200, f"no key is set, so none is looked at: {status} {data}")


def check_missing(s):
    """A generation model has no such paths, as in vLLM."""
    for path in ("/v1/embeddings", "/v1/score", "/score", "/v1/rerank", "/v2/rerank", "/rerank", "/pooling",
                 "/classify"):
        status, data = s.post(path, {"model": "tiny", "input": "x"})
        check(status == 404 and data == {"detail": "Not Found"}, f"{path}: {status} {data}")


with Server(TINY, "--served-model-name", "tiny", "--enable-auto-tool-choice", "--tool-call-parser",
            "hermes") as server:
    check_responses(server)
    check_messages(server)
    check_missing(server)
    server.wait_idle()
with Server(TINY, "--api-key", "secret", "--served-model-name", "tiny") as server:
    body = json.dumps({"model": "tiny", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]})
    for headers, want in (({"X-Api-Key": "secret"}, 200), ({"X-Api-Key": "other"}, 401), ({}, 401),
                          ({"Authorization": "Bearer secret"}, 200)):
        got = server.request("POST", "/v1/messages", body, headers=dict(headers, **{"Content-Type":
                                                                                   "application/json"}))
        check(got[0] == want, f"{headers}: {got[0]}")
print("responses and messages: told, streamed, with tools; no embeddings")
