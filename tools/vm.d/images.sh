# Sourced by tools/vm: makes what a guest boots from.
#   DIR/vmlinuz       as the package has it
#   DIR/base.cpio     busybox, init, the few modules before the first disk
#   DIR/modules.ext4  /lib/modules, uncompressed, with modules.dep
#   DIR/package       which package it came from
# A directory is complete or not there.

readonly image_format=1
# What stands between the initial RAM disk and the others, and may be built in.
readonly early_modules="virtio_pci virtio_blk virtio_console virtio_net ext4"

make_images() { # RELEASE ARCH DIR
  local release=$1 arch=$2 dir=$3 part
  mkdir -p "$cache"
  [ ! -e "$dir/format" ] || [ "$(cat "$dir/format")" = $image_format ] || rm -rf "$dir"
  [ ! -e "$dir/format" ] || return 0
  exec 9> "$cache/lock"
  flock 9
  [ ! -e "$dir/format" ] || return 0
  part=$dir.part
  rm -rf "$part" "$dir"
  mkdir -p "$part/deb"
  fetch_kernel "$release" "$arch" "$part/deb"
  unpack_kernel "$release" "$part"
  make_modules "$release" "$part"
  make_base "$release" "$arch" "$part"
  rm -rf "$part/tree" "$part/deb"
  echo $image_format > "$part/format"
  mv "$part" "$dir"
  exec 9>&-
}

fetch_kernel() { # RELEASE ARCH DIR
  local release=$1
  # From 7.x on the image is in linux-binary-unsigned-*, and linux-image-* only points to it.
  fetch_package "$2" "$3" "linux-binary-unsigned-$release" "linux-image-$release-unsigned" "linux-image-$release" ||
    die "no package holds the kernel $release for $2 (looked into this machine's sources, bookworm, bullseye, trixie" \
      "and sid); apt-cache search linux-image shows what there is"
  local package part
  package=$(cat "$3/../package")
  [ "$package" = "linux-binary-unsigned-$release" ] || return 0
  # Then the modules, and the lists of what is built in, are in packages of their own.
  for part in modules base; do
    fetch_package "$2" "$3" "linux-$part-$release" || die "no package linux-$part-$release for $2"
  done
  echo "$package" > "$3/../package"
}

# The first of the names that there is: in this machine's own sources, then in the suites of the same
# mirror, with lists of our own.
fetch_package() { # ARCH DIR NAME...
  local arch=$1 dir=$2 suite name
  shift 2
  for suite in "" bookworm bullseye trixie sid; do
    if [ -n "$suite" ]; then
      make_apt "$suite" "$arch"
    elif [ "$arch" != "$(dpkg --print-architecture)" ]; then
      continue
    fi
    for name in "$@"; do
      if apt_get "${suite:+$cache/apt/$suite-$arch/apt.conf}" "$dir" "$name"; then
        echo "$name" > "$dir/../package"
        return
      fi
    done
  done
  return 1
}

apt_get() { # CONFIG DIR NAME
  local config=$1 dir=$2 name=$3
  # Quiet when the package is unknown; a package that is known and does not come is said.
  APT_CONFIG=$config apt-cache show "$name" 2> /dev/null | grep '^Filename' > /dev/null || return 1
  (cd "$dir" && APT_CONFIG=$config apt-get -q -o APT::Sandbox::User=root download "$name" > apt.log 2>&1) && return 0
  sed 's/^/tools\/vm: /' "$dir/apt.log" >&2
  return 1
}

make_apt() { # SUITE ARCH
  local suite=$1 arch=$2 state=$cache/apt/$1-$2 mirror security
  [ -e "$state/ready" ] && [ -n "$(find "$state/ready" -mtime -1)" ] && return
  # The last path component of a Debian mirror is "debian", that of the security archive differs.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | sort -u | grep '/debian/\?$' | head -n 1)
  security=$(apt-get indextargets --format '$(REPO_URI)' | sort -u | grep 'security' | head -n 1)
  [ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources; cannot look into $suite"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/empty"
  {
    echo "deb $mirror $suite main"
    case $suite in sid | *-backports) ;; *) [ -z "$security" ] || echo "deb $security $suite-security main" ;; esac
    [ "$suite" != trixie ] || echo "deb $mirror trixie-backports main"
  } > "$state/sources.list"
  : > "$state/status"
  cat > "$state/apt.conf" <<CONF
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "$state/empty";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::Status "$state/status";
Dir::Cache "$state/cache";
CONF
  APT_CONFIG=$state/apt.conf apt-get -q update > "$state/update.log" 2>&1 ||
    { sed 's/^/tools\/vm: /' "$state/update.log" >&2; die "cannot read the package lists of $suite"; }
  touch "$state/ready"
}

make_file_system() { # FILE DIR MB_FREE
  local file=$1 dir=$2 free=$3 used count
  used=$(du -sm "$dir" | cut -f1)
  count=$(find "$dir" | wc -l)
  rm -f "$file"
  mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -N $((count * 2 + 1024)) \
    -d "$dir" "$file" "$((used + used / 4 + free))M" > /dev/null || die "cannot make a file system of $dir"
}

# The same of an own build, which may change at any time: nothing is kept.
make_own_images() { # RELEASE ARCH DIR KERNEL
  mkdir -p "$3/lib/lib/modules"
  cp "$4/vmlinuz" "$3/vmlinuz"
  cp -r "$4/lib/modules/$1" "$3/lib/lib/modules/"
  rm -f "$3/lib/lib/modules/$1"/{build,source}
  make_modules "$1" "$3"
  make_base "$1" "$2" "$3"
}

unpack_kernel() { # RELEASE DIR
  local release=$1 dir=$2 modules
  mkdir "$dir/tree"
  for deb in "$dir"/deb/*.deb; do
    dpkg-deb -x "$deb" "$dir/tree"
  done
  modules=$(find "$dir/tree" -type d -path "*lib/modules/$release" | head -n 1)
  [ -n "$modules" ] || die "$(cat "$dir/package") has no modules"
  mkdir -p "$dir/lib/lib/modules"
  mv "$modules" "$dir/lib/lib/modules/"
  cp "$(find "$dir/tree" "$dir/lib" -name "vmlinuz*" -size +100k | head -n 1)" "$dir/vmlinuz"
  rm -f "$dir/lib/lib/modules/$release"/vmlinuz*
}

make_modules() { # RELEASE DIR
  local release=$1 dir=$2
  find "$dir/lib" -name '*.ko.xz' -exec xz -d {} +
  find "$dir/lib" -name '*.ko.zst' -exec zstd -q -d --rm {} +
  depmod -b "$dir/lib" "$release"
  make_file_system "$dir/modules.ext4" "$dir/lib/lib/modules" 8
}

make_base() { # RELEASE ARCH DIR
  local release=$1 arch=$2 dir=$3 root=$3/root module line
  mkdir -p "$root"/{bin,sbin,etc,dev,proc,sys,run,tmp,root,share,early,vm,lib/modules,usr/bin,usr/sbin,var/log,var/cache}
  install_busybox "$arch" "$dir" "$root/bin/busybox"
  install -m 755 "$here/vm.d/init" "$root/init"
  echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
  echo 'root:x:0:' > "$root/etc/group"
  while read -r line; do
    ln -s busybox "$root/bin/$line"
  done < <(busybox --list | grep -vx busybox)
  for module in $early_modules; do
    # "insmod PATH", with what it depends on first; "builtin NAME" otherwise. An own build may have no network card.
    modprobe -d "$dir/lib" -S "$release" --show-depends "$module" 2> /dev/null | sed -n 's/^insmod //p' || true
  done | awk '!seen[$1]++ { print $1 }' > "$dir/early"
  while read -r line; do
    cp "$line" "$root/early/"
    basename "$line"
  done < "$dir/early" > "$root/early/order"
  (cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$dir/base.cpio"
  rm -rf "$root" "$dir/lib" "$dir/early"
}

install_busybox() { # ARCH DIR TARGET
  local arch=$1 dir=$2 target=$3
  if [ "$arch" = "$(dpkg --print-architecture)" ]; then
    cp "$(command -v busybox)" "$target"
    return
  fi
  mkdir -p "$dir/busybox/deb"
  fetch_package "$arch" "$dir/busybox/deb" busybox-static || die "no package busybox-static for $arch"
  dpkg-deb -x "$dir"/busybox/deb/*.deb "$dir/busybox/tree"
  cp "$(find "$dir/busybox/tree" -type f -name busybox | head -n 1)" "$target"
  rm -rf "$dir/busybox"
}
