#!/usr/bin/env bash
# Runs the micro-benchmarks that are built and `culet bench` on the demo model. Called by `make bench`.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in build/release/bench/bench_*; do
  if [[ -x $program && -f $program ]]; then
    echo "== $(basename "$program")"
    "$program"
  fi
done
echo "== culet bench models/pebble"
build/release/culet bench models/pebble
