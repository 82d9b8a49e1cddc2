# Shell functions of the two halves of ./run-demo. Sourced; expects $root (the repository).
. "$root/tests/support/fetch.sh"
. "$root/tests/support/tools.sh"

start=${DEMO_START:-$(date +%s%N)}
last=$(date +%s%N)

seconds() { awk -v ns="$1" 'BEGIN { printf "%.1f", ns / 1e9 }'; }
step() { echo; echo "==> $*"; }
took() {
  local now
  now=$(date +%s%N)
  echo "    [step $(seconds $((now - last))) s, total $(seconds $((now - start))) s]"
  last=$now
}
die() { echo "$(basename "$0"): $*" >&2; exit 1; }
show() { sed 's/^/    /'; }
