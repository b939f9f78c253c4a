#!/usr/bin/env python3
"""Times llama.cpp on a checkpoint directory: one prompt of random tokens, then one-token decodes.

usage: run_llamacpp.py MODEL_DIR [--prompt 512] [--generate 64] [--threads 2] [--repeat 3]

Needs the packages xllamacpp, gguf and numpy. The directory is converted to GGUF once, beside it
(MODEL_DIR.gguf). Prints one JSON line, the medians of the repeats after a warm-up:
{"prompt_tokens_per_s": ..., "generated_tokens_per_s": ...}
"""
import argparse
import json
import pathlib
import random
import statistics
import sys

import make_gguf
import xllamacpp


def open_server(gguf, args):
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = args.prompt + args.generate + 64
    params.n_batch = params.n_ubatch = max(args.prompt, 32)
    params.n_parallel = 1
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.n_gpu_layers = 0
    params.cache_prompt = False
    params.warmup = False
    params.verbosity = -1
    return xllamacpp.Server(params)


def run_once(server, prompt, n_generate):
    """Prompt and generated tokens per second, as the server's own timings say."""
    reply = server.handle_completions({
        "prompt": prompt, "n_predict": n_generate + 1, "temperature": 0, "ignore_eos": True,
        "cache_prompt": False, "stream": False})
    if isinstance(reply, (str, bytes)):
        reply = json.loads(reply)
    timings = reply.get("timings") if isinstance(reply, dict) else None
    if not timings:
        sys.exit(f"run_llamacpp.py: no timings in the reply: {str(reply)[:300]}")
    if timings["prompt_n"] != len(prompt):
        sys.exit(f"run_llamacpp.py: {timings['prompt_n']} of {len(prompt)} prompt tokens computed")
    return timings["prompt_per_second"], timings["predicted_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens decoded one by one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    model_dir = args.model_dir.resolve()
    gguf = model_dir.parent / (model_dir.name + ".gguf")
    if not gguf.exists():
        make_gguf.convert(model_dir, gguf)
    server = open_server(gguf, args)
    rng = random.Random(1)
    pairs = []
    for _ in range(args.repeat + 1):
        prompt = [rng.randrange(100, 100000) for _ in range(args.prompt)]
        pairs.append(run_once(server, prompt, args.generate))
    prompt_rates, rates = zip(*pairs[1:])
    print(json.dumps({"prompt_tokens_per_s": statistics.median(prompt_rates),
                      "generated_tokens_per_s": statistics.median(rates)}), flush=True)


if __name__ == "__main__":
    main()
