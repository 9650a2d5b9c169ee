"""Makes models/samples/: a picture and a spoken digit that pebble can be asked about, both from the held-out split.

    python models/make_samples.py
"""

import os
import random

import media_files
import pebble_scenes as scenes
import pebble_sounds as sounds
from pebble_world import in_split

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")
SIDE = 256


def scene():
    """A small scene that the held-out split has."""
    rng = random.Random(12)
    while True:
        made = scenes.draw_scene(rng, "heldout")
        shapes = [t for t in made.things if t.is_shape]
        if len(shapes) == 3 and len(made.things) == 3 and len({t.kind for t in shapes}) == 3 and (
                len({t.colour for t in shapes}) == 3) and {t.big for t in shapes} == {True, False}:
            return made


def main():
    os.makedirs(FOLDER, exist_ok=True)
    made = scene()
    assert in_split(made.key, "heldout")
    scenes.render(made, SIDE).save(os.path.join(FOLDER, "scene.png"), optimize=True)
    rng = random.Random(3)
    voice = sounds.Voices("heldout").pick(rng)
    sound = sounds.place(rng, sounds.spoken(rng, voice, ["5"], "heldout"), [])
    media_files.write_wav(os.path.join(FOLDER, "five.wav"), sound.samples)
    print(made.key)


if __name__ == "__main__":
    main()
