"""One sequence, computed in other ways: the logits must be equal to the bit (architecture.md 2.1)."""

import json

from qwtest import Scratch, check, json_lines, ok, run, TINY

PROMPT = [(i * 37 + i * i * 11) % 3800 for i in range(150)]
WAYS = [
    ("chunk 1", ["--max-num-batched-tokens", 1]),
    ("chunk 7", ["--max-num-batched-tokens", 7]),
    ("chunk 64", ["--max-num-batched-tokens", 64]),
    ("block size 128", ["--block-size", 128]),
    ("1 thread", ["--cpu-threads", 1]),
    ("2 threads, chunk 64, block size 128",
     ["--cpu-threads", 2, "--max-num-batched-tokens", 64, "--block-size", 128]),
]


def levels():
    """The instruction set levels of this machine, found by asking for each."""
    names = ("ref", "avx2", "avx512", "avx512bf16")
    return [n for n in names if run("generate", "--prompt-ids", "1", "--max-tokens", 1,
                                    "--cpu-isa", n).returncode == 0]


def dump(tmp, *args):
    path = tmp / "logits.safetensors"
    ok("generate", TINY, "--prompt-ids", ",".join(map(str, PROMPT)), "--max-tokens", 20,
       "--ignore-eos", "--temperature", 0, "--dump-logits", path, *args)
    return path.read_bytes()


def check_company(dtype):
    """Alone and among seven others: ids and all log-probabilities."""
    mine = {"prompt_token_ids": PROMPT, "max_tokens": 20, "ignore_eos": True, "temperature": 1,
            "seed": 5, "logprobs": 3, "prompt_logprobs": 1}
    others = [{"prompt_token_ids": PROMPT[i * 13:i * 13 + 5 + 9 * i], "max_tokens": 5 + 4 * i,
               "seed": i, "logprobs": 1} for i in range(7)]
    outs = []
    for requests in ([mine], [*others[:4], mine, *others[4:]]):
        text = "".join(json.dumps(r) + "\n" for r in requests).encode()
        lines = json_lines(ok("generate", "-f", "-", "--json", "--dtype", dtype, stdin=text))
        outs.append(lines[requests.index(mine)])
    check(outs[0] == outs[1], f"{dtype}: alone and among seven others differ")


def main():
    with Scratch() as tmp:
        for dtype in ("float32", "bfloat16"):
            base = dump(tmp, "--dtype", dtype)
            ways = WAYS + [(f"level {n}", ["--cpu-isa", n]) for n in levels()]
            for name, args in ways:
                check(dump(tmp, "--dtype", dtype, *args) == base, f"{dtype}, {name}: bits differ")
            check_company(dtype)
            print(f"{dtype}: {len(ways)} ways and company, {len(base)} bytes of logits equal")


main()
