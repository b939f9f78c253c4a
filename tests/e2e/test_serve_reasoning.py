"""serve: what is thought and what is answered, and all the ways to steer or hide the first."""

from qwserve import Server
from qwtest import check

PATH = "/v1/chat/completions"
ASK = {"messages": [{"role": "user", "content": "What is 47 + 38?"}], "temperature": 0}


def message(s, **fields):
    """(reasoning, content, usage) of a whole answer; a stream must put together the same."""
    a = s.must(PATH, dict(ASK, **fields))
    m = a["choices"][0]["message"]
    check(m.get("reasoning") == m.get("reasoning_content"), f"both keys: {m}")
    deltas = [e["choices"][0]["delta"] for e in s.stream(PATH, dict(ASK, **fields))]
    for d in deltas:
        check(d.get("reasoning") == d.get("reasoning_content"), f"both keys in a delta: {d}")
    thought = "".join(d.get("reasoning") or "" for d in deltas)
    text = "".join(d.get("content") or "" for d in deltas)
    check(thought == (m.get("reasoning") or "") and text == (m["content"] or ""),
          f"{fields}: streamed {thought!r} {text!r}, whole {m}")
    return m.get("reasoning"), m["content"], a["usage"]["completion_tokens"]


def check_default(s):
    thought, text, n = message(s)
    check("Ones:" in thought and "<think>" not in thought and "</think>" not in thought, thought)
    check("47 + 38 = 85" in text and "</think>" not in text, text)
    hidden, text2, n2 = message(s, include_reasoning=False)
    check(not hidden and text2 == text and n2 == n, f"include_reasoning: {hidden!r} {text2!r}")
    for fields in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}):
        quick, plain, n_quick = message(s, **fields)
        check(not quick and plain and "</think>" not in plain and n_quick < n, f"{fields}: {quick!r} {plain!r}")
    # The template's variable is asked before the effort.
    for effort in ("low", "high"):
        check(message(s, reasoning_effort=effort)[0] == thought, f"effort {effort}")
    quick = message(s, reasoning_effort="high", chat_template_kwargs={"enable_thinking": False})[0]
    check(not quick, "enable_thinking wins over reasoning_effort")
    # Cut while thinking: no content at all, and it is told why.
    a = s.must(PATH, dict(ASK, max_tokens=8))["choices"][0]
    check(a["finish_reason"] == "length" and a["message"]["content"] is None and
          thought.startswith(a["message"]["reasoning"]), f"cut: {a}")
    # An earlier turn's thoughts, under either name, and its tags do not confuse the answer.
    for key in ("reasoning", "reasoning_content"):
        turns = [{"role": "user", "content": "What is 1 + 1?"},
                 {"role": "assistant", "content": "2</think>", key: "one and one"}, *ASK["messages"]]
        later = message(s, messages=turns)
        check(later[0] and later[1], f"with history: {later}")


def check_budget(s):
    full, text, _ = message(s)
    n_full = len(s.must("/tokenize", {"prompt": full})["tokens"])
    for budget in (0, 1, 5, 10):
        thought, answer, n = message(s, thinking_token_budget=budget, max_tokens=60)
        n_thought = len(s.must("/tokenize", {"prompt": thought})["tokens"]) if thought else 0
        check(n_thought <= budget + 1, f"budget {budget}: {n_thought} tokens of thought: {thought!r}")
        # Cut short, the small model may go on thinking aloud; that is its answer then.
        check(answer, f"budget {budget}: {thought!r} {answer!r}")
    for budget in (n_full + 20, -1):
        check(message(s, thinking_token_budget=budget)[:2] == (full, text), f"budget {budget} is enough")
    # With several choices each has its own.
    a = s.must(PATH, dict(ASK, thinking_token_budget=5, n=3, temperature=0.7, seed=1, max_tokens=40))
    for c in a["choices"]:
        check(len(s.must("/tokenize", {"prompt": c["message"]["reasoning"] or "x"})["tokens"]) <= 6, f"{c}")


def check_none():
    with Server("--reasoning-parser", "none") as s:
        m = s.must(PATH, ASK)["choices"][0]["message"]
        check("<think>" in m["content"] or "</think>" in m["content"], f"all stays in content: {m}")
        check(not m.get("reasoning"), f"no reasoning: {m}")
        events = s.stream(PATH, ASK)
        text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events)
        check(text == m["content"], f"streamed: {text!r}")
        status, error = s.post(PATH, dict(ASK, thinking_token_budget=5))
        check(status == 400 and error["error"]["param"] in ("thinking_token_budget", None),
              f"a budget needs a parser: {status} {error}")
    with Server("--default-chat-template-kwargs", '{"enable_thinking": false}') as s:
        check(not message(s)[0], "the server's default")
        check(message(s, chat_template_kwargs={"enable_thinking": True})[0], "the request wins")


with Server() as server:
    check_default(server)
    check_budget(server)
    server.wait_idle()
check_none()
with Server("--reasoning-parser", "qwen3") as server:
    check("85" in message(server)[1], "the parser by its name")
print("reasoning: parsed, hidden, switched off, with a budget")
