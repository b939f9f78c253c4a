"""quantize beside msModelSlim: what both write for the same model differs only where it is stated.

The float model is what a checkpoint of msModelSlim dequantizes to; it is quantized anew with the same
types. Then names, dtypes, shapes and description are the same, but for what docs/quantization.md
says, and the integers are the same but for roundings.
"""

import json
import shutil
import struct
import sys
from array import array

from qwtest import DATA, SOURCE, TINY, Scratch, check, ok

sys.path.insert(0, str(SOURCE / "scripts"))
import check_ascend  # noqa: E402  (the reader of the independent checker)


def read(directory):
    problems, tensors = [], {}
    for path in sorted(directory.glob("quant_model_weight*.safetensors")):
        tensors.update(check_ascend.read_file(path, problems))
    check(not problems, f"{directory}: {problems}")
    return tensors, json.loads((directory / "quant_model_description.json").read_text())


def to_bf16(values):
    """Rounded to nearest, ties to even."""
    out = array("H", bytes(2 * len(values)))
    for i, (bits,) in enumerate(struct.iter_unpack("<I", array("f", values).tobytes())):
        out[i] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return out.tobytes()


def integers(tensors, name):
    """Rows of a Linear's weight; packed nibbles are taken apart: two rows in a byte."""
    t = tensors[name]
    columns, values = t.shape[1], t.ints()
    rows = [values[r * columns:(r + 1) * columns] for r in range(t.shape[0])]
    if f"{name[:-7]}.scale_bias" not in tensors:
        return rows
    apart = []
    for row in rows:
        apart.append(array("b", (((v & 15) ^ 8) - 8 for v in row)))
        apart.append(array("b", (v >> 4 for v in row)))
    return apart


def dequantized(tensors, name):
    prefix, rows = name[:-7], integers(tensors, name)
    if f"{prefix}.deq_scale" in tensors:
        (step,) = tensors[f"{prefix}.input_scale"].floats()
        scales = [s / step for s in tensors[f"{prefix}.deq_scale"].floats()]
    else:
        scales = tensors[f"{prefix}.weight_scale"].floats()
    second = tensors.get(f"{prefix}.weight_scale_second")
    if not second:
        return [[v * s for v in row] for row, s in zip(rows, scales)]
    n, groups = second.shape[1], second.floats()
    size = len(rows[0]) // n
    return [[v * s * groups[r * n + k // size] for k, v in enumerate(row)]
            for r, (row, s) in enumerate(zip(rows, scales))]


def make_source(golden, directory):
    """The BF16 model that a quantized one stands for, with a tokenizer to calibrate it with."""
    tensors, types = read(golden)
    directory.mkdir()
    config = json.loads((golden / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, directory)
    header, data = {}, bytearray()
    for name, t in tensors.items():
        if not name.endswith(".weight") or (name == "lm_head.weight" and config["tie_word_embeddings"]):
            continue
        shape, raw = t.shape, bytes(t.data)
        if types[name] != "FLOAT":
            rows = dequantized(tensors, name)
            shape, raw = [len(rows), len(rows[0])], to_bf16([v for row in rows for v in row])
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return tensors, types


def compare(name, tmp, scheme, missing, extra):
    """Everything but the calibration, which saw other texts."""
    source, made = tmp / f"{name}-source", tmp / f"{name}-made"
    want, want_types = make_source(DATA / name, source)
    recipe = tmp / "recipe.yaml"
    recipe.write_text("layers:\n" + "".join(
        f"- {{match: '{key[:-7]}', type: {kind}}}\n" for key, kind in want_types.items()
        if key.endswith("_proj.weight")))
    ok("quantize", source, made, "--scheme", scheme, "--recipe", recipe, *extra)
    got, got_types = read(made)
    check(set(want) - set(got) == missing and not set(got) - set(want),
          f"{name}: other tensors: {set(want) ^ set(got)}")
    for key, tensor in got.items():
        check((tensor.dtype, tensor.shape) == (want[key].dtype, want[key].shape),
              f"{name}: {key} is {tensor.dtype} {tensor.shape}, not {want[key].dtype} {want[key].shape}")
        check(got_types[key] == want_types[key], f"{name}: {key} is {got_types[key]}")
    keys = {k for k in want_types if k not in want}
    for key in keys:
        check(got_types[key] == want_types[key], f"{name}: {key}: {got_types[key]}")
    n = same = near = 0
    error = energy = 0.0
    for key in (k for k, kind in got_types.items() if k.endswith("_proj.weight") and kind != "FLOAT"):
        for a, b in zip(integers(got, key), integers(want, key)):
            n += len(a)
            same += sum(x == y for x, y in zip(a, b))
            near += sum(abs(x - y) <= 1 for x, y in zip(a, b))
        for a, b in zip(dequantized(got, key), dequantized(want, key)):
            error += sum((x - y) ** 2 for x, y in zip(a, b))
            energy += sum(y * y for y in b)
    print(f"{name}: {same / n:.2%} of the integers are the same, {near / n:.2%} within one; "
          f"weights differ by {(error / energy) ** 0.5:.2e}")
    return same / n, near / n, (error / energy) ** 0.5


if __name__ == "__main__":
    with Scratch() as tmp:
        calib = tmp / "calib.jsonl"
        calib.write_text(json.dumps({"text": "What is 47 + 38? It is 85, and 12 - 7 is 5."}) + "\n")
        same, near, error = compare("msmodelslim-w8a8", tmp, "w8a8", {"lm_head.weight"},
                                    ["--calib", calib, "--no-smooth"])
        check(same > 0.97 and near == 1 and error < 5e-3, f"w8a8: {same} same, {near}, {error}")
        same, near, error = compare("msmodelslim-w4a8", tmp, "w4a8", set(), ["--group-size", "64"])
        check(same > 0.99 and error < 1e-3, f"w4a8: {same} same, {near}, {error}")
