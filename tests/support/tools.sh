# Shell functions: the built programs, a signing key for tests, packages that a test needs. Sourced;
# expects $root (the repository).

# Sets $bin and $json_get. LIVECARE_BIN wins; else the release build, else the dev build, else the
# release build is made.
find_tools() {
  local preset
  bin=${LIVECARE_BIN:-}
  if [ -z "$bin" ]; then
    for preset in release dev; do
      [ -x "$root/build/$preset/bin/livecare-build" ] && [ -x "$root/build/$preset/bin/libcare-ctl" ] &&
        bin=$root/build/$preset/bin && break
    done
  fi
  if [ -z "$bin" ]; then
    echo "building the tools in $root/build/release" >&2
    (cd "$root" && cmake --preset release >/dev/null &&
      ninja -C build/release livecare-build libcare-ctl libcare-server kcarectl json_get https_load >&2) || return 1
    bin=$root/build/release/bin
  fi
  json_get=$bin/json_get
  [ -x "$json_get" ] || { echo "tools: $json_get is missing; build it: ninja json_get https_load" >&2; return 1; }
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs those of the packages that are missing; quiet and quick when there are none.
need_packages() {
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  as_root apt-get -q update >/dev/null 2>&1
  # A service that a package brings is not wanted to run: the tests start their own.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y --no-install-recommends install \
    "${missing[@]}" >/dev/null 2>"${TMPDIR:-/tmp}/need_packages.err" && return 0
  echo "tools: cannot install ${missing[*]}: $(tail -n 2 "${TMPDIR:-/tmp}/need_packages.err")" >&2
  return 1
}

# Makes DIR/maker.key and DIR/maker.pub once; patches are signed with it and it is the one trusted.
make_key() {
  key=$1/maker.key
  mkdir -p "$1"
  [ -e "$key" ] || "$bin/livecare-build" keygen "$1/maker" >/dev/null
}

livecare_build() {
  if [ "$1" = user ]; then
    shift
    "$bin/livecare-build" user --key "$key" "$@"
  else
    "$bin/livecare-build" "$@"
  fi
}

libcare_ctl() {
  local verb=$1
  shift
  if [ "$verb" = patch ]; then
    as_root "$bin/libcare-ctl" patch --key "${key%.key}.pub" "$@"
  else
    as_root "$bin/libcare-ctl" "$verb" "$@"
  fi
}
