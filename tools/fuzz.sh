#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for a while, one after the other.
#
#   tools/fuzz.sh            every target
#   tools/fuzz.sh TARGET…    these: the names of tests/fuzz/*_fuzz.cc without "_fuzz.cc"
#
# FUZZ_SECONDS (60) is the time of each target. Inputs that reach new code gather in
# build/fuzz/corpus/TARGET and are used again the next time; what fails is left in
# build/fuzz/found/TARGET-*. A found case that is mended belongs into tests/fuzz/corpus/TARGET, under
# a name that says what it is: `make test` runs those.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then
  echo "fuzz: FUZZ_SECONDS is \"$seconds\"; expected a whole number of seconds" >&2
  exit 2
fi
targets=("$@")
if ((${#targets[@]} == 0)); then
  for file in tests/fuzz/*_fuzz.cc; do
    name=${file##*/}
    targets+=("${name%_fuzz.cc}")
  done
fi

mkdir -p build/fuzz/found
failed=()
for target in "${targets[@]}"; do
  program=build/fuzz/tests/fuzz/fuzz_$target
  if [[ ! -x $program ]]; then
    echo "fuzz: there is no target \"$target\"" >&2
    exit 2
  fi
  own=build/fuzz/corpus/$target
  log=build/fuzz/$target.log
  mkdir -p "$own"
  if "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -malloc_limit_mb=1500 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/found/$target-" \
    "$own" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
    printf 'fuzz: %-18s %10s runs, %6s inputs kept, nothing found\n' "$target" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$(find "$own" -type f | wc -l)"
  else
    failed+=("$target")
    printf 'fuzz: %-18s FAILED; the end of %s:\n' "$target" "$log"
    tail -n 25 "$log"
  fi
done
if ((${#failed[@]})); then
  echo "fuzz: failed: ${failed[*]}" >&2
  exit 1
fi
