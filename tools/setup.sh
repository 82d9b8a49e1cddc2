#!/bin/bash
# Installs the Debian packages of the named groups (tools/packages.txt), as root or through sudo.
# Quick and silent when nothing is missing, so every command may start with it.
#   tools/setup.sh GROUP...
set -euo pipefail
list=$(cd "$(dirname "$0")" && pwd)/packages.txt

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo -n "$@"
  else
    echo "tools/setup.sh: not root and no sudo; as root: apt-get install $missing" >&2
    return 1
  fi
}

wanted=
for group in "$@"; do
  names=$(sed -n "s/^$group //p" "$list")
  [ -n "$names" ] || { echo "tools/setup.sh: no group $group in $list" >&2; exit 1; }
  wanted="$wanted $names"
done
wanted=$(printf '%s\n' $wanted | sort -u)
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u)
missing=$(comm -23 <(echo "$wanted") <(echo "$installed") | tr '\n' ' ')
[ -n "${missing// /}" ] || exit 0

echo "installing: $missing" >&2
# A package that brings a service must not start it here: the tests start their own.
options=(-q -y --no-install-recommends -o DPkg::Lock::Timeout=600)
as_root apt-get -q update > /dev/null
as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get "${options[@]}" install $missing > /dev/null
