"""Makes the checkpoints of tests/golden/media, and what transformers computes on them.

    python tools/reference/make_encoder_goldens.py [--out FOLDER] [--only NAME,NAME]
"""

import argparse
import copy
import json
import os
import shutil
import zlib

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

import checkpoint
import golden_file
import encoder_cases
import reference

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_OUT = os.path.join(HERE, "..", "..", "tests", "golden", "media")
BOUNDS = ("input_min", "input_max", "output_min", "output_max")
# Of a batch against one by one: padding must not change what it pads.
PADDING_LIMIT = 2e-5


def generator(case, name):
    return np.random.Generator(np.random.PCG64([case.seed, zlib.crc32(name.encode())]))


def media_tensor(case, name, shape):
    """A weight of an encoder. Bounds cut some of what passes; none equals another."""
    rng = generator(case, name)
    noise = rng.standard_normal(shape)
    ending = name.rsplit(".", 1)[-1]
    if ending in BOUNDS:
        # What passes has a spread near 1: a fifth of it is cut on either side.
        value = rng.uniform(0.6, 1.4) * (-1 if ending.endswith("min") else 1)
    elif ending == "std_scale":
        value = rng.uniform(0.5, 1.5, shape)
    elif ending == "std_bias":
        value = 0.5 * noise
    elif name.endswith(("q_norm.weight", "k_norm.weight")):
        value = (3.0 / shape[0]) ** 0.25 * (1.0 + 0.3 * noise)
    elif ending == "per_dim_scale":
        value = noise
    elif ending == "bias":
        value = 0.3 * noise
    elif "norm" in name or "_ln" in name:
        value = 1.0 + 0.3 * noise
    elif "position_embedding_table" in name or "pos_embedding" in name:
        value = 0.5 * noise
    elif "depthwise" in name:
        value = noise / np.sqrt(shape[-1])
    else:
        value = noise / np.sqrt(max(1, int(np.prod(shape[1:]))))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def build_model(case):
    classes = ((transformers.Gemma4UnifiedTextConfig, transformers.Gemma4UnifiedConfig,
                transformers.Gemma4UnifiedForConditionalGeneration) if case.unified else
               (transformers.Gemma4TextConfig, transformers.Gemma4Config,
                transformers.Gemma4ForConditionalGeneration))
    vision = copy.deepcopy(case.vision)
    if case.unified and vision:
        vision["output_proj_dims"] = vision["mm_embed_dim"]
    config = classes[1](text_config=classes[0](**copy.deepcopy(case.text)), vision_config=vision,
                        audio_config=copy.deepcopy(case.audio), **case.tokens)
    model = classes[2](config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name == "lm_head.weight":
                continue
            if ".language_model." in name:
                value = checkpoint.random_tensor(case.seed, name, tuple(tensor.shape))
            elif name.endswith(case.missing_bounds) and case.missing_bounds:
                continue
            else:
                value = media_tensor(case, name, tuple(tensor.shape))
            tensor.copy_(value)
    return model.eval()


def edit_config(case, folder):
    path = os.path.join(folder, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config.pop("transformers_version", None)
    config["dtype"] = {"f32": "float32", "bf16": "bfloat16"}[case.dtype]
    if case.published_rope:
        vision = config["vision_config"]
        vision["rope_parameters"]["rope_type"] = "default"
        vision.update(global_head_dim=vision["head_dim"], default_output_length=280)
        config["vision_soft_tokens_per_image"] = 280
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1, sort_keys=True)
        file.write("\n")


def memory_name(name):
    if name == "model.embed_vision.embedding_projection.weight":
        return "model.embed_vision.multimodal_embedder.embedding_projection.weight"
    return name.replace("model.vision_embedder.", "model.embed_vision.")


def edit_tensors(case, folder):
    path = os.path.join(folder, "model.safetensors")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name in list(tensors):
        if case.missing_bounds and name.endswith(case.missing_bounds):
            del tensors[name]
        elif case.memory_names:
            tensors[memory_name(name)] = tensors.pop(name)
    save_file(tensors, path, metadata={"format": "pt"})


def write_checkpoint(case, folder):
    model = build_model(case).to(checkpoint.TORCH_TYPES[case.dtype])
    model.save_pretrained(folder, safe_serialization=True)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    edit_config(case, folder)
    edit_tensors(case, folder)


def load(folder, dtype, attention=None):
    """As reference.load, but bounds that are not in the file may be missing.

    Without `attention` each part has its default: the audio tower has no sdpa.
    """
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, output_loading_info=True,
        experts_implementation="eager")
    for kind, names in report.items():
        names = [name for name in names if not str(name).endswith(BOUNDS)]
        if names:
            raise RuntimeError(f"{folder}: transformers reports {kind}: {sorted(names)[:5]}")
    return model.eval()


def inputs_of(case):
    """Units of every image and frame, and the rows of every sound, as arrays in order."""
    rng = generator(case, "inputs")
    width = 0
    if case.vision:
        side = case.vision["patch_size"] * (case.vision["pooling_kernel_size"] if case.unified else 1)
        width = 3 * side * side

    def units(grid):
        # Grey levels, as pixels are.
        levels = rng.integers(0, 256, (grid[0] * grid[1], width)).astype(np.float32)
        return torch.from_numpy((0.5 + case.spread * (levels / np.float32(255) - 0.5)
                                 ).astype(np.float32))

    images = [units(grid) for grid in case.images]
    frames = [units(grid) for video in case.videos for grid in video]
    sounds = []
    for rows in case.sounds:
        columns = case.audio["audio_embed_dim"] if case.unified else case.bins
        sounds.append(torch.from_numpy(
            rng.standard_normal((rows, columns)).astype(np.float32) * (0.3 if case.unified else 2)))
    return images, frames, sounds


def positions(grid):
    columns, rows = grid
    return torch.tensor([[x, y] for y in range(rows) for x in range(columns)], dtype=torch.int64)


def padded(units, grids):
    """[images, most units, width] and positions with −1 where there is none."""
    most = max(len(unit) for unit in units)
    values = torch.zeros(len(units), most, units[0].shape[1])
    places = torch.full((len(units), most, 2), -1, dtype=torch.int64)
    for i, (unit, grid) in enumerate(zip(units, grids)):
        values[i, :len(unit)] = unit
        places[i, :len(unit)] = positions(grid)
    return values, places


def padded_sounds(sounds):
    most = max(len(sound) for sound in sounds)
    values = torch.zeros(len(sounds), most, sounds[0].shape[1])
    mask = torch.zeros(len(sounds), most, dtype=torch.bool)
    for i, sound in enumerate(sounds):
        values[i, :len(sound)] = sound
        mask[i, :len(sound)] = True
    return values, mask


class Tap:
    """States before the first of `layers` and behind each, [rows, width] each."""

    def __init__(self, layers):
        self.states = []
        self.hooks = []
        if layers:
            self.hooks.append(layers[0].register_forward_pre_hook(
                lambda module, args, kwargs: self.add(args[0] if args else kwargs["hidden_states"]),
                with_kwargs=True))
        for layer in layers:
            self.hooks.append(layer.register_forward_hook(
                lambda module, args, output: self.add(output[0] if isinstance(output, tuple)
                                                      else output)))

    def add(self, states):
        self.states.append(states[0].float().clone())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for hook in self.hooks:
            hook.remove()


@torch.no_grad()
def see(model, unit, grid):
    """States by layer, and soft tokens, of one image alone."""
    inner = model.model
    layers = [] if inner.config.model_type == "gemma4_unified" else inner.vision_tower.encoder.layers
    with Tap(layers) as tap:
        output = inner.get_image_features(unit[None], positions(grid)[None], return_dict=True)
    states = tap.states or [output.last_hidden_state[0].float()]
    return states, torch.cat(list(output.pooler_output)).float()


@torch.no_grad()
def hear(model, sound):
    """States by layer, what is projected at last, and soft tokens, of one sound alone."""
    inner = model.model
    mask = torch.ones(1, len(sound), dtype=torch.bool)
    if inner.config.model_type == "gemma4_unified":
        output = inner.get_audio_features(sound[None], mask, return_dict=True)
        return [], sound, output.pooler_output[0].float()
    with Tap(inner.audio_tower.layers) as tap:
        output = inner.get_audio_features(sound[None], mask, return_dict=True)
    return tap.states, output.last_hidden_state[0].float(), output.pooler_output[0].float()


def prompt_of(case, grids, frame_grids, tokens_of_sounds):
    """Ids with placeholders expanded, and token types (0 text, 1 image, 2 video, 3 audio)."""
    rng = generator(case, "prompt")
    ids, types = [2], [0]

    def text(count):
        for token in rng.integers(4, 58, count):
            ids.append(int(token))
            types.append(0)

    def medium(begin, token, count, end, kind):
        ids.extend([case.tokens[begin]] + [case.tokens[token]] * count + [case.tokens[end]])
        types.extend([0] + [kind] * count + [0])

    def soft(grid):
        return grid[0] * grid[1] // case.side ** 2

    text(2)
    for grid in grids:
        medium("boi_token_id", "image_token_id", soft(grid), "eoi_token_id", 1)
        text(1)
    for video in frame_grids:
        for grid in video:
            text(2)
            medium("boi_token_id", "video_token_id", soft(grid), "eoi_token_id", 2)
    for count in tokens_of_sounds:
        medium("boa_token_id", "audio_token_id", count, "eoa_token_index", 3)
        text(2)
    text(5)
    return torch.tensor(ids, dtype=torch.int64), torch.tensor(types, dtype=torch.int64)


@torch.no_grad()
def logits_of(model, case, ids, types, images, frames, sounds):
    """One full pass over the prompt with all its media, padded as the processors pad."""
    count = case.in_prompt
    arguments = dict(input_ids=ids[None], mm_token_type_ids=types[None], use_cache=False,
                     output_hidden_states=True)
    if images[:count[0]]:
        arguments["pixel_values"], arguments["image_position_ids"] = padded(
            images[:count[0]], case.images[:count[0]])
    videos = case.videos[:count[1]]
    if videos:
        grids = [grid for video in videos for grid in video]
        arguments["pixel_values_videos"], arguments["video_position_ids"] = padded(
            frames[:len(grids)], grids)
        arguments["num_frames_per_video"] = torch.tensor([len(video) for video in videos])
    if sounds[:count[2]]:
        arguments["input_features"], arguments["input_features_mask"] = padded_sounds(
            sounds[:count[2]])
    if case.unified:
        # Its forward() would show image blocks in full layers and beyond the window.
        embeds = model.get_input_embeddings()(torch.zeros_like(ids)[None])
        arguments["attention_mask"] = model.create_masks_for_generate(
            model.config, embeds, None, None, torch.arange(len(ids))[None], types[None])
    return model(**arguments).logits[0].float()


def check_padding(case, model, images, soft):
    """The reference's batch of all images gives what it gives for each."""
    if not images:
        return
    values, places = padded(images, case.images)
    with torch.no_grad():
        together = torch.cat(list(
            model.model.get_image_features(values, places, return_dict=True).pooler_output))
    departs = (together.float() - soft).abs().max() / soft.abs().max()
    assert departs < PADDING_LIMIT, f"{case.name}: padding moves soft tokens by {departs}"


def encoder_tensors(case, model, images, frames, sounds, states=True):
    tensors = {}
    grids = list(case.images) + [grid for video in case.videos for grid in video]
    if grids:
        seen = [see(model, unit, grid) for unit, grid in zip(images + frames, grids)]
        for i in range(len(seen[0][0]) if states else 0):
            tensors[f"vision.hidden.{i}"] = torch.cat([one[0][i] for one in seen])
        tensors["vision.soft"] = torch.cat([one[1] for one in seen])
    if sounds:
        heard = [hear(model, sound) for sound in sounds]
        for i in range(len(heard[0][0]) if states else 0):
            tensors[f"audio.hidden.{i}"] = torch.cat([one[0][i] for one in heard])
        if states and not case.unified:
            tensors["audio.tower"] = torch.cat([one[1] for one in heard])
        tensors["audio.soft"] = torch.cat([one[2] for one in heard])
        tensors["audio.tokens"] = torch.tensor([len(one[2]) for one in heard], dtype=torch.int64)
    return tensors


def golden_of(case, folder):
    images, frames, sounds = inputs_of(case)
    model = load(folder, torch.float32, "eager")
    if case.dtype == "bf16":
        reference.round_embed_scales(model)
    # The f32 twin finds the layer.
    tensors = encoder_tensors(case, model, images, frames, sounds, states=case.dtype == "f32")
    if images:
        count = sum(grid[0] * grid[1] for grid in case.images) // case.side ** 2
        check_padding(case, model, images, tensors["vision.soft"][:count])
    grids = list(case.images) + [grid for video in case.videos for grid in video]
    if grids:
        tensors["vision.units"] = torch.cat(images + frames)
        tensors["vision.grids"] = torch.tensor(grids, dtype=torch.int64)
        tensors["vision.images"] = torch.tensor([len(images)], dtype=torch.int64)
    if sounds:
        tensors["audio.input"] = torch.cat(sounds)
        tensors["audio.lengths"] = torch.tensor(case.sounds, dtype=torch.int64)
    count = case.in_prompt
    sound_tokens = tensors["audio.tokens"].tolist() if sounds else []
    ids, types = prompt_of(case, case.images[:count[0]], case.videos[:count[1]],
                           sound_tokens[:count[2]])
    tensors.update(input_ids=ids, token_types=types)
    tensors["logits"] = logits_of(model, case, ids, types, images, frames, sounds)
    if case.dtype == "bf16":
        own = load(folder, torch.bfloat16)
        for name, tensor in encoder_tensors(case, own, images, frames, sounds, False).items():
            if name.endswith(".soft"):
                tensors[name + "_bf16"] = tensor
        tensors["logits_bf16"] = logits_of(own, case, ids, types, images, frames, sounds)
    metadata = {"case": case.name, "family": case.family, "seed": str(case.seed),
                "dtype": case.dtype, "description": case.note,
                "transformers": transformers.__version__,
                "torch": torch.__version__.split("+", maxsplit=1)[0]}
    return tensors, metadata


def make_case(case, out):
    folder = os.path.join(out, case.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_checkpoint(case, folder)
    tensors, metadata = golden_of(case, folder)
    for name, tensor in tensors.items():
        assert torch.isfinite(tensor.double()).all(), f"{case.name}: {name} is not finite"
    golden_file.save(tensors, os.path.join(folder, "golden.safetensors"), metadata)
    return tensors


def write(out, only=()):
    chosen = [case for case in encoder_cases.cases() if not only or case.name in only]
    os.makedirs(out, exist_ok=True)
    for case in chosen:
        tensors = make_case(case, out)
        folder = os.path.join(out, case.name)
        size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
        print(f"{'media ' + case.name:32} {size / 1000:7.1f} kB   max |logit| "
              f"{tensors['logits'].abs().max():6.2f}", flush=True)
    if not only:
        entries = [{"name": case.name, "family": case.family, "seed": case.seed,
                    "dtype": case.dtype, "note": case.note} for case in chosen]
        with open(os.path.join(out, "index.json"), "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=DEFAULT_OUT)
    parser.add_argument("--only", default="", help="names of cases, with commas between")
    options = parser.parse_args()
    write(options.out, set(filter(None, options.only.split(","))))


if __name__ == "__main__":
    main()
