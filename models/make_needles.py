"""Needles in haystacks: what pebble recalls from long prompts under transformers.

    python models/make_needles.py            # writes tests/golden/needles.tsv
    python models/make_needles.py --check    # exit status 1 where the file says otherwise

One sentence of a fact lies among sentences that do not matter, and the question comes last. Pebble learnt
positions up to 256, so what lies far beyond is recalled at times only; whatever it answers, an engine has to
answer the same. Columns: sentences before the fact, sentences after it, name, thing, tokens of the prompt,
answer. tests/api/needle_test.cc makes the same prompts from the first four.
"""

import argparse
import pathlib
import sys

from pebble_words import FILLER, ITEMS, NAMES

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "tests" / "golden" / "needles.tsv"
# Sentences around the fact, and how many names are asked about.
SIZES = [(40, 24), (160, 24), (640, 6)]
DEPTHS = (0, 0.5, 1)  # share of the sentences before the fact
MOST_TOKENS = 16


def needles():
    """(before, after, name, thing) of each prompt."""
    for sentences, names in SIZES:
        for depth in DEPTHS:
            before = int(sentences * depth)
            for i, name in enumerate(NAMES[:names]):
                yield before, sentences - before, name, ITEMS[i * 5 % len(ITEMS)]


def message(before, after, name, thing):
    sentences = [FILLER[i % len(FILLER)] for i in range(before)]
    sentences.append(f"{name} has a {thing}.")
    sentences += [FILLER[(7 * i + 3) % len(FILLER)] for i in range(after)]
    return " ".join(sentences + [f"What does {name} have?"])


def lines():
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = ROOT / "models" / "pebble"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for needle in needles():
        ids = tokenizer.apply_chat_template([{"role": "user", "content": message(*needle)}], return_tensors="pt",
                                            add_generation_prompt=True, return_dict=True)["input_ids"]
        with torch.inference_mode():
            out = model.generate(ids, do_sample=False, max_new_tokens=MOST_TOKENS)
        answer = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).strip()
        yield "\t".join(map(str, (*needle, ids.shape[1], answer)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = "\n".join(lines()) + "\n"
    if not options.check:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        print(f"make_needles: {FILE} is not what transformers answers now; without --check this writes it",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
