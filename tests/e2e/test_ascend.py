"""Ascend checkpoints through the binary: bad ones end in one sentence that names the thing, and what
a good one says has the same bits in every way of computing it."""

import json
import shutil
import struct

from qwtest import DATA, Scratch, check, json_lines, ok, run

ASCEND = DATA / "ascend"
IDS = [(i * 37 + 5) % 64 for i in range(40)]
Q = "model.layers.0.self_attn.q_proj"


def copy(tmp, name):
    target = tmp / "m"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ASCEND / name / "model", target)
    for f in target.iterdir():
        f.chmod(0o644)
    return target


def weight_file(model):
    return next(p for p in model.iterdir() if p.suffix == ".safetensors")


def read(model):
    raw = weight_file(model).read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    tensors = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        begin, end = (8 + n + x for x in t["data_offsets"])
        tensors[name] = [t["dtype"], t["shape"], raw[begin:end]]
    return tensors


def write(model, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header).encode()
    weight_file(model).write_bytes(struct.pack("<Q", len(text)) + text +
                                   b"".join(t[2] for t in tensors.values()))
    index = model / "quant_model_weights.safetensors.index.json"
    if index.exists():
        index.write_text(json.dumps({n: weight_file(model).name for n in tensors}))


def generate(model, *args):
    return run("generate", model, "--prompt-ids", "1,2", "--max-tokens", 2, "--pack-cache", "",
               *args)


def expect(parts, model, what):
    p = generate(model)
    err = p.stderr.decode()
    check(p.returncode == 1, f"{what}: exit {p.returncode}: {err}")
    lines = [line for line in err.split("\n") if ": error: " in line]
    check(len(lines) == 1 and len(lines[0]) > 40, f"{what}: one sentence expected: {err}")
    for part in parts:
        check(part in lines[0], f"{what}: '{part}' is missing: {err}")
    check("Sanitizer" not in err and "assertion" not in err, f"{what}: {err}")


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def set_first(t, value):
    t[2] = floats([value]) + t[2][4:]


def drop(name):
    return lambda tensors: tensors.pop(name)


def put(name, *tensor):
    return lambda tensors: tensors.update({name: list(tensor)})


def first(name, value):
    return lambda tensors: set_first(tensors[name], value)


def field(name, i, value):
    def edit(tensors):
        tensors[name][i] = value
    return edit


def halve(name):
    def edit(tensors):
        dtype, shape, raw = tensors[name]
        tensors[name] = [dtype, [shape[0] // 2, *shape[1:]], raw[:len(raw) // 2]]
    return edit


K1 = "model.layers.1.self_attn.k_proj"
NAN = float("nan")
# (checkpoint, edit of the tensors, what the sentence says)
TENSORS = [
    ("w8a8", halve(Q + ".weight"), [Q, "shape", "W8A8"]),
    ("w8a8", drop(Q + ".deq_scale"), [Q + ".deq_scale", "missing"]),
    ("w8a8", drop(Q + ".input_scale"), [Q + ".input_scale", "missing"]),
    ("w8a8", drop(Q + ".quant_bias"), [Q + ".quant_bias", "missing"]),
    ("w8a8", drop(Q + ".weight"), ["missing", Q + ".weight"]),
    ("w8a8", first(Q + ".deq_scale", NAN), [Q + ".deq_scale", "nan"]),
    ("w8a8", first(Q + ".input_scale", -1.0), [Q + ".input_scale", "above 0"]),
    ("w8a8", first(Q + ".input_offset", 0.5), [Q + ".input_offset", "whole number"]),
    ("w8a8", first(Q + ".input_offset", 300.0), [Q + ".input_offset", "whole number"]),
    ("w8a8", field(Q + ".quant_bias", 0, "F32"), [Q + ".quant_bias", "I32"]),
    ("w8a8", drop(K1 + ".weight_scale"), [K1 + ".weight_scale", "missing"]),
    ("w8a8", first(K1 + ".weight_scale", 0.0), [K1 + ".weight_scale", "above 0"]),
    ("w8a8", first(K1 + ".weight_scale", float("inf")), [K1 + ".weight_scale", "finite"]),
    ("w8a8", first(K1 + ".weight_offset", 1.0), [K1 + ".weight_offset", "not all 0"]),
    ("w8a8", halve(K1 + ".weight_scale"), [K1 + ".weight_scale", "shape"]),
    ("w8a8", field(K1 + ".weight_scale", 0, "I32"), [K1 + ".weight_scale", "dtype I32"]),
    ("w8a8", put("model.layers.0.self_attn.o_proj.heads_rotation", "F32", [1], floats([1])),
     ["heads_rotation", "online rotation"]),
    ("w8a8", put("model.layers.0.mlp.down_proj.div.mul_scale", "F32", [1], floats([1])),
     ["mul_scale", "smoothing"]),
    ("w8a8", put("model.layers.0.mlp.extra.weight", "F32", [1], floats([1])),
     ["extra.weight", "no place"]),
    ("w8a8", put("model.layers.0.self_attn.q_norm.bias", "F32", [8], floats([1] * 8)),
     ["layer 0", "bias"]),
    ("w8a8", put(K1 + ".left_trans", "F32", [1, 1], floats([1])), [K1 + ".left_trans", "belongs"]),
    ("w8a8", put(K1 + ".kv_cache_scale", "F32", [1], floats([-1])), ["kv_cache_scale", "above 0"]),
    ("w4a8", first(Q + ".scale_bias", 1000.0), [Q + ".scale_bias", "do not belong together"]),
    ("w4a8", drop(K1 + ".weight_scale"), [K1, "weight_scale"]),
    ("w4a4", drop(Q + ".clip_ratio"), [Q + ".clip_ratio", "missing"]),
    ("w4a4", first(Q + ".clip_ratio", 1.5), [Q + ".clip_ratio", "at most 1"]),
    ("w4a4", drop(Q + ".left_trans"), [Q + ".left_trans", "missing"]),
    ("w4a4", put(Q + ".left_trans", "F32", [5, 5], floats([1] * 25)), [Q, "product is not"]),
    ("w4a4", first(Q + ".left_trans", NAN), [Q + ".left_trans", "nan"]),
    ("w4a4", put("model.layers.1.mlp.up_proj.weight", "I8", [80, 48], bytes([100] * 80 * 48)),
     ["up_proj"]),
]
# (edit of the description, what the sentence says)
DESCRIPTIONS = [
    ({Q + ".weight": "NF4"}, [Q + ".weight", "'NF4'"]),
    ({Q + ".weight": "W8A8S"}, [Q + ".weight", "'W8A8S'"]),
    ({Q + ".weight": "FLOAT"}, [Q + ".weight", "dtype I8"]),
    ({Q + ".weight": None}, [Q + ".weight", "must be a string"]),
    ({Q + ".weight": ...}, [Q + ".weight", "no entry"]),
    ({Q + ".weight": "W4A4_FLATQUANT_DYNAMIC"}, [Q, "left_trans"]),
    ({"model.layers.0.mlp.down_proj.weight": "W8A8_DYNAMIC"}, ["down_proj.weight", "BF16"]),
    ({"thinker." + Q + ".weight": "FLOAT"}, ["twice", "W8A8"]),
    ({"group_size": "many"}, ["group_size"]),
    ({"version": 1}, ["version"]),
]


def bad_tensors(tmp):
    for name, edit, parts in TENSORS:
        model = copy(tmp, name)
        tensors = read(model)
        edit(tensors)
        write(model, tensors)
        expect(parts, model, f"{name} {parts}")


def bad_descriptions(tmp):
    model = copy(tmp, "w8a8")
    path = model / "quant_model_description.json"
    good = path.read_text()
    for members, parts in DESCRIPTIONS:
        data = json.loads(good)
        for key, value in members.items():
            data.pop(key, None)
            if value is not ...:
                data[key] = value
        path.write_text(json.dumps(data))
        expect(parts, model, members)
    for text in ("", "{", "[]", '{"a": 1, "a": 2}'):
        path.write_text(text)
        expect(["quant_model_description.json"], model, text)
    path.rename(model / "quant_model_description_a.json")
    shutil.copy(model / "quant_model_description_a.json", model / "quant_model_description_b.json")
    expect(["several", "quant_model_description_"], model, "two descriptions")
    # Groups that the description contradicts.
    model = copy(tmp, "w4a8")
    path = model / "quant_model_description.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "group_size": 32}))
    expect(["groups of 16", "group_size 32"], model, "group_size")


def file_sets(tmp):
    model = copy(tmp, "w8a8")
    index = model / "quant_model_weights.safetensors.index.json"
    flat = {n: weight_file(model).name for n in read(model)}

    def works(what):
        p = generate(model)
        check(p.returncode == 0, f"{what}: {p.stderr.decode()}")
        return p.stderr.decode()

    works("nested")
    index.write_text(json.dumps(flat))
    works("flat")
    # An index of files that are not there is not used.
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    works("stale beside")
    index.unlink()
    check("not using" in works("stale alone"), "a stale index goes unmentioned")
    (model / "optional").mkdir()
    (model / "optional/quarot.safetensors").write_bytes(b"nothing")
    works("optional")
    shutil.copy(weight_file(model), model / "again.safetensors")
    expect(["another file has tensor"], model, "duplicates")
    # What nothing uses is said, once.
    model = copy(tmp, "w8a8")
    tensors = read(model)
    tensors["model.layers.0.mlp.whatever"] = ["F32", [1], floats([1])]
    write(model, tensors)
    p = generate(model)
    check(p.returncode == 0 and p.stderr.decode().count("whatever") == 1, p.stderr.decode())


def dump(tmp, model, *args):
    path = tmp / "logits.safetensors"
    ok("generate", model, "--prompt-ids", ",".join(map(str, IDS)), "--max-tokens", 8,
       "--ignore-eos", "--temperature", 0, "--dump-logits", path, *args)
    return path.read_bytes()


def same_bits(tmp):
    levels = [n for n in ("ref", "avx2", "avx512", "vnni")
              if run("generate", "--prompt-ids", "1", "--max-tokens", 1, "--cpu-isa",
                     n).returncode == 0]
    cache = tmp / "cache"
    none = ["--pack-cache", ""]
    ways = [("packed", ["--pack-cache", cache]), ("cached", ["--pack-cache", cache]),
            ("chunk 7", [*none, "--max-num-batched-tokens", 7]),
            ("one by one", [*none, "--max-num-batched-tokens", 1]),
            ("threads", [*none, "--cpu-threads", 2, "--block-size", 64]),
            *((n, [*none, "--cpu-isa", n]) for n in levels)]
    for name in ("w8a8", "w8a16-mix", "w4a8", "w4a4", "mixed"):
        model = ASCEND / name / "model"
        for dtype in ("bfloat16", "float32"):
            base = dump(tmp, model, *none, "--dtype", dtype)
            for what, args in ways:
                got = dump(tmp, model, "--dtype", dtype, *args)
                check(got == base, f"{name}, {dtype}, {what}: bits differ")
            mine = {"prompt_token_ids": IDS, "max_tokens": 8, "ignore_eos": True, "logprobs": 3,
                    "temperature": 0}
            others = [{"prompt_token_ids": IDS[i:i + 5 + i], "max_tokens": 4 + i} for i in range(5)]
            outs = []
            for requests in ([mine], [*others[:3], mine, *others[3:]]):
                text = "".join(json.dumps(r) + "\n" for r in requests).encode()
                lines = json_lines(ok("generate", model, "-f", "-", "--json", "--dtype", dtype,
                                      *none, stdin=text))
                outs.append(lines[requests.index(mine)])
            check(outs[0] == outs[1], f"{name}, {dtype}: alone and in company differ")
    check(len(list(cache.glob("*.qwpack"))) == 5, f"packed files: {list(cache.iterdir())}")
    # Another description is another model: what was packed is not used.
    model = copy(tmp, "w8a8")
    dump(tmp, model, "--pack-cache", cache)
    path = model / "quant_model_description.json"
    path.write_text(path.read_text() + " ")
    p = run("generate", model, "--prompt-ids", "1", "--max-tokens", 1, "--pack-cache", cache,
            env={"QWENCH_LOG": "info"})
    check(b"packing again" in p.stderr, p.stderr.decode())


def inspect():
    got = json.loads(ok("inspect", ASCEND / "mixed/model", "--json"))
    check(got["quantization"] == "ascend" and len(got["linears"]) == 15, got)
    by_name = {(t["layer"], t["name"]): t for t in got["linears"]}
    want = json.loads((ASCEND / "mixed/expected.json").read_text())["linears"]
    for name, linear in want.items():
        _, _, layer, short = name.split(".", 3)
        t = by_name[int(layer), short]
        check((t["out"], t["in"]) == (linear["out"], linear["in"]), t)
        kind = "BF16 F32" if linear["type"] == "FLOAT" else linear["type"]
        check(t["format"] in kind.split(), t)
    check(by_name[0, "mlp.gate_proj"]["product"] == "mlp.gate_proj", "gate and up differ")
    check(by_name[1, "mlp.gate_proj"]["product"] == "mlp.gate_up_proj", "gate and up agree")
    check(by_name[1, "self_attn.v_proj"]["group_size"] == 16, by_name[1, "self_attn.v_proj"])
    table = ok("inspect", DATA / "msmodelslim-w8a8").decode()
    for part in ("layers 0 to 1\n", "layer 2\n", "int8 x int8 static", "W8A8_DYNAMIC", "head\n"):
        check(part in table, f"'{part}' is missing: {table}")


def logits_of(raw):
    (n,) = struct.unpack_from("<Q", raw)
    out = []
    for t in json.loads(raw[8:8 + n]).values():
        if not isinstance(t, dict) or t.get("dtype") != "F32":
            continue
        begin, end = (8 + n + x for x in t["data_offsets"])
        out += struct.unpack(f"<{(end - begin) // 4}f", raw[begin:end])
    return out


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / (sum(x * x for x in a) * sum(x * x for x in b)) ** 0.5


def int8_cache(tmp):
    """The scales of a C8 checkpoint are those of an int8 cache, and of no other one."""
    none = ["--pack-cache", "", "--dtype", "float32"]
    int8 = [*none, "--kv-cache-dtype", "int8"]
    model = ASCEND / "w8a8/model"
    exact, per_token = dump(tmp, model, *none), dump(tmp, model, *int8)
    model = copy(tmp, "w8a8")
    tensors = read(model)
    n_layers = 1 + max(int(n.split(".")[2]) for n in tensors if n.startswith("model.layers."))
    for i in range(n_layers):
        for part in "kv":
            name = f"model.layers.{i}.self_attn.{part}_proj.kv_cache_scale"
            tensors[name] = ["F32", [1], floats([0.05])]
    write(model, tensors)
    check(dump(tmp, model, *none) == exact, "scales of the cache change a float cache")
    fixed = dump(tmp, model, *int8)
    check(len({exact, per_token, fixed}) == 3, "three caches, fewer results")
    for what, other in (("per token", per_token), ("fixed", fixed)):
        c = cosine(logits_of(exact), logits_of(other))
        check(c > 0.99, f"int8 cache, {what}: cosine {c}")
    for args in (["--max-num-batched-tokens", 7], ["--cpu-threads", 2, "--block-size", 64],
                 ["--cpu-isa", "ref"]):
        check(dump(tmp, model, *int8, *args) == fixed, f"fixed scales, {args}: bits differ")


def made_up(tmp):
    """--dummy-quantization: the formats without a checkpoint, told as those of one; heads in int8."""
    tiny = DATA / "tiny-models/tied"
    dummy = [tiny, "--load-format", "dummy"]
    seen = set()
    for scheme, kernel in (("none", "bf16 x float"), ("w8a8", "int8 x int8 static"),
                           ("w8a8-dynamic", "int8 x int8 per token"), ("w8a16", "int8 x float"),
                           ("w4a8", "int4 x int8 per token"), ("w4a4", "int4 x int4 per token"),
                           ("w4a4-flatquant", "int4 x int4 transformed")):
        args = [*dummy, "--dummy-quantization", scheme]
        told = json.loads(ok("inspect", *args, "--json"))
        linears = {(x["layer"], x["name"]): x for x in told["linears"]}
        check(linears[0, "self_attn.q_proj"]["kernel"] == kernel, f"{scheme}: {told['linears'][0]}")
        head = told["linears"][-1]
        check(head["layer"] is None and
              head["kernel"] == ("bf16 x float" if scheme == "none" else "int8 x int8 per token"),
              f"{scheme}: {head}")
        plan = json.loads(ok("plan", *args, "--json", "--pack-cache", tmp / "cache"))
        norms = 4 * 2 * (2 * 64 + 2 * 128)
        check(plan["weight_bytes"] == told["packed_bytes"] + 2 * 320 * 64 + norms,
              f"{scheme}: {plan['weight_bytes']} bytes planned, {told['packed_bytes']} packed")
        seen.add(dump(tmp, *args))
    check(len(seen) == 7, "formats that make no difference")
    int8 = dump(tmp, tiny, "--lm-head-dtype", "int8", "--pack-cache", tmp / "cache")
    for args in (["--pack-cache", tmp / "cache"], ["--pack-cache", ""], ["--cpu-isa", "ref"]):
        check(dump(tmp, tiny, "--lm-head-dtype", "int8", *args) == int8, f"int8 head, {args}")
    check(dump(tmp, tiny, "--lm-head-dtype", "float") == dump(tmp, tiny) != int8, "heads")
    for args, part in ((["--dummy-quantization", "w8a8"], "--load-format dummy"),
                       (["--load-format", "dummy", "--dummy-quantization", "w4a8-g256"], "256")):
        p = run("generate", tiny, "--prompt-ids", "1", *args)
        check(p.returncode != 0 and part in p.stderr.decode(), p.stderr.decode())


def main():
    with Scratch() as tmp:
        bad_tensors(tmp)
        bad_descriptions(tmp)
        file_sets(tmp)
        same_bits(tmp)
        inspect()
        int8_cache(tmp)
        made_up(tmp)
        print(f"{len(TENSORS) + len(DESCRIPTIONS)} bad checkpoints; same bits in five layouts")


main()
