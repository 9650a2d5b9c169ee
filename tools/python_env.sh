#!/usr/bin/env bash
# Makes the virtual environment .venv with what the tests need (tools/requirements-test.txt), once:
# again only when that list has changed. No torch, no transformers.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tools/requirements-test.txt
stamp=.venv/.requirements
if cmp -s "$requirements" "$stamp" && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

# The system's own Python first: it is the one that python3-venv belongs to.
python=${PYTHON:-/usr/bin/python3}
[[ -x $python ]] || python=python3
echo "python_env: making .venv with $("$python" --version)"
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
cp "$requirements" "$stamp"
