"""Known mistakes outside attention: norms, scales, per-layer input, experts, head, config."""

import json
import math
import os

import numpy as np

import numpy_gemma4
import plain_file
from mistake_registry import method, mistake
from numpy_gemma4 import Gemma4, softmax
from plain_file import FULL, SLIDING


# --- norms, embedding, head -------------------------------------------------------------------

@method("norm", "norms multiply by 1 + weight")
def _(self, x, weight=None):
    y = x * (np.mean(x * x, axis=-1, keepdims=True) + self.config.eps) ** -0.5
    return y if weight is None else y * (1 + weight)


@method("norm", "eps added to the root instead of under it")
def _(self, x, weight=None):
    y = x / (np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + self.config.eps)
    return y if weight is None else y * weight


@method("norm", "norms without eps")
def _(self, x, weight=None):
    y = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True))
    return y if weight is None else y * weight


@method("gelu", "exact gelu instead of the tanh form")
def _(self, t):
    return 0.5 * t * (1 + np.vectorize(math.erf)(t / np.sqrt(2)))


@method("gated", "SiLU instead of GELU")
def _(self, gate, up):
    return gate / (1 + np.exp(-gate)) * up


@method("gated", "gate and up swapped")
def _(self, gate, up):
    return self.gelu(up) * gate


@method("root", "root of the hidden size always rounded to bf16")
def _(self, size, table):
    return numpy_gemma4.bf16(np.sqrt(size))


@method("root", "root of the hidden size never rounded")
def _(self, size, table):
    return np.sqrt(size)


@method("embed", "embedding not scaled")
def _(self, ids):
    return self.w["embed_tokens.weight"][ids]


@method("soft_cap", "soft cap forgotten")
def _(self, logits):
    return logits


@method("soft_cap", "soft cap of 30 whatever the config says")
def _(self, logits):
    return 30 * np.tanh(logits / 30)


@method("final_norm", "final norm forgotten")
def _(self, x):
    return x


@method("head_matrix", "tied head scaled like the embedding")
def _(self):
    head = self.w.get("lm_head.weight")
    return (self.w["embed_tokens.weight"] * np.sqrt(self.config.hidden) if head is None else head)


@method("head_matrix", "head always tied")
def _(self):
    return self.w["embed_tokens.weight"]


# --- layer -------------------------------------------------------------------------------------

@method("scaled", "layer_scalar forgotten")
def _(self, before, x, scalar):
    return x


@method("scaled", "layer_scalar applied to what the layer adds only")
def _(self, before, x, scalar):
    return before + (x - before) * scalar


@mistake("layer_scalar before the per-layer input")
class _(Gemma4):
    def inject(self, w, x, ple):
        return super().inject(w, x * w["layer_scalar"], ple) / w["layer_scalar"]


@method("attend", "post_attention_layernorm after the addition")
def _(self, layer, w, x, memory):
    y = self.attention(layer, w, self.norm(x, w["input_layernorm.weight"]), memory)
    return self.norm(x + y, w["post_attention_layernorm.weight"])


@method("attend", "post_attention_layernorm forgotten")
def _(self, layer, w, x, memory):
    return x + self.attention(layer, w, self.norm(x, w["input_layernorm.weight"]), memory)


# --- per-layer embeddings ----------------------------------------------------------------------

@method("ple_context", "per-layer projection without hidden^(-1/2)")
def _(self, x):
    return x @ self.w["per_layer_model_projection.weight"].T


@method("ple_combine", "per-layer sum without 2^(-1/2)")
def _(self, a, b):
    return a + b


@method("ple_token", "per-layer row not scaled")
def _(self, ids):
    return self.w["embed_tokens_per_layer.weight"][ids]


@mistake("per-layer projection from the unscaled embedding")
class _(Gemma4):
    def ple_context(self, x):
        return super().ple_context(x / np.sqrt(self.config.hidden))

    def per_layer_inputs(self, ids, x):
        # The norm hides a constant factor, so the norm is what a plain reading drops as well.
        shape = (len(ids), self.config.layers, self.config.ple)
        b = self.ple_context(x).reshape(shape) * self.w["per_layer_projection_norm.weight"]
        return self.ple_combine(self.ple_token(ids).reshape(shape), b)


@mistake("per-layer input injected before the MLP")
class _(Gemma4):
    def layer(self, layer, x, ple, memory):
        w = self.layer_weights(layer)
        y = self.attend(layer, w, x, memory)
        if ple is not None:
            y = super().inject(w, y, ple[:, layer])
        return self.scaled(x, self.feed_forward(w, y), w["layer_scalar"])


@method("inject", "per-layer gate reads a normed stream")
def _(self, w, x, ple):
    gate = self.gelu(self.norm(x) @ w["per_layer_input_gate.weight"].T)
    y = (gate * ple) @ w["per_layer_projection.weight"].T
    return x + self.norm(y, w["post_per_layer_input_norm.weight"])


@mistake("per-layer table laid out width outer, layer inner")
class _(Gemma4):
    def per_layer_inputs(self, ids, x):
        shape = (len(ids), self.config.ple, self.config.layers)
        right = super().per_layer_inputs(ids, x)
        return right.reshape(shape).transpose(0, 2, 1)


@method("inject", "per-layer gate without gelu")
def _(self, w, x, ple):
    y = (x @ w["per_layer_input_gate.weight"].T * ple) @ w["per_layer_projection.weight"].T
    return x + self.norm(y, w["post_per_layer_input_norm.weight"])


# --- experts -----------------------------------------------------------------------------------

@method("router_source", "router reads the experts' normed input")
def _(self, w, x):
    return self.norm(x, w["pre_feedforward_layernorm_2.weight"])


@method("router_input", "router.scale forgotten")
def _(self, w, x):
    return self.norm(x) * self.config.hidden ** -0.5


@method("router_input", "router without hidden^(-1/2)")
def _(self, w, x):
    return self.norm(x) * w["router.scale"]


@method("expert_weights", "per_expert_scale forgotten")
def _(self, w, probabilities, chosen):
    return probabilities[chosen] / probabilities[chosen].sum()


@method("expert_weights", "expert weights not renormalised")
def _(self, w, probabilities, chosen):
    return probabilities[chosen] * w["router.per_expert_scale"][chosen]


@method("expert_weights", "renormalised after per_expert_scale")
def _(self, w, probabilities, chosen):
    picked = probabilities[chosen] * w["router.per_expert_scale"][chosen]
    return picked / picked.sum()


@method("expert", "up before gate in gate_up_proj")
def _(self, w, index, z):
    up, gate = np.split(w["experts.gate_up_proj"][index] @ z, 2)
    return w["experts.down_proj"][index] @ self.gated(gate, up)


@method("expert", "gate and up rows interleaved")
def _(self, w, index, z):
    both = w["experts.gate_up_proj"][index] @ z
    return w["experts.down_proj"][index] @ self.gated(both[0::2], both[1::2])


@mistake("one expert too few")
class _(Gemma4):
    def __init__(self, folder):
        super().__init__(folder)
        self.config.top_k = max(1, self.config.top_k - 1) if self.config.top_k else None


@mistake("experts fed with the dense MLP's norm")
class _(Gemma4):
    def layer_weights(self, layer):
        w = super().layer_weights(layer)
        if "pre_feedforward_layernorm_2.weight" in w:
            w["pre_feedforward_layernorm_2.weight"] = w["pre_feedforward_layernorm.weight"]
        return w


@method("feed_forward", "dense MLP left out beside the experts")
def _(self, w, x):
    if self.config.moe:
        y = self.norm(self.experts(w, x), w["post_feedforward_layernorm_2.weight"])
    else:
        y = self.mlp(w, self.norm(x, w["pre_feedforward_layernorm.weight"]))
    return x + self.norm(y, w["post_feedforward_layernorm.weight"])


# Must give the same numbers: shows that the script does not cry at everything.
@method("expert_weights", "EQUIVALENT: softmax over the chosen only")
def _(self, w, probabilities, chosen):
    return softmax(np.log(probabilities[chosen])) * w["router.per_expert_scale"][chosen]


# --- config ------------------------------------------------------------------------------------

def wrong_config(text, change):
    """change(text_config, whole_config) alters config.json before it is read."""
    class Wrong(Gemma4):
        def __init__(self, folder):
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
                top = json.load(file)
            change(top.get("text_config", top), top)
            super().__init__(folder)
            self.config = plain_file.Config(top)
    mistake(text)(Wrong)


@mistake("last layer left sliding")
class _(Gemma4):
    def __init__(self, folder):
        super().__init__(folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            top = json.load(file)
        text = top.get("text_config", top)
        kinds = text.get("layer_types") or [
            FULL if (i + 1) % 6 == 0 else SLIDING for i in range(self.config.layers)]
        if kinds[-1] == SLIDING:
            self.config.kinds[-1] = SLIDING
            self.config.head_dims[-1] = text["head_dim"]
            self.config.kv_heads[-1] = text["num_key_value_heads"]


wrong_config("per_layer_config not understood",
             lambda text, top: text.pop("per_layer_config", None))
wrong_config("global keys win over per_layer_config",
             lambda text, top: text.pop("per_layer_config", None)
             if "global_head_dim" in text else None)
wrong_config("absent global_head_dim means head_dim",
             lambda text, top: text.setdefault("global_head_dim", text["head_dim"]))
wrong_config("global KV heads without K=V", lambda text, top: text.update(per_layer_config={
    str(i): {"head_dim": text.get("global_head_dim", 512),
             "num_key_value_heads": text.get("num_global_key_value_heads")
             or text["num_key_value_heads"]}
    for i, kind in enumerate(text.get("layer_types", [])) if kind == FULL})
    if "per_layer_config" not in text else None)
wrong_config("fixed pattern of five sliding layers and a full one",
             lambda text, top: text.pop("layer_types", None))
