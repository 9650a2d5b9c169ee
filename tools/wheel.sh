#!/usr/bin/env bash
# Builds a wheel of the Python package for one Python, puts the shared libraries that it needs into it, and
# tests it in a clean environment that has nothing but NumPy.
#
#   tools/wheel.sh               for /usr/bin/python3
#   PYTHON=python3.12 tools/wheel.sh
#
# The engine is not compiled again: the extension is linked with build/release/lib/libculet.a, which
# `make wheel` builds before. The wheel lies in build/wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-/usr/bin/python3}
library=$PWD/build/release/lib/libculet.a
[[ -e $library ]] || { echo "wheel: $library is not there; use make wheel" >&2; exit 1; }

tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])') ||
  { echo "wheel: $python is no Python; name one: make wheel PYTHON=python3.12" >&2; exit 1; }
work=build/wheel/$tag
tools=$work/tools
echo "wheel: for $("$python" --version), by way of $work"
if ! cmp -s tools/requirements-wheel.txt "$tools/.requirements"; then
  "$python" -m venv --clear "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    -r tools/requirements-wheel.txt
  # scikit-build-core reads pyproject.toml with it where Python does not yet.
  "$tools/bin/python" -c 'import tomllib' 2>/dev/null ||
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check tomli exceptiongroup
  cp tools/requirements-wheel.txt "$tools/.requirements"
fi

rm -rf "$work/raw" "$work/repaired"
PATH=$PWD/$tools/bin:$PATH "$tools/bin/python" -m pip wheel . --quiet --disable-pip-version-check \
  --no-deps --no-build-isolation --wheel-dir "$work/raw" \
  --config-settings "build-dir=$work/build" --config-settings "cmake.define.CULET_LIBRARY=$library"
PATH=$PWD/$tools/bin:$PATH "$tools/bin/python" -m auditwheel repair --wheel-dir "$work/repaired" \
  "$work"/raw/*.whl
wheel=$(echo "$work"/repaired/*.whl)

clean=$work/clean
"$python" -m venv --clear "$clean"
"$clean/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel"
env -u PYTHONPATH -i HOME="$PWD/$work" PATH=/usr/bin:/bin HF_HUB_OFFLINE=1 \
  "$clean/bin/python" -I tools/check_wheel.py

mkdir -p build/wheels
cp "$wheel" build/wheels/
echo "wheel: build/wheels/$(basename "$wheel") ($(du -h "$wheel" | cut -f1))"
