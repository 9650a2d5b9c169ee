"""The same for asyncio: coroutines and async iterators over the engine's own threads."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from culet import _culet
from culet._asked import Asked, start
from culet._conversation import Conversation, Sendable
from culet._engine import Engine
from culet._find import ModelName, name_of
from culet._media import AnswerOptions, MediaArguments, take, take_only
from culet._prompt import Messages, PromptLike, Tool, texts_of
from culet._turns import ChatBase, Turn
from culet._wake import Waiter
from culet.config import (
    EmbeddingConfig,
    EmbeddingOptions,
    GenerationConfig,
    GenerationOptions,
    ModelConfig,
    ModelOptions,
    _combined,
)
from culet.errors import Error, InvalidArgumentError
from culet.model import Model
from culet.results import Event, MemoryPlan, ModelInfo, Result, ResultEvent, Statistics, TextEvent
from culet.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from typing_extensions import Unpack

__all__ = ["AsyncChat", "AsyncModel", "AsyncStream"]

class AsyncModel:
    """`Model` for asyncio: the same methods, as coroutines and async iterators.

        async with culet.AsyncModel("e2b") as model:
            print(await model.generate("Why is the sky blue?"))
            async for event in model.stream("Tell me a story"):
                if event.type == "text":
                    print(event.text, end="", flush=True)

    Answers that are wanted at once are computed together: `asyncio.gather` over a hundred of them is
    as it should be. No thread waits for an answer. Cancelling a task cancels its request before the
    model's next step. Needs a loop that can watch a file descriptor, as all on Linux can.
    """

    def __init__(
        self,
        model: ModelName | Model = None,
        *,
        config: ModelConfig | None = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Names a model as for `Model`, or takes one that is loaded. Loading, and fetching where that
        is needed, is done by `async with`, `await model.load()` or the first request."""
        self._lock = threading.Lock()  # guards what follows; held while loading
        self._engine: Engine | None = None
        self._closed = False
        self._name = ""
        self._config = ModelConfig()
        if isinstance(model, Model):
            if config is not None or options:
                raise InvalidArgumentError(
                    "the model is loaded already, so config and options have no place; leave them out"
                )
            self._engine = model._engine
        else:
            self._name = name_of(model)
            self._config = _combined(ModelConfig, config, options, "AsyncModel")

    async def load(self) -> AsyncModel:
        """Loads the model, once. In a thread of its own: the loop goes on."""
        await self._loaded()
        return self

    async def generate(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Result:
        """Answers `prompt`; arguments as for `Model.generate`."""
        others = dict(options)
        asked = Asked(prompt, system_prompt, tools, thinking, raw, take(others))
        combined = _combined(GenerationConfig, config, others, "generate")
        engine = await self._loaded()
        tokens = await asked.tokens(engine)
        return await _whole(await start(engine, "generate", tokens, combined, raw=raw))

    def stream(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> AsyncStream:
        """Answers `prompt` piece by piece: an async iterator of events, see `AsyncStream`. Arguments as
        for `Model.generate`. The answer begins with the first iteration."""
        others = dict(options)
        asked = Asked(prompt, system_prompt, tools, thinking, raw, take(others))
        combined = _combined(GenerationConfig, config, others, "stream")

        async def begin() -> Waiter:
            engine = await self._loaded()
            tokens = await asked.tokens(engine)
            return await start(engine, "stream", tokens, combined, raw=raw)

        return AsyncStream(begin)

    def chat(
        self,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        messages: Messages | None = None,
        config: GenerationConfig | None = None,
        **options: Unpack[GenerationOptions],
    ) -> AsyncChat:
        """Begins a conversation that remembers; see `AsyncChat`. Arguments as for `Model.chat`."""
        return AsyncChat(
            self._loaded,
            Conversation(system_prompt, tools, thinking, messages),
            _combined(GenerationConfig, config, options, "chat"),
        )

    async def embed(
        self,
        texts: str | Iterable[str],
        *,
        config: EmbeddingConfig | None = None,
        **options: Unpack[EmbeddingOptions],
    ) -> NDArray[numpy.float32]:
        """The vectors of one text or several, as an array of float32 [texts, hidden]; as `Model.embed`."""
        combined = _combined(EmbeddingConfig, config, options, "embed")
        checked = texts_of(texts)
        engine = await self._loaded()
        stop = _culet.StopFlag()
        try:
            return await asyncio.to_thread(engine.embed, checked, combined, stop)
        except asyncio.CancelledError:
            stop.stop()
            raise

    async def count_tokens(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        raw: bool = False,
        **media: Unpack[MediaArguments],
    ) -> int:
        """How many tokens the prompt has for the model; as `Model.count_tokens`."""
        given = take_only(dict(media), "count_tokens")
        asked = Asked(prompt, system_prompt, tools, thinking, raw, given)
        return len(await asked.tokens(await self._loaded()))

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back; after `load()`."""
        return self._model().tokenizer

    @property
    def defaults(self) -> GenerationConfig:
        """How answers are chosen where nothing is said; after `load()`."""
        return self._model().defaults

    @property
    def config(self) -> ModelConfig:
        """What it is loaded with."""
        return self._config if self._engine is None else self._engine.config

    @property
    def info(self) -> ModelInfo:
        """What the model is, and what it runs on; after `load()`."""
        return self._model().info

    @property
    def memory_plan(self) -> MemoryPlan:
        """What it takes; after `load()`."""
        return self._model().memory_plan

    @property
    def statistics(self) -> Statistics:
        """What it has done since it was loaded; after `load()`."""
        return self._model().statistics

    async def close(self) -> None:
        """Ends what is being answered and gives the memory back; as `Model.close`."""
        await asyncio.to_thread(self._close)

    @property
    def closed(self) -> bool:
        """After `close()`."""
        return self._closed or (self._engine is not None and self._engine.closed)

    async def __aenter__(self) -> AsyncModel:
        return await self.load()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        if self._engine is None:
            return f"<culet.AsyncModel {self._name!r}: {'closed' if self.closed else 'not loaded'}>"
        return repr(self._model()).replace("culet.Model", "culet.AsyncModel")

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            engine = self._engine
        if engine is not None:
            engine.close()

    def _model(self) -> Model:
        engine = self._engine
        if engine is None:
            raise InvalidArgumentError(
                f'the model "{self._name}" is not loaded yet; use `async with`, or await load() first'
            )
        model = Model.__new__(Model)
        model._engine = engine
        return model

    async def _loaded(self) -> Engine:
        if self._engine is not None:
            return self._engine
        stop = _culet.StopFlag()
        try:
            return await asyncio.to_thread(self._load, stop)
        except asyncio.CancelledError:
            stop.stop()
            raise

    def _load(self, stop: _culet.StopFlag) -> Engine:
        with self._lock:
            if self._closed:
                raise InvalidArgumentError(f'the model "{self._name}" is closed; load it again')
            if self._engine is None:
                self._engine = Engine.load(self._name, self._config, stop)
            return self._engine


class AsyncStream:
    """An async iterator over the events of one answer: pieces of text, thinking, tool calls, and at the
    end the `ResultEvent`.

        async with model.stream("Tell me a story") as stream:
            async for event in stream:
                ...
        print((await stream.result()).usage)

    Leaving the block, `close()`, `cancel()`, dropping the stream and cancelling the task that waits for
    it end the answer before the model's next step.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[Waiter]],
        on_result: Callable[[Result], None] | None = None,
    ) -> None:
        self._begin = begin
        self._on_result = on_result
        self._waiter: Waiter | None = None
        self._result: Result | None = None
        self._cancelled = False
        self._done = False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Event:
        if self._done:
            raise StopAsyncIteration
        waiter = await self._started()
        try:
            event = await waiter.next()
        except BaseException as error:
            self._done = True
            waiter.abandon(error)
            raise
        if event is not None:
            return event
        self._done = True
        return ResultEvent(await self._finish(waiter))

    async def text(self) -> AsyncIterator[str]:
        """Only the pieces of the answer's text."""
        async for event in self:
            if isinstance(event, TextEvent):
                yield event.text

    async def result(self) -> Result:
        """The whole answer; waits for its end."""
        return await self._finish(await self._started())

    def cancel(self) -> None:
        """Ends the answer before the model's next step; the events so far and the result, with
        `finish_reason` "cancelled", still come. From any thread."""
        self._cancelled = True
        if self._waiter is not None:
            self._waiter.request.cancel()

    async def close(self) -> None:
        """Ends the answer and waits for that, one step at most. The result stays."""
        self._done = True
        waiter = self._waiter
        if waiter is not None and self._result is None:
            waiter.request.cancel()
            await self._finish(waiter)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._waiter is not None and self._result is None:
            self._waiter.abandon()

    async def _started(self) -> Waiter:
        if self._waiter is None:
            if self._done:
                raise InvalidArgumentError("the stream was closed before it began")
            self._waiter = await self._begin()
            if self._cancelled:
                self._waiter.request.cancel()
        return self._waiter

    async def _finish(self, waiter: Waiter) -> Result:
        if self._result is None:
            self._result = await _whole(waiter)
            if self._on_result is not None:
                self._on_result(self._result)
        return self._result


class AsyncChat(ChatBase):
    """`Chat` for asyncio: made by `AsyncModel.chat()`.

        chat = model.chat(system_prompt="You are brief.")
        print(await chat.send("Hello, I am Ada."))
        print(await chat.send("What is my name?"))
    """

    def __init__(
        self,
        loaded: Callable[[], Awaitable[Engine]],
        conversation: Conversation,
        config: GenerationConfig,
    ) -> None:
        super().__init__(conversation, config)
        self._loaded = loaded

    async def send(
        self,
        message: Sendable,
        *,
        config: GenerationConfig | None = None,
        **options: Unpack[AnswerOptions],
    ) -> Result:
        """Says something and waits for the answer; as `Chat.send`. Where it fails or the task is
        cancelled, the conversation stays as it was."""
        turn, waiter = await self._begin_turn(message, config, dict(options), "send")
        try:
            result = await _whole(waiter)
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
    ) -> AsyncStream:
        """The same, with the answer as it comes; as `Chat.stream`."""
        turns: list[Turn] = []
        streams: list[weakref.ref[AsyncStream]] = []

        async def begin() -> Waiter:
            turn, waiter = await self._begin_turn(message, config, dict(options), "stream")
            turn.stream = streams[0]
            turns.append(turn)
            return waiter

        stream = AsyncStream(begin, lambda result: turns[0].take(result))
        streams.append(weakref.ref(stream))
        return stream

    async def undo(self) -> bool:
        """Forgets the last turn; False where there is none."""
        with self._beginning():
            await self._settle()
            return self._conversation.undo()

    async def reset(self) -> None:
        """Forgets the conversation; system prompt and tools stay."""
        with self._beginning():
            await self._settle()
            self._conversation.clear()

    async def close(self) -> None:
        """Ends what is being answered and gives the KV back. The messages stay readable."""
        self._closed = True
        if self._turn is not None:
            self._turn.request.cancel()
        lease, self._lease = self._lease, None
        if lease is not None:
            await asyncio.to_thread(lease.release)

    async def __aenter__(self) -> AsyncChat:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _begin_turn(
        self,
        message: Sendable,
        config: GenerationConfig | None,
        options: dict[str, Any],
        function: str,
    ) -> tuple[Turn, Waiter]:
        media = take(options)
        combined = _combined(GenerationConfig, config or self._config, options, function)
        conversation = self._conversation
        with self._beginning():
            await self._settle()
            engine = await self._loaded()
            added = conversation.new_messages(message, media)
            # The conversation grows: its text is rendered and compared in a thread.
            prompt = await asyncio.to_thread(
                lambda: conversation.prompt(engine.text, added, media)
            )
            if self._lease is None:
                self._lease = await asyncio.to_thread(engine.lease)
            waiter = await start(engine, f"chat.{function}", prompt, combined, self._lease)
            self._turn = Turn(conversation, prompt, added, media, waiter.request)
            return self._turn, waiter

    async def _settle(self) -> None:
        turn = self._left_turn()
        if turn is None:
            return
        try:
            turn.take(await asyncio.to_thread(turn.request.wait))
        except Error:  # told to who waited for it
            self._turn = None


async def _whole(waiter: Waiter) -> Result:
    try:
        return await waiter.wait()
    except BaseException as error:
        waiter.abandon(error)
        raise
