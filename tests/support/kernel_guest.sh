# Shell functions: the guest that a case of kernel_coverage is tried in. Sourced by it; expects
# $root, $bin, $load_seconds, $key, $out, $release, $share and vm() of tests/vm/lib.sh.

# Programs that the load runs, with their libraries, besides busybox.
load_programs="ip tc nft bridge ethtool mkfs.btrfs btrfs mkfs.xfs mkfs.f2fs mkfs.vfat mkfs.exfat mkfs.ext4 mke2fs
  mkfs.udf genisoimage mksquashfs dmsetup mdadm ipset wg conntrack keyctl iptables iptables-legacy ip6tables-legacy
  ebtables-legacy arptables-legacy ipvsadm rpcbind rpcinfo rpc.nfsd rpc.mountd rpc.statd exportfs ksmbd.mountd ksmbd.adduser
  ksmbd.control veritysetup nvme iscsistart sg_inq sg_vpd sg_luns sg_modes sg_persist sg_write_same sg_unmap sg_rtpg
  apparmor_parser tipc ovs-dpctl sg_opcodes sg_turs sg_reset sg_logs sg_requests sg_compare_and_write"

add_program() {  # FILE NAME
  cp -L "$1" "$share/bin/$2"
  ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    [ -e "$share/lib/${library##*/}" ] || cp -L "$library" "$share/lib/"
  done
}

make_guest() {
  local program path
  mkdir -p "$share/bin" "$share/lib"
  for program in $load_programs; do
    path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") && add_program "$path" "$program"
  done
  cp -r /usr/lib/x86_64-linux-gnu/xtables /usr/lib/ebtables/. "$share/lib/" 2>/dev/null
  for program in kcarectl kcare-uname; do add_program "$bin/$program" "$program"; done
  gcc -static -O1 -Wall -Wno-unused-result -o "$share/bin/load" "$root"/tests/vm/load/*.c -lpthread -lrt
  gcc -static -O2 -Wall -o "$share/bin/kernel_bytes" "$root/tests/vm/kernel_bytes.c"
  cp "$root"/tests/vm/load/*.guest "$root/tests/vm/kernel_coverage.guest" "$share/"
  cp /etc/netconfig /etc/protocols "$share/" 2>/dev/null
  cp "${key%.key}.pub" "$share/maker.pub"
  echo "$load_seconds" > "$share/load_seconds"
}

# Parts of the load that are likely to reach a directory come first; the others follow.
first_parts() {  # PATH
  case $1 in
    net/sched/*) echo classes queues network ;;
    net/netfilter/ipvs/*) echo virtual_servers ;;
    net/netfilter/nf_conntrack_* | net/netfilter/nf_nat_* | net/netfilter/nfnetlink_ct*) echo helpers filters ;;
    net/netfilter/nf_* | net/netfilter/nft_*) echo filters more_nft helpers ;;
    net/netfilter/ipset/*) echo filters ;;
    net/netfilter/* | net/*/netfilter/*) echo old_tables more_nft filters helpers ;;
    net/bridge/*) echo links network old_tables ;;
    net/tipc/*) echo nodes talks ;;
    net/openvswitch/* | net/nsh/*) echo switches ;;
    net/tls/* | net/sctp/* | net/kcm/* | net/rds/* | net/packet/* | net/strparser/*) echo talks sockets ;;
    drivers/net/* | net/8021q/* | net/hsr/*) echo links tunnels network ;;
    net/xfrm/* | net/mpls/* | net/l2tp/* | net/ipv*/*seg6* | net/ipv*/esp* | net/ipv*/ah* | net/ipv*/xfrm* | net/ipv*/route.c | net/ipv*/*fib* | net/ipv4/nexthop.c) echo ways tunnels network ;;
    net/mptcp/* | net/ipv4/tcp* | net/ipv4/udp* | net/ipv4/*mr* | net/ipv6/*mr* | net/ipv6/tcp* | net/ipv6/udp*) echo talks sockets network ;;
    kernel/bpf/* | net/core/sock_map.c | net/core/skmsg.c | net/core/*bpf* | net/core/filter.c | net/xdp/* | net/bpf/*) echo bpf sockets network ;;
    kernel/futex/* | kernel/locking/* | ipc/* | fs/eventpoll.c) echo waits tasks ;;
    fs/ext4/* | fs/jbd2/* | fs/quota/*) echo ext4 ;;
    fs/fat/*) echo vfat ;;
    fs/btrfs/* | fs/xfs/* | fs/f2fs/* | fs/exfat/* | fs/udf/* | fs/minix/*) echo "$1" | cut -d / -f 2 ;;
    fs/isofs/* | fs/squashfs/*) echo images ;;
    fs/overlayfs/*) echo overlay ;;
    fs/nfs/* | fs/nfsd/* | fs/nfs_common/* | fs/lockd/* | net/sunrpc/*) echo nfs ;;
    fs/smb/*) echo smb ;;
    fs/fuse/*) echo fuse ;;
    arch/x86/kvm/* | virt/*) echo machines ;;
    fs/ceph/* | net/ceph/* | fs/orangefs/*) echo unreachable ;;
    io_uring/*) echo rings ;;
    fs/proc/* | fs/sysfs/* | drivers/base/* | drivers/acpi/*) echo pseudo ;;
    fs/*) echo overlay ext4 images ;;
    mm/*) echo memory settings cgroups disks ;;
    drivers/md/dm-*mpath* | drivers/md/dm-ps* | drivers/md/dm-verity* | drivers/md/dm-cache* | drivers/md/dm-thin* | drivers/md/dm-era*) echo thin devices ;;
    drivers/md/persistent-data/* | drivers/md/dm-snap* | drivers/md/dm-stats*) echo thin devices ;;
    drivers/md/raid* | drivers/md/md*) echo arrays devices ;;
    drivers/md/*) echo devices thin arrays ;;
    drivers/nvme/*) echo nvme_target disks ;;
    drivers/target/* | drivers/scsi/*iscsi* | fs/configfs/*) echo scsi_target configured ;;
    drivers/block/null_blk/*) echo configured disks ;;
    drivers/scsi/* | drivers/cdrom/*) echo scsi_debug_disks scsi_target disks ;;
    drivers/hid/* | drivers/input/*) echo hands ;;
    block/* | drivers/block/*) echo disks devices configured ;;
    kernel/cgroup/*) echo cgroups ;;
    kernel/trace/*) echo traces bpf ;;
    kernel/sysctl.c | drivers/cpufreq/*) echo settings ;;
    security/apparmor/*) echo profiles ;;
    crypto/* | arch/x86/crypto/*) echo sockets devices ;;
    net/*) echo sockets network talks ways tunnels ;;
  esac
}

# Sets the files outcome, reason, stop_ns and executed of a case that was built.
run_guest() {  # DIR
  local dir=$1 code reason=""
  mkdir "$dir/share"
  cp -rl "$share/." "$dir/share/"
  cp -r "$dir/server" "$dir/share/"
  paste -d ' ' <("$json_get" 'functions[].object' < "$dir/build.json") \
    <("$json_get" 'functions[].name' < "$dir/build.json") > "$dir/share/functions"
  "$json_get" 'fresh_modules[].module' < "$dir/build.json" > "$dir/share/fresh" 2>/dev/null
  first_parts "$(cat "$dir/path")" > "$dir/share/first"
  vm --share "$dir/share" --memory 1536 --timeout "$guest_seconds_max" --console "$dir/console.log" -- \
    sh /share/kernel_coverage.guest > "$dir/guest.log" 2>&1
  code=$?
  rm -rf "$dir/share"
  sed -n 's/^stop_ns //p' "$dir/guest.log" > "$dir/stop_ns"
  grep -q '^executed' "$dir/guest.log" && echo yes > "$dir/executed" || echo no > "$dir/executed"
  if reason=$(grep -m1 '^needs hardware: ' "$dir/guest.log"); then
    echo skipped > "$dir/outcome"
  elif [ $code -eq 0 ] && ! grep -q '^FAILED' "$dir/guest.log"; then
    echo works > "$dir/outcome"
  else
    echo failed > "$dir/outcome"
    reason=$(grep -m1 '^FAILED' "$dir/guest.log" || tail -n 1 "$dir/guest.log")
  fi
  echo "${reason#FAILED: }" > "$dir/reason"
  echo "$(cat "$dir/version" "$dir/path" | paste -sd ' '): $(cat "$dir/outcome") $reason" >&2
}
