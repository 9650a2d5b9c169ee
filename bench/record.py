"""Measures a model with `culet bench` and adds a line for each figure to bench/history.csv.

    bench/record.py e2b e2b-int8 e2b-int4 --prefill 512 --decode 64 --context 128,4096
    bench/record.py e2b --note "attention by blocks of 256"

Models are measured one after the other; further options go to `culet bench` as they are. Every line has
the limit that was measured around its runs (GB/s read, or Gflop/s; medians) and the ratio to it, which is
what lines of different days and machines can be compared by. Up to commit fc87dc7 limits were measured
before and after a run of tokens only, and limit_value was the median of all the runs of a model. Up to
53308a8 the read rate was that of the embedding's weights alone. Exit codes: 0; 2 for what cannot be run.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CULET = os.environ.get("CULET_PROGRAM", str(ROOT / "build" / "release" / "culet"))
HISTORY = ROOT / "bench" / "history.csv"
FIELDS = ["date", "commit", "cpu", "level", "threads", "model", "dtype", "kind", "context", "tokens", "users",
          "tokens_per_s", "limit", "limit_value", "ratio", "note"]


def commit():
    """The commit that is checked out, with "+" where files differ from it."""
    def git(*command):
        return subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=False)
    found = git("rev-parse", "--short", "HEAD")
    if found.returncode != 0:
        return ""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/history.csv")
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def rows(found, common):
    machine = found["machine"]
    common = {**common, "cpu": machine["cpu"], "level": machine["level"], "threads": machine["threads"],
              "model": found["model"]["variant"], "dtype": found["model"]["dtype"]}
    for run in found["prefill"]:
        yield {**common, "kind": "prefill", "context": 0, "tokens": run["tokens"], "users": 1,
               "tokens_per_s": round(run["tokens_per_s"], 3), "limit": "Gflop/s",
               "limit_value": round(run["peak_gflops"], 1), "ratio": round(run["ratio_to_peak"], 4)}
    for run in found["decode"]:
        yield {**common, "kind": "decode", "context": run["context"], "tokens": run["tokens"], "users": 1,
               "tokens_per_s": round(run["tokens_per_s"], 3), "limit": "GB/s",
               "limit_value": round(run["read_gb_s"], 2), "ratio": round(run["ratio_to_bandwidth"], 4)}
    for run in found["users"]:
        yield {**common, "kind": "users", "context": run["context"], "tokens": run["tokens"],
               "users": run["users"], "tokens_per_s": round(run["tokens_per_s"], 3), "limit": "one user",
               "limit_value": 1, "ratio": round(run["ratio_to_one"], 4)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--note", default="", help="what this run is for")
    parser.add_argument("--history", type=pathlib.Path, default=HISTORY, help="the file to add to (%(default)s)")
    arguments, options = parser.parse_known_args()
    common = {"date": datetime.date.today().isoformat(), "commit": commit(), "note": arguments.note}
    for model in arguments.models:
        try:
            done = subprocess.run([CULET, "bench", model, "--json", *options], stdout=subprocess.PIPE, text=True,
                                  check=False)
        except OSError as error:
            print(f"record.py: {CULET}: {error.strerror}; build culet, or name it in CULET_PROGRAM",
                  file=sys.stderr)
            return 2
        if done.returncode != 0:
            return 2  # culet has said why
        added = list(rows(json.loads(done.stdout), common))
        new = not arguments.history.exists()
        with open(arguments.history, "a", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if new:
                table.writeheader()
            table.writerows(added)
        for row in added:
            print(f"{model}: {row['kind']} {row['context']}+{row['tokens']}, {row['users']} users: "
                  f"{row['tokens_per_s']} tokens/s, {row['ratio']} of {row['limit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
