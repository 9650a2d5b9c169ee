"""Writes the checkpoint of a case: config.json and safetensors, as transformers writes them."""

import copy
import json
import math
import os
import zlib

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

import case_type

TORCH_TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

# Every size of a tower is the least that the class accepts; their weights are only there to be
# ignored.
VISION = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
              num_key_value_heads=1, head_dim=8, position_embedding_size=4, patch_size=2)
AUDIO = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
             subsampling_conv_channels=[4, 4], output_proj_dims=8)
UNIFIED_VISION = dict(patch_size=2, mm_embed_dim=8, mm_posemb_size=4)
UNIFIED_AUDIO = dict(audio_embed_dim=8)


def random_tensor(seed, name, shape, branch=1.0):
    """A weight whose values make every part of the model matter.

    Depends on the seed and on the tensor's name inside the text model only, so that a twin or
    another spelling of a case has the same numbers. Nothing is all ones: a forgotten or misplaced
    norm weight, scalar or scale must show. branch scales what each branch adds to the stream.
    """
    short = name.split("language_model.")[-1].removeprefix("model.")
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(short.encode())]))
    noise = rng.standard_normal(shape)
    if short.endswith("layer_scalar"):
        # Mean square about 1: much below, a deep stack turns chaotic and even float32 noise grows
        # to whole logits.
        value = rng.uniform(0.7, 1.3, shape)
    elif short.endswith("router.per_expert_scale"):
        value = rng.uniform(0.5, 1.5, shape)
    elif short.endswith("router.scale"):
        value = 1.0 + 0.3 * noise
    elif short.endswith("router.proj.weight"):
        value = 1.5 * noise
    elif short.endswith(("q_norm.weight", "k_norm.weight")):
        # Scores have no 1/sqrt(head_dim): weights near (3 / head_dim)^(1/4) give them a spread of
        # about 1.7 at any head_dim, so that no softmax is one-hot.
        value = (3.0 / shape[0]) ** 0.25 * (1.0 + 0.3 * noise)
    elif short == "norm.weight":
        # 5: logits reach about 20, where the soft cap of 30 bends them. The signs are random: with
        # tied embeddings a token would otherwise mostly predict itself, and greedy ids be constant.
        value = 5.0 * rng.choice([-1.0, 1.0], shape) * (1.0 + 0.3 * noise)
    elif ".post_" in short:
        value = branch * (1.0 + 0.3 * noise)
    elif "norm" in short:
        value = 1.0 + 0.3 * noise
    elif short in ("embed_tokens.weight", "lm_head.weight"):
        value = 0.3 * noise
    elif short == "embed_tokens_per_layer.weight":
        value = 0.4 * noise
    else:
        value = noise / math.sqrt(max(1, shape[-1])) if shape else noise
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def text_config(case):
    cls = (transformers.Gemma4UnifiedTextConfig if case.unified else transformers.Gemma4TextConfig)
    return cls(**copy.deepcopy(case.text), tie_word_embeddings=case.tie)


def build_model(case):
    """The model of a case in float32, filled with the case's weights."""
    config = text_config(case)
    if not case.conditional:
        cls = (transformers.Gemma4UnifiedForCausalLM if case.unified
               else transformers.Gemma4ForCausalLM)
        model = cls(config)
    else:
        vision, audio = (UNIFIED_VISION, UNIFIED_AUDIO) if case.unified else (VISION, AUDIO)
        if case.unified:
            vision = dict(vision, output_proj_dims=case.text["hidden_size"])
        whole = (transformers.Gemma4UnifiedConfig if case.unified else transformers.Gemma4Config)
        cls = (transformers.Gemma4UnifiedForConditionalGeneration if case.unified
               else transformers.Gemma4ForConditionalGeneration)
        model = cls(whole(text_config=config, vision_config=vision if case.towers else None,
                          audio_config=audio if case.towers else None,
                          tie_word_embeddings=case.tie))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if case.tie and name == "lm_head.weight":
                continue
            tensor.copy_(random_tensor(case.seed, name, tuple(tensor.shape), case.branch))
    return model.eval()


def published_spelling(text, case):
    """Turns a text config as transformers 5.15 and later saves it into the published spelling."""
    text = dict(text)
    del text["per_layer_config"]
    for key in ("head_dim", "num_key_value_heads", "global_head_dim", "num_global_key_value_heads"):
        text[key] = case.text[key]
    if case.unified:
        # The published 12B file carries the other families' switches, all off.
        text.update(enable_moe_block=False, hidden_size_per_layer_input=0,
                    vocab_size_per_layer_input=0)
    return text


def edit(values, changes):
    for key, value in changes.items():
        if value is case_type.DROP:
            values.pop(key, None)
        else:
            values[key] = value


def write_config(case, folder):
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    # The folder would otherwise change with every release of transformers.
    config.pop("transformers_version", None)
    config["dtype"] = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[case.dtype]
    text = config["text_config"] if case.conditional else config
    if case.form == "published":
        text = published_spelling(text, case)
    edit(text, case.file_text)
    if case.conditional:
        config["text_config"] = text
    else:
        config = text
    edit(config, case.file_top)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def add_tensors(case, folder):
    """Tensors that transformers would not write, but that files in the wild hold."""
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    prefix = "model.language_model." if case.conditional else "model."
    embedding = tensors[prefix + "embed_tokens.weight"]
    config = case.text

    def add(name, shape):
        tensor = random_tensor(case.seed, name, shape)
        tensors[name] = tensor.to(TORCH_TYPES[case.dtype])

    if "shared_kv" in case.extra:
        first = config["num_hidden_layers"] - config["num_kv_shared_layers"]
        for layer in range(first, config["num_hidden_layers"]):
            sliding = config["layer_types"][layer] == case_type.SLIDING
            head_dim = config["head_dim"] if sliding else config["global_head_dim"]
            shape = (config["num_key_value_heads"] * head_dim, config["hidden_size"])
            at = f"{prefix}layers.{layer}.self_attn."
            add(at + "k_proj.weight", shape)
            add(at + "v_proj.weight", shape)
            add(at + "k_norm.weight", (head_dim,))
    if "equal_head" in case.extra:
        tensors["lm_head.weight"] = embedding.clone()
    if "other_head" in case.extra:
        add("lm_head.weight", tuple(embedding.shape))
    if "head_only" in case.extra:
        tensors["lm_head.weight"] = tensors.pop(prefix + "embed_tokens.weight")
    if "norms_f32" in case.extra:
        for name, tensor in tensors.items():
            if "norm" in name or name.endswith("layer_scalar"):
                tensors[name] = tensor.float()
    save_file(tensors, path, metadata={"format": "pt"})


def write_checkpoint(case, folder):
    """Writes config.json and the weights of a case into a folder, which is made."""
    model = build_model(case).to(TORCH_TYPES[case.dtype])
    options = {"max_shard_size": case.shard_bytes} if case.shard_bytes else {}
    model.save_pretrained(folder, safe_serialization=True, **options)
    os.remove(os.path.join(folder, "generation_config.json"))
    write_config(case, folder)
    if case.extra:
        add_tensors(case, folder)
