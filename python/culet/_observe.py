"""The one place where a request starts, has its first token, and ends.

Whoever wants to know (telemetry) adds an `Observer` to `observers`. They are called on the thread, or in
the event loop, that asks; what they raise is logged and disturbs nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from culet.config import EmbeddingConfig, GenerationConfig
from culet.results import Result, Usage

_LOG = logging.getLogger("culet")


@dataclass(frozen=True)
class RequestInfo:
    """A request as it starts. No text of prompt or answer: that is for nobody to log by accident."""

    operation: str
    """ "generate", "stream", "chat" or "embed"."""
    model: str
    """As the model was asked for: "e2b", a path."""
    variant: str
    prompt_tokens: int | None
    """None where they are not counted yet: of an "embed"."""
    config: GenerationConfig | EmbeddingConfig


class Observer(Protocol):
    """Sees requests. What `started` returns is handed to the other two. What came of one is its
    `Result`, or of an "embed" its `Usage`; None where it failed or was left."""

    def started(self, request: RequestInfo) -> Any: ...

    def first_token(self, state: Any) -> None: ...

    def ended(
        self, state: Any, result: Result | Usage | None, error: BaseException | None
    ) -> None: ...


observers: list[Observer] = []


class Watch:
    """One request as the observers see it."""

    def __init__(self, request: RequestInfo) -> None:
        self._open = True
        self._first = True
        self._states = [
            (observer, _quietly(observer.started, request)) for observer in observers
        ]

    def first_token(self) -> None:
        if not self._first:
            return
        self._first = False
        for observer, state in self._states:
            _quietly(observer.first_token, state)

    def ended(self, result: Result | Usage | None, error: BaseException | None = None) -> None:
        if not self._open:
            return
        self._open = False
        for observer, state in self._states:
            _quietly(observer.ended, state, result, error)


def _quietly(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception:
        _LOG.exception("an observer of requests failed")
        return None
