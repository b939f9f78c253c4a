"""serve: the SDKs of OpenAI and Anthropic drive tools, responses and messages. Skipped with a line when
they cannot be fetched."""

import subprocess
import sys

from qwserve import Server
from qwtest import TINY, check, fail
from qwvenv import fetch

PACKAGES = ("openai==1.109.1", "anthropic==0.69.0")
SCRIPT = r"""
import json
import sys
import anthropic
import openai
import pydantic
from typing import Literal
url = sys.argv[1]
ask = "What is the weather in Manila?"
schema = {"type": "object", "properties": {"city": {"type": "string", "description": "The city's name."}},
          "required": ["city"]}
about = "Get the current weather of a city."
client = openai.OpenAI(base_url=url + "/v1", api_key="secret")
tools = [{"type": "function", "function": {"name": "get_weather", "description": about, "parameters": schema}}]
messages = [{"role": "user", "content": ask}]
chat = {"model": "tiny", "temperature": 0, "tools": tools}

# Tools: whole, streamed by the helper, and the result on the way back
a = client.chat.completions.create(messages=messages, **chat)
call = a.choices[0].message.tool_calls[0]
assert a.choices[0].finish_reason == "tool_calls" and json.loads(call.function.arguments) == {"city": "Manila"}
with client.chat.completions.stream(messages=messages, **chat) as stream:
    kinds = [e.type for e in stream]
    final = stream.get_final_completion()
assert "tool_calls.function.arguments.delta" in kinds and "tool_calls.function.arguments.done" in kinds, kinds
got = final.choices[0].message.tool_calls[0]
assert got.function.name == "get_weather" and json.loads(got.function.arguments) == {"city": "Manila"}, got
later = messages + [a.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "20 degrees"}]
assert client.chat.completions.create(messages=later, max_tokens=20, **chat).choices

# Forced choices and the parse helpers: whatever the model would say, it fits.
class Trip(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    where: Literal["Bern", "Oslo"]
    first_class: bool
    meals: list[Literal["lunch", "dinner"]] = pydantic.Field(max_length=2)

class Place(pydantic.BaseModel): # short: white space is free in a format, and the small model likes it
    where: Literal["Bern", "Oslo"]
    first_class: bool

quick = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}, "temperature": 0, "model": "tiny"}
p = client.chat.completions.parse(messages=messages, tools=[openai.pydantic_function_tool(Trip)],
                                  tool_choice="required", parallel_tool_calls=False, **quick)
call = p.choices[0].message.tool_calls[0]
assert isinstance(call.function.parsed_arguments, Trip), call
write = "Write a JSON object."
p = client.beta.chat.completions.parse(messages=[{"role": "user", "content": write}], response_format=Place, **quick)
assert isinstance(p.choices[0].message.parsed, Place), p
named = {"type": "function", "function": {"name": "Trip"}}
with client.chat.completions.stream(messages=messages, tools=[openai.pydantic_function_tool(Trip)],
                                    tool_choice=named, **quick) as stream:
    for e in stream:
        pass
    p = stream.get_final_completion()
assert isinstance(p.choices[0].message.tool_calls[0].function.parsed_arguments, Trip), p

# Responses
p = client.responses.parse(input=write, text_format=Place, **quick)
assert isinstance(p.output_parsed, Place), p
trip = {"type": "function", "name": "Trip", "parameters": Trip.model_json_schema(), "strict": False}
p = client.responses.create(input=ask, tools=[trip], tool_choice={"type": "function", "name": "Trip"}, **quick)
Trip.model_validate_json(p.output[0].arguments)
tool = {"type": "function", "name": "get_weather", "description": about, "parameters": schema, "strict": False}
r = client.responses.create(model="tiny", input="What is 47 + 38?", temperature=0)
assert r.status == "completed" and "47 + 38 = 85" in r.output_text, r
assert [o.type for o in r.output] == ["reasoning", "message"], r.output
with client.responses.stream(model="tiny", input="What is 47 + 38?", temperature=0) as stream:
    kinds = [e.type for e in stream]
    final = stream.get_final_response()
assert final.output_text == r.output_text and kinds[-1] == "response.completed", kinds[-3:]
assert final.usage.total_tokens == r.usage.total_tokens
r = client.responses.create(model="tiny", input=[{"role": "user", "content": ask}], temperature=0, tools=[tool])
call = r.output[-1]
assert call.type == "function_call" and json.loads(call.arguments) == {"city": "Manila"}, r.output
with client.responses.stream(model="tiny", input=ask, temperature=0, tools=[tool]) as stream:
    for e in stream:
        pass
    final = stream.get_final_response().output[-1]
assert final.type == "function_call" and json.loads(final.arguments) == {"city": "Manila"}, final
r = client.responses.create(model="tiny", temperature=0, max_output_tokens=20, tools=[tool], input=[
    {"role": "user", "content": ask}, *[o.model_dump() for o in r.output],
    {"type": "function_call_output", "call_id": call.call_id, "output": "20 degrees"}])
assert r.output
try:
    client.responses.retrieve("resp_1")
    raise AssertionError("found")
except openai.NotFoundError:
    pass

# Messages
client = anthropic.Anthropic(base_url=url, api_key="secret")
base = {"model": "tiny", "max_tokens": 200, "temperature": 0}
m = client.messages.create(messages=[{"role": "user", "content": "What is 47 + 38?"}], system="You add.", **base)
assert m.content[-1].type == "text" and "85" in m.content[-1].text and m.stop_reason == "end_turn", m
with client.messages.stream(messages=[{"role": "user", "content": "What is 47 + 38?"}], system="You add.",
                            **base) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == m.content[-1].text and final.usage.output_tokens == m.usage.output_tokens, final
n = client.messages.count_tokens(model="tiny", messages=[{"role": "user", "content": "What is 47 + 38?"}],
                                 system="You add.")
assert n.input_tokens == m.usage.input_tokens
tool = {"name": "get_weather", "description": about, "input_schema": schema}
m = client.messages.create(messages=messages, tools=[tool], **base)
use = m.content[-1]
assert m.stop_reason == "tool_use" and use.type == "tool_use" and use.input == {"city": "Manila"}, m
with client.messages.stream(messages=messages, tools=[tool], **base) as stream:
    final = stream.get_final_message()
assert final.content[-1].input == {"city": "Manila"} and final.stop_reason == "tool_use", final
trip = {"name": "Trip", "input_schema": Trip.model_json_schema()}
for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "Trip"}):
    m2 = client.messages.create(messages=messages, tools=[trip], tool_choice=choice, thinking={"type": "disabled"},
                                **base)
    assert m2.stop_reason == "tool_use", m2
    Trip.model_validate(m2.content[-1].input)
later = messages + [{"role": "assistant", "content": m.content},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id,
                                                  "content": "20 degrees"}]}]
assert client.messages.create(messages=later, tools=[tool], **dict(base, max_tokens=20)).content
for kind, call in ((anthropic.NotFoundError, lambda: client.messages.create(messages=messages, **dict(base, model="x"))),
                   (anthropic.BadRequestError, lambda: client.messages.create(messages=[], **base)),
                   (anthropic.AuthenticationError,
                    lambda: anthropic.Anthropic(base_url=url, api_key="no").messages.create(messages=messages, **base))):
    try:
        call()
    except kind:
        continue
    raise AssertionError(f"no {kind.__name__}")
print("tools, responses, messages, errors")
"""

python = fetch("anthropic", *PACKAGES)
if not python:
    print(f"skipped: {', '.join(PACKAGES)} could not be fetched")
    sys.exit(0)
with Server(TINY, "--api-key", "secret", "--served-model-name", "tiny", "--enable-auto-tool-choice",
            "--tool-call-parser", "hermes") as server:
    p = subprocess.run([str(python), "-c", SCRIPT, f"http://127.0.0.1:{server.port}"],
                       capture_output=True, timeout=300, check=False)
    if p.returncode != 0:
        fail(p.stderr.decode()[-3000:])
    check(p.stdout, "no word")
    print(f"{', '.join(PACKAGES)}: {p.stdout.decode().strip()}")
