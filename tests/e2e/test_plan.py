"""qwench plan: numbers that follow from config.json, the kept measurement, refusals."""

import json
import time

from qwtest import SOURCE, TINY, Scratch, check, ok, run


def plan(cache, *args):
    return json.loads(ok("plan", TINY, "--json", "--pack-cache", cache, *args))


def check_numbers(cache):
    config = json.loads((TINY / "config.json").read_text())
    p = plan(cache, "--length", "100", "--streams", "8", "--kv-cache-memory-bytes", "16M")
    per_token = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
    check(p["kv_bytes_per_token"] == per_token, p)
    check(p["n_blocks"] == (1 << 24) // (16 * per_token), p)
    check(p["kv_capacity_tokens"] == 16 * p["n_blocks"], p)
    check(abs(p["concurrency"] - p["n_blocks"] / 7) < 1e-9, p)  # 100 tokens are 7 blocks
    size = (TINY / "model.safetensors").stat().st_size
    check(0.5 * size < p["weight_bytes"] < 1.5 * size, p)
    read = p["machine"]["read_bytes_per_s"]
    one = p["decode"][0]
    by_memory = read / (p["weight_bytes"] + 100 * per_token)
    check(one["requests"] == 1 and one["tokens_per_s"] <= by_memory * 1.0001, p)
    if one["decided_by"] == "bw":
        check(one["tokens_per_s"] > by_memory * 0.9999, p)
    made_up = plan(cache, "--length", "100", "--streams", "8", "--kv-cache-memory-bytes", "16M",
                   "--load-format", "dummy")
    check(made_up["weight_bytes"] > p["weight_bytes"], made_up)  # by the embedding, which is not read
    check(abs(made_up["decode"][0]["tokens_per_s"] / one["tokens_per_s"] - 1) < 1e-6, (p, made_up))
    eight = p["decode"][1]
    faster = eight["tokens_per_s"] / one["tokens_per_s"]
    check(eight["requests"] == 8 and faster > (1.01 if one["decided_by"] == "bw" else 0.99), p)


def check_cache(cache):
    first = plan(cache)
    check(first["machine"]["from_cache"], "the measurement was not kept")
    files = list(cache.glob("machine-*.json"))
    check(len(files) == 1, files)
    for damage in (b"", b"{", b"[]", b'{"bw": -1}', b'{"bw": 1e9}', files[0].read_bytes()[:-4]):
        files[0].write_bytes(damage)
        check(not plan(cache)["machine"]["from_cache"], f"{damage!r} was believed")
        check(plan(cache)["machine"]["from_cache"], "the new measurement was not kept")
    check(not plan(cache, "--measure")["machine"]["from_cache"], "--measure did not measure")
    check(not plan("")["machine"]["from_cache"], "without a cache there is nothing to find")


def check_text_and_refusals(cache):
    text = ok("plan", TINY, "--pack-cache", cache).decode()
    for part in ("memory plan", "bytes per token", "reads", "predicted decode"):
        check(part in text, text)
    start = time.monotonic()
    p = run("plan", SOURCE / "share/configs/Qwen3-8B", "--load-format", "dummy",
            "--kv-cache-memory-bytes", "1G", "--pack-cache", cache)
    check(p.returncode == 1 and b"--max-model-len" in p.stderr, p.stderr)
    check(time.monotonic() - start < 5, "a refusal took long")
    p = run("plan", TINY / "nowhere")
    check(p.returncode == 1 and b"no model directory" in p.stderr, p.stderr)


def main():
    with Scratch() as scratch:
        check_numbers(scratch)
        check_cache(scratch)
        check_text_and_refusals(scratch)


if __name__ == "__main__":
    main()
