# Sourced by tools/vm: finds the emulator.
#
# QEMU before 8.1 may go on executing code that another CPU of the guest has just changed (its commit
# deba78709ae8, "Always lock pages before translation"): a CPU then traps for ever on a breakpoint that
# is gone, and guests that patch their own kernel hang now and then. So where the installed one is
# older, the one of Debian's backports is unpacked into the cache; nothing is installed. Where it cannot be
# had, the installed one is used, with a warning.

readonly qemu_release_min=8.1
readonly qemu_packages="qemu-system-x86 qemu-system-common qemu-system-data"

make_qemu() { # ARCH; sets the array qemu
  local program=qemu-system-x86_64 installed dir
  [ "$1" = amd64 ] || program=qemu-system-aarch64
  qemu=("$program")
  installed=$("$program" --version 2> /dev/null | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
  if dpkg --compare-versions "${installed:-0}" ge "$qemu_release_min" || [ "$1" != amd64 ]; then
    [ -n "$installed" ] || die "$program is not installed; as root: apt-get install qemu-system-arm"
    return
  fi
  dir=$cache/qemu
  if [ ! -e "$dir/ready" ] && ! (fetch_qemu "$dir"); then
    [ -n "$installed" ] || die "$program is not installed; as root: apt-get install qemu-system-x86"
    echo "tools/vm: with QEMU $installed guests that are patched may hang now and then" >&2
    return
  fi
  qemu=("$dir/root/usr/bin/$program" -L "$dir/root/usr/share/qemu" -L /usr/share/seabios -L /usr/lib/ipxe/qemu)
}

fetch_qemu() { # DIR
  local dir=$1 name
  mkdir -p "$cache"
  exec 9> "$cache/lock"
  flock 9
  if [ ! -e "$dir/ready" ]; then
    rm -rf "$dir"
    mkdir -p "$dir/deb" "$dir/root"
    make_apt bookworm-backports amd64
    for name in $qemu_packages; do
      apt_get "$cache/apt/bookworm-backports-amd64/apt.conf" "$dir/deb" "$name" ||
        die "$name of bookworm-backports cannot be fetched, and the installed QEMU is older than $qemu_release_min"
    done
    for name in "$dir"/deb/*.deb; do
      dpkg-deb -x "$name" "$dir/root"
    done
    "$dir/root/usr/bin/qemu-system-x86_64" --version > /dev/null || die "QEMU of bookworm-backports does not run here"
    rm -rf "$dir/deb"
    touch "$dir/ready"
  fi
  exec 9>&-
}
