#!/usr/bin/env bash
# Plants bugs and shows that the suite catches each: builds every wrong variant that
# tools/mutations.toml lists, in a copy of the source, and runs the tests that must notice it.
#
#   tools/mutate.sh                 all of them
#   tools/mutate.sh NAME...         some
#   tools/mutate.sh --list          their names
#
# Exit 0: every variant made a test fail. A rule whose text is no longer in the source is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install_deps.sh test
tools/python_env.sh
exec .venv/bin/python tools/mutate.py "$@"
