"""If this fails, an embedding in Python is not the command's, or depends on its company."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import culet
from conftest import PEBBLE, check_clean, question, run_python

TEXTS = ["A cat sat.", "What is 27 + 45?", "Tom has a cup. " * 30]


def command(*arguments: str) -> Any:
    done = subprocess.run(
        [os.environ["CULET_PROGRAM"], "embed", str(PEBBLE), *TEXTS, *arguments, "--json"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return numpy.array(json.loads(done.stdout)["embeddings"], dtype=numpy.float32)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"pooling": "last"}, ["--pooling", "last"]),
        ({"normalize": True, "dimensions": 7}, ["--normalize", "--dimensions", "7"]),
        ({"bos": True}, ["--bos"]),
    ],
)
def test_vectors_are_the_commands(options: Any, arguments: list[str], model: culet.Model) -> None:
    expected = command(*arguments)
    vectors = model.embed(TEXTS, **options)
    assert vectors.dtype == numpy.float32 and vectors.shape == expected.shape
    assert numpy.array_equal(vectors, expected)
    assert numpy.array_equal(model.embed(TEXTS, config=culet.EmbeddingConfig(**options)), expected)
    for text, row in zip(TEXTS, expected):
        assert numpy.array_equal(model.embed(text, **options), row[None])


def test_shapes(model: culet.Model) -> None:
    assert model.embed("hello").shape == (1, model.info.hidden)
    assert model.embed(iter(TEXTS)).shape == (3, model.info.hidden)
    assert model.embed([]).shape[0] == 0
    assert numpy.allclose(numpy.linalg.norm(model.embed(TEXTS, normalize=True), axis=1), 1)


def test_vectors_outlive_the_model() -> None:
    model = culet.Model(PEBBLE, threads=1)
    vectors = model.embed(TEXTS)
    copy = vectors.copy()
    model.close()
    del model
    gc.collect()
    assert numpy.array_equal(vectors, copy)
    vectors += 1  # it is the caller's


BAD = [
    ("pooling", "max", ValueError),
    ("pooling", 1, TypeError),
    ("pooling", None, TypeError),
    ("dimensions", -1, ValueError),
    ("dimensions", 1.5, TypeError),
    ("dimensions", True, TypeError),
    ("normalize", 1, TypeError),
    ("normalize", None, TypeError),
    ("bos", 0, TypeError),
    ("bos", "yes", TypeError),
]


@pytest.mark.parametrize(("field", "value", "error"), BAD)
def test_a_bad_value_is_refused_by_name(
    field: str, value: Any, error: type[Exception], model: culet.Model
) -> None:
    with pytest.raises(error, match=field):
        culet.EmbeddingConfig(**{field: value})
    with pytest.raises(error, match=field):
        model.embed("hello", **{field: value})


def test_every_field_has_a_row_in_the_table() -> None:
    assert set(culet.EmbeddingConfig.__dataclass_fields__) == {row[0] for row in BAD}


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        (5, TypeError, "texts"),
        (b"hello", TypeError, "texts"),
        ({"a": 1}, TypeError, "texts"),
        (["a", 5], TypeError, r"texts\[1\]"),
        (["half \udc00"], ValueError, r"texts\[0\]"),
        (["a", "word " * 5000], culet.ResourceError, "text 2"),
    ],
)
def test_what_is_no_text_is_refused(texts: Any, error: type[Exception], says: str, model: culet.Model) -> None:
    with pytest.raises(error, match=says):
        model.embed(texts)


def test_options_beyond_the_model_are_refused(model: culet.Model) -> None:
    with pytest.raises(culet.InvalidArgumentError, match="dimensions") as caught:
        model.embed("hello", dimensions=10_000)
    assert "::" not in str(caught.value)
    with pytest.raises(TypeError, match='"normalise"; did you mean "normalize"'):
        model.embed("hello", normalise=True)  # type: ignore[call-arg]


def test_threads_and_tasks_embed_beside_answers(alone: culet.Model) -> None:
    expected = [alone.embed(question(number)) for number in range(24)]
    answer = alone.generate("hello", temperature=0, max_tokens=30).tokens
    with culet.Model(PEBBLE, threads=2) as model:
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(model.generate, "hello", temperature=0, max_tokens=30) for _ in range(3)]
            vectors = list(pool.map(lambda number: model.embed(question(number)), range(24)))
            assert all(numpy.array_equal(a, b) for a, b in zip(vectors, expected))
            assert {future.result().tokens for future in answers} == {answer}

        async def main() -> None:
            asynchronous = culet.AsyncModel(model)
            results = await asyncio.gather(*[asynchronous.embed(question(n)) for n in range(24)])
            assert all(numpy.array_equal(a, b) for a, b in zip(results, expected))
            with pytest.raises(ValueError, match="pooling"):
                await asynchronous.embed("hello", pooling="max")  # type: ignore[arg-type]

        asyncio.run(main())


LONG = [f"{number} A long word and another. " * 100 for number in range(400)]


def test_a_cancelled_task_stops_its_embedding(model: culet.Model) -> None:
    async def main() -> float:
        task = asyncio.create_task(culet.AsyncModel(model).embed(LONG))
        await asyncio.sleep(0.3)
        assert not task.done(), "too fast to be cancelled"
        start = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return start

    start = asyncio.run(main())  # waits for the thread
    assert time.perf_counter() - start < 3
    steps = model.statistics.steps
    time.sleep(0.1)
    assert model.statistics.steps == steps


def test_closing_the_model_stops_an_embedding() -> None:
    model = culet.Model(PEBBLE, threads=1)
    threading.Timer(0.3, model.close).start()
    with pytest.raises(culet.InvalidArgumentError, match="stopped"):
        model.embed(LONG)
    with pytest.raises(culet.InvalidArgumentError, match="closed"):
        model.embed("hello")


def test_a_program_ends_while_threads_embed() -> None:
    check_clean(
        run_python(
            f"""
            import culet, threading, time
            model = culet.Model({str(PEBBLE)!r}, threads=2)
            def embed():
                try:
                    model.embed([str(n) + " A long word and another. " * 100 for n in range(400)])
                except culet.Error:
                    pass
            for _ in range(3):
                threading.Thread(target=embed, daemon=True).start()
            while model.statistics.steps < 3:
                time.sleep(0.001)
            print("ok", flush=True)
            """,
            CULET_PYTHON_LEAKS="",
        )
    )


def test_ctrl_c_ends_an_embedding() -> None:
    script = f"""
import culet
model = culet.Model({str(PEBBLE)!r}, threads=1)
texts = [str(n) + " A long word and another. " * 100 for n in range(2000)]
print("go", flush=True)
try:
    model.embed(texts)
except KeyboardInterrupt:
    print(model.embed("hello").shape[0], "ok")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    start = time.perf_counter()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, "1 ok", "")
    assert time.perf_counter() - start < 5
