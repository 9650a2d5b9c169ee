#!/usr/bin/env python3
"""Writes the small tokenizers of tests/text/data, each odd in its own way.

  tokenizer_overlaps.json       control tokens that begin or end alike; merges before vocab; a cut that
                                only one piece forbids (">▁<"); several ways to one piece
  tokenizer_plain_spaces.json   no normalizer: spaces stay, and words are split after each
  tokenizer_bare.json           neither normalizer nor pre-tokenizer; merges in the older form; control
                                tokens beyond the vocabulary; a post-processor that adds <bos>
  tokenizer_no_underline.json   the normalizer's character is not in the vocabulary
"""

import itertools
import json
import pathlib

UNDERLINE = "\u2581"
FOLDER = pathlib.Path(__file__).resolve().parent / "data"


def tokenizer(controls, letters, merges, *, normalizer=True, split=True, beyond=(), legacy=False,
              merges_first=False, bos=False):
    vocab = list(controls) + [f"<0x{byte:02X}>" for byte in range(256)] + list(letters)
    for left, right in merges:
        if left + right not in vocab:
            vocab.append(left + right)
    listed = [" ".join(merge) for merge in merges] if legacy else [list(merge) for merge in merges]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False}
    vocab_part = {"vocab": {text: i for i, text in enumerate(vocab)}}
    merges_part = {"merges": listed}
    parts = [merges_part, vocab_part] if merges_first else [vocab_part, merges_part]
    for part in parts:
        model.update(part)
    added = [{"id": i, "content": text} for i, text in enumerate([*vocab, *beyond])
             if text in controls or text in beyond]
    for token in added:
        token.update(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    decoders = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    if normalizer:
        decoders.insert(0, {"type": "Replace", "pattern": {"String": UNDERLINE}, "content": " "})
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    special = {}
    if bos:
        single.insert(0, {"SpecialToken": {"id": "<bos>", "type_id": 0}})
        special = {"<bos>": {"id": "<bos>", "ids": [vocab.index("<bos>")], "tokens": ["<bos>"]}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": UNDERLINE}
        if normalizer else None,
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                          "invert": False} if split else None,
        "post_processor": {"type": "TemplateProcessing", "single": single,
                           "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": special},
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }


def runs(letter, longest):
    """Merges as the published file has them: the longest run first."""
    return [(letter * n, letter) for n in range(longest - 1, 0, -1)]


def write(name, data, ascii_only):
    text = json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":"))
    (FOLDER / f"tokenizer_{name}.json").write_text(text + "\n", encoding="utf-8")


def main():
    FOLDER.mkdir(exist_ok=True)
    letters = [UNDERLINE, "\n", *"abcdeo<>/|é世界😀", "\u0301"]
    pairs = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("c", "d"), ("abc", "d"), ("ab", "cd"),
             ("e", "\u0301"), ("é", "e"), ("世", "界"), ("😀", "😀"), ("😀", "\u0301"), ("a", "a"),
             ("aa", "aa"), ("aa", "a"), (UNDERLINE, "a"), (UNDERLINE + "a", "b"), (UNDERLINE, "ab"),
             (">", UNDERLINE), (">" + UNDERLINE, "<"), ("<", "/"), (">" + UNDERLINE, "</"), ("d", "e")]
    overlapping = ["<unk>", "<bos>", "<a", "<a>", "<a>b", "a>", "|>", "<|a", "<|a|>", "世界a", "  ", " <e"]
    write("overlaps", tokenizer(overlapping, letters,
                                runs("\n", 4) + runs(UNDERLINE, 5) + pairs, merges_first=True), True)
    plain = [" ", "\n", UNDERLINE, *"abco<>é"]
    pairs = [("a", " "), ("b", "a "), ("a", "b"), (" ", "a"), (" ", "é"), ("é", " "), ("o", "é "),
             (UNDERLINE, "a"), ("c", UNDERLINE)]
    write("plain_spaces", tokenizer(["<unk>", "<bos>"], plain, pairs + runs("o", 3), normalizer=False), False)
    bare = [*"abcdefgh é"]
    # All pairs of four letters, then pairs of those: every text of them is one word.
    two = list(itertools.product("abcd", repeat=2))
    four = [(x + y, z + w) for x, y, z, w in itertools.islice(itertools.product("abcd", repeat=4), 3, 200, 5)]
    write("bare", tokenizer(["<unk>", "<bos>"], bare, two[::-1] + four, normalizer=False, split=False,
                            beyond=("<|late", "<|late|>"), legacy=True, bos=True), False)
    write("no_underline", tokenizer(["<unk>", "<bos>"], [*"abc"], [("a", "b"), ("b", "c")]), True)


if __name__ == "__main__":
    main()
