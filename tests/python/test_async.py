"""If this fails, answers of asyncio differ from those alone, or a cancelled task leaves its request."""

import asyncio
import gc
import os
import time
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

import culet
from conftest import PEBBLE, question
from culet._wake import _waker_of_running_loop

Value = TypeVar("Value")


def run(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """In a loop of its own that complains: of what was never awaited, and of slow callbacks."""
    return asyncio.run(coroutine, debug=True)


def options(number: int) -> dict[str, Any]:
    return {"max_tokens": 24, "temperature": 0.0 if number % 2 == 0 else 1.2, "seed": number}


ENDLESS: dict[str, Any] = {"max_tokens": 0, "ignore_stop_tokens": True}


def test_a_hundred_tasks_are_answered_together_and_as_alone(alone: culet.Model) -> None:
    expected = [alone.generate(question(n), **options(n)) for n in range(100)]

    async def streamed(model: culet.AsyncModel, number: int) -> culet.Result:
        stream = model.stream(question(number), **options(number))
        text = "".join([piece async for piece in stream.text()])
        result = await stream.result()
        assert text == result.text
        return result

    async def main() -> None:
        async with culet.AsyncModel(PEBBLE, threads=2) as model:
            for ask in (
                lambda number: model.generate(question(number), **options(number)),
                lambda number: streamed(model, number),
            ):
                before = model.statistics
                results = await asyncio.gather(*[ask(number) for number in range(100)])
                assert [r.tokens for r in results] == [r.tokens for r in expected]
                assert [r.logits_hash for r in results] == [r.logits_hash for r in expected]
                after = model.statistics
                assert after.rows - before.rows > 4 * (after.steps - before.steps)

    run(main())


def test_events_are_those_of_the_model(model: culet.Model) -> None:
    async def main() -> list[culet.Event]:
        return [event async for event in culet.AsyncModel(model).stream("What is 1 + 2?", thinking=True, temperature=0)]

    def plain(events: list[culet.Event]) -> list[Any]:
        return [event for event in events if event.type != "result"]

    sync = list(model.stream("What is 1 + 2?", thinking=True, temperature=0))
    events = run(main())
    assert plain(events) == plain(sync)
    assert isinstance(events[-1], culet.ResultEvent) and isinstance(sync[-1], culet.ResultEvent)
    assert events[-1].result.tokens == sync[-1].result.tokens


def test_a_cancelled_task_cancels_its_request_before_the_next_step() -> None:
    with culet.Model(PEBBLE, threads=1, cpu_level="plain") as slow:

        async def once(streams: bool) -> int:
            model = culet.AsyncModel(slow)
            begun = asyncio.Event()

            async def wait() -> None:
                if streams:
                    async for _ in model.stream("hello", **ENDLESS):
                        begun.set()
                else:
                    await model.generate("hello", **ENDLESS)

            task = asyncio.create_task(wait())
            if streams:
                await begun.wait()
            else:
                await asyncio.sleep(0.1)
            answers, steps = slow.statistics.answers, slow.statistics.steps
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while slow.statistics.answers == answers:
                await asyncio.sleep(0)
            return slow.statistics.steps - steps

        async def main(streams: bool) -> list[int]:
            return [await once(streams) for _ in range(3)]

        for streams in (False, True):
            # The step that is being computed, and one where the machine was slow in between.
            assert min(run(main(streams))) <= 2


def test_cancelling_does_not_hold_up_the_loop() -> None:
    # One prompt whose steps are long: 512 rows with the plain kernels.
    with culet.Model(PEBBLE, threads=1, cpu_level="plain") as slow:

        async def main() -> tuple[float, float]:
            model = culet.AsyncModel(slow)
            task = asyncio.create_task(model.generate("What is 1 + 2? " * 150, max_tokens=1))
            await asyncio.sleep(0.3)
            start = time.perf_counter()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
            gc.collect()
            cancelled = time.perf_counter() - start
            while slow.statistics.answers == 0:
                await asyncio.sleep(0.001)
            return cancelled, time.perf_counter() - start

        cancelled, ended = run(main())
        if ended < 0.1:
            pytest.skip(f"the step was over in {ended:.3f} s: too fast to tell")
        assert cancelled < ended / 2, "the loop waited for the step"


def test_a_long_prompt_does_not_hold_up_the_loop(model: culet.Model) -> None:
    async def main() -> tuple[int, float]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticker = asyncio.create_task(tick())
        start = time.perf_counter()
        for _ in range(3):
            with pytest.raises(culet.ResourceError, match="context"):
                await culet.AsyncModel(model).generate("A long word and another. " * 40_000)
        seconds = time.perf_counter() - start
        ticker.cancel()
        return ticks, seconds

    ticks, seconds = asyncio.run(main())
    assert ticks > 20 * seconds + 4, (ticks, seconds)


def test_a_time_limit_of_asyncio_ends_the_request(model: culet.Model) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(culet.AsyncModel(model).generate("hello", **ENDLESS), 0.1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(culet.AsyncModel(model).stream("hello", **ENDLESS).result(), 0.1)

    run(main())
    after = model.statistics
    time.sleep(0.2)
    assert model.statistics.steps <= after.steps + 1, "it goes on"


def test_a_task_that_is_cancelled_within_its_streams_block_ends(model: culet.Model) -> None:
    async def read() -> None:
        async with culet.AsyncModel(model).stream("hello", **ENDLESS) as stream:
            async for _ in stream:
                pass

    async def main() -> None:
        task = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        task.cancel()
        # Leaving the block waits for the answer's end, which nobody may keep from it.
        done, _ = await asyncio.wait([task], timeout=20)
        assert done and task.cancelled()

    run(main())


def test_streams_end_by_every_way_out(model: culet.Model) -> None:
    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        async with asynchronous.stream("hello", **ENDLESS) as stream:
            async for _ in stream:
                break
        assert (await stream.result()).finish_reason == "cancelled"

        stream = asynchronous.stream("hello", **ENDLESS)
        stream.cancel()  # before it began
        assert (await stream.result()).finish_reason == "cancelled"
        assert [event.type async for event in stream][-1] == "result"

        answers = model.statistics.answers
        async for _ in asynchronous.stream("hello", **ENDLESS):
            break  # dropped
        gc.collect()
        while model.statistics.answers == answers:
            await asyncio.sleep(0.001)

        stream = asynchronous.stream("hello", **ENDLESS)
        await stream.close()
        with pytest.raises(culet.InvalidArgumentError):
            await stream.result()

    run(main())


def test_errors_come_to_who_asked(model: culet.Model) -> None:
    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        with pytest.raises(culet.ResourceError, match="context"):
            await asynchronous.generate("word " * 5000)
        with pytest.raises(ValueError, match="temperature"):
            await asynchronous.generate("hello", temperature=-1)
        with pytest.raises(TypeError, match="temprature"):
            await asynchronous.generate("hello", temprature=1)  # type: ignore[call-arg]
        with pytest.raises(culet.ResourceError, match="context"):
            async for _ in asynchronous.stream("word " * 5000):
                pass
        results = await asyncio.gather(
            asynchronous.generate("hello", max_tokens=3),
            asynchronous.generate([]),
            asynchronous.generate("hello", max_tokens=3),
            return_exceptions=True,
        )
        assert isinstance(results[1], culet.InvalidArgumentError)
        assert isinstance(results[0], culet.Result) and isinstance(results[2], culet.Result)

    run(main())


def test_loading_is_asynchronous_and_done_once() -> None:
    async def main() -> None:
        model = culet.AsyncModel(PEBBLE, threads=1)
        with pytest.raises(culet.InvalidArgumentError, match="not loaded"):
            model.info
        assert "not loaded" in repr(model)
        results = await asyncio.gather(*[model.generate("hello", temperature=0) for _ in range(5)])
        assert len({result.text for result in results}) == 1
        assert await model.load() is model
        assert model.statistics.answers == 5
        assert await model.count_tokens("hello") == results[0].usage.prompt_tokens
        assert model.tokenizer.decode(model.tokenizer.encode("hi")) == "hi"
        assert model.config.threads == 1 and model.info.device == "cpu"
        assert model.memory_plan == culet.memory_plan(PEBBLE, threads=1)
        assert model.defaults.top_k is not None
        await model.close()
        assert model.closed
        with pytest.raises(culet.InvalidArgumentError, match="closed"):
            await model.generate("hello")
        never = culet.AsyncModel(PEBBLE)
        await never.close()
        with pytest.raises(culet.InvalidArgumentError, match="closed"):
            await never.load()
        with pytest.raises(culet.NotFoundError, match="nosuch"):
            await culet.AsyncModel("nosuch").load()
        with pytest.raises(ValueError, match="threads"):
            culet.AsyncModel(PEBBLE, threads=-1)

    run(main())


def test_chats_remember(alone: culet.Model) -> None:
    turns = ["Hello, I am Ada.", "What is 2 + 3?", "What is 40 + 2?"]
    with alone.chat(temperature=0) as chat:
        expected = [chat.send(turn).tokens for turn in turns]

    async def main() -> None:
        async with culet.AsyncModel(PEBBLE, threads=2, sequences=4) as model:

            async def talk() -> list[tuple[int, ...]]:
                async with model.chat(temperature=0) as chat:
                    tokens = []
                    for turn in turns:
                        stream = chat.stream(turn)
                        async for _ in stream:
                            pass
                        result = await stream.result()
                        tokens.append(result.tokens)
                    assert result.usage.cached_tokens > 20
                    assert len(chat.messages) == 6
                    assert await chat.undo()
                    assert len(chat.messages) == 4
                    await chat.reset()
                    assert chat.messages == []
                    return tokens

            # More than there are sequences.
            assert await asyncio.gather(*[talk() for _ in range(8)]) == [expected] * 8

            chat = model.chat(temperature=0)
            first = asyncio.create_task(chat.send(turns[0], **ENDLESS))
            await asyncio.sleep(0.05)
            with pytest.raises(culet.InvalidArgumentError, match="answering already"):
                await chat.send(turns[1])
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert chat.messages == []
            assert (await chat.send(turns[0])).tokens == expected[0]
            async for _ in chat.stream("hello", **ENDLESS):
                break
            assert (await chat.send("What is 1 + 1?")).finish_reason == "stop"
            assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 3
            await chat.close()
            with pytest.raises(culet.InvalidArgumentError, match="closed"):
                await chat.send("hello")

    run(main())


def test_loops_one_after_the_other_and_side_by_side_use_one_model(model: culet.Model) -> None:
    import threading

    expected = model.generate("hello", temperature=0).tokens
    asynchronous = culet.AsyncModel(model)
    results: list[tuple[int, ...]] = []

    async def main() -> None:
        answers = await asyncio.gather(*[asynchronous.generate("hello", temperature=0) for _ in range(5)])
        results.extend(answer.tokens for answer in answers)

    run(main())
    threads = [threading.Thread(target=lambda: run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 25


def test_nothing_is_left_behind(model: culet.Model) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        asynchronous = culet.AsyncModel(model)
        tasks = [asyncio.create_task(asynchronous.generate("hello", **ENDLESS)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*[asynchronous.generate("hello", max_tokens=2) for _ in range(20)])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Nor does the loop keep watching once the last has ended.
        waker = _waker_of_running_loop()
        while waker._waiters:
            await asyncio.sleep(0.001)
        assert not asyncio.get_running_loop().remove_reader(waker._native.descriptor)

    run(asyncio.wait_for(main(), 30))
    before = descriptors()
    for _ in range(5):
        run(main())
    gc.collect()
    assert descriptors() <= before

    async def unawaited() -> "weakref.ref[Any]":
        stream = culet.AsyncModel(model).stream("hello", **ENDLESS)
        await stream.__anext__()
        return weakref.ref(stream)

    reference = run(unawaited())
    gc.collect()
    assert reference() is None
