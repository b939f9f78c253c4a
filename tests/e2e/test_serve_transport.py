"""serve on the wire: Unix socket, TLS, keys, CORS, a path behind a proxy, request ids, keep-alive,
pipelining, load, and the prefix cache's reset."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from qwserve import Server
from qwtest import check

TEXT = {"prompt": "47 + 38 =", "temperature": 0, "max_tokens": 8}
CHAT = {"messages": [{"role": "user", "content": "What is 1 + 1?"}], "max_tokens": 4}
LONG = dict(TEXT, max_tokens=1000, ignore_eos=True, stream=True)


class Client(http.client.HTTPConnection):
    """HTTP over a socket that is there already."""

    def __init__(self, sock):
        super().__init__("x", timeout=60)
        self.sock = sock

    def ask(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        self.request(method, path, None if body is None else json.dumps(body), headers)
        r = self.getresponse()
        return r.status, r.headers, r.read()


def check_unix_socket(tmp):
    path = str(tmp / "http")
    with Server("--uds", path, port=None) as s:
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(path)
            status, _, data = Client(c).ask("POST", "/v1/completions", TEXT)
            check(status == 200 and json.loads(data)["choices"], f"through the socket: {data}")
            status, _, data = Client(c).ask("GET", "/health")
            check(status == 200, "keep-alive on a Unix socket")
        check(path in s.log(), f"the socket is told: {s.log()}")
    check(not Path(path).exists(), "the socket's file is gone after the server")
    # A file that a killed server left behind is no obstacle.
    s = Server("--uds", path, port=None).wait_ready()
    s.proc.kill()
    s.proc.wait()
    check(Path(path).exists(), "a killed server leaves its socket")
    with Server("--uds", path, port=None):
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(path)
            check(Client(c).ask("GET", "/health")[0] == 200, "on the socket of a killed server")


def check_tls(tmp):
    if not shutil.which("openssl"):
        return "no TLS test: no openssl command"
    key, cert = str(tmp / "key.pem"), str(tmp / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    with Server("--ssl-keyfile", key, "--ssl-certfile", cert, "--api-key", "k") as s:
        check("https://" in s.log(), f"the URL says https: {s.log()}")
        context = ssl.create_default_context(cafile=cert)
        auth = {"Authorization": "Bearer k"}
        with context.wrap_socket(s.connect(), server_hostname="localhost") as c:
            client = Client(c)
            status, _, whole = client.ask("POST", "/v1/completions", TEXT, auth)
            check(status == 200, f"over TLS: {status} {whole}")
            status, _, data = client.ask("POST", "/v1/completions", dict(TEXT, stream=True), auth)
            texts = [json.loads(e[6:])["choices"][0]["text"] for e in data.decode().split("\n\n")[:-2]]
            check("".join(texts) == json.loads(whole)["choices"][0]["text"], f"a stream over TLS: {data}")
            check(client.ask("POST", "/v1/completions", TEXT)[0] == 401, "a key is needed here too")
        with s.connect() as c:
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            check(b"200 OK" not in c.recv(100), "plain text is not answered")
        with context.wrap_socket(s.connect(), server_hostname="localhost") as c:
            check(Client(c).ask("GET", "/health")[0] == 200, "TLS goes on afterwards")
    return "TLS"


def check_keys():
    def ask(s, path, key, method="POST"):
        headers = {} if key is None else {"Authorization": key}
        status, _, data = s.request(method, path, TEXT if method == "POST" else None, headers)
        return status, data

    unauthorized = (401, b'{"error":"Unauthorized"}')
    with Server("--api-key", "first", "second key", env={"VLLM_API_KEY": "ignored"}) as s:
        for good in ("Bearer first", "bearer first", "BEARER second key"):
            check(ask(s, "/v1/completions", good)[0] == 200, f"key {good}")
        for bad in (None, "", "Bearer", "Bearer ", "Bearer firs", "Bearer firstt", "first", "Basic first",
                    "Bearer ignored", "Bearer second", "Bearer First"):
            check(ask(s, "/v1/completions", bad) == unauthorized, f"key {bad}")
        check(ask(s, "/v1/models", None, "GET") == unauthorized, "models need a key")
        check(ask(s, "/v1/nosuch", None, "GET") == unauthorized, "what /v1 has is not told either")
        for path in ("/health", "/ping", "/metrics", "/version", "/load"):
            check(ask(s, path, None, "GET")[0] == 200, f"{path} is open")
        check(ask(s, "/tokenize", None)[0] == 200, "/tokenize is open")
        check("first" not in s.log() and "second key" not in s.log(), f"keys stay secret: {s.log()}")
    with Server(env={"VLLM_API_KEY": "from env"}) as s:
        check(ask(s, "/v1/completions", "Bearer from env")[0] == 200, "VLLM_API_KEY")
        check(ask(s, "/v1/completions", None) == unauthorized, "without the key of VLLM_API_KEY")


ALLOW = "Access-Control-Allow-Origin"


def check_cors(s):
    origin = {"Origin": "http://a.example"}
    for method, path, body, status in (("GET", "/health", None, 200), ("GET", "/nosuch", None, 404),
                                       ("GET", "/v1/completions", None, 405),
                                       ("POST", "/v1/completions", {"prompt": 3}, 400),
                                       ("POST", "/v1/completions", dict(TEXT, model="other"), 404),
                                       ("POST", "/v1/completions", dict(TEXT, stream=True), 200),
                                       ("POST", "/v1/chat/completions", CHAT, 200)):
        got, headers, data = s.request(method, path, body, origin)
        check(got == status and headers[ALLOW] == "*", f"{method} {path}: {got} {headers} {data}")
    check(s.request("GET", "/health")[1][ALLOW] is None, "no Origin, no CORS header")
    ask = dict(origin, **{"Access-Control-Request-Method": "POST",
                          "Access-Control-Request-Headers": "authorization,content-type"})
    status, headers, data = s.request("OPTIONS", "/v1/chat/completions", None, ask)
    check((status, data) == (200, b"OK") and headers[ALLOW] == "*" and
          headers["Access-Control-Max-Age"] == "600" and "POST" in headers["Access-Control-Allow-Methods"]
          and "authorization" in headers["Access-Control-Allow-Headers"], f"preflight: {status} {headers}")


def check_cors_lists():
    with Server("--allowed-origins", '["http://good.example"]', "--allowed-methods", '["POST"]',
                "--allow-credentials", "--api-key", "k") as s:
        good, bad = {"Origin": "http://good.example"}, {"Origin": "http://bad.example"}
        status, headers, _ = s.request("POST", "/v1/completions", TEXT, good)
        check(status == 401 and headers[ALLOW] == "http://good.example" and
              headers["Access-Control-Allow-Credentials"] == "true", f"401 with CORS: {status} {headers}")
        check(s.request("GET", "/health", None, bad)[1][ALLOW] is None, "another origin is not allowed")
        method = {"Access-Control-Request-Method": "POST"}
        check(s.request("OPTIONS", "/v1/completions", None, dict(good, **method))[0] == 200,
              "a preflight needs no key")
        status, _, data = s.request("OPTIONS", "/v1/completions", None, dict(bad, **method))
        check((status, data) == (400, b"Disallowed CORS origin"), f"a bad origin: {status} {data}")
        method = {"Access-Control-Request-Method": "PUT"}
        status, _, data = s.request("OPTIONS", "/v1/completions", None, dict(good, **method))
        check((status, data) == (400, b"Disallowed CORS method"), f"a bad method: {status} {data}")


def check_ids(s):
    _, headers, data = s.request("POST", "/v1/completions", TEXT, {"X-Request-Id": "bench-12-7"})
    check(json.loads(data)["id"].startswith("cmpl-bench-12-7"), f"the id: {data}")
    check(headers["X-Request-Id"] == "bench-12-7", f"told in a header: {headers}")
    _, headers, data = s.request("POST", "/v1/chat/completions", CHAT, {"x-request-id": "a/b c"})
    check(json.loads(data)["id"] == "chatcmpl-a/b c", f"the id: {data}")
    _, headers, data = s.request("POST", "/v1/chat/completions", dict(CHAT, request_id="from-body"))
    check(json.loads(data)["id"] == "chatcmpl-from-body", f"the id: {data}")
    check(len(headers["X-Request-Id"]) == 32, f"a random one in the header: {headers}")
    a, b = (s.must("/v1/chat/completions", CHAT)["id"] for _ in range(2))
    check(a != b and len(a) == len("chatcmpl-") + 32, f"random ids: {a} {b}")
    check(len(s.request("GET", "/nosuch")[1]["X-Request-Id"]) == 32, "an error has an id too")


def check_root_path(s):
    for path in ("/health", "/proxy/health"):
        check(s.get(path)[0] == 200, path)
    check(s.get("/proxyhealth")[0] == 404 and s.get("/other/health")[0] == 404, "other prefixes")
    check(s.must("/proxy/v1/completions", TEXT)["choices"] ==
          s.must("/v1/completions", TEXT)["choices"], "with and without the prefix")


def check_connection(s):
    """Many requests on a connection, one after the other and all at once."""
    with s.connect() as c:
        client = Client(c)
        for i in range(20):
            body = dict(TEXT, stream=i % 3 == 1) if i % 4 else {"prompt": 3}
            status, headers, _ = client.ask("POST", "/v1/completions", body)
            check(status == (200 if i % 4 else 400) and headers["Connection"] is None, f"request {i}")
    want = s.must("/v1/completions", TEXT)["choices"]
    data = json.dumps(TEXT).encode()
    post = (b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
    with s.connect() as c:
        c.sendall(post * 5 + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" +
                  b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        f = c.makefile("rb")
        for i in range(7):
            check(f.readline() == b"HTTP/1.1 200 OK\r\n", f"pipelined reply {i}")
            headers = http.client.parse_headers(f)
            body = f.read(int(headers["Content-Length"]))
            if i < 5:
                check(json.loads(body)["choices"] == want, f"pipelined reply {i}: {body}")
        check(f.read() == b"", "closed when asked")
    with s.connect() as c:  # HTTP/1.0: no chunks
        body = json.dumps(dict(TEXT, stream=True)).encode()
        c.sendall(b"POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        head, _, events = c.makefile("rb").read().partition(b"\r\n\r\n")
        check(b"chunked" not in head and events.startswith(b"data: {") and
              events.endswith(b"data: [DONE]\n\n"), f"HTTP/1.0: {head} {events}")
    with s.connect() as c:  # a body that is sent when it was asked for
        c.sendall(post[:-len(data)].replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        f = c.makefile("rb")
        check(f.readline() == b"HTTP/1.1 100 Continue\r\n" and f.readline() == b"\r\n", "100 Continue")
        c.sendall(data)
        check(f.readline() == b"HTTP/1.1 200 OK\r\n", "the answer after 100 Continue")


def check_load(s):
    def load():
        return json.loads(s.get("/load")[1])["server_load"]

    check(load() == 0, "no load")
    threads = [threading.Thread(target=s.stream, args=("/v1/completions", LONG)) for _ in range(3)]
    for t in threads:
        t.start()
    seen = set()
    while any(t.is_alive() for t in threads):
        seen.add(load())
        time.sleep(0.01)
    check(3 in seen, f"three requests: {seen}")
    s.wait_idle()
    check(load() == 0, "no load afterwards")


def check_prefix_cache(s):
    def cached(body):
        usage = s.must("/v1/completions", body)["usage"]
        return (usage["prompt_tokens_details"] or {}).get("cached_tokens", 0)

    body = dict(TEXT, prompt=[i * 7 % 3000 for i in range(200)])
    first, second = cached(body), cached(body)
    check(first == 0 and second >= 160, f"cached: {first}, {second}")
    check(cached(dict(body, cache_salt="mine")) == 0, "another salt shares nothing")
    check(cached(dict(body, cache_salt="mine")) == second, "the same salt does")
    status, _, data = s.request("POST", "/reset_prefix_cache", b"")
    check(status == 200, f"reset: {status} {data}")
    check(cached(body) == 0 and cached(dict(body, cache_salt="mine")) == 0, "nothing after the reset")


with tempfile.TemporaryDirectory() as short:  # a socket's path may have 107 bytes
    tmp_dir = Path(short)
    check_unix_socket(tmp_dir)
    tls = check_tls(tmp_dir)
check_keys()
with Server("--enable-request-id-headers", "--root-path", "/proxy/", "--enable-server-load-tracking",
            "--enable-prompt-tokens-details") as server:
    for step in (check_cors, check_ids, check_root_path, check_connection, check_load,
                 check_prefix_cache):
        step(server)
check_cors_lists()
print(f"Unix socket, {tls}, keys, CORS, ids, connections, load, prefix cache")
