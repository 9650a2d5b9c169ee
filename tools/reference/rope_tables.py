"""cos and sin of transformers at far positions, for the published rope settings.

Tiny checkpoints cannot reach position 262143, but the tables can: an engine that forms the angle in
double departs from the reference there.
"""

import os

import torch
import transformers
from transformers.models.gemma4 import modeling_gemma4

import golden_file

POSITIONS = (0, 1, 2, 511, 512, 1023, 4097, 32767, 65537, 131071, 200003, 262143)


def write(folder):
    """rope.safetensors: positions int64 [n]; per kind inv_freq f32 [head_dim/2], cos and sin f32
    [n, head_dim] (the second half repeats the first)."""
    config = transformers.Gemma4TextConfig(
        num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], head_dim=256,
        global_head_dim=512, hidden_size_per_layer_input=0, max_position_embeddings=262144)
    module = modeling_gemma4.Gemma4TextRotaryEmbedding(config)
    tensors = {"positions": torch.tensor(POSITIONS, dtype=torch.int64)}
    for kind in ("sliding_attention", "full_attention"):
        cos, sin = module(torch.zeros(1), tensors["positions"][None], kind)
        tensors[f"{kind}.inv_freq"] = getattr(module, f"{kind}_inv_freq").clone()
        tensors[f"{kind}.cos"] = cos[0].contiguous()
        tensors[f"{kind}.sin"] = sin[0].contiguous()
    os.makedirs(folder, exist_ok=True)
    golden_file.save(tensors, os.path.join(folder, "rope.safetensors"),
                     {"description": "published rope of Gemma 4: head_dim 256 sliding, theta 1e4; "
                                     "512 full, proportional 0.25, theta 1e6",
                      "transformers": transformers.__version__,
                      "torch": torch.__version__.split("+")[0]})
