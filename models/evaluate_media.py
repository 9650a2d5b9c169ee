"""The held-out pictures, clips and sounds of evaluate.py, and how transformers and culet are asked about them.

Both read the same files (PNG, AVI of plain pixels, WAV). For transformers the processors' own arrays, its chat template and
`generate`; clips go through the image processor frame by frame, because the video processor needs torchvision and does
the same to frames of this size.
"""

import itertools
import json
import os
import random
import subprocess
import wave
from dataclasses import dataclass

import numpy as np
from PIL import Image

import media_files
import pebble_scenes as scenes
import pebble_sounds as sounds

TITLES = {
    "scene_colour": "picture: colour of a shape", "scene_kind": "picture: shape of a colour",
    "scene_count": "picture: how many", "scene_where": "picture: where", "scene_bigger": "picture: which is bigger",
    "scene_digit": "picture: reading a digit", "scene_word": "picture: reading a word",
    "scene_list": "picture: everything that is there", "clip_direction": "clip: which way it moves",
    "clip_order": "clip: which came first or last", "sound_digit": "sound: a spoken digit",
    "sound_digits": "sound: two spoken digits", "sound_word": "sound: a spoken word", "sound_count": "sound: how many beeps",
    "sound_pitch": "sound: high or low", "sound_glide": "sound: rising or falling",
    "sound_rhythm": "sound: long and short beeps", "sound_any": "sound: what is it",
}
OPTIONS = {"scene": "--image", "clip": "--video", "sound": "--audio"}
TYPES = {"scene": "image", "clip": "video", "sound": "audio"}


@dataclass
class Item:
    kind: str
    path: str
    question: str
    answer: str


def held_out(task, count, folder, seed=21):
    """`count` held-out questions of one task, each with a file of its own in `folder`."""
    rng = random.Random(f"{seed}:{task}")
    voices = sounds.Voices("heldout") if task.startswith("sound") else None
    kind = task.split("_")[0]
    items = []
    while len(items) < count:
        base = os.path.join(folder, f"{task}_{len(items)}")
        if kind == "scene":
            scene = scenes.draw_scene(rng, "heldout")
            questions = scenes.scene_questions(rng, scene)
            picture, path = scenes.render(scene, rng.choice([128, 160, 192, 256, 320])), base + ".png"
        elif kind == "clip":
            frames, _, *question = scenes.draw_clip(rng, "heldout")
            questions, path = [tuple(question)], base + ".avi"
        else:
            sound = sounds.make_sound(rng, "heldout", voices)
            questions, path = sound.questions, base + ".wav"
        chosen = [q for q in questions if q[0] == task]
        if not chosen:
            continue
        if kind == "scene":
            picture.save(path)
        elif kind == "clip":
            media_files.write_avi(path, np.stack([np.asarray(scenes.render(frame, 128)) for frame in frames]))
        else:
            media_files.write_wav(path, sound.samples)
        items.append(Item(kind, path, chosen[0][1], chosen[0][2]))
    return items


def read_avi(path):
    """The frames of a file of media_files.write_avi, [count, height, width, 3]."""
    with open(path, "rb") as file:
        data = file.read()
    width, height = np.frombuffer(data[data.index(b"strf") + 12:], "<i4", 2)
    size, parts, at = width * height * 3, [], data.index(b"movi") + 4
    while data[at:at + 4] == b"00db":
        parts.append(np.frombuffer(data, np.uint8, size, at + 8).reshape(height, width, 3)[::-1, :, ::-1])
        at += 8 + size
    return np.stack(parts)


def read_wav(path):
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


class Transformers:
    """The model under transformers; answers items greedily, those with prompts of one length together."""

    def __init__(self, folder, dtype, threads):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
        from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
        torch.set_num_threads(threads)
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        with open(os.path.join(folder, "processor_config.json"), encoding="utf-8") as file:
            config = json.load(file)
        sizes = {key: config["image_processor"][key] for key in ("patch_size", "pooling_kernel_size", "max_soft_tokens")}
        self.pictures, self.sounds = Gemma4ImageProcessorPil(**sizes), Gemma4AudioFeatureExtractor()

    def inputs(self, item):
        """Ids of the prompt and the processor's arrays."""
        messages = [{"role": "user", "content": [{"type": TYPES[item.kind]}, {"type": "text", "text": item.question}]}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        arrays = {}
        if item.kind == "sound":
            batch = self.sounds([read_wav(item.path)], sampling_rate=16000, return_tensors="pt")
            arrays = {"input_features": batch["input_features"], "input_features_mask": batch["input_features_mask"]}
            frames = int(batch["input_features_mask"].sum())
            count = -(-(-(-frames // 2)) // 2)
            text = text.replace("<|audio|>", "<|audio>" + "<|audio|>" * count + "<audio|>")
        else:
            frames = [Image.open(item.path)] if item.kind == "scene" else list(map(Image.fromarray, read_avi(item.path)))
            batch = self.pictures(images=frames, return_tensors="pt")
            count = int(batch["num_soft_tokens_per_image"][0])
            if item.kind == "scene":
                arrays = {"pixel_values": batch["pixel_values"], "image_position_ids": batch["image_position_ids"]}
                text = text.replace("<|image|>", "<|image>" + "<|image|>" * count + "<image|>")
            else:  # a frame a second
                arrays = {"pixel_values_videos": batch["pixel_values"], "video_position_ids": batch["image_position_ids"],
                          "num_frames_per_video": self.torch.tensor([len(frames)])}
                text = text.replace("<|video|>", " ".join(
                    f"00:{i:02d} <|image>" + "<|video|>" * count + "<image|>" for i in range(len(frames))))
        return self.tokenizer(text, add_special_tokens=False).input_ids, arrays

    def answer(self, items, most_tokens, cut, batch=25):
        torch = self.torch
        made = [self.inputs(item) for item in items]
        results = [None] * len(items)

        def alike(i):
            shape = made[i][1].get("input_features")
            return len(made[i][0]), 0 if shape is None else shape.shape[1]
        for _, same in itertools.groupby(sorted(range(len(items)), key=alike), key=alike):
            same = list(same)
            for start in range(0, len(same), batch):
                part = same[start:start + batch]
                ids = torch.tensor([made[i][0] for i in part])
                arrays = {key: torch.cat([made[i][1][key] for i in part]) for key in made[part[0]][1]}
                for key in ("pixel_values", "pixel_values_videos", "input_features"):
                    if key in arrays:
                        arrays[key] = arrays[key].to(self.model.dtype)
                with torch.no_grad():
                    out = self.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                              max_new_tokens=most_tokens, **arrays)
                for i, row in zip(part, out[:, ids.shape[1]:].tolist()):
                    results[i] = cut(row)
        return results


def run_culet(command, folder, items, threads, most_tokens, cut):
    """Answers under the culet command, as lists of ids; one run an item."""
    results = []
    for item in items:
        done = subprocess.run(
            [command, "run", folder, item.question, OPTIONS[item.kind], item.path, "--temperature", "0", "--json",
             "--max-tokens", str(most_tokens), "--threads", str(threads)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise SystemExit(f"culet failed on {item}: {done.stderr.decode(errors='replace')}")
        results.append(cut(json.loads(done.stdout)["tokens"]))
    return results
