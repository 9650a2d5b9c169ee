"""If this fails, tools/benchmark.py measures something else than it says, or hides that it became worse."""

import copy
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import benchmark  # noqa: E402
import benchmark_report as report  # noqa: E402


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "tools" / "benchmark.py"), *options],
                          capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, pathlib.Path]:
    folder = tmp_path_factory.mktemp("benchmark")
    corpus = folder / "corpus.txt"
    corpus.write_text("# two prompts\nWhat is 27 + 45?\nWhat is 7 * 8?\n")
    done = run("--rounds", "2", "--corpus", str(corpus), "--out", str(folder / "a.json"),
               "--svg", str(folder / "a.svg"))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "a.json").read_text()), folder


def test_every_mode_is_measured_and_counts_what_was_done(measured) -> None:
    result, _ = measured
    modes = {entry["mode"]: entry for entry in result["results"]}
    assert list(modes) == list(benchmark.MODES)
    for entry in modes.values():
        assert 0 < entry["p50_ms"] <= entry["p95_ms"]
    answers = modes["generation"]
    assert answers["requests"] == 4 and answers["tokens"] >= 4
    assert answers["prompt_tokens"] > 4 * 10  # the template's tokens too
    assert 0 < answers["ttft_p50_ms"] <= answers["p95_ms"]
    assert 0 < answers["ratio_to_bandwidth"] < 10
    assert modes["tokenizer"]["bytes"] > 900_000
    assert modes["overhead"]["engine_ms"] < modes["overhead"]["p50_ms"]
    assert result["peak_memory_bytes"] > 1 << 20
    assert result["machine"]["threads"] >= 1 and result["machine"]["read_gb_s"] > 0


def test_the_chart_shows_every_mode(measured) -> None:
    _, folder = measured
    tree = xml.etree.ElementTree.parse(folder / "a.svg")
    words = " ".join(element.text or "" for element in tree.iter())
    for mode in benchmark.MODES:
        assert mode in words


def test_a_baseline_that_was_faster_is_told_and_fails(measured) -> None:
    result, folder = measured
    better = copy.deepcopy(result)
    for entry in better["results"]:
        entry["p50_ms"] /= 1000
    (folder / "better.json").write_text(json.dumps(better))
    done = run("--rounds", "1", "--modes", "tokenizer", "--baseline", str(folder / "better.json"))
    assert done.returncode == 1, done.stderr
    assert "tokenizer p50_ms" in done.stdout and "worse by more than 15%" in done.stdout
    done = run("--rounds", "1", "--modes", "tokenizer", "--limit", "p50_ms=999",
               "--limit", "tokens_per_s=99.9", "--limit", "peak_memory_bytes=900",
               "--baseline", str(folder / "a.json"))
    assert done.returncode == 0, done.stdout


def test_limits_hold_in_both_directions() -> None:
    entry = {"mode": "generation", "tokens_per_s": 100.0, "p50_ms": 10.0, "ttft_p50_ms": 5.0}
    old = {"results": [entry], "peak_memory_bytes": 100}
    for name, value, fails in (("tokens_per_s", 89.0, True), ("tokens_per_s", 91.0, False),
                               ("tokens_per_s", 500.0, False), ("p50_ms", 11.6, True),
                               ("p50_ms", 11.4, False), ("p50_ms", 1.0, False),
                               ("ttft_p50_ms", 5.8, True)):
        new = {"results": [entry | {name: value}], "peak_memory_bytes": 100}
        assert report.compare(new, old, benchmark.LIMITS)[1] is fails, (name, value)
    worse = {"results": [entry], "peak_memory_bytes": 120}
    assert report.compare(worse, old, benchmark.LIMITS)[1]


@pytest.mark.parametrize("options, says", [
    (["--modes", "speed"], "'speed' is none of"),
    (["--rounds", "0"], "--rounds"),
    (["--limit", "colour=1"], "'colour' is none of"),
    (["--limit", "p50_ms=much"], "PERCENT"),
    (["--baseline", "/nonexistent.json"], "/nonexistent.json"),
    (["--corpus", "/nonexistent.txt"], "/nonexistent.txt"),
    (["no-such-model"], "no-such-model"),
])
def test_what_cannot_be_run_is_named(options: list[str], says: str) -> None:
    done = run(*options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_file_that_is_no_result_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.json").write_text('{"results": 3}')
    done = run("--baseline", str(tmp_path / "x.json"))
    assert done.returncode == 2 and "no result of tools/benchmark.py" in done.stderr
