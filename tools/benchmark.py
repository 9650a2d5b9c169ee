"""Measures culet through its Python package, and compares with a run of before.

    tools/benchmark.py                                  every mode on the bundled demo model
    tools/benchmark.py e2b --modes generation --rounds 10 --out run.json
    tools/benchmark.py --baseline run.json --limit tokens_per_s=10 --limit ttft_p50_ms=20

Needs the package: pip install . , or PYTHONPATH=build/release/python after `make test`. The command
(CULET_PROGRAM, else build/release/culet) measures what the machine could do at most, before and
after. Exit codes: 0, 1 where a limit of the comparison is passed, 2 for what cannot be run.
"""

import argparse
import json
import os
import pathlib
import sys

import benchmark_report as report

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODES = ("generation", "embedding", "tokenizer", "overhead")
# By how many per cent a figure may be worse than the baseline's.
LIMITS = {"tokens_per_s": 10.0, "ttft_p50_ms": 15.0, "p50_ms": 15.0, "peak_memory_bytes": 10.0}


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def limit(text):
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(LIMITS)}")
    try:
        percent = float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {name}=PERCENT") from None
    if not 0 <= percent < 1000:
        raise argparse.ArgumentTypeError(f"{text!r}: {percent} per cent cannot be a limit")
    return name, percent


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="pebble",
                        help="as for culet.Model: a path, a name of the hub, a bundled model (%(default)s)")
    parser.add_argument("--modes", default=",".join(MODES), help="of %(default)s")
    parser.add_argument("--rounds", type=positive, default=5, help="that are measured (%(default)s)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before, not counted (%(default)s)")
    parser.add_argument("--corpus", type=pathlib.Path, default=ROOT / "tools" / "benchmark_corpus.txt",
                        help="one prompt a line")
    parser.add_argument("--max-tokens", type=positive, default=64, help="of an answer (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are CPUs")
    parser.add_argument("--context", type=int, default=0, help="0: as the model comes")
    parser.add_argument("--out", type=pathlib.Path, help="writes the figures as JSON")
    parser.add_argument("--svg", type=pathlib.Path, help="writes a chart")
    parser.add_argument("--baseline", type=pathlib.Path, help="JSON of an earlier run, to compare with")
    parser.add_argument("--limit", type=limit, action="append", default=[], metavar="NAME=PERCENT",
                        help="how much worse than the baseline is too much: "
                        + ", ".join(f"{name}={value:g}" for name, value in LIMITS.items()))
    options = parser.parse_args()
    options.modes = [mode.strip() for mode in options.modes.split(",") if mode.strip()]
    for mode in options.modes:
        if mode not in MODES:
            parser.error(f"--modes: {mode!r} is none of {', '.join(MODES)}")
    if not options.modes:
        parser.error("--modes: none is named")
    if options.warmup < 0:
        parser.error(f"--warmup is {options.warmup}; it must be 0 or more")
    return options


def lines_of(path):
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{path} has no prompts; expected one a line")
    return lines


def measure(options):
    import culet  # not above: --help does without

    import benchmark_modes as modes

    try:
        with modes.Bench(options, lines_of(options.corpus), ROOT) as bench:
            return bench.run()
    except culet.Error as error:
        raise RuntimeError(str(error)) from error


def main():
    options = arguments()
    try:
        baseline = None
        if options.baseline:
            baseline = report.load(options.baseline)
        result = measure(options)
        if options.out:
            options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        if options.svg:
            options.svg.write_text(report.chart(result, baseline), encoding="utf-8")
    except ImportError as error:
        sys.exit(f"benchmark: {error}. Install the package (pip install .), or set "
                 "PYTHONPATH=build/release/python after `make test`") if error.name in (
                     "culet", "numpy") else sys.exit(f"benchmark: {error}")
    except (OSError, ValueError, RuntimeError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    print(report.text(result))
    if baseline is None:
        return 0
    rows, too_much = report.compare(result, baseline, LIMITS | dict(options.limit))
    print(report.comparison(rows, result, baseline))
    return 1 if too_much else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
