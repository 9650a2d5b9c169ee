"""A conversation with a model."""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any

from culet._conversation import Conversation, Sendable, ToolResult
from culet._engine import Engine
from culet._media import AnswerOptions, take
from culet._turns import ChatBase, Turn
from culet.config import GenerationConfig, _combined
from culet.errors import Error
from culet.results import Result
from culet.stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Chat", "ToolResult"]


class Chat(ChatBase):
    """A conversation that remembers: made by `Model.chat()`.

        chat = model.chat(system_prompt="You are brief.")
        print(chat.send("Hello, I am Ada."))
        print(chat.send("What is my name?"))

    What the model has read and written stays computed: a turn takes the time of its own tokens. For
    that a chat holds one of the model's `sequences` while one is left for others; beyond, chats are
    right all the same, and what memory could not keep is computed again. `close()` and the `with` block
    give it back.

    Tools that the model calls come in `Result.tool_calls`; their results go back as the next message:

        result = chat.send("What is the weather in Rome?")
        while result.tool_calls:
            result = chat.send([ToolResult(call, look_up(call)) for call in result.tool_calls])

    Threads: one caller at a time.
    """

    def __init__(
        self, engine: Engine, conversation: Conversation, config: GenerationConfig
    ) -> None:
        super().__init__(conversation, config)
        self._engine = engine

    def send(
        self,
        message: Sendable,
        *,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Result:
        """Says something and waits for the answer. `message` is a text, or a list of `ToolResult`s
        where the last answer called tools; a text may come with `images`, `audio` and `video`, as for
        `Model.generate`. Options hold for this turn. Where it fails, the conversation stays as it
        was."""
        turn = self._begin(message, config, dict(options), "send")
        try:
            turn.request.next()  # the first token is seen when it comes
            result = turn.request.wait()
        except BaseException:
            turn.dropped = True
            raise
        turn.take(result)
        return result

    def stream(
        self,
        message: Sendable,
        *,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Stream:
        """The same, with the answer as it comes. A stream that is ended before keeps in the
        conversation what was said until then."""
        turn = self._begin(message, config, dict(options), "stream")
        stream = Stream(turn.request, turn.take)
        turn.stream = weakref.ref(stream)
        return stream

    def undo(self) -> bool:
        """Forgets the last turn; False where there is none."""
        with self._beginning():
            self._settle()
            return self._conversation.undo()

    def reset(self) -> None:
        """Forgets the conversation; system prompt and tools stay."""
        with self._beginning():
            self._settle()
            self._conversation.clear()

    def close(self) -> None:
        """Ends what is being answered and gives the KV back. The messages stay readable."""
        self._closed = True
        if self._turn is not None:
            self._turn.request.cancel()
        self._lease = None

    def __enter__(self) -> Chat:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(
        self,
        message: Sendable,
        config: GenerationConfig | None,
        options: dict[str, Any],
        function: str,
    ) -> Turn:
        media = take(options)
        combined = _combined(GenerationConfig, config or self._config, options, function)
        with self._beginning():
            self._settle()
            added = self._conversation.new_messages(message, media)
            prompt = self._conversation.prompt(self._engine.text, added, media)
            if self._lease is None:
                self._lease = self._engine.lease()
            request = self._engine.start(f"chat.{function}", prompt, combined, self._lease)
            self._turn = Turn(self._conversation, prompt, added, media, request)
            return self._turn

    def _settle(self) -> None:
        turn = self._left_turn()
        if turn is None:
            return
        try:
            turn.take(turn.request.wait())
        except Error:  # told to who waited for it
            self._turn = None
