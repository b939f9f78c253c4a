"""serve: the openai Python SDK drives it. Skipped with a line when the SDK cannot be fetched."""

import subprocess
import sys

from qwserve import Server
from qwtest import check, fail
from qwvenv import fetch

PACKAGE = "openai==1.109.1"
SCRIPT = r'''
import sys
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="secret")
messages = [{"role": "user", "content": "What is 47 + 38?"}]

models = client.models.list()
name = models.data[0].id
assert client.models.retrieve(name).id == name

a = client.chat.completions.create(model=name, messages=messages, temperature=0, logprobs=True,
                                   top_logprobs=2)
m = a.choices[0].message
assert "47 + 38 = 85" in m.content and "Ones:" in m.reasoning, m
assert a.choices[0].finish_reason == "stop" and a.usage.total_tokens > 0
tokens = a.choices[0].logprobs.content
assert all(len(t.top_logprobs) == 2 and t.logprob <= 0 for t in tokens), tokens[:2]

content = reasoning = ""
usage = None
for chunk in client.chat.completions.create(model=name, messages=messages, temperature=0, stream=True,
                                            stream_options={"include_usage": True}):
    for c in chunk.choices:
        content += c.delta.content or ""
        reasoning += getattr(c.delta, "reasoning", None) or ""
    usage = chunk.usage or usage
assert content == m.content and reasoning == m.reasoning, (content, reasoning)
assert usage.completion_tokens == a.usage.completion_tokens

off = client.chat.completions.create(model=name, messages=messages, temperature=0,
                                     extra_body={"chat_template_kwargs": {"enable_thinking": False}})
assert off.choices[0].message.content and off.choices[0].message.reasoning is None

c = client.completions.create(model=name, prompt=["47 + 38 =", "1 + 1 ="], max_tokens=8, temperature=0,
                              logprobs=1)
assert [x.index for x in c.choices] == [0, 1] and c.choices[0].logprobs.tokens
parts = list(client.completions.create(model=name, prompt="47 + 38 =", max_tokens=8, temperature=0,
                                       stream=True))
assert "".join(x.text for p in parts for x in p.choices) == c.choices[0].text

for kind, call in (
    (openai.NotFoundError, lambda: client.chat.completions.create(model="other", messages=messages)),
    (openai.BadRequestError,
     lambda: client.chat.completions.create(model=name, messages=messages, temperature=-1)),
    (openai.AuthenticationError,
     lambda: openai.OpenAI(base_url=sys.argv[1], api_key="wrong").models.list()),
):
    try:
        call()
    except kind as e:
        assert e.status_code == {"NotFoundError": 404, "BadRequestError": 400,
                                 "AuthenticationError": 401}[kind.__name__]
    else:
        raise AssertionError(f"no {kind.__name__}")
print("chat, streaming, logprobs, completions, models, errors")
'''


python = fetch("openai", PACKAGE)
if not python:
    print(f"skipped: {PACKAGE} could not be fetched")
    sys.exit(0)
with Server("--api-key", "secret") as server:
    p = subprocess.run([str(python), "-c", SCRIPT, f"http://127.0.0.1:{server.port}/v1"],
                       capture_output=True, timeout=300, check=False)
    if p.returncode != 0:
        fail(p.stderr.decode()[-3000:])
    check(p.stdout, "no word")
    print(f"{PACKAGE}: {p.stdout.decode().strip()}")
