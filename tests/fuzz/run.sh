#!/bin/bash
# Runs every built fuzzer for a while: tests/fuzz/run.sh BIN_DIRECTORY [SECONDS_EACH]
# Inputs to start from are made by NAME_seeds.sh beside this script; nothing is kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
seconds=${2:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
ran=0
for fuzzer in "$bin"/*_fuzz; do
  name=$(basename "$fuzzer")
  mkdir -p "$work/$name/seeds" "$work/$name/corpus"
  if [ -f "$here/${name}_seeds.sh" ]; then
    sh "$here/${name}_seeds.sh" "$work/$name/seeds"
  fi
  # A tail of the output says how many inputs were tried.
  if (cd "$work/$name" && "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
      -max_len=65536 -print_final_stats=1 corpus seeds > log 2>&1); then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name/log")
    echo "$name: $runs inputs in ${seconds} s"
  else
    failed=1
    tail -n 40 "$work/$name/log"
    echo "$name: FAILED; the input, in base64:"
    cat "$work/$name"/crash-* "$work/$name"/timeout-* "$work/$name"/oom-* 2> /dev/null | base64 | head -n 200
  fi
  ran=$((ran + 1))
done
if [ "$ran" -eq 0 ]; then
  echo "no fuzzers in $bin; build them with: cmake --preset fuzz && ninja -C build/fuzz fuzzers"
  exit 1
fi
exit "$failed"
