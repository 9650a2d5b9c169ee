#!/usr/bin/env bash
# Runs the tests of the ops on CPUs that this machine is not, under qemu-user. `make test-qemu` builds
# what it runs and calls it.
#
#   tools/qemu.sh            all of it
#   tools/qemu.sh --short    what continuous integration has time for
#
# On 64-bit ARM: every kernel of level neon, by the same tests as the others. On an x86-64 without AVX:
# that nothing outside of the chosen kernels uses it. On one with AVX2 and no AVX-512: the same of what
# is above. It prints how many tests ran at which level, and fails where the levels are not the ones
# that the CPU should have.
set -euo pipefail
cd "$(dirname "$0")/.."

short=no
case ${1:-} in
  '') ;;
  --short) short=yes ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac

jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
export logs
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# on CPU LEVELS PROGRAM [ARGUMENT...]: runs it on an emulated CPU, which must have just these LEVELS.
on() {
  local cpu=$1 expected=$2 program=$3
  shift 3
  local emulator=(qemu-x86_64 -cpu "$cpu")
  if [[ $cpu == aarch64 ]]; then emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu); fi
  local name log seconds=$SECONDS status=0
  name=$(basename "$program")
  log="$logs/$cpu-$name"
  "${emulator[@]}" "$program" "$@" >"$log" 2>&1 || status=$?
  if ((status != 0)); then
    cat "$log"
    echo "qemu: $name failed on $cpu with status $status (132: an instruction that it does not have)"
    return 1
  fi
  # Tests that run once a level end in its name; culet_checkops begins its lines with it.
  local counts
  counts=$(awk '/^\[       OK \] .*\// { sub(/ \(.*/, ""); sub(/.*\//, ""); n[$0]++ }
                / ok$/ && NF == 3 { n[$1]++ }
                END { for (level in n) print level, n[level] }' "$log" |
           grep -E '^(plain|neon|avx2|avx512|avx512vnni|avx512bf16|amx) ' | sort || true)
  printf '%-9s %-26s %3d s  %s\n' "$cpu" "$name" $((SECONDS - seconds)) \
    "$(tr '\n' ',' <<<"$counts" | sed 's/,$//; s/,/, /g')"
  local found
  found=$(cut -d' ' -f1 <<<"$counts" | tr '\n' ' ' | sed 's/ $//')
  # culet_checkops compares with plain and does not name it.
  if [[ $name == culet_checkops ]]; then expected=${expected#plain}; expected=${expected# }; fi
  if [[ $name == ops_* || $name == culet_checkops ]] && [[ $found != "$(tr ' ' '\n' <<<"$expected" | sort | tr '\n' ' ' | sed 's/ $//')" ]]; then
    echo "qemu: $name ran at levels \"$found\" on $cpu, which should have \"$expected\""
    return 1
  fi
}
export -f on

# all CPU LEVELS PROGRAM...: each once, several at a time.
all() {
  local cpu=$1 levels=$2
  shift 2
  printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'on "$@"' _ "$cpu" "$levels" {}
}

# The bundled model answers on an emulated CPU as it does here with portable kernels.
answer_on() {
  local cpu=$1 question="What is 34 + 58?" seconds=$SECONDS here there
  here=$(CULET_CPU=plain build/release/culet run models/pebble "$question" --temperature 0)
  there=$(qemu-x86_64 -cpu "$cpu" build/release/culet run models/pebble "$question" --temperature 0)
  printf '%-9s %-26s %3d s  %s\n' "$cpu" "culet run" $((SECONDS - seconds)) "$there"
  if [[ $here != "$there" ]]; then
    echo "qemu: culet answers \"$there\" on $cpu, and \"$here\" on this machine"
    return 1
  fi
}

ops=(matmul quantized_matmul attention rows encoder moe level)
x86_tests=("${ops[@]/#/build/release/tests/ops/ops_}")
x86_tests=("${x86_tests[@]/%/_test}" build/release/tests/ops/culet_checkops)
arm_tests=("${x86_tests[@]/#build\/release/build/aarch64}")

if [[ $short == no ]]; then arm_tests+=(build/aarch64/tests/base/base_*_test); fi
all aarch64 "plain neon" "${arm_tests[@]}"

all Nehalem plain "${x86_tests[@]}"
answer_on Nehalem
if [[ $short == no ]]; then
  all Haswell "plain avx2" "${x86_tests[@]}"
  answer_on Haswell
fi
echo "qemu: all of it passed"
