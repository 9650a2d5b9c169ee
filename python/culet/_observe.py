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
    """The method that was called: "generate", "stream", "chat.send", "chat.stream" or "embed"."""
    model: str
    """As the model was asked for: "e2b", a path."""
    variant: str
    device: str
    completion: bool
    """The text is completed as it stands: no chat template."""
    prompt_tokens: int | None
    """None where they are not counted yet: of an "embed"."""
    config: GenerationConfig | EmbeddingConfig
    """What was asked for."""
    defaults: GenerationConfig
    """What the model has in the place of what was not."""


class Observer(Protocol):
    """Sees requests. What `started` returns is handed to the others. What came of one is its `Result`, or
    of an "embed" its `Usage`; None where it failed or was left."""

    def started(self, request: RequestInfo) -> Any: ...

    def first_token(self, state: Any) -> None: ...

    def tool_call(self, state: Any, name: str) -> None: ...

    def ended(
        self, state: Any, result: Result | Usage | None, error: BaseException | None
    ) -> None:
        """Comes last, once. Without a result and without an error, nobody waits for the rest."""


observers: list[Observer] = []


class Watch:
    """One request as the observers see it."""

    def __init__(self, request: RequestInfo) -> None:
        self._open = True
        self._first = True
        self._tool_calls = 0
        self._states = [
            (observer, _quietly(observer.started, request)) for observer in observers
        ]

    def first_token(self) -> None:
        if not self._first:
            return
        self._first = False
        for observer, state in self._states:
            _quietly(observer.first_token, state)

    def tool_call(self, name: str) -> None:
        self._tool_calls += 1
        for observer, state in self._states:
            _quietly(observer.tool_call, state, name)

    def ended(self, result: Result | Usage | None, error: BaseException | None = None) -> None:
        if not self._open:
            return
        self._open = False
        if isinstance(result, Result):  # who waited for the whole was not shown them one by one
            for call in result.tool_calls[self._tool_calls :]:
                self.tool_call(call.name)
        for observer, state in self._states:
            _quietly(observer.ended, state, result, error)


def _quietly(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception:
        _LOG.exception("an observer of requests failed")
        return None
