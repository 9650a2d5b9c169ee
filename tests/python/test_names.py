"""If this fails, a model's name means another thing in Python than for the command, or is not fetched."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import culet
from conftest import PEBBLE, ROOT, run_python

sys.path.insert(0, str(ROOT / "tests" / "hub"))

import faults  # noqa: E402
from repository import Repository, pebble  # noqa: E402
from server import Hub  # noqa: E402

NAME = "lab/pebble"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub of our own in this very process: pulls that held Python's lock would never end."""
    with Hub(Repository(NAME, pebble())) as served:
        for name in list(os.environ):
            if name.startswith(("HF_", "CULET_HUB", "HUGGING")) or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        yield served


def test_nothing_named_is_the_demo_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with culet.Model(threads=1) as model:
        assert model.generate("What is 27 + 45?", temperature=0).text == "72"
        assert Path(model.info.path).name == "pebble"
    monkeypatch.setenv("CULET_MODEL", str(PEBBLE))
    with culet.Model(threads=1) as model:
        assert model.info.path == str(PEBBLE)
    monkeypatch.setenv("CULET_MODEL", "nosuch")
    with pytest.raises(culet.NotFoundError, match="nosuch"):
        culet.Model()


@pytest.mark.parametrize("name", [PEBBLE, str(PEBBLE), PEBBLE / "model.safetensors", "pebble"])
def test_paths_and_bundled_names(name: Any) -> None:
    with culet.Model(name, threads=1) as model:
        assert model.info.layers == 10


def test_a_name_that_means_nothing_tells_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CULET_MODELS", str(tmp_path / "mine"))
    with pytest.raises(culet.NotFoundError) as caught:
        culet.Model("nosuch")
    for part in ('"nosuch"', str(tmp_path / "mine"), "models/nosuch", "culet.available_models()"):
        assert part in str(caught.value)
    with pytest.raises(culet.InvalidArgumentError, match="no model is named"):
        culet.Model("")
    with pytest.raises(TypeError, match="model"):
        culet.Model(5)  # type: ignore[arg-type]
    with pytest.raises(culet.InvalidArgumentError, match="no .safetensors file"):
        culet.Model(PEBBLE / "config.json")


def test_a_model_of_the_hub_is_fetched_once(hub: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "culet")
    with pytest.raises(culet.NotFoundError, match=f'culet.pull\\("{NAME}"\\) fetches it'):
        culet.memory_plan(NAME)
    with culet.Model(NAME, threads=1) as model:
        assert model.generate("What is 27 + 45?", temperature=0).text == "72"
    assert any("to fetch" in message for message in caplog.messages)
    assert any(".safetensors is there" in message for message in caplog.messages)
    hub.clear()
    with culet.Model(NAME, threads=1):
        pass
    assert hub.log(kind="blob") == []
    assert culet.memory_plan(NAME).context == 2048
    pulled = culet.pull(NAME)
    assert pulled.folder.is_dir() and pulled.fetched_bytes == 0 and pulled.model == NAME
    assert len(pulled.commit) == 40


def test_offline_fetches_nothing(hub: Any) -> None:
    for call in (lambda: culet.Model(NAME, offline=True), lambda: culet.pull(NAME, offline=True)):
        with pytest.raises(culet.NotFoundError, match="offline was asked for"):
            call()
    assert hub.requests == []


def test_what_the_hub_refuses_is_told(hub: Any) -> None:
    with pytest.raises(culet.Error, match="lab/other"):
        culet.pull("lab/other")
    with pytest.raises(culet.InvalidArgumentError, match="a/b/c"):
        culet.pull("a/b/c")


def test_a_pull_is_cancelled_with_its_task(hub: Any) -> None:
    hub.script = faults.Script().on(faults.wait(30), kind="blob", times=100)

    async def main() -> float:
        task = asyncio.create_task(culet.AsyncModel(NAME).load())
        while not hub.log(kind="blob"):
            await asyncio.sleep(0.01)
        start = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return start

    # asyncio.run waits for the thread that pulls.
    start = asyncio.run(main())
    assert time.perf_counter() - start < 5


def test_ctrl_c_ends_a_pull(hub: Any) -> None:
    hub.script = faults.Script().on(faults.wait(30), kind="blob", times=100)
    import _thread

    def interrupt() -> None:
        while not hub.log(kind="blob"):
            time.sleep(0.01)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        culet.pull(NAME)
    assert time.perf_counter() - start < 5


def test_published_models_are_listed() -> None:
    models = {model.name: model for model in culet.available_models()}
    assert {"e2b", "e4b", "12b", "26b-a4b", "31b"} <= set(models)
    assert models["e2b"].weight_bytes > 4e9 and not models["e2b"].base


def test_the_package_needs_nothing_but_numpy() -> None:
    done = run_python(
        """
        import sys
        sys.modules["typing_extensions"] = None
        import culet
        strange = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
        print(sorted(name for name in strange if not name.startswith(("_", "sitecustomize", "distutils"))))
        """
    )
    assert done.stdout.strip() in ("['culet']", "['culet', 'numpy']", "['culet', 'typing_extensions']"), (
        done.stdout + done.stderr
    )
