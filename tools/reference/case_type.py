"""What one reference case is: a tiny random checkpoint, a prompt, and the reason why it exists."""

import copy
import dataclasses
import zlib

SLIDING = "sliding_attention"
FULL = "full_attention"
DROP = object()  # in file_text / file_top: the key is removed from config.json

# The reference's own value for a model that says nothing about rope.
ROPE = {
    SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
    FULL: {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25},
}

# Sizes are small so that a checkpoint takes some 60 kB, and chosen so that mistakes show: sqrt(24)
# and sqrt(6) move by 0.15% when they are rounded to bf16, the two kinds of layer differ in
# head_dim, and the window is shorter than the usual prompt of 20 tokens.
BASE = dict(
    vocab_size=48,
    hidden_size=24,
    intermediate_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    global_head_dim=8,
    num_global_key_value_heads=None,
    attention_k_eq_v=False,
    sliding_window=6,
    rms_norm_eps=1e-6,
    final_logit_softcapping=30.0,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    max_position_embeddings=131072,
    rope_parameters=ROPE,
)


def layers(pattern):
    """"SSF" -> the list that config.json calls layer_types."""
    return [{"S": SLIDING, "F": FULL}[letter] for letter in pattern]


@dataclasses.dataclass
class Case:
    name: str
    family: str  # E2B, E4B, 12B, 26B-A4B, 31B, or odd
    note: str  # what it is, and which mistake it catches
    text: dict  # text config in the published spelling; unified cases carry no PLE and no MoE keys
    form: str = "published"  # or "saved": the spelling with per_layer_config
    conditional: bool = False  # text part of a multimodal checkpoint: prefix model.language_model.
    unified: bool = False  # model_type gemma4_unified*
    tie: bool = True
    tokens: int = 20
    dtype: str = "f32"  # what the tensors are stored in: f32, bf16, f16
    prompt_vocab: int = 0  # prompt ids stay below it; 0: vocab_size
    extra: tuple = ()  # of shared_kv, equal_head, other_head, head_only, norms_f32
    file_text: dict = dataclasses.field(default_factory=dict)  # edits of the written text config
    file_top: dict = dataclasses.field(default_factory=dict)  # edits of the top of config.json
    towers: bool = False  # tiny vision and audio towers are in the file, to be ignored
    shard_bytes: int = 0
    branch: float = 1.0  # scale of the post norms' weights; below 1 keeps a deep stack from chaos
    seed: int = 0

    def __post_init__(self):
        if not self.seed:
            # From the name, so that a new case never changes another; a twin has its base's seed.
            base = self.name.removesuffix("_bf16")
            self.seed = zlib.crc32(base.encode()) % 1000000

    @property
    def vocab(self):
        return self.prompt_vocab or self.text["vocab_size"]


def text(pattern, **changes):
    """Text config of a dense model of these layers."""
    config = copy.deepcopy(BASE)
    config.update(num_hidden_layers=len(pattern), layer_types=layers(pattern))
    config.update(hidden_size_per_layer_input=0, vocab_size_per_layer_input=config["vocab_size"])
    config.update(enable_moe_block=False, num_experts=None, top_k_experts=None)
    config.update(moe_intermediate_size=None)
    config.update(changes)
    if "vocab_size" in changes and "vocab_size_per_layer_input" not in changes:
        config["vocab_size_per_layer_input"] = changes["vocab_size"]
    return config


def e_text(pattern, shared, **changes):
    """E2B / E4B: per-layer embeddings, shared KV."""
    values = dict(hidden_size_per_layer_input=6, num_kv_shared_layers=shared,
                  num_key_value_heads=1)
    values.update(changes)
    return text(pattern, **values)


def moe_text(pattern, experts, top_k, width, **changes):
    """26B-A4B: router and experts beside the dense MLP, K=V in full layers."""
    values = dict(enable_moe_block=True, num_experts=experts, top_k_experts=top_k,
                  moe_intermediate_size=width, attention_k_eq_v=True,
                  num_global_key_value_heads=1)
    values.update(changes)
    return text(pattern, **values)


def unified_text(pattern, **changes):
    """12B: the unified text class knows no PLE and no MoE."""
    values = dict(attention_k_eq_v=True, num_global_key_value_heads=1,
                  max_position_embeddings=262144, use_bidirectional_attention="vision")
    values.update(changes)
    config = text(pattern, **values)
    for key in ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "enable_moe_block",
                "num_experts", "top_k_experts", "moe_intermediate_size"):
        del config[key]
    return config


def dense_text(pattern, **changes):
    """31B: dense, K=V in full layers with fewer KV heads."""
    values = dict(attention_k_eq_v=True, num_global_key_value_heads=1)
    values.update(changes)
    return text(pattern, **values)
