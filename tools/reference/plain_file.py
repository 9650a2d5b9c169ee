"""Reads a checkpoint folder with NumPy alone: both spellings of config.json, safetensors."""

import json
import os

import numpy as np

SLIDING, FULL = "sliding_attention", "full_attention"
ROPE = {SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
        FULL: {"rope_type": "proportional", "rope_theta": 1000000.0,
               "partial_rotary_factor": 0.25}}


def read_safetensors(path):
    """name -> (stored type, float64 or int64 array); and the metadata."""
    with open(path, "rb") as file:
        data = file.read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin:8 + size + end]
        kind = entry["dtype"]
        if kind == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16,
                                         "I64": np.int64}[kind])
        if kind != "I64":
            values = values.astype(np.float64)
        tensors[name] = (kind, values.reshape(entry["shape"]))
    return tensors, metadata


def read_weights(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index, encoding="utf-8") as file:
            files = sorted(set(json.load(file)["weight_map"].values()))
    tensors = {}
    for name in files:
        tensors.update(read_safetensors(os.path.join(folder, name))[0])
    return tensors


class Config:
    """The text config, with the defaults of transformers for absent keys."""

    def __init__(self, top):
        text = top.get("text_config", top)
        unified = top["model_type"].startswith("gemma4_unified")
        get = lambda key, default: default if text.get(key) is None else text[key]
        self.hidden = text["hidden_size"]
        self.layers = text["num_hidden_layers"]
        self.heads = text["num_attention_heads"]
        self.eps = text["rms_norm_eps"]
        self.cap = text.get("final_logit_softcapping")
        self.window = get("sliding_window", 1024 if unified else 512)
        self.shared = get("num_kv_shared_layers", 0)
        self.k_eq_v = get("attention_k_eq_v", False)
        self.rope = get("rope_parameters", ROPE)
        # The unified text class knows neither per-layer embeddings nor experts.
        self.ple = 0 if unified else text.get("hidden_size_per_layer_input", 256) or 0
        self.moe = False if unified else get("enable_moe_block", False)
        self.top_k = text.get("top_k_experts")
        self.tie = top.get("tie_word_embeddings", True)
        self.kinds = list(get("layer_types", [
            FULL if (i + 1) % 6 == 0 else SLIDING for i in range(self.layers)]))
        self.kinds[-1] = FULL
        self.head_dims = [text["head_dim"]] * self.layers
        self.kv_heads = [text["num_key_value_heads"]] * self.layers
        if "per_layer_config" in text:
            for key, fields in text["per_layer_config"].items():
                self.head_dims[int(key)] = fields.get("head_dim", text["head_dim"])
                self.kv_heads[int(key)] = fields.get("num_key_value_heads",
                                                     text["num_key_value_heads"])
        else:
            for i, kind in enumerate(self.kinds):
                if kind == FULL:
                    self.head_dims[i] = text.get("global_head_dim", 512)
                    if self.k_eq_v:
                        self.kv_heads[i] = get("num_global_key_value_heads", self.kv_heads[i])

    @property
    def first_shared(self):
        return self.layers - self.shared


def read_config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return Config(json.load(file))
