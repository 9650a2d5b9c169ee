#!/usr/bin/env bash
# clang-tidy over the sources that differ from the main branch (committed or not).
#
#   tools/tidy.sh                 against the merge base with origin/main, or the last commit
#   tools/tidy.sh COMMIT          against COMMIT
#   tools/tidy.sh --all           every source
#
# The compile commands come from a folder of its own, build/tidy, which is configured and not built: a
# compiler launcher (ccache) in them would keep clang-tidy from seeing the include paths.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=clang-tidy-14
command -v "$tool" >/dev/null || tools/install_deps.sh tidy

if [[ ${1:-} == --all ]]; then
  mapfile -t files < <(git ls-files -- 'src/*.cc' 'tests/*.cc')
else
  base=${1:-$(git merge-base HEAD origin/main 2>/dev/null || echo HEAD)}
  [[ $(git rev-parse "$base") != $(git rev-parse HEAD) || -n $(git status --porcelain) ]] || base=HEAD~1
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base" -- 'src/*.cc' 'tests/*.cc'
                         git ls-files --others --exclude-standard -- 'src/*.cc' 'tests/*.cc'; } | sort -u)
fi
mkdir -p build
if ((${#files[@]} == 0)); then
  echo "tidy: no source differs"
  exit 0
fi
echo "tidy: ${#files[@]} files"
cmake -S . -B build/tidy -G Ninja -DCMAKE_BUILD_TYPE=Release -DCULET_TESTS=ON \
  -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >build/tidy.log 2>&1 || { cat build/tidy.log; exit 1; }
# g++'s own warning options are none that clang knows in every version.
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 1 "$tool" -p build/tidy --quiet --extra-arg=-Wno-unknown-warning-option
