"""If this fails, something public has no words of help, no types, or an example that does not run."""

import inspect
import io
import os
import pydoc
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import culet
from conftest import PEBBLE, ROOT

EXAMPLES = sorted((ROOT / "examples" / "python").glob("*.py"))


def public_things() -> list[tuple[str, Any]]:
    """Every public class and function, and what is public in a class."""
    found: list[tuple[str, Any]] = []
    for name in culet.__all__:
        thing = getattr(culet, name)
        if inspect.isclass(thing):
            found.append((name, thing))
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, (property, classmethod))):
                    found.append((f"{name}.{member}", value))
        elif inspect.isroutine(thing):
            found.append((name, thing))
    return found


@pytest.mark.parametrize(("name", "thing"), public_things(), ids=lambda value: value if isinstance(value, str) else "")
def test_everything_public_says_what_it_is(name: str, thing: Any) -> None:
    text = inspect.getdoc(thing) or ""
    made_by_dataclass = text.startswith(name.split(".")[-1] + "(")
    assert len(text) > 5 and not made_by_dataclass, f"{name} has no docstring"


def test_all_is_all_that_is_public() -> None:
    public = {
        name
        for name, value in vars(culet).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(culet.__all__)
    assert (culet.__doc__ or "").startswith("Gemma 4")


def test_help_teaches() -> None:
    text = pydoc.render_doc(culet.Model, renderer=pydoc.plaintext)
    for word in ("generate", "system_prompt", "temperature", "culet.Model(\"e2b\")", "for event in", "ModelConfig"):
        assert word in text, word
    text = pydoc.render_doc(culet.GenerationConfig, renderer=pydoc.plaintext)
    assert "max_tokens" in text


def test_parameters_of_both_models_are_the_same() -> None:
    for name in ("generate", "stream", "chat", "count_tokens"):
        sync = inspect.signature(getattr(culet.Model, name))
        asynchronous = inspect.signature(getattr(culet.AsyncModel, name))
        assert list(sync.parameters.values()) == list(asynchronous.parameters.values()), name
    public = {name for name in dir(culet.Model) if not name.startswith("_")}
    assert public <= {name for name in dir(culet.AsyncModel)}


def test_the_options_as_keywords_are_the_fields() -> None:
    from culet.config import GenerationOptions, ModelOptions

    for options, config in (
        (GenerationOptions, culet.GenerationConfig),
        (ModelOptions, culet.ModelConfig),
    ):
        assert list(options.__annotations__) == list(config.__dataclass_fields__)
        for name, field in config.__dataclass_fields__.items():
            assert options.__annotations__[name].__forward_arg__ == field.type, name


def test_the_stub_of_the_extension_names_what_is_there() -> None:
    from culet import _culet

    stub = (ROOT / "python" / "culet" / "_culet.pyi").read_text()
    inside: dict[str, set[str]] = {}
    top: set[str] = set()
    current = ""
    for line in stub.splitlines():
        if match := re.match(r"(class|def) (\w+)", line):
            current = match[2]
            top.add(current)
        elif match := re.match(r"    (?:def )?(\w+)[(:]", line):
            inside.setdefault(current, set()).add(match[1])
    assert top == {name for name in dir(_culet) if not name.startswith("__")}
    for name in top:
        thing = getattr(_culet, name)
        if inspect.isclass(thing):
            members = {member for member in vars(thing) if not member.startswith("_")}
            assert {m for m in inside.get(name, set()) if not m.startswith("_")} == members, name


def test_types_are_strict(tmp_path: Path) -> None:
    use = tmp_path / "use.py"
    use.write_text(
        'import culet\n'
        'model = culet.Model("pebble", context=512)\n'
        'reveal_type(model.generate("hi", temperature=0.5).usage.prompt_tokens)\n'
        'for event in model.stream([{"role": "user", "content": "hi"}], stop=["a"]):\n'
        '    if event.type == "text":\n'
        '        reveal_type(event)\n'
        'model.generate("hi", temprature=1)\n'
        'model.generate("hi", temperature="hot")\n'
        'culet.Model("pebble", contxt=1)\n'
    )
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    environment.pop("PYTHONPATH", None)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    # All of it; and what `import culet` brings, for the oldest Python.
    for version, what in (("3.13", "-p"), ("3.10", "-m")):
        package = [*mypy, "--python-version", version, what, "culet"]
        done = subprocess.run(package, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([*mypy, str(use)], capture_output=True, text=True, env=environment)
    assert 'Revealed type is "builtins.int"' in done.stdout or 'Revealed type is "int"' in done.stdout
    assert re.search(r'use.py:6: note: Revealed type is "culet.results.TextEvent"', done.stdout), done.stdout
    wrong = [int(line) for line in re.findall(r"use.py:(\d+): error", done.stdout)]
    assert wrong == [7, 8, 9], done.stdout


def test_the_readmes_example_is_two_lines_and_runs() -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.S | re.M)
    assert blocks, "README.md has no example in Python"
    example = blocks[0]
    assert len(example.splitlines()) == 2
    run_block(example)


def test_the_papers_examples_run() -> None:
    paper = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python test\n(.*?)^```$", paper, re.S | re.M)
    assert len(blocks) >= 5
    for block in blocks:
        run_block(block)


def run_block(block: str) -> str:
    """With the demo model in the place of one that would have to be fetched."""
    environment = {**os.environ, "CULET_MODEL": str(PEBBLE), "HF_HUB_OFFLINE": "1"}
    block = re.sub(r'(Model|Tokenizer|memory_plan)\("e2b"', r'\1("pebble"', block)
    with tempfile.TemporaryDirectory() as folder:  # some write into the folder where they run
        done = subprocess.run(
            [sys.executable, "-c", block],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            cwd=folder,
        )
    assert done.returncode == 0, block + done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(example: Path) -> None:
    environment = {**os.environ, "CULET_MODEL": str(PEBBLE), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() and done.stderr == ""
    said = re.search(r'^# Prints: (.*)$', example.read_text(), re.M)
    if said:
        assert said[1] in done.stdout, done.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
    stream = io.StringIO()
    for example in EXAMPLES:
        stream.write(example.read_text())
    for word in ("AsyncModel", "stream", "chat", "tools", "count_tokens", "embed"):
        assert word in stream.getvalue()
