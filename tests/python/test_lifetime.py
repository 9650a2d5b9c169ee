"""If this fails, a program that ends, forks, is interrupted or drops objects in any order hangs, crashes or
leaks."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from conftest import PEBBLE, check_clean, run_python

LOAD = f"import culet; model = culet.Model({str(PEBBLE)!r}, threads=2)\n"
ENDLESS = "max_tokens=0, ignore_stop_tokens=True"


def run(script: str, **variables: str) -> None:
    check_clean(run_python(LOAD + textwrap.dedent(script), **variables))


def test_a_program_ends_with_a_model_in_use() -> None:
    run("stream = model.stream('hello', " + ENDLESS + "); next(stream); print('ok')")
    run("chat = model.chat(); stream = chat.stream('hello', " + ENDLESS + "); next(stream); print('ok')")


def test_a_program_ends_while_threads_wait() -> None:
    # Daemon threads are not waited for: they are in the engine when the interpreter goes.
    run(
        f"""
        import threading, time
        def wait():
            try:
                while True:
                    model.generate("hello", {ENDLESS})
            except culet.Error:
                pass
        for _ in range(6):
            threading.Thread(target=wait, daemon=True).start()
        while model.statistics.steps < 20:
            time.sleep(0.001)
        print("ok", flush=True)
        """,
        CULET_PYTHON_LEAKS="",
    )


def test_a_program_ends_while_daemon_threads_stream() -> None:
    run(
        f"""
        import threading, time
        def stream():
            try:
                while True:
                    for event in model.stream("hello", {ENDLESS}):
                        pass
            except culet.Error:
                pass
        for _ in range(6):
            threading.Thread(target=stream, daemon=True).start()
        while model.statistics.steps < 20:
            time.sleep(0.001)
        print("ok", flush=True)
        """,
        CULET_PYTHON_LEAKS="",
    )


def test_a_loop_ends_with_requests_in_it() -> None:
    run(
        f"""
        import asyncio
        async def main():
            asynchronous = culet.AsyncModel(model)
            tasks = [asyncio.create_task(asynchronous.generate("hello", {ENDLESS})) for _ in range(5)]
            stream = asynchronous.stream("hello", {ENDLESS})
            await stream.__anext__()
            return tasks  # asyncio.run cancels them
        asyncio.run(main())
        print(model.generate("What is 1 + 1?", temperature=0).text.replace("2", "ok"))
        """
    )


def test_a_loop_is_closed_over_requests() -> None:
    run(
        f"""
        import asyncio, gc
        loop = asyncio.new_event_loop()
        asynchronous = culet.AsyncModel(model)
        stream = asynchronous.stream("hello", {ENDLESS})
        loop.run_until_complete(stream.__anext__())
        loop.close()  # with the answer still coming
        del stream
        gc.collect()
        print(model.generate("What is 1 + 1?", temperature=0).text.replace("2", "ok"))
        """
    )


@pytest.mark.parametrize("order", list(itertools.permutations(["model", "stream", "chat", "held"])))
def test_objects_go_in_any_order(order: tuple[str, ...]) -> None:
    run(
        f"""
        stream = model.stream("hello", {ENDLESS}); next(stream)
        chat = model.chat(); held = chat.stream("hello", {ENDLESS}); next(held)
        """
        + "\n        ".join(["", *(f"del {name}" for name in order)])
        + "\n        print('ok')"
    )


def test_cycles_are_collected() -> None:
    run(
        f"""
        import gc, os
        def memory():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        def once():
            other = culet.Model({str(PEBBLE)!r}, threads=1)
            other.generate("hello", max_tokens=2)
            cycle = [other, other.stream("hello", {ENDLESS}), other.chat()]
            cycle.append(cycle)
        for _ in range(3):
            once(); gc.collect()
        before = memory()
        for _ in range(12):
            once(); gc.collect()
        grown = memory() - before
        print("ok" if grown < 12 << 20 else grown)  # a model has 21 MB of its own
        """
    )


def test_a_forked_child_does_not_wait_for_its_parents_threads() -> None:
    run(
        f"""
        import os, sys, threading, time
        streams = [model.stream("hello", {ENDLESS}) for _ in range(8)]
        threads = [threading.Thread(target=stream.close) for stream in streams[1:]]
        threads += [threading.Thread(target=model.generate, args=("hello",), kwargs=dict({ENDLESS})) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            # The frames of the parent's threads hold their answers for good: that is told there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.exit(0)
        start = time.perf_counter()
        os.waitpid(child, 0)
        seconds = time.perf_counter() - start
        model.close()
        for thread in threads:
            thread.join()
        print("ok" if seconds < 3 else seconds)
        """
    )


def test_a_forked_child_is_told_and_the_parent_goes_on() -> None:
    run(
        f"""
        import os, sys
        stream = model.stream("hello", {ENDLESS}); next(stream)
        child = os.fork()
        if child == 0:
            wrong = 0
            for call in (lambda: model.generate("hello"), lambda: next(stream), lambda: model.statistics):
                try:
                    call()
                    wrong += 1
                except culet.InvalidArgumentError as error:
                    wrong += "fork" not in str(error)
            del stream, model
            other = culet.Model({str(PEBBLE)!r}, threads=1)
            wrong += other.generate("What is 1 + 1?", temperature=0).text != "2"
            other.close()
            del other
            sys.exit(wrong)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        next(stream)
        print(model.generate("What is 1 + 1?", temperature=0).text.replace("2", "ok"))
        """
    )


@pytest.mark.parametrize(
    "call",
    [
        f"model.generate('hello', {ENDLESS})",
        f"model.stream('hello', {ENDLESS}).result",
        f"list(model.stream('hello', {ENDLESS}))",
        f"model.chat().send('hello', {ENDLESS})",
        "__import__('asyncio').run(culet.AsyncModel(model).generate('hello', %s))" % ENDLESS,
    ],
)
def test_ctrl_c_ends_an_answer(call: str) -> None:
    script = LOAD + textwrap.dedent(
        f"""
        import time
        # pebble's context is full soon: with 16 answers at once a step takes longer.
        others = [model.stream("hello", {ENDLESS}) for _ in range(15)]
        print("go", flush=True)
        try:
            while True:
                {call}
        except KeyboardInterrupt:
            for other in others: other.close()
            print(model.generate("What is 1 + 1?", temperature=0).text.replace("2", "ok"))
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.3)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip(), err) == (0, "ok", "")
    assert time.perf_counter() - start < 5


def test_many_models_leave_no_descriptors_and_threads() -> None:
    run(
        f"""
        import os, gc
        def count():
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        before = count()
        for _ in range(5):
            with culet.Model({str(PEBBLE)!r}, threads=3) as other:
                list(other.stream("hello", max_tokens=3))
            del other
        gc.collect()
        assert count() == before, (before, count())
        print("ok")
        """
    )


