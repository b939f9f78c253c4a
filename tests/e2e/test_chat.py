"""qwench chat through a pseudo-terminal, a dumb terminal and a pipe."""

import json
import os
import pty
import select
import signal
import subprocess
import time

from qwtest import QWENCH, Scratch, check, fail, run

PROMPT = "> "


class Terminal:
    """The program on a pseudo-terminal; waits are for text, never for time."""

    def __init__(self, tmp, term="xterm", args=()):
        master, slave = pty.openpty()
        env = dict(os.environ, TERM=term, XDG_CACHE_HOME=str(tmp))
        self.proc = subprocess.Popen([QWENCH, "chat", "--temperature", "0", *args], stdin=slave,
                                     stdout=slave, stderr=slave, env=env, start_new_session=True,
                                     preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))
        os.close(slave)
        self.fd = master
        self.seen = ""
        self.log = ""

    def wait(self, text, timeout=120):
        """Everything up to and including `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                fail(f"waited for {text!r}, saw {self.seen[-500:]!r} after {self.log[-800:]!r}")
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            if not data:
                fail(f"the program ended while waiting for {text!r}: {self.seen[-500:]!r}")
            self.seen += data.decode(errors="replace")
            self.log += data.decode(errors="replace")
        at = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def send(self, text):
        os.write(self.fd, text.encode())

    def ask(self, line, until="tokens/s"):
        self.send(line + "\n")
        answer = self.wait(until)
        answer += self.wait(PROMPT)
        return answer

    def command(self, line, until):
        self.send(line + "\n")
        answer = self.wait(until)
        self.wait(PROMPT)
        return answer

    def end(self):
        self.send("\x04")
        while True:  # what it still says, then the end of the terminal
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                break
            if not data:
                break
            self.log += data.decode(errors="replace")
        code = self.proc.wait(timeout=60)
        os.close(self.fd)
        return code


def check_terminal(tmp):
    t = Terminal(tmp)
    t.wait(PROMPT)
    answer = t.ask("What is 47 + 38?")
    check("47 + 38 = 85" in answer, f"answer: {answer!r}")
    check("\x1b[2m" in answer and "Ones:" in answer, "the thinking is dimmed")
    t.command("/think off", "thinking is off")
    check("Ones:" not in t.ask("What is 21 + 30?"), "no thinking")
    t.command("/think on", "thinking is on")
    t.command("/fold on", "folded")
    answer = t.ask("What is 12 + 13?")
    check("Ones:" not in answer and "(thinking ...)" in answer, f"folded: {answer!r}")
    t.command("/unfold", "Ones:")
    t.command("/fold off", "shown")
    t.command("/set temperature 0.2", "temperature = 0.2")
    t.command("/set temperatur 0.2", "did you mean 'temperature'?")
    t.command("/set temperature cold", "temperature")
    t.command("/set temperature -1", "non-negative")
    t.command("/set temperature 0", "temperature = 0")
    t.command("/hlep", "did you mean /help")
    t.command("/help", "/system")
    t.command("/think maybe", "on or off")
    saved = tmp / "saved.json"
    t.command(f"/save {saved}", "saved 6 messages")
    messages = json.loads(saved.read_text())["messages"]
    check([m["role"] for m in messages] == ["user", "assistant"] * 3, "saved roles")
    check(messages[0]["content"] == "What is 47 + 38?", "saved question")
    check(messages[1]["content"] == "47 + 38 = 85", "saved answer")
    check("Ones:" in messages[1]["reasoning_content"], "saved thinking")
    t.command("/reset", "a new conversation")
    t.command(f"/load {saved}", "loaded 6 messages")
    t.command(f"/load {tmp}/nosuch.json", "cannot open")
    (tmp / "bad.json").write_text('{"messages": [{"role": 3}]}')
    t.command(f"/load {tmp}/bad.json", "messages[0]")
    t.command("/reset", "a new conversation")
    t.send("/system You are brief.\n")
    t.wait(PROMPT)
    t.command("/reset", "with the system message")

    # Other alphabets, with a backspace that takes a whole character.
    t.send("/system 你好，世界\x7f界 é\n")
    t.wait(PROMPT)
    t.command(f"/save {saved}", "saved")
    messages = json.loads(saved.read_text())["messages"]
    check(messages[0]["content"] == "你好，世界 é", f"typed UTF-8: {messages[0]}")
    t.send("/system You are brief.\n")
    t.wait(PROMPT)

    # Several lines: joined by a backslash, or between triple quotes.
    t.send("What is \\\n")
    t.wait("... ")
    check("tokens/s" in t.ask("11 + 12?"), "a continued line")
    t.send('"""\n')
    t.wait("... ")
    t.send("one\n")
    t.wait("... ")
    t.ask('two"""')
    t.command(f"/save {saved}", "saved")
    messages = json.loads(saved.read_text())["messages"]
    check(messages[0] == {"role": "system", "content": "You are brief."}, "the system message")
    check(messages[1]["content"] == "What is \n11 + 12?", f"joined: {messages[1]}")
    check(messages[3]["content"] == "one\ntwo", f"block: {messages[3]}")

    # History: up and return runs the last input again.
    t.send("\x1b[A\n")
    t.wait("saved 5 messages")
    t.wait(PROMPT)

    # Ctrl-C drops a line, and stops an answer, but not the program; nor does a signal from outside.
    t.send("half a line\x03")
    t.wait("^C")
    t.wait(PROMPT)
    os.killpg(t.proc.pid, signal.SIGINT)
    t.wait("^C")
    t.wait(PROMPT)
    t.command("/set ignore_eos true", "ignore_eos")
    t.send("Tell me a story.\n")
    t.wait("story.\r\n")  # the echo: from here on Ctrl-C means the answer, begun or not
    os.killpg(t.proc.pid, signal.SIGINT)
    t.wait("stopped")
    t.wait(PROMPT)
    t.command("/set ignore_eos false", "ignore_eos")
    check("tokens/s" in t.ask("What is 5 + 5?"), "alive after Ctrl-C")
    check(t.end() == 0, f"Ctrl-D ends with 0: {t.log[-3000:]}")


def check_dumb(tmp):
    t = Terminal(tmp, term="dumb")
    t.wait(PROMPT)
    answer = t.ask("What is 47 + 38?")
    check("47 + 38 = 85" in answer and "\x1b" not in answer, f"dumb terminal: {answer!r}")
    check(t.end() == 0, f"Ctrl-D ends with 0: {t.log[-3000:]}")


def check_pipe():
    p = run("chat", "--temperature", "0", stdin=b"What is 47 + 38?\n/reset\n/think off\nWhat is 21 + 30?")
    out = p.stdout.decode()
    check(p.returncode == 0, p.stderr.decode())
    check("47 + 38 = 85" in out and "21 + 30 = 51" in out, f"pipe: {out!r}")
    check("\x1b" not in out and "tokens/s" not in out, "speed and styles stay out of a pipe")
    check(p.stderr.decode().count("tokens/s") == 2, "speed on stderr")
    check("> " not in out, "no prompt in a pipe")
    p = run("chat", stdin=b"/nosuch\n")
    check(p.returncode == 2 and b"/nosuch" in p.stderr, "a failed script says so")


with Scratch() as scratch:
    check_terminal(scratch)
    check_dumb(scratch)
    check_pipe()
print("a terminal, a dumb terminal and a pipe")
