# Sourced by the tests in tests/vm: builds kcare.ko and patches of tests/vm/patch for a release.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
release=${KCARE_RELEASE:-6.1.0-47-cloud-amd64}
headers=/lib/modules/$release/build
boots=(--release "$release")
# KCARE_KERNEL: a kernel of kernel_debug_build instead.
if [ -n "${KCARE_KERNEL:-}" ]; then
  release=$(cd "$KCARE_KERNEL/lib/modules" && echo *)
  headers=$KCARE_KERNEL/build
  boots=(--kernel "$KCARE_KERNEL")
fi
# KCARE_WORK is kept: the next run with it builds only what changed.
if [ -n "${KCARE_WORK:-}" ]; then
  work=$KCARE_WORK
else
  work=$(mktemp -d "${TMPDIR:-/tmp}/kcare-test.XXXXXX")
  trap 'rm -rf "$work"' EXIT
fi
share=$work/share
mkdir -p "$share"
"$top/tools/setup.sh" kmod vm

vm() {
  "$top/tools/vm" "${boots[@]}" "$@"
}

# With this machine's headers, or in a chroot with the release's own compiler.
kernel_make() {
  if [ -e "$headers" ]; then
    make "$@"
  else
    "$top/tools/vm-build" --release "$release" --bind "$top" --bind "$work" -- make "$@"
  fi
}

make_kcare() {
  kernel_make -C "$top/kmod" KDIR="$headers" KOUT="$work/kmod" > "$work/kmod.log" 2>&1 ||
    { cat "$work/kmod.log" >&2; echo "kcare.ko does not build for $release" >&2; exit 1; }
  if grep -i 'warning' "$work/kmod.log" | grep -v 'BTF\|compiler differs' >&2; then
    echo "kcare.ko builds with warnings" >&2
    exit 1
  fi
  cp "$work/kmod/kcare.ko" "$share/"
  gcc -static -O2 -Wall -I "$top/kmod/uapi" -o "$share/kcare_call" "$top/tests/vm/kcare_call.c"
}

# Offsets and the build-ID come out of a guest: no debug package is needed.
make_place() {
  [ ! -s "$work/place.h" ] || return 0
  vm -- sh -c 'uname -r
    grep -E " (_text|(cmdline|version)_proc_show|saved_command_line|do_sys_openat2|tcp_sendmsg|pipe_write)\$" /proc/kallsyms
    hexdump -v -e "1/1 \"%02x\"" /sys/kernel/notes; echo; modprobe zram
    hexdump -v -e "1/1 \"%02x\"" /sys/module/zram/notes/.note.gnu.build-id; echo' > "$work/place"
  awk '
    function hex(text,   i, value) {
      value = 0
      for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
      return value
    }
    NR == 1 { print "#define PLACE_RELEASE \"" $1 "\""; next }
    # The low half is enough, and exact in floating point.
    NF == 3 { at[$3] = hex(substr($1, 9)); next }
    {
      # owner "GNU", type 3, 20 bytes
      start = index($1, "040000001400000003000000474e5500")
      id = ""
      for (i = 0; i < 20; i++) id = id "0x" substr($1, start + 32 + 2 * i, 2) ", "
      print "#define PLACE_" (notes++ ? "ZRAM_" : "") "BUILD_ID { " id "}"
    }
    END {
      printf "#define PLACE_CMDLINE %dULL\n", at["cmdline_proc_show"] - at["_text"]
      printf "#define PLACE_VERSION %dULL\n", at["version_proc_show"] - at["_text"]
      printf "#define PLACE_SAVED %dULL\n", at["saved_command_line"] - at["_text"]
      printf "#define PLACE_OPEN %dULL\n", at["do_sys_openat2"] - at["_text"]
      printf "#define PLACE_SEND %dULL\n", at["tcp_sendmsg"] - at["_text"]
      printf "#define PLACE_PIPE %dULL\n", at["pipe_write"] - at["_text"]
    }' "$work/place" > "$work/place.new"
  grep -q 'PLACE_CMDLINE [1-9]' "$work/place.new" || { cat "$work/place" >&2; echo "no places" >&2; exit 1; }
  mv "$work/place.new" "$work/place.h"
}

# make_patches NAME "DEFINE=VALUE ..." [NAME "..."]...
make_patches() {
  local dir=$work/patches define
  mkdir -p "$dir"
  cp -p "$top"/kmod/uapi/*.h "$top"/tests/vm/patch/*.h "$work/place.h" "$dir/"
  find "$share" -name '*.ko' ! -name kcare.ko -delete
  : > "$dir/Kbuild"
  while [ $# -gt 0 ]; do
    {
      for define in $2; do
        echo "#define ${define%%=*} ${define#*=}"
      done
      # o_NAME: of NAME.h; z_NAME: of zram.h; s_NAME: of stress.h; another: of cmdline.h
      case $1 in
        o_*) echo "#include \"${1#o_}.h\"" ;;
        z_*) echo '#include "zram.h"' ;;
        s_*) echo '#include "stress.h"' ;;
        *) echo '#include "cmdline.h"' ;;
      esac
    } > "$dir/new"
    cmp -s "$dir/new" "$dir/$1.c" || mv "$dir/new" "$dir/$1.c"
    echo "obj-m += $1.o" >> "$dir/Kbuild"
    shift 2
  done
  kernel_make -C "$headers" M="$dir" modules > "$work/patches.log" 2>&1 ||
    { cat "$work/patches.log" >&2; exit 1; }
  rm -f "$dir/new"
  cp "$dir"/*.ko "$share/"
}

# A signed patch with which /proc/cmdline says so: what it does is seen from outside, what it calls is not
# exported. Needs find_tools and make_key.
make_cmdline_patch() {
  cat > "$work/fix.patch" <<'FIX'
--- a/fs/proc/cmdline.c
+++ b/fs/proc/cmdline.c
@@ -8,3 +8,3 @@
 {
-	seq_puts(m, saved_command_line);
+	seq_printf(m, "%s fixed", saved_command_line);
 	seq_putc(m, '\n');
FIX
  "$bin/livecare-build" kernel --release "$release" --fix "$work/fix.patch" --cve CVE-2026-0001 \
    --description 'says that it is fixed' --effective "$release+fixed" --key "$key" --out "$share/server"
}

# The agent, with its libraries for a guest that has none; guest.sh calls it.
copy_agent() {
  local program library
  mkdir -p "$share/lib"
  for program in kcarectl kcare-uname; do
    cp "$bin/$program" "$share/"
    ldd "$bin/$program" | grep -o '/[^ ]*' | while read -r library; do cp -L "$library" "$share/lib/"; done
  done
  cp "${key%.key}.pub" "$share/maker.pub"
  cp "$top/tests/vm/guest.sh" "$share/"
}
