# Shell functions: the fixes of a kernel release, as the differences of single files between the source
# packages of neighbouring versions. Sourced after fetch.sh; expects $root and a kernel that
# livecare-build has prepared.
#
#   versions_between FROM TO      prints those that the archive has after FROM, up to TO
#   kernel_fixes ENTRY FROM V...  prints a directory, made once and kept in the cache:
#     fixes                       "VERSION PATH" a line, sorted: what compiles into that kernel and whose
#                                 difference applies to FROM as it stands
#     VERSION/PATH.patch          the difference
#     VERSION.cves                "CVE-...<tab>subject" of the changelog's entry for VERSION
#   draw_fixes DIR SEED           prints all of them in an order that the seed decides
#   cves_of_fix DIR VERSION PATH  CVEs whose subject agrees with the file and its functions

kernel_directories="init arch/x86 arch/x86/lib arch/x86/power arch/x86/video kernel certs mm fs ipc security crypto block io_uring lib drivers sound net virt"

# What the configuration compiles, one source a line. $1: the tree.
compiled_sources() {
  local queue=($kernel_directories) dir line
  local -A seen=()
  while [ ${#queue[@]} -gt 0 ]; do
    dir=${queue[0]%/}
    queue=("${queue[@]:1}")
    [ -z "${seen[$dir]:-}" ] && [ -d "$1/$dir" ] || continue
    seen[$dir]=1
    while read -r line; do
      case $line in
        */) queue+=("$line") ;;
        *.o) echo "${line%.o}.c" ;;
      esac
    done < <(make -s -C "$1" -f "$root/tests/support/kernel_objects.mk" "dir=$dir" BITS=64 SRCARCH=x86 ARCH=x86 2>/dev/null)
  done | (cd "$1" && xargs realpath -e --relative-to=. 2>/dev/null) | sort -u
}

# And the C files and headers that lie beside them and are compiled as a part of them.
with_local_files() {
  sed 's,/[^/]*$,,' "$2" | sort -u | while read -r dir; do
    (cd "$1" && grep -hoE '^#[[:space:]]*include "[^"/]*\.[ch]"' "$dir"/*.c 2>/dev/null) |
      sed "s,.*\"\(.*\)\",$dir/\1," | sort -u
  done | (cd "$1" && xargs realpath -e --relative-to=. 2>/dev/null) | sort -u - "$2"
}

# The files of a list as a version's source package has them, Debian's own patches included. Of some
# versions the archive has only the binary package of the patched source.
unpack_files() {  # VERSION LIST DIR CHANGELOG
  mkdir -p "$3.deb" "$3"
  (cd "$3.deb" && apt-get "${apt_options[@]}" -q source --download-only "linux=$1") >"$3.log" 2>&1
  if [ -e "$(ls "$3.deb"/linux_*.orig.tar.xz 2>/dev/null)" ] && [ -e "$(ls "$3.deb"/linux_*.debian.tar.xz 2>/dev/null)" ]; then
    unpack_source_package "$@"
  else
    unpack_binary_package "$@" || return 1
  fi
  rm -rf "$3/debian" "$3.deb" "$3.list" "$3.log"
}

unpack_tar() {  # LIST DIR < TAR.xz; a file that is not there is no error: it was added or removed
  local top
  cat > "$2.tar"
  top=$(xz -dc "$2.tar" 2>/dev/null | tar -t 2>/dev/null | sed -n '1{s,/.*,,p;q}')
  sed "s,^,$top/," "$1" > "$2.list"
  xz -dc "$2.tar" | tar -xC "$2" --strip-components=1 -T "$2.list" 2>/dev/null
  rm "$2.tar"
}

unpack_source_package() {  # VERSION LIST DIR CHANGELOG
  local patch
  tar -xf "$3.deb"/linux_*.debian.tar.xz -C "$3"
  cp "$3/debian/changelog" "$4"
  unpack_tar "$2" "$3" < "$(ls "$3.deb"/linux_*.orig.tar.xz)"
  sed 's/#.*//; /^[[:space:]]*$/d' "$3/debian/patches/series" | while read -r patch _; do
    patch -d "$3" -p1 -s -f --no-backup-if-mismatch -r - < "$3/debian/patches/$patch" >/dev/null 2>&1
  done
}

unpack_binary_package() {  # VERSION LIST DIR CHANGELOG
  local package=linux-source-$(echo "$1" | cut -d. -f1-2)
  (cd "$3.deb" && apt-get "${apt_options[@]}" -q download "$package=$1") >>"$3.log" 2>&1 ||
    { echo "kernel_fixes: neither source nor $package of $1 is served: $(grep -m1 -E '^(E|Err)' "$3.log")" >&2; return 1; }
  dpkg-deb --fsys-tarfile "$3.deb/$package"*.deb | tar -xO --wildcards './usr/share/doc/*/changelog.Debian.gz' | zcat > "$4"
  dpkg-deb --fsys-tarfile "$3.deb/$package"*.deb | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | unpack_tar "$2" "$3"
}

# Entries of the changelog after the version before: a CVE is named in the line of its subject or below.
changelog_cves() {  # FROM VERSION
  awk -v from="($1)" -v to="($2)" '
    function flush(   rest) {
      rest = text
      while (match(rest, /CVE-[0-9]+-[0-9]+/)) {
        print substr(rest, RSTART, RLENGTH) "\t" text
        rest = substr(rest, RSTART + RLENGTH)
      }
      text = ""
    }
    /^[a-z].* \(/ { flush(); if ($2 == from) exit }
    /^ +[-*] / { flush() }
    /^ +\[|^ -- / { flush(); next }
    { line = $0; sub(/^ +[-*]? */, "", line); text = text (text == "" ? "" : " ") line }'
}

versions_between() {  # FROM TO
  local version
  private_apt || return 1
  apt-cache "${apt_options[@]}" showsrc linux | sed -n 's/^Version: //p' | sort -uV | while read -r version; do
    dpkg --compare-versions "$version" gt "$1" && dpkg --compare-versions "$version" le "$2" && echo "$version"
  done
}

step_fixes() {  # BASE BEFORE AFTER VERSION OUT
  local file out
  diff -rq "$2" "$3" | sed -n "s,^Files $2/\(.*\) and .* differ\$,\1,p" | while read -r file; do
    out=$5/$4/$file.patch
    mkdir -p "${out%/*}"
    diff -u --label "a/$file" --label "b/$file" "$2/$file" "$3/$file" > "$out"
    if patch -s -F0 --dry-run "$1/$file" "$out" >/dev/null 2>&1; then
      echo "$4 $file"
    else
      rm "$out"
    fi
  done
}

kernel_fixes() {  # ENTRY FROM VERSION...
  local entry=$1 from=$2 dir work version before
  shift 2
  dir=$cache/kernel_fixes/$(basename "$entry")/$(IFS=+; echo "$*")
  if [ ! -e "$dir/ready" ]; then
    private_apt || return 1
    work=$dir.work
    rm -rf "$dir" "$work" && mkdir -p "$dir" "$work"
    compiled_sources "$entry/source" > "$work/compiled"
    with_local_files "$entry/source" "$work/compiled" > "$work/list"
    before=$work/$from
    mkdir "$before"
    (cd "$entry/source" && tar -c -T "$work/list") | tar -xC "$before"
    for version in "$@"; do
      echo "kernel_fixes: $version" >&2
      unpack_files "$version" "$work/list" "$work/$version" "$work/changelog" || return 1
      changelog_cves "$from" "$version" < "$work/changelog" > "$dir/$version.cves"
      step_fixes "$entry/source" "$before" "$work/$version" "$version" "$dir" >> "$dir/fixes"
      rm -rf "$before"
      before=$work/$version from=$version
    done
    sort -o "$dir/fixes" "$dir/fixes"
    mv "$work/compiled" "$dir/"
    rm -rf "$work"
    [ -s "$dir/fixes" ] || { echo "kernel_fixes: nothing differs between the versions" >&2; return 1; }
    : > "$dir/ready"
  fi
  echo "$dir"
}

draw_fixes() {
  shuf --random-source=<(openssl enc -aes-256-ctr -pass "pass:$2" -nosalt -pbkdf2 < /dev/zero 2>/dev/null) "$1/fixes"
}

# A subject agrees when it names a function of the difference, or when its area is the file or its
# directory and two of its words are in what changes.
cves_of_fix() {
  awk -F '\t' -v path="$3" '
    function words_of(text, into,   n, parts, i) {
      n = split(tolower(text), parts, /[^a-z0-9]+/)
      for (i = 1; i <= n; i++) if (length(parts[i]) > 3) into[parts[i]] = 1
    }
    NR == FNR {
      if (/^@@/ || /^[-+]/) {
        words_of($0, changed)
        rest = $0
        while (match(rest, /[A-Za-z_][A-Za-z0-9_]*/)) {
          names[substr(rest, RSTART, RLENGTH)] = 1
          rest = substr(rest, RSTART + RLENGTH)
        }
      }
      next
    }
    FNR == 1 {
      n = split(path, parts, "/")
      base = parts[n]
      sub(/\.[ch]$/, "", base)
      area[tolower(base)] = area[parts[n - 1]] = 1
      m = split(tolower(base), more, /[^a-z0-9]+/)
      for (i = 1; i <= m; i++) if (length(more[i]) > 2) area[more[i]] = 1
      split("with from when that into avoid prevent missing after before check error handling free leak uaf potential possible fixed drop only make sure return", plain, " ")
      for (i in plain) stop[plain[i]] = 1
    }
    {
      subject = $2
      sub(/\(CVE.*/, "", subject)
      agrees = 0
      rest = subject
      while (match(rest, /[A-Za-z_][A-Za-z0-9_]*\(\)|[a-z0-9]+_[a-z0-9_]+/)) {
        name = substr(rest, RSTART, RLENGTH)
        sub(/\(\)/, "", name)
        if (name in names && !(tolower(name) in area)) agrees = 1
        rest = substr(rest, RSTART + RLENGTH)
      }
      if (!agrees && (k = split(subject, pieces, /: */)) > 1) {
        near = 0
        for (i = 1; i < k; i++) {
          q = split(tolower(pieces[i]), tokens, /[^a-z0-9_]+/)
          for (j = 1; j <= q; j++) if (tokens[j] in area) near = 1
        }
        delete said
        words_of(pieces[k], said)
        hits = 0
        for (word in said) if (word in changed && !(word in stop)) hits++
        if (near && hits >= 2) agrees = 1
      }
      if (agrees && !found[$1]++) printf "%s%s", count++ ? "," : "", $1
    }' "$1/$2/$3.patch" "$1/$2.cves"
}
