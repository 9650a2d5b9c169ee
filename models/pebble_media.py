"""What pebble's training on pictures and sounds shares: new words of the tokenizer, sizes of the towers, the whole model.

    python models/pebble_media.py --words           # adds the new words to models/pebble/tokenizer.json, once
"""

import argparse
import functools
import json
import os

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import (Gemma4AudioConfig, Gemma4Config, Gemma4ForConditionalGeneration, Gemma4TextConfig,
                          Gemma4VisionConfig)
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL_DIR = os.path.join(HERE, "pebble")
BUDGET = 70
PATCH, POOL = 8, 2
SIDE = 128  # what the processor makes of a square picture: 16 × 16 patches, 8 × 8 soft tokens
SOFT_TOKENS = 64
FRAMES = 3  # of a clip
NEW_WORDS = ("circle square triangle star cross circles squares triangles stars crosses shape shapes top middle bottom "
             "left right up down big bigger digit digits word picture low rising falling short tone beep beeps hear "
             "first last came moves colour see rhythm").split()
SPACE = "\u2581"
VISION = dict(hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3,
              head_dim=32, patch_size=PATCH, pooling_kernel_size=POOL, position_embedding_size=160)
AUDIO = dict(hidden_size=96, num_hidden_layers=3, num_attention_heads=4, subsampling_conv_channels=[128, 8],
             output_proj_dims=96, use_clipped_linears=False)


def add_words(path):
    """Appends the new words with the merges that make them: no id that was there changes."""
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    vocab, merges = data["model"]["vocab"], data["model"]["merges"]
    known = {tuple(m) for m in merges}
    tokenizer = Tokenizer.from_file(path)
    for word in NEW_WORDS:
        pieces = tokenizer.encode(" " + word, add_special_tokens=False).tokens
        left = pieces[0]
        for right in pieces[1:]:
            if (left, right) not in known:
                known.add((left, right))
                merges.append([left, right])
            left += right
            vocab.setdefault(left, len(vocab))
        tokenizer = Tokenizer.from_str(json.dumps(data, ensure_ascii=False))
    for word in NEW_WORDS:
        assert tokenizer.encode(" " + word, add_special_tokens=False).tokens == [SPACE + word], word
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=2))


def make_config(text, tokenizer):
    """The whole config around today's text config, whose vocabulary grows to the tokenizer's."""
    fields = {k: v for k, v in text.to_dict().items() if k not in ("architectures", "transformers_version", "dtype",
                                                                    "_name_or_path")}
    fields["vocab_size"] = fields["vocab_size_per_layer_input"] = tokenizer.get_vocab_size()
    fields["max_position_embeddings"] = 2048
    ids = {key: tokenizer.token_to_id(token) for key, token in {
        "boi_token_id": "<|image>", "eoi_token_id": "<image|>", "boa_token_id": "<|audio>", "eoa_token_index": "<audio|>",
        "image_token_id": "<|image|>", "audio_token_id": "<|audio|>", "video_token_id": "<|video|>"}.items()}
    return Gemma4Config(text_config=Gemma4TextConfig(**fields), vision_config=Gemma4VisionConfig(**VISION),
                        audio_config=Gemma4AudioConfig(**AUDIO), tie_word_embeddings=True, **ids)


def make_model(text_model, tokenizer, seed):
    """A model with new towers around the weights of a text model (Gemma4ForCausalLM)."""
    torch.manual_seed(seed)
    model = Gemma4ForConditionalGeneration(make_config(text_model.config, tokenizer))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # As in train.py: scores have no 1/sqrt(d) in text and vision.
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.fill_(parameter.numel() ** -0.25)
        model.model.vision_tower.patch_embedder.position_embedding_table.normal_(0, 0.1)
        own = model.model.language_model.state_dict()
        for name, value in text_model.model.state_dict().items():
            if name.startswith("embed_tokens") and value.ndim == 2:
                old = value.shape[0]
                own[name][:old] = value
                own[name][old:] *= value[300:old - 20].std() / own[name][old:].std()
            else:
                own[name].copy_(value)
        model.model.language_model.load_state_dict(own)
    return model


def write_processor(folder):
    """processor_config.json: what pictures, clips and sounds become before the towers."""
    pictures = {"do_convert_rgb": True, "do_normalize": False, "do_rescale": True, "do_resize": True,
                "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0], "max_soft_tokens": BUDGET,
                "patch_size": PATCH, "pooling_kernel_size": POOL, "resample": 3, "rescale_factor": 1 / 255}
    sound = {key: value for key, value in feature_extractor().to_dict().items() if not isinstance(value, np.ndarray)}
    data = {
        "audio_ms_per_token": 40, "audio_seq_length": 750, "image_seq_length": BUDGET,
        "feature_extractor": dict(sorted(sound.items())),
        "image_processor": pictures | {"image_processor_type": "Gemma4ImageProcessor", "image_seq_length": BUDGET},
        "processor_class": "Gemma4Processor",
        "video_processor": pictures | {"do_normalize": True, "do_sample_frames": True, "num_frames": FRAMES,
                                       "return_metadata": False, "video_processor_type": "Gemma4VideoProcessor"}}
    with open(os.path.join(folder, "processor_config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(data, indent=2) + "\n")


@functools.cache
def image_processor():
    return Gemma4ImageProcessorPil(patch_size=PATCH, pooling_kernel_size=POOL, max_soft_tokens=BUDGET)


def patches(images):
    """What the processor makes of square pictures, without its padding: float32 [n, 256, 192]."""
    batch = image_processor()(images=images, return_tensors="np")
    return batch["pixel_values"][:, :SOFT_TOKENS * POOL * POOL].astype(np.float32)


def patch_places(count):
    """Columns and rows of the patches of `count` square pictures: [n, 256, 2]."""
    side = SIDE // PATCH
    y, x = np.divmod(np.arange(side * side), side)
    return torch.from_numpy(np.stack([x, y], -1))[None].expand(count, -1, -1)


@functools.cache
def feature_extractor():
    return Gemma4AudioFeatureExtractor()


def mel(samples):
    """Features [frames, 128] of the valid frames of one sound of float32 samples at 16 kHz."""
    batch = feature_extractor()([samples], sampling_rate=16000, return_tensors="np")
    return batch["input_features"][0][batch["input_features_mask"][0]].astype(np.float32)


def sound_tokens(frames):
    """Soft tokens of so many valid frames."""
    return -(-(-(-frames // 2)) // 2)


def word_ids(tokenizer, words):
    """Ids of words as they stand in a sentence; digits stand alone."""
    return [tokenizer.token_to_id(w if w.isdigit() else SPACE + w) for w in words]


def targets(embedding, words_by_place, count):
    """What soft tokens should be near to: sums of scaled word embeddings, [count, width]; None has the placeholder's.

    words_by_place: dict of place to ids of words.
    """
    scale = embedding.shape[1] ** 0.5
    result = torch.zeros(count, embedding.shape[1])
    for place, ids in words_by_place.items():
        result[place] = embedding[ids].sum(0) * scale
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--words", action="store_true", help="add the new words to the tokenizer")
    parser.add_argument("--out", default=MODEL_DIR)
    arguments = parser.parse_args()
    if arguments.words:
        add_words(os.path.join(arguments.out, "tokenizer.json"))
