"""Packed weights kept in a file, and made-up weights: the same bits whichever way they come.

What is wrong with a cache file is noticed, said once and repaired; what cannot be written is said
once and does not matter.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

from qwtest import QWENCH, SOURCE, Scratch, check, ok, run

MAKE_CHECKPOINT = os.environ.get("MAKE_CHECKPOINT", str(SOURCE / "build/release/bin/make_checkpoint"))
SEED = 11
PROMPT = "1,2,3,500,77"


def config(tmp, name, **changes):
    """A directory with a small config.json."""
    c = json.loads((SOURCE / "share/configs/Qwen3-0.6B/config.json").read_text())
    c.update(hidden_size=256, intermediate_size=416, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=64, vocab_size=1000, max_position_embeddings=512)
    c.update(changes)
    path = tmp / name
    path.mkdir()
    (path / "config.json").write_text(json.dumps(c))
    return path


def make(config_dir, out, *args):
    p = subprocess.run([MAKE_CHECKPOINT, config_dir, out, str(SEED), *args], capture_output=True,
                       check=False)
    check(p.returncode == 0, f"make_checkpoint: {p.stderr.decode()}")
    return out


def command(model, logits, *args):
    return ["generate", model, "--prompt-ids", PROMPT, "--max-tokens", 3, "--temperature", 0,
            "--ignore-eos", "--dump-logits", logits, "--max-num-seqs", 2, *args]


N_RUNS = 0


def logits(tmp, model, *args, env=None):
    """Logits of a run, and what it said about packed weights."""
    global N_RUNS
    N_RUNS += 1
    path = tmp / f"logits{N_RUNS}"
    p = run(*command(model, path, *args), env={"QWENCH_LOG": "info", **(env or {})})
    check(p.returncode == 0, f"{model} {args}: {p.stderr.decode()}")
    said = [line for line in p.stderr.decode().splitlines() if "packed_weights" in line]
    data = path.read_bytes()
    path.unlink()
    return data, said


def expect_one_file(cache, what, n=1):
    left = sorted(f.name for f in cache.iterdir())
    check(len(left) == n and all(f.endswith(".qwpack") for f in left), f"{what}: left {left}")
    return cache / left[0]


def made_up(tmp):
    """--load-format dummy, and the same from files: whole, in shards, packed, cached."""
    variants = {"tied": {}, "untied": {"tie_word_embeddings": False},
                "bias": {"attention_bias": True, "num_hidden_layers": 2}}
    for name, changes in variants.items():
        c = config(tmp, name, **changes)
        seed = ["--dummy-seed", SEED]
        want, _ = logits(tmp, c, "--load-format", "dummy", *seed)
        other, _ = logits(tmp, c, "--load-format", "dummy", "--dummy-seed", SEED + 1)
        check(want != other, f"{name}: two seeds give the same logits")
        for args in (["--cpu-threads", 1], ["--cpu-threads", 2], ["--cpu-isa", "ref"]):
            got, said = logits(tmp, c, "--load-format", "dummy", *seed, *args)
            check(got == want and not said, f"{name}, dummy {args}: {said}")
        for shards in ([], ["--shards", "3"]):
            model = make(c, tmp / f"{name}{len(shards)}", *shards)
            n_files = len(list(model.glob("*.safetensors")))
            check(n_files == (3 if shards else 1), f"{name}: {n_files} files")
            cache = tmp / f"cache-{name}{len(shards)}"
            for args in (["--pack-cache", ""], ["--pack-cache", cache], ["--pack-cache", cache]):
                got, said = logits(tmp, model, *args)
                check(got == want, f"{name} {shards} {args}: differs from dummy")
            check(len(said) == 1 and "mapped" in said[0], f"{name}: {said}")
        p = subprocess.run([MAKE_CHECKPOINT, c, model, str(SEED)], capture_output=True, check=False)
        check(p.returncode == 2 and b"already holds weights" in p.stderr, f"{name}: {p.stderr}")
    # Fewer layers of the same names are the same weights.
    short = config(tmp, "short", num_hidden_layers=1)
    a, _ = logits(tmp, short, "--load-format", "dummy")
    b, _ = logits(tmp, tmp / "tied", "--load-format", "dummy", "--hf-overrides",
                  '{"num_hidden_layers":1}')
    check(a == b, "num_hidden_layers by --hf-overrides differs from the config's")


def published(tmp):
    """The configs: tokenizer found, large ones refused with figures, run with fewer layers."""
    configs = SOURCE / "share/configs"
    names = sorted(p.name for p in configs.iterdir())
    check(len(names) == 7, f"configs: {names}")
    for name in names:
        line = b'{"messages": [{"role": "user", "content": "Hi"}]}\n'
        ids = json.loads(ok("tokenize", configs / name, stdin=line))
        check("151644" in json.dumps(ids), f"{name}: no chat template: {ids}")
    p = run("generate", configs / "Qwen3-32B", "--load-format", "dummy", "--prompt-ids", "1",
            "--gpu-memory-utilization", "0.01")
    text = p.stderr.decode()
    check(p.returncode == 1 and "61.03" in text, f"32B: {p.returncode}: {text}")
    small = ['--hf-overrides', '{"num_hidden_layers":1,"vocab_size":512}', "--max-model-len", 64,
             "--max-num-batched-tokens", 64, "--max-num-seqs", 1]
    few = ['--hf-overrides', '{"num_hidden_layers":1,"vocab_size":512,"num_experts":9}', *small[2:]]
    for name, small in (("Qwen3-0.6B", small), ("Qwen3-14B", small), ("Qwen3-30B-A3B", few)):
        out = ok("generate", configs / name, "--load-format", "dummy", "--prompt-ids", "1,2,3",
                 "--max-tokens", 2, "--ignore-eos", "--json", *small)
        check(len(json.loads(out)["token_ids"]) == 2, f"{name}: {out}")


def damages(good):
    """Ways to hurt a cache file, and a part of the sentence about each."""
    def flip(at):
        return lambda b: b[:at] + bytes([b[at] ^ 0x40]) + b[at + 1:]
    yield "zero length", lambda b: b"", "less than its header"
    yield "foreign", lambda b: b"GGUF" + b[4:], "no file of packed weights"
    yield "version", flip(8), "version"
    for at in range(16, 80, 9):
        yield f"header byte {at}", flip(at), "header is damaged"
    yield "reserved byte", flip(3000), "not zero"
    for cut in (1, 4095, 4096, len(good) // 2, len(good) - 1):
        yield f"cut to {cut}", lambda b, cut=cut: b[:cut], "bytes"
    yield "longer", lambda b: b + b"x", "bytes"
    yield "table byte", flip(len(good) - 10), "table is damaged"


def faults(tmp, model, want):
    cache = tmp / "cache"
    args = ["--pack-cache", cache]

    def expect(what, part, *more):
        """This start repairs, the next one maps."""
        got, said = logits(tmp, model, *args, *more)
        check(got == want, f"{what}: other bits")
        check(len(said) == 2 and "packing again" in said[0] and part in said[0]
              and "packed the weights" in said[1], f"{what}: {said}")
        got, said = logits(tmp, model, *args, *more)
        check(got == want, f"{what}: other bits from the repaired file")
        check(len(said) == 1 and "mapped" in said[0], f"{what}: {said}")
        expect_one_file(cache, what)

    got, said = logits(tmp, model, *args)
    check(got == want and len(said) == 1 and "packed the weights" in said[0], f"first: {said}")
    path = expect_one_file(cache, "first")
    good = path.read_bytes()
    for what, damage, part in damages(good):
        path.unlink()
        path.write_bytes(damage(good))
        expect(what, part)
    # Another time of change, another byte at a tensor's edge, another size.
    weights = model / "model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    expect("time of change", "other weights")
    # The data: only --verify-pack reads all of it.
    damaged = path.read_bytes()
    middle = damaged[:6000] + bytes([damaged[6000] ^ 0x01]) + damaged[6001:]
    path.unlink()
    path.write_bytes(middle)
    expect("data byte", "are damaged", "--verify-pack")


def stale_bytes(tmp, c):
    """A byte that changes at a tensor's edge is noticed; the middle of a source is not even read."""
    model = make(c, tmp / "stale")
    cache = tmp / "stale-cache"
    weights = model / "model.safetensors"
    want, _ = logits(tmp, model, "--pack-cache", cache)
    stat = weights.stat()
    data = bytearray(weights.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")

    def rewrite(at):
        data[at] ^= 1
        with open(weights, "r+b") as f:
            f.seek(at)
            f.write(data[at:at + 1])
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    rewrite(begin + 100000)  # the embedding's middle, which no prompt here looks up
    got, said = logits(tmp, model, "--pack-cache", cache)
    check(got == want and "mapped" in said[0], f"middle: {said}")
    rewrite(begin + 4000)
    got, said = logits(tmp, model, "--pack-cache", cache)
    check("other weights" in said[0] and "packed the weights" in said[1], f"edge: {said}")
    plain, _ = logits(tmp, model, "--pack-cache", "")
    check(got == plain, "after a change the bits are not those of the changed weights")


def fewer_layers(tmp, model, want):
    """Fewer layers have a file of their own."""
    cache = tmp / "layers-cache"
    logits(tmp, model, "--pack-cache", cache)
    args = ["--pack-cache", cache, "--hf-overrides", '{"num_hidden_layers":2}']
    first, _ = logits(tmp, model, *args)
    again, said = logits(tmp, model, *args)
    check(first == again and "mapped" in said[0], f"fewer layers: {said}")
    got, said = logits(tmp, model, "--pack-cache", cache)
    check(got == want and "mapped" in said[0], f"all layers again: {said}")
    expect_one_file(cache, "layers", 2)


def not_kept(tmp, model, want):
    """Where nothing can be written the weights are packed into memory, and it is said once."""
    (tmp / "plain-file").write_text("x")
    for cache in (tmp / "plain-file/cache", Path("/proc/qwench")):
        got, said = logits(tmp, model, "--pack-cache", cache)
        check(got == want, f"{cache}: other bits")
        check(len(said) == 1 and "stay in memory" in said[0], f"{cache}: {said}")
    # A file may not grow beyond 1 MB.
    cache = tmp / "limited"
    path = tmp / "limited-logits"
    p = subprocess.run([QWENCH, *map(str, command(model, path, "--pack-cache", cache))],
                       capture_output=True, check=False, env={**os.environ, "QWENCH_LOG": "info"},
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                             (1 << 20, 1 << 20)))
    check(p.returncode == 0 and path.read_bytes() == want, f"file limit: {p.stderr.decode()}")
    check(b"stay in memory" in p.stderr and b"File too large" in p.stderr, f"{p.stderr.decode()}")
    check(not list(cache.iterdir()), f"file limit: {list(cache.iterdir())}")
    # A full disk, where a file system of our own can be mounted.
    disk = tmp / "disk"
    disk.mkdir()
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && "$@"; s=$?; '
             'ls "$0" >&2; exit $s', disk]
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True,
                                                     check=False).returncode != 0:
        print("no tmpfs here: full disk not tested")
        return
    p = subprocess.run([*map(str, mount), QWENCH,
                        *map(str, command(model, path, "--pack-cache", disk))],
                       capture_output=True, check=False, env={**os.environ, "QWENCH_LOG": "info"})
    check(p.returncode == 0 and path.read_bytes() == want, f"full disk: {p.stderr.decode()}")
    check(b"No space left" in p.stderr and b".tmp." not in p.stderr.splitlines()[-1],
          f"full disk: {p.stderr.decode()}")


def at_once(tmp, model, want):
    """Two processes pack the same model: one valid file, the same bits, nothing else left."""
    for i in range(4):
        cache = tmp / f"at-once{i}"
        paths = [tmp / f"at-once{i}.{k}" for k in range(2)]
        processes = [subprocess.Popen([QWENCH, *map(str, command(model, p, "--pack-cache", cache))],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                     for p in paths]
        for process, path in zip(processes, paths):
            _, err = process.communicate()
            check(process.returncode == 0, f"at once: {err.decode()}")
            check(path.read_bytes() == want, "at once: other bits")
        expect_one_file(cache, "at once")
        got, said = logits(tmp, model, "--pack-cache", cache, "--verify-pack")
        check(got == want and "mapped" in said[0], f"at once, afterwards: {said}")


def killed(tmp):
    """SIGKILL while packing: nothing that a later start trusts, and it removes what is left."""
    c = config(tmp, "larger", hidden_size=1024, intermediate_size=3072, num_hidden_layers=4)
    model = make(c, tmp / "larger-model")
    want, _ = logits(tmp, model, "--pack-cache", "")
    n_hits = 0
    for i in range(20):
        cache = tmp / f"killed{i}"
        cache.mkdir()
        p = subprocess.Popen([QWENCH, *map(str, command(model, tmp / "none", "--pack-cache",
                                                        cache))],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while p.poll() is None and not any(cache.iterdir()):
            pass
        time.sleep(0.004 * i)  # at another point of the way each time
        p.send_signal(signal.SIGKILL)
        p.wait()
        left = [f.name for f in cache.iterdir()]
        n_hits += any(".tmp." in name for name in left)
        got, said = logits(tmp, model, "--pack-cache", cache)
        check(got == want, f"killed {i}: other bits")
        check("packing again" not in said[0], f"killed {i}: a broken file had its name: {said}")
        expect_one_file(cache, f"killed {i}")
        shutil.rmtree(cache)
        if n_hits >= 5:
            break
    check(n_hits > 0, "no kill came while packing")


def main():
    with Scratch() as tmp:
        made_up(tmp)
        published(tmp)
        model = tmp / "tied0"
        want, _ = logits(tmp, model, "--pack-cache", "")
        faults(tmp, model, want)
        stale_bytes(tmp, tmp / "tied")
        fewer_layers(tmp, model, want)
        not_kept(tmp, model, want)
        at_once(tmp, model, want)
        killed(tmp)
    print(f"{N_RUNS} runs, each with its bits")


main()
