"""If this fails, answers depend on who else asks, or a call holds Python's lock while it waits."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import culet
from conftest import PEBBLE, question


def ask(model: culet.Model, number: int) -> culet.Result:
    return model.generate(
        question(number),
        max_tokens=24,
        temperature=0.0 if number % 2 == 0 else 1.2,
        seed=number,
    )


def streamed(model: culet.Model, number: int) -> culet.Result:
    stream = model.stream(
        question(number), max_tokens=24, temperature=0.0 if number % 2 == 0 else 1.2, seed=number
    )
    text = "".join(event.text for event in stream if event.type == "text")
    assert text == stream.result.text
    return stream.result


def test_eight_threads_are_answered_together_and_as_alone(alone: culet.Model) -> None:
    expected = [ask(alone, number) for number in range(48)]
    with culet.Model(PEBBLE, threads=2) as model, ThreadPoolExecutor(8) as pool:
        for together in (ask, streamed):
            before = model.statistics
            results = list(pool.map(lambda number: together(model, number), range(48)))
            assert [result.tokens for result in results] == [r.tokens for r in expected]
            assert [result.logits_hash for result in results] == [r.logits_hash for r in expected]
            after = model.statistics
            steps, rows = after.steps - before.steps, after.rows - before.rows
            assert rows > 2 * steps, "answers were not computed together"


def test_chats_of_several_threads_are_as_alone(alone: culet.Model) -> None:
    def talk(model: culet.Model, number: int) -> list[tuple[int, ...]]:
        with model.chat(temperature=0, max_tokens=24) as chat:
            return [chat.send(question(number + turn)).tokens for turn in range(3)]

    expected = [talk(alone, number) for number in range(8)]
    # Fewer sequences than chats: some have none of their own.
    with culet.Model(PEBBLE, threads=2, sequences=4) as model, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: talk(model, number), range(8))) == expected


def test_python_goes_on_while_calls_wait() -> None:
    with culet.Model(PEBBLE, threads=1) as model:
        ticks = 0
        done = threading.Event()

        def tick() -> None:
            nonlocal ticks
            while not done.is_set():
                time.sleep(0.001)
                ticks += 1

        ticker = threading.Thread(target=tick)
        ticker.start()
        start = time.perf_counter()
        model.generate("hello", max_tokens=400, ignore_stop_tokens=True)
        seconds = time.perf_counter() - start
        done.set()
        ticker.join()
        # With the lock held there is no tick at all; a slow machine has few.
        assert ticks > 20 * seconds, (ticks, seconds)


def test_one_thread_cancels_what_another_waits_for(model: culet.Model) -> None:
    stream = model.stream("hello", max_tokens=0, ignore_stop_tokens=True)
    next(stream)
    threading.Timer(0.05, stream.cancel).start()
    assert stream.result.finish_reason == "cancelled"


def test_closing_ends_what_other_threads_wait_for() -> None:
    model = culet.Model(PEBBLE, threads=1)
    model.generate("hello", max_tokens=1)
    one = model.statistics.prompt_tokens
    with ThreadPoolExecutor(4) as pool:
        waiting = [
            pool.submit(model.generate, "hello", max_tokens=0, ignore_stop_tokens=True)
            for _ in range(4)
        ]
        # All four: a call that comes after the close is refused, not cancelled.
        while model.statistics.prompt_tokens < 5 * one:
            time.sleep(0.001)
        model.close()
        assert {future.result().finish_reason for future in waiting} == {"cancelled"}


def test_the_queue_has_an_end() -> None:
    with culet.Model(PEBBLE, threads=1, sequences=1, queue=0) as model:
        try:
            model.generate("hello")
        except culet.ResourceError as error:
            assert "queue" in str(error)
        else:
            raise AssertionError("a queue of none took one")
