"""If this fails, what goes wrong in the engine comes as another error in Python than in the command."""

import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import culet
from conftest import PEBBLE

CODES: dict[type[culet.Error], int] = {
    culet.InternalError: 1,
    culet.InvalidArgumentError: 2,
    culet.NotFoundError: 3,
    culet.CorruptError: 4,
    culet.UnsupportedError: 5,
    culet.ResourceError: 6,
    culet.IoError: 7,
}


def change_json(change: Any) -> Any:
    def apply(folder: Path) -> None:
        file = folder / "config.json"
        config = json.loads(file.read_text())
        change(config)
        file.write_text(json.dumps(config))

    return apply


def cut(name: str) -> Any:
    def apply(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return apply


@pytest.mark.parametrize(
    ("kind", "break_it"),
    [
        (culet.NotFoundError, lambda folder: (folder / "config.json").unlink()),
        (culet.NotFoundError, lambda folder: (folder / "model.safetensors").unlink()),
        (culet.CorruptError, cut("model.safetensors")),
        (culet.CorruptError, cut("config.json")),
        (culet.CorruptError, cut("tokenizer.json")),
        (
            culet.UnsupportedError,
            change_json(lambda config: config.get("text_config", config).update(hidden_activation="relu")),
        ),
    ],
)
def test_loading_fails_with_the_commands_message(
    kind: type[culet.Error], break_it: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PEBBLE, folder)
    break_it(folder)
    # As the command loads it.
    with pytest.raises(kind) as caught:
        culet.Model(folder, sequences=1, prefix_tokens=0)
    done = subprocess.run(
        [os.environ["CULET_PROGRAM"], "run", str(folder), "hi"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == CODES[kind], done.stderr
    assert done.stderr.strip() == f"culet: {caught.value}"


def test_memory_that_is_not_there_is_refused_with_the_numbers() -> None:
    config = culet.ModelConfig(context=2**24, sequences=4096, pool_tokens=2**36)
    assert culet.memory_plan(PEBBLE, config=config).kv_bytes > 2**40
    with pytest.raises(culet.ResourceError, match="GiB KV .* are free"):
        culet.Model(PEBBLE, config=config)


def test_the_family() -> None:
    for kind in CODES:
        assert issubclass(kind, culet.Error) and kind.__doc__
        error = pickle.loads(pickle.dumps(kind("a message")))
        assert type(error) is kind and str(error) == "a message"
    assert issubclass(culet.InvalidArgumentError, ValueError)
    assert len({kind.kind for kind in CODES}) == len(CODES)


def test_every_kind_of_the_library_has_its_class() -> None:
    from culet.errors import _of_kind

    source = (Path(__file__).parents[2] / "src" / "base" / "error.cc").read_text()
    names = source.split("ErrorKindName(ErrorKind kind) {")[1].split("}")[0].split('return "')[1:]
    kinds = {name.split('"')[0] for name in names}
    assert kinds == {kind.kind for kind in CODES}
    for kind in CODES:
        assert type(_of_kind(kind.kind, "x")) is kind


def test_messages_name_keywords_not_fields_of_the_library(model: culet.Model) -> None:
    with pytest.raises(culet.ResourceError) as caught:
        model.generate("word " * 5000)
    assert "::" not in str(caught.value) and "Use a larger context" in str(caught.value)


def test_a_closed_model_says_so() -> None:
    model = culet.Model(PEBBLE, threads=1)
    assert not model.closed
    tokenizer = model.tokenizer
    with model:
        pass
    assert model.closed and "closed" in repr(model)
    for call in (
        lambda: model.generate("hello"),
        lambda: model.stream("hello"),
        lambda: model.count_tokens("hello"),
        lambda: model.statistics,
        lambda: tokenizer.encode("hello"),
    ):
        with pytest.raises(culet.InvalidArgumentError, match="is closed"):
            call()
    model.close()
    assert model.info.layers == 10  # what it was stays known
