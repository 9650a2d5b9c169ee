"""What both kinds of chat share: the conversation, its turn in the making, its sequence of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from culet import _culet
from culet._conversation import Conversation
from culet._engine import Lease, Request
from culet._media import Given
from culet.config import GenerationConfig
from culet.errors import InvalidArgumentError
from culet.results import Result


class Turn:
    """A message whose answer is in the making."""

    def __init__(
        self,
        conversation: Conversation,
        prompt: _culet.Prompt,
        added: list[dict[str, Any]],
        media: Given,
        request: Request,
    ) -> None:
        self._conversation = conversation
        self._prompt = prompt
        self._added = added
        self._media = media
        self.request = request
        self.stream: Callable[[], object] | None = None  # who iterates; None: all is waited for
        self.ended = False
        self.dropped = False  # nobody has seen what came of it

    @property
    def awaited(self) -> bool:
        """Somebody waits for it."""
        if self.ended or self.dropped:
            return False
        return self.stream is None or self.stream() is not None

    def take(self, result: Result) -> None:
        """The conversation has it, unless nobody saw it."""
        if self.ended:
            return
        self.ended = True
        if not self.dropped:
            self._conversation.take(self._prompt, self._added, result, self._media)


class ChatBase:
    """Threads: one caller at a time."""

    def __init__(self, conversation: Conversation, config: GenerationConfig) -> None:
        self._conversation = conversation
        self._config = config
        self._lease: Lease | None = None
        self._turn: Turn | None = None  # that may have no answer yet
        self._begins = False
        self._closed = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns so far, as messages: a copy, to keep as JSON and to go on with by
        `chat(messages=…)`. The system prompt that `chat()` was given is not among them."""
        return copy.deepcopy(self._conversation.messages)

    @property
    def system_prompt(self) -> str | None:
        """What stands before the first message."""
        return self._conversation.system_prompt

    @contextmanager
    def _beginning(self) -> Iterator[None]:
        """While a turn begins. Raises where another one is under way."""
        if self._closed:
            raise InvalidArgumentError("the chat is closed; start another one")
        if self._begins or (self._turn is not None and self._turn.awaited):
            raise InvalidArgumentError(
                "this chat is answering already; wait for that, or close its stream first"
            )
        self._begins = True
        try:
            yield
        finally:
            self._begins = False

    def _left_turn(self) -> Turn | None:
        """A turn that nobody waits for any more and that has to end before the next."""
        turn = self._turn
        if turn is None or turn.ended:
            return None
        turn.request.cancel()
        return turn
