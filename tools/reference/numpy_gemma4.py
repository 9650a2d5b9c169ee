"""A second reading of Gemma 4's text decoder, in NumPy and float64.

Written from a description of the model, it shares no code with transformers and none with culet.
Where the three agree, a golden is sound.
Each formula is one method, so that tools/reference/mistakes.py can replace one at a time.

    python tools/reference/numpy_gemma4.py            compares with every committed golden
"""

import json
import os
import sys

import numpy as np

import plain_file
from plain_file import FULL

LIMIT = 2e-5  # float64 here, float32 sums in another order there


def bf16(value):
    bits = np.float32(value).view(np.uint32)
    return float(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
                 .view(np.float32))


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Gemma4:
    def __init__(self, folder):
        self.config = plain_file.read_config(folder)
        tensors = plain_file.read_weights(folder)
        prefix = ("model.language_model." if any(name.startswith("model.language_model.")
                                                 for name in tensors) else "model.")
        self.w = {name.removeprefix(prefix): values for name, (_, values) in tensors.items()}
        self.types = {name.removeprefix(prefix): kind for name, (kind, _) in tensors.items()}

        if "embed_tokens.weight" not in self.w:
            # Tied, and only the head is in the file: it serves as the embedding too.
            for values in (self.w, self.types):
                values["embed_tokens.weight"] = values["lm_head.weight"]

    # --- parts --------------------------------------------------------------------------------

    def norm(self, x, weight=None):
        y = x * (np.mean(x * x, axis=-1, keepdims=True) + self.config.eps) ** -0.5
        return y if weight is None else y * weight

    def gelu(self, t):
        return 0.5 * t * (1 + np.tanh(np.sqrt(2 / np.pi) * (t + 0.044715 * t ** 3)))

    def root(self, size, table):
        value = np.sqrt(size)
        return bf16(value) if self.types[table] == "BF16" else value

    def embed(self, ids):
        name = "embed_tokens.weight"
        return self.w[name][ids] * self.root(self.config.hidden, name)

    # --- per-layer embeddings -----------------------------------------------------------

    def ple_token(self, ids):
        name = "embed_tokens_per_layer.weight"
        return self.w[name][ids] * self.root(self.config.ple, name)

    def ple_context(self, x):
        return (x @ self.w["per_layer_model_projection.weight"].T) * self.config.hidden ** -0.5

    def ple_combine(self, a, b):
        return (a + b) * 2 ** -0.5

    def per_layer_inputs(self, ids, x):  # [tokens, layers, ple]
        shape = (len(ids), self.config.layers, self.config.ple)
        b = self.norm(self.ple_context(x).reshape(shape),
                      self.w["per_layer_projection_norm.weight"])
        return self.ple_combine(self.ple_token(ids).reshape(shape), b)

    def inject(self, w, x, ple):
        gate = self.gelu(x @ w["per_layer_input_gate.weight"].T)
        y = (gate * ple) @ w["per_layer_projection.weight"].T
        return x + self.norm(y, w["post_per_layer_input_norm.weight"])

    # --- attention ---------------------------------------------------------------

    def frequencies(self, layer):  # [head_dim / 2] f32
        rope, dim = self.config.rope[self.config.kinds[layer]], self.config.head_dims[layer]
        exponent = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
        f = (1.0 / np.float32(rope["rope_theta"]) ** exponent).astype(np.float32)
        if rope["rope_type"] == "proportional":
            turning = int(rope.get("partial_rotary_factor", 1.0) * dim // 2)
            f[turning:] = 0
            f = f / np.float32(rope.get("factor", 1.0))
        return f

    def rope(self, layer, u):  # u [tokens, heads, head_dim]
        f = self.frequencies(layer)
        angle = np.arange(len(u), dtype=np.float32)[:, None] * f  # the product is a float32
        cos, sin = np.cos(angle.astype(np.float64)), np.sin(angle.astype(np.float64))
        return self.turn(u, cos[:, None, :], sin[:, None, :])

    def turn(self, u, cos, sin):
        half = u.shape[-1] // 2
        a, b = u[..., :half], u[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def allowed(self, layer, tokens):  # [queries, keys]
        t, s = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
        if self.config.kinds[layer] == FULL:
            return s <= t
        return (s <= t) & (t - s < self.config.window)

    def donor(self, layer):
        below = range(self.config.first_shared)
        return max(i for i in below if self.config.kinds[i] == self.config.kinds[layer])

    def value(self, layer, w, r, k0):
        if self.config.k_eq_v and self.config.kinds[layer] == FULL:
            return self.norm(k0)
        return self.norm((r @ w["self_attn.v_proj.weight"].T).reshape(k0.shape))

    def keys_values(self, layer, w, r):  # [tokens, kv_heads, head_dim] each
        shape = (len(r), self.config.kv_heads[layer], self.config.head_dims[layer])
        k0 = (r @ w["self_attn.k_proj.weight"].T).reshape(shape)
        k = self.rope(layer, self.norm(k0, w["self_attn.k_norm.weight"]))
        return k, self.value(layer, w, r, k0)

    def own_or_shared(self, layer, w, r, memory):
        if layer < self.config.first_shared:
            memory[layer] = self.keys_values(layer, w, r)
            return memory[layer]
        return memory[self.donor(layer)]

    def query(self, layer, w, r):  # [tokens, heads, head_dim]
        q = (r @ w["self_attn.q_proj.weight"].T).reshape(len(r), self.config.heads, -1)
        return self.rope(layer, self.norm(q, w["self_attn.q_norm.weight"]))

    def kv_head(self, head, kv_heads):
        return head // (self.config.heads // kv_heads)

    def scores(self, q, k):
        return q @ k.T

    def attention(self, layer, w, r, memory):
        q = self.query(layer, w, r)
        k, v = self.own_or_shared(layer, w, r, memory)
        mask = self.allowed(layer, len(r))
        heads = []
        for head in range(self.config.heads):
            kv = self.kv_head(head, k.shape[1])
            scores = np.where(mask, self.scores(q[:, head], k[:, kv]), -np.inf)
            heads.append(softmax(scores) @ v[:, kv])
        return np.concatenate(heads, axis=-1) @ w["self_attn.o_proj.weight"].T

    # --- feed-forward ------------------------------------------------------------

    def gated(self, gate, up):
        return self.gelu(gate) * up

    def mlp(self, w, u):
        inner = self.gated(u @ w["mlp.gate_proj.weight"].T, u @ w["mlp.up_proj.weight"].T)
        return inner @ w["mlp.down_proj.weight"].T

    def router_input(self, w, x):
        return self.norm(x) * w["router.scale"] * self.config.hidden ** -0.5

    def expert_weights(self, w, probabilities, chosen):
        picked = probabilities[chosen]
        return picked / picked.sum() * w["router.per_expert_scale"][chosen]

    def expert(self, w, index, z):
        gate, up = np.split(w["experts.gate_up_proj"][index] @ z, 2)
        return w["experts.down_proj"][index] @ self.gated(gate, up)

    def router_source(self, w, x):
        return x

    def experts(self, w, x):
        z = self.norm(x, w["pre_feedforward_layernorm_2.weight"])
        logits = self.router_input(w, self.router_source(w, x)) @ w["router.proj.weight"].T
        out = np.zeros_like(x)
        for row, p in enumerate(softmax(logits)):
            chosen = np.argsort(-p, kind="stable")[:self.config.top_k]
            for index, weight in zip(chosen, self.expert_weights(w, p, chosen)):
                out[row] += weight * self.expert(w, index, z[row])
        return out

    def feed_forward(self, w, x):
        y = self.mlp(w, self.norm(x, w["pre_feedforward_layernorm.weight"]))
        if self.config.moe:
            y = (self.norm(y, w["post_feedforward_layernorm_1.weight"])
                 + self.norm(self.experts(w, x), w["post_feedforward_layernorm_2.weight"]))
        return x + self.norm(y, w["post_feedforward_layernorm.weight"])

    # --- the whole ----------------------------------------------------------------------------

    def layer_weights(self, layer):
        prefix = f"layers.{layer}."
        return {name.removeprefix(prefix): values for name, values in self.w.items()
                if name.startswith(prefix)}

    def attend(self, layer, w, x, memory):
        y = self.attention(layer, w, self.norm(x, w["input_layernorm.weight"]), memory)
        return x + self.norm(y, w["post_attention_layernorm.weight"])

    def scaled(self, before, x, scalar):
        return x * scalar

    def layer(self, layer, x, ple, memory):
        w = self.layer_weights(layer)
        before = x
        x = self.attend(layer, w, x, memory)
        x = self.feed_forward(w, x)
        if ple is not None:
            x = self.inject(w, x, ple[:, layer])
        return self.scaled(before, x, w["layer_scalar"])

    def final_norm(self, x):
        return self.norm(x, self.w["norm.weight"])

    def soft_cap(self, logits):
        cap = self.config.cap
        return logits if cap is None else cap * np.tanh(logits / cap)

    def head_matrix(self):
        # Tied, yet a different lm_head.weight in the file: transformers uses it.
        return self.w.get("lm_head.weight", self.w["embed_tokens.weight"])

    def forward(self, ids):
        """logits [tokens, vocab] and the residual stream before layer 0 and after each layer."""
        x = self.embed(ids)
        ple = self.per_layer_inputs(ids, x) if self.config.ple else None
        hidden, memory = [x], {}
        for layer in range(self.config.layers):
            x = self.layer(layer, x, ple, memory)
            hidden.append(x)
        return self.soft_cap(self.final_norm(x) @ self.head_matrix().T), hidden


def relative(found, expected):
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, expected {expected.shape}")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    root = arguments[0] if arguments else os.path.join(here, "../../tests/golden/text")
    with open(os.path.join(root, "index.json"), encoding="utf-8") as file:
        names = [entry["name"] for entry in json.load(file)]
    errors = []
    for name in names:
        folder = os.path.join(root, name)
        golden, _ = plain_file.read_safetensors(os.path.join(folder, "golden.safetensors"))
        logits, hidden = Gemma4(folder).forward(golden["input_ids"][1])
        error = relative(logits, golden["logits"][1])
        worst = 0.0
        for key, (_, rows) in golden.items():
            if key.startswith("hidden"):
                worst = max(worst, relative(hidden[int(key.split(".")[1])][-len(rows):], rows))
        errors.append(max(error, worst))
        print(f"{name:32} logits {error:.1e}   hidden {worst:.1e}")
    print(f"{len(errors)} cases, worst {max(errors):.1e}, median {np.median(errors):.1e}")
    return max(errors) > LIMIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
