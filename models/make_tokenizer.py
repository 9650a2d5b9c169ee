"""Trains pebble's tokenizer on its micro-world and writes tokenizer.json, tokenizer_config.json and generation_config.json.

It is a byte-fallback BPE of Gemma 4's kind: the same fields, the same ids up to 106, the same control tokens. Those of
other media, whose ids are beyond this small vocabulary, stand at its end. Needs the tokenizers package.

    python models/make_tokenizer.py [--out models/pebble]
"""

import argparse
import itertools
import json
import os

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import pebble_text
import pebble_words as words
import pebble_world as world

VOCAB_SIZE = 1280
SPACE = "\u2581"
LOW_CONTROL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>", 46: "<|tool>", 47: "<tool|>",
               48: "<|tool_call>", 49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>',
               98: "<|think|>", 100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"}
MEDIA_CONTROL = ["<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"]
SPARE = 9  # unused places before the media tokens
NEWLINE = 107
FIRST_BYTE = 108
FIRST_PIECE = FIRST_BYTE + 256
FIRST_MEDIA = VOCAB_SIZE - len(MEDIA_CONTROL)


def learn_merges(count, texts):
    """Merges of letters only: digits, newlines and marks stay alone, and a piece never reaches over a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"<\|?[a-z_]+\|?>|<\|\"\|>"), "removed"),
        pre_tokenizers.Split(Regex(r"[^\p{L}\x{2581}]"), "isolated"),
        pre_tokenizers.Split(SPACE, "merged_with_next")])
    alphabet = [SPACE] + [chr(c) for c in range(33, 127)]
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + count, initial_alphabet=alphabet, min_frequency=2,
                                  limit_alphabet=len(alphabet), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    merges = [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    return alphabet, merges[:count]


def texts():
    """The world's text, and every word of it once more so that rare words become single pieces too."""
    for conversation in itertools.islice(world.conversations(1, "train"), 30000):
        yield pebble_text.render(conversation)
    words = set()
    for group in (words.NAMES, words.ITEMS, words.CITIES, words.COLOURS, words.KINDS, words.DAYS, words.SKIES,
                  words.OPENERS, words.CLOSERS):
        words.update(group)
    words.update(k + "s" for k in words.KINDS)
    for word in sorted(words):
        yield f" {word} {word}" * 300
    yield "user model system thought call response declaration description parameters properties required type " * 3000
    yield "\nuser\nmodel\nsystem\nthought\ncall:response:declaration:description:parameters:properties:required:" * 3000


def build(out):
    count = FIRST_MEDIA - SPARE - FIRST_PIECE - 95
    alphabet, merges = learn_merges(count, texts())
    assert len(merges) == count, (len(merges), count)
    names = dict(LOW_CONTROL)
    names[5] = "[multimodal]"
    names[NEWLINE] = "\n"
    for byte in range(256):
        names[FIRST_BYTE + byte] = f"<0x{byte:02X}>"
    pieces = ["".join(m) for m in merges] + alphabet
    assert len(set(pieces)) == len(pieces)
    for i, piece in enumerate(pieces):
        names[FIRST_PIECE + i] = piece
    for i, piece in enumerate(MEDIA_CONTROL):
        names[FIRST_MEDIA + i] = piece
    unused = itertools.count()
    vocab = {}
    for i in range(VOCAB_SIZE):
        vocab[names[i] if i in names else f"<unused{next(unused)}>"] = i
    assert len(vocab) == VOCAB_SIZE
    control = sorted(list(LOW_CONTROL.items()) + [(FIRST_MEDIA + i, p) for i, p in enumerate(MEDIA_CONTROL)])
    data = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, text in control],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": [list(m) for m in merges]},
    }
    os.makedirs(out, exist_ok=True)
    write(out, "tokenizer.json", data)
    write(out, "tokenizer_config.json", {
        "tokenizer_class": "GemmaTokenizer", "padding_side": "left",
        "model_max_length": 1000000000000000019884624838656, "clean_up_tokenization_spaces": False,
        "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
        "sot_token": "<|turn>", "eot_token": "<turn|>", "soc_token": "<|channel>", "eoc_token": "<channel|>",
        "think_token": "<|think|>", "escape_token": '<|"|>', "std_token": "<|tool>", "etd_token": "<tool|>",
        "stc_token": "<|tool_call>", "etc_token": "<tool_call|>", "str_token": "<|tool_response>",
        "etr_token": "<tool_response|>", "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
        "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
        "extra_special_tokens": ["<|video|>"]})
    # The demo's answers can be checked, so it answers greedily unless it is asked to sample.
    write(out, "generation_config.json", {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": [1, 106, 50],
                                          "do_sample": False, "transformers_version": "5.24.0"})


def write(out, name, data):
    with open(os.path.join(out, name), "w", encoding="utf-8") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "pebble"))
    build(parser.parse_args().out)
