#!/bin/bash
# clang-tidy over the product's sources, those only that changed since they were last found clean
# (or a header did): tools/tidy.sh BUILD_DIRECTORY [JOBS]
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=$1
stamps=$build/tidy
mkdir -p "$stamps"

stamp_of() { echo "$stamps/${1//\//_}.ok"; }
is_clean() {
  local stamp
  stamp=$(stamp_of "$1")
  [ "$stamp" -nt "$1" ] && [ "$stamp" -nt "$newest_shared" ]
}
check() {
  clang-tidy-14 -p "$build" --quiet "$1" 2> /dev/null && touch "$(stamp_of "$1")"
}
export -f check stamp_of
export build stamps

newest_shared=$(find src .clang-tidy -name '*.h' -printf '%T@ %p\n' -o -name .clang-tidy -printf '%T@ %p\n' |
  sort -rn | head -n 1 | cut -d' ' -f2-)
find src -name '*.cc' -not -name '*_test.cc' | sort |
  while read -r file; do is_clean "$file" || echo "$file"; done |
  xargs -r -P "${2:-$(nproc)}" -I{} bash -c 'check {}'
