"""qwench top: against a real server, on a pseudo-terminal, piped, and with nobody there."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

from qwserve import Server
from qwtest import QWENCH, check, fail, run


class Terminal:
    """`qwench top ARGS` on a pseudo-terminal; waits are for text, never for time."""

    def __init__(self, *args, term="xterm", size=(30, 100)):
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.proc = subprocess.Popen([QWENCH, "top", *args], stdin=slave, stdout=slave, stderr=slave,
                                     env=dict(os.environ, TERM=term), start_new_session=True,
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.seen = ""

    def wait(self, pattern, timeout=60):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.fd, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                fail(f"no {pattern!r} in {self.seen[-3000:]!r}")
            self.seen += data.decode(errors="replace")
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def send(self, keys):
        os.write(self.fd, keys.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        """Reads to the end of the terminal, which comes when the last process leaves it."""
        end = time.monotonic() + 60
        while True:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            check(ready, "top does not end")
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has it open
                data = b""
            if not data:
                break
            self.seen += data.decode(errors="replace")
        os.close(self.fd)
        return self.proc.wait(60)


def start_story(s, n=1):
    """A streamed request that goes on until its socket is closed."""
    body = json.dumps({"messages": [{"role": "user", "content": "Tell me a story."}], "stream": True,
                       "ignore_eos": True, "n": n}).encode()
    sock = s.connect()
    sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer K\r\nX-Request-Id: story\r\n"
                 b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    got = b""
    while b"data:" not in got:
        got += sock.recv(65536)
    drain = threading.Thread(target=lambda: [None for _ in iter(lambda: recv(sock), b"")], daemon=True)
    drain.start()
    return sock


def recv(sock):
    try:
        return sock.recv(65536)
    except OSError:
        return b""


def check_requests(s):
    headers = {"Authorization": "Bearer K"}
    check(s.get("/qwench/requests")[0] == 401, "the list needs the key")
    status, data = s.get("/qwench/requests", headers=headers)
    check(status == 200 and json.loads(data)["data"] == [], f"idle: {data}")
    check(s.request("POST", "/qwench/requests", headers=headers)[0] == 405, "POST")
    sock = start_story(s, n=2)
    got = json.loads(s.get("/qwench/requests", headers=headers)[1])
    check(len(got["data"]) == 1, str(got))
    r = got["data"][0]
    check(r["state"] == "decode" and r["choices"] == 2 and "story" in r["id"], str(r))
    check(r["prompt_tokens"] > 5 and r["generated_tokens"] >= 1 and r["age_seconds"] > 0, str(r))
    check(r["kv_blocks"] >= 2 and r["computed_tokens"] <= 16 * r["kv_blocks"] and got["kv_blocks"] > 10, str(got))
    sock.close()
    # Many who ask at once, some of whom leave.
    sockets = [s.connect() for _ in range(20)]
    for c in sockets:
        c.sendall(b"GET /qwench/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer K\r\n\r\n")
    for c in sockets[:10]:
        c.close()
    for c in sockets[10:]:
        check(c.recv(65536).startswith(b"HTTP/1.1 200"), "one of many")
        c.close()
    s.wait_idle()


def check_plain(s, url):
    p = run("top", url, "--api-key", "K", "--interval", "0.1", "--once")
    out = p.stdout.decode()
    check(p.returncode == 0 and not p.stderr, str(p))
    for text in ("running 0, waiting 0", "KV cache", "blocks", "Prefix hits", "First token (TTFT)", "p99", "no requests"):
        check(text in out, f"{text!r} in {out}")
    check("\x1b" not in out, "plain text")
    check("only for its key" in run("top", url, "--interval", "0.1").stdout.decode(), "without the key, piped")
    t = Terminal(url, "--interval", "0.1", term="dumb")
    t.wait("only for its key")
    check(t.end() == 0 and "\x1b" not in t.seen, "a dumb terminal")


def check_terminal(s, url):
    sock = start_story(s)
    t = Terminal(url, "--api-key", "K", "--interval", "0.2")
    t.wait(r"running 1, waiting 0")
    t.wait(r"story")
    t.send("s")
    t.wait("generated")
    t.send("p")
    t.wait(r"\(paused\)")
    t.resize(12, 60)
    os.killpg(t.proc.pid, signal.SIGWINCH)
    t.wait(r"q quit")
    t.send("p")
    sock.close()
    s.wait_idle()
    t.resize(20, 90)  # all of it is drawn anew; otherwise only what differs
    t.wait("no requests")
    t.send("q")
    check(t.end() == 0, f"q ends with 0: {t.seen[-500:]!r}")
    check("\x1b[?1049l" in t.seen or "\x1b[?1l" in t.seen, f"the terminal is restored: {t.seen[-300:]!r}")


def check_nobody():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for args in ((f"127.0.0.1:{port}",), (f"http://127.0.0.1:{port}/", "--once")):
        p = run("top", *args)
        check(p.returncode == 1 and p.stdout == b"" and p.stderr.count(b"\n") == 1 and b"cannot reach" in p.stderr, str(p))
    t = Terminal(f"http://127.0.0.1:{port}")
    t.wait("cannot reach")
    check(t.end() == 1, "a terminal: the same sentence")


with Server("--api-key", "K") as server:
    address = f"http://127.0.0.1:{server.port}"
    check_requests(server)
    check_plain(server, address)
    check_terminal(server, address)
    p = run("top", address + "/nosuch", "--once")
    check(p.returncode == 1 and b"404" in p.stderr, str(p))
with Server("--disable-log-stats") as server:
    out = run("top", f"http://127.0.0.1:{server.port}", "--once", "--interval", "0.1").stdout.decode()
    check("records no metrics" in out and "no requests" in out, out)
check_nobody()
print("a terminal, a dumb one, a pipe, nobody")
