"""Configurations: how a model is loaded, how an answer is chosen, what an embedding is.

Each is frozen, and checked when it is made: a value that cannot be raises `InvalidArgumentError` (a
`ValueError`), one of the wrong type `TypeError`, and either names the field. What is `None` comes from
the model. Functions that take a configuration take its fields as keywords as well:

    model.generate("Hello", temperature=0, max_tokens=50)
    model.generate("Hello", config=GenerationConfig(temperature=0, max_tokens=50))
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import numbers
import operator
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar, Union

from culet import _culet
from culet.errors import InvalidArgumentError, UnsupportedError

__all__ = [
    "EmbeddingConfig",
    "EmbeddingOptions",
    "GenerationConfig",
    "GenerationOptions",
    "MediaConfig",
    "ModelConfig",
    "ModelOptions",
]

_UINT64 = 2**64 - 1
_INT32 = 2**31 - 1
_KV = ("auto", "f32", "bf16", "int8")
_QUANT = ("", "int8", "int4")


# ---- Checks. Each gives the value in its one type, or raises naming the field. ----


def _refuse_type(name: str, value: object, expected: str) -> TypeError:
    return TypeError(f"{name} is {value!r}, of type {type(value).__name__}; {expected} is expected")


def _integer(name: str, value: object, low: int, high: int | None = None) -> int:
    if isinstance(value, bool):
        raise _refuse_type(name, value, "an integer")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _refuse_type(name, value, "an integer") from None
    if number < low or (high is not None and number > high):
        rule = f"{low} or more" if high is None else f"{low} to {high}"
        raise InvalidArgumentError(f"{name} is {number}; it must be {rule}")
    return number


def _number(name: str, value: object, low: float, high: float, rule: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _refuse_type(name, value, "a number")
    number = float(value)
    # Also where it is no number (NaN) at all.
    if not low <= number <= high:
        raise InvalidArgumentError(f"{name} is {number:g}; it must be {rule}")
    return number


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse_type(name, value, "True or False")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse_type(name, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{name} has half of a surrogate pair at character {error.start}; text that is whole "
            "Unicode is expected"
        ) from None
    return value


def _path(name: str, value: object) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise _refuse_type(name, value, "a path")
    path = os.fspath(value)
    if not isinstance(path, str):
        raise _refuse_type(name, value, "a path")
    return path


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    text = _text(name, value)
    if text not in choices:
        known = ", ".join(f'"{choice}"' for choice in choices)
        raise InvalidArgumentError(f'{name} is "{text}"; it must be one of {known}')
    return text


def _stop_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise _refuse_type("stop", value, "a text or several")
    texts = tuple(_text("stop", text) for text in value)
    if "" in texts:
        raise InvalidArgumentError("stop has an empty text; it would stop every answer at once")
    return texts


def _overrides(value: object) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping):
        pairs: Iterable[Any] = value.items()
    elif isinstance(value, tuple):  # what this gave before
        pairs = value
    else:
        raise _refuse_type("overrides", value, "a mapping of config.json's keys to values")
    checked = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise _refuse_type("overrides", value, "a mapping of config.json's keys to values")
        key, item = pair
        if not isinstance(item, str):
            try:
                item = json.dumps(item, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError(f'overrides["{key}"] is no JSON value: {error}') from None
        checked.append((_text("overrides", key), _text("overrides", item)))
    return tuple(checked)


def _device(value: object) -> str:
    text = _text("device", value)
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", text):
        raise InvalidArgumentError(f'device is "{text}"; it must be "cpu", "cuda" or "cuda:N"')
    return text


class _Checked:
    """A frozen dataclass whose `_check(name, value)` gives each field's value or raises."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, self._check(field.name, value))

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        raise NotImplementedError


_Config = TypeVar("_Config", bound=_Checked)


def _combined(
    kind: type[_Config], config: _Config | None, options: Mapping[str, Any], function: str
) -> _Config:
    """`config`, or the defaults, with `options` in place of its fields."""
    if config is not None and not isinstance(config, kind):
        raise _refuse_type("config", config, f"a {kind.__name__}")
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f'; did you mean "{near[0]}"?' if near else "."
            raise TypeError(
                f'{function}() takes no "{name}"{hint} Beside its own parameters it takes the '
                f"fields of {kind.__name__}: {', '.join(names)}"
            )
    if config is None:
        return kind(**options)
    return dataclasses.replace(config, **options) if options else config  # type: ignore[type-var]


# ---- Configurations ----


@dataclasses.dataclass(frozen=True)
class GenerationConfig(_Checked):
    """How the tokens of an answer are chosen, and when it ends.

    Everything has a default: what is `None` comes from the model's generation_config.json, which
    `Model.defaults` shows.

        >>> GenerationConfig(temperature=0.7, seed=1)
        >>> GenerationConfig(temperature=-1)
        culet.errors.InvalidArgumentError: temperature is -1; it must be 0 to 100
    """

    max_tokens: int | None = None
    """Most tokens of the answer; 0: until the context is full."""
    temperature: float | None = None
    """Sharpness of the choice, 0 to 100; 0: always the likeliest token."""
    top_k: int | None = None
    """Choose among so many of the likeliest tokens; 0: all."""
    top_p: float | None = None
    """Choose among the likeliest that sum up to this; 1: all."""
    min_p: float | None = None
    """Leave out what is less likely than this times the likeliest; 0: off."""
    repetition_penalty: float | None = None
    """Divide the logits of tokens that were seen by this; 1: off."""
    seed: int | None = None
    """The same seed gives the same answer, whoever else is answered; None: from the system."""
    stop: str | Iterable[str] = ()
    """Text or texts before which the answer ends, beside those of the model."""
    logprobs: int = 0
    """So many likeliest tokens with their log-probabilities at each step; 0: none."""
    timeout_s: float | None = None
    """Ends the answer, with "timeout", when it took so many seconds, waiting included."""
    ignore_stop_tokens: bool = False
    """Go on until `max_tokens` whatever the model says: for measuring."""

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        if name == "stop":
            return _stop_texts(value)
        if name == "logprobs":
            return _integer(name, value, 0, 1000)
        if name == "ignore_stop_tokens":
            return _flag(name, value)
        if value is None:
            return None
        if name == "max_tokens":
            return _integer(name, value, 0, 2**62)
        if name == "top_k":
            return _integer(name, value, 0, 2**62)
        if name == "seed":
            return _integer(name, value, 0, _UINT64)
        if name == "temperature":
            return _number(name, value, 0, 100, "0 to 100")
        if name == "top_p":
            return _number(name, value, 1e-12, 1, "above 0 and at most 1")
        if name == "min_p":
            return _number(name, value, 0, 0.999999, "0 or more and below 1")
        if name == "repetition_penalty":
            return _number(name, value, 1e-6, 100, "above 0 and at most 100")
        return _number(name, value, 1e-9, 1e9, "above 0 and at most 1e9")

    def _native(self) -> _culet.GenerateOptions:
        options = _culet.GenerateOptions()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            setattr(options, field.name, list(value) if field.name == "stop" else value)
        return options


class GenerationOptions(TypedDict, total=False):
    """The fields of `GenerationConfig` as keywords."""

    max_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    seed: int | None
    stop: str | Iterable[str]
    logprobs: int
    timeout_s: float | None
    ignore_stop_tokens: bool


@dataclasses.dataclass(frozen=True)
class EmbeddingConfig(_Checked):
    """How the vector of a text is made of what the model computes for it.

        >>> model.embed("A cat sat.", normalize=True)
    """

    pooling: Literal["mean", "last"] = "mean"
    """The mean over the text's tokens, or the last token, which alone has seen all of it."""
    dimensions: int = 0
    """Only the first so many numbers; 0: all, which is the model's hidden size."""
    normalize: bool = False
    """To length 1, after `dimensions`."""
    bos: bool | None = None
    """With or without `<bos>` in front; None: as the model's tokenizer has it."""

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        if name == "pooling":
            return _one_of(name, value, ("mean", "last"))
        if name == "dimensions":
            return _integer(name, value, 0, 2**31 - 1)
        if name == "bos" and value is None:
            return None
        return _flag(name, value)

    def _native(self) -> _culet.EmbedOptions:
        options = _culet.EmbedOptions()
        options.set_pooling(self.pooling)
        options.dimensions = self.dimensions
        options.normalize = self.normalize
        options.bos = self.bos
        return options


class EmbeddingOptions(TypedDict, total=False):
    """The fields of `EmbeddingConfig` as keywords."""

    pooling: Literal["mean", "last"]
    dimensions: int
    normalize: bool
    bos: bool | None


@dataclasses.dataclass(frozen=True)
class MediaConfig(_Checked):
    """How pictures, sounds and videos are brought to a model; what is None is as its
    processor_config.json has it.

        >>> model.generate("Read it out.", images="page.png", media_config=MediaConfig(image_tokens=1120))
    """

    image_tokens: int | None = None
    """Most tokens that a picture becomes: 70, 140, 280, 560 or 1120."""
    video_tokens: int | None = None
    """The same of each frame of a video."""
    video_frames: int | None = None
    """So many frames of each video, evenly spaced."""
    video_fps: float | None = None
    """Or so many a second of it."""
    video_sound: bool = True
    """Whether a video's sound is heard too, where the model hears."""
    resize: Literal["pillow", "torchvision"] = "pillow"
    """Whose resizing pictures get, bit for bit."""

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        if name == "resize":
            return _one_of(name, value, ("pillow", "torchvision"))
        if name == "video_sound":
            return _flag(name, value)
        if value is None:
            return None
        if name == "video_fps":
            return _number(name, value, 1e-9, 1e9, "more than 0")
        return _integer(name, value, 1, _INT32)

    def _native(self) -> _culet.MediaOptions:
        options = _culet.MediaOptions()
        for name in ("image_tokens", "video_tokens", "video_frames", "video_fps", "video_sound"):
            setattr(options, name, getattr(self, name))
        options.resize_as_torchvision = self.resize == "torchvision"
        return options


Overrides = Union[Mapping[str, Any], "tuple[tuple[str, str], ...]"]


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Checked):
    """How a model is loaded: where it computes, and what memory it may take.

        >>> ModelConfig(context=32768, sequences=4)
        >>> culet.Model("e2b", context=32768, sequences=4)   # the same as keywords
    """

    device: str = "cpu"
    """Where to compute: "cpu", "cuda" or "cuda:N". One that is not there is refused; nothing ever
    falls back to another."""
    threads: int = 0
    """Threads to compute with; 0: as many as CPUs are free to the process."""
    context: int = 0
    """Tokens that prompt and answer may have together; 0: 8192, or less where the model was made for
    less."""
    chunk: int = 512
    """Most rows of one step: longer prompts are computed in such chunks."""
    image_tokens: int | None = None
    """Most tokens that a picture, or a frame of a video, will have, as in `MediaConfig`. 12B, 26B-A4B and
    31B compute a picture in one step, and `chunk` is made as large as that takes: give it for more than
    280."""
    sequences: int = 0
    """Answers and chats that are computed at once; others wait. 0: as many as cost little memory, 16
    at most."""
    pool_tokens: int = 0
    """Positions that full-attention layers hold over all sequences; 0: one context."""
    prefix_tokens: int | None = None
    """Positions of sliding layers that are kept for beginnings which prompts share; None: four
    windows."""
    prompt_rows_beside_decoding: int = 64
    """Rows of a new prompt in a step that makes others' tokens."""
    queue: int = 1024
    """Answers that may wait; one more is refused."""
    kv: Literal["auto", "f32", "bf16", "int8"] = "auto"
    """What keys and values are kept as; "int8", in groups of 64 values with a scale each, holds 1.9 times
    as many tokens as "bf16" in the same memory. "auto": "bf16" where a model in bf16 keeps much for a
    position, else "f32"."""
    tokenizer: str | os.PathLike[str] = ""
    """A tokenizer.json that lies elsewhere; empty: the model's own."""
    allow_control_tokens: bool = False
    """Control tokens in messages count as such. Else a typed `<turn|>` is just characters."""
    overrides: Overrides = ()
    """Other values for fields of config.json: {"text_config.sliding_window": 256}."""
    cpu_level: str = ""
    """Kernels to use ("plain", "avx2", …); empty: the variable CULET_CPU, or the best."""
    quant: Literal["", "int8", "int4"] = ""
    """Weights to compute with: a copy of the model in "int8" or "int4", which is made at the first
    use and kept in a cache; empty: the model as it is."""
    offline: bool = False
    """Fetch nothing: the model must be on this machine."""

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        if name == "device":
            return _device(value)
        if name in ("allow_control_tokens", "offline"):
            return _flag(name, value)
        if name == "kv":
            return _one_of(name, value, _KV)
        if name == "quant":
            return _one_of(name, value, _QUANT)
        if name == "cpu_level":
            return _text(name, value)
        if name == "tokenizer":
            return _path(name, value)
        if name == "overrides":
            return _overrides(value)
        if name in ("prefix_tokens", "image_tokens") and value is None:
            return None
        low, high = {
            "threads": (0, 1024),
            "context": (0, 2**24),
            "chunk": (1, 65536),
            "image_tokens": (1, 65536),
            "sequences": (0, 4096),
            "pool_tokens": (0, 2**40),
            "prefix_tokens": (0, 2**24),
            "prompt_rows_beside_decoding": (1, 65536),
            "queue": (0, 2**32),
        }[name]
        return _integer(name, value, low, high)

    def _native(self) -> _culet.LoadOptions:
        if self.device != "cpu":
            raise UnsupportedError(
                f'device is "{self.device}"; this build of culet computes on the CPU only, and does '
                'not fall back to it by itself: give device="cpu"'
            )
        options = _culet.LoadOptions()
        for name in (
            "threads",
            "context",
            "chunk",
            "image_tokens",
            "sequences",
            "pool_tokens",
            "prefix_tokens",
            "prompt_rows_beside_decoding",
            "queue",
            "allow_control_tokens",
        ):
            setattr(options, name, getattr(self, name))
        assert isinstance(self.overrides, tuple)
        options.overrides = list(self.overrides)
        options.cpu = self.cpu_level
        options.quant = self.quant
        options.set_kv(self.kv)
        options.set_tokenizer(os.fspath(self.tokenizer))
        return options


class ModelOptions(TypedDict, total=False):
    """The fields of `ModelConfig` as keywords."""

    device: str
    threads: int
    context: int
    chunk: int
    image_tokens: int | None
    sequences: int
    pool_tokens: int
    prefix_tokens: int | None
    prompt_rows_beside_decoding: int
    queue: int
    kv: Literal["auto", "f32", "bf16", "int8"]
    tokenizer: str | os.PathLike[str]
    allow_control_tokens: bool
    overrides: Overrides
    cpu_level: str
    quant: Literal["", "int8", "int4"]
    offline: bool
