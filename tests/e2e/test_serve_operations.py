"""serve as a service: it ends as told, fails at start with one clear sentence, says what it does,
tells when it is ready, and notices that its engine hangs."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from qwserve import Server
from qwtest import QWENCH, Scratch, check, fail

LONG = {"prompt": "Once upon a time", "max_tokens": 800, "ignore_eos": True, "temperature": 0,
        "stream": True}


class Stream:
    """A streamed completion, read in a thread of its own."""

    def __init__(self, server, body):
        data = json.dumps(body).encode()
        self.socket = server.connect()
        self.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                            % (len(data), data))
        self.bytes, self.begun = b"", threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        check(self.begun.wait(60), "a stream begins")

    def _read(self):
        try:
            while part := self.socket.recv(65536):
                self.bytes += part
                if b"data: {" in self.bytes:
                    self.begun.set()
                if b"data: [DONE]" in self.bytes:
                    break
        except ConnectionError:
            pass
        self.begun.set()

    def end(self):
        """True if it came to its end."""
        self.thread.join(120)
        self.socket.close()
        return b"data: [DONE]\n\n" in self.bytes


def wait_for(condition, what, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < end, f"{timeout} s later: not {what}")
        time.sleep(0.02)


def refuses(server):
    try:
        server.connect(timeout=5).close()
        return False
    except OSError:
        return True


def check_drain():
    with Server("--max-model-len", "2048", "--shutdown-timeout", "200") as s:
        stream = Stream(s, dict(LONG, stream_options={"include_usage": True}))
        check(not refuses(s), "connections before the signal")
        s.proc.send_signal(signal.SIGTERM)
        wait_for(lambda: refuses(s), "refusing connections")
        check(stream.end(), "a stream that runs at SIGTERM comes to its end")
        # Tokens that come while the last ones are written share an event: the events say nothing.
        check(b'"completion_tokens":800' in stream.bytes, "all of its tokens")
        check(s.proc.wait(60) == 0, "exit 0 after the drain")
        s.reader.join()
        log = s.log()
        check("Shutting down on Terminated" in log and "Waiting up to 200 s for 1 requests to end" in log,
              f"what it says: {log}")


def check_at_once():
    with Server("--max-model-len", "4096") as s:  # the second signal
        stream = Stream(s, dict(LONG, max_tokens=4000))
        s.proc.send_signal(signal.SIGINT)
        wait_for(lambda: "Waiting up to" in s.log(), "draining")
        s.proc.send_signal(signal.SIGTERM)
        check(s.proc.wait(60) == 0, "exit 0 after the second signal")
        check(not stream.end(), "the second signal cuts the stream")
    with Server("--max-model-len", "4096", "--shutdown-timeout", "0") as s:
        stream = Stream(s, dict(LONG, max_tokens=4000))
        s.proc.send_signal(signal.SIGTERM)
        check(s.proc.wait(60) == 0, "exit 0 with --shutdown-timeout 0")
        check(not stream.end(), "--shutdown-timeout 0 cuts the stream")
    with Server("--max-model-len", "4096", "--shutdown-timeout", "0.5") as s:
        # Requests that would take longer than the time: cut at its end.
        streams = [Stream(s, dict(LONG, max_tokens=4000, n=8, temperature=1)) for _ in range(3)]
        s.proc.send_signal(signal.SIGTERM)
        check(s.proc.wait(60) == 0, "exit 0 at the end of --shutdown-timeout")
        check(not any(x.end() for x in streams), "the time is over before the streams")
        s.reader.join()
        check("Ending 3 requests that still run" in s.log(), f"what it says: {s.log()}")


def last_line(*args, code=1, env=None):
    p = subprocess.run([QWENCH, "serve", *map(str, args)], capture_output=True, timeout=120, check=False,
                       env=dict(os.environ, VLLM_LOGGING_COLOR="0", **(env or {})))
    check(p.returncode == code, f"{args}: exit {p.returncode}: {p.stderr}")
    check(p.stdout == b"", f"{args}: stdout {p.stdout}")
    return p.stderr.decode().rstrip("\n").split("\n")[-1], p.stderr.decode()


def check_failed_start(tmp):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line, log = last_line("--port", port)
        check(re.fullmatch(r"qwench serve: error: .*%d.*in use.*" % port, line), f"port in use: {line!r}")
        check("Loading weights" not in log and "init engine" not in log, "nothing was loaded")
    line, _ = last_line("/nosuch/model", "--port", 0)
    check("/nosuch/model" in line and "error: " in line, f"no such model: {line!r}")
    (tmp / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]')
    line, _ = last_line(tmp, "--port", 0)
    check("config.json" in line, f"a broken config.json: {line!r}")
    line, _ = last_line("--max-num-seqz", 4, "--port", 0, code=2)
    check("--max-num-seqz" in line and "--max-num-seqs" in line, f"unknown option: {line!r}")
    line, _ = last_line("--max-num-seqs", "many", "--port", 0, code=2)
    check("max-num-seqs" in line and "many" in line, f"a wrong value: {line!r}")
    line, _ = last_line("--max-model-len", 10**9, "--port", 0, code=2)
    check("--max-model-len" in line, f"a context that does not fit: {line!r}")
    line, _ = last_line("--ssl-keyfile", tmp / "key", "--ssl-certfile", tmp / "cert", "--port", 0)
    check(str(tmp) in line, f"no such certificate: {line!r}")
    line, _ = last_line("--uds", tmp / "no" / "dir", "--port", 0)
    check(str(tmp / "no" / "dir") in line, f"no such directory: {line!r}")
    line, _ = last_line("--reasoning-parser", "nosuch", "--port", 0, code=2)
    check("nosuch" in line and "qwen3" in line, f"unknown parser: {line!r}")


STATS = re.compile(
    r"\(APIServer pid=\d+\) INFO \d\d-\d\d \d\d:\d\d:\d\d \[[a-z_]+\.c:\d+\] Engine 000: Avg prompt "
    r"throughput: \d+\.\d tokens/s, Avg generation throughput: (\d+\.\d) tokens/s, Running: \d+ reqs, "
    r"Waiting: \d+ reqs, GPU KV cache usage: \d+\.\d%, Prefix cache hit rate: (\d+\.\d)%")


def stats_lines(s):
    return [line for line in list(s.lines) if "Engine 000" in line]


def check_stats():
    """Each interval with work has a line, the first idle one too, then there is silence."""
    with Server("--disable-log-requests", "--max-num-seqs", "4",
                env={"VLLM_LOG_STATS_INTERVAL": "0.3"}) as s:
        for _ in range(2):
            s.must("/v1/completions", dict(LONG, stream=False, max_tokens=200,
                                           prompt=[7 * i % 3000 for i in range(100)]))
        # A starved interval may say 0.0 as well, but something runs then.
        wait_for(lambda: stats_lines(s) and re.search(r"generation throughput: 0\.0 .* Running: 0 reqs",
                                                      stats_lines(s)[-1]), "an idle line")
        n = len(stats_lines(s))
        time.sleep(1)
        lines = stats_lines(s)
        check(len(lines) == n, f"lines while nothing happens: {lines}")
        for line in lines:
            check(STATS.fullmatch(line), f"the line: {line!r}")
        check(any(float(STATS.fullmatch(x).group(1)) > 0 for x in lines), f"tokens per second: {lines}")
        check(any(float(STATS.fullmatch(x).group(2)) > 0 for x in lines), f"hit rate: {lines}")
    with Server("--disable-log-stats", env={"VLLM_LOG_STATS_INTERVAL": "0.1"}) as s:
        s.must("/v1/completions", dict(LONG, stream=False, max_tokens=100))
        time.sleep(0.5)
        check(not stats_lines(s), "no lines with --disable-log-stats")
        check(s.get("/metrics")[0] == 200, "/metrics with --disable-log-stats")


def check_json_log():
    with Server("--log-json", "--port", "0", port=None, env={"VLLM_LOG_STATS_INTERVAL": "0.2"}) as s:
        url = next(json.loads(x)["message"] for x in s.lines if "Starting vLLM server" in x)
        s.port = int(url.rsplit(":", 1)[1])
        s.must("/v1/completions", {"prompt": "x\"\\\n\x01é", "max_tokens": 50})
        with s.connect() as c:  # what a client may put into the log
            c.sendall(b'GET /no"\\%22%0a\xff\xc3\xa9\x1b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            check(c.recv(100).startswith(b"HTTP/1.1 404 "), "an odd path")
        wait_for(lambda: stats_lines(s), "a line of statistics")
    check(any("/no" in x for x in s.lines), "the odd path is logged")
    for line in s.lines:
        try:
            entry = json.loads(line)
        except ValueError:
            fail(f"not JSON: {line!r}")
        check({"timestamp", "level", "process", "pid", "message"} <= set(entry), f"keys: {entry}")
    messages = [json.loads(x)["message"] for x in s.lines]
    check("Application startup complete." in messages, "the ready line")
    check(any('"POST /v1/completions HTTP/1.1" 200 OK' in m for m in messages), "access lines")


def check_notify(tmp):
    path = str(tmp / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(path)
        inbox.settimeout(60)
        s = Server(env={"NOTIFY_SOCKET": path})
        check(inbox.recv(100) == b"READY=1", "a datagram when ready")
        s.wait_ready()
        check(s.get("/health")[0] == 200, "ready is ready")
        check(s.stop() == 0, "exit 0")
        check(inbox.recv(100) == b"STOPPING=1", "a datagram at the end")
    # Nobody there: nothing happens.
    with Server(env={"NOTIFY_SOCKET": str(tmp / "nobody")}) as s:
        check(s.get("/health")[0] == 200, "a notify socket that is not there")


# A tracer stops one thread of the server; the rest of it goes on.
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


def thread_named(pid, name):
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as f:
            if f.read().strip() == name:
                return int(tid)
    return fail(f"no thread {name}")


def check_watchdog():
    with Server(env={"QWENCH_TEST_STALL_SECONDS": "1"}) as s:
        want = s.must("/v1/completions", dict(LONG, stream=False, max_tokens=20))["choices"]
        time.sleep(2.5)
        check(s.get("/health")[0] == 200, "idle is healthy")
        engine = thread_named(s.proc.pid, "qw-engine")
        if LIBC.ptrace(PTRACE_ATTACH, engine, None, None) != 0:
            return f"no watchdog test: no thread can be stopped here ({os.strerror(ctypes.get_errno())})"
        os.waitpid(engine, WALL)
        answer = []
        asker = threading.Thread(target=lambda: answer.append(
            s.must("/v1/completions", dict(LONG, stream=False, max_tokens=20))))
        asker.start()
        try:
            wait_for(lambda: s.get("/health")[0] == 503, "unhealthy")
            check(s.get("/ping")[0] == 503, "ping too")
            check(s.get("/metrics")[0] == 200, "metrics are still told")
            wait_for(lambda: any("No step for" in x for x in list(s.lines)), "the diagnostic")
            lines = [x for x in list(s.lines) if "No step for" in x]
            check(len(lines) == 1 and re.search(
                r"WARNING .*No step for \d+ s while 1 requests wait: running \d+, waiting \d+, KV blocks "
                r"\d+ of \d+ in use, \d+ connections, \d+ exchanges", lines[0]), f"the diagnostic: {lines}")
        finally:
            LIBC.ptrace(PTRACE_DETACH, engine, None, None)
        asker.join(60)
        check(answer and answer[0]["choices"] == want, "the request is answered as if nothing had been")
        wait_for(lambda: s.get("/health")[0] == 200, "healthy again")
        wait_for(lambda: any("Steps run again" in x for x in list(s.lines)), "saying so")
    return "watchdog"


with Scratch() as scratch:
    check_drain()
    check_at_once()
    check_failed_start(scratch)
    check_stats()
    check_json_log()
    with tempfile.TemporaryDirectory() as short:  # a socket's path may have 107 bytes
        from pathlib import Path
        check_notify(Path(short))
    print("signals, failed starts, statistics, JSON log, notification,", check_watchdog())
