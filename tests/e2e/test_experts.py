"""Models with experts through the binary: bad ones end in one sentence that names the thing; a token
has the same bits alone, in company, in pieces, cached and on any threads; inspect, plan, quantize and
made-up weights know of experts."""

import json
import shutil
import struct
import subprocess
import sys

from qwtest import DATA, SOURCE, Scratch, check, generate_file, json_lines, ok, run

MOE, ASCEND = DATA / "qwen3-moe", DATA / "ascend"
NONE = ["--pack-cache", ""]
IDS = [(i * 37 + 5) % 60 for i in range(40)]
E3 = "model.layers.1.mlp.experts.3."


def copy(tmp, source):
    target = tmp / "m"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for f in target.iterdir():
        f.chmod(0o644)
    return target


def weight_file(model):
    return next(p for p in model.iterdir() if p.suffix == ".safetensors" and p.stem != "expected")


def edit(model, change):
    raw = weight_file(model).read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    tensors, header, offset = {}, {}, 0
    for name, t in json.loads(raw[8:8 + n]).items():
        begin, end = (8 + n + x for x in t["data_offsets"])
        tensors[name] = [t["dtype"], t["shape"], raw[begin:end]]
    change(tensors)
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    weight_file(model).write_bytes(struct.pack("<Q", len(text)) + text +
                                   b"".join(t[2] for t in tensors.values()))
    index = model / "quant_model_weights.safetensors.index.json"
    if index.exists():
        index.write_text(json.dumps({n: weight_file(model).name for n in tensors}))


def reshape(name, shape):
    def change(tensors):
        dtype, _, data = tensors[name]
        tensors[name] = [dtype, shape, data]
    return change


def add(name, shape):
    return lambda tensors: tensors.update({name: ["BF16", shape, bytes(2 * shape[0] * shape[1])]})


# (checkpoint, members of config.json, change of the tensors, of the description, in the sentence)
BAD = [
    ("tied", {"num_experts": 8}, None, None, ["mlp.gate.weight", "[6, 64]", "[8, 64]"]),
    ("tied", {"num_experts": 4}, None, None, ["mlp.gate.weight", "[6, 64]", "[4, 64]"]),
    ("tied", {"num_experts_per_tok": 7}, None, None, ["'num_experts_per_tok' (7)", "(6)"]),
    ("tied", {"mlp_only_layers": []}, None, None, ["missing", "model.layers.0.mlp.gate.weight"]),
    ("tied", {"moe_intermediate_size": 32}, None, None, ["experts.0.gate_proj", "[40, 64]"]),
    ("tied", {}, lambda t: t.pop(E3 + "up_proj.weight"), None, ["1 of ", E3 + "up_proj.weight"]),
    ("tied", {}, lambda t: t.pop("model.layers.2.mlp.gate.weight"), None,
     ["missing", "model.layers.2.mlp.gate.weight"]),
    ("tied", {}, reshape(E3 + "down_proj.weight", [40, 64]), None, [E3 + "down_proj", "[64, 40]"]),
    ("tied", {}, add("model.layers.1.mlp.experts.6.up_proj.weight", [40, 64]), None,
     ["experts.6.up_proj", "no place"]),
    ("tied", {}, add("model.layers.1.mlp.shared_expert.up_proj.weight", [40, 64]), None,
     ["shared_expert", "no place"]),
    ("moe-w8a8", {}, None, {E3 + "down_proj.weight": "W8A16"},
     ["layer 1: expert 3", "down_proj as W8A16", "expert 0 as W8A8_DYNAMIC", "one way"]),
    ("moe-w8a8", {}, None, {E3 + "gate_proj.weight": "W8A16", E3 + "up_proj.weight": "W8A16"},
     ["layer 1: expert 3", "gate_proj as W8A16", "one way"]),
    ("moe-w8a8", {}, None, {E3 + "up_proj.weight": "W8A16"},
     ["layer 1: expert 3", "gate_proj as W8A8_DYNAMIC and up_proj as W8A16"]),
    ("moe-w8a8", {}, lambda t: t.pop(E3 + "up_proj.weight_scale"), None,
     [E3 + "up_proj.weight_scale", "missing"]),
    ("moe-w4a8", {}, reshape(E3 + "up_proj.weight_scale_second", [16, 6]), None,
     [E3 + "up_proj.weight_scale_second", "shape"]),
]


def bad_models(tmp):
    for name, config, change, description, parts in BAD:
        source = MOE / name if name == "tied" else ASCEND / name / "model"
        model = copy(tmp, source)
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        if change:
            edit(model, change)
        if description:
            path = model / "quant_model_description.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **description}))
        p = run("generate", model, "--prompt-ids", "1,2", "--max-tokens", 2, *NONE)
        err = p.stderr.decode()
        check(p.returncode == 1, f"{parts}: exit {p.returncode}: {err}")
        lines = [line for line in err.split("\n") if ": error: " in line]
        check(len(lines) == 1, f"{parts}: one sentence expected: {err}")
        for part in parts:
            check(part in lines[0], f"'{part}' is missing: {err}")


def dump(tmp, model, *args):
    path = tmp / "logits.safetensors"
    ok("generate", model, "--prompt-ids", ",".join(map(str, IDS)), "--max-tokens", 8,
       "--ignore-eos", "--temperature", 0, "--dump-logits", path, *args)
    return path.read_bytes()


def same_bits(tmp):
    cache = tmp / "cache"
    ways = [("packed", ["--pack-cache", cache]), ("cached", ["--pack-cache", cache]),
            ("chunk 7", [*NONE, "--max-num-batched-tokens", 7]),
            ("threads", [*NONE, "--cpu-threads", 2, "--block-size", 64]),
            ("ref", [*NONE, "--cpu-isa", "ref"])]
    for model in (MOE / "tied", ASCEND / "moe-w8a8/model", ASCEND / "moe-w4a8/model"):
        base = dump(tmp, model, *NONE)
        for what, args in ways:
            check(dump(tmp, model, *args) == base, f"{model}, {what}: bits differ")
        mine = {"prompt_token_ids": IDS, "max_tokens": 8, "ignore_eos": True, "logprobs": 3,
                "temperature": 0}
        others = [{"prompt_token_ids": IDS[i:i + 5 + i], "max_tokens": 4 + i} for i in range(5)]
        alone, = generate_file([mine], model, *NONE)
        crowd = generate_file([*others[:3], mine, *others[3:]], model, *NONE)[3]
        alone.pop("index"), crowd.pop("index")
        check(alone == crowd, f"{model}: alone and in company differ")
    packed = list(cache.glob("*.qwpack"))
    check(len(packed) == 3, f"packed files: {packed}")


def inspect():
    got = json.loads(ok("inspect", ASCEND / "moe-w4a8/model", "--json"))
    by_name = {(t["layer"], t["name"]): t for t in got["linears"]}
    check(len(by_name) == 2 * (4 + 1 + 4 * 3) + 1, f"{len(by_name)} Linears")
    t = by_name[1, "mlp.experts.2.down_proj"]
    check(t["expert"] == 2 and t["format"] == "W4A8_DYNAMIC" and t["group_size"] == 16, t)
    check(by_name[0, "mlp.gate"]["format"] == "BF16" and "expert" not in by_name[0, "mlp.gate"], got)
    table = ok("inspect", MOE / "tied").decode()
    for part in ("layer 0\n", "layers 1 to 3\n", "  mlp.gate  ", "  experts 0 to 5, each\n    gate_proj",
                 "77 Linears"):
        check(part in table, f"'{part}' is missing: {table}")


def plan(tmp):
    model = MOE / "tied"
    size = weight_file(model).stat().st_size
    p = json.loads(ok("plan", model, "--json", "--length", 16, "--pack-cache", tmp / "plan"))
    experts = 3 * 6 * (96 * 64 + 64 * 64) * 2  # panels of 16 rows; k in whole panel rows
    check(p["expert_bytes"] == experts, p["expert_bytes"])
    check(0.7 * size < p["weight_bytes"] < 1.3 * size, p)
    read, one = p["machine"]["read_bytes_per_s"], p["decode"][0]
    met = p["weight_bytes"] - experts / 2 + 16 * p["kv_bytes_per_token"]  # 3 of 6 experts
    check(one["tokens_per_s"] <= read / met * 1.0001, p)
    if one["decided_by"] == "bw":
        check(one["tokens_per_s"] > read / met * 0.9999, p)
    check("experts" in ok("plan", model, "--pack-cache", tmp / "plan").decode(), "plan's table")


def made_up():
    args = [SOURCE / "share/configs/Qwen3-30B-A3B", "--load-format", "dummy", *NONE,
            "--hf-overrides", json.dumps({"num_hidden_layers": 2, "num_experts": 10, "vocab_size": 512,
                                          "hidden_size": 256, "mlp_only_layers": [0]}),
            "--max-model-len", 64, "--max-num-batched-tokens", 64, "--max-num-seqs", 2]
    for scheme in ("none", "w8a8-dynamic", "w4a8-g128", "w4a4-flatquant"):
        outs = [json_lines(ok("generate", *args, "--dummy-quantization", scheme, "--prompt-ids",
                              "1,2,3", "--max-tokens", 4, "--ignore-eos", "--json", "--cpu-threads",
                              n))[0]["token_ids"] for n in (1, 2)]
        check(outs[0] == outs[1] and len(outs[0]) == 4, f"{scheme}: {outs}")


def quantized(tmp):
    """What quantize writes conforms, runs, and says nearly the same."""
    float_logits = dump(tmp, MOE / "mixed", *NONE, "--dtype", "float32")
    for scheme in ("w8a8-dynamic", "w4a8"):
        out = tmp / scheme
        ok("quantize", MOE / "mixed", out, "--scheme", scheme)
        p = subprocess.run([sys.executable, SOURCE / "scripts/check_ascend.py", out, "--source",
                            MOE / "mixed"], capture_output=True, text=True, check=False)
        check(p.returncode == 0, f"{scheme}: {p.stdout}{p.stderr}")
        kinds = {t["format"] for t in json.loads(ok("inspect", out, "--json"))["linears"]
                 if "expert" in t}
        check(len(kinds) == 1 and kinds.pop().startswith(scheme[:4].upper()), f"{scheme}: {kinds}")
        logits = dump(tmp, out, *NONE, "--dtype", "float32")
        check(len(logits) == len(float_logits) and logits != float_logits, f"{scheme}: logits")


def main():
    with Scratch() as tmp:
        bad_models(tmp)
        same_bits(tmp)
        inspect()
        plan(tmp)
        made_up()
        quantized(tmp)
        print(f"{len(BAD)} bad models; same bits in three formats")


main()
