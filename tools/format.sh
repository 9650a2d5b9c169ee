#!/usr/bin/env bash
# Formats every C++ file of the project in place, or says what would change.
#
#   tools/format.sh            formats
#   tools/format.sh --check    prints the difference and exits 1 if there is one
#
# The version is pinned here and nowhere else: two versions of clang-format disagree.
set -euo pipefail
cd "$(dirname "$0")/.."
version=14

tool=
for name in "clang-format-$version" clang-format; do
  if command -v "$name" >/dev/null && "$name" --version | grep -q "version $version\."; then
    tool=$name
    break
  fi
done
if [[ -z $tool ]]; then
  if [[ ${1:-} == --check && -n ${CULET_FORMAT_OPTIONAL:-} && ${CI:-} != true ]]; then
    echo "format: clang-format $version is not installed; not checked"
    exit 77
  fi
  tools/install_deps.sh format
  tool=clang-format-$version
fi

# What git knows and what it would take; nothing that it ignores.
if [[ -e .git ]]; then
  mapfile -t files < <(git -c safe.directory='*' ls-files --cached --others --exclude-standard -- \
                         '*.h' '*.cc' '*.c' | sort -u)
else
  mapfile -t files < <(find src include tests bench examples tools -name '*.h' -o -name '*.cc' -o -name '*.c' | sort)
fi
existing=()
for file in "${files[@]}"; do
  [[ -e $file ]] && existing+=("$file")
done

case ${1:-} in
  --check)
    wrong=0
    for file in "${existing[@]}"; do
      if ! "$tool" --style=file "$file" | diff -u --label "$file" --label "$file, formatted" "$file" -; then
        wrong=$((wrong + 1))
      fi
    done
    if ((wrong)); then
      echo "format: $wrong of ${#existing[@]} files differ; run 'make format'" >&2
      exit 1
    fi
    echo "format: ${#existing[@]} files are as clang-format $version has them"
    ;;
  '')
    "$tool" --style=file -i "${existing[@]}"
    ;;
  *)
    echo "usage: tools/format.sh [--check]" >&2
    exit 2
    ;;
esac
