"""Makes tests/golden/quantized: tiny checkpoints as others write them quantised, and what transformers
computes on them.

    python tools/reference/make_quantized_goldens.py [--out FOLDER] [--only NAME,NAME]

Needs compressed-tensors besides requirements.txt.
"""

import argparse
import dataclasses
import json
import os
import shutil
import zlib

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import case_type
import checkpoint
import golden_file
import reference

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_OUT = os.path.join(HERE, "..", "..", "tests", "golden", "quantized")
# Columns of a group of activations, as culet quantises them.
BLOCK = 128


@dataclasses.dataclass
class QuantizedCase:
    name: str
    method: str  # "packed": compressed-tensors; "int8": a scale beside the weight; "gemma"
    note: str
    base: case_type.Case
    group: int = 32  # packed: columns of a scale; 0: a row
    scale: str = "bf16"  # dtype of scales
    scales: str = "tensor"  # int8: "tensor", "row", "column" ([n, 1])
    calibrated: bool = True  # gemma: every activation has a scale; else every other one
    tokens: int = 20

    @property
    def seed(self):
        return zlib.crc32(self.name.encode()) % 1000000


def wide_e(pattern, shared, **changes):
    values = dict(hidden_size=64, intermediate_size=96, num_attention_heads=4, head_dim=16,
                  global_head_dim=32, hidden_size_per_layer_input=32)
    values.update(changes)
    return case_type.e_text(pattern, shared, **values)


def wide_dense(pattern, **changes):
    values = dict(hidden_size=128, intermediate_size=192, num_attention_heads=4, head_dim=16,
                  global_head_dim=32)
    values.update(changes)
    return case_type.dense_text(pattern, **values)


def base(name, text, **changes):
    return case_type.Case(name, "odd", "", text, **changes)


def all_cases():
    return [
        QuantizedCase("packed_e2b", "packed", "groups of 32, scales in bf16, all else in bf16; shared KV",
                      base("packed_e2b", wide_e("SSFSF", 2, use_double_wide_mlp=True),
                           conditional=True, dtype="bf16", extra=("shared_kv",))),
        QuantizedCase("packed_dense", "packed", "groups of 64, scales in f32; K=V",
                      base("packed_dense", wide_dense("SSF", intermediate_size=256)), group=64,
                      scale="f32"),
        QuantizedCase("packed_rows", "packed", "a scale a row, in f16",
                      base("packed_rows", wide_dense("SF", intermediate_size=104)), group=0,
                      scale="f16"),
        QuantizedCase("int8_tensor", "int8", "a scale a tensor; embeddings too, the head tied",
                      base("int8_tensor", wide_e("SFSF", 2)), scale="f32"),
        QuantizedCase("int8_row", "int8", "a scale a row, [n, 1] in bf16; experts and an own head",
                      base("int8_row", case_type.moe_text(
                          "SF", 4, 2, 32, hidden_size=64, intermediate_size=96, head_dim=16,
                          global_head_dim=32), tie=False), scales="column"),
        QuantizedCase("gemma_e2b", "gemma", "2, 4 and 8 bits as E2B has them, all activations rounded",
                      base("gemma_e2b", wide_e("SFSF", 2, use_double_wide_mlp=True),
                           conditional=True, tie=False), tokens=4),
        QuantizedCase("gemma_partly", "gemma", "every other activation has no scale",
                      base("gemma_partly", wide_e("SFSF", 2, intermediate_size=90),
                           tie=False), calibrated=False),
    ]


def is_linear(name):
    """Linear layers inside of decoder layers: what publishers quantise in this way."""
    return name.endswith(("_proj.weight", "_gate.weight", "per_layer_projection.weight")) and (
        ".layers." in name)


def packed_tensors(case, name, weight):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    weight = weight.float()
    rows, cols = weight.shape
    group = case.group or cols
    blocks = weight.reshape(rows, cols // group, group)
    scale = (blocks.abs().amax(-1) / 7.5).to(checkpoint.TORCH_TYPES[case.scale])
    q = torch.clamp(torch.round(blocks / scale.float()[..., None]), -8, 7).reshape(rows, cols)
    q[0, 0], q[-1, -1] = -8, 7
    stem = name.removesuffix(".weight")
    return {stem + ".weight_packed": pack_to_int32(q.to(torch.int8), 4),
            stem + ".weight_scale": scale,
            stem + ".weight_shape": torch.tensor([rows, cols], dtype=torch.int64)}


def packed_config(case):
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "dynamic": False,
               "strategy": "group" if case.group else "channel",
               "group_size": case.group or None, "actorder": None, "block_structure": None,
               "observer": "minmax", "observer_kwargs": {}}
    # As others write the list: names, and expressions behind "re:".
    ignore = ["lm_head", "re:.*embed.*", "re:.*per_layer_model_projection", "re:.*tower.*"]
    return {"quant_method": "compressed-tensors", "format": "pack-quantized",
            "quantization_status": "compressed", "global_compression_ratio": None,
            "kv_cache_scheme": None, "sparsity_config": {}, "transform_config": {},
            "version": "0.20.0", "ignore": ignore,
            "config_groups": {"group_0": {
                "targets": ["Linear"], "weights": weights, "input_activations": None,
                "output_activations": None, "format": "pack-quantized"}}}


def write_packed(case, folder):
    tensors = {}
    for name, weight in load_tensors(folder).items():
        tensors.update(packed_tensors(case, name, weight) if is_linear(name) else {name: weight})
    save_tensors(tensors, folder)
    write_config(folder, packed_config(case))
    return reference.load_f32(folder, case.base.dtype)


def write_config(folder, quantization):
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["quantization_config"] = quantization
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)  # the order of patterns means something
        file.write("\n")


def load_tensors(folder):
    return load_file(os.path.join(folder, "model.safetensors"))


def save_tensors(tensors, folder):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def is_int8(name, tensor):
    return tensor.dim() >= 2 and "router" not in name


def write_int8(case, folder):
    """Returns the reference on the same weights, widened."""
    written, widened = {}, {}
    for name, weight in load_tensors(folder).items():
        written[name] = widened[name] = weight
        if not is_int8(name, weight):
            continue
        largest = weight.abs().amax(-1) if case.scales == "column" else weight.abs().amax()
        scale = (largest / 127).to(checkpoint.TORCH_TYPES[case.scale])
        scale = scale[..., None] if case.scales == "column" else scale
        q = torch.clamp(torch.round(weight / scale.float()), -127, 127)
        written[name], written[name + "_scale"] = q.to(torch.int8), scale
        widened[name] = q * scale.float()
    save_tensors(widened, folder)
    model = reference.load_f32(folder, "f32")
    save_tensors(written, folder)
    return model


# E2B's, by module. The first that matches at the leftmost place counts: of attention's k_proj the
# last would say 8.
GEMMA_BITS = {
    r"lm_head": 2, r"embed_tokens$": 2, r"embed_tokens_per_layer": 4,
    r"layers\.[01]\.mlp": 4, r"mlp": 2, r"self_attn": 4,
    r"per_layer_input_gate|per_layer_projection$": 8,
}
GEMMA_DENSE = ["per_layer_model_projection"]


def gemma_bits(module):
    import re
    for pattern, bits in GEMMA_BITS.items():
        if re.search(pattern, module):
            return bits
    raise ValueError(module)


def pack_low_first(q, bits):
    """[n, k] of signed integers to bytes, the lowest bits first."""
    if bits == 8:
        return q.to(torch.int8)
    each = 8 // bits
    stored = torch.nn.functional.pad(q.to(torch.int64) + 2 ** (bits - 1), (0, -q.shape[1] % each))
    parts = stored.unflatten(1, (-1, each)) << (torch.arange(each) * bits)
    return parts.sum(-1).to(torch.uint8)


def gemma_tensors(name, weight, scales):
    module = name.removesuffix(".weight")
    bits = gemma_bits(module)
    scale = weight.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 0.5)
    q = torch.clamp(torch.round(weight / scale), -2 ** (bits - 1), 2 ** (bits - 1) - 1)
    packed = pack_low_first(q, bits)
    if "embed_tokens" in module:
        return {module + ".embedding_quantized": packed, module + ".embedding_scale": scale}
    tensors = {name: packed, name + "_scale": scale}
    for which, value in zip(("input", "output"), scales.get(module, (0.0, 0.0))):
        # transformers leaves what is absent as memory has it.
        tensors[f"{module}.{which}_activation_scale"] = torch.tensor(value)
    return tensors


def gemma_ranges(model, ids):
    """The largest input and output of every quantised linear layer."""
    ranges, hooks = {}, []

    def note(name):
        return lambda module, args, output: ranges.__setitem__(
            name, (float(args[0].abs().max()), float(output.abs().max())))
    for name, module in quantized_linears(model).items():
        hooks.append(module.register_forward_hook(note(name)))
    reference.run(model, ids)
    for hook in hooks:
        hook.remove()
    return ranges


def quantized_linears(model):
    from transformers.integrations.gemma_quant import QuantizedLinear
    return {name: module for name, module in model.named_modules()
            if isinstance(module, QuantizedLinear)}


@torch.no_grad()
def set_scales(case, model, ids):
    """Scales of activations as a prompt's say; some values lie beyond."""
    linears = quantized_linears(model)
    for module in linears.values():
        module.input_activation_scale.fill_(0.0)
        module.output_activation_scale.fill_(0.0)
    scales = {}
    for number, (name, (inputs, outputs)) in enumerate(sorted(gemma_ranges(model, ids).items())):
        scales[name] = (inputs / 127 * 0.8, outputs / 127 * 0.8)
        if not case.calibrated:
            scales[name] = [(0.0, outputs / 127), (inputs / 127, 0.0), (0.0, 0.0)][number % 3]
        linears[name].input_activation_scale.fill_(scales[name][0])
        linears[name].output_activation_scale.fill_(scales[name][1])
    return scales


def write_gemma(case, folder):
    """Returns a prompt and the reference."""
    dense = load_tensors(folder)
    write_config(folder, {
        "quant_method": "gemma", "num_bits": 4, "quantize_embeddings": True,
        "module_quant_configs": {pattern: {"num_bits": bits}
                                 for pattern, bits in GEMMA_BITS.items()},
        "modules_to_not_convert": GEMMA_DENSE})

    def write(scales):
        tensors = {}
        for name, weight in dense.items():
            quantised = weight.dim() == 2 and not any(part in name for part in GEMMA_DENSE)
            tensors.update(gemma_tensors(name, weight, scales) if quantised else {name: weight})
        stem = [name for name in dense if name.endswith("0.self_attn.k_proj.weight")][0]
        for kv in "kv":
            tensors[stem.replace("k_proj.weight", f"{kv}_cache_scale")] = torch.tensor(0.01)
        save_tensors(tensors, folder)
    write({})
    model = load_gemma(folder)
    for attempt in range(2000):
        ids = prompt_of(case, attempt)
        scales = set_scales(case, model, ids)
        if not case.calibrated or nearest_tie(model, ids) > CLEAR_OF_TIES:
            write(scales)
            return ids, load_gemma(folder)
    raise RuntimeError(f"{case.name}: no prompt keeps clear of ties")


def load_gemma(folder):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    for kind, names in report.items():
        if names:
            raise RuntimeError(f"{folder}: transformers reports {kind}: {sorted(names)[:5]}")
    return model.eval()


def nearest_tie(model, ids):
    """How near a rounding of activations comes to a tie, in steps: a sum in another order flips what
    is nearer than its own rounding."""
    from transformers.integrations import gemma_quant
    original, nearest = gemma_quant.apply_srq, [0.5]

    def watched(x, scale, bits=8):
        if scale != 0:
            steps = (x / scale).abs()
            steps = steps[steps < 128]
            # 0 is what it is in any order.
            steps = steps[steps > 0]
            if steps.numel():
                nearest[0] = min(nearest[0], float((steps - steps.floor() - 0.5).abs().min()))
        return original(x, scale, bits)
    gemma_quant.apply_srq = watched
    try:
        reference.run(model, ids)
    finally:
        gemma_quant.apply_srq = original
    return nearest[0]


def rounded_rows(x, block):
    """x as culet multiplies integer weights with it: int8 in groups of `block` columns."""
    width = x.shape[-1]
    padded = torch.nn.functional.pad(x, (0, -width % block)).unflatten(-1, (-1, block))
    largest = padded.abs().amax(-1, keepdim=True)
    inverse = torch.where(largest > 0, 127.0 / largest, torch.zeros_like(largest))
    return (torch.round(padded * inverse) * (largest / 127.0)).flatten(-2)[..., :width]


def run_rounded(model, ids, is_quantized, block):
    """The reference with the operands of products with integers rounded as culet rounds them."""
    hooks = [module.register_forward_pre_hook(lambda module, args: (rounded_rows(args[0], block),))
             for name, module in model.named_modules() if is_quantized(name, module)]
    try:
        return reference.run(model, ids)[0]
    finally:
        for hook in hooks:
            hook.remove()


def prompt_of(case, attempt):
    rng = np.random.Generator(np.random.PCG64([case.seed, attempt, zlib.crc32(b"prompt")]))
    ids = rng.integers(0, case.base.vocab, case.tokens)
    ids[0] = 2
    return torch.from_numpy(ids.astype(np.int64))


# In steps. Values of up to 127 steps are off by some 1e-7 of themselves and of what is summed.
CLEAR_OF_TIES = 1e-4


def write_case(case, folder):
    """The files of a case; returns a prompt and the reference."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    checkpoint.write_checkpoint(case.base, folder)
    if case.method == "gemma":
        return write_gemma(case, folder)
    write = write_packed if case.method == "packed" else write_int8
    return prompt_of(case, 0), write(case, folder)


def rounds_freely(case):
    """Says of a module whether culet rounds its input with scales of the input's own."""
    def of(name, module):
        if case.method == "gemma":
            return type(module).__name__ == "QuantizedLinear" and module.input_activation_scale == 0
        if not isinstance(module, torch.nn.Linear):
            return False
        return is_linear(name + ".weight") if case.method == "packed" else "router" not in name
    return of


def make_case(case, out):
    folder = os.path.join(out, case.name)
    ids, model = write_case(case, folder)
    logits, hidden = reference.run(model, ids)
    tensors = {"input_ids": ids, "logits": logits}
    tensors.update({f"hidden.{i}": rows for i, rows in enumerate(hidden)})
    if case.method != "gemma" or not case.calibrated:
        tensors["logits_int8"] = run_rounded(model, ids, rounds_freely(case), BLOCK)
    for name, tensor in tensors.items():
        assert torch.isfinite(tensor.double()).all(), f"{case.name}: {name} is not finite"
    metadata = {"case": case.name, "seed": str(case.seed), "description": case.note,
                "transformers": transformers.__version__,
                "torch": torch.__version__.split("+")[0]}
    golden_file.save(tensors, os.path.join(folder, "golden.safetensors"), metadata)
    return tensors


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=DEFAULT_OUT)
    parser.add_argument("--only", default="", help="names of cases, with commas between")
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    cases = [case for case in all_cases() if not only or case.name in only]
    os.makedirs(options.out, exist_ok=True)
    for case in cases:
        tensors = make_case(case, options.out)
        cost = (tensors.get("logits_int8", tensors["logits"]) - tensors["logits"]).abs().max()
        print(f"{case.name:24} max |logit| {tensors['logits'].abs().max():6.2f}   int8 rows cost "
              f"{cost:.3f}", flush=True)
    with open(os.path.join(options.out, "index.json"), "w", encoding="utf-8") as file:
        json.dump([{"name": case.name, "family": case.method, "dtype": case.base.dtype,
                    "note": case.note} for case in all_cases()], file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
