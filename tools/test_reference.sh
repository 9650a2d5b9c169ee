#!/usr/bin/env bash
# Makes the goldens anew with transformers and CPU torch, compares them with the committed ones, and
# runs the larger comparisons with build/release/culet (or the command that CULET names).
#
#   tools/test_reference.sh              makes .venv-reference first, once (some hundred MB)
#   tools/test_reference.sh --available  exit 0 where torch can be had without a download
#
# CULET_REFERENCE_PYTHON names a Python that has torch and transformers already.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tools/reference/requirements.txt
environment=.venv-reference
torch=$(grep -E '^torch==' "$requirements")

has_all() {
  "$1" -c 'import torch, transformers, safetensors' >/dev/null 2>&1
}

system_python=${PYTHON:-python3}

find_python() {
  local candidate
  for candidate in "${CULET_REFERENCE_PYTHON:-}" "$environment/bin/python" "$system_python"; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null && has_all "$candidate"; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

# A wheel on this machine's disk that pip finds by its own configuration.
wheel_on_disk() {
  "$system_python" -m pip install --dry-run --quiet --no-index --no-deps --ignore-installed "$torch" \
    >/dev/null 2>&1
}

if [[ ${1:-} == --available ]]; then
  find_python >/dev/null || wheel_on_disk
  exit
fi

if ! python=$(find_python); then
  echo "test_reference: making $environment ($torch and transformers)"
  "$system_python" -m venv --clear "$environment"
  # The CPU build's index is named in the requirements' first lines; a local wheel comes first.
  if ! wheel_on_disk; then
    "$environment/bin/python" -m pip install --quiet \
      --index-url https://download.pytorch.org/whl/cpu "$torch"
  fi
  "$environment/bin/python" -m pip install --quiet -r "$requirements"
  python=$environment/bin/python
fi

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
echo "test_reference: goldens anew, with $("$python" -c 'import torch, transformers
print("torch", torch.__version__, "transformers", transformers.__version__)')"
"$python" tools/reference/compare.py --work build/reference \
  --culet "${CULET:-build/release/culet}"
echo "test_reference: needles in long prompts"
"$python" models/make_needles.py --check
