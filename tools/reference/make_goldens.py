"""Makes tests/golden/text: checkpoints of all cases and what transformers computes on them.

    python tools/reference/make_goldens.py [--out FOLDER] [--only NAME,NAME]
"""

import argparse
import json
import os
import shutil
import zlib

import numpy as np
import torch
import transformers

import cases
import checkpoint
import golden_file
import reference
import rope_tables

GREEDY_STEPS = 64
TAIL_ROWS = 16  # of a long prompt, only so many last rows of the residual stream are kept
LONG_PROMPT = 64
# Cases that have embeddings too: every family, shared KV, a prompt over many windows.
EMBEDDED = ("e2b_like", "e4b_like", "unified_12b_like", "moe_26b_like", "dense_31b_like",
            "e_many_shared", "e_long_prompt")
HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_OUT = os.path.join(HERE, "..", "..", "tests", "golden", "text")


def prompt_of(case):
    """<bos>, then random ids with pad (0) and unknown (3) among them: they are ordinary rows."""
    rng = np.random.Generator(np.random.PCG64([case.seed, zlib.crc32(b"prompt")]))
    ids = rng.integers(0, case.vocab, case.tokens)
    ids[0] = 2
    if case.tokens > 4:
        ids[3] = 0
        ids[4] = ids[2]
    return torch.from_numpy(ids.astype(np.int64))


def golden_of(case, folder):
    """Tensors and metadata of golden.safetensors, computed from the files in the folder."""
    ids = prompt_of(case)
    model = reference.load_f32(folder, case.dtype)
    logits, hidden = reference.run(model, ids)
    tensors = {"input_ids": ids, "logits": logits}
    for i, rows in enumerate(hidden):
        if case.dtype == "bf16" and i > 0:
            # The f32 case finds the layer. The embedding stays: a root that is not rounded moves it
            # by 0.1%, which logits within 1.2 times the error of a bf16 run would hide.
            break
        if case.tokens > LONG_PROMPT:
            tensors[f"hidden_tail.{i}"] = rows[-TAIL_ROWS:].clone()
        else:
            tensors[f"hidden.{i}"] = rows
    if case.dtype == "bf16":
        tensors["logits_bf16"], _ = reference.run(reference.load_bf16(folder), ids)
        tensors["greedy_ids"], tensors["greedy_gap"] = reference.greedy(model, ids, GREEDY_STEPS)
    metadata = {
        "case": case.name, "family": case.family, "seed": str(case.seed), "dtype": case.dtype,
        "description": case.note,
        "embed_scale": "rounded to bf16" if case.dtype == "bf16" else "exact",
        "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0],
    }
    return tensors, metadata


def embeddings_of(case, folder):
    """Tensors of embeddings.safetensors: texts of unequal length, each alone, and what is pooled over
    last_hidden_state."""
    ids = prompt_of(case)
    model = reference.load_f32(folder, case.dtype)
    texts = [ids, ids[:1], ids[: len(ids) // 2], ids[1:]]
    rows = [reference.last_hidden_state(model, text) for text in texts]
    return {"input_ids": torch.cat(texts),
            "lengths": torch.tensor([len(text) for text in texts], dtype=torch.int64),
            "mean": torch.stack([text.mean(0) for text in rows]),
            "last": torch.stack([text[-1] for text in rows])}


def make_case(case, out):
    folder = os.path.join(out, case.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    checkpoint.write_checkpoint(case, folder)
    tensors, metadata = golden_of(case, folder)
    for name, tensor in tensors.items():
        assert torch.isfinite(tensor.double()).all(), f"{case.name}: {name} is not finite"
    golden_file.save(tensors, os.path.join(folder, "golden.safetensors"), metadata)
    if case.name in EMBEDDED:
        golden_file.save(embeddings_of(case, folder),
                         os.path.join(folder, "embeddings.safetensors"), metadata)
    return tensors


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(root, name))
               for root, _, names in os.walk(folder) for name in names)


def index_entry(case):
    return {"name": case.name, "family": case.family, "seed": case.seed, "tokens": case.tokens,
            "dtype": case.dtype, "note": case.note}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=DEFAULT_OUT)
    parser.add_argument("--only", default="", help="names of cases, with commas between")
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    chosen = [case for case in cases.all_cases() if not only or case.name in only]
    if only - {case.name for case in chosen}:
        parser.error(f"no such case: {sorted(only - {case.name for case in chosen})}")
    os.makedirs(options.out, exist_ok=True)
    for case in chosen:
        tensors = make_case(case, options.out)
        size = folder_bytes(os.path.join(options.out, case.name))
        print(f"{case.name:32} {size / 1000:7.1f} kB   max |logit| "
              f"{tensors['logits'].abs().max():6.2f}", flush=True)
    if not only:
        rope_tables.write(os.path.join(options.out, "..", "rope"))
        with open(os.path.join(options.out, "index.json"), "w", encoding="utf-8") as file:
            json.dump([index_entry(case) for case in chosen], file, indent=1)
            file.write("\n")
    print(f"{len(chosen)} cases, {folder_bytes(options.out) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
