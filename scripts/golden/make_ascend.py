#!/usr/bin/env python3
"""Writes ascend checkpoints (quantization.md) with results in double precision.

    make_ascend.py golden OUT               small random models of every layout, into OUT/NAME/model
    make_ascend.py tiny SCHEME MODEL OUT    MODEL (models/tiny) quantized: w8a8, w4a8 or w4a4

Python's standard library only, no code of the program; the same files on every run. A `golden`
checkpoint has expected.json and expected.safetensors in OUT/NAME: `linears` with NAME.x and
NAME.y, `prompts` with pN.logits of the last position, in the form of the msModelSlim golden data.
"""

import json
import math
import random
import shutil
import struct
import sys
from array import array
from pathlib import Path

# Numbers as files hold them


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bf16_bits(x):
    u = struct.unpack("<I", struct.pack("<f", x))[0]
    return (u + 0x7FFF + (u >> 16 & 1)) >> 16


def bf16(x):
    return struct.unpack("<f", struct.pack("<I", bf16_bits(x) << 16))[0]


def f16(x):
    return struct.unpack("<e", struct.pack("<e", x))[0]


ROUND = {"F32": f32, "BF16": bf16, "F16": f16}
CODES = {"F32": "f", "F16": "e", "I8": "b", "I32": "i", "I64": "q"}


def encode(dtype, values):
    if dtype == "BF16":
        return struct.pack(f"<{len(values)}H", *map(bf16_bits, values))
    return struct.pack(f"<{len(values)}{CODES[dtype]}", *values)


def flat(rows):
    return [x for row in rows for x in row]


def clamp(x, low, high):
    return max(low, min(high, x))


class Files:
    """Tensors and their entries in the description."""

    def __init__(self):
        self.tensors, self.types = {}, {}

    def add(self, name, dtype, shape, values, kind="FLOAT"):
        raw = values if isinstance(values, bytes) else encode(dtype, values)
        self.tensors[name] = (dtype, shape, raw)
        self.types[name] = kind


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, raw in tensors.values():
            f.write(raw)


# Quantizers


def scale_of(row, qmax):
    return max(max(abs(min(row)), abs(max(row))) / qmax, 1.1920929e-07)


def quantize_rows(w, qmax, dtype):
    scales = [ROUND[dtype](scale_of(row, qmax)) for row in w]
    return [[clamp(round(x / s), -qmax - 1, qmax) for x in row] for row, s in zip(w, scales)], scales


def per_token(x, qmax, clip=1.0):
    amax = max(map(abs, x))
    if amax == 0:
        return [0] * len(x), 0.0
    inv = qmax / clip / amax
    return [clamp(round(v * inv), -qmax - 1, qmax) for v in x], amax * clip / qmax


def dot(a, b):
    return sum(map(lambda x, y: x * y, a, b))


class Linear:
    """One Linear: writes its tensors; call it with a row of inputs."""

    def __init__(self, files, name, w, kind, bias=None, **how):
        self.files, self.name, self.kind, self.bias, self.how = files, name, kind, bias, how
        self.out, self.inputs = len(w), len(w[0])
        self.w = w
        getattr(self, kind.lower())()
        if bias:
            self.bias = [f32(b) for b in bias]
            files.add(name + ".bias", "F32", [self.out], self.bias)

    def add(self, suffix, dtype, shape, values):
        self.files.add(f"{self.name}.{suffix}", dtype, shape, values, self.kind)

    def offsets(self, suffix, dtype, shape):
        self.add(suffix, dtype, shape, [0] * math.prod(shape))

    def add_bias(self, y):
        return [v + b for v, b in zip(y, self.bias)] if self.bias else y

    def float(self):
        dtype = self.how.get("dtype", "BF16")
        self.w = [[ROUND[dtype](x) for x in row] for row in self.w]
        self.add("weight", dtype, [self.out, self.inputs], flat(self.w))
        self.call = lambda x: self.add_bias([dot(row, x) for row in self.w])

    def rows8(self):
        dtype = self.how.get("scales", "F32")
        self.q, self.s = quantize_rows(self.w, 127, dtype)
        self.add("weight", "I8", [self.out, self.inputs], flat(self.q))
        return dtype

    def w8a8(self):
        self.static(self.rows8(), self.how.get("old"))
        self.call = self.static_call

    def static(self, dtype, with_weight_scale):
        low, high = self.how["range"]
        low, high = min(low, 0), max(high, 0)
        s = ROUND[dtype]((high - low) / 255)
        z = clamp(round(-low / s) - 128, -128, 127)
        deq = [f32(s * ws) for ws in self.s]
        bias = self.bias or [0.0] * self.out
        fold = [round(b / d - z * sum(row)) for b, d, row in zip(bias, deq, self.q)]
        self.add("input_scale", dtype, self.how.get("scalar", [1]), [s])
        self.add("input_offset", *(("I8", [1], [z]) if with_weight_scale else ("F32", [1], [z])))
        self.add("quant_bias", "I32", [self.out], fold)
        if self.how.get("int64"):
            bits = [struct.unpack("<I", struct.pack("<f", d))[0] for d in deq]
            self.add("deq_scale", "I64", [self.out], bits)
        else:
            self.add("deq_scale", "F32", [self.out], deq)
        if with_weight_scale:
            self.scale_tensors(dtype)

        def call(x):
            q = [clamp(round(v / s + z), -128, 127) for v in x]
            return [(dot(row, q) + c) * d for row, c, d in zip(self.q, fold, deq)]

        self.static_call = call

    def scale_tensors(self, dtype):
        self.add("weight_scale", dtype, [self.out, 1], self.s)
        self.offsets("weight_offset", dtype, [self.out, 1])

    def w8a8_dynamic(self):
        g = self.how.get("group")
        if not g:
            self.scale_tensors(self.rows8())
            self.call = lambda x: self.token_call(x, 127)
            return
        self.q, scales = [], []
        for row in self.w:
            parts, s = quantize_rows([row[i:i + g] for i in range(0, self.inputs, g)], 127, "F32")
            self.q.append(flat(parts))
            scales.append(s)
        self.add("weight", "I8", [self.out, self.inputs], flat(self.q))
        self.add("weight_scale", "F32", [self.out, self.inputs // g], flat(scales))
        self.offsets("weight_offset", "F32", [self.out, self.inputs // g])
        self.s, self.s2, self.g = [1.0] * self.out, scales, g
        self.call = lambda x: self.group_call(x, 127)

    def w8a8_mix(self):
        dtype = self.rows8()
        self.static(dtype, True)
        self.call = lambda x: self.token_call(x, 127)

    def w8a16(self):
        self.scale_tensors(self.rows8())
        self.call = lambda x: self.add_bias([dot(row, x) * s for row, s in zip(self.q, self.s)])

    def token_call(self, x, qmax):
        q, scale = per_token(x, qmax)
        return self.add_bias([dot(row, q) * s * scale for row, s in zip(self.q, self.s)])

    def group_call(self, x, qmax):
        q, scale = per_token(x, qmax)
        g, y = self.g, []
        for row, s1, s2 in zip(self.q, self.s, self.s2):
            parts = (dot(row[i:i + g], q[i:i + g]) for i in range(0, self.inputs, g))
            y.append(sum(a * s for a, s in zip(parts, s2)) * s1 * scale)
        return self.add_bias(y)

    def rows4(self, dtype):
        self.q, self.s = quantize_rows(self.w, 7, dtype)

    def w4a8_dynamic(self):
        g, dtype = self.how.get("group"), self.how.get("scales", "F32")
        if g:
            first, self.s = quantize_rows(self.w, 119, dtype)
            self.q, self.s2, self.g = [], [], g
            for row in first:
                parts = [row[i:i + g] for i in range(0, self.inputs, g)]
                s2 = [float(clamp(round(scale_of(p, 7)), 1, 17)) for p in parts]
                self.q.append(flat([clamp(round(x / s), -8, 7) for x in p]
                                   for p, s in zip(parts, s2)))
                self.s2.append(s2)
        else:
            self.rows4(dtype)
        if self.how.get("old"):
            self.add("weight", "I8", [self.out, self.inputs], flat(self.q))
        else:
            packed = bytes((a & 15) | (b & 15) << 4 for low, high in zip(self.q[::2], self.q[1::2])
                           for a, b in zip(low, high))
            self.add("weight", "I8", [self.out // 2, self.inputs], packed)
            self.scale_bias()
        self.scale_tensors(dtype)
        if g:
            self.add("weight_scale_second", "F16", [self.out, self.inputs // g], flat(self.s2))
            self.offsets("weight_offset_second", "F16", [self.out, self.inputs // g])
        self.call = lambda x: (self.group_call if g else self.token_call)(x, 127)

    def scale_bias(self):
        parts = 16 if self.name.endswith(("o_proj", "down_proj")) else 1
        n, values = self.inputs // parts, []
        for o, row in enumerate(self.q):
            w = [q * self.s[o] * (self.s2[o][k // self.g] if self.how.get("group") else 1)
                 for k, q in enumerate(row)]
            values += [8 * sum(w[i * n:(i + 1) * n]) for i in range(parts)]
        self.add("scale_bias", "F32", [self.out, parts], values)

    def w4a4_dynamic(self):
        self.rows4("F32")
        self.add("weight", "I8", [self.out, self.inputs], flat(self.q))
        self.scale_tensors("F32")
        self.call = lambda x: self.token_call(x, 7)

    def w4a4_flatquant_dynamic(self):
        left, right, clip = self.how["left"], self.how.get("right"), f32(self.how["clip"])
        n = len(left)
        m = self.inputs // n
        # Orthogonal matrices: W' = L^T W R.
        self.w = [self.transform(row, left, right, n, m) for row in self.w]
        self.rows4("F32")
        self.add("weight", "I8", [self.out, self.inputs], flat(self.q))
        self.scale_tensors("F32")
        dtype = self.how.get("transforms", "F32")
        stored = [[[ROUND[dtype](x) for x in row] for row in t] if t else None
                  for t in (left, right)]
        self.add("left_trans", dtype, [n, n], flat(stored[0]))
        if right:
            self.add("right_trans", dtype, [m, m], flat(stored[1]))
        self.add("clip_ratio", "F32", [1], [clip])

        def call(x):
            q, scale = per_token(self.transform(x, *stored, n, m), 7, clip)
            return self.add_bias([dot(row, q) * s * scale for row, s in zip(self.q, self.s)])

        self.call = call

    @staticmethod
    def transform(x, left, right, n, m):
        rows = [x[i * m:(i + 1) * m] for i in range(n)]
        if right:
            rows = [[sum(a * right[k][j] for k, a in enumerate(row)) for j in range(m)]
                    for row in rows]
        return [sum(left[k][i] * rows[k][j] for k in range(n)) for i in range(n) for j in range(m)]

    def __call__(self, x):
        return self.call(x)


# The decoder (qwen3-dense.md 3)

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, VOCAB, LAYERS, EPS, THETA = 48, 4, 2, 8, 80, 64, 2, 1e-6, 1e4
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False,
    "dtype": "bfloat16", "head_dim": HEAD_DIM, "hidden_act": "silu", "hidden_size": HIDDEN,
    "intermediate_size": MLP, "max_position_embeddings": 256, "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": EPS,
    "rope_theta": THETA, "tie_word_embeddings": False, "vocab_size": VOCAB, "eos_token_id": 1,
}
SHAPES = {"self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN),
          "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
          "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
          "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM), "mlp.gate_proj": (MLP, HIDDEN),
          "mlp.up_proj": (MLP, HIDDEN), "mlp.down_proj": (HIDDEN, MLP)}


EXPERTS, TOP_K, EXPERT_MLP = 4, 2, 32
MOE_CONFIG = {
    **CONFIG, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
    "num_experts": EXPERTS, "num_experts_per_tok": TOP_K, "moe_intermediate_size": EXPERT_MLP,
    "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [2],
}
EXPERT_SHAPES = {"gate_proj": (EXPERT_MLP, HIDDEN), "up_proj": (EXPERT_MLP, HIDDEN),
                 "down_proj": (HIDDEN, EXPERT_MLP)}


def norm(x, weight, bias=None):
    r = 1 / math.sqrt(sum(v * v for v in x) / len(x) + EPS)
    y = [v * r * w for v, w in zip(x, weight)]
    return [v + b for v, b in zip(y, bias)] if bias else y


def rotate(x, pos):
    half = len(x) // 2
    y = list(x)
    for i in range(half):
        a = pos / THETA ** (2 * i / len(x))
        y[i] = x[i] * math.cos(a) - x[i + half] * math.sin(a)
        y[i + half] = x[i + half] * math.cos(a) + x[i] * math.sin(a)
    return y


def heads(x):
    return [x[i:i + HEAD_DIM] for i in range(0, len(x), HEAD_DIM)]


class Model:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.files, self.layers, self.seen, self.margin = Files(), [], {}, math.inf
        self.embed = self.float_matrix("model.embed_tokens.weight", VOCAB, HIDDEN, 1.0)

    def gauss(self, rows, cols, std):
        return [[self.rng.gauss(0, std) for _ in range(cols)] for _ in range(rows)]

    def float_matrix(self, name, rows, cols, std):
        w = [[bf16(x) for x in row] for row in self.gauss(rows, cols, std)]
        self.files.add(name, "BF16", [rows, cols], flat(w))
        return w

    def vector(self, name, n, center, std, dtype="BF16"):
        v = [ROUND[dtype](self.rng.gauss(center, std)) for _ in range(n)]
        self.files.add(name, dtype, [n], v)
        return v

    def norm_of(self, name, n, bias=False):
        weight = self.vector(name + ".weight", n, 1, 0.1)
        return weight, self.vector(name + ".bias", n, 0, 0.2, "F32") if bias else None

    def add_layer(self, how, norm_bias=False, zero_head_bias=False, experts=None):
        i = len(self.layers)
        p = f"model.layers.{i}."
        layer = {"in": self.norm_of(p + "input_layernorm", HIDDEN, norm_bias),
                 "post": self.norm_of(p + "post_attention_layernorm", HIDDEN, norm_bias)}
        for name in ("q_norm", "k_norm"):
            layer[name] = self.norm_of(p + "self_attn." + name, HEAD_DIM)[0]
            if zero_head_bias:
                self.files.add(f"{p}self_attn.{name}.bias", "F32", [HEAD_DIM], [0.0] * HEAD_DIM)
        for name, (rows, cols) in SHAPES.items():
            if experts and name.startswith("mlp."):
                continue
            w = self.gauss(rows, cols, 1 / math.sqrt(cols))
            kind, more = how(name.split(".")[1], self)
            layer[name] = Linear(self.files, p + name, w, kind, **more)
        if experts:
            self.add_experts(layer, p + "mlp.", experts)
        self.layers.append(layer)

    def add_experts(self, layer, p, how):
        # Wide margins: a choice must not hang on a rounding.
        layer["router"] = Linear(self.files, p + "gate", self.gauss(EXPERTS, HIDDEN, 1), "FLOAT")
        layer["experts"] = []
        for e in range(EXPERTS):
            expert = {}
            for name, (rows, cols) in EXPERT_SHAPES.items():
                kind, more = how(name, self)
                w = self.gauss(rows, cols, 1 / math.sqrt(cols))
                expert[name] = Linear(self.files, f"{p}experts.{e}.{name}", w, kind, **more)
            layer["experts"].append(expert)

    def bias(self, n):
        return [self.rng.gauss(0, 0.1) for _ in range(n)]

    def rotation(self, n):
        """An orthogonal matrix: a product of reflections."""
        m = [[float(i == j) for j in range(n)] for i in range(n)]
        for _ in range(3):
            v = [self.rng.gauss(0, 1) for _ in range(n)]
            vv = dot(v, v)
            m = [[x - 2 * dot(row, v) * b / vv for x, b in zip(row, v)] for row in m]
        return m

    def finish(self):
        self.norm = self.norm_of("model.norm", HIDDEN)[0]
        self.head = self.float_matrix("lm_head.weight", VOCAB, HIDDEN, 1 / math.sqrt(HIDDEN))

    def apply(self, linear, x):
        rows = self.seen.setdefault(linear.name, (linear, []))[1]
        if len(rows) < 2:
            rows.append([f32(v) for v in x])
        return linear(x)

    def mlp(self, gate, up, down, x):
        gate, up = self.apply(gate, x), self.apply(up, x)
        return self.apply(down, [a / (1 + math.exp(-a)) * b for a, b in zip(gate, up)])

    def moe(self, layer, x):
        """quantization.md 3.3; experts in the order of their probability."""
        logits = self.apply(layer["router"], x)
        e = [math.exp(v - max(logits)) for v in logits]
        ranks = sorted(range(EXPERTS), key=lambda i: (-e[i], i))
        self.margin = min(self.margin, logits[ranks[TOP_K - 1]] - logits[ranks[TOP_K]])
        total, y = sum(e[i] for i in ranks[:TOP_K]), [0.0] * HIDDEN
        for i in ranks[:TOP_K]:
            out = self.mlp(*(layer["experts"][i][name] for name in EXPERT_SHAPES), x)
            y = [a + e[i] / total * b for a, b in zip(y, out)]
        return y

    def forward(self, ids):
        hidden = [list(self.embed[t]) for t in ids]
        for layer in self.layers:
            keys, values = [], []
            for pos, x in enumerate(hidden):
                y = norm(x, *layer["in"])
                q = heads(self.apply(layer["self_attn.q_proj"], y))
                keys.append([rotate(norm(h, layer["k_norm"]), pos)
                             for h in heads(self.apply(layer["self_attn.k_proj"], y))])
                values.append(heads(self.apply(layer["self_attn.v_proj"], y)))
                out = []
                for h, query in enumerate(q):
                    query = rotate(norm(query, layer["q_norm"]), pos)
                    g = h // (HEADS // KV_HEADS)
                    scores = [dot(query, k[g]) / math.sqrt(HEAD_DIM) for k in keys]
                    e = [math.exp(s - max(scores)) for s in scores]
                    out += [sum(a * v[g][d] for a, v in zip(e, values)) / sum(e)
                            for d in range(HEAD_DIM)]
                x = [a + b for a, b in zip(x, self.apply(layer["self_attn.o_proj"], out))]
                y = norm(x, *layer["post"])
                if "experts" in layer:
                    y = self.moe(layer, y)
                else:
                    y = self.mlp(*(layer["mlp." + name] for name in EXPERT_SHAPES), y)
                hidden[pos] = [a + b for a, b in zip(x, y)]
        return [[dot(row, norm(x, self.norm)) for row in self.head] for x in hidden]


# Checkpoints

RANGE = (-2.6, 4.1)


def static(name, m, **more):
    if name == "down_proj":
        return "FLOAT", {}
    biased = {"bias": m.bias(SHAPES_OF[name])} if name in ("q_proj", "up_proj") else {}
    spread = (-1.5, 1.1) if name == "o_proj" else RANGE
    return "W8A8", {"range": spread, **biased, **more}


SHAPES_OF = {k.split(".")[1]: rows for k, (rows, _) in SHAPES.items()}


def dynamic(name, m, **more):
    if name == "down_proj":
        return "W8A8_DYNAMIC", {"group": 16}
    return "W8A8_DYNAMIC", {"bias": m.bias(SHAPES_OF[name]), **more}


def flatquant(name, m):
    if name == "down_proj":
        return "W8A8_DYNAMIC", {}
    if name == "o_proj":  # V1 stores the left matrix only
        return "W4A4_FLATQUANT_DYNAMIC", {"left": m.rotation(HEADS), "clip": 0.9}
    if name in ("q_proj", "gate_proj"):
        m.pair = {"left": m.rotation(6), "right": m.rotation(8), "clip": 0.95}
    return "W4A4_FLATQUANT_DYNAMIC", dict(m.pair)


def laos(name, m):
    return ("W4A4_DYNAMIC", {"bias": m.bias(MLP)}) if name in ("gate_proj", "up_proj") \
        else ("W8A8_DYNAMIC", {})


MIXED = [
    {"q_proj": ("W8A8", {"range": RANGE}), "k_proj": ("W8A8_DYNAMIC", {}), "v_proj": ("FLOAT", {}),
     "o_proj": ("W8A16", {}), "gate_proj": ("W4A8_DYNAMIC", {}), "up_proj": ("FLOAT", {}),
     "down_proj": ("W4A4_DYNAMIC", {})},
    {"q_proj": ("W8A8", {"range": RANGE}), "k_proj": ("W8A8", {"range": (-2.0, 3.0)}),
     "v_proj": ("W4A8_DYNAMIC", {"group": 16}), "o_proj": ("FLOAT", {"dtype": "F32"}),
     "gate_proj": ("W8A8_DYNAMIC", {}), "up_proj": ("W8A8_MIX", {"range": RANGE}),
     "down_proj": ("W8A8_DYNAMIC", {"group": 16})},
]


def ranges(name, m):
    """A static range that gate and up of an expert share, and no other expert has."""
    if name == "gate_proj":
        m.pair = (-2.6 - m.rng.random(), 3 + m.rng.random())
    return m.pair


V1 = "quant_model_weights-00001-of-00001.safetensors"


# Where the name as a seed makes a choice of experts narrow.
SEEDS = {"moe-w8a8": "moe-w8a8 1", "moe-w4a8": "moe-w4a8 2", "moe-other": "moe-other 1"}


def build(name):
    """The model, its version key and its group size, and how its files are called."""
    m = Model(SEEDS.get(name, name))
    version, group, style = "1.0.0", 0, "v1"
    if name == "w8a8":
        m.add_layer(static, norm_bias=True, zero_head_bias=True)
        m.add_layer(dynamic, norm_bias=True)
    elif name == "w8a8-v0":
        style, version = "v0", None
        m.add_layer(lambda n, m: static(n, m, old=True, scales="BF16", scalar=[]))
        m.add_layer(lambda n, m: static(n, m, int64=True, scales="F16"))
    elif name == "w8a16-mix":
        m.add_layer(lambda n, m: ("W8A16", {"scales": "F16", "bias": m.bias(SHAPES_OF[n])}))
        m.add_layer(lambda n, m: ("W8A8_MIX", {"range": RANGE, "bias": m.bias(SHAPES_OF[n])}))
    elif name == "w4a8":
        group = 16
        m.add_layer(lambda n, m: ("W4A8_DYNAMIC", {"bias": m.bias(SHAPES_OF[n])}))
        m.add_layer(lambda n, m: ("W4A8_DYNAMIC", {"group": 16}))
    elif name == "w4a8-old":
        style, version, group = "v0", None, None
        m.add_layer(lambda n, m: ("W4A8_DYNAMIC", {"old": True, "scales": "BF16"}))
        m.add_layer(lambda n, m: ("W4A8_DYNAMIC", {"old": True, "group": 16}))
    elif name == "w4a4":
        m.add_layer(flatquant)
        m.add_layer(laos)
    elif name == "moe-w8a8":  # as vLLM-Ascend documents it, then other types by layer
        m.add_layer(lambda n, m: ("W8A8", {"range": (-1.5, 1.1) if n == "o_proj" else RANGE}),
                    norm_bias=True, experts=lambda n, m: ("W8A8_DYNAMIC", {}))
        m.add_layer(lambda n, m: ("W8A8_DYNAMIC", {}),
                    experts=lambda n, m: ("W8A8_DYNAMIC", {"bias": m.bias(EXPERT_SHAPES[n][0])}))
        m.add_layer(lambda n, m: ("W8A8_DYNAMIC", {}))
    elif name == "moe-w4a8":
        group = 16
        m.add_layer(lambda n, m: ("W8A8_DYNAMIC", {}), experts=lambda n, m: ("W4A8_DYNAMIC", {}))
        m.add_layer(lambda n, m: ("FLOAT", {}),
                    experts=lambda n, m: ("W4A8_DYNAMIC", {"group": 16}))
    elif name == "moe-other":  # inputs that differ from expert to expert, and floats
        m.add_layer(lambda n, m: ("FLOAT", {}), experts=lambda n, m: (
            "W8A8", {"range": ranges(n, m)}) if n != "down_proj" else ("FLOAT", {}))
        m.add_layer(lambda n, m: ("FLOAT", {}), experts=lambda n, m: ("W8A16", {}))
    else:
        style, group = "flat", None
        for how in MIXED:
            m.add_layer(lambda n, m, how=how: how[n])
    m.finish()
    return m, version, group, style


def write_checkpoint(out, files, version, group, style, config):
    out.mkdir(parents=True, exist_ok=True)
    description = {"model_quant_type": "W8A8"}
    if version:
        description.update(version=version, metadata={}, optional={})
    if group is not None:
        description["group_size"] = group
    description.update(files.types)
    index = {"metadata": {"total_size": sum(len(t[2]) for t in files.tensors.values())},
             "weight_map": {n: V1 for n in files.tensors}}
    weights, manifest = V1, "quant_model_description.json"
    if style == "v0":
        weights, index = "quant_model_weight_w8a8.safetensors", None
        manifest = "quant_model_description_w8a8.json"
    if style == "flat":
        index = index["weight_map"]
    write_safetensors(out / weights, files.tensors)
    (out / manifest).write_text(json.dumps(description, indent=1) + "\n")
    if index:
        (out / "quant_model_weights.safetensors.index.json").write_text(json.dumps(index) + "\n")
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_expected(out, m):
    rng, prompts, tensors = random.Random(5), [], {}
    for n in (1, 7, 19):
        ids = [rng.randrange(VOCAB) for _ in range(n)]
        logits = m.forward(ids)
        prompts.append({"ids": ids, "argmax": [row.index(max(row)) for row in logits]})
        tensors[f"p{len(prompts) - 1}.logits"] = ("F32", [VOCAB], encode("F32", logits[-1]))
    linears = {}
    for name, (linear, rows) in m.seen.items():
        rows = rows + [[f32(4 * v) for v in rows[-1]]]  # saturates static ranges
        linears[name] = {"type": linear.kind, "in": linear.inputs, "out": linear.out}
        tensors[name + ".x"] = ("F32", [3, linear.inputs], encode("F32", flat(rows)))
        tensors[name + ".y"] = ("F32", [3, linear.out], encode("F32", flat(map(linear, rows))))
    expected = {"what": "double precision, scripts/golden/make_ascend.py", "linears": linears,
                "prompts": prompts}
    (out / "expected.json").write_text(json.dumps(expected) + "\n")
    write_safetensors(out / "expected.safetensors", tensors)


NAMES = ("w8a8", "w8a8-v0", "w8a16-mix", "w4a8", "w4a8-old", "w4a4", "mixed", "moe-w8a8",
         "moe-w4a8", "moe-other")


def make_golden(out):
    for name in NAMES:
        m, version, group, style = build(name)
        # The config of a quantized model may still say that the head is tied; the stored one counts.
        config = dict(CONFIG, tie_word_embeddings=name == "w8a8")
        if name.startswith("moe"):
            config = dict(MOE_CONFIG, num_hidden_layers=len(m.layers))
        write_checkpoint(out / name / "model", m.files, version, group, style, config)
        write_expected(out / name, m)
        if m.margin < 0.01:
            sys.exit(f"{name}: a choice of experts is narrow, {m.margin}; take another seed")


# A stored model, quantized


def read_model(path):
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    for name, t in header.items():
        begin, end = (8 + n + x for x in t["data_offsets"])
        yield name, t["dtype"], t["shape"], raw[begin:end]


def rows_of(raw, cols):
    bits = array("H", raw)
    values = array("f", array("I", [b << 16 for b in bits]).tobytes())
    return [values[i:i + cols] for i in range(0, len(values), cols)]


def quick_rows(rows, qmax):
    scales, data = [], []
    for row in rows:
        s = f32(scale_of(row, qmax))
        scales.append(s)
        inv = 1 / s
        data.append(array("b", [round(x * inv) for x in row]))
    return data, scales


def tiny_linear(files, base, rows, scheme):
    out, cols = len(rows), len(rows[0])
    last = base.rsplit(".", 1)[1]
    kind = {"w8a8": "W8A8", "w4a8": "W4A8_DYNAMIC", "w4a4": "W4A4_DYNAMIC"}[scheme]
    if scheme == "w4a4" and last not in ("gate_proj", "up_proj"):
        kind = "W8A8_DYNAMIC"
    if scheme == "w8a8" and last in ("o_proj", "down_proj"):
        kind = "W8A8_DYNAMIC"
    q, s = quick_rows(rows, 127 if kind.startswith("W8") else 7)
    if kind == "W4A8_DYNAMIC":
        packed = b"".join(bytes((a & 15) | (b & 15) << 4 for a, b in zip(q[i], q[i + 1]))
                          for i in range(0, out, 2))
        files.add(base + ".weight", "I8", [out // 2, cols], packed, kind)
        files.add(base + ".scale_bias", "F32", [out, 1], [8 * x * sum(r) for x, r in zip(s, q)], kind)
    else:
        files.add(base + ".weight", "I8", [out, cols], b"".join(r.tobytes() for r in q), kind)
    if kind == "W8A8":
        x = f32(8 / 127)
        files.add(base + ".input_scale", "F32", [1], [x], kind)
        files.add(base + ".input_offset", "F32", [1], [0.0], kind)
        files.add(base + ".deq_scale", "F32", [out], [f32(x * w) for w in s], kind)
        files.add(base + ".quant_bias", "I32", [out], [0] * out, kind)
    else:
        files.add(base + ".weight_scale", "F32", [out, 1], s, kind)
        files.add(base + ".weight_offset", "F32", [out, 1], [0.0] * out, kind)


def make_tiny(scheme, model, out):
    shutil.copytree(model, out, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    files = Files()
    for name, dtype, shape, raw in read_model(model / "model.safetensors"):
        base = name.removesuffix(".weight")
        if base.endswith("_proj"):
            tiny_linear(files, base, rows_of(raw, shape[1]), scheme)
        else:
            files.add(name, dtype, shape, raw)
    config = json.loads((model / "config.json").read_text())
    (out / "config.json").unlink()
    write_checkpoint(out, files, "1.0.0", 0, "v1", config)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "golden":
        make_golden(Path(sys.argv[2]))
    elif len(sys.argv) == 5 and sys.argv[1] == "tiny" and sys.argv[2] in ("w8a8", "w4a8", "w4a4"):
        make_tiny(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
