"""Bad input ends in one clear sentence that names the thing, with exit status 1 or 2.

Each case changes one thing of a good checkpoint or command. The asan preset runs this file too.
"""

import json
import shutil
import struct

from qwtest import DATA, Scratch, TINY, check, ok, run

TIED = DATA / "tiny-models/tied"
SHARDED = DATA / "tiny-models/untied-sharded"
N_CASES = 0


def expect(code, parts, *args, stdin=None, env=None):
    """The command fails with `code`, says all of `parts` in one line, and prints no answer."""
    global N_CASES
    N_CASES += 1
    p = run(*args, stdin=stdin, env=env)
    err = p.stderr.decode()
    where = f"{[str(a)[:80] for a in args]}\n{err}"
    check(p.returncode == code, f"exit {p.returncode} instead of {code}: {where}")
    lines = [line for line in err.split("\n") if ": error: " in line]
    check(len(lines) == 1, f"one error line expected: {where}")
    for part in [parts] if isinstance(parts, str) else parts:
        check(part in lines[0], f"'{part}' is missing: {where}")
    check("Sanitizer" not in err and "assertion" not in err, where)
    check(len(lines[0]) > 40, f"no sentence: {where}")


def copy_model(source, tmp, name):
    target = tmp / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for f in target.iterdir():
        f.chmod(0o644)
    return target


def edit_json(path, **members):
    data = json.loads(path.read_text())
    for key, value in members.items():
        if value is ...:
            data.pop(key, None)
        else:
            data[key] = value
    path.write_text(json.dumps(data))


def edit_header(path, edit):
    """Rewrite a safetensors header by a function on its JSON object; the data stays."""
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n:])


def generate(model, *args):
    return ("generate", model, "--prompt-ids", "1,2", "--max-tokens", 2, *args)


def weights(tmp):
    m = copy_model(TIED, tmp, "m")
    w = m / "model.safetensors"
    good = w.read_bytes()
    for size in (0, 5, 8, 100, 2000, len(good) // 2, len(good) - 1):
        w.write_bytes(good[:size])
        expect(1, "model.safetensors", *generate(m))
    w.write_bytes(good + b"x")
    expect(1, "model.safetensors", *generate(m))
    w.write_bytes(struct.pack("<Q", 1 << 60) + good[8:])
    expect(1, "model.safetensors", *generate(m))
    w.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    expect(1, "weights not downloaded", *generate(m))

    name = "model.layers.0.mlp.up_proj.weight"

    def lie(key, value):
        w.write_bytes(good)

        def edit(header):
            header[name][key] = value
        edit_header(w, edit)

    lie("data_offsets", [0, 1 << 50])
    expect(1, "model.safetensors", *generate(m))
    lie("shape", [1 << 40, 1 << 40])
    expect(1, name, *generate(m))
    lie("shape", [64, 96])
    expect(1, ["shape", "config.json"], *generate(m))
    lie("dtype", "I16")
    expect(1, [name, "I16"], *generate(m))
    lie("dtype", "Q3")
    expect(1, "Q3", *generate(m))
    w.write_bytes(good)
    edit_header(w, lambda h: h.update({"model.layers.0.mlp.bonus.weight": h.pop(name)}))
    expect(1, ["missing", name], *generate(m))
    w.unlink()
    expect(1, "model.safetensors", *generate(m))
    (m / "pytorch_model.bin").write_bytes(b"pickle")
    expect(1, "pickled weights", *generate(m))

    s = copy_model(SHARDED, tmp, "s")
    (s / "model-00002-of-00002.safetensors").unlink()
    expect(1, ["shard 2 of 2", "model-00002-of-00002.safetensors"], *generate(s))
    index = s / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002-of", "../model-00002-of"))
    expect(1, "../model-00002-of", *generate(s))
    index.write_text("{")
    expect(1, "index.json", *generate(s))


def config(tmp):
    m = copy_model(TIED, tmp, "m")
    path = m / "config.json"
    good = path.read_text()
    cases = [
        ({"hidden_size": ...}, 1, "hidden_size"),
        ({"num_hidden_layers": 0}, 1, "num_hidden_layers"),
        ({"num_hidden_layers": 10**12}, 1, "num_hidden_layers"),
        ({"num_hidden_layers": "two"}, 1, "num_hidden_layers"),
        ({"num_attention_heads": -4}, 1, "num_attention_heads"),
        ({"num_key_value_heads": 3}, 1, "num_key_value_heads"),
        ({"head_dim": 127}, 1, "head_dim"),
        ({"rms_norm_eps": -1}, 1, "rms_norm_eps"),
        ({"vocab_size": 319}, 1, "embed_tokens"),
        ({"intermediate_size": 2**31 - 1, "hidden_size": 2**31 - 1}, 1, "config.json"),
        ({"hidden_act": "gelu"}, 1, "gelu"),
        ({"architectures": ["LlamaForCausalLM"]}, 1, "LlamaForCausalLM"),
        ({"architectures": ...}, 1, "architectures"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2}}, 1, "longrope"),
        ({"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}, 1, "sliding"),
        ({"tie_word_embeddings": False, "num_hidden_layers": 3}, 1, "missing"),
    ]
    for members, code, part in cases:
        path.write_text(good)
        edit_json(path, **members)
        expect(code, part, *generate(m))
    path.write_text(good[:100])
    expect(1, "config.json", *generate(m))
    path.unlink()
    expect(1, "config.json", *generate(m))
    path.write_text(good)
    (m / "generation_config.json").write_text('{"temperature": "hot"}')
    expect(1, "temperature", *generate(m))
    expect(1, "nosuch", *generate("nosuch"))


def command_line(tmp):
    expect(2, "--foo", *generate(TINY, "--foo"))
    expect(2, "did you mean", *generate(TINY, "--temperatur-", "1"))
    expect(2, "--top-p", *generate(TINY, "--top-p", "many"))
    expect(2, "temperature", *generate(TINY, "--temperature", "-1"))
    expect(2, "top_p", *generate(TINY, "--top-p", "0"))
    expect(2, "--block-size", *generate(TINY, "--block-size", 24))
    expect(2, "--dtype", *generate(TINY, "--dtype", "int3"))
    expect(2, "cpu-isa", *generate(TINY, "--cpu-isa", "mmx"))
    expect(2, "--hf-overrides", *generate(TINY, "--hf-overrides", "[1]"))
    expect(2, "hf-overrides", *generate(TINY, "--hf-overrides", "{"))
    expect(2, "--prompt", "generate", TINY)
    expect(2, "only one", "generate", TINY, "-p", "x", "--prompt-ids", "1")
    expect(2, "--prompt-ids", "generate", TINY, "--prompt-ids", "1,x")
    expect(2, "4096", *generate(TINY, "--max-model-len", 100000))
    expect(1, "--max-model-len", *generate(TINY, "--kv-cache-memory-bytes", "1M"))
    expect(1, "--gpu-memory-utilization", *generate(TINY, "--gpu-memory-utilization", "0.00001"))
    expect(2, "outside the vocabulary", *generate(TIED)[:3], "5,400")
    expect(2, "empty", "generate", TINY, "-p", "")
    long_ids = ",".join(["7"] * 4096)
    expect(2, ["4096 tokens", "4095"], "generate", TINY, "--prompt-ids", long_ids)
    expect(1, "tokenizer.json", "generate", TIED, "-p", "hello")
    expect(1, "tokenizer.json", "tokenize", TIED, stdin=b'{"text": "x"}\n')
    expect(1, "cannot", *generate(TINY, "--dump-logits", tmp / "no/such/dir/x.safetensors"))
    expect(2, "serv", "serv")
    full = run("generate", TINY, "-p", "hello", "--max-tokens", 4)
    check(full.returncode == 0, "a plain run works")


def lines(tmp):
    path = tmp / "requests.jsonl"
    good = b'{"prompt": "hello", "max_tokens": 2}\n'
    cases = [
        (b"{", "no valid JSON"),
        (b"[1, 2]", "object"),
        (b"{}", "prompt_token_ids"),
        (b'{"prompt": 3}', "'prompt' must be a string"),
        (b'{"prompt": 123456789012345678901234567890}', "'prompt' is an integer beyond 64 bits"),
        (b'{"prompt": "a", "messages": []}', "only one"),
        (b'{"prompt_token_ids": [1, -2]}', "prompt_token_ids[1]"),
        (b'{"prompt_token_ids": ["1"]}', "prompt_token_ids[0]"),
        (b'{"prompt": "x", "temperature": "hot"}', "temperature"),
        (b'{"prompt": "x", "top_k": -7}', "top_k"),
        (b'{"prompt": "x", "max_tokens": 99999999999999999999}', "'max_tokens'"),
        (b'{"prompt": "\xff\xfe"}', "UTF-8"),
        (b'{"prompt": "\\ud800"}', "line 2"),
        (b'{"messages": "hello"}', "messages"),
        (b'{"messages": [{"content": "x"}]}', "messages[0]"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "image_url"),
        (b'{"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"function": '
         b'{"name": "f", "arguments": "{broken"}}]}]}', "arguments"),
        (b'{"prompt": "' + b"hello " * 5000 + b'"}', "context of 4096"),
        (b'{"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}", "line 2"),
    ]
    for line, part in cases:
        path.write_bytes(good + line + b"\n" + good)
        code = run("generate", "-f", path, "--json").returncode
        check(code in (1, 2), f"{line[:60]}: exit {code}")
        expect(code, ["line 2", part], "generate", "-f", path, "--json")
    expect(1, "cannot open", "generate", "-f", tmp / "nosuch.jsonl")
    expect(1, "directory", "generate", "-f", tmp)
    expect(2, "exactly one request", "generate", "-f", "-", "--dump-logits", tmp / "x.safetensors",
           stdin=good * 2)
    expect(1, "line 1", "tokenize", stdin=b'{"txt": "x"}\n')
    expect(1, "ids[0]", "tokenize", "--decode", stdin=b'{"ids": ["x"]}\n')


def templates(tmp):
    chat = ("generate", TINY, "--chat", "-p", "hi", "--max-tokens", 2)
    cases = [
        ("{% for %}", 1, "line 1"),
        ("{{ messages[0] }", 1, "line 1"),
        ("{{ raise_exception('only tools here') }}", 1, "only tools here"),
        ("{{ nosuch.member }}", 1, "nosuch"),
        ("{{ 'x' * 999999999999 }}", 1, "template"),
        ("{% for i in range(1000000000) %}x{% endfor %}", 1, "template"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 1, "template"),
        ("{{ " + "(" * 100000 + " }}", 1, "template"),
    ]
    for text, code, part in cases:
        (tmp / "t.jinja").write_text(text)
        expect(code, part, *chat, "--chat-template", tmp / "t.jinja")
    m = copy_model(TINY, tmp, "m")
    (m / "chat_template.jinja").unlink()
    config = json.loads((m / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (m / "tokenizer_config.json").write_text(json.dumps(config))
    expect(1, "chat template", "generate", m, "--chat", "-p", "hi")
    tok = (m / "tokenizer.json").read_text()
    for broken in (tok[:1000], "{}", tok.replace('"BPE"', '"Unigram"'), "[]"):
        (m / "tokenizer.json").write_text(broken)
        expect(1, "tokenizer.json", "generate", m, "-p", "hi")


def caches(tmp):
    """A cache that cannot be written, or is damaged, is no failure."""
    (tmp / "file").write_text("x")
    want = ok("generate", "-p", "hello", "--max-tokens", 4, "--temperature", 0)
    got = ok("generate", "-p", "hello", "--max-tokens", 4, "--temperature", 0, "--pack-cache",
             tmp / "file/cache")
    check(got == want, "an unwritable cache directory changes the answer")
    cache = tmp / "cache"
    for damage in (None, lambda b: b"", lambda b: b[:len(b) // 2], lambda b: b"\0" * len(b),
                   lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:]):
        if damage:
            for f in cache.iterdir():
                f.write_bytes(damage(f.read_bytes()))
        got = ok("generate", "-p", "hello", "--max-tokens", 4, "--temperature", 0, "--pack-cache",
                 cache)
        check(got == want, "a damaged cache changes the answer")
        left = [f.name for f in cache.iterdir()]
        check(sorted(name.rsplit(".")[-1] for name in left) == ["qwpack", "qwtok"],
              f"cache directory holds {left}")


def main():
    with Scratch() as tmp:
        for part in (weights, config, command_line, lines, templates, caches):
            part(tmp)
    print(f"{N_CASES} bad inputs, each with its sentence")


main()
