"""The built-in model against the reference implementation: arithmetic, conversations, perplexity.

  eval_arith     250 sums in both thinking modes and both dtypes: score and texts
  greedy_chats   120 conversations (tools, several turns): prompt ids and greedy ids
  perplexity     150 texts: negative log-likelihood
"""

import json

from qwtest import DATA, check, generate_file, json_lines

CHAT = DATA / "tiny-chat"


def answer_of(text):
    return text.split("</think>")[-1].strip()


def check_arithmetic():
    questions = json_lines(CHAT / "eval_arith.jsonl")
    expected = json.loads((CHAT / "eval_arith_expected.json").read_text())
    for dtype in ("float32", "bfloat16"):
        for mode in ("thinking", "no_thinking"):
            want = expected[f"{dtype}/{mode}"]
            answers = generate_file(
                [{"messages": [{"role": "user", "content": q["question"]}], "max_tokens": 96,
                  "temperature": 0, "chat_template_kwargs": {"enable_thinking": mode == "thinking"}}
                 for q in questions], "--dtype", dtype)
            right = sum(answer_of(a["text"]) == q["full"] for a, q in zip(answers, questions))
            print(f"eval_arith {dtype}/{mode}: {right} of {len(questions)} right,"
                  f" reference {want['correct']}")
            if dtype == "float32":
                for a, text, margin in zip(answers, want["texts"], want["smallest_margin"]):
                    check(a["text"] == text or margin < 1e-3, f"text differs: {a['text']!r} {text!r}")
                close = sum(m < 1e-3 for m in want["smallest_margin"])
                check(abs(right - want["correct"]) <= close, "score differs in float32")
            elif mode == "thinking":
                check(right == want["correct"], "score differs in bfloat16 with thinking")
            else:
                check(abs(right - want["correct"]) <= 6, "score differs in bfloat16 without thinking")


def check_conversations():
    chats = json_lines(CHAT / "greedy_chats.jsonl")
    requests = []
    for c in chats:
        r = {"messages": c["messages"], "max_tokens": len(c["greedy_ids"]), "temperature": 0,
             "skip_special_tokens": False, "include_stop_str_in_output": True,
             "chat_template_kwargs": {"enable_thinking": c["enable_thinking"]}}
        if c["tools"]:
            r["tools"] = c["tools"]
        requests.append(r)
    answers = generate_file(requests, "--dtype", "float32")
    for c, a in zip(chats, answers):
        check(a["prompt_token_ids"] == c["prompt_ids"], f"prompt ids differ: {c['messages']}")
        check(a["token_ids"] == c["greedy_ids"], f"greedy ids differ: {c['messages']}")
        check(a["text"] == c["text"], f"text differs: {a['text']!r} {c['text']!r}")
    print(f"greedy_chats: {len(chats)} conversations equal")


def check_perplexity():
    texts = json_lines(CHAT / "perplexity.jsonl")
    requests = [{"prompt": t["text"], "max_tokens": 1, "prompt_logprobs": 0} for t in texts]
    worst = 0.0
    for t, a in zip(texts, generate_file(requests, "--dtype", "float32")):
        ids = a["prompt_token_ids"]
        check(len(ids) == t["tokens"], "token count differs")
        nll = -sum(p[str(i)]["logprob"] for i, p in zip(ids[1:], a["prompt_logprobs"][1:]))
        worst = max(worst, abs(nll - t["nll"]))
    check(worst <= 1e-3, f"negative log-likelihood differs by {worst}")
    print(f"perplexity: {len(texts)} texts within {worst:.2g}")


check_arithmetic()
check_conversations()
check_perplexity()
