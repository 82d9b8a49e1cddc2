# Shell functions: the built programs, a signing key for tests, packages that a test needs. Sourced;
# expects $root (the repository).

# Sets $bin and $json_get: LIVECARE_BIN, or the release build, brought up to date.
find_tools() {
  bin=${LIVECARE_BIN:-}
  if [ -z "$bin" ]; then
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

# Packages of the groups that the end-to-end tests need (tools/packages.txt).
need_packages() {
  [ -n "${LIVECARE_NO_APT:-}" ] || "$root/tools/setup.sh" "$@"
}

# Makes DIR/maker.key and DIR/maker.pub once (LIVECARE_KEY names another pair): patches are signed with
# it and it is the one trusted.
make_key() {
  key=${LIVECARE_KEY:-$1/maker.key}
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
