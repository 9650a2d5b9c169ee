"""Pictures, sounds and videos as the engine takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Union

from culet import _culet
from culet.config import GenerationOptions, MediaConfig, _refuse_type
from culet.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

Image = Union[str, "os.PathLike[str]", bytes, "NDArray[numpy.uint8]", Any]
"""A path, the content of a file, an array of 8-bit RGB [height, width, 3], or a PIL image."""
Audio = Union[str, "os.PathLike[str]", bytes, "NDArray[numpy.float32]"]
"""A path, the content of a file, or samples: one row of float32, mono at 16 kHz."""
Video = Union[str, "os.PathLike[str]", bytes]
"""A path, or the content of a file."""


@dataclass(frozen=True)
class Given:
    """The media of one message, in the order in which they stand: pictures, sounds, videos."""

    media: list[_culet.Media]
    options: _culet.MediaOptions


class MediaArguments(TypedDict, total=False):
    """The media of a prompt as keywords. They stand before its text in this order, or where the text
    has a marker of their kind: `<image>`, `<audio>`, `<video>`, one for each."""

    images: Image | Sequence[Image] | None
    audio: Audio | Sequence[Audio] | None
    video: Video | Sequence[Video] | None
    media_config: MediaConfig | None


class AnswerOptions(GenerationOptions, MediaArguments, total=False):
    """The fields of `GenerationConfig`, and media, as keywords."""


def take(options: dict[str, Any]) -> Given:
    """Takes the media out of a call's keywords."""
    media = [
        *_several("images", "image", options.pop("images", None)),
        *_several("audio", "audio", options.pop("audio", None)),
        *_several("video", "video", options.pop("video", None)),
    ]
    config = options.pop("media_config", None)
    if config is not None and not isinstance(config, MediaConfig):
        raise _refuse_type("media_config", config, "a MediaConfig")
    native = (config or MediaConfig())._native()
    # In a chat they stay what they were shown as.
    return Given([medium.with_options(native) for medium in media], native)


def take_only(options: dict[str, Any], function: str) -> Given:
    """The same where there are no other keywords."""
    media = take(options)
    for name in options:
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
    return media


NOTHING = Given([], _culet.MediaOptions())


def _several(argument: str, kind: str, value: Any) -> list[_culet.Media]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [_medium(f"{argument}[{index}]", kind, one) for index, one in enumerate(value)]
    return [_medium(argument, kind, value)]


def _medium(argument: str, kind: str, value: Any) -> _culet.Media:
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str):
            return _culet.Media.file(kind, path)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _culet.Media.bytes(kind, bytes(value), argument)
    if kind == "image" and (hasattr(value, "__array_interface__") or hasattr(value, "__array__")):
        return _culet.Media.pixels(_pixels(argument, value), argument)
    if kind == "audio" and hasattr(value, "__array__"):
        return _culet.Media.samples(_samples(argument, value), argument)
    expected = {
        "image": "a path, bytes, an array of uint8 [height, width, 3] or a PIL image",
        "audio": "a path, bytes, or an array of float32 [samples] at 16 kHz",
        "video": "a path or bytes",
    }[kind]
    raise _refuse_type(argument, value, expected)


def _pixels(argument: str, value: Any) -> NDArray[numpy.uint8]:
    import numpy

    if hasattr(value, "convert"):  # a PIL image; what is transparent shows white, as in a file
        if value.mode in ("RGBA", "LA", "PA") or "transparency" in value.info:
            array = numpy.asarray(value.convert("RGBA")).astype(numpy.float64)
            alpha = array[..., 3:] / 255.0
            return numpy.ascontiguousarray(
                numpy.rint(array[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(numpy.uint8)
            )
        value = value.convert("RGB")
    array = numpy.asarray(value)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != numpy.uint8:
        raise InvalidArgumentError(
            f"{argument} is an array of {array.dtype} {list(array.shape)}; 8-bit RGB is expected: "
            "uint8 [height, width, 3]"
        )
    return numpy.ascontiguousarray(array)


def _samples(argument: str, value: Any) -> NDArray[numpy.float32]:
    import numpy

    array = numpy.asarray(value)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise InvalidArgumentError(
            f"{argument} is an array of {array.dtype} {list(array.shape)}; samples are expected: "
            "float32 [samples], mono at 16 kHz, in -1 to 1"
        )
    return numpy.ascontiguousarray(array, dtype=numpy.float32)
