"""The sounds that pebble learns to hear: beeps, tones that stand or glide, digits and words spoken by espeak-ng.

    python models/pebble_sounds.py                  # speaks every word in every voice once, into build/pebble/voices.npz

Speech is held out by voice, beeps and tones by a hash of what they are. Needs numpy, and libespeak-ng for the first step.
`Sounds` gives batches for train_towers.py.
"""

import argparse
import ctypes
import ctypes.util
import os
import random
from dataclasses import dataclass, field

import numpy as np

from pebble_scenes import WORDS
from pebble_world import in_split

RATE = 16000
DIGITS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split()))
ACCENTS = ("gmw/en-US", "gmw/en", "gmw/en-GB-scotland", "gmw/en-GB-x-rp", "gmw/en-GB-x-gbclan")
VARIANTS = tuple(f"m{i}" for i in range(1, 9)) + tuple(f"f{i}" for i in range(1, 6))
MANNERS = ((130, 40), (155, 55), (180, 48), (145, 65))  # words a minute, pitch
EVENTS = ("",) + tuple(DIGITS) + WORDS + ("high", "low", "rising", "falling")
CLASSES = {"event": len(EVENTS), "length": 3, "cover": len(EVENTS)}
STEP = 0.04  # seconds a soft token
VOICES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "pebble", "voices.npz")


@dataclass
class Event:
    """What is heard from start to end (seconds); words are those that its last soft token should be near to."""
    kind: str
    start: float
    end: float
    words: list
    long: int = 0  # of beeps and tones: 1 short, 2 long


@dataclass
class Sound:
    samples: np.ndarray
    events: list = field(default_factory=list)
    questions: list = field(default_factory=list)  # (task, question, answer)


# ---- speech -------------------------------------------------------------------------------------------------------

class Speaker:
    """espeak-ng as a library: a voice that speaks a word as float32 samples at 16 kHz."""

    def __init__(self):
        self.library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(2, 0, None, 0)  # AUDIO_OUTPUT_SYNCHRONOUS
        self.parts = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self.collect)
        self.library.espeak_SetSynthCallback(self.callback)

    def collect(self, samples, count, _):
        if samples and count > 0:
            self.parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, voice, speed, pitch, text):
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice}")
        self.library.espeak_SetParameter(1, speed, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        self.parts = []
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)  # UTF-8, places are characters
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.parts).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
        return resample(samples[loud[0]:loud[-1] + 1], self.rate, RATE)


def resample(samples, old, new):
    """By cutting the spectrum; the ends are padded so that they do not meet."""
    pad = old // 50
    padded = np.pad(samples, pad)
    count = len(padded) * new // old
    spectrum = np.fft.rfft(padded)[:count // 2 + 1]
    result = np.fft.irfft(spectrum, count) * (count / len(padded))
    cut = pad * new // old
    return result[cut:count - cut].astype(np.float32)


def voices():
    return [f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS]


def speak_all(path):
    """Writes a cache: for every word and voice the recordings in all manners."""
    speaker, cache = Speaker(), {}
    for voice in voices():
        for manner, (speed, pitch) in enumerate(MANNERS):
            for name, text in list(DIGITS.items()) + [(w, w) for w in WORDS]:
                samples = speaker.say(voice, speed, pitch, text)
                cache[f"{voice}|{manner}|{name}"] = (samples / np.abs(samples).max() * 32000).astype(np.int16)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    np.savez(path, **cache)
    print(f"{len(cache)} recordings")


class Voices:
    """The cache by split and word."""

    def __init__(self, split, path=VOICES):
        cache = np.load(path)
        self.by_voice = {}
        for key in cache.files:
            voice, manner, name = key.split("|")
            if in_split("voice:" + voice, split):
                self.by_voice.setdefault((voice, manner), {})[name] = cache[key]
        self.names = sorted(self.by_voice)

    def pick(self, rng):
        """One voice in one manner: a dict of word to int16 samples."""
        return self.by_voice[rng.choice(self.names)]


# ---- beeps and tones ----------------------------------------------------------------------------------------------

def tone(start, end, seconds, timbre):
    """A tone from one frequency to another (Hz), with soft ends."""
    count = int(seconds * RATE)
    t = np.arange(count) / RATE
    frequency = start * (end / start) ** (t / seconds)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    wave = np.sin(phase) + timbre * np.sin(2 * phase) / 2 + timbre * np.sin(3 * phase) / 3
    edge = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.01 * RATE))
    return (wave * edge / np.abs(wave).max()).astype(np.float32)


def frequency(rng, high):
    return rng.uniform(850, 1700) if high else rng.uniform(180, 400)


def spoken(rng, voice, names, split):
    """Parts (kind, samples, words, long) of spoken digits or words; for training a little faster or slower, and with it
    higher or lower, so that there are more voices than espeak-ng has."""
    factor = rng.uniform(0.86, 1.16) if split == "train" else 1.0
    parts = []
    for name in names:
        samples = voice[name].astype(np.float32) / 32768
        count = int(len(samples) * factor)
        stretched = np.interp(np.arange(count) / factor, np.arange(len(samples)), samples).astype(np.float32)
        parts.append((name, stretched if split == "train" else samples, [name], 0))
    return parts


def beeps(rng, pattern, high):
    """Parts for a pattern of "long" and "short"."""
    hertz, timbre, kind = frequency(rng, high), rng.random(), "high" if high else "low"
    return [(kind, tone(hertz, hertz, rng.uniform(0.3, 0.4) if p == "long" else rng.uniform(0.07, 0.13), timbre),
             ["beep", kind, p], 2 if p == "long" else 1) for p in pattern], round(hertz / 20)


def place(rng, parts, questions):
    """Puts the parts one after the other with gaps, over faint noise, and says where they are."""
    pieces, events = [np.zeros(int(rng.uniform(0.06, 0.3) * RATE), np.float32)], []
    at = len(pieces[0])
    gain = rng.uniform(0.25, 0.9)
    for kind, samples, words, long in parts:
        events.append(Event(kind, at / RATE, (at + len(samples)) / RATE, words, long))
        gap = np.zeros(int(rng.uniform(0.12, 0.22) * RATE), np.float32)
        pieces += [samples * gain, gap]
        at += len(samples) + len(gap)
    pieces.append(np.zeros(int(rng.uniform(0.03, 0.2) * RATE), np.float32))
    samples = np.concatenate(pieces)
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(samples)) * 10 ** rng.uniform(-4.5, -2.3)
    samples = np.clip(samples + noise, -1, 1)
    return Sound((samples * 32767).round().astype(np.int16).astype(np.float32) / 32768, events, questions)


def make_sound(rng, split, cache):
    """One sound with its questions."""
    form = rng.random()
    if form < 0.2:
        name = rng.choice(list(DIGITS))
        return place(rng, spoken(rng, cache.pick(rng), [name], split), [
            ("sound_digit", "Which digit do you hear?", name), ("sound_any", "What do you hear?", f"The digit {name}.")])
    if form < 0.32:
        names = [rng.choice(list(DIGITS)) for _ in range(2)]
        return place(rng, spoken(rng, cache.pick(rng), names, split), [
            ("sound_digits", "Which digits do you hear?", " ".join(names))])
    if form < 0.52:
        name = rng.choice(WORDS)
        return place(rng, spoken(rng, cache.pick(rng), [name], split), [
            ("sound_word", "Which word do you hear?", f"I hear {name}."),
            ("sound_any", "What do you hear?", f"The word {name}.")])
    while True:
        high = rng.random() < 0.5
        if form < 0.84:
            pattern = [rng.choice(["long", "short"]) for _ in range(rng.randint(1, 4))] if form < 0.7 else (
                ["short"] * rng.randint(1, 5))
            parts, hertz = beeps(rng, pattern, high)
            key = f"beeps:{'-'.join(pattern)}:{hertz}"
            count = len(pattern)
            questions = [("sound_count", "How many beeps do you hear?", str(count)),
                         ("sound_rhythm", "What is the rhythm?", f"It is {' '.join(pattern)}."),
                         ("sound_pitch", "Is the sound high or low?", f"It is {'high' if high else 'low'}.")]
        elif form < 0.92:
            hertz, seconds = frequency(rng, high), rng.uniform(0.5, 0.9)
            kind = "high" if high else "low"
            parts = [(kind, tone(hertz, hertz, seconds, rng.random()), ["tone", kind], 2)]
            key = f"tone:{round(hertz / 20)}:{round(seconds * 10)}"
            questions = [("sound_pitch", "Is the sound high or low?", f"It is {kind}."),
                         ("sound_any", "What do you hear?", f"A {kind} tone.")]
        else:
            low, ratio, seconds = rng.uniform(200, 600), rng.uniform(1.7, 3), rng.uniform(0.4, 0.9)
            start, end = (low, low * ratio) if high else (low * ratio, low)
            kind = "rising" if high else "falling"
            parts = [(kind, tone(start, end, seconds, rng.random()), ["tone", kind], 2)]
            key = f"glide:{kind}:{round(low / 20)}:{round(ratio * 10)}"
            questions = [("sound_glide", "Is the tone rising or falling?", f"It is {kind}."),
                         ("sound_any", "What do you hear?", f"A {kind} tone.")]
        if in_split(key, split):
            return place(rng, parts, questions)


def event_place(event):
    """The soft token at which an event is known: the one after its end."""
    return int(event.end / STEP) + 1


def labels(sound, count):
    """Class numbers for each of `count` soft tokens."""
    result = {name: np.zeros(count, np.int64) for name in CLASSES}
    for event in sound.events:
        kind, at = EVENTS.index(event.kind), min(count - 1, event_place(event))
        result["event"][at] = kind
        result["length"][at] = event.long
        # What it is, is known from the middle on.
        result["cover"][int((event.start + event.end) / 2 / STEP) + 1:at] = kind
    return result


class Sounds:
    """Sounds as features with their labels, in batches of about one length; a pool as for pictures."""

    def __init__(self, seed, split, tokenizer, size=9000, path=VOICES):
        import pebble_media  # needs torch, which making sounds does not
        self.media = pebble_media
        self.rng = random.Random(f"sounds:{seed}:{split}")
        self.split, self.size, self.tokenizer, self.cache = split, size, tokenizer, Voices(split, path)
        self.pool = []

    def make(self):
        sound = make_sound(self.rng, self.split, self.cache)
        features = self.media.mel(sound.samples)
        count = self.media.sound_tokens(len(features))
        words = {min(count - 1, event_place(e)): self.media.word_ids(self.tokenizer, e.words) for e in sound.events}
        return features, labels(sound, count), words

    def batch(self, count, fresh):
        new = [self.make() for _ in range(4 * count if len(self.pool) < 4 * count else fresh)]
        self.pool += new
        self.pool = self.pool[-self.size:]
        some = sorted(self.rng.sample(self.pool, min(len(self.pool), 4 * count)), key=lambda s: len(s[0]))
        at = self.rng.randint(0, max(0, len(some) - count))
        return self.collate(some[at:at + count])

    def collate(self, chosen):
        import torch
        longest = max(len(c[0]) for c in chosen)
        features = np.zeros((len(chosen), longest, 128), np.float32)
        mask = np.zeros((len(chosen), longest), bool)
        words, at = {}, 0
        for i, (values, marks, spoken_words) in enumerate(chosen):
            features[i, :len(values)] = values
            mask[i, :len(values)] = True
            words.update({at + place: ids for place, ids in spoken_words.items()})
            at += len(marks["event"])
        found = {n: torch.from_numpy(np.concatenate([c[1][n] for c in chosen])) for n in CLASSES}
        return (torch.from_numpy(features), torch.from_numpy(mask)), found, words


def hear(model, inputs):
    """Tower states and soft tokens of the valid places of all sounds, one after the other."""
    out = model.audio_tower(input_features=inputs[0], attention_mask=inputs[1])
    states = out.last_hidden_state[out.attention_mask]
    return states, model.embed_audio(states)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=VOICES)
    speak_all(parser.parse_args().out)
