"""qwench bench serve: against our server and against one that misbehaves. Every figure is computed
again in Python from the recorded times; no timing is asserted."""

import http.server
import json
import os
import threading

import bench_formulas
from qwserve import Server
from qwtest import QWENCH, Scratch, TINY, check, ok, run

HEADER = ["date", "endpoint_type", "backend", "label", "model_id", "tokenizer_id", "num_prompts",
          "request_rate", "burstiness", "max_concurrency", "duration", "completed", "failed"]


def bench(port, *args, **kwargs):
    return ok("bench", "serve", "--port", port, "--model", TINY, "--served-model-name", "m", *args,
              **kwargs).decode()


def same(got, want, what):
    if isinstance(want, list):
        check(len(got) == len(want), f"{what}: {got} is not {want}")
        for a, b in zip(got, want):
            same(a, b, what)
    elif isinstance(want, float):
        check(abs(got - want) <= 1e-9 * abs(want) + 1e-9, f"{what}: {got} is not {want}")
    else:
        check(got == want, f"{what}: {got} is not {want}")


def figures(server, tmp):
    """Every figure of the file, and the table to the character."""
    text = bench(server.port, "--random-input", 40, "--random-output-len", 6, "--num-prompts", 12,
                 "--request-rate", 60, "--save-result", "--save-detailed", "--result-dir", tmp / "a/b",
                 "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99.9",
                 "--goodput", "ttft:400", "tpot:30", "--metadata", "k=v", "--plot", tmp / "p.svg")
    (path,) = (tmp / "a/b").iterdir()
    check(path.name.startswith("openai-60.0qps-tiny-") and path.suffix == ".json", path.name)
    result = json.loads(path.read_text())
    check(list(result)[:13] == HEADER[:7] + ["k"] + HEADER[7:12], str(list(result)[:13]))
    check(result["num_prompts"] == 12 and result["completed"] == 12, str(result))
    check(result["total_input_tokens"] == 480 and result["total_output_tokens"] == 72, str(result))
    log = bench_formulas.log_of_result(result, (50, 99.9), ("ttft", "tpot", "itl", "e2el"),
                                       {"ttft": 400, "tpot": 30})
    for key, want in bench_formulas.figures(log).items():
        same(result[key], want, key)
    check(text.endswith(bench_formulas.table(log)), text)
    lines = text.split("\n")
    check(lines[0].startswith("Namespace(backend='openai', base_url=None, "), lines[0])
    check(lines[1].startswith("WARNING: vllm bench serve no longer sets temperature==0"), lines[1])
    check(lines[2:8] == ["Starting initial single prompt test run...",
                         "Skipping endpoint ready check.", "Starting main benchmark run...",
                         "Traffic request rate: 60.0", "Burstiness factor: 1.0 (Poisson process)",
                         "Maximum request concurrency: None"], text)
    check((tmp / "p.svg").read_text().count('class="w"') == 12, "12 bars in the picture")


def datasets(server, tmp):
    """Every dataset by completions or chat, with warm-ups, ready check, ramp and a limit."""
    custom = tmp / "custom.jsonl"
    custom.write_text('{"prompt": "What is 1 + 2?", "output_tokens": 3}\n\n'
                      '{"prompt": "Capital of France?", "output_tokens": 5}\n')
    turns = [{"value": "What is the capital of France, please?"}, {"value": "It is Paris, I think."}]
    share = tmp / "share.json"
    share.write_text(json.dumps([{"conversations": turns}, {"conversations": turns[:1]}]))
    poem = tmp / "poem.txt"
    poem.write_text("".join(f"And line {i} of it is fair\n" for i in range(40)))
    chat = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    cases = [
        (["--dataset-name", "custom", "--dataset-path", custom, "--custom-output-len", -1,
          "--num-prompts", 4, "--ignore-eos", "--disable-shuffle", "--temperature", 0,
          "--max-concurrency", 2, "--num-warmups", 2, "--ready-check-timeout-sec", 20], 4, None),
        (["--dataset-name", "sharegpt", "--dataset-path", share, "--num-prompts", 2, *chat], 2, None),
        (["--dataset-name", "sonnet", "--dataset-path", poem, "--num-prompts", 2, "--sonnet-input-len",
          200, "--sonnet-prefix-len", 60, "--sonnet-output-len", 4, "--ignore-eos"], 2, 8),
        (["--dataset-name", "prefix_repetition", "--num-prompts", 5, "--prefix-repetition-num-prefixes",
          2, "--prefix-len", 20, "--input-len", 10, "--output-len", 3, "--ignore-eos"], 4, 12),
        (["--num-prompts", 4, "--input-len", 20, "--output-len", 4, "--random-range-ratio",
          '{"input": 0.5}', "--ramp-up-strategy", "linear", "--ramp-up-start-rps", 20,
          "--ramp-up-end-rps", 40, *chat], 4, 16),
    ]
    for args, n, n_output in cases:
        path = tmp / "result.json"
        text = bench(server.port, *args, "--save-result", "--save-detailed", "--result-filename", path,
                     "--extra-body", '{"seed": 3}')
        result = json.loads(path.read_text())
        check(result["completed"] == n and result["failed"] == 0, text)
        check(n_output in (None, result["total_output_tokens"]), f"{args}: {result}")
    check([e["rps"] for e in result["rps_change_events"]] == list(range(20, 41)), str(result))
    check("Will increase RPS from 20 to 40 RPS" in text, text)
    # Without a model the server is asked; appended results are lines.
    for _ in range(2):
        text = ok("bench", "serve", "--port", server.port, "--tokenizer", TINY, "--num-prompts", 1,
                  "--random-input-len", 5, "--random-output-len", 2, "--append-result",
                  "--result-filename", tmp / "lines.json").decode()
    check(text.startswith("Namespace(") and "First model name: m, " in text, text)
    check(len((tmp / "lines.json").read_text().split("\n")) == 2, "two lines")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the request's number: some well, some not."""
    protocol_version = "HTTP/1.1"
    seen, steps = [], 0

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        Handler.steps += 1
        n = Handler.steps * 10
        self.reply(200, (f"vllm:spec_decode_num_drafts_total {n}.0\n"
                         f"vllm:spec_decode_num_draft_tokens_total {3 * n}.0\n"
                         f"vllm:spec_decode_num_accepted_tokens_total {n}.0\n"
                         "vllm:spec_decode_num_accepted_tokens_per_pos_total{position=\"0\"} "
                         f"{n}.0\n").encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.seen.append((dict(self.headers), body))
        i = int(self.headers["x-request-id"].rsplit("-", 1)[1])
        good = b'data: {"choices": [{"text": "a"}]}\n\ndata: {"choices": [{"text": "b"}]}\n\n'
        if i == 1:
            self.reply(404, b'{"error": {"message": "The model does not exist."}}')
        elif i == 2:
            self.reply(200, b"data: [DONE]\n\n", "text/event-stream")
        elif i == 3:
            self.reply(200, good + b"data: {broken\n\n", "text/event-stream")
        elif i == 4:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(good)
            self.close_connection = True
        elif i == 5:
            self.reply(200, good + b'data: {"error": {"message": "it broke"}}\n\n',
                       "text/event-stream")
        else:
            self.reply(200, good + b"data: [DONE]\n\n", "text/event-stream")


def failures(tmp):
    """Each failure is told, the rest is measured, and what is sent is what vLLM sends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        text = bench(port, "--num-prompts", 7, "--random-input-len", 4, "--random-output-len", 9,
                     "--max-concurrency", 1, "--header", "X-A=b=c", "--temperature", 0.5, "--top-k", 3,
                     "--request-id-prefix", "r-", "--save-result", "--save-detailed",
                     "--result-filename", tmp / "bad.json", "--logprobs", 2,
                     env={"OPENAI_API_KEY": "sk-1"})
        server.shutdown()
    result = json.loads((tmp / "bad.json").read_text())
    check(result["completed"] == 2 and result["failed"] == 5, text)
    wanted = ["", "Not Found: The model does not exist.", "Never received a valid chunk",
              "an event of the answer", "transfer closed", "it broke", ""]
    for error, want in zip(result["errors"], wanted):
        check(want in error and bool(want) == bool(error), f"'{error}' is not '{want}'")
    check(result["output_lens"] == [1, 0, 0, 0, 0, 0, 1], str(result["output_lens"]))  # "ab"
    check("Failed requests during benchmark run detected (capping to 10):\nError 0: Not Found" in text,
          text)
    check("Speculative Decoding" in text and result["spec_decode_num_drafts"] == 10, text)
    check(result["spec_decode_acceptance_length"] == 2.0, str(result))
    headers, body = Handler.seen[0]
    prompt = body.pop("prompt")
    check(isinstance(prompt, str) and prompt, str(prompt))
    check(list(body.items()) == [
        ("model", "m"), ("repetition_penalty", 1.0), ("max_tokens", 9), ("logprobs", 2),
        ("stream", True), ("stream_options", {"include_usage": True}), ("ignore_eos", True),
        ("top_k", 3), ("temperature", 0.5)], str(body))
    check(headers["x-request-id"] == "r-0" and headers["Authorization"] == "Bearer sk-1"
          and headers["X-A"] == "b=c", str(headers))


def pictures(tmp):
    """random-mm sends data URLs of pictures that are PNG files."""
    Handler.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bench(server.server_address[1], "--dataset-name", "random-mm", "--num-prompts", 1,
              "--random-input-len", 4, "--backend", "openai-chat", "--endpoint", "/v1/chat/completions",
              "--random-mm-base-items-per-request", 2, "--random-mm-bucket-config",
              "{(17, 33, 1): 1.0}", "--request-id-prefix", "r-")
        server.shutdown()
    (_, body), = Handler.seen
    (message,) = body["messages"]
    text, *images = message["content"]
    check(message["role"] == "user" and text["type"] == "text" and len(images) == 2, str(message))
    check(list(body)[:3] == ["model", "messages", "max_completion_tokens"], str(list(body)))
    for image in images:
        head, _, data = image["image_url"]["url"].partition(",")
        check(head == "data:image/png;base64", head)
        check_png(data, 33, 17)
    check(images[0] != images[1], "two pictures")


def check_png(data, width, height):
    import base64
    import struct
    import zlib
    png = base64.b64decode(data, validate=True)
    check(png[:8] == b"\x89PNG\r\n\x1a\n", str(png[:8]))
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        name, body = png[at + 4:at + 8], png[at + 8:at + 8 + size]
        (crc,) = struct.unpack_from(">I", png, at + 8 + size)
        check(crc == zlib.crc32(name + body), f"checksum of {name}")
        chunks[name] = body
        at += 12 + size
    check(struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (width, height, 8, 3, 0, 0, 0), "IHDR")
    check(len(chunks[b"PLTE"]) == 768 and b"IEND" in chunks, str(list(chunks)))
    check(len(zlib.decompress(chunks[b"IDAT"])) == (width + 1) * height, "pixels")


def bad_input(tmp):
    wrong = tmp / "wrong.jsonl"
    wrong.write_text('{"prompt": "a"}\n{"promt": "b"}\n')
    broken = tmp / "broken.jsonl"
    broken.write_text('{"prompt": "a"}\n{"prompt": \n')
    custom = ["--dataset-name", "custom", "--disable-shuffle", "--dataset-path"]
    cases = [
        (2, "--goodput: 'tfft' is no metric; choose from ttft, tpot and e2el", ["--goodput", "tfft:5"]),
        (2, "Invalid format found for service level objectives: 'ttft'", ["--goodput", "ttft"]),
        (2, "should be non-negative", ["--goodput=ttft:-1"]),
        (1, "nosuch.jsonl", [*custom, tmp / "nosuch.jsonl"]),
        (2, "needs a file: give --dataset-path", ["--dataset-name", "custom"]),
        (1, "wrong.jsonl', line 2: there is no \"prompt\"", [*custom, wrong]),
        (1, "broken.jsonl', line 2: ", [*custom, broken]),
        (1, "no \"output_tokens\"", [*custom, wrong, "--custom-output-len", -1]),
        (1, "no list of conversations", ["--dataset-name", "sharegpt", "--dataset-path",
                                         TINY / "config.json"]),
        (2, "invalid choice: 'randon'", ["--dataset-name", "randon"]),
        (2, "'hf': not supported", ["--dataset-name", "hf"]),
        (2, "must end in 'chat/completions'", ["--backend", "openai-chat"]),
        (2, "no number above 0", ["--request-rate", "0"]),
        (2, "do not specify --request-rate", ["--ramp-up-strategy", "linear", "--request-rate", "3"]),
        (2, "must be less than end", ["--ramp-up-strategy", "linear", "--ramp-up-start-rps", "3",
                                      "--ramp-up-end-rps", "2"]),
        (2, "--metric-percentiles '99,x'", ["--metric-percentiles", "99,x"]),
        (2, "'tpop' is no metric", ["--percentile-metrics", "ttft,tpop"]),
        (2, "from 0 to below 1", ["--random-range-ratio", "1"]),
        (2, "may give an empty prompt", ["--random-input-len", "0"]),
        (2, "--random-mm-bucket-config", ["--dataset-name", "random-mm", "--random-mm-bucket-config",
                                          "{(1,2): 3}"]),
        (2, "which only chat takes", ["--dataset-name", "random-mm"]),
        (2, "KEY=VALUE", ["--metadata", "novalue"]),
        (1, "the tokenizer (--tokenizer, or else --model)", ["--tokenizer", tmp / "nosuch"]),
    ]
    for code, part, args in cases:
        p = run("bench", "serve", "--model", TINY, "--num-prompts", 2, *args)
        err = p.stderr.decode()
        check(p.returncode == code and part in err, f"{args}: exit {p.returncode}: '{part}': {err}")
        check("Sanitizer" not in err, err)


def unreachable(tmp):
    """Without a model the first question fails; with one, every request does, and vLLM's exit is 0."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_address[1]  # nobody listens there any more
    p = run("bench", "serve", "--port", port)
    check(p.returncode == 1 and b"cannot reach 'http://127.0.0.1:" in p.stderr, p.stderr.decode())
    p = run("bench", "serve", "--port", port, "--model", TINY, "--num-prompts", 2)
    text = p.stdout.decode()
    check(p.returncode == 0 and "Failed requests:                         2" in text, text)
    check(f"Error 1: Failed to connect to 127.0.0.1 port {port}" in text, text)
    check(b"All requests failed." in p.stderr, p.stderr.decode())
    p = run("bench", "serve", "--port", port, "--model", TINY, "--ready-check-timeout-sec", 1)
    check(p.returncode == 1 and b"Initial test run failed" in p.stderr, p.stderr.decode())
    del tmp


def as_vllm(server, tmp):
    """The same program by its other name."""
    os.symlink(os.path.abspath(QWENCH), tmp / "vllm")
    import subprocess
    p = subprocess.run([str(tmp / "vllm"), "bench", "serve", "--model", str(TINY), "--served-model-name",
                        "m", "--port", str(server.port), "--dataset-name", "random", "--random-input",
                        "8", "--random-output-len", "2", "--num-prompts", "2", "--save-result",
                        "--result-dir", "./"], cwd=tmp, capture_output=True, check=False)
    check(p.returncode == 0, p.stderr.decode())
    check(len(list(tmp.glob("openai-infqps-tiny-*.json"))) == 1, str(list(tmp.iterdir())))


def main():
    with Scratch() as tmp:
        bad_input(tmp)
        unreachable(tmp)
        failures(tmp)
        pictures(tmp)
        with Server(TINY, "--served-model-name", "m") as server:
            figures(server, tmp)
            datasets(server, tmp)
            as_vllm(server, tmp)
    print("bench serve sends, measures, prints and writes as vLLM does")


main()
