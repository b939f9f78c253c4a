#!/usr/bin/env python3
"""Checks a quantized checkpoint ("ascend" format) against the rules that its readers rely on.

    scripts/check_ascend.py DIR [--source FLOAT_DIR] [--minmax]

Shares no code with the writer and needs only the standard library, so it is slow: for small models.
The rules are those of the format's description (quantization.md 1, 3 and 10.1): files and index,
an entry for every tensor, names, dtypes and shapes by type, ranges of the integers, scales, folded
biases, the checksum of packed int4, transforms. With --source the dequantized weights are compared
with the float ones, which must not have been smoothed or rotated. --minmax: rows of 8-bit weights
reach 127. Prints what is wrong, one line each; exit status 1 when something is.
"""
import argparse
import json
import math
import re
import struct
import sys
from array import array
from pathlib import Path

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1}
LINEAR = re.compile(r"^model\.layers\.(\d+)\.(self_attn|mlp)(\.experts\.\d+)?\."
                    r"([qkvo]|gate|up|down)_proj\.weight$")
GLOBAL = {"version", "model_quant_type", "metadata", "group_size", "optional"}
LOW = bytes((b & 15) - (16 if b & 8 else 0) & 255 for b in range(256))
HIGH = bytes((b >> 4) - (16 if b & 128 else 0) & 255 for b in range(256))


class Tensor:
    def __init__(self, name, entry, data, file):
        self.name, self.file = name, file
        self.dtype, self.shape = entry["dtype"], entry["shape"]
        begin, end = entry["data_offsets"]
        self.data = data[begin:end]

    def floats(self):
        if self.dtype == "F32":
            return array("f", bytes(self.data))
        if self.dtype == "F16":
            return array("f", struct.unpack(f"<{len(self.data) // 2}e", self.data))
        if self.dtype == "BF16":
            wide = bytearray(len(self.data) * 2)
            wide[2::4] = self.data[0::2]
            wide[3::4] = self.data[1::2]
            return array("f", bytes(wide))
        if self.dtype == "I64":  # deq_scale: the bits of a float
            bits = array("q", bytes(self.data))
            return array("f", struct.pack(f"<{len(bits)}I", *(b & 0xFFFFFFFF for b in bits)))
        raise ValueError(f"{self.name}: {self.dtype} holds no floats")

    def ints(self):
        return array({"I8": "b", "I32": "i"}[self.dtype], bytes(self.data))


def read_file(path, problems):
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    if (8 + n) % 8:
        problems.append(f"{path.name}: the data begins at {8 + n}, no multiple of 8")
    if "__metadata__" in header:
        problems.append(f"{path.name}: has __metadata__")
        del header["__metadata__"]
    data, tensors, covered = memoryview(raw)[8 + n:], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if begin != covered or end - begin != math.prod(entry["shape"]) * SIZES[entry["dtype"]]:
            problems.append(f"{path.name}: '{name}' lies at {begin}..{end}, which does not fit")
        covered = end
        tensors[name] = Tensor(name, entry, data, path.name)
    if covered != len(data):
        problems.append(f"{path.name}: {len(data)} bytes of data, {covered} belong to tensors")
    return tensors


class Checker:
    def __init__(self, path, minmax):
        self.dir, self.minmax, self.problems = Path(path), minmax, []
        self.tensors = {}
        for file in sorted(self.dir.glob("*.safetensors")):
            self.tensors.update(read_file(file, self.problems))
        self.description = json.loads((self.dir / "quant_model_description.json").read_text())
        self.config = json.loads((self.dir / "config.json").read_text())
        self.linears = {}  # prefix with its dot -> type

    def wrong(self, text):
        self.problems.append(text)

    def want(self, condition, text):
        if not condition:
            self.wrong(text)
        return condition

    # Files

    def check_files(self):
        parts = sorted(p.name for p in self.dir.glob("*.safetensors"))
        names = [f"quant_model_weights-{i + 1:05}-of-{len(parts):05}.safetensors"
                 for i in range(len(parts))]
        self.want(parts == names, f"weight files are {parts}, expected {names}")
        index = json.loads((self.dir / "quant_model_weights.safetensors.index.json").read_text())
        size = sum(len(t.data) for t in self.tensors.values())
        self.want(index["metadata"]["total_size"] == size,
                  f"index: total_size {index['metadata']['total_size']}, the tensors have {size}")
        self.want(index["weight_map"] == {n: t.file for n, t in self.tensors.items()},
                  "index: weight_map is not what the files hold")
        self.want("quantization_config" not in self.config, "config.json: quantization_config")
        left = [p.name for p in self.dir.iterdir()
                if p.name == "journal" or ".tmp." in p.name or "calibration" in p.name]
        self.want(not left, f"left over: {left}")

    def check_description(self):
        d = self.description
        self.want(GLOBAL <= d.keys(), f"description: lacks {GLOBAL - d.keys()}")
        entries = d.keys() - GLOBAL
        self.want(entries == self.tensors.keys(),
                  f"description: differs from the tensors in {entries ^ self.tensors.keys()}")
        self.want(d["version"] == "1.0.0", f"description: version {d['version']}")
        for name in self.tensors:
            if LINEAR.match(name):
                self.linears[name[:-len("weight")]] = d.get(name)
        for name, tag in d.items():
            prefix = name.rpartition(".")[0] + "."
            if name in GLOBAL:
                continue
            want = self.linears.get(prefix, "FLOAT")
            if name.endswith("_proj.bias"):
                want = "FLOAT"
            self.want(tag == want, f"description: '{name}' is {tag}, expected {want}")

    def check_families(self):
        families = {}
        for prefix, kind in self.linears.items():
            m = LINEAR.match(prefix + "weight")
            part = m.group(4)
            family = "qkv" if part in "qkv" else "experts" if m.group(3) else (
                "gate_up" if part in ("gate", "up") else prefix)
            families.setdefault((m.group(1), family), []).append((prefix, kind))
        for (layer, family), members in families.items():
            kinds = {kind for _, kind in members}
            self.want(len(kinds) == 1, f"layer {layer}, {family}: types {sorted(kinds)}")
            for suffix in ("input_scale", "input_offset", "left_trans", "right_trans", "clip_ratio"):
                values = {bytes(self.tensors[p + suffix].data) for p, _ in members
                          if p + suffix in self.tensors}
                if family != "experts":
                    self.want(len(values) <= 1, f"layer {layer}, {family}: {suffix} differ")

    # Linears

    def expected(self, prefix, kind, out, n):
        """suffix -> (dtype, shape) of what belongs to a Linear."""
        g = self.description["group_size"]
        model = self.config.get("torch_dtype", self.config.get("dtype"))
        deq = "F32" if model == "bfloat16" else "I64"
        row_parallel = re.search(r"\.(o|down)_proj\.$", prefix)
        dynamic = {"weight": ("I8", [out, n]), "weight_scale": ("F32", [out, 1]),
                   "weight_offset": ("F32", [out, 1])}
        static = {"weight": ("I8", [out, n]), "input_scale": ("F32", [1]),
                  "input_offset": ("F32", [1]), "quant_bias": ("I32", [out]),
                  "deq_scale": (deq, [out])}
        if kind in ("W8A8_DYNAMIC", "W8A16", "W4A4_DYNAMIC"):
            return dynamic
        if kind == "W8A8":
            return static
        if kind == "W8A8_MIX":
            return {**dynamic, **static}
        if kind == "W4A8_DYNAMIC":
            two = {"weight_scale_second": ("F16", [out, n // g]),
                   "weight_offset_second": ("F16", [out, n // g])} if g else {}
            return {**dynamic, **two, "weight": ("I8", [out // 2, n]),
                    "scale_bias": ("F32", [out, 16 if row_parallel else 1])}
        if kind == "W4A4_FLATQUANT_DYNAMIC":
            left = self.tensors[prefix + "left_trans"].shape[0]
            return {**dynamic, "left_trans": ("F32", [left, left]),
                    "right_trans": ("F32", [n // left, n // left]), "clip_ratio": ("F32", [1])}
        self.wrong(f"'{prefix}weight': unknown type {kind}")
        return {}

    def sizes(self, prefix, kind):
        rows, n = self.tensors[prefix + "weight"].shape
        return (rows * 2 if kind == "W4A8_DYNAMIC" else rows), n

    def rows(self, prefix, kind):
        """The integers of a Linear, row by row."""
        t = self.tensors[prefix + "weight"]
        n = t.shape[1]
        for i in range(t.shape[0]):
            row = bytes(t.data[i * n:(i + 1) * n])
            if kind == "W4A8_DYNAMIC":
                yield array("b", row.translate(LOW))
                yield array("b", row.translate(HIGH))
            else:
                yield array("b", row)

    def check_linear(self, prefix, kind):
        out, n = self.sizes(prefix, kind)
        wanted = self.expected(prefix, kind, out, n)
        there = {name[len(prefix):]: t for name, t in self.tensors.items()
                 if name.startswith(prefix)}
        if not self.want(there.keys() - {"bias"} == wanted.keys(),
                         f"'{prefix}': has {sorted(there)}, expected {sorted(wanted)}"):
            return
        for suffix, (dtype, shape) in wanted.items():
            t = there[suffix]
            self.want((t.dtype, t.shape) == (dtype, shape),
                      f"'{t.name}': {t.dtype} {t.shape}, expected {dtype} {shape}")
        for suffix in wanted:
            if suffix.endswith("scale") or suffix == "weight_scale_second":
                values = there[suffix].floats()
                self.want(all(1.19e-7 <= v < math.inf for v in values) or suffix == "deq_scale"
                          and all(0 < v < math.inf for v in values),
                          f"'{prefix}{suffix}': not finite and positive")
            if suffix.startswith("weight_offset"):
                self.want(not any(there[suffix].data), f"'{prefix}{suffix}': not zero")
        sums = self.check_integers(prefix, kind)
        if "quant_bias" in there:
            self.check_static(prefix, there, sums)
        if "scale_bias" in there:
            self.check_scale_bias(prefix, kind, there, n)
        if "left_trans" in there:
            self.check_transforms(prefix, there, n)

    def check_integers(self, prefix, kind):
        is_4_bit = kind.startswith("W4")
        sums = []
        for i, row in enumerate(self.rows(prefix, kind)):
            most = max(abs(min(row)), max(row))
            sums.append(sum(row))
            if is_4_bit:
                self.want(-8 <= min(row) and max(row) <= 7, f"'{prefix}weight' row {i}: beyond int4")
            elif self.minmax:
                self.want(most in (0, 126, 127, 128), f"'{prefix}weight' row {i}: reaches {most}")
            if self.problems and len(self.problems) > 50:
                break
        return sums

    def check_static(self, prefix, there, sums):
        s, z = there["input_scale"].floats()[0], there["input_offset"].floats()[0]
        self.want(z == int(z) and -128 <= z <= 127, f"'{prefix}input_offset': {z}")
        bias, deq = there["quant_bias"].ints(), there["deq_scale"].floats()
        if "bias" not in there:
            far = max(abs(b + int(z) * total) for b, total in zip(bias, sums))
            self.want(far <= 64, f"'{prefix}quant_bias': {far} away from -z * sum of the weights")
        if "weight_scale" in there:
            for d, w in zip(deq, there["weight_scale"].floats()):
                if not self.want(abs(d - s * w) <= d / 128, f"'{prefix}deq_scale': {d}, not {s * w}"):
                    break

    def check_scale_bias(self, prefix, kind, there, n):
        s1, bias = there["weight_scale"].floats(), there["scale_bias"].floats()
        slices = there["scale_bias"].shape[1]
        g = self.description["group_size"] or n
        second = there["weight_scale_second"].floats() if "weight_scale_second" in there else None
        if second:
            self.want(all(v == int(v) and 1 <= v <= 17 for v in second),
                      f"'{prefix}weight_scale_second': not whole numbers of 1 to 17")
        for o, row in enumerate(self.rows(prefix, kind)):
            total = size = 0.0
            for j in range(n // g):
                part = row[j * g:(j + 1) * g]
                s2 = second[o * (n // g) + j] if second else 1.0
                total += sum(part) * s2
                size += sum(map(abs, part)) * s2
            got = sum(bias[o * slices:(o + 1) * slices])
            if not self.want(abs(got - 8 * s1[o] * total) <= 1e-5 * 8 * s1[o] * max(size, 1),
                             f"'{prefix}scale_bias' row {o}: {got}, expected {8 * s1[o] * total}"):
                return
            if slices > 1:  # each of them over its own part of the columns
                width, j = n // slices, o % slices
                want = 8 * s1[o] * sum(q * (second[o * (n // g) + (j * width + i) // g] if second
                                            else 1.0)
                                       for i, q in enumerate(row[j * width:(j + 1) * width]))
                if not self.want(abs(bias[o * slices + j] - want) <= 1e-4 * s1[o] * n,
                                 f"'{prefix}scale_bias' row {o} part {j}"):
                    return

    def check_transforms(self, prefix, there, n):
        clip = there["clip_ratio"].floats()[0]
        self.want(0 < clip <= 1, f"'{prefix}clip_ratio': {clip}")
        self.want(there["left_trans"].shape[0] * there["right_trans"].shape[0] == n,
                  f"'{prefix}': transforms do not make {n}")
        for suffix in ("left_trans", "right_trans"):
            m, k = there[suffix].floats(), there[suffix].shape[0]
            for i in (0, 1, k - 1):
                for j in range(k):
                    dot = sum(m[i * k + t] * m[j * k + t] for t in range(k))
                    if not self.want(abs(dot - (i == j)) < 1e-4, f"'{prefix}{suffix}': singular?"):
                        return

    def check_norms(self):
        norms = [t for name, t in self.tensors.items() if name.endswith("layernorm.weight")]
        rotated = all(v == 1.0 for t in norms for v in t.floats())
        if rotated:
            self.want("lm_head.weight" in self.tensors and
                      not self.config.get("tie_word_embeddings", False),
                      "all norms are 1 (rotated), but there is no head of its own")
        return rotated

    # Against the float model

    def dequantized(self, prefix, kind, i, row):
        """Row i as floats, and the largest error that rounding alone explains."""
        t = {name[len(prefix):]: x for name, x in self.tensors.items() if name.startswith(prefix)}
        if kind == "W8A8":
            s = t["deq_scale"].floats()[i] / t["input_scale"].floats()[0]
        else:
            s = t["weight_scale"].floats()[i]
        n = len(row)
        if "weight_scale_second" in t:
            g = self.description["group_size"]
            second = t["weight_scale_second"].floats()[i * (n // g):(i + 1) * (n // g)]
            return [q * s * second[k // g] for k, q in enumerate(row)], s * (max(second) * 4 + 1)
        w = [q * s for q in row]
        if kind == "W4A4_FLATQUANT_DYNAMIC":  # W = L * W' * R^T
            left, right = t["left_trans"].floats(), t["right_trans"].floats()
            l, r = t["left_trans"].shape[0], t["right_trans"].shape[0]
            half = [[sum(w[a * r + c] * right[b * r + c] for c in range(r)) for b in range(r)]
                    for a in range(l)]
            w = [sum(left[a * l + c] * half[c][b] for c in range(l))
                 for a in range(l) for b in range(r)]
            return w, s * 4  # in the square mean far less
        return w, s * (0.5001 if kind.startswith("W8") and self.minmax else 60)

    def compare(self, source):
        floats = {}
        for file in sorted(Path(source).glob("*.safetensors")):
            floats.update(read_file(file, []))
        for name, t in self.tensors.items():
            if name in floats and self.description[name] == "FLOAT":
                self.want(bytes(t.data) == bytes(floats[name].data), f"'{name}': not as it was")
        for prefix, kind in self.linears.items():
            if kind == "FLOAT":
                continue
            name = prefix + "weight"
            out, n = self.sizes(prefix, kind)
            original, rows = floats[name].floats(), list(self.rows(prefix, kind))
            for i in {0, 1, out // 2, out - 1}:
                got, room = self.dequantized(prefix, kind, i, rows[i])
                want = original[i * n:(i + 1) * n]
                far = max(abs(a - b) for a, b in zip(got, want))
                noise = math.sqrt(sum((a - b) ** 2 for a, b in zip(got, want)))
                size = math.sqrt(sum(b * b for b in want))
                limit = 0.02 if kind.startswith("W8") else 0.25
                self.want(far <= room and noise <= limit * size,
                          f"'{name}' row {i}: {far} off ({room} allowed), noise {noise / size:.3f}")

    def run(self, source):
        self.check_files()
        self.check_description()
        self.check_families()
        for prefix, kind in self.linears.items():
            if kind != "FLOAT":
                self.check_linear(prefix, kind)
        self.check_norms()
        if source:
            self.compare(source)
        return self.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", help="quantized checkpoint")
    parser.add_argument("--source", help="the float checkpoint it was made from")
    parser.add_argument("--minmax", action="store_true", help="8-bit rows must reach 127")
    args = parser.parse_args()
    checker = Checker(args.dir, args.minmax)
    problems = checker.run(args.source)
    for problem in problems:
        print(problem)
    kinds = {}
    for kind in checker.linears.values():
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{len(checker.tensors)} tensors, "
          f"{', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}, "
          f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
