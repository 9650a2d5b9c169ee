#!/bin/sh
# run_python_test.sh PYTHON SCRIPT [ARGUMENTS]: runs a test that is written in Python, or says plainly
# that it skips (status 77) where there is no such interpreter. CULET_PYTHON in the environment wins.
python=${CULET_PYTHON:-$1}
shift
if ! [ -x "$python" ]; then
  echo "SKIPPED: no Python at $python; make test installs one, CULET_PYTHON names another"
  exit 77
fi
exec "$python" "$@"
