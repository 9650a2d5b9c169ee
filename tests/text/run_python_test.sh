#!/bin/sh
# run_python_test.sh PYTHON SCRIPT [ARGUMENTS]: runs a test that is written in Python, or says plainly
# that it skips (status 77) where there is no such interpreter or package. CULET_PYTHON in the
# environment wins. In continuous integration (CI=true) all of them are there: a skip fails.
python=${CULET_PYTHON:-$1}
shift
if [ -x "$python" ]; then
  "$python" "$@"
  status=$?
else
  echo "SKIPPED: no Python at $python; make test installs one, CULET_PYTHON names another"
  status=77
fi
if [ "$status" = 77 ] && [ "${CI:-}" = true ]; then
  echo "FAILED: CI=true, where nothing may skip"
  exit 1
fi
exit "$status"
