"""If this fails, culet.quantize writes or tells something else than the command, leaves something behind, or
copies of the cache are shown or removed that are not meant."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import culet
from conftest import PEBBLE, check_clean, run_python

TEXT = "<bos><|turn>user\nWhat is 27 + 45?<turn|>\n<|turn>model\n72<turn|>\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_is_what_the_command_writes(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    result = culet.quantize(
        PEBBLE,
        tmp_path / "q",
        to="int4",
        group=64,
        keep={"attention": "int8", "mlp": "bf16"},
        calibration=TEXT,
        report="classes",
        report_text=TEXT,
        force=True,
        threads=2,
        on_progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    assert result.folder == tmp_path / "q"
    assert {stage for stage, _, _ in stages} <= {"calibrating", "quantising", "measuring"}
    assert stages and all(0 <= done <= total for _, done, total in stages)
    text = tmp_path / "text"
    text.write_text(TEXT)
    made = subprocess.run(
        [os.environ["CULET_PROGRAM"], "quantize", str(PEBBLE), str(tmp_path / "c")]
        + ["--to", "int4", "--group", "64", "--keep", "attention=int8", "--keep", "mlp"]
        + ["--calibration", str(text), "--report", "classes", "--report-text", str(text)]
        + ["--force", "--threads", "2"],
        capture_output=True,
    )
    assert made.returncode == 0, made.stderr
    for name in names(tmp_path / "c"):
        assert (tmp_path / "q" / name).read_bytes() == (tmp_path / "c" / name).read_bytes(), name
    # And the result is what the report says.
    report = json.loads((tmp_path / "q" / "quantization.json").read_text())
    assert (result.bytes, result.source_bytes) == (report["bytes"], report["source_bytes"])
    assert result.report_tokens == report["report"]["tokens"]
    assert result.quality is not None
    assert vars(result.quality) == report["report"]["quality"]
    assert result.notes == tuple(report["notes"])
    for part, row in zip(result.classes, report["classes"], strict=True):
        assert (part.part, part.format, part.parameters) == (row["class"], row["format"], row["parameters"])
        assert (part.source_bytes, part.bytes) == (row["source_bytes"], row["bytes"])
        assert (part.quality and vars(part.quality)) == row.get("quality")
    assert {part.part: part.format for part in result.classes}["mlp"] == "as it was"
    with culet.Model(result.folder, threads=1) as model:
        assert model.info.dtype in ("INT4", "INT8")  # of most bytes


def test_int8_answers_as_its_source_and_a_name_is_a_name(
    tmp_path: Path, model: culet.Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "culet")
    monkeypatch.chdir(tmp_path)
    result = culet.quantize("pebble", "q8", report="none")
    assert result.quality is None and result.report_tokens == 0
    assert all(part.quality is None for part in result.classes)
    assert result.bytes < 0.7 * result.source_bytes
    assert caplog.messages[0] == "pebble is written as int8 to q8"
    assert caplog.messages[-1].startswith("q8 is there: ")
    with culet.Model("q8", threads=2) as copy:
        asked = "What is 27 + 45?"
        assert copy.generate(asked, temperature=0).text == model.generate(asked, temperature=0).text


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"to": "int3"}, culet.InvalidArgumentError, 'to is "int3"'),
        ({"to": 8}, TypeError, "to is 8"),
        ({"group": 64}, culet.InvalidArgumentError, "which int8 does not take"),
        ({"to": "int4", "group": 48}, culet.InvalidArgumentError, "32, 64 or 128"),
        ({"group": -1}, culet.InvalidArgumentError, "group is -1"),
        ({"keep": {"heads": "bf16"}}, culet.InvalidArgumentError, "embedding, per-layer-embedding"),
        ({"keep": {"mlp": "int3"}}, culet.InvalidArgumentError, 'keep\\["mlp"\\] is "int3"'),
        ({"keep": ["mlp"]}, TypeError, "keep is"),
        ({"calibration": ""}, culet.InvalidArgumentError, "calibration is an empty text"),
        ({"report_text": b"a"}, TypeError, "report_text is"),
        ({"report_text": "<bos>"}, culet.InvalidArgumentError, "report_text has no two tokens"),
        ({"report": "long"}, culet.InvalidArgumentError, 'report is "long"'),
        ({"force": 1}, TypeError, "force is 1"),
        ({"threads": -1}, culet.InvalidArgumentError, "threads is -1"),
        ({"on_progress": 5}, TypeError, "on_progress is 5"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    options: dict[str, Any], kind: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=says):
        culet.quantize(PEBBLE, tmp_path / "q", **options)
    assert names(tmp_path) == []


def test_models_and_folders_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(culet.NotFoundError, match="nosuch"):
        culet.quantize("nosuch", tmp_path / "q")
    with pytest.raises(culet.InvalidArgumentError, match="no name"):
        culet.quantize(PEBBLE, "")
    with pytest.raises(TypeError, match="out is 5"):
        culet.quantize(PEBBLE, 5)  # type: ignore[arg-type]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    with pytest.raises(culet.InvalidArgumentError, match="is there already"):
        culet.quantize(PEBBLE, tmp_path / "there")
    assert names(tmp_path / "there") == ["file"]
    once = culet.quantize(PEBBLE, tmp_path / "once", report="none").folder
    with pytest.raises(culet.UnsupportedError, match="quantised already"):
        culet.quantize(once, tmp_path / "twice")
    assert names(tmp_path) == ["once", "there"]


@pytest.mark.parametrize("stage", ["calibrating", "quantising", "measuring"])
def test_what_on_progress_raises_ends_it_and_leaves_nothing(stage: str, tmp_path: Path) -> None:
    def stop(now: str, _done: int, _total: int) -> None:
        if now == stage:
            raise KeyError(now)

    with pytest.raises(KeyError, match=stage):
        culet.quantize(
            PEBBLE, tmp_path / "q", to="int4", calibration=TEXT * 40, report_text=TEXT * 40, on_progress=stop
        )
    assert names(tmp_path) == []


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    import _thread

    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        # Minutes of it.
        culet.quantize(
            PEBBLE, tmp_path / "q", report_text=TEXT * 2000, on_progress=lambda *_: begun.set()
        )
    thread.join()
    assert names(tmp_path) == []


def test_an_end_in_the_last_moment_leaves_nothing(tmp_path: Path) -> None:
    # What is told last is told when all is written.
    def stop(_stage: str, done: int, total: int) -> None:
        while done == total and not (tmp_path / "q").exists():
            time.sleep(0.01)
        if (tmp_path / "q").exists():
            raise KeyError("late")

    with pytest.raises(KeyError, match="late"):
        culet.quantize(PEBBLE, tmp_path / "q", report="none", on_progress=stop)
    assert names(tmp_path) == []


def test_others_run_meanwhile(tmp_path: Path) -> None:
    ended = threading.Event()

    def work() -> None:
        culet.quantize(PEBBLE, tmp_path / "q", report="whole", report_text=TEXT * 100, threads=1)
        ended.set()

    thread = threading.Thread(target=work)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    while not ended.is_set():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    # It takes a second at the least, on a machine with nothing else to do.
    assert longest < 0.5


def test_the_interpreter_ends_while_a_thread_quantises(tmp_path: Path) -> None:
    check_clean(
        run_python(
            f"""
            import threading, culet
            begun = threading.Event()
            def work():
                culet.quantize({str(PEBBLE)!r}, {str(tmp_path / "q")!r}, report_text={TEXT!r} * 2000,
                               on_progress=lambda *_: begun.set())
            threading.excepthook = lambda _: None
            threading.Thread(target=work, daemon=True).start()
            begun.wait()
            print("ok")
            """,
            CULET_PYTHON_LEAKS="",
        )
    )
    assert names(tmp_path) == []


def test_a_terminal_is_shown_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        text = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    culet.quantize(PEBBLE, tmp_path / "q", report="whole", report_text=TEXT * 20)
    monkeypatch.undo()
    assert "culet: measuring" in terminal.text and "100%" in terminal.text
    assert terminal.text.endswith("\n")


# ---- Copies of the cache ----


def test_copies_are_listed_and_removed(tmp_path: Path) -> None:
    assert culet.quantized_copies() == []
    with culet.Model(PEBBLE, quant="int8", threads=1) as model:
        culet.Model("pebble", quant="int4", threads=1).close()
        eight, four = sorted(culet.quantized_copies("pebble"), key=lambda copy: copy.to, reverse=True)
        assert (eight.to, four.to) == ("int8", "int4")
        assert eight.model == str(PEBBLE) and eight.source == PEBBLE and eight.state == "current"
        size = sum(file.stat().st_size for file in eight.folder.iterdir())
        assert eight.bytes == pytest.approx(size, abs=4096 * len(names(eight.folder)))
        assert culet.remove_quantized_copy(eight) == eight.bytes
        assert culet.quantized_copies() == [four]
        # Who has it open goes on.
        assert model.generate("What is 27 + 45?", temperature=0).text == "72"
    assert culet.remove_quantized_copy(four.folder) == four.bytes
    assert culet.quantized_copies() == []
    assert names(four.folder.parent) == []
    with pytest.raises(culet.NotFoundError, match="is no quantised copy"):
        culet.remove_quantized_copy(four)
    with pytest.raises(culet.InvalidArgumentError, match="is no folder of the cache"):
        culet.remove_quantized_copy(PEBBLE)
    with pytest.raises(TypeError, match="copy is 5"):
        culet.remove_quantized_copy(5)  # type: ignore[arg-type]
    with pytest.raises(culet.NotFoundError, match="quantized_copies"):
        culet.quantized_copies("nosuch")
