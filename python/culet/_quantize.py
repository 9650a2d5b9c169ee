"""Copies of models with integer weights: made and measured, and those that a cache holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from culet import _culet
from culet._find import ModelName, News, find, find_options, name_of
from culet.config import _flag, _integer, _one_of, _path, _refuse_type, _text
from culet.errors import InvalidArgumentError

_FORMATS = ("int8", "int4")
_BITS = ("bf16", "int8", "int4")
_REPORTS = ("auto", "none", "whole", "classes")


@dataclass(frozen=True)
class QuantizeQuality:
    """How far a model is from the one that it was made of, over the tokens of a text."""

    mean_kl: float
    """KL(source ‖ copy) of the next token, nats a token."""
    p99_kl: float
    """Its 99th percentile."""
    top1_agreement: float
    """How often both have the same likeliest token, 0 to 1."""
    perplexity: float
    """Of the copy."""
    source_perplexity: float
    """Of the model that it was made of."""


@dataclass(frozen=True)
class QuantizedClass:
    """A class of tensors, and what became of it."""

    part: str
    """"mlp"."""
    format: str
    """"int4, groups of 32", "as it was": of most of its bytes."""
    parameters: int
    source_bytes: int
    bytes: int
    quality: QuantizeQuality | None
    """With this class alone quantised, where the report has classes."""


@dataclass(frozen=True)
class QuantizeResult:
    """What `quantize` has written, and how far it is from its source."""

    folder: Path
    """To give to `Model`."""
    source_bytes: int
    """Of all tensors, before."""
    bytes: int
    """Of all tensors."""
    classes: tuple[QuantizedClass, ...]
    """Of the text model."""
    quality: QuantizeQuality | None
    """None without a report."""
    report_tokens: int
    """That the report was measured on."""
    notes: tuple[str, ...]
    """Tensors that stayed as they were, and why."""


@dataclass(frozen=True)
class CachedCopy:
    """A quantised copy that the cache holds, or what is left of one."""

    model: str
    """The path of the model; of one of the hub its name, with "@commit" where that is not its main branch
    as last fetched."""
    to: str
    """Its format: "int8" or "int4"."""
    state: Literal["current", "changed", "gone", "unfinished"]
    """"current": the next `Model(quant=...)` takes it. "changed": files of the model have changed since,
    so that it would be made anew. "gone": the model is where it was no more. "unfinished": left by a
    process that was ended on the way."""
    bytes: int
    """On the disk."""
    folder: Path
    source: Path | None
    """Where the model lies, or lay; None where that is not known."""


def quantize(
    model: ModelName,
    out: str | os.PathLike[str],
    *,
    to: Literal["int8", "int4"] = "int8",
    group: int = 0,
    keep: Mapping[str, Literal["bf16", "int8", "int4"]] | None = None,
    calibration: str | None = None,
    report: Literal["auto", "none", "whole", "classes"] = "auto",
    report_text: str | None = None,
    force: bool = False,
    threads: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> QuantizeResult:
    """Writes a copy of a model with integer weights, and measures what that costs.

        result = culet.quantize("e2b", "e2b-int4", to="int4", keep={"attention": "int8"})
        print(result.bytes, result.quality.mean_kl)
        model = culet.Model(result.folder)

    `Model("e2b", quant="int8")` makes such a copy by itself, without a report, and keeps it in a cache.

    - `model`: a name as `Model` takes it, of a model in f32, bf16 or f16.
    - `out`: the folder to make; it must be empty if it is there. It gets its name when it is whole.
    - `to`, `group`: the format, and in int4 the most columns that share a scale: 32, 64 or 128; 0: 32.
    - `keep`: other bits for classes of tensors: "bf16" (as they are), "int8" or "int4" for "embedding",
      "per-layer-embedding", "per-layer-projection", "attention", "mlp", "experts", "head".
    - `calibration`: a text like those that the model is for: in int4, columns count as it uses them.
    - `report`: what is measured: "none", "whole", "classes" (each class by itself besides), or "auto":
      classes where the model has at most 2 GB. `report_text`: on this text, else on a passage of culet's.
    - `force`: write it however far it is from its source.
    - `threads`: to compute with; 0: as many as CPUs are free to the process.
    - `on_progress(stage, done, total)`: called on this thread, several times a second. What it raises
      ends the call.

    However it ends, with an error, Ctrl-C or what `on_progress` raises: nothing half-made is left.
    Python's lock is not held meanwhile. Raises `InvalidArgumentError`, `UnsupportedError` (quantised
    already; too far from its source, with the numbers), `ResourceError` (disk, memory), `CorruptError`
    (a weight that is no number), `NotFoundError`, `IoError`.
    """
    options = _culet.QuantizeOptions()
    options.to = _one_of("to", to, _FORMATS)
    options.group = _integer("group", group, 0, 2**31 - 1)
    options.keep = _kept(keep)
    options.calibration = _passage("calibration", calibration)
    options.set_report(_one_of("report", report, _REPORTS))
    options.report_text = _passage("report_text", report_text)
    options.force = _flag("force", force)
    options.threads = _integer("threads", threads, 0, 1024)
    if on_progress is not None and not callable(on_progress):
        raise _refuse_type("on_progress", on_progress, "a function")
    folder = _path("out", out)
    name = name_of(model)
    path = find(name)
    with News() as news:
        news.say(f"{name} is written as {to} to {folder}")

        def on_news(stage: str, _: str, done: int, total: int) -> None:
            news.show(f"{stage} {name}: {100 * done // max(total, 1)}%")
            if on_progress is not None:
                on_progress(stage, done, total)

        done = _culet.quantize(path, folder, options, on_news, _culet.StopFlag())
        news.say(f"{folder} is there: {done.bytes} bytes of {done.source_bytes}")
    return QuantizeResult(
        folder=Path(done.folder),
        source_bytes=done.source_bytes,
        bytes=done.bytes,
        classes=tuple(
            QuantizedClass(
                part=of.part,
                format=of.format,
                parameters=of.parameters,
                source_bytes=of.source_bytes,
                bytes=of.bytes,
                quality=_quality(of.quality),
            )
            for of in done.classes
        ),
        quality=_quality(done.quality),
        report_tokens=done.report_tokens,
        notes=tuple(done.notes),
    )


def quantized_copies(model: ModelName = None) -> list[CachedCopy]:
    """The copies that `Model(quant=...)` has left in the cache: of all models, or of one, which need not
    be there any more. Raises `NotFoundError` where nothing is there by that name.

        >>> for copy in culet.quantized_copies("e2b"):
        ...     culet.remove_quantized_copy(copy)
    """
    if model is None:
        found = _culet.quantized_copies()
    else:
        options = find_options()
        options.list_hint = options.fetch_hint = "culet.quantized_copies() lists the copies that there are"
        found = _culet.quantized_copies_of(name_of(model), options)
    return [
        CachedCopy(
            model=copy.model,
            to=copy.to,
            state=cast('Literal["current", "changed", "gone", "unfinished"]', copy.state),
            bytes=copy.bytes,
            folder=Path(copy.folder),
            source=Path(copy.source) if copy.source else None,
        )
        for copy in found
    ]


def remove_quantized_copy(copy: CachedCopy | str | os.PathLike[str]) -> int:
    """Removes a copy from the cache and gives the bytes that become free. `copy` is of
    `quantized_copies()`, or its folder. Models that have it open go on. What processes that are no more
    have left in the cache goes with it.

    Raises `NotFoundError`, `InvalidArgumentError` for a folder that is none of the cache, `ResourceError`
    where a process is making it just now, `IoError`.
    """
    folder = copy.folder if isinstance(copy, CachedCopy) else copy
    return _culet.remove_quantized_copy(_path("copy", folder))


def _kept(keep: object) -> list[tuple[str, str]]:
    if keep is None:
        return []
    if not isinstance(keep, Mapping):
        raise _refuse_type("keep", keep, 'a mapping such as {"attention": "int8"}')
    return [
        (_text("keep", part), _one_of(f'keep["{part}"]', bits, _BITS)) for part, bits in keep.items()
    ]


def _passage(name: str, text: object) -> str:
    if text is None:
        return ""
    passage = _text(name, text)
    if not passage:
        raise InvalidArgumentError(f"{name} is an empty text; a text of some hundred tokens is expected")
    return passage


def _quality(native: _culet.QuantizeQuality | None) -> QuantizeQuality | None:
    if native is None:
        return None
    return QuantizeQuality(
        mean_kl=native.mean_kl,
        p99_kl=native.p99_kl,
        top1_agreement=native.top1_agreement,
        perplexity=native.perplexity,
        source_perplexity=native.source_perplexity,
    )
