"""Teaches pebble's language model to answer about what the towers see and hear, and goes on with its text tasks.

    python models/train_media.py --minutes 60            # starts, or goes on from build/pebble/media.pt
    python models/train_media.py --export-only           # writes the checkpoint's weights to models/pebble

The towers come from train_towers.py and stay as they are, but are read again when their files change: what their soft
tokens are near to stays the same. Needs torch, transformers, Pillow; the recordings of pebble_sounds.py.
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
from transformers import Gemma4ForConditionalGeneration
from transformers.models.gemma4.modeling_gemma4 import KVSharingDict

import pebble_media as media
import pebble_scenes as scenes
import pebble_sounds as sounds
import pebble_text
import pebble_world as world
from train import TAIL, WINDOW, make_optimizers, take_step
from train_towers import cut_patches, picture_array, see, start

WORK = os.path.join(media.HERE, "..", "build", "pebble")
LENGTH, ROWS = 256, 12
SHARES = {"text": 36, "scene": 34, "clip": 12, "sound": 18}  # of documents' tokens, about
TEXT = {"sum": 8, "difference": 10, "product": 3, "three_terms": 5, "sort": 9, "count": 4, "pairs": 6, "facts_near": 34,
        "facts_far": 16, "calendar": 8, "system": 6, "tool": 3, "tool_unneeded": 1, "chat": 3, "multi_turn": 9}


THOUGHT_ABOUT = ("sum", "difference", "product", "sort", "count", "facts_near", "calendar")
EASY = ("scene_colour", "scene_bigger")  # asked less often


class Document:
    """One conversation: ids, which of them are learnt, and its pictures (uint8 arrays) or sounds (features)."""

    def __init__(self, task, pictures=(), features=()):
        self.task, self.pictures, self.features = task, list(pictures), list(features)
        self.ids, self.learnt, self.tasks = [], [], []

    def add(self, tokenizer, text, learnt=False, task=-1):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        self.ids += ids
        self.learnt += [learnt] * len(ids)
        self.tasks += [task] * len(ids)


def picture_text(count=1):
    return "<|image>" + "<|image|>" * media.SOFT_TOKENS + "<image|>"


def sound_text(frames):
    return "<|audio>" + "<|audio|>" * media.sound_tokens(frames) + "<audio|>"


def clip_text(seconds):
    return " ".join(f"{s // 60:02d}:{s % 60:02d} <|image>" + "<|video|>" * media.SOFT_TOKENS + "<image|>"
                    for s in seconds)


def conversation(document, tokenizer, head, questions):
    """Puts the medium's text before the first question; every answer is learnt."""
    document.add(tokenizer, "<bos>")
    for i, (task, question, answer) in enumerate(questions):
        document.add(tokenizer, f"<|turn>user\n{head if i == 0 else ''}{question}<turn|>\n<|turn>model\n")
        document.add(tokenizer, answer + "<turn|>", True, TASKS.index(task))
        document.add(tokenizer, "\n")
    return document


TASKS = ["scene_colour", "scene_kind", "scene_count", "scene_where", "scene_bigger", "scene_digit", "scene_word",
         "scene_list", "clip_direction", "clip_order", "sound_digit", "sound_digits", "sound_word", "sound_count",
         "sound_pitch", "sound_glide", "sound_rhythm", "sound_any"] + sorted(world.BUILDERS) + ["three_terms_plain", "tool_answer", "tool_call"]


class Documents:
    """Draws documents of any kind."""

    def __init__(self, seed, split, tokenizer, most_questions=6, text=None):
        self.rng = random.Random(f"media:{seed}:{split}")
        self.split, self.tokenizer, self.most = split, tokenizer, most_questions
        self.voices = sounds.Voices(split)
        self.text_mixture = text or TEXT
        self.spent = {kind: 0 for kind in SHARES}

    def scene(self):
        scene = scenes.draw_scene(self.rng, self.split)
        questions = [q for q in scenes.scene_questions(self.rng, scene)
                     if q[0] not in EASY or self.rng.random() < 0.4]
        questions += [scenes.count_question(self.rng, scene) for _ in range(2)]  # the hardest, and short to answer
        self.rng.shuffle(questions)
        questions = questions[:self.most]
        image = scenes.render(scene, self.rng.choice([128, 160, 192, 256, 320]))
        return conversation(Document("scene", [picture_array(image)]), self.tokenizer, picture_text(), questions)

    def clip(self):
        frames, _, task, question, answer = scenes.draw_clip(self.rng, self.split)
        side = self.rng.choice([128, 160, 192])
        first, step = self.rng.choice([0, 0, 0, 1, 2]), self.rng.choice([1, 1, 1, 2, 0])
        head = clip_text([first + step * i for i in range(scenes.FRAMES)])
        pictures = [picture_array(scenes.render(frame, side)) for frame in frames]
        return conversation(Document("clip", pictures), self.tokenizer, head, [(task, question, answer)])

    def sound(self):
        sound = sounds.make_sound(self.rng, self.split, self.voices)
        features = media.mel(sound.samples)
        self.rng.shuffle(sound.questions)
        return conversation(Document("sound", features=[features]), self.tokenizer, sound_text(len(features)),
                            sound.questions[:self.most])

    def text(self):
        names, weights = list(self.text_mixture), list(self.text_mixture.values())
        name = self.rng.choices(names, weights)[0]
        if name == "thinking":  # tasks that are rarely thought about
            made = world.Conversation(name, [])
            while not made.thinking:
                made = world.BUILDERS[self.rng.choice(THOUGHT_ABOUT)](self.rng, self.split)
        else:
            made = world.BUILDERS[name](self.rng, self.split)
        document = Document("text")
        for text, learnt in pebble_text.segments(made):
            document.add(self.tokenizer, text, learnt, TASKS.index(made.task) if learnt else -1)
        return document

    def next(self):
        """A document of the kind that is furthest behind its share."""
        kind = min(SHARES, key=lambda k: self.spent[k] / SHARES[k])
        document = getattr(self, kind)()
        self.spent[kind] += len(document.ids)
        return document


class Packer:
    """Packs whole documents into rows of LENGTH that do not see each other."""

    def __init__(self, documents):
        self.documents, self.open, self.ready = documents, [], []

    def batch(self, count=ROWS):
        while len(self.ready) < count:
            document = self.documents.next()
            size = len(document.ids)
            if size > LENGTH:
                continue
            for row in self.open:
                if sum(len(d.ids) for d in row) + size <= LENGTH:
                    row.append(document)
                    break
            else:
                self.open.append([document])
            if len(self.open) > 16:
                fullest = max(self.open, key=lambda row: sum(len(d.ids) for d in row))
                self.open.remove(fullest)
                self.ready.append(fullest)
        rows, self.ready = self.ready[:count], self.ready[count:]
        return rows


class Batch:
    """What packed rows are for the model; see train.py's `tensors`."""

    def __init__(self, rows):
        count = len(rows)
        self.ids = np.zeros((count, LENGTH), np.int64)
        self.targets = np.full((count, LENGTH), -100, np.int64)
        self.tasks = np.full((count, LENGTH), -1, np.int64)
        self.positions = np.tile(np.arange(LENGTH), (count, 1))
        self.documents = np.full((count, LENGTH), -1, np.int64)
        self.weights = np.zeros((count, LENGTH), np.float32)
        self.pictures, self.features, number = [], [], 0
        for r, row in enumerate(rows):
            at = 0
            for d in row:
                size = len(d.ids)
                self.ids[r, at:at + size] = d.ids
                learnt = np.array(d.learnt[1:])
                self.targets[r, at:at + size - 1][learnt] = np.array(d.ids[1:])[learnt]
                self.tasks[r, at:at + size - 1] = d.tasks[1:]
                self.weights[r, at:at + size] = max(1, sum(d.learnt)) ** -0.5
                self.positions[r, at:at + size] = np.arange(size)
                self.documents[r, at:at + size] = number
                self.pictures += d.pictures
                self.features += d.features
                number += 1
                at += size
        # Of every row the places where something is learnt, filled up to the longest row's count.
        chosen = [np.flatnonzero(row >= 0) for row in self.targets]
        width = max(16, -(-max(map(len, chosen)) // 16) * 16)
        self.chosen = np.zeros((count, width), np.int64)
        self.valid = np.zeros((count, width), bool)
        for r, places in enumerate(chosen):
            self.chosen[r, :len(places)] = places
            self.valid[r, :len(places)] = True


def masks_of(documents):
    place = torch.arange(documents.shape[1])
    full = (documents[:, :, None] == documents[:, None, :]) & (place[:, None] >= place[None, :])
    sliding = full & (place[:, None] - place[None, :] < WINDOW)
    return {"full_attention": full[:, None], "sliding_attention": sliding[:, None]}


class Reader:
    """The whole model as training needs it: logits only at the places where something is learnt.

    The last layers share keys and values with earlier ones, so what they make of other places goes nowhere: they run on
    the learnt places alone, which halves the work and changes no number.
    """

    def __init__(self, model, tokenizer):
        self.model = model
        self.pictures = [tokenizer.token_to_id(t) for t in ("<|image|>", "<|video|>")]
        self.sound = tokenizer.token_to_id("<|audio|>")

    def soft_tokens(self, batch):
        """(picture tokens, sound tokens) in the order of the batch; without gradients."""
        with torch.no_grad():
            seen = heard = None
            if batch.pictures:
                seen = see(self.model.model, torch.from_numpy(cut_patches(np.stack(batch.pictures))))[1]
            if batch.features:
                longest = max(map(len, batch.features))
                values = np.zeros((len(batch.features), longest, 128), np.float32)
                mask = np.zeros((len(batch.features), longest), bool)
                for i, rows in enumerate(batch.features):
                    values[i, :len(rows)], mask[i, :len(rows)] = rows, True
                heard = sounds.hear(self.model.model, (torch.from_numpy(values), torch.from_numpy(mask)))[1]
        return seen, heard

    def logits(self, batch):
        """Logits [learnt, vocabulary] and their targets."""
        lm = self.model.model.language_model
        config = lm.config
        ids = torch.from_numpy(batch.ids)
        seen, heard = self.soft_tokens(batch)
        is_picture = (ids == self.pictures[0]) | (ids == self.pictures[1])
        is_sound = ids == self.sound
        plain = torch.where(is_picture | is_sound, 0, ids)
        states = lm.embed_tokens(plain)
        if seen is not None:
            states = states.masked_scatter(is_picture[..., None], seen)
        if heard is not None:
            states = states.masked_scatter(is_sound[..., None], heard)
        by_layer = lm.project_per_layer_inputs(states, lm.get_per_layer_inputs(plain, None))
        positions = torch.from_numpy(batch.positions)
        turns = {kind: lm.rotary_emb(states, positions, kind) for kind in lm.unique_layer_types}
        masks = masks_of(torch.from_numpy(batch.documents))
        shared, chosen = KVSharingDict(None), torch.from_numpy(batch.chosen)
        rows = torch.arange(len(ids))[:, None]
        for i, layer in enumerate(lm.layers):
            kind = config.layer_types[i]
            if i == lm.first_kv_shared_layer_idx:
                states, by_layer = states[rows, chosen], by_layer[rows, chosen]
                turns = {k: (c.expand(len(ids), -1, -1)[rows, chosen], s.expand(len(ids), -1, -1)[rows, chosen])
                         for k, (c, s) in turns.items()}
                masks = {k: m[:, 0][rows, chosen][:, None] for k, m in masks.items()}
            states = layer(states, by_layer[:, :, i], shared_kv_states=shared, position_embeddings=turns[kind],
                           attention_mask=masks[kind])
        valid = torch.from_numpy(batch.valid)
        states = lm.norm(states)[valid]
        cap = config.final_logit_softcapping
        logits = cap * torch.tanh(self.model.lm_head(states) / cap)

        def at(values):
            return torch.from_numpy(values)[rows, chosen][valid]
        return logits, at(batch.targets), at(batch.weights), at(batch.tasks), at(batch.documents)


def exact_by_task(reader, batches):
    """Share of answers in which every token is the most likely one."""
    right, seen = {}, {}
    with torch.no_grad():
        for batch in batches:
            logits, wanted, _, tasks, documents = reader.logits(batch)
            good = logits.argmax(-1) == wanted
            for key in set(zip(documents.tolist(), tasks.tolist())):
                here = (documents == key[0]) & (tasks == key[1])
                name = TASKS[key[1]]
                seen[name] = seen.get(name, 0) + 1
                right[name] = right.get(name, 0) + bool(good[here].all())
    return {name: (round(right[name] / seen[name], 2), seen[name]) for name in sorted(seen)}


def load_towers(model, work, stamps):
    """Reads the towers' files that are new; True if one was."""
    changed = False
    for name, tower, embed in (("vision", "vision_tower", "embed_vision"), ("audio", "audio_tower", "embed_audio")):
        path = os.path.join(work, name + ".pt")
        if os.path.exists(path) and stamps.get(name) != os.path.getmtime(path):
            stamps[name] = os.path.getmtime(path)
            saved = torch.load(path, weights_only=True)
            getattr(model.model, tower).load_state_dict(saved["parts"][0])
            getattr(model.model, embed).load_state_dict(saved["parts"][1])
            changed = True
    return changed


def export(model, out):
    """Writes config.json and model.safetensors in bfloat16 as transformers does; generation_config.json stays."""
    model.config.text_config.name_or_path = ""
    saved = Gemma4ForConditionalGeneration(model.config)
    saved.load_state_dict(model.state_dict())
    saved.to(torch.bfloat16)
    path = os.path.join(out, "generation_config.json")
    with open(path, encoding="utf-8") as file:
        generation = file.read()
    saved.save_pretrained(out)
    with open(path, "w", encoding="utf-8") as file:
        file.write(generation)
    os.chmod(os.path.join(out, "model.safetensors"), 0o644)
    media.write_processor(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--work", default=WORK)
    parser.add_argument("--text-model", default=media.MODEL_DIR, help="folder of the text model to start with")
    parser.add_argument("--out", default=media.MODEL_DIR)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--settings", help='JSON file {"shares": …, "text": …, "rate": …}, read again at every report')
    parser.add_argument("--export-only", action="store_true")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    checkpoint = os.path.join(arguments.work, "media.pt")
    tokenizer = Tokenizer.from_file(os.path.join(media.MODEL_DIR, "tokenizer.json"))
    model = start(arguments.text_model, tokenizer, arguments.seed)
    lm = model.model.language_model
    for part in (model.model.vision_tower, model.model.audio_tower, model.model.embed_vision, model.model.embed_audio):
        part.requires_grad_(False)
    stamps, step, used, tokens = {}, 0, 0.0, 0
    optimizers = make_optimizers(lm, arguments.rate)
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, used, tokens = saved["step"], saved["used"], saved["tokens"]
    load_towers(model, arguments.work, stamps)
    if arguments.export_only:
        export(model, arguments.out)
        return
    reader = Reader(model, tokenizer)
    packer = Packer(Documents(f"{arguments.seed}:{step}", "train", tokenizer))
    held_out = Packer(Documents(77, "heldout", tokenizer, text={name: 1 for name in world.BUILDERS}))
    held_out_batches = [Batch(held_out.batch()) for _ in range(8)]
    print(f"{sum(p.numel() for p in model.parameters())} parameters from step {step}", flush=True)

    def save():
        torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step,
                    "used": used + time.time() - started, "tokens": tokens}, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    started = last_save = last_report = time.time()
    losses, factor = [], 1.0
    while (share := (used + time.time() - started) / (60 * arguments.minutes)) < 1:
        rows = packer.batch()
        logits, wanted, weights, _, _ = reader.logits(Batch(rows))
        loss = (torch.nn.functional.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        take_step(optimizers, arguments.rate * factor * rate_at(share, step))
        if not math.isfinite(loss.item()):
            raise SystemExit(f"the loss is not finite at step {step}; the last checkpoint stands")
        losses.append(loss.item())
        step += 1
        tokens += sum(len(d.ids) for row in rows for d in row)
        if step % 20 == 0:
            now = time.time()
            print(f"step {step} share {share:.3f} tokens {tokens} loss {sum(losses) / len(losses):.4f} norm {norm:.2f} "
                  f"s/step {(now - last_report) / len(losses):.2f}", flush=True)
            losses, last_report = [], now
            load_towers(model, arguments.work, stamps)
            if arguments.settings and os.path.exists(arguments.settings):
                with open(arguments.settings, encoding="utf-8") as file:
                    settings = json.load(file)
                SHARES.update(settings.get("shares", {}))
                packer.documents.text_mixture = settings.get("text", TEXT)
                factor = settings.get("rate", 1.0)
        if step % 100 == 0:
            print("held out", json.dumps(exact_by_task(reader, held_out_batches)), flush=True)
            last_report = time.time()
        if time.time() - last_save > 150:
            save()
            last_save = time.time()
    save()
    export(model, arguments.out)
    print(f"done: step {step}, {tokens} tokens", flush=True)


def rate_at(share, step):
    """Warm-up, constant for 60% of the time, then down in a line to TAIL."""
    warm = min(1.0, (step + 1) / 50)
    return warm * (1.0 if share <= 0.6 else TAIL + (1 - TAIL) * max(0.0, 1 - share) / 0.4)


if __name__ == "__main__":
    main()
