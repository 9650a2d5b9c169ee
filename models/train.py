"""Trains pebble from nothing on the micro-world, on a CPU, in a given time.

    python models/train.py --minutes 120            # starts, or goes on from build/pebble/checkpoint.pt
    python models/train.py --export-only            # writes the checkpoint's weights to models/pebble

The learning rate follows the share of the time that is used up, not a number of steps, so a busy machine gets a shorter
run that still ends well. Needs torch and transformers.
"""

import argparse
import json
import math
import os
import pickle
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

import pebble_text
import pebble_world as world

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL_DIR = os.path.join(HERE, "pebble")
WINDOW = 64
SHAPES = {128: 64, 256: 32}  # row length -> rows: 8,192 tokens in either
TAIL = 0.02  # the last learning rate, as a share of the first


def make_config(vocab_size):
    kinds = ["sliding_attention"] * 2 + ["full_attention", "sliding_attention", "full_attention"]
    return Gemma4TextConfig(
        vocab_size=vocab_size, vocab_size_per_layer_input=vocab_size, hidden_size=128, intermediate_size=384,
        num_hidden_layers=10, layer_types=kinds * 2, num_attention_heads=4, num_key_value_heads=1, head_dim=32,
        global_head_dim=64, hidden_size_per_layer_input=16, num_kv_shared_layers=4, use_double_wide_mlp=True,
        sliding_window=WINDOW, final_logit_softcapping=30.0, max_position_embeddings=2048, pad_token_id=0,
        bos_token_id=2, eos_token_id=1, tie_word_embeddings=True)


def make_model(vocab_size, seed):
    torch.manual_seed(seed)
    model = Gemma4ForCausalLM(make_config(vocab_size))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Attention scores have no 1/sqrt(d) here: weights of 1 would start with attention so sharp that copying
            # is hardly learnt.
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                parameter.fill_(parameter.numel() ** -0.25)
    return model


class Packer:
    """Packs whole conversations into rows of the two lengths; a row's conversations do not see each other.

    State is plain data, so that a checkpoint can carry it.
    """
    OPEN_ROWS = 24

    def __init__(self, tokenizer, seed, split, mixture=None):
        self.rng = random.Random(f"{seed}:{split}")
        self.tokenizer, self.split = tokenizer, split
        self.mixture = dict(mixture or world.MIXTURE)
        self.open = {length: [] for length in SHAPES}  # rows: lists of (task, ids, learnt)
        self.ready = {length: [] for length in SHAPES}

    def state(self):
        return pickle.dumps((self.rng.getstate(), self.open, self.ready))

    def restore(self, state):
        rng_state, self.open, self.ready = pickle.loads(state)
        self.rng.setstate(rng_state)

    def encode(self, conversation):
        ids, learnt = [], []
        for text, flag in pebble_text.segments(conversation):
            part = self.tokenizer.encode(text, add_special_tokens=False).ids
            ids += part
            learnt += [flag] * len(part)
        return conversation.task, ids, learnt

    def place(self, document):
        """Puts a document in the first open row that has room; a full set of open rows closes its fullest one."""
        size = len(document[1])
        for length in sorted(SHAPES):
            if size > length:
                continue
            rows = self.open[length]
            for row in rows:
                if sum(len(d[1]) for d in row) + size <= length:
                    row.append(document)
                    return
            if len(rows) >= self.OPEN_ROWS:
                fullest = max(rows, key=lambda row: sum(len(d[1]) for d in row))
                rows.remove(fullest)
                self.ready[length].append(fullest)
            rows.append([document])
            return

    def batch(self):
        """Returns (length, rows) as soon as one of the shapes is full."""
        names, weights = list(self.mixture), list(self.mixture.values())
        while True:
            for length, count in SHAPES.items():
                if len(self.ready[length]) >= count:
                    rows = self.ready[length][:count]
                    self.ready[length] = self.ready[length][count:]
                    return length, rows
            name = self.rng.choices(names, weights)[0]
            self.place(self.encode(world.BUILDERS[name](self.rng, self.split)))


def tensors(length, rows):
    """What a batch of packed rows is for the model.

    Returns ids, targets (-100 where nothing is learnt), positions, the two attention masks, the number of the
    conversation at every place, and the weight of every target: 1/sqrt(learnt tokens of its conversation), so that long
    thoughts and lists do not drown the answers of one token.
    """
    count = SHAPES[length]
    ids = np.zeros((count, length), np.int64)
    targets = np.full((count, length), -100, np.int64)
    positions = np.tile(np.arange(length), (count, 1))
    documents = np.full((count, length), -1, np.int64)
    weights = np.zeros((count, length), np.float32)
    number = 0
    for r, row in enumerate(rows):
        at = 0
        for _, tokens, learnt in row:
            size = len(tokens)
            ids[r, at:at + size] = tokens
            weights[r, at:at + size] = max(1, sum(learnt)) ** -0.5
            for i in range(1, size):
                if learnt[i]:
                    targets[r, at + i - 1] = tokens[i]
            positions[r, at:at + size] = np.arange(size)
            documents[r, at:at + size] = number
            number += 1
            at += size
    documents = torch.from_numpy(documents)
    place = torch.arange(length)
    full = (documents[:, :, None] == documents[:, None, :]) & (place[:, None] >= place[None, :])
    sliding = full & (place[:, None] - place[None, :] < WINDOW)
    masks = {"full_attention": full[:, None], "sliding_attention": sliding[:, None]}
    return (torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(positions), masks, documents,
            torch.from_numpy(weights))


def logits_and_targets(model, body, ids, targets, positions, masks):
    """Logits only where something is learnt."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = body(input_ids=ids, position_ids=positions, attention_mask=masks, use_cache=False).last_hidden_state
        chosen = targets >= 0
        logits = model.lm_head(hidden[chosen])
    cap = model.config.final_logit_softcapping
    return cap * torch.tanh(logits.float() / cap), targets[chosen], chosen


def exact_by_task(model, body, rows_of):
    """Share of conversations in which every learnt token is the most likely one: what greedy decoding would write."""
    right, seen = {}, {}
    for length, rows in rows_of:
        ids, targets, positions, masks, documents, _ = tensors(length, rows)
        # With gradients, though unused: without them the body would be compiled once more for each shape.
        logits, wanted, chosen = logits_and_targets(model, body, ids, targets, positions, masks)
        wrong = set(documents[chosen][logits.argmax(-1) != wanted].tolist())
        number = 0
        for row in rows:
            for task, _, _ in row:
                seen[task] = seen.get(task, 0) + 1
                right[task] = right.get(task, 0) + (number not in wrong)
                number += 1
    return {task: round(right[task] / seen[task], 3) for task in sorted(seen)}


def make_optimizers(model, rate):
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim == 2 and "embed_tokens" not in name
        (matrices if is_matrix else rest).append(parameter)
    muon = torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return muon, adam


def take_step(optimizers, rate):
    """One step at this rate along the gradients, which are gone then."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def rate_at(share, step):
    """Warm-up over the first steps, constant, then down in a line to TAIL over the second half of the time."""
    warm = min(1.0, (step + 1) / 100)
    if share <= 0.5:
        return warm
    return warm * (TAIL + (1 - TAIL) * max(0.0, 1 - share) / 0.5)


def export(model, out):
    """Writes config.json and model.safetensors in bfloat16 as transformers does."""
    saved = Gemma4ForCausalLM(model.config)
    saved.load_state_dict(model.state_dict())
    saved.to(torch.bfloat16)
    with open(os.path.join(out, "generation_config.json"), encoding="utf-8") as file:
        generation = file.read()
    saved.save_pretrained(out)
    with open(os.path.join(out, "generation_config.json"), "w", encoding="utf-8") as file:
        file.write(generation)  # ours, not the one that transformers would write
    os.chmod(os.path.join(out, "model.safetensors"), 0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=120, help="time for the whole run, pauses not counted")
    parser.add_argument("--work", default=os.path.join(HERE, "..", "build", "pebble"), help="folder for checkpoints")
    parser.add_argument("--out", default=MODEL_DIR, help="folder of the model")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--mixture", help="JSON file of shares by task; read again at every report")
    parser.add_argument("--export-only", action="store_true")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    os.makedirs(arguments.work, exist_ok=True)
    checkpoint = os.path.join(arguments.work, "checkpoint.pt")
    tokenizer = Tokenizer.from_file(os.path.join(arguments.out, "tokenizer.json"))
    model = make_model(tokenizer.get_vocab_size(), arguments.seed)
    if arguments.export_only:
        model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
        export(model, arguments.out)
        return
    optimizers = make_optimizers(model, arguments.rate)
    packer = Packer(tokenizer, arguments.seed, "train")
    step, used, tokens = 0, 0.0, 0
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        packer.restore(saved["data"])
        step, used, tokens = saved["step"], saved["used"], saved["tokens"]
    body = model.model if arguments.no_compile else torch.compile(model.model, dynamic=False)
    held_out = Packer(tokenizer, 77, "heldout", {task: 1 for task in world.BUILDERS})
    held_out_rows = [held_out.batch() for _ in range(4)]
    print(f"parameters {sum(p.numel() for p in model.parameters())} from step {step}", flush=True)

    def save():
        state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                 "data": packer.state(), "step": step, "used": used + time.time() - started, "tokens": tokens}
        torch.save(state, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    started = time.time()
    losses, last_report, last_save = [], started, started
    while (share := (used + time.time() - started) / (60 * arguments.minutes)) < 1:
        length, rows = packer.batch()
        ids, targets, positions, masks, _, weights = tensors(length, rows)
        logits, wanted, chosen = logits_and_targets(model, body, ids, targets, positions, masks)
        weights = weights[chosen]
        losses_of_tokens = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
        loss = (losses_of_tokens * weights).sum() / weights.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        take_step(optimizers, arguments.rate * rate_at(share, step))
        if not math.isfinite(loss.item()):
            raise SystemExit(f"the loss is not finite at step {step}; the last checkpoint stands")
        losses.append(loss.item())
        step += 1
        tokens += sum(len(d[1]) for row in rows for d in row)
        if step % 20 == 0 or step in (1, 5, 10):
            now = time.time()
            print(f"step {step} share {share:.3f} tokens {tokens} loss {sum(losses) / len(losses):.4f} "
                  f"norm {norm:.2f} s/step {(now - last_report) / len(losses):.2f}", flush=True)
            losses, last_report = [], now
        if step % 150 == 0:
            print("held out", json.dumps(exact_by_task(model, body, held_out_rows)), flush=True)
            if arguments.mixture and os.path.exists(arguments.mixture):
                with open(arguments.mixture, encoding="utf-8") as file:
                    packer.mixture = json.load(file)
            last_report = time.time()
        if time.time() - last_save > 240:
            save()
            last_save = time.time()
    save()
    export(model, arguments.out)
    print(f"done: step {step}, {tokens} tokens", flush=True)


if __name__ == "__main__":
    main()
