"""serve: answers that follow a schema, a regex, a list, a grammar or tags; what is refused, and how."""

import json
import re
import threading
import time

from qwserve import Server
from qwtest import check

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASK = {"messages": [{"role": "user", "content": "What is 47 + 38?"}], "temperature": 0, "max_tokens": 200}
QUICK = dict(ASK, chat_template_kwargs={"enable_thinking": False})
PERSON = {"type": "object", "additionalProperties": False, "required": ["name", "age", "tags"],
          "properties": {"name": {"type": "string", "pattern": "^[A-Z][a-z]{1,8}$"},
                         "age": {"type": "integer", "minimum": 0, "maximum": 120},
                         "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}}
OUTPUTS = {"json": PERSON, "disable_any_whitespace": True}


def is_person(text):
    v = json.loads(text)
    return (list(v) == ["name", "age", "tags"] and re.fullmatch("[A-Z][a-z]{1,8}", v["name"]) and
            isinstance(v["age"], int) and 0 <= v["age"] <= 120 and
            len(v["tags"]) <= 3 and set(v["tags"]) <= {"a", "b"})


def content(s, **fields):
    c = s.must(CHAT, dict(QUICK, **fields))["choices"][0]
    check(c["finish_reason"] == "stop", f"{fields}: {c}")
    return c["message"]["content"]


def check_kinds(s):
    text = content(s, structured_outputs=OUTPUTS)
    check(is_person(text), text)
    check(content(s, structured_outputs=OUTPUTS) == text, "the same again, from the cache")
    check(content(s, structured_outputs=dict(OUTPUTS, json=json.dumps(PERSON))) == text, "as text")
    streamed = "".join(e["choices"][0]["delta"].get("content") or ""
                       for e in s.stream(CHAT, dict(QUICK, structured_outputs=OUTPUTS)))
    check(streamed == text, f"streamed {streamed!r}")
    check(content(s, structured_outputs={"choice": ["left", "right"]}) in ("left", "right"), "choice")
    check(re.fullmatch(r"\d{3}-\d{2}", content(s, guided_regex=r"\d{3}-\d{2}")), "guided_regex")
    check(content(s, guided_choice=["yes"]) == "yes", "one choice")
    grammar = 'root ::= num (" + " num){1,2}\nnum ::= [1-9] [0-9]?  # small'
    check(re.fullmatch(r"[1-9]\d?( \+ [1-9]\d?){1,2}", content(s, guided_grammar=grammar)), "grammar")
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": [
        {"type": "const_string", "value": "<n>"}, {"type": "regex", "pattern": "[0-9]{2}"},
        {"type": "const_string", "value": "</n>"}]}}
    check(re.fullmatch(r"<n>\d\d</n>", content(s, response_format=tag)), "structural_tag")
    for fields in ({"prompt": "1 + 1 =", "guided_regex": " [0-9]"},
                   {"prompt": "1 + 1 =", "structured_outputs": {"regex": " [0-9]"}}):
        c = s.must(TEXT, dict(fields, max_tokens=9, temperature=0))["choices"][0]
        check(re.fullmatch(" [0-9]", c["text"]) and c["finish_reason"] == "stop", f"{c}")


def check_thinking(s):
    free = s.must(CHAT, ASK)["choices"][0]["message"]
    m = s.must(CHAT, dict(ASK, response_format={"type": "json_schema", "json_schema": {
        "name": "n", "strict": True, "schema": {"enum": ["85", 85]}}}))["choices"][0]["message"]
    check(m["reasoning"] == free["reasoning"], f"thinking is free: {m['reasoning']!r}")
    check(m["content"] in ('"85"', "85"), f"{m['content']!r}")
    # A budget that ends the thinking early leaves the grammar at its beginning.
    m = s.must(CHAT, dict(ASK, thinking_token_budget=3, guided_choice=["ok", "no"]))["choices"][0]["message"]
    check(m["content"] in ("ok", "no"), f"after a budget: {m}")


def check_composition(s):
    a = s.must(CHAT, dict(QUICK, structured_outputs=OUTPUTS, n=4, temperature=1.5, seed=3, logprobs=True,
                          top_logprobs=3))
    texts = [c["message"]["content"] for c in a["choices"]]
    check(all(is_person(t) for t in texts) and len(set(texts)) > 1, f"n: {texts}")
    for c in a["choices"]:
        entries = c["logprobs"]["content"]
        check(all(e["logprob"] > -1000 for e in entries), "a chosen token was left by the grammar")
        check(abs(entries[0]["logprob"]) < 1e-6 and entries[0]["top_logprobs"][1]["logprob"] == -9999.0,
              f"the mask shows in logprobs: {entries[0]}")
    c = s.must(CHAT, dict(QUICK, guided_regex="[ab]{4}x[ab]{4}", stop=["x"]))["choices"][0]
    check(re.fullmatch("[ab]{4}", c["message"]["content"]) and c["stop_reason"] == "x", f"stop: {c}")
    c = s.must(CHAT, dict(QUICK, guided_regex="[a-z]{40}", max_tokens=5))["choices"][0]
    check(c["finish_reason"] == "length" and re.fullmatch("[a-z]+", c["message"]["content"]), f"cut: {c}")
    c = s.must(CHAT, dict(QUICK, guided_regex="(ab){30}", repetition_penalty=1.9, presence_penalty=2,
                          bad_words=["zz"], logit_bias={"5": -3}))["choices"][0]
    check(c["message"]["content"] == "ab" * 30, f"penalties: {c}")
    # Nothing is left to choose: this request fails, no other.
    status = s.request("POST", CHAT, dict(QUICK, guided_choice=["a"], min_tokens=9))[0]
    check(status in (400, 500), f"a contradiction: {status}")
    check(content(s, guided_choice=["yes"]) == "yes", "the next one is served")


REFUSED = [
    ({"guided_json": {"not": {}}}, "guided_json", "'not'"),
    ({"structured_outputs": {"json": {"type": "array", "uniqueItems": True}}}, "structured_outputs", "'uniqueItems'"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer", "multipleOf": 3}}}},
     "response_format", "'multipleOf'"),
    ({"guided_regex": "(a"}, "guided_regex", "( without )"), ({"guided_regex": 3}, "guided_regex", "a string"),
    ({"guided_grammar": 'root ::= root "a" | "b"'}, "guided_grammar", "'root' is left-recursive"),
    ({"guided_grammar": "root ::= other"}, "guided_grammar", "'other'"),
    ({"guided_choice": []}, "guided_choice", "not empty"),
    ({"structured_outputs": {"structural_tag": {"type": "nosuch"}}}, "structured_outputs", "nosuch"),
]

HOSTILE = [
    {"guided_regex": "(a|b)*a(a|b){40}"}, {"guided_regex": "(((a{1,100}){1,100}){1,100}){1,100}"},
    {"guided_regex": ".{0,50000}" * 3},
    {"guided_json": {"enum": [f"{i * 7919 % 100003}-{i}" for i in range(20000)]}},
    {"guided_json": {"allOf": [{"anyOf": [{"minimum": i}, {"maximum": -i}]} for i in range(30)]}},
    {"guided_json": {"$ref": "#"}}, {"guided_json": {"anyOf": [{"$ref": "#"}, {"items": {"$ref": "#"}}]}},
    {"guided_grammar": 'root ::= "a" root root | "b" root | ""'},
    {"guided_grammar": "root ::= " + "(" * 5000 + '"a"' + ")" * 5000},
    {"guided_grammar": 'root ::= x{9999}\nx ::= y{9999}\ny ::= "a" | "b"'},
]


def check_refused(s):
    for body, param, text in REFUSED:
        status, _, data = s.request("POST", CHAT, dict(ASK, **body))
        error = json.loads(data)["error"]
        check(status == 400 and error["param"] == param and text in error["message"], f"{body}: {error}")


def check_hostile(s):
    healthy = {"prompt": "1 2 3", "max_tokens": 100, "temperature": 0, "ignore_eos": True}
    want = s.must(TEXT, healthy)["choices"][0]["text"]
    got = []
    stop = threading.Event()

    def stream():
        while not stop.is_set():
            got.append("".join(e["choices"][0]["text"] for e in s.stream(TEXT, dict(healthy, stream=True)) if e["choices"]))

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        for body in HOSTILE:
            begin = time.monotonic()
            status, _, data = s.request("POST", TEXT, dict({"prompt": "x", "max_tokens": 8}, **body))
            took = time.monotonic() - begin
            check(status in (200, 400), f"{str(body)[:60]}: {status} {data[:200]}")
            check(took < 60, f"{str(body)[:60]} took {took:.1f} s")
    finally:
        stop.set()
        thread.join()
    check(got and all(g == want for g in got), f"the healthy stream: {len(got)}")


def check_sdk(s):
    try:
        import openai
    except ImportError:
        print("the openai package is not installed: its part is skipped")
        return
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="none")
    r = client.chat.completions.create(model="", messages=QUICK["messages"], temperature=0, extra_body={
        "chat_template_kwargs": {"enable_thinking": False}, "structured_outputs": OUTPUTS})
    check(is_person(r.choices[0].message.content), r.choices[0].message.content)


def check_company(*options):
    """The same answers from a server with few blocks, where sequences push each other out."""
    ask = dict(QUICK, structured_outputs=OUTPUTS, n=8, temperature=1.2, seed=5)
    with Server("--max-model-len", "256") as s:
        want = [c["message"]["content"] for c in s.must(CHAT, ask)["choices"]]
    check(all(map(is_person, want)), f"{want}")
    with Server("--max-model-len", "256", "--num-gpu-blocks-override", "18", *options) as s:
        got = [c["message"]["content"] for c in s.must(CHAT, ask)["choices"]]
        check(got == want, f"{options}: {got} is not {want}")
        check(s.metric("vllm:num_preemptions_total") > 0, "nothing was preempted")


with Server("--max-model-len", "1024") as server:
    check_kinds(server)
    check_thinking(server)
    check_composition(server)
    check_refused(server)
    check_hostile(server)
    check_sdk(server)
    server.wait_idle()
check_company()
check_company("--no-async-scheduling", "--no-enable-prefix-caching")
