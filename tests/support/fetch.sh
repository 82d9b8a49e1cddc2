# Shell functions: Debian source and binary packages of exact versions, fetched at run time into a
# cache, with a private apt configuration (nothing of the system's is changed). Sourced by take_fix,
# user_coverage, run-demo and the end-to-end tests.
#
#   cache=DIR                          where everything goes
#   source_tree NAME VERSION           prints the path of the prepared (patched) source tree
#   binary_tree NAME VERSION           prints the path of the unpacked binary package
# Both print the reason on stderr and return 1 when the archive does not serve that version.

: "${cache:=${LIVECARE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/livecare-tests}}"

private_apt() {
  apt_options=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$cache/apt/sources.d"
    -o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache"
    -o "APT::Sandbox::User=root" -o "Acquire::Languages=none")
  [ -e "$cache/apt/ready" ] && return 0
  mkdir -p "$cache/apt/sources.d" "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  (flock 9 && { [ -e "$cache/apt/ready" ] || make_private_apt; }) 9> "$cache/apt/lock"
}

make_private_apt() {
  local f name
  for f in /etc/apt/sources.list.d/*.sources; do
    [ -e "$f" ] || continue
    grep -qi debian "$f" || continue
    sed 's/^Types:.*/Types: deb deb-src/' "$f" > "$cache/apt/sources.d/$(basename "$f")"
  done
  for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$f" ] || continue
    name=$(basename "$f" .list)
    { grep -E '^deb .*debian' "$f"; sed -n '/debian/s/^deb /deb-src /p' "$f"; } > "$cache/apt/sources.d/$name.list" ||
      rm -f "$cache/apt/sources.d/$name.list"
  done
  apt-get "${apt_options[@]}" -q update >"$cache/apt/update.log" 2>&1 || true
  if ! apt-get "${apt_options[@]}" --print-uris source --download-only hello >/dev/null 2>>"$cache/apt/update.log"; then
    echo "fetch: no source packages in reach; see $cache/apt/update.log" >&2
    return 1
  fi
  : > "$cache/apt/ready"
}

# Unpacks what is there: the .dsc if it came; else the upstream tarball, with the debian directory
# and its patches over it when that came. An archive sometimes lists a version of which it serves only
# some files.
unpack_source() {
  local dir=$1 name=$2 version=$3 file=${3#*:} upstream orig debian
  upstream=${file%-*}
  if [ -e "$dir/${name}_$file.dsc" ] &&
    dpkg-source --no-check -x "$dir/${name}_$file.dsc" "$dir/tree" >"$dir/unpack.log" 2>&1; then
    return 0
  fi
  rm -rf "$dir/tree"
  orig=$(ls "$dir/${name}_$upstream".orig.tar.?z 2>/dev/null | head -n 1)
  [ -n "$orig" ] || return 1
  mkdir -p "$dir/tree" && tar -xf "$orig" --strip-components=1 -C "$dir/tree" || return 1
  debian=$(ls "$dir/${name}_$file".debian.tar.?z 2>/dev/null | head -n 1)
  [ -n "$debian" ] || return 0
  tar -xf "$debian" -C "$dir/tree" || return 1
  local p
  sed 's/#.*//; /^[[:space:]]*$/d' "$dir/tree/debian/patches/series" 2>/dev/null | while read -r p _; do
    patch -d "$dir/tree" -p1 -s --no-backup-if-mismatch < "$dir/tree/debian/patches/$p" || return 1
  done
}

source_tree() {
  local name=$1 version=$2 dir=$cache/sources/${1}_${2#*:}
  if [ ! -e "$dir/ready" ]; then
    private_apt || return 1
    # The name of a binary package stands for its source.
    local source source_version
    read -r source source_version < <(apt-cache "${apt_options[@]}" show "$name=$version" 2>/dev/null |
      sed -n 's/^Source: //p; /^Source:/q' | tr -d '()')
    if [ -n "$source" ]; then
      source_tree "$source" "${source_version:-$version}"
      return
    fi
    rm -rf "$dir" && mkdir -p "$dir"
    # The exit code is no help: one missing signature file fails the whole call.
    (cd "$dir" && apt-get "${apt_options[@]}" -q source --download-only "$name=$version") >"$dir/fetch.log" 2>&1
    # A missing upstream tarball is the same file as that of a neighbour version.
    local upstream=${version#*:}
    upstream=${upstream%-*}
    if ! ls "$dir/${name}_$upstream".orig.tar.?z >/dev/null 2>&1; then
      cp -l "$cache/sources/${name}_$upstream"-*/"${name}_$upstream".orig*.tar.?z "$dir/" 2>/dev/null
    fi
    if ! unpack_source "$dir" "$name" "$version"; then
      echo "fetch: source $name $version is not served: $(grep -m1 -E '^(E|Err)' "$dir/fetch.log")" >&2
      return 1
    fi
    : > "$dir/ready"
  fi
  echo "$dir/tree"
}

binary_tree() {
  local name=$1 version=$2 dir=$cache/binaries/${1}_${2#*:}
  if [ ! -e "$dir/ready" ]; then
    private_apt || return 1
    rm -rf "$dir" && mkdir -p "$dir/root"
    if ! (cd "$dir" && apt-get "${apt_options[@]}" -q download "$name=$version") >"$dir/fetch.log" 2>&1 ||
      ! dpkg-deb -x "$dir"/*.deb "$dir/root"; then
      echo "fetch: package $name $version is not served: $(grep -m1 -E '^(E|Err)' "$dir/fetch.log")" >&2
      return 1
    fi
    : > "$dir/ready"
  fi
  echo "$dir/root"
}
