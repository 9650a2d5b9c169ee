"""The pictures and clips that pebble learns to see: shapes, digits and words drawn on a plain ground.

A scene is drawn from a `random.Random`, like the text of pebble_world.py, and belongs to the training or to the held-out
split by a hash of what is in it (kinds, colours, sizes, places; not the last pixel). Needs Pillow and numpy.

`labels` says for every soft token of a picture what it should know; only training uses it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pebble_world import in_split

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {"red": (214, 40, 40), "blue": (40, 80, 214), "green": (30, 150, 60), "yellow": (240, 200, 20),
           "purple": (140, 50, 170), "black": (20, 20, 20)}
WORDS = tuple(("cat dog bird cow pig duck frog goat hen bee cup kite book ball hat drum lamp ring boat bell").split())
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
GRID = 8  # soft tokens a side
KINDS = ("",) + SHAPES + tuple("0123456789") + WORDS  # what a place may show; nothing first
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FRAMES = 3  # of a clip


@dataclass
class Thing:
    """A shape, a digit or a word. x, y and size are shares of the picture's side; size is a radius, or a font's height."""
    kind: str
    colour: str
    big: bool
    x: float
    y: float
    size: float
    turn: float = 0.0
    bold: int = 0

    @property
    def is_shape(self):
        return self.kind in SHAPES

    @property
    def name(self):
        return f"{self.colour} {self.kind}"

    @property
    def row(self):
        return ROWS[min(2, int(self.y * 3))]

    @property
    def column(self):
        return COLUMNS[min(2, int(self.x * 3))]

    @property
    def place(self):
        return self.row if self.column == self.row else f"{self.row} {self.column}"


@dataclass
class Scene:
    things: list
    ground: tuple = (240, 240, 240)

    @property
    def key(self):
        return "scene:" + ",".join(sorted(f"{t.kind}/{t.colour}/{t.big}/{t.row}/{t.column}" for t in self.things))


def jitter(rng, cell):
    """A place in one of three cells, not on the edge of two soft tokens: that would be a thing of both."""
    while True:
        place = (cell + 0.5) / 3 + rng.uniform(-0.035, 0.035)
        if abs(place * GRID - round(place * GRID)) > 0.09:
            return place


def make_shape(rng, kind, colour, column, row):
    big = rng.random() < 0.5
    size = rng.uniform(0.118, 0.14) if big else rng.uniform(0.06, 0.078)
    return Thing(kind, colour, big, jitter(rng, column), jitter(rng, row), size, rng.uniform(-0.2, 0.2))


def make_text(rng, text, colour, column, row):
    size = rng.uniform(0.2, 0.3) if len(text) == 1 else rng.uniform(0.2, 0.25)
    return Thing(text, colour, False, jitter(rng, column), jitter(rng, row), size, bold=rng.choice([0, 0, 1]))


def ground(rng):
    light = rng.randint(215, 255)
    return tuple(min(255, light + rng.randint(-8, 8)) for _ in range(3))


def make_scene(rng):
    """One to four things in different cells of a grid of 3 × 3; a word takes a whole row."""
    cells = [(c, r) for r in range(3) for c in range(3)]
    rng.shuffle(cells)
    colours, things = list(COLOURS), []
    form = rng.random()
    if form < 0.16:
        row = rng.randrange(3)
        cells = [c for c in cells if c[1] != row]
        things.append(make_text(rng, rng.choice(WORDS), rng.choice(colours), 1, row))
        count = rng.choice([0, 0, 1, 2])
    elif form < 0.32:
        things.append(make_text(rng, rng.choice("0123456789"), rng.choice(colours), *cells.pop()))
        count = rng.choice([0, 1, 1, 2, 3])
    else:
        count = rng.randint(1, 4)
    same = rng.choice(SHAPES) if rng.random() < 0.35 else None  # more of one kind makes counting worth it
    for _ in range(count):
        kind = same if same and rng.random() < 0.7 else rng.choice(SHAPES)
        things.append(make_shape(rng, kind, rng.choice(colours), *cells.pop()))
    return Scene(things, ground(rng))


def draw_scene(rng, split):
    while True:
        scene = make_scene(rng)
        if in_split(scene.key, split):
            return scene


# ---- pixels -------------------------------------------------------------------------------------------------------

def outline(thing, side):
    """The corners of a shape in pixels; a circle has many."""
    x, y, r = thing.x * side, thing.y * side, thing.size * side
    if thing.kind == "circle":
        radii, angles = [0.95] * 40, [math.tau * i / 40 for i in range(40)]
    elif thing.kind == "square":
        radii, angles = [1.15] * 4, [math.tau * (i + 0.5) / 4 for i in range(4)]
    elif thing.kind == "triangle":
        radii, angles = [1.15] * 3, [math.tau * i / 3 - math.pi / 2 for i in range(3)]
    elif thing.kind == "star":
        radii, angles = [1.2, 0.5] * 5, [math.tau * i / 10 - math.pi / 2 for i in range(10)]
    else:
        a, b = math.atan2(0.35, 1.05), math.hypot(0.35, 1.05)
        radii, angles = [], []
        for quarter in range(4):
            radii += [b, b, 0.35 * math.sqrt(2)]
            angles += [quarter * math.pi / 2 - a, quarter * math.pi / 2 + a, quarter * math.pi / 2 + math.pi / 4]
    return [(x + r * q * math.cos(t + thing.turn), y + r * q * math.sin(t + thing.turn))
            for q, t in zip(radii, angles)]


FONTS = {}


def font(size):
    if size not in FONTS:
        FONTS[size] = ImageFont.load_default(size)
    return FONTS[size]


def render(scene, side):
    """The scene as an RGB picture of side × side pixels."""
    image = Image.new("RGB", (side, side), scene.ground)
    canvas = ImageDraw.Draw(image)
    for thing in scene.things:
        if thing.is_shape:
            canvas.polygon(outline(thing, side), fill=COLOURS[thing.colour])
        else:
            canvas.text((thing.x * side, thing.y * side), thing.kind.upper(), fill=COLOURS[thing.colour], anchor="mm",
                        font=font(round(thing.size * side)), stroke_width=round(thing.bold * side / 128))
    return image


def letter_places(thing):
    """The middles of a word's letters, as shares of the picture's side."""
    measure, text = font(100), thing.kind.upper()
    width, places = measure.getlength(text), []
    for i, letter in enumerate(text):
        middle = measure.getlength(text[:i]) + measure.getlength(letter) / 2
        places.append((thing.x + (middle - width / 2) / 100 * thing.size, thing.y))
    return places


# ---- what the soft tokens should know -----------------------------------------------------------------------------

def cell_of(x, y):
    return min(GRID - 1, int(y * GRID)) * GRID + min(GRID - 1, int(x * GRID))


def labels(scene):
    """Rows of 64 class numbers: kind, colour and size at the middles of things; letters; colour and kind that cover."""
    result = {name: np.zeros(GRID * GRID, np.int64) for name in ("kind", "colour", "size", "letter", "cover", "ink")}
    names = list(COLOURS)
    for thing in scene.things:
        cell = cell_of(thing.x, thing.y)
        result["kind"][cell] = KINDS.index(thing.kind)
        result["colour"][cell] = 1 + names.index(thing.colour)
        result["size"][cell] = 1 + thing.big if thing.is_shape else 3
        wide = thing.size * (1.1 if thing.is_shape else 0.35 * len(thing.kind))
        high = thing.size * (1.1 if thing.is_shape else 0.45)
        for other in range(GRID * GRID):
            x, y = (other % GRID + 0.5) / GRID, (other // GRID + 0.5) / GRID
            if abs(x - thing.x) < wide and abs(y - thing.y) < high:
                result["cover"][other] = KINDS.index(thing.kind)
                result["ink"][other] = 1 + names.index(thing.colour)
        if thing.kind in WORDS:
            for letter, place in zip(thing.kind, letter_places(thing)):
                result["letter"][cell_of(*place)] = 1 + LETTERS.index(letter)
    return result


CLASSES = {"kind": len(KINDS), "colour": 1 + len(COLOURS), "size": 4, "letter": 27, "cover": len(KINDS),
           "ink": 1 + len(COLOURS)}


def words_of(thing):
    """The words that the soft token at a thing's middle should be near to."""
    if thing.is_shape:
        return [thing.kind, thing.colour, "big" if thing.big else "small", thing.row, thing.column]
    return [thing.kind, thing.colour]


# ---- questions ----------------------------------------------------------------------------------------------------

def listed(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def any_single(rng, things, among, key):
    """One of `things` that no other `among` equals in `key`; None where there is none."""
    single = [t for t in things if sum(key(o) == key(t) for o in among) == 1]
    return rng.choice(single) if single else None


def colour_question(rng, scene):
    """About a kind that is there once."""
    shapes = [t for t in scene.things if t.is_shape]
    thing = any_single(rng, shapes, shapes, lambda t: t.kind)
    return thing and ("scene_colour", f"What colour is the {thing.kind}?", f"The {thing.kind} is {thing.colour}.")


def kind_question(rng, scene):
    shapes = [t for t in scene.things if t.is_shape]
    thing = any_single(rng, shapes, scene.things, lambda t: t.colour)
    return thing and ("scene_kind", f"Which shape is {thing.colour}?", f"The {thing.kind} is {thing.colour}.")


def count_question(rng, scene):
    shapes = [t for t in scene.things if t.is_shape]
    if rng.random() < 0.4:
        return "scene_count", "How many shapes are there?", str(len(shapes))
    kind = rng.choice([t.kind for t in shapes] or SHAPES) if rng.random() < 0.8 else rng.choice(SHAPES)
    plural = kind + ("es" if kind == "cross" else "s")
    return "scene_count", f"How many {plural} are there?", str(sum(t.kind == kind for t in shapes))


def where_question(rng, scene):
    shapes = [t for t in scene.things if t.is_shape]
    thing = any_single(rng, shapes, scene.things, lambda t: t.name)
    return thing and ("scene_where", f"Where is the {thing.name}?", f"At the {thing.place}.")


def bigger_question(rng, scene):
    shapes = [t for t in scene.things if t.is_shape]
    single = [t for t in shapes if sum(o.kind == t.kind for o in shapes) == 1]
    big, small = [t for t in single if t.big], [t for t in single if not t.big]
    if not big or not small:
        return None
    pair = [rng.choice(big), rng.choice(small)]
    answer = f"The {pair[0].kind} is bigger."
    rng.shuffle(pair)
    return "scene_bigger", f"Which is bigger, the {pair[0].kind} or the {pair[1].kind}?", answer


def digit_question(rng, scene):
    digits = [t.kind for t in scene.things if t.kind.isdigit()]
    return ("scene_digit", "Which digit do you see?", digits[0]) if digits else None


def word_question(rng, scene):
    words = [t.kind for t in scene.things if t.kind in WORDS]
    return ("scene_word", rng.choice(["What does it say?", "Which word do you see?"]), f"It says {words[0]}."
            ) if words else None


def list_question(rng, scene):
    """All things in reading order, by rows of the 3 × 3 grid."""
    def told(thing):
        article = "A" if thing.is_shape else "The"
        if thing.is_shape:
            return f"{article.lower()} {thing.name}"
        return f"the {'digit' if thing.kind.isdigit() else 'word'} {thing.kind}"
    things = sorted(scene.things, key=lambda t: (ROWS.index(t.row), COLUMNS.index(t.column)))
    text = listed([told(t) for t in things])
    return "scene_list", rng.choice(["What do you see?", "What is in the picture?"]), text[0].upper() + text[1:] + "."


SCENE_QUESTIONS = (colour_question, kind_question, count_question, where_question, bigger_question, digit_question,
                   word_question, list_question)


def scene_questions(rng, scene):
    """Every kind of question that this scene allows, in any order: lists of (task, question, answer)."""
    found = [q for q in (make(rng, scene) for make in SCENE_QUESTIONS) if q]
    rng.shuffle(found)
    return found


# ---- clips --------------------------------------------------------------------------------------------------------

def make_clip(rng):
    """Three frames and its question: (scenes, key, task, question, answer)."""
    kinds, colours = rng.sample(SHAPES, 3), rng.sample(list(COLOURS), 3)
    below = ground(rng)
    if rng.random() < 0.6:
        direction = rng.choice(list(DIRECTIONS))
        dx, dy = DIRECTIONS[direction]
        line = rng.randrange(3)
        column, row = (1 - dx, line) if dx else (line, 1 - dy)
        thing = make_shape(rng, kinds[0], colours[0], column, row)
        others = []
        if rng.random() < 0.4:
            free = [(c, r) for c in range(3) for r in range(3) if (r != line if dx else c != line)]
            others = [make_shape(rng, kinds[1], colours[1], *rng.choice(free))]
        step = rng.uniform(0.28, 0.34)
        scenes = [Scene([replace(thing, x=thing.x + dx * step * i, y=thing.y + dy * step * i)] + others, below)
                  for i in range(FRAMES)]
        key = f"clip:{thing.name}:{direction}:{line}:{','.join(t.name + t.place for t in others)}"
        return scenes, key, "clip_direction", f"Which way does the {thing.kind} move?", f"It moves {direction}."
    cells = rng.sample([(c, r) for c in range(3) for r in range(3)], 2)
    things = [make_shape(rng, k, c, *cell) for k, c, cell in zip(kinds, colours, cells)]
    late = rng.choice([1, 2])
    stays = rng.random() < 0.6
    scenes = [Scene((things[:1] if i < late or stays else []) + (things[1:] if i >= late else []), below)
              for i in range(FRAMES)]
    first = rng.random() < 0.5
    key = "clip:" + ",".join(t.name + t.place for t in things) + f":{late}:{stays}"
    return (scenes, key, "clip_order", f"Which shape came {'first' if first else 'last'}?",
            f"The {things[0 if first else 1].kind} came {'first' if first else 'last'}.")


def draw_clip(rng, split):
    while True:
        clip = make_clip(rng)
        if in_split(clip[1], split):
            return clip
