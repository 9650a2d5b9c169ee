"""What the tests of the Python package share: the demo model, loaded once a file."""

import os
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import culet

ROOT = Path(__file__).resolve().parents[2]
PEBBLE = ROOT / "models" / "pebble"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("CULET_MODEL", "CULET_MODELS"):
        monkeypatch.delenv(name, raising=False)
    # Never the copies of who runs the tests.
    monkeypatch.setenv("CULET_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def model() -> Iterator[culet.Model]:
    with culet.Model(PEBBLE, threads=2) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def alone() -> Iterator[culet.Model]:
    """The same model, which answers one after the other."""
    with culet.Model(PEBBLE, threads=2, sequences=1, prefix_tokens=0) as loaded:
        yield loaded


def question(number: int) -> str:
    return f"What is {10 + number} + {90 - number % 80}?"


def run_python(script: str, *, seconds: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script in an interpreter of its own; it must end by itself. CULET_PYTHON_LEAKS="" for scripts with
    daemon threads: what these hold when Python stops them is lost, whatever we do."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "CULET_PYTHON_LEAKS": "1", **variables},
        stdin=subprocess.DEVNULL,
    )


def check_clean(done: subprocess.CompletedProcess[str], output: str = "ok") -> None:
    """Ended well, and left nothing: nanobind tells of objects that outlive the interpreter."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == output, done.stdout + done.stderr
    assert done.stderr == ""


def installed(folder: Path) -> str:
    """A PYTHONPATH with which the package is installed, as far as other tools can see: what pyproject.toml
    says of it, in the form that pip writes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = folder / f"culet-{culet.__version__}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: culet\nVersion: {culet.__version__}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines.append(f"[{group}]")
        lines += [f"{name} = {value}" for name, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}"
