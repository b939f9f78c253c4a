"""A server for an end-to-end test: the real binary on a free port, and small clients for it.

The client writes to the socket itself where a test needs bytes that no library would send.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from qwtest import QWENCH, fail

READY = "Application startup complete."


class Server:
    """`qwench serve ARGS` until the end of the with block. `stderr` collects what it says."""

    def __init__(self, *args, env=None, program=None, command=("serve",), port=0, check_exit=True):
        full_env = dict(os.environ, VLLM_LOGGING_COLOR="0")
        full_env.setdefault("XDG_CACHE_HOME", os.path.join(os.environ.get("QW_TEST_TMP", "/tmp"), "cache"))
        full_env.update(env or {})
        argv = [program or QWENCH, *command, *map(str, args)]
        if port is not None:
            argv += ["--port", str(port)]
        self.argv, self.check_exit = argv, check_exit
        self.lines, self.url, self.port = [], None, None
        self.ready = threading.Event()
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, env=full_env)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.proc.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            m = re.search(r"Starting vLLM server on ((\S+?)(?::(\d+))?)$", line)
            if m:
                self.url, self.port = m.group(1), m.group(3) and int(m.group(3))
            if READY in line:
                self.ready.set()
        self.ready.set()

    def wait_ready(self, timeout=120):
        if not self.ready.wait(timeout) or READY not in self.log():
            fail(f"{self.argv}: not ready:\n" + self.log())
        return self

    def log(self):
        return "\n".join(self.lines)

    def __enter__(self):
        return self.wait_ready()

    def __exit__(self, kind, *_):
        code = self.stop()
        if kind is None and self.check_exit and code != 0:
            fail(f"{self.argv}: exit {code} at the end:\n" + self.log())

    def stop(self, sig=signal.SIGTERM, timeout=120):
        """The exit status after a signal."""
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            code = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            fail(f"{self.argv}: still there {timeout} s after signal {sig}:\n" + self.log())
        self.reader.join()
        return code

    # Clients

    def connect(self, timeout=120):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(self, method, path, body=None, headers=None, timeout=300):
        """(status, headers, body as bytes); a body that is no bytes is sent as JSON."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        c.request(method, path, body, headers)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.headers, data

    def get(self, path, **kwargs):
        status, _, data = self.request("GET", path, **kwargs)
        return status, data

    def post(self, path, body, **kwargs):
        """(status, parsed body)."""
        status, _, data = self.request("POST", path, body, **kwargs)
        return status, json.loads(data)

    def must(self, path, body, **kwargs):
        """The parsed body of an answer that must be a 200."""
        status, data = self.post(path, body, **kwargs)
        if status != 200:
            fail(f"{path} {body}: {status} {data}")
        return data

    def stream(self, path, body, headers=None):
        """The parsed events of a stream, without the last [DONE], which must be there."""
        body = dict(body, stream=True)
        status, got, data = self.request("POST", path, body, headers=headers)
        if status != 200:
            fail(f"{path} {body}: {status} {data}")
        if not got["Content-Type"].startswith("text/event-stream"):
            fail(f"{path}: a stream of type {got['Content-Type']}")
        events = data.decode().split("\n\n")
        if events[-2:] != ["data: [DONE]", ""]:
            fail(f"{path}: the stream ends with {events[-3:]}")
        for e in events[:-1]:
            if not e.startswith("data: "):
                fail(f"{path}: an event {e!r}")
        return [json.loads(e[6:]) for e in events[:-2]]

    def metrics(self):
        """{series name with labels: value} of /metrics."""
        status, data = self.get("/metrics")
        if status != 200:
            fail(f"/metrics: {status}")
        out = {}
        for line in data.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out

    def metric(self, name):
        """Sum over the label sets of a series."""
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name)

    def wait_idle(self, timeout=60):
        """Until no request runs or waits; then no block may be in use."""
        end = time.monotonic() + timeout
        while True:
            busy = self.metric("vllm:num_requests_running") + self.metric("vllm:num_requests_waiting")
            used = self.metric("vllm:kv_cache_usage_perc")
            if busy == 0 and used == 0:
                return
            if time.monotonic() > end:
                fail(f"{timeout} s later: {busy} requests, {used} of the KV cache in use\n" + self.log())
