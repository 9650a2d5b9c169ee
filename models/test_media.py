"""If this fails, pebble is taught or judged on pictures and sounds that are not what their questions say.

    python models/test_media.py        (or pytest models/test_media.py)

Needs Pillow and numpy; what compares with transformers is skipped without torch and transformers, speech without
the recordings of pebble_sounds.py.
"""

import os
import random
import re
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import evaluate_media  # noqa: E402
import media_files  # noqa: E402
import pebble_scenes as scenes  # noqa: E402
import pebble_sounds as sounds  # noqa: E402

try:
    import torch
    import pebble_media
    import train_media
    import train_towers
except ImportError:
    torch = None


def drawn(split, count, seed=1):
    rng = random.Random(seed)
    return [scenes.draw_scene(rng, split) for _ in range(count)]


def answer_from_pixels(scene, question):
    """Works out an answer from the drawn picture alone: from which of the colours lies where."""
    pixels = np.asarray(scenes.render(scene, 256)).astype(int)
    found = {}
    for name, value in scenes.COLOURS.items():
        near = np.abs(pixels - value).max(-1) < 3
        if near.any():
            found[name] = np.argwhere(near)
    if match := re.match(r"Where is the (\w+) (\w+)\?", question):
        y, x = found[match[1]].mean(0) / 256
        row, column = scenes.ROWS[int(y * 3)], scenes.COLUMNS[int(x * 3)]
        return f"At the {row if row == column else row + ' ' + column}."
    return None


def test_answers_agree_with_the_pixels():
    checked = 0
    for scene in drawn("train", 1500):
        for task, question, answer in scenes.scene_questions(random.Random(2), scene):
            if task == "scene_where":
                colours = [t.colour for t in scene.things]
                asked = question.split()[3]
                if colours.count(asked) == 1:
                    checked += 1
                    assert answer_from_pixels(scene, question) == answer, (question, answer, scene)
            elif task == "scene_count" and "shapes" in question:
                assert int(answer) == sum(t.is_shape for t in scene.things)
            elif task == "scene_bigger":
                big, small = (next(t for t in scene.things if t.kind == k) for k in (
                    answer.split()[1], (set(re.findall(r"the (\w+)", question)) - {answer.split()[1]}).pop()))
                assert big.size > 1.3 * small.size
            elif task == "scene_list":
                assert sum(answer.count(t.kind) > 0 for t in scene.things) == len(scene.things)
    assert checked > 300


def test_things_lie_apart_and_inside():
    for scene in drawn("train", 500):
        for thing in scene.things:
            wide = thing.size * (1 if thing.is_shape else 0.36 * len(thing.kind))
            assert 0 < thing.x - 0.7 * wide and thing.x + 0.7 * wide < 1, thing
        cells = [scenes.cell_of(t.x, t.y) for t in scene.things]
        assert len(set(cells)) == len(cells)


def test_labels_stand_where_things_are():
    for scene in drawn("train", 300):
        marks = scenes.labels(scene)
        kinds = sorted(scenes.KINDS[k] for k in marks["kind"] if k)
        assert kinds == sorted(t.kind for t in scene.things)
        for thing in scene.things:
            cell = scenes.cell_of(thing.x, thing.y)
            assert scenes.KINDS[marks["kind"][cell]] == thing.kind
            assert list(scenes.COLOURS)[marks["colour"][cell] - 1] == thing.colour
        words = [t.kind for t in scene.things if t.kind in scenes.WORDS]
        shown = {scenes.LETTERS[k - 1] for k in marks["letter"] if k}  # two letters may share a place
        assert shown <= set("".join(words)) and len(shown) >= bool(words)


def test_splits_do_not_meet():
    assert not {s.key for s in drawn("train", 3000)} & {s.key for s in drawn("heldout", 300)}
    rng = random.Random(3)
    assert not {scenes.draw_clip(rng, "train")[1] for _ in range(1500)} & {
        scenes.draw_clip(rng, "heldout")[1] for _ in range(150)}
    if os.path.exists(sounds.VOICES):
        train, held = sounds.Voices("train"), sounds.Voices("heldout")
        assert held.names and not {v for v, _ in train.names} & {v for v, _ in held.names}


def test_clips_move_as_told():
    rng = random.Random(5)
    for _ in range(400):
        frames, _, task, question, answer = scenes.draw_clip(rng, "train")
        places = [{t.kind: (t.x, t.y) for t in frame.things} for frame in frames]
        kind = re.search(r"the (\w+) move", question)
        if task == "clip_direction":
            (ax, ay), (bx, by) = places[0][kind[1]], places[-1][kind[1]]
            told = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[answer.split()[-1].rstrip(".")]
            assert np.sign(round(bx - ax, 6)) == told[0] and np.sign(round(by - ay, 6)) == told[1]
            assert all(0 < c < 1 for frame in places for at in frame.values() for c in at)
        else:
            first = {k: next(i for i, frame in enumerate(places) if k in frame) for k in answer.split()[1:2] + [
                t.kind for frame in frames for t in frame.things]}
            wanted = min(first, key=first.get) if "first" in question else max(first, key=first.get)
            assert answer.split()[1] == wanted


def test_files_lose_nothing():
    rng = random.Random(6)
    with tempfile.TemporaryDirectory() as folder:
        frames, *_ = scenes.draw_clip(rng, "train")
        pixels = np.stack([np.asarray(scenes.render(f, 128)) for f in frames])
        media_files.write_avi(os.path.join(folder, "a.avi"), pixels)
        assert np.array_equal(evaluate_media.read_avi(os.path.join(folder, "a.avi")), pixels)
        samples = np.round(np.sin(np.arange(4000) / 7) * 30000).astype(np.float32) / 32768
        media_files.write_wav(os.path.join(folder, "a.wav"), samples)
        assert np.array_equal(evaluate_media.read_wav(os.path.join(folder, "a.wav")), samples)


def test_tones_sound_as_told():
    rng = random.Random(7)
    for high in (True, False):
        parts, _ = sounds.beeps(rng, ["long", "short"], high)
        for kind, samples, words, long in parts:
            spectrum = np.abs(np.fft.rfft(samples))
            hertz = spectrum.argmax() * sounds.RATE / len(samples)
            assert (hertz > 600) == high == (kind == "high")
            assert (len(samples) > 0.2 * sounds.RATE) == (words[2] == "long") == (long == 2)
    sound = sounds.place(rng, parts, [])
    for event in sound.events:  # loud inside, quiet between
        inside = sound.samples[int(event.start * sounds.RATE) + 200:int(event.end * sounds.RATE) - 200]
        after = sound.samples[int(event.end * sounds.RATE) + 50:int((event.end + 0.1) * sounds.RATE)]
        assert np.abs(inside).max() > 5 * np.abs(after).max()
        assert sounds.event_place(event) * sounds.STEP > event.end


def test_patches_are_the_processors():
    if torch is None:
        return
    for i, scene in enumerate(drawn("train", 6)):
        image = scenes.render(scene, (128, 160, 192, 256, 320, 500)[i])
        ours = train_towers.cut_patches(train_towers.picture_array(image)[None])
        assert np.abs(ours - pebble_media.patches([image])).max() < 1e-6


def sees():
    """False without torch, and for a committed pebble that knows text only."""
    return torch is not None and os.path.exists(os.path.join(pebble_media.MODEL_DIR, "processor_config.json"))


def test_old_text_has_its_old_tokens():
    """The new words of the tokenizer change at most one conversation in a hundred."""
    if not sees():
        return
    import itertools
    import json
    import pebble_text
    import pebble_world
    from tokenizers import Tokenizer
    path = os.path.join(pebble_media.MODEL_DIR, "tokenizer.json")
    new = Tokenizer.from_file(path)
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    model = data["model"]
    model["vocab"] = {piece: i for piece, i in model["vocab"].items() if i < 1280}
    model["merges"] = [m for m in model["merges"] if "".join(m) in model["vocab"]]
    old = Tokenizer.from_str(json.dumps(data))
    texts = [pebble_text.render(c) for c in itertools.islice(pebble_world.conversations(9, "train"), 1000)]
    changed = sum(new.encode(t).ids != old.encode(t).ids for t in texts)
    assert changed <= 10, changed
    for word in pebble_media.NEW_WORDS:
        assert len(new.encode(" " + word).ids) == 1


def test_reader_is_transformers_forward():
    """What training reads off a document is what the whole model gives, although late layers see few places."""
    if not sees() or not os.path.exists(sounds.VOICES):
        return
    from tokenizers import Tokenizer
    from transformers import Gemma4ForConditionalGeneration
    tokenizer = Tokenizer.from_file(os.path.join(pebble_media.MODEL_DIR, "tokenizer.json"))
    model = Gemma4ForConditionalGeneration.from_pretrained(pebble_media.MODEL_DIR, dtype=torch.float32).eval()
    reader = train_media.Reader(model, tokenizer)
    documents = train_media.Documents(8, "train", tokenizer)
    for kind in train_media.SHARES:
        document = getattr(documents, kind)()
        batch = train_media.Batch([[document, documents.sound()]] if kind == "sound" else [[document]])
        arrays = {}
        if document.pictures:
            pixels = torch.from_numpy(train_towers.cut_patches(np.stack(document.pictures)))
            places = pebble_media.patch_places(len(pixels))
            arrays = ({"pixel_values": pixels, "image_position_ids": places} if kind == "scene" else
                      {"pixel_values_videos": pixels, "video_position_ids": places,
                       "num_frames_per_video": torch.tensor([len(pixels)])})
        if document.features:
            features = torch.from_numpy(document.features[0])[None]
            arrays = {"input_features": features, "input_features_mask": torch.ones(features.shape[:2], dtype=torch.bool)}
        with torch.no_grad():
            ours = reader.logits(batch)[0]
            theirs = model(input_ids=torch.tensor([document.ids]), **arrays).logits[0]
        at = np.flatnonzero(document.learnt[1:])
        assert (ours[:len(at)] - theirs[at]).abs().max() < 1e-3, kind


def test_prompts_are_the_templates():
    if torch is None:
        return
    try:
        import jinja2
    except ImportError:
        return
    with open(os.path.join(pebble_media.MODEL_DIR, "chat_template.jinja"), encoding="utf-8") as file:
        template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(file.read())

    class Letters:
        """A tokenizer that keeps the text."""

        @staticmethod
        def encode(text, add_special_tokens):
            assert not add_special_tokens
            return type("Encoding", (), {"ids": list(text)})
    document = train_media.conversation(train_media.Document("x"), Letters, "<|image|>", [
        ("scene_digit", "Which digit do you see?", "7"), ("scene_list", "What do you see?", "The digit 7.")])
    text = template.render(bos_token="<bos>", messages=[
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which digit do you see?"}]},
        {"role": "assistant", "content": "7"}, {"role": "user", "content": "What do you see?"},
        {"role": "assistant", "content": "The digit 7."}])
    assert "".join(document.ids) == text, (text, "".join(document.ids))


def main():
    for name, check in list(globals().items()):
        if name.startswith("test_"):
            check()
            print("ok", name)


if __name__ == "__main__":
    main()
