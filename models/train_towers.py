"""Teaches pebble's towers to see and hear before the language model looks at what they give.

    python models/train_towers.py vision --minutes 40    # starts, or goes on from build/pebble/vision.pt
    python models/train_towers.py audio --minutes 30

Two things are learnt at once. Small heads, thrown away afterwards, say of every soft token what is drawn or heard there.
And the soft tokens themselves come near to the sum of the embeddings of the words for that, so that the language model,
which knows the words, needs little to read them. Needs torch, transformers, Pillow; sounds need espeak-ng once.
"""

import argparse
import json
import math
import os
import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoConfig, Gemma4ForCausalLM, Gemma4ForConditionalGeneration

import pebble_media as media
import pebble_scenes as scenes
from train import rate_at, take_step

WORK = os.path.join(media.HERE, "..", "build", "pebble")


class Heads(torch.nn.Module):
    """One linear head for each kind of label."""

    def __init__(self, width, classes):
        super().__init__()
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(width, count) for name, count in classes.items()})

    def loss(self, states, labels, close):
        """Sum of the mean cross entropies, and of each the shares of things and of nothing that are found.

        `close` are places at things and beside them. Elsewhere nothing weighs a tenth: there is much of it. Beside a
        thing it weighs in full, else a thing between two places would be seen in both.
        """
        states = functional.rms_norm(states, states.shape[-1:])
        total, found = 0.0, {}
        for name, head in self.heads.items():
            logits, wanted = head(states), labels[name]
            things = wanted > 0
            weight = torch.where(things | close, 1.0, 0.1)
            total = total + (functional.cross_entropy(logits, wanted, reduction="none") * weight).sum() / weight.sum()
            right = logits.argmax(-1) == wanted
            found[name] = (right[things].float().mean().item(), right[~things].float().mean().item())
        return total, found


def nearness(soft, wanted, marked, close):
    """Squared distance of soft tokens from their words, in units of the words' own size; few places carry words."""
    unit = wanted[marked].pow(2).mean().clamp_min(1e-6)
    error = (soft - wanted).pow(2).mean(-1) / unit
    weight = torch.where(close, 1.0, 0.1)
    return (error * weight).sum() / weight.sum()


def beside(marked, tower):
    """Marked places and those beside them: in the grid of a picture, or in time."""
    if tower == "vision":
        grid = marked.float().view(-1, 1, scenes.GRID, scenes.GRID)
        return functional.max_pool2d(grid, 3, 1, 1).view(-1) > 0
    return functional.max_pool1d(marked.float()[None], 5, 1, 2)[0] > 0


class Pictures:
    """Scenes as patches with their labels; a growing pool of which every step takes some new ones and some old."""

    def __init__(self, seed, split, embedding, tokenizer, nothing, size=9000):
        self.rng = random.Random(f"pictures:{seed}:{split}")
        self.split, self.size = split, size
        self.embedding, self.tokenizer, self.nothing = embedding, tokenizer, nothing
        self.pool = []

    def make(self):
        if self.rng.random() < 0.12:
            frames, *_ = scenes.draw_clip(self.rng, self.split)
            scene = self.rng.choice(frames)
        else:
            scene = scenes.draw_scene(self.rng, self.split)
        side = self.rng.choice([128, 160, 192, 256, 320])
        return picture_array(scenes.render(scene, side)), scenes.labels(scene), scene_words(scene, self.tokenizer)

    def batch(self, count, fresh):
        new = [self.make() for _ in range(count if len(self.pool) < count else fresh)]
        old = self.rng.sample(self.pool, count - len(new)) if count > len(new) else []
        self.pool += new
        if len(self.pool) > self.size:
            self.pool = self.pool[len(self.pool) - self.size:]
        chosen = new + old
        pixels = torch.from_numpy(cut_patches(np.stack([c[0] for c in chosen])))
        labels = {n: torch.from_numpy(np.concatenate([c[1][n] for c in chosen])) for n in scenes.CLASSES}
        words = {i * media.SOFT_TOKENS + place: ids for i, c in enumerate(chosen) for place, ids in c[2].items()}
        return pixels, labels, words


def picture_array(image):
    """Pixels as the processor resizes them: uint8 [128, 128, 3]."""
    if image.size != (media.SIDE, media.SIDE):
        image = image.resize((media.SIDE, media.SIDE), resample=3)
    return np.asarray(image)


def cut_patches(pixels):
    """uint8 [n, 128, 128, 3] to float32 [n, 256, 192], the processor's order (test_media.py compares)."""
    n, cells, p = pixels.shape[0], media.SIDE // media.PATCH, media.PATCH
    cut = pixels.reshape(n, cells, p, cells, p, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, cells * cells, p * p * 3)
    return cut.astype(np.float32) * np.float32(1 / 255)


def scene_words(scene, tokenizer):
    return {scenes.cell_of(t.x, t.y): media.word_ids(tokenizer, scenes.words_of(t)) for t in scene.things}


def wanted_tokens(embedding, words, count, nothing):
    """Targets of nearness and the mask of places with words; elsewhere the embedding of the placeholder."""
    wanted = media.targets(embedding, words, count)
    marked = torch.zeros(count, dtype=torch.bool)
    marked[list(words)] = True
    wanted[~marked] = nothing
    return wanted, marked


def see(model, pixels):
    """Tower states [n·64, width] and soft tokens [n·64, text width]."""
    places = media.patch_places(len(pixels))
    states = model.vision_tower(pixel_values=pixels, pixel_position_ids=places).last_hidden_state
    return states, model.embed_vision(states)


def make_optimizers(parameters, rate):
    """Muon for the matrices, AdamW for the rest."""
    parameters = list(parameters)
    matrices = [p for name, p in parameters if p.ndim == 2 and "heads." not in name]
    rest = [p for name, p in parameters if p.ndim != 2 or "heads." in name]
    return (torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tower", choices=["vision", "audio"])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--work", default=WORK)
    parser.add_argument("--text-model", default=media.MODEL_DIR, help="folder of the model whose words are the goal")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--fresh", type=int, default=12, help="of a batch, so many are new")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    os.makedirs(arguments.work, exist_ok=True)
    checkpoint = os.path.join(arguments.work, arguments.tower + ".pt")
    tokenizer = Tokenizer.from_file(os.path.join(media.MODEL_DIR, "tokenizer.json"))
    model = start(arguments.text_model, tokenizer, arguments.seed).model
    embedding = model.language_model.embed_tokens.weight.detach()
    nothing = embedding[tokenizer.token_to_id("<|image|>" if arguments.tower == "vision" else "<|audio|>")]
    nothing = nothing / nothing.norm() * embedding[300:1200].norm(dim=-1).mean() * embedding.shape[1] ** 0.5
    if arguments.tower == "vision":
        heads = Heads(media.VISION["hidden_size"], scenes.CLASSES)
        parts = [model.vision_tower, model.embed_vision, heads]
        data = Pictures(arguments.seed + int(time.time()), "train", embedding, tokenizer, nothing)
        held_out = Pictures(99, "heldout", embedding, tokenizer, nothing)
        run = see
    else:
        import pebble_sounds as sounds
        heads = Heads(media.AUDIO["output_proj_dims"], sounds.CLASSES)
        parts = [model.audio_tower, model.embed_audio, heads]
        data = sounds.Sounds(arguments.seed + int(time.time()), "train", tokenizer)
        held_out = sounds.Sounds(99, "heldout", tokenizer)
        run = sounds.hear
    parameters = [(f"{i}.{n}", p) for i, part in enumerate(parts) for n, p in part.named_parameters()]
    optimizers = make_optimizers(parameters, arguments.rate)
    step, used = 0, 0.0
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint, weights_only=True)
        for part, state in zip(parts, saved["parts"]):
            part.load_state_dict(state)
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, used = saved["step"], saved["used"]
    print(f"{sum(p.numel() for _, p in parameters)} parameters, heads included, from step {step}", flush=True)
    test_batch = held_out.batch(128, 128)

    def losses_of(batch):
        inputs, labels, words = batch
        states, soft = run(model, inputs)
        wanted, marked = wanted_tokens(embedding, words, len(soft), nothing)
        close = beside(marked, arguments.tower)
        loss, found = heads.loss(states, labels, close)
        near = nearness(soft, wanted, marked, close)
        return loss, near, found

    def save():
        torch.save({"parts": [p.state_dict() for p in parts], "optimizers": [o.state_dict() for o in optimizers],
                    "step": step, "used": used + time.time() - started}, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    started = last_save = last_report = time.time()
    sums = [0.0, 0.0, 0]
    while (share := (used + time.time() - started) / (60 * arguments.minutes)) < 1:
        loss, near, _ = losses_of(data.batch(arguments.batch, arguments.fresh))
        total = loss + near
        total.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in parameters], 1.0)
        take_step(optimizers, arguments.rate * rate_at(share, step))
        if not math.isfinite(total.item()):
            raise SystemExit(f"the loss is not finite at step {step}")
        step += 1
        sums = [sums[0] + loss.item(), sums[1] + near.item(), sums[2] + 1]
        if step % 50 == 0:
            now = time.time()
            print(f"step {step} share {share:.3f} loss {sums[0] / sums[2]:.3f} near {sums[1] / sums[2]:.3f} "
                  f"s/step {(now - last_report) / sums[2]:.2f}", flush=True)
            sums, last_report = [0.0, 0.0, 0], now
        if step % 200 == 0:
            with torch.no_grad():
                loss, near, found = losses_of(test_batch)
            print(f"  held out: loss {loss.item():.3f} near {near.item():.3f}", json.dumps(
                {k: [round(x, 3) for x in v] for k, v in found.items()}), flush=True)
            last_report = time.time()
        if time.time() - last_save > 120:
            save()
            last_save = time.time()
    save()


def start(folder, tokenizer, seed):
    """The model to begin with: the folder's whole one, or new towers around its text model."""
    if AutoConfig.from_pretrained(folder).model_type == "gemma4":
        return Gemma4ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    text_model = Gemma4ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return media.make_model(text_model, tokenizer, seed)


if __name__ == "__main__":
    main()
