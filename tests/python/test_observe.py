"""If this fails, whoever observes requests (telemetry) misses a start, a first token or an end."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import culet
from culet import _observe

ENDLESS: dict[str, Any] = {"max_tokens": 0, "ignore_stop_tokens": True}


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[int, str, Any]] = []
        self.requests: list[_observe.RequestInfo] = []

    def started(self, request: _observe.RequestInfo) -> int:
        self.requests.append(request)
        self.seen.append((len(self.requests), "started", request.operation))
        return len(self.requests)

    def first_token(self, state: int) -> None:
        self.seen.append((state, "first_token", None))

    def ended(self, state: int, result: Any, error: BaseException | None) -> None:
        outcome = error if error is not None else result
        self.seen.append((state, "ended", outcome))

    def of(self, request: int) -> list[str]:
        return [what for number, what, _ in self.seen if number == request]

    def outcome(self, request: int) -> Any:
        return next(value for number, what, value in self.seen if (number, what) == (request, "ended"))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    _observe.observers.append(recorder)
    yield recorder
    _observe.observers.remove(recorder)


WHOLE = ["started", "first_token", "ended"]


def test_every_kind_of_request_is_seen_whole(model: culet.Model, recorder: Recorder) -> None:
    result = model.generate("hello", max_tokens=3)
    list(model.stream("hello", max_tokens=3))
    with model.chat(max_tokens=3) as chat:
        chat.send("hello")

    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        await asynchronous.generate("hello", max_tokens=3)
        async for _ in asynchronous.stream("hello", max_tokens=3):
            pass

    asyncio.run(main())
    assert [request.operation for request in recorder.requests] == [
        "generate", "stream", "chat.send", "generate", "stream",
    ]
    for number, request in enumerate(recorder.requests, 1):
        assert recorder.of(number) == WHOLE
        assert recorder.outcome(number).finish_reason == "length"
        assert request.model == str(model.info.path) and request.prompt_tokens == result.usage.prompt_tokens
    assert recorder.outcome(1) is result

    model.embed(["hello", "What is 1 + 1?"])
    assert recorder.of(6) == ["started", "ended"]
    assert recorder.outcome(6).prompt_tokens > 5


def test_ends_before_the_end_are_seen_once(model: culet.Model, recorder: Recorder) -> None:
    with model.stream("hello", **ENDLESS) as stream:
        next(stream)
    assert recorder.outcome(1).finish_reason == "cancelled"
    stream = model.stream("hello", **ENDLESS)
    del stream
    gc.collect()
    assert recorder.outcome(2) is None
    with pytest.raises(culet.ResourceError) as caught:
        model.generate("word " * 5000)
    assert recorder.outcome(3) is caught.value

    async def main() -> None:
        task = asyncio.create_task(culet.AsyncModel(model).generate("hello", **ENDLESS))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert isinstance(recorder.outcome(4), asyncio.CancelledError)
    for number in range(1, 5):
        assert recorder.of(number).count("started") == recorder.of(number).count("ended") == 1


def test_an_observer_that_fails_disturbs_nobody(
    model: culet.Model, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("broken")

    recorder.started = recorder.first_token = recorder.ended = broken  # type: ignore[method-assign, assignment]
    caplog.set_level(logging.ERROR, "culet")
    assert model.generate("What is 1 + 1?", temperature=0).text == "2"
    assert len([record for record in caplog.records if record.exc_info]) == 3
