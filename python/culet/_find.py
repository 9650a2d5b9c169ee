"""Models by name: where they lie, and fetching them."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from culet import _culet
from culet.config import _flag, _path, _text

_LOG = logging.getLogger("culet")
_MIB = 1 << 20

ModelName = Union[str, "os.PathLike[str]", None]


@dataclass(frozen=True)
class PulledModel:
    """A model of the hub that the cache now holds whole."""

    model: str
    """Its id at the hub, with "@revision" where that is not the main branch."""
    commit: str
    folder: Path
    """To give to `Model`."""
    files: int
    bytes: int
    """Of all files."""
    fetched_bytes: int
    """By this call."""


@dataclass(frozen=True)
class PublishedModel:
    """A published model that has a short name."""

    name: str
    """To give to `Model`: "e2b"."""
    model: str
    """Its id at the hub."""
    base: bool
    """Pre-trained only: completes text, has no chat template."""
    cached: bool
    """The cache holds it whole."""
    weight_bytes: int
    """Of its weights, which is most of a download."""
    resident_bytes: int
    """That it takes on this machine at the default context."""
    fits: bool
    """The memory that is free now is enough for that."""


def default_model() -> str:
    """The variable CULET_MODEL, else the demo model that comes with the package."""
    return os.environ.get("CULET_MODEL") or "pebble"


def name_of(model: ModelName) -> str:
    return default_model() if model is None else _path("model", model)


def find_options() -> _culet.FindOptions:
    """Where the package's own models lie."""
    options = _culet.FindOptions()
    options.add_bundled(str(Path(__file__).parent / "models"))
    return options


def find(
    name: str,
    *,
    text_only: bool = False,
    fetch: bool = True,
    offline: bool = False,
    stop: _culet.StopFlag | None = None,
) -> str:
    """The path of the model that `name` means; one of the hub is fetched where it is not there."""
    options = find_options()
    options.text_only = text_only
    options.list_hint = "culet.available_models() lists names"
    options.fetch_hint = f'culet.pull("{name}") fetches it'
    with News() as news:
        return _culet.find_model(name, options, fetch, offline, news, stop or _culet.StopFlag())


def pull(model: str, *, offline: bool = False) -> PulledModel:
    """Fetches a model of the Hugging Face hub into the cache that all tools share.

    What came before a cut is gone on from, and every file is checked by its hash. `Model(name)` does
    the same by itself where the model is not there. Cache, hub, access token and proxies come from the
    variables that huggingface_hub reads (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, …).

        >>> culet.pull("e2b").folder
    """
    _text("model", model)
    with News() as news:
        done = _culet.pull(model, _flag("offline", offline), news, _culet.StopFlag())
    return PulledModel(
        done.model, done.commit, Path(done.folder), done.files, done.bytes, done.fetched_bytes
    )


def available_models() -> list[PublishedModel]:
    """The published models that have a short name, and whether they fit into this machine's memory."""
    return [
        PublishedModel(
            model.name,
            model.model,
            model.base,
            model.cached,
            model.weight_bytes,
            model.resident_bytes,
            model.fits,
        )
        for model in _culet.published_models()
    ]


class News:
    """Tells of a pull, or of other work that takes long: a line that is drawn over and over on a terminal;
    else to the log "culet"."""

    def __init__(self) -> None:
        self._drawn = False
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> News:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def __call__(self, kind: str, text: str, done: int, total: int) -> None:
        if kind in ("fetching", "checking"):
            self.show(f"{kind} {text}: {done // _MIB} of {total // _MIB} MiB")
        elif kind == "preview":
            self.say(f"{text}: {done // _MIB} of {total // _MIB} MiB to fetch")
        elif kind == "fetched":
            self.say(f"{text} is there")
        else:
            self.say(text)

    def show(self, line: str) -> None:
        """How far it is."""
        if self._terminal:
            sys.stderr.write(f"\r\033[Kculet: {line}")
            sys.stderr.flush()
            self._drawn = True

    def say(self, text: str) -> None:
        """What stays."""
        self._clear()
        _LOG.info("%s", text)
        if self._terminal:
            print(f"culet: {text}", file=sys.stderr)

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._drawn = False
