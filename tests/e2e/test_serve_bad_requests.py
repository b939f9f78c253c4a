"""serve: more than 200 wrong requests; each is answered as http-api.md says, and a healthy stream
beside them never notices."""

import json
import socket
import threading

from qwserve import Server
from qwtest import check, fail

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "What is 1 + 1?"}]
BAD, REQUEST = "Bad Request", "BadRequestError"

# Fields for chat: value, type of the error, param (True: the field's name), part of the message
CHAT_FIELDS = [
    ("messages", None, BAD, True, ""), ("messages", 3, BAD, True, "list"),
    ("messages", "hello", BAD, True, "list"), ("messages", [3], BAD, ..., ""),
    ("messages", [{}], BAD, ..., "role"), ("messages", [{"role": 3, "content": "x"}], BAD, ..., ""),
    ("messages", [{"role": "user", "content": 3}], BAD, ..., ""),
    ("messages", [{"role": "user", "content": [{"type": "nosuch"}]}], ..., ..., "nosuch"),
    ("messages", [{"role": "user", "content": [{"type": "image_url",
                                                "image_url": {"url": "data:image/png;base64,AA=="}}]}],
     REQUEST, ..., "At most 0 image"),
    ("messages", [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "x"}}]}],
     REQUEST, ..., "At most 0 audio"),
    ("messages", [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}],
     REQUEST, ..., "At most 0 video"),
    ("model", 3, BAD, True, ""), ("model", ["tiny"], BAD, True, ""),
    ("frequency_penalty", 2.5, ..., True, "[-2"), ("frequency_penalty", "much", BAD, True, ""),
    ("presence_penalty", -2.5, ..., True, "[-2"), ("presence_penalty", [], BAD, True, ""),
    ("logit_bias", 3, BAD, True, ""), ("logit_bias", {"x": 1}, ..., True, ""),
    ("logit_bias", {"999999": 1}, ..., True, "999999"), ("logit_bias", {"3": "x"}, BAD, ..., ""),
    ("logprobs", "maybe", BAD, True, ""), ("logprobs", 3, BAD, True, ""),
    ("max_tokens", 0, ..., True, "at least 1"), ("max_tokens", -5, ..., True, "at least 1"),
    ("max_tokens", 1.5, BAD, True, ""), ("max_tokens", "many", BAD, True, ""),
    ("max_tokens", 10**20, BAD, True, ""), ("max_tokens", {}, BAD, True, ""),
    ("max_completion_tokens", 0, ..., ..., "at least 1"),
    ("max_completion_tokens", [1], BAD, True, ""),
    ("max_completion_tokens", 10**6, ..., ..., "max_model_len"),
    ("n", 0, ..., ..., "at least 1"), ("n", -1, ..., ..., ""), ("n", 20000, ..., ..., "16384"),
    ("n", 1.5, BAD, True, ""), ("n", "two", BAD, True, ""),
    ("response_format", "json", BAD, True, ""), ("response_format", {"type": "nosuch"}, ..., ..., ""),
    ("response_format", {}, ..., ..., ""), ("response_format", {"type": "json_schema"}, ..., ..., ""),
    ("seed", 1.5, BAD, True, ""), ("seed", "x", BAD, True, ""), ("seed", 2**64, BAD, True, ""),
    ("stop", 3, BAD, ..., ""), ("stop", [3], BAD, ..., ""), ("stop", "", ..., ..., "empty"),
    ("stop", ["a", ""], ..., ..., "empty"), ("stop", {}, BAD, ..., ""),
    ("stream", "maybe", BAD, True, ""), ("stream", 3, BAD, True, ""), ("stream", [], BAD, True, ""),
    ("stream_options", {"include_usage": True}, BAD, True, "stream=True"),
    ("stream_options", 3, BAD, True, ""),
    ("temperature", -0.5, ..., True, "must be non-negative, got -0.5"),
    ("temperature", "hot", BAD, True, ""), ("temperature", [], BAD, True, ""),
    ("temperature", {}, BAD, True, ""), ("top_p", 0, ..., True, "(0, 1]"),
    ("top_p", 1.01, ..., True, "(0, 1]"), ("top_p", -1, ..., True, "(0, 1]"),
    ("top_p", "x", BAD, True, ""), ("top_k", -2, ..., ..., "top_k"), ("top_k", 1.5, BAD, True, ""),
    ("top_k", "x", BAD, True, ""), ("min_p", 1.5, ..., ..., "min_p"),
    ("min_p", -0.1, ..., ..., "min_p"), ("min_p", "x", BAD, True, ""),
    ("repetition_penalty", 0, ..., ..., "greater than zero"),
    ("repetition_penalty", -1, ..., ..., "greater than zero"),
    ("repetition_penalty", "x", BAD, True, ""), ("tools", [], BAD, ..., ""), ("tools", 3, BAD, True, ""),
    ("tools", [3], BAD, ..., ""), ("tools", [{"type": "function"}], BAD, ..., ""),
    ("tool_choice", "auto", BAD, ..., ""), ("tool_choice", "nosuch", BAD, ..., ""),
    ("tool_choice", {"type": "function"}, BAD, ..., ""),
    ("reasoning_effort", "enormous", BAD, True, ""), ("reasoning_effort", 3, BAD, True, ""),
    ("thinking_token_budget", -2, ..., True, ""), ("thinking_token_budget", "x", BAD, True, ""),
    ("include_reasoning", "maybe", BAD, True, ""), ("stop_token_ids", 3, BAD, True, ""),
    ("stop_token_ids", ["x"], BAD, ..., ""), ("include_stop_str_in_output", "x", BAD, True, ""),
    ("ignore_eos", "x", BAD, True, ""), ("min_tokens", -1, ..., ..., "min_tokens"),
    ("min_tokens", "x", BAD, True, ""), ("skip_special_tokens", 3, BAD, True, ""),
    ("truncate_prompt_tokens", -2, ..., ..., ""), ("truncate_prompt_tokens", "x", BAD, True, ""),
    ("truncation_side", "middle", BAD, True, ""), ("prompt_logprobs", -2, ..., ..., ""),
    ("prompt_logprobs", "x", BAD, True, ""), ("prompt_logprobs", 1000, ..., ..., ""),
    ("allowed_token_ids", [], ..., True, ""), ("allowed_token_ids", [999999], ..., True, ""),
    ("allowed_token_ids", ["x"], BAD, ..., ""), ("allowed_token_ids", 3, BAD, True, ""),
    ("bad_words", [3], BAD, ..., ""), ("bad_words", "x", BAD, True, ""),
    ("bad_words", [""], ..., ..., "empty"), ("echo", "maybe", BAD, True, ""),
    ("add_generation_prompt", "maybe", BAD, True, ""),
    ("continue_final_message", "maybe", BAD, True, ""), ("documents", 3, BAD, True, ""),
    ("chat_template", "{{ messages }}", ..., ..., "trust"), ("chat_template", 3, BAD, True, ""),
    ("chat_template_kwargs", 3, BAD, True, ""), ("chat_template_kwargs", [1], BAD, True, ""),
    ("structured_outputs", 3, BAD, True, ""), ("structured_outputs", {}, ..., ..., ""),
    ("priority", "x", BAD, True, ""), ("priority", 1.5, BAD, True, ""),
    ("cache_salt", "", ..., True, "non-empty"), ("cache_salt", 3, BAD, True, ""),
    ("return_token_ids", "maybe", BAD, True, ""), ("add_special_tokens", "x", BAD, True, ""),
    ("top_logprobs", 2, ..., True, "logprobs must be set"), ("top_logprobs", "x", BAD, True, ""),
    ("request_id", 3, BAD, True, ""),
]
CHAT_BODIES = [
    ({"logprobs": True, "top_logprobs": 21}, ..., ..., "max allowed: 20"),
    ({"logprobs": True, "top_logprobs": -2}, ..., ..., ""),
    ({"n": 2, "temperature": 0}, ..., ..., "greedy"),
    ({"min_tokens": 10, "max_tokens": 5}, ..., ..., "min_tokens"),
    ({"stream": True, "prompt_logprobs": 1}, ..., ..., "stream"),
    ({"add_generation_prompt": True, "continue_final_message": True}, ..., ..., "continue_final_message"),
    ({"messages": [{"role": "user", "content": "word " * 6000}]}, ..., ..., "maximum context length"),
    ({"tool_choice": "required"}, ..., ..., "tool"),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, ..., ..., ""),
]
TEXT_FIELDS = [
    ("prompt", None, ..., True, "prompt"), ("prompt", 3, BAD, True, ""), ("prompt", {}, BAD, True, ""),
    ("prompt", [], ..., True, "non-empty"), ("prompt", "", ..., ..., ""),
    ("prompt", [[]], ..., ..., ""), ("prompt", [1.5], BAD, True, ""),
    ("prompt", ["a", 3], BAD, True, ""), ("prompt", [[1, "x"]], BAD, True, ""),
    ("prompt", [999999], ..., ..., "999999"), ("prompt", [-1], ..., ..., ""),
    ("prompt", [[999999]], ..., ..., ""), ("prompt", "word " * 6000, ..., ..., "maximum context length"),
    ("prompt", "x" * 3000000, REQUEST, "input_text", "maximum context length"),
    ("prompt", [1] * 5000, ..., ..., "maximum context length"),
    ("suffix", "end", ..., ..., "suffix is not currently supported"), ("max_tokens", 0, ..., True, ""),
    ("max_tokens", "x", BAD, True, ""), ("max_tokens", 5000, ..., ..., ""),
    ("logprobs", 21, ..., True, "20"), ("logprobs", -2, ..., ..., ""), ("logprobs", "x", BAD, True, ""),
    ("echo", "maybe", BAD, True, ""), ("temperature", -1, ..., True, "non-negative"),
    ("top_p", 2, ..., True, "(0, 1]"), ("n", 0, ..., ..., ""), ("stop", [""], ..., ..., "empty"),
    ("stream_options", {"include_usage": True}, BAD, True, "stream=True"),
    ("logit_bias", {"999999": 3}, ..., True, ""), ("seed", "x", BAD, True, ""),
    ("presence_penalty", 3, ..., True, ""), ("min_p", 2, ..., ..., ""),
    ("stream", "maybe", BAD, True, ""), ("truncate_prompt_tokens", -2, ..., ..., ""),
    ("prompt_logprobs", 999, ..., ..., ""), ("allowed_token_ids", [], ..., True, ""),
]
RAW_BODIES = [b"", b"{", b"[]", b"3", b'"x"', b"null", b"{'messages': []}", b'{"messages": [}',
              b'{"messages": NaN}', b"\xff\xfe{}", b'{"a": "\xff"}', b'{"a": "\\ud800"}',
              b"[" * 100000, b'{"a":' * 50000, b'{"messages": [{"role": "user", "content": "x"}]',
              b'{"messages": [{"role": "user", "content": "x"}]} trailing', b"\0" * 100,
              b'{"messages": 1, "messages": 2}']
TOKENIZE = [{}, {"prompt": 3}, {"prompt": None}, {"messages": 3}, {"prompt": ["x"]}, {"model": "other", "prompt": "x"}]
DETOKENIZE = [{}, {"tokens": 3}, {"tokens": ["x"]}, {"tokens": [1.5]}, {"tokens": [10**19]}, {"tokens": None}]
n_cases = 0


def check_error(case, status, data, want_status, kind=..., param=..., text=""):
    global n_cases
    n_cases += 1
    try:
        body = json.loads(data)
        error = body["error"]
    except (ValueError, KeyError, TypeError):
        fail(f"{case}: {status}, no error object: {data[:300]!r}")
    check(list(error) == ["message", "type", "param", "code"], f"{case}: keys {list(error)}")
    check(status == want_status and error["code"] == status, f"{case}: status {status}: {error}")
    check(kind is ... or error["type"] == kind, f"{case}: type {error}")
    check(param is ... or error["param"] == param, f"{case}: param {error}")
    check(text in error["message"], f"{case}: message {error}")
    check(isinstance(error["message"], str) and len(error["message"]) > 5, f"{case}: {error}")


def check_json(s):
    for path, base, fields in ((CHAT, {"messages": USER, "max_tokens": 5}, CHAT_FIELDS),
                               (TEXT, {"prompt": "1 + 1", "max_tokens": 5}, TEXT_FIELDS)):
        for field, value, kind, param, text in fields:
            body = dict(base, **{field: value})
            status, _, data = s.request("POST", path, body)
            want = 501 if status == 501 and field in ("response_format",) else 400
            # What fails the schema names the field in its message, and `param` only where vLLM does.
            param = ... if kind == BAD else field if param is True else param
            check_error(f"{path} {field}={str(value)[:60]}", status, data, want, kind, param, text)
    for extra, kind, param, text in CHAT_BODIES:
        status, _, data = s.request("POST", CHAT, dict({"messages": USER}, **extra))
        check_error(f"{CHAT} {str(extra)[:60]}", status, data, 400, kind, param, text)
    for path in (CHAT, TEXT):
        for raw in RAW_BODIES:
            status, _, data = s.request("POST", path, raw, {"Content-Type": "application/json"})
            check_error(f"{path} {raw[:40]!r}", status, data, 400, BAD)
        for kind in ("text/plain", "application/xml", "", "application/jsonx"):
            status, _, data = s.request("POST", path, b'{"prompt": "x"}', {"Content-Type": kind})
            check_error(f"{path} of type {kind!r}", status, data, 400, BAD, None, "Unsupported Media Type")
        for name in ("other", "TINY", "tiny ", "tiny/x", "x" * 5000, "模型"):
            body = {"model": name, "messages": USER, "prompt": "x"}
            status, _, data = s.request("POST", path, body)
            check_error(f"{path} model {name[:20]}", status, data, 404, "NotFoundError", "model",
                        "does not exist")
    for path, bodies in (("/tokenize", TOKENIZE), ("/detokenize", DETOKENIZE)):
        for body in bodies:
            status, _, data = s.request("POST", path, body)
            check_error(f"{path} {body}", status, data, 404 if body.get("model") else 400)


def answer_to(s, data, half_close=False):
    """What comes back for these bytes, until the server closes or has answered once."""
    with s.connect(timeout=60) as c:
        c.sendall(data)
        if half_close:
            c.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            try:
                part = c.recv(65536)
            except ConnectionResetError:
                return got
            if not part:
                return got
            got += part
            head, _, rest = got.partition(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:") and len(rest) >= int(line.split(b":")[1]):
                    return got


def check_raw(s):
    global n_cases
    body = json.dumps({"prompt": "x", "max_tokens": 1}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for path, method, want in (("/v1/nosuch", "GET", 404), ("/", "PUT", 405), ("/V1/models", "GET", 404),
                               ("/v1/models/../x", "GET", 404), ("/v1/embeddings", "POST", 404),
                               ("/score", "POST", 404), ("/pooling", "POST", 404),
                               ("/v1/completions", "PUT", 405), ("/v1/completions", "DELETE", 405),
                               ("/health", "POST", 405), ("/metrics", "POST", 405),
                               ("/tokenize", "GET", 405), ("/v1/models", "POST", 405)):
        status, _, data = s.request(method, path)
        detail = {404: "Not Found", 405: "Method Not Allowed"}[want]
        check(status == want, f"{method} {path}: {status}")
        check(json.loads(data) == {"detail": detail} or path.startswith("/v1/models/"), f"{path}: {data}")
        n_cases += 1
    # Bytes that are no HTTP, or not all of it: a 4xx or a closed connection, never silence.
    for data, half in ((b"nonsense\r\n\r\n", False), (b"\r\n\r\n", True), (b"\0" * 1000, True),
                       (b"GET / HTTP/9.9\r\n\r\n", False), (b"GET\r\n\r\n", False),
                       (b"POST /v1/completions HTTP/1.1\r\n", True), (head, True),
                       (head + b"Content-Length: 1000\r\n\r\n" + body, True),
                       (head + b"Content-Length: -5\r\n\r\n", False),
                       (head + b"Content-Length: many\r\n\r\n", False),
                       (head + b"Content-Length: 99999999999999999999999\r\n\r\n", False),
                       (head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", False),
                       (head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", True),
                       (b"GET /" + b"x" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", False),
                       (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 300000 + b"\r\n\r\n", False),
                       (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 50000 + b"\r\n", False)):
        got = answer_to(s, data, half)
        status = got[9:12]
        check(not got or got.startswith(b"HTTP/1."), f"{data[:40]!r}: {got[:100]!r}")
        check(not got or status[:1] in (b"4", b"5"), f"{data[:40]!r}: {got[:100]!r}")
        n_cases += 1
    # Two requests in one go, the first of them wrong.
    bad = head + b"Content-Length: 2\r\n\r\n{]"
    with s.connect() as c:
        c.sendall(bad + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while part := c.recv(65536):
            got += part
    check(b" 400 " in got.split(b"\r\n")[0] and b"HTTP/1.1 200" in got, f"pipelined: {got!r}")
    n_cases += 1


class Healthy(threading.Thread):
    """Streams the same greedy answer over and over while the others misbehave."""

    def __init__(self, server):
        super().__init__()
        self.server, self.stopping, self.answers = server, threading.Event(), []

    def run(self):
        body = {"messages": USER, "temperature": 0, "max_tokens": 60}
        while not self.stopping.is_set() or len(self.answers) < 2:
            events = self.server.stream(CHAT, body)
            deltas = [c["delta"] for e in events for c in e["choices"]]
            self.answers.append("".join((d.get("reasoning") or "") + (d.get("content") or "") for d in deltas))


with Server() as server:
    healthy = Healthy(server)
    healthy.start()
    check_json(server)
    check_raw(server)
    healthy.stopping.set()
    healthy.join()
    check(len(healthy.answers) > 1 and len(set(healthy.answers)) == 1 and healthy.answers[0],
          f"the healthy stream: {len(healthy.answers)} answers, {len(set(healthy.answers))} different")
    server.wait_idle()
check(n_cases >= 200, f"only {n_cases} cases")
print(f"{n_cases} wrong requests; {len(healthy.answers)} healthy streams beside them, all equal")
