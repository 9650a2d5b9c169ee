"""A loaded model and the requests that it is answering: what `Model` and `AsyncModel` stand on."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from culet import _culet
from culet._find import find
from culet._media import NOTHING, Given
from culet._observe import RequestInfo, Watch
from culet._prompt import PromptLike, Tool, prompt_tokens
from culet.config import EmbeddingConfig, GenerationConfig, ModelConfig
from culet.errors import InvalidArgumentError, ResourceError
from culet.results import Event, MemoryPlan, ModelInfo, Result, Statistics, ToolCallEvent, Usage
from culet.results import _event, _info, _memory_plan, _result, _statistics

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


class Request:
    """An answer in the making. One caller at a time, but `cancel`, which is for any thread."""

    def __init__(self, answer: _culet.Answer, watch: Watch) -> None:
        self.answer = answer
        self._watch = watch
        self._result: Result | None = None

    def next(self) -> Event | None:
        """Waits for the next event; None at the end."""
        try:
            return self._seen(self.answer.next())
        except BaseException as error:
            self.failed(error)
            raise

    def poll(self) -> Event | None:
        """The next event where one is there."""
        return self._seen(self.answer.poll())

    def wait(self) -> Result:
        """Waits for the end. Events that come until then are not shown."""
        if self._result is None:
            try:
                native = self.answer.wait()
            except BaseException as error:
                self.failed(error)
                raise
            self._result = _result(native)
            self._watch.ended(self._result)
        return self._result

    def cancel(self) -> None:
        """Ends it before the model's next step."""
        self.answer.cancel()

    def failed(self, error: BaseException | None) -> None:
        """Nobody waits for it any more."""
        self.answer.cancel()
        self._watch.ended(None, error)

    def __del__(self) -> None:
        self.answer.cancel()
        self._watch.ended(None)

    def _seen(self, event: _culet.Event | None) -> Event | None:
        if event is None:
            return None
        self._watch.first_token()
        seen = _event(event)
        if isinstance(seen, ToolCallEvent):
            self._watch.tool_call(seen.call.name)
        return seen


class Lease:
    """A sequence of the model, and so its KV, that a chat keeps from turn to turn."""

    def __init__(self, session: _culet.Session) -> None:
        self._session: _culet.Session | None = session

    def start(
        self, prompt: _culet.Prompt, options: _culet.GenerateOptions, stop: _culet.StopFlag
    ) -> _culet.Answer:
        assert self._session is not None
        return self._session.start(prompt, options, stop)

    def release(self) -> None:
        """Gives the sequence back; may take a step of the model."""
        self._session = None


class Engine:
    """Threads: everything may be called from any."""

    def __init__(self, name: str, config: ModelConfig, native: _culet.Model) -> None:
        self.name = name
        self.config = config
        self._native: _culet.Model | None = native
        info = native.info
        self.info: ModelInfo = _info(info, config.device)
        self.memory_plan: MemoryPlan = _memory_plan(info)
        self.defaults: GenerationConfig = _defaults(native.defaults)
        self._lock = threading.Lock()  # guards what follows
        self._requests: weakref.WeakSet[Request] = weakref.WeakSet()
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._leases_to_come = 0
        self._stops: set[_culet.StopFlag] = set()
        with _all_lock:
            _all.add(self)

    @staticmethod
    def load(name: str, config: ModelConfig, stop: _culet.StopFlag | None = None) -> Engine:
        options = config._native()  # what cannot be is said before a download
        path = find(name, offline=config.offline, stop=stop)
        return Engine(name, config, _culet.Model(path, options))

    @property
    def native(self) -> _culet.Model:
        native = self._native
        if native is None:
            raise InvalidArgumentError(f'the model "{self.name}" is closed; load it again')
        return native

    @property
    def text(self) -> _culet.Text:
        return self.native.text

    @property
    def statistics(self) -> Statistics:
        return _statistics(self.native.statistics)

    @property
    def closed(self) -> bool:
        return self._native is None

    def prompt(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None,
        tools: Sequence[Tool] | None,
        thinking: bool,
        raw: bool,
        media: Given = NOTHING,
    ) -> _culet.Prompt:
        return prompt_tokens(
            self.text,
            prompt,
            system_prompt=system_prompt,
            tools=tools,
            thinking=thinking,
            raw=raw,
            media=media,
        )

    def start(
        self,
        operation: str,
        prompt: _culet.Prompt,
        config: GenerationConfig,
        lease: Lease | None = None,
        *,
        raw: bool = False,
        stop: _culet.StopFlag | None = None,
    ) -> Request:
        """`stop` ends what comes before the answer: media go through their encoder."""
        native = self.native
        completion = raw or not self.info.has_chat_template
        watch = self._watch(operation, len(prompt), config, completion=completion)
        stop = stop or _culet.StopFlag()
        with self._lock:
            self._stops.add(stop)
        try:
            if lease is None:
                answer = native.start(prompt, config._native(), stop)
            else:
                answer = lease.start(prompt, config._native(), stop)
        except BaseException as error:
            watch.ended(None, error)
            raise
        finally:
            with self._lock:
                self._stops.discard(stop)
        request = Request(answer, watch)
        with self._lock:
            self._requests.add(request)
            closed = self.closed
        if closed:  # meanwhile
            request.cancel()
        return request

    def embed(
        self, texts: list[str], config: EmbeddingConfig, stop: _culet.StopFlag | None = None
    ) -> NDArray[numpy.float32]:
        native = self.native
        watch = self._watch("embed", None, config, completion=True)
        stop = stop or _culet.StopFlag()
        with self._lock:
            self._stops.add(stop)
        try:
            vectors, tokens = _culet.embed(native, texts, config._native(), stop)
        except BaseException as error:
            watch.ended(None, None if stop.stopped else error)
            raise
        finally:
            with self._lock:
                self._stops.discard(stop)
        watch.ended(Usage(sum(tokens), 0, sum(tokens), 0))
        return vectors

    def _watch(
        self,
        operation: str,
        prompt_tokens: int | None,
        config: GenerationConfig | EmbeddingConfig,
        *,
        completion: bool,
    ) -> Watch:
        return Watch(
            RequestInfo(
                operation=operation,
                model=self.name,
                variant=self.info.variant,
                device=self.info.device,
                completion=completion,
                prompt_tokens=prompt_tokens,
                config=config,
                defaults=self.defaults,
            )
        )

    def lease(self) -> Lease | None:
        """A sequence for a chat, while that leaves one for others. May take a step of the model."""
        native = self.native
        with self._lock:
            taken = len(self._leases) + self._leases_to_come
            if taken + 1 >= self.memory_plan.sequences:
                return None
            self._leases_to_come += 1
        lease = None
        try:
            lease = Lease(native.session())
        except ResourceError:  # answers have all of them now
            pass
        finally:
            with self._lock:
                self._leases_to_come -= 1
                if lease is not None:
                    self._leases.add(lease)
        return lease

    def close(self) -> None:
        """Ends what is being answered; memory goes with the last of it."""
        with self._lock:
            self._native = None
            requests = list(self._requests)
            for stop in self._stops:
                stop.stop()
        for request in requests:
            request.cancel()


def _defaults(native: _culet.ModelDefaults) -> GenerationConfig:
    return GenerationConfig(
        max_tokens=native.max_new_tokens,
        temperature=native.temperature if native.do_sample else 0.0,
        top_k=native.top_k,
        top_p=native.top_p,
        min_p=native.min_p,
        repetition_penalty=native.repetition_penalty,
        stop=tuple(native.stop_texts),
    )


_all_lock = threading.Lock()  # guards _all
_all: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _end() -> None:
    """Before the interpreter goes: no thread of Python stays inside the engine."""
    with _all_lock:
        engines = list(_all)
    for engine in engines:
        engine.close()
    _culet.begin_shutdown()


os.register_at_fork(after_in_child=_culet.after_fork_in_child)
