#!/usr/bin/env python3
"""Converts a Qwen3 checkpoint directory (BF16 safetensors, tokenizer.json) to a GGUF file.

usage: make_gguf.py MODEL_DIR OUT.gguf

Needs the packages gguf and numpy; used by run_llamacpp.py so that llama.cpp reads the very weights
that qwench reads. Matrices stay BF16, vectors become F32, as llama.cpp's own converter does.
"""
import argparse
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

BLOCK_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def gguf_name(name):
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    prefix = "model.layers."
    number, _, rest = name[len(prefix):].partition(".")
    if not name.startswith(prefix) or rest not in BLOCK_NAMES:
        sys.exit(f"make_gguf.py: no GGUF name for tensor '{name}'")
    return f"blk.{number}.{BLOCK_NAMES[rest]}"


def tensors_of(path):
    """(name, shape, bytes as uint16) of each BF16 tensor of a safetensors file, not yet read."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
    data = np.memmap(path, np.uint8, "r", 8 + size)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            sys.exit(f"make_gguf.py: tensor '{name}' is {entry['dtype']}; only BF16 is converted")
        begin, end = entry["data_offsets"]
        yield name, entry["shape"], data[begin:end].view(np.uint16)


def add_tensors(writer, model_dir, config):
    for path in sorted(model_dir.glob("*.safetensors")):
        for name, shape, bits in tensors_of(path):
            if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                continue
            if len(shape) == 1:
                values = (bits.astype(np.uint32) << 16).view(np.float32)
                writer.add_tensor(gguf_name(name), values)
            else:
                # Raw bytes of a row, as the writer wants them for types that numpy lacks.
                rows = bits.view(np.uint8).reshape(shape[0], 2 * shape[1])
                writer.add_tensor(gguf_name(name), rows,
                                  raw_dtype=gguf.GGMLQuantizationType.BF16)


def add_tokenizer(writer, model_dir, vocab_size):
    tokenizer = json.loads((model_dir / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    types = [gguf.TokenType.UNUSED] * vocab_size
    for text, i in tokenizer["model"]["vocab"].items():
        tokens[i], types[i] = text, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = (gguf.TokenType.CONTROL if added["special"]
                              else gguf.TokenType.USER_DEFINED)
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    ids = {text: i for i, text in enumerate(tokens)}
    writer.add_eos_token_id(ids.get("<|im_end|>", 0))
    writer.add_bos_token_id(ids.get("<|endoftext|>", 0))
    writer.add_add_bos_token(False)


def convert(model_dir, out):
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_name(model_dir.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    add_tokenizer(writer, model_dir, config["vocab_size"])
    add_tensors(writer, model_dir, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    convert(args.model_dir, args.out)


if __name__ == "__main__":
    main()
