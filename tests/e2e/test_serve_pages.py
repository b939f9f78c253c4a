"""Every serve command of the two reference pages starts and answers the page's curl request.

data/reference-commands.txt has them word for word. Each runs in bash as it stands there, through
the `vllm` link. Replaced: model paths, placeholders, ports, media URLs. All other changes are in
CHANGES; later work empties it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path

from qwserve import Server
from qwtest import QWENCH, SOURCE, TINY, Scratch, check, fail

# (what is changed, pattern, replacement, why)
CHANGES = [
    ("draft", r"""--speculative-config '\{[^']*\}'""", "", "no EAGLE3 draft can be loaded yet"),
    ("omni model", None, None, "the Omni commands run on the dense checkpoint: no Omni model yet"),
    ("media", None, None, "the Omni curl is sent without its image, audio and video parts"),
    ("answer length", None, None, "command 03 allows 4,096 tokens for prompt and answer, and its "
     "page's curl asks for an answer of 4,096: vLLM 0.22 refuses that with a 400, and so do we; "
     "there it asks for 4,000"),
    ("bench", r"\n\n\nvllm bench serve .*", "", "`vllm bench serve` comes with the issue on bench"),
]


def blocks():
    text = (SOURCE / "tests/e2e/data/reference-commands.txt").read_text()
    for m in re.finditer(r"^#### (\S+) \| (\w+) \|[^\n]*\n(.*?)(?=^#### |\Z)", text, re.M | re.S):
        yield m.group(1), m.group(2), m.group(3)


def checkpoint(tmp, scheme=None):
    """The built-in model, perhaps quantized, with the context that the commands ask for."""
    model = tmp / f"model-{scheme}"
    if scheme:
        subprocess.run([sys.executable, SOURCE / "scripts/golden/make_ascend.py", "tiny", scheme,
                        TINY, model], check=True, timeout=300)
    else:
        shutil.copytree(TINY, model)
    config = json.loads((model / "config.json").read_text())
    config["max_position_embeddings"] = 40960
    (model / "config.json").write_text(json.dumps(config))
    return model


def script_of(text, model):
    for _, pattern, replacement, _ in CHANGES:
        if pattern:
            text = re.sub(pattern, replacement, text)
    text = re.sub(r"(\\\n *)+(\\\n|\n|\Z)", r"\2", text)  # a line that a change emptied
    text = text.replace("your_model_path", str(model)).replace("<host_ip>", "127.0.0.1")
    text = re.sub(r"^export MODEL=.*$", f"export MODEL={model}", text, flags=re.M)
    text = re.sub(r"--port (<port>|\d+)", "--port 0", text)
    if "--port" not in text:
        text = text.rstrip() + " --port 0\n"
    # The signal at the end is for the server, not for bash.
    text, n = re.subn(r"^(vllm serve|python3 -m)", r"exec \1", text, flags=re.M)
    check(n == 1, f"one command: {text}")
    check("your_" not in text and "<" not in text, f"a placeholder is left: {text}")
    return text


def curl_of(text, server, script):
    """The page's curl command, against this server."""
    body = json.loads(re.search(r"-d '(.*)'", text, re.S).group(1))
    if "--max-model-len 4096" in script:
        body["max_completion_tokens"] = 4000
    for message in body["messages"]:
        if isinstance(message["content"], list):
            message["content"] = [p for p in message["content"] if p["type"] == "text"]
            body["max_tokens"] = 200  # the small model knows no end to this question
    text = re.sub(r"-d '.*'", lambda _: "-d '" + json.dumps(body) + "'", text, flags=re.S)
    text = re.sub(r"http://localhost:(<port>|\d+)", f"http://localhost:{server.port}", text)
    return text.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)


with Scratch() as tmp:
    bin_dir = tmp / "bin"
    bin_dir.mkdir()
    (bin_dir / "vllm").symlink_to(Path(QWENCH).resolve())
    plain = checkpoint(tmp)
    quantized = cycle([checkpoint(tmp, scheme) for scheme in ("w8a8", "w4a8", "w4a4")])
    env = {"PATH": f"{bin_dir}:{os.environ['PATH']}", "QWENCH": QWENCH,
           "PYTHONPATH": str(SOURCE / "share/python")}
    curl = {page: text for name, page, text in blocks() if name.endswith("-curl")}
    n = 0
    for name, page, text in blocks():
        if not re.fullmatch(r"\d+-(serve|api_server)", name):
            continue
        model = next(quantized) if "--quantization ascend" in text else plain
        script = script_of(text, model)
        with Server(script, env=env, program="bash", command=("-c",), port=None) as server:
            lines = [re.sub(r"^\(APIServer pid=\d+\) ", "", line) for line in server.lines]
            pid = server.proc.pid
            at = lines.index(f"INFO:     Started server process [{pid}]")
            check(lines[at + 1:at + 3] == ["INFO:     Waiting for application startup.",
                                           "INFO:     Application startup complete."],
                  f"{name}: {lines[at:at + 3]}")
            request = curl_of(curl[page], server, script)
            if name.endswith("api_server"):  # no --served-model-name: the client names the path
                request = request.replace("qwen3-omni", str(model))
            p = subprocess.run(["bash", "-c", request], capture_output=True, env=dict(os.environ),
                               timeout=300, check=False)
            body, status = p.stdout.decode().rsplit("\n", 1)
            if p.returncode != 0 or status != "200":
                fail(f"{name}: curl exit {p.returncode}, status {status}: {body} {p.stderr}")
            answer = json.loads(body)
            message = answer["choices"][0]["message"]
            check(answer["object"] == "chat.completion" and
                  (message["content"] or message["reasoning"]), f"{name}: {answer}")
        n += 1
        print(f"{name}: started and answered")
    check(n == 11, f"{n} commands")
print(f"{n} commands; changed in them: {', '.join(c[0] for c in CHANGES)}")
