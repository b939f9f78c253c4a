"""serve: the small model calls tools; whole and streamed, over real sockets, and the way back."""

import json

from qwserve import Server
from qwtest import check

PATH = "/v1/chat/completions"


def tool(name, description, key, key_description=None):
    prop = {"type": "string"}
    if key_description:
        prop["description"] = key_description
    return {"type": "function", "function": {
        "name": name, "description": description,
        "parameters": {"type": "object", "properties": {key: prop}, "required": [key]}}}


TOOLS = [tool("get_weather", "Get the current weather of a city.", "city", "The city's name."),
         tool("calculate", "Work out an arithmetic expression.", "expression")]
ASK = {"messages": [{"role": "user", "content": "What is the weather in Manila?"}], "tools": TOOLS,
       "temperature": 0}


def gather(events):
    """(content, reasoning, [(id, name, arguments)], finish_reason) of a stream's choice 0."""
    content = reasoning = ""
    calls, finish = [], None
    for e in events:
        for c in e["choices"]:
            d = c["delta"]
            content += d.get("content") or ""
            reasoning += d.get("reasoning") or ""
            for t in d.get("tool_calls") or []:
                if "id" in t:
                    check(t["type"] == "function" and t["index"] == len(calls), f"a header: {t}")
                    calls.append([t["id"], t["function"]["name"], ""])
                calls[t["index"]][2] += t["function"].get("arguments", "")
            finish = c["finish_reason"] or finish
    return content, reasoning, calls, finish


def call_of(s, **fields):
    """The one call of a whole answer; a stream must have the same."""
    c = s.must(PATH, dict(ASK, **fields))["choices"][0]
    m = c["message"]
    check(c["finish_reason"] == "tool_calls" and len(m["tool_calls"]) == 1, f"a call: {c}")
    call = m["tool_calls"][0]
    check(m["content"] is None and call["type"] == "function", f"nothing but the call: {m}")
    content, reasoning, calls, finish = gather(s.stream(PATH, dict(ASK, **fields)))
    check(content.strip() == "" and finish == "tool_calls" and len(calls) == 1, f"{calls} {finish}")
    check(reasoning == (m["reasoning"] or ""), "the same reasoning")
    check(calls[0][1] == call["function"]["name"] and
          json.loads(calls[0][2]) == json.loads(call["function"]["arguments"]), f"{calls} {call}")
    check(call["id"] != calls[0][0] and call["id"].startswith("chatcmpl-tool-"), "ids of their own")
    return call, m


def check_auto(s):
    call, m = call_of(s)
    check(call["function"]["name"] == "get_weather" and
          json.loads(call["function"]["arguments"]) == {"city": "Manila"}, f"{call}")
    check(m["reasoning"], "reasoning in front of the call")
    quick, m = call_of(s, chat_template_kwargs={"enable_thinking": False})
    check(quick["function"] == call["function"] and not m["reasoning"], f"without thinking: {quick} {m}")
    sums, _ = call_of(s, messages=[{"role": "user", "content": "What is 149 \u00d7 968?"}],
                      chat_template_kwargs={"enable_thinking": False})
    check(sums["function"]["name"] == "calculate" and
          "149" in json.loads(sums["function"]["arguments"])["expression"], f"{sums}")
    # Beside other choices, each its own call.
    a = s.must(PATH, dict(ASK, n=2, temperature=0.2, seed=1))
    ids = [t["id"] for c in a["choices"] for t in c["message"]["tool_calls"]]
    check(len(set(ids)) == len(ids) and ids, f"two choices: {ids}")
    return call


def check_none(s):
    c = s.must(PATH, dict(ASK, tool_choice="none"))["choices"][0]
    check(c["message"]["tool_calls"] == [] and "<tool_call>" in c["message"]["content"] and
          c["finish_reason"] == "stop", f"none: {c}")
    # A question that needs no tool
    c = s.must(PATH, dict(ASK, messages=[{"role": "user", "content": "What is 4 + 5?"}],
                          chat_template_kwargs={"enable_thinking": False}, max_tokens=40))["choices"][0]
    check(c["message"]["tool_calls"] == [] or c["finish_reason"] == "tool_calls", f"{c}")


def check_way_back(s, call):
    """The answer's own message goes back into the prompt as the model wrote it."""
    turns = ASK["messages"] + [{"role": "assistant", "content": None, "tool_calls": [call]},
                               {"role": "tool", "tool_call_id": call["id"], "content": "20 degrees, sunny"}]
    text = s.must(PATH, dict(ASK, messages=turns, return_prompt_text=True, max_tokens=30))
    prompt = text["prompt_text"]
    check('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Manila"}}\n</tool_call><|im_end|>'
          in prompt, prompt)
    check("<tool_response>\n20 degrees, sunny\n</tool_response>" in prompt, prompt)
    parts = [{"role": "tool", "tool_call_id": call["id"],
              "content": [{"type": "text", "text": "20 degrees"}, {"type": "text", "text": "sunny"}]}]
    prompt = s.must(PATH, dict(ASK, messages=turns[:2] + parts, return_prompt_text=True,
                               max_tokens=1))["prompt_text"]
    check("<tool_response>\n20 degrees\nsunny\n</tool_response>" in prompt, prompt)


TRIP = {"type": "function", "function": {"name": "book_trip", "parameters": {
    "type": "object", "additionalProperties": False, "required": ["days", "class", "stops"],
    "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 30}, "class": {"enum": ["first", "second"]},
                   "stops": {"type": "array", "maxItems": 1, "items": {
                       "type": "object", "properties": {"meal": {"type": "boolean"}}, "required": ["meal"],
                       "additionalProperties": False}}}}}}


def is_trip(a):
    """By hand, for no validator comes with Python."""
    return (set(a) == {"days", "class", "stops"} and type(a["days"]) is int and
            a["class"] in ("first", "second") and len(a["stops"]) <= 1 and 1 <= a["days"] <= 30 and
            all(set(x) == {"meal"} and type(x["meal"]) is bool for x in a["stops"]))


def check_forced(s):
    """Whatever the small model would rather say, its calls fit their schemas."""
    quick = {"chat_template_kwargs": {"enable_thinking": False}}
    ask = {"messages": [{"role": "user", "content": "What is 4 + 5?"}], "tools": [TRIP, TOOLS[1]],
           "max_tokens": 150}
    for fields in (dict(quick, temperature=0), {"temperature": 0}):  # the last one thinks
        body = dict(ask, tool_choice={"type": "function", "function": {"name": "book_trip"}}, **fields)
        c = s.must(PATH, body)["choices"][0]
        calls = c["message"]["tool_calls"]
        check(c["finish_reason"] == "stop" and c["message"]["content"] == "" and len(calls) == 1 and
              calls[0]["function"]["name"] == "book_trip" and
              is_trip(json.loads(calls[0]["function"]["arguments"])), f"named: {c}")
        check(bool(c["message"]["reasoning"]) == (fields == {"temperature": 0}), f"thinking comes first: {c}")
        content, _, streamed, finish = gather(s.stream(PATH, body))
        check(finish == "stop" and not content and len(streamed) == 1 and
              json.loads(streamed[0][2]) == json.loads(calls[0]["function"]["arguments"]),
              f"named, streamed: {streamed} {c}")
    c = s.must(PATH, dict(ask, tool_choice="required", temperature=0, **quick))["choices"][0]
    check(c["finish_reason"] in ("tool_calls", "length"), f"required: {c}")
    for call in c["message"]["tool_calls"]:
        args = json.loads(call["function"]["arguments"])
        check(is_trip(args) if call["function"]["name"] == "book_trip" else "expression" in args, f"{c}")
    one = s.must(PATH, dict(ask, tool_choice="required", parallel_tool_calls=False, temperature=0,
                            **quick))["choices"][0]
    check(len(one["message"]["tool_calls"]) == 1 and one["finish_reason"] == "tool_calls", f"one: {one}")
    # A strict tool is held to its schema when the model calls by itself.
    strict = json.loads(json.dumps(TOOLS))
    strict[0]["function"]["strict"] = True
    strict[0]["function"]["parameters"]["properties"]["city"] = {"enum": ["Mars"]}
    a, _ = call_of(s, tools=strict, chat_template_kwargs={"enable_thinking": False})
    check(json.loads(a["function"]["arguments"]) == {"city": "Mars"}, f"strict: {a}")
    # A schema that cannot be held is the request's fault.
    status, error = s.post(PATH, dict(ask, tool_choice="required", tools=[
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
            "a": {"$ref": "#/nowhere"}}}}}]))
    check(status == 400 and error["error"]["message"], f"{status} {error}")


def check_coder_form():
    """The other form of calls, which this model would not use by itself."""
    with Server("--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder") as s:
        body = {"messages": [{"role": "user", "content": "What is 4 + 5?"}], "tools": [TRIP],
                "tool_choice": {"type": "function", "function": {"name": "book_trip"}}, "max_tokens": 300,
                "chat_template_kwargs": {"enable_thinking": False}, "temperature": 0}
        c = s.must(PATH, body)["choices"][0]
        calls = c["message"]["tool_calls"]
        check(c["finish_reason"] == "length" or (len(calls) == 1 and calls[0]["id"].startswith("call_") and
              is_trip(json.loads(calls[0]["function"]["arguments"]))), f"{c}")
        check(c["finish_reason"] == "length" or
              [json.loads(x[2]) for x in gather(s.stream(PATH, body))[2]] ==
              [json.loads(x["function"]["arguments"]) for x in calls], "streamed")


with Server("--enable-auto-tool-choice", "--tool-call-parser", "hermes") as server:
    first = check_auto(server)
    check_none(server)
    check_way_back(server, first)
    check_forced(server)
    server.wait_idle()
check_coder_form()
print("tools: called, streamed, hidden, answered")
