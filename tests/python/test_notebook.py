"""If this fails, the notebook does not run, or does not give what it shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

NOTEBOOK = ROOT / "examples" / "python" / "culet.ipynb"


def run(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tools" / "notebook.py"), str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
    )


def test_the_notebook_gives_what_it_shows() -> None:
    done = run(NOTEBOOK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_the_notebook_is_one() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities) > 10
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len([cell for cell in code if cell["outputs"]]) > 6
    source = "".join("".join(cell["source"]) for cell in code)
    for word in ("generate", "stream", "chat", "tools=", "await", "embed", "memory_plan"):
        assert word in source, word


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"72\\n"', '"73\\n"', "code cell 2 gives something else"),
        ("model.generate", "model.generat", "AttributeError"),
    ],
)
def test_a_notebook_that_is_wrong_is_noticed(was: str, now: str, said: str, tmp_path: Path) -> None:
    text = NOTEBOOK.read_text()
    assert was in text
    wrong = tmp_path / "wrong.ipynb"
    wrong.write_text(text.replace(was, now, 1))
    done = run(wrong)
    assert done.returncode != 0 and said in done.stdout + done.stderr
