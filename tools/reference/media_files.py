"""Files of pictures and sounds through transformers' processors and models, and through culet.

What `culet logits --image … --audio …` gives must be what transformers gives of its own processor's
arrays: everything between a file and the logits is in between.
"""

import dataclasses
import os
import subprocess
import wave

import numpy as np
import torch
from PIL import Image
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

import encoder_cases
import make_encoder_goldens
import numpy_gemma4
from case_type import dense_text, e_text, unified_text

BUDGET = 70
# Of real patches and real mel features.
VISION = dict(encoder_cases.VISION, patch_size=16, hidden_size=48, head_dim=16,
              position_embedding_size=256)
AUDIO = dict(encoder_cases.AUDIO, subsampling_conv_channels=[128, 6])


def cases():
    vocab = encoder_cases.VOCAB
    yield encoder_cases.MediaCase(
        "files_e", "E2B", "", e_text("SSFSF", 2, vocab_size=vocab),
        vision=dict(VISION, use_clipped_linears=True), audio=dict(AUDIO, use_clipped_linears=True),
        bins=128)
    yield encoder_cases.MediaCase(
        "files_large", "31B", "", dense_text("SSSF", vocab_size=vocab, sliding_window=16,
                                            use_bidirectional_attention="vision"),
        vision=dict(VISION, standardize=True))
    yield encoder_cases.MediaCase(
        "files_unified", "12B", "", unified_text("SSSF", vocab_size=vocab, sliding_window=16),
        vision=dict(patch_size=16, pooling_kernel_size=3, mm_embed_dim=20, mm_posemb_size=1120),
        audio=dict(audio_embed_dim=640), unified=True)


def write_files(folder):
    """Two pictures and a sound that are like photographs and speech in what they spread over."""
    rng = np.random.default_rng(7)
    pictures = []
    for index, (height, width) in enumerate(((211, 347), (90, 40))):
        coarse = rng.integers(0, 256, (height // 9 + 2, width // 9 + 2, 3), dtype=np.uint8)
        path = os.path.join(folder, f"picture_{index}.png")
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(path)
        pictures.append(path)
    samples = np.cumsum(rng.standard_normal(23456)) / 40
    samples = np.clip(samples - np.convolve(samples, np.ones(400) / 400, "same"), -0.99, 0.99)
    sound = os.path.join(folder, "sound.wav")
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return pictures, sound


def picture_units(case, path):
    """(units, (columns, rows)) as the reference's processor has them: patches, or blocks of 12B."""
    batch = Gemma4ImageProcessorPil(max_soft_tokens=BUDGET)(
        images=[Image.open(path).convert("RGB")], return_tensors="np")
    places = batch["image_position_ids"][0]
    columns, rows = places.max(axis=0) + 1
    patches = batch["pixel_values"][0][places[:, 0] >= 0]
    if not case.unified:
        return torch.from_numpy(patches), (int(columns), int(rows))
    pixels = patches.reshape(rows, columns, 16, 16, 3).transpose(0, 2, 1, 3, 4)
    blocks = pixels.reshape(rows // 3, 48, columns // 3, 48, 3).transpose(0, 2, 1, 3, 4)
    return (torch.from_numpy(np.ascontiguousarray(blocks.reshape(-1, 6912))),
            (int(columns // 3), int(rows // 3)))


def sound_rows(case, path):
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    if case.unified:
        samples = np.pad(samples, (0, -len(samples) % 640))
        return torch.from_numpy(samples.reshape(-1, 640))
    batch = Gemma4AudioFeatureExtractor()([samples], sampling_rate=16000, return_tensors="np")
    return torch.from_numpy(batch["input_features"][0][batch["input_features_mask"][0]])


def tokens_of(case, rows):
    """Soft tokens of a sound."""
    return rows if case.unified else -(-(-(-rows // 2)) // 2)


def compare(case, culet, work):
    """The relative error of culet's logits; raises where a shape differs."""
    folder = os.path.join(work, case.name)
    make_encoder_goldens.write_checkpoint(case, folder)
    pictures, sound = write_files(folder)
    units, grids = zip(*(picture_units(case, path) for path in pictures))
    sounds = [sound_rows(case, sound)] if case.audio else []
    case = dataclasses.replace(case, images=tuple(grids),
                               sounds=tuple(len(rows) for rows in sounds))
    ids, types = make_encoder_goldens.prompt_of(
        case, case.images, [], [tokens_of(case, rows) for rows in case.sounds])
    model = make_encoder_goldens.load(folder, torch.float32)
    logits = make_encoder_goldens.logits_of(model, case, ids, types, list(units), [], sounds).numpy()
    out = os.path.join(folder, "logits.npy")
    options = [word for path in pictures for word in ("--image", path)]
    if sounds:
        options += ["--audio", sound]
    subprocess.run([culet, "logits", folder, *options, "--image-tokens", str(BUDGET), "--tokens",
                    ",".join(str(int(token)) for token in ids), "--out", out], check=True)
    found = np.load(out)
    if found.shape != logits.shape:
        raise RuntimeError(f"shape {found.shape}, expected {logits.shape}")
    return numpy_gemma4.relative(found, logits)
