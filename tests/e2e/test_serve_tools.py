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


with Server("--enable-auto-tool-choice", "--tool-call-parser", "hermes") as server:
    first = check_auto(server)
    check_none(server)
    check_way_back(server, first)
    server.wait_idle()
print("tools: called, streamed, hidden, answered")
