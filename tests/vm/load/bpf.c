// SPDX-License-Identifier: Apache-2.0
/*
 * BPF by its system call: maps of every type, programs of every type that are attached and run by real
 * traffic. Programs are left in /sys/fs/bpf when that is mounted, for who attaches them by name.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"

#define CODE(code_, dst, src, off_, imm_) ((struct bpf_insn){ .code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_) })
#define SET(r, i) CODE(0xb7, r, 0, 0, i)
#define COPY(d, s) CODE(0xbf, d, s, 0, 0)
#define ADD(r, i) CODE(0x07, r, 0, 0, i)
#define LOAD4(d, s, o) CODE(0x61, d, s, o, 0)
#define STORE4(d, o, i) CODE(0x62, d, 0, o, i)
#define STORE8(d, o, s) CODE(0x7b, d, s, o, 0)
#define JUMP_EQ(r, i, o) CODE(0x15, r, 0, o, i)
#define CALL(n) CODE(0x85, 0, 0, 0, n)
#define MAP(r, fd) CODE(0x18, r, 1, 0, fd), CODE(0, 0, 0, 0, 0)
#define END CODE(0x95, 0, 0, 0, 0)
#define N(array) (sizeof(array) / sizeof(*(array)))

static char text[1 << 16];

static int bpf(int command, union bpf_attr *attributes) { return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes)); }

static int new_map(unsigned int type, unsigned int key, unsigned int value, unsigned int entries, unsigned int flags)
{
	return bpf(BPF_MAP_CREATE, &(union bpf_attr){ .map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags });
}

static int on_map(int command, int map, const void *key, const void *value)
{
	return bpf(command, &(union bpf_attr){ .map_fd = map, .key = (unsigned long)key, .value = (unsigned long)value });
}

static int new_program(unsigned int type, unsigned int attach, unsigned int btf_id, const struct bpf_insn *code, unsigned int length)
{
	union bpf_attr attributes = { .prog_type = type, .expected_attach_type = attach, .insns = (unsigned long)code, .insn_cnt = length,
				      .license = (unsigned long)"GPL", .attach_btf_id = btf_id, .log_level = 1, .log_size = sizeof(text), .log_buf = (unsigned long)text };

	return bpf(BPF_PROG_LOAD, &attributes);
}

static int attached(int program, int target, unsigned int type)
{
	return bpf(BPF_PROG_ATTACH, &(union bpf_attr){ .target_fd = target, .attach_bpf_fd = program, .attach_type = type, .attach_flags = BPF_F_ALLOW_MULTI });
}

static int linked(int program, int target, unsigned int type, unsigned int flags)
{
	return bpf(BPF_LINK_CREATE, &(union bpf_attr){ .link_create = { .prog_fd = program, .target_fd = target, .attach_type = type, .flags = flags } });
}

static void pin(int fd, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/fs/bpf/%s", name);
	unlink(path);
	bpf(BPF_OBJ_PIN, &(union bpf_attr){ .pathname = (unsigned long)path, .bpf_fd = fd });
	close(bpf(BPF_OBJ_GET, &(union bpf_attr){ .pathname = (unsigned long)path }));
}

/* Two ends of a connection over loopback; the listening socket too when it is asked for. */
static int pair_of(int family, int type, int *ends, int *listening)
{
	struct sockaddr_in6 address = { .sin6_family = family }; /* begins like sockaddr_in; any address is our own */
	socklen_t size = sizeof(address);
	int server = socket(family, type, 0);

	ends[0] = socket(family, type, 0);
	if (bind(server, (struct sockaddr *)&address, size) || getsockname(server, (struct sockaddr *)&address, &size))
		return -1;
	if (type == SOCK_DGRAM) {
		ends[1] = server;
		if (connect(ends[0], (struct sockaddr *)&address, size) || getsockname(ends[0], (struct sockaddr *)&address, &size))
			return -1;
		return connect(server, (struct sockaddr *)&address, size);
	}
	if (listening && *listening >= 0) /* a storage that accepted sockets get, too */
		on_map(BPF_MAP_UPDATE_ELEM, *listening, &server, &(int){ 5 });
	listen(server, 3);
	if (connect(ends[0], (struct sockaddr *)&address, size))
		return -1;
	ends[1] = accept(server, NULL, NULL);
	if (listening)
		*listening = server;
	else
		close(server);
	return ends[1] < 0;
}

static int carries(int from, int to, size_t bytes)
{
	static char out[4000], in[4000];
	struct pollfd ready = { .fd = to, .events = POLLIN };
	size_t have = 0;

	memset(out, 0x5a, bytes);
	if (send(from, out, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes)
		return 0;
	while (have < bytes && poll(&ready, 1, 200) > 0) {
		ssize_t got = recv(to, in + have, bytes - have, MSG_DONTWAIT);

		if (got <= 0)
			break;
		have += got;
	}
	return have == bytes && memcmp(in, out, bytes);
}

static int maps(void)
{
	static const unsigned int types[] = { 1, 2, 4, 5, 6, 7, 9, 10, 11, 14, 16, 17, 20, 22, 23, 27, 30 };
	unsigned int i, key, next;
	int wrong = 0, inner = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0), map;
	struct { uint32_t bits; uint8_t data[4]; } prefix = { 24, { 10, 9, 0, 0 } };
	uint64_t value = 0x1122334455667788, got[64], keys[16];

	for (i = 0; i < N(types); i++) {
		int no_key = types[i] == 22 || types[i] == 23 || types[i] == 27 || types[i] == 30;

		map = new_map(types[i], no_key ? 0 : types[i] == 11 ? 8 : 4, types[i] == 27 ? 0 : 8, types[i] == 27 ? 4096 : 8, types[i] == 11 ? 1 : 0);
		if (map < 0)
			continue;
		for (key = 0; key < 12; key++) {
			memset(got, 0, sizeof(got));
			prefix.bits = 16 + key;
			if (on_map(BPF_MAP_UPDATE_ELEM, map, types[i] == 11 ? (void *)&prefix : no_key ? NULL : &key, &value) == 0 && (types[i] == 1 || types[i] == 2))
				wrong += on_map(BPF_MAP_LOOKUP_ELEM, map, &key, got) == 0 && got[0] != value;
		}
		on_map(BPF_MAP_LOOKUP_ELEM, map, types[i] == 11 ? (void *)&prefix : no_key ? NULL : &key, got);
		key = 1;
		on_map(BPF_MAP_GET_NEXT_KEY, map, NULL, &next);
		on_map(BPF_MAP_GET_NEXT_KEY, map, types[i] == 11 ? (void *)&prefix : &key, keys);
		bpf(BPF_MAP_LOOKUP_BATCH, &(union bpf_attr){ .batch = { .map_fd = map, .keys = (unsigned long)keys, .values = (unsigned long)got, .count = 4, .out_batch = (unsigned long)&next } });
		on_map(BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, no_key ? NULL : &key, got);
		on_map(BPF_MAP_DELETE_ELEM, map, types[i] == 11 ? (void *)&prefix : &key, NULL);
		bpf(BPF_OBJ_GET_INFO_BY_FD, &(union bpf_attr){ .info = { .bpf_fd = map, .info_len = sizeof(text), .info = (unsigned long)memset(text, 0, 200) } });
		snprintf(text, 100, "/proc/self/fdinfo/%d", map);
		key = open(text, O_RDONLY);
		read(key, text, 1000);
		close(key);
		bpf(BPF_MAP_FREEZE, &(union bpf_attr){ .map_fd = map });
		close(map);
	}
	for (i = 12; i <= 13; i++) {
		map = bpf(BPF_MAP_CREATE, &(union bpf_attr){ .map_type = i, .key_size = 4, .value_size = 4, .max_entries = 4, .inner_map_fd = inner });
		key = 1;
		on_map(BPF_MAP_UPDATE_ELEM, map, &key, &inner);
		on_map(BPF_MAP_LOOKUP_ELEM, map, &key, got);
		on_map(BPF_MAP_DELETE_ELEM, map, &key, NULL);
		close(map);
	}
	map = new_map(BPF_MAP_TYPE_ARRAY, 4, 8, 600, BPF_F_MMAPABLE);
	munmap(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0), 4096);
	pin(map, "map");
	for (i = 0; i < 3; i++) {
		union bpf_attr next_id = { 0 };

		while (bpf(BPF_PROG_GET_NEXT_ID + (int)i + (i == 2 ? BPF_BTF_GET_NEXT_ID - BPF_MAP_GET_NEXT_ID - 1 : 0), &next_id) == 0)
			next_id.start_id = next_id.next_id;
	}
	close(bpf(BPF_ENABLE_STATS, &(union bpf_attr){ 0 }));
	close(map), close(inner);
	return wrong;
}

/* What a map of the storage of sockets needs to know: "int". */
static int new_storage(unsigned int type)
{
	struct { uint16_t magic; uint8_t version, flags; uint32_t head, type_at, type_size, string_at, string_size, types[4]; char strings[8]; }
	btf = { 0xeb9f, 1, 0, 24, 0, 16, 16, 8, { 1, 1 << 24, 4, 1 << 24 | 32 }, "\0int" };
	int types = bpf(BPF_BTF_LOAD, &(union bpf_attr){ .btf = (unsigned long)&btf, .btf_size = sizeof(btf) });

	return bpf(BPF_MAP_CREATE, &(union bpf_attr){ .map_type = type, .key_size = 4, .value_size = 4, .map_flags = BPF_F_NO_PREALLOC | (type == 24 ? BPF_F_CLONE : 0),
		.btf_fd = types, .btf_key_type_id = 1, .btf_value_type_id = 1 });
}

static int storages(void)
{
	int storage = new_storage(BPF_MAP_TYPE_SK_STORAGE), listening = storage, ends[2], value = 0, wrong = 0, self, group;

	if (pair_of(AF_INET, SOCK_STREAM, ends, &listening) == 0) {
		wrong += on_map(BPF_MAP_LOOKUP_ELEM, storage, &listening, &value) == 0 && value != 5;
		on_map(BPF_MAP_LOOKUP_ELEM, storage, &ends[1], &value);
		on_map(BPF_MAP_DELETE_ELEM, storage, &listening, NULL);
	}
	close(ends[0]), close(ends[1]), close(listening), close(storage);
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	storage = new_storage(BPF_MAP_TYPE_TASK_STORAGE);
	on_map(BPF_MAP_UPDATE_ELEM, storage, &self, &value);
	on_map(BPF_MAP_LOOKUP_ELEM, storage, &self, &value);
	close(storage);
	self = open("/tmp", O_RDONLY);
	storage = new_storage(BPF_MAP_TYPE_INODE_STORAGE);
	on_map(BPF_MAP_UPDATE_ELEM, storage, &self, &value);
	close(storage);
	group = open("/tmp/load/bpf", O_RDONLY); /* of groups() */
	storage = new_storage(32 /* cgroups */);
	on_map(BPF_MAP_UPDATE_ELEM, storage, &group, &value);
	on_map(BPF_MAP_DELETE_ELEM, storage, &group, NULL);
	close(storage), close(group);
	return wrong;
}

static int in_sock_maps(unsigned int type, unsigned int how)
{
	int map = new_map(type, 4, 4, 16, 0), one[2] = { -1, -1 }, two[2] = { -1, -1 }, programs[4], wrong = 0;
	unsigned int i, key, redirect = type == BPF_MAP_TYPE_SOCKMAP ? 52 : 72, redirect_message = type == BPF_MAP_TYPE_SOCKMAP ? 60 : 71;
	struct bpf_insn parser[] = { LOAD4(0, 1, 0), END }, pass[] = { SET(0, 1), END };
	struct bpf_insn verdict[] = { MAP(2, map), type == BPF_MAP_TYPE_SOCKMAP ? SET(3, 1) : COPY(3, 10), type == BPF_MAP_TYPE_SOCKMAP ? SET(4, 0) : ADD(3, -4), STORE4(10, -4, 1), SET(4, 0), CALL(redirect), END };

	programs[0] = new_program(BPF_PROG_TYPE_SK_SKB, 0, 0, parser, N(parser));
	programs[1] = new_program(BPF_PROG_TYPE_SK_SKB, 0, 0, how & 1 ? verdict : pass, how & 1 ? N(verdict) : N(pass));
	verdict[6] = CALL(redirect_message);
	programs[2] = new_program(BPF_PROG_TYPE_SK_MSG, BPF_SK_MSG_VERDICT, 0, how & 1 ? verdict : pass, how & 1 ? N(verdict) : N(pass));
	if (how & 2) {
		attached(programs[0], map, BPF_SK_SKB_STREAM_PARSER);
		attached(programs[1], map, BPF_SK_SKB_STREAM_VERDICT);
	} else {
		attached(programs[1], map, BPF_SK_SKB_VERDICT);
	}
	if (how & 4)
		attached(programs[2], map, BPF_SK_MSG_VERDICT);
	i = how & 8 ? SOCK_DGRAM : SOCK_STREAM;
	if (how & 16 ? socketpair(AF_UNIX, i, 0, one) || socketpair(AF_UNIX, i, 0, two) : pair_of(AF_INET, i, one, NULL) || pair_of(AF_INET6, i, two, NULL))
		goto out;
	for (key = 0; key < 4; key++)
		on_map(BPF_MAP_UPDATE_ELEM, map, &key, key < 2 ? &one[key] : &two[key - 2]);
	key = 1;
	on_map(BPF_MAP_LOOKUP_ELEM, map, &key, &text);
	if (how & 32)
		setsockopt(one[0], IPPROTO_TCP, TCP_ULP, "tls", 4);
	for (i = 1; i < 4; i++) {
		int bad = carries(one[0], one[1], i * 900);

		wrong += !(how & 1) && bad;
		carries(two[0], one[1], i * 100);
		carries(two[1], two[0], 50);
	}
	ioctl(one[1], FIONREAD, &i);
	shutdown(two[0], SHUT_RDWR);
	on_map(BPF_MAP_DELETE_ELEM, map, &key, NULL);
	on_map(BPF_MAP_UPDATE_ELEM, map, &key, &one[0]);
	bpf(BPF_PROG_QUERY, &(union bpf_attr){ .query = { .target_fd = map, .attach_type = BPF_SK_SKB_STREAM_PARSER } });
	bpf(BPF_PROG_DETACH, &(union bpf_attr){ .target_fd = map, .attach_bpf_fd = programs[0], .attach_type = BPF_SK_SKB_STREAM_PARSER });
out:
	close(one[0]), close(two[1]), close(map), close(one[1]), close(two[0]);
	for (i = 0; i < 3; i++)
		close(programs[i]);
	return wrong;
}

static int sock_maps(void)
{
	int wrong = 0;
	unsigned int how;

	for (how = 0; how < 8; how++)
		wrong += in_sock_maps(how % 3 ? BPF_MAP_TYPE_SOCKMAP : BPF_MAP_TYPE_SOCKHASH, how);
	wrong += in_sock_maps(BPF_MAP_TYPE_SOCKMAP, 8) + in_sock_maps(BPF_MAP_TYPE_SOCKMAP, 9);
	wrong += in_sock_maps(BPF_MAP_TYPE_SOCKMAP, 16) + in_sock_maps(BPF_MAP_TYPE_SOCKHASH, 17) + in_sock_maps(BPF_MAP_TYPE_SOCKMAP, 24) + in_sock_maps(BPF_MAP_TYPE_SOCKMAP, 38);
	return wrong;
}

/* Every hook of a control group, then what passes them. */
static int groups(void)
{
	static const struct { unsigned char type, attach; } hooks[] = { { 8, 0 }, { 8, 1 }, { 9, 2 }, { 13, 3 }, { 15, 6 }, { 18, 8 }, { 18, 9 }, { 18, 10 }, { 18, 11 },
		{ 9, 12 }, { 9, 13 }, { 18, 14 }, { 18, 15 }, { 23, 18 }, { 18, 19 }, { 18, 20 }, { 25, 21 }, { 25, 22 }, { 18, 29 }, { 18, 30 }, { 18, 31 }, { 18, 32 }, { 9, 34 } };
	struct { uint64_t group; uint32_t type; } storage_key = { 0 };
	int storage = new_map(BPF_MAP_TYPE_CGROUP_STORAGE, sizeof(storage_key), 8, 0, 0), group, ends[2], listening = -1, wrong = 0, file;
	struct bpf_insn plain[] = { SET(0, 1), END }, kept[] = { MAP(1, storage), SET(2, 0), CALL(81 /* get_local_storage */), SET(1, 1), CODE(0xdb, 0, 1, 0, 0), SET(0, 1), END };
	unsigned int i, links = 0;
	int made[2 * N(hooks)];

	mkdir("/tmp/load/bpf", 0700);
	mount("none", "/tmp/load/bpf", "cgroup2", 0, NULL);
	mkdir("/tmp/load/bpf/one", 0700);
	group = open("/tmp/load/bpf/one", O_RDONLY);
	for (i = 0; i < N(hooks); i++) {
		int program = new_program(hooks[i].type, hooks[i].attach, 0, hooks[i].type == 8 || hooks[i].type == 9 ? kept : plain, hooks[i].type == 8 || hooks[i].type == 9 ? N(kept) : N(plain));

		attached(program, group, hooks[i].attach);
		bpf(BPF_PROG_QUERY, &(union bpf_attr){ .query = { .target_fd = group, .attach_type = hooks[i].attach, .prog_ids = (unsigned long)text, .prog_cnt = 10 } });
		made[links++] = linked(program, group, hooks[i].attach, 0);
		made[links++] = program;
	}
	file = open("/tmp/load/bpf/one/cgroup.procs", O_WRONLY);
	write(file, "0", 1);
	close(file);
	for (i = 0; i < 4; i++) {
		if (pair_of(i & 1 ? AF_INET6 : AF_INET, i & 2 ? SOCK_STREAM : SOCK_DGRAM, ends, NULL) == 0) {
			struct sockaddr_in6 name;
			socklen_t size = sizeof(name);

			wrong += carries(ends[0], ends[1], 1000);
			getpeername(ends[0], (struct sockaddr *)&name, &size);
			sendto(ends[0], "x", 1, MSG_DONTWAIT, (struct sockaddr *)&name, size);
			recvfrom(ends[1], text, 10, MSG_DONTWAIT, (struct sockaddr *)&name, &size);
			size = 4;
			getsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, text, &size);
			setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, text, 4);
		}
		close(ends[0]), close(ends[1]);
	}
	listening = open("/proc/sys/kernel/hostname", O_RDWR);
	i = (unsigned int)read(listening, text, 100);
	pwrite(listening, text, i, 0);
	close(listening);
	close(open("/dev/null", O_RDWR));
	on_map(BPF_MAP_GET_NEXT_KEY, storage, NULL, &storage_key);
	on_map(BPF_MAP_LOOKUP_ELEM, storage, &storage_key, text);
	file = open("/tmp/load/bpf/cgroup.procs", O_WRONLY);
	write(file, "0", 1);
	close(file);
	bpf(BPF_LINK_DETACH, &(union bpf_attr){ .link_detach = { .link_fd = made[0] } });
	while (links)
		close(made[--links]);
	close(group), close(storage);
	rmdir("/tmp/load/bpf/one");
	return wrong;
}

/* Programs on the loopback device: generic XDP into a map of processors and of sockets. */
static int packets(void)
{
	int cpus = new_map(BPF_MAP_TYPE_CPUMAP, 4, 8, 4, 0), devices = new_map(BPF_MAP_TYPE_DEVMAP, 4, 8, 4, 0), sockets = new_map(BPF_MAP_TYPE_XSKMAP, 4, 4, 4, 0);
	int target[3] = { cpus, sockets, devices }, lo = (int)if_nametoindex("lo"), ends[2], key = 0, xsk = socket(AF_XDP, SOCK_RAW, 0), link, number = 64, program;
	struct { uint32_t size; int program; } to_cpu = { 192, 0 };
	struct { uint32_t index; int program; } to_device = { lo, 0 };
	struct xdp_umem_reg memory = { .len = 64 * 4096, .chunk_size = 4096 };
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_ifindex = lo, .sxdp_flags = XDP_COPY };
	struct xdp_mmap_offsets offsets;
	struct xdp_statistics statistics;
	socklen_t size = sizeof(offsets);
	unsigned int i, *fill;

	memory.addr = (unsigned long)mmap(NULL, memory.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	setsockopt(xsk, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory));
	for (i = XDP_RX_RING; i <= XDP_UMEM_COMPLETION_RING; i++)
		if (i != XDP_UMEM_REG)
			setsockopt(xsk, SOL_XDP, (int)i, &number, sizeof(number));
	getsockopt(xsk, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size);
	fill = mmap(NULL, offsets.fr.desc + 64 * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xsk, XDP_UMEM_PGOFF_FILL_RING);
	if (bind(xsk, (struct sockaddr *)&address, sizeof(address)) == 0 && (void *)fill != MAP_FAILED) {
		for (i = 0; i < 16; i++)
			*(uint64_t *)((char *)fill + offsets.fr.desc + i * 8) = i * 4096;
		*(unsigned int *)((char *)fill + offsets.fr.producer) = 16;
	}
	on_map(BPF_MAP_UPDATE_ELEM, cpus, &key, &to_cpu);
	on_map(BPF_MAP_UPDATE_ELEM, devices, &key, &to_device);
	on_map(BPF_MAP_UPDATE_ELEM, sockets, &key, &xsk);
	for (i = 0; i < 4; i++) {
		struct bpf_insn code[] = { MAP(2, target[i % 3]), COPY(6, 1), COPY(1, 2), SET(2, 0), SET(3, 2), CALL(51 /* redirect_map */), END };
		struct bpf_insn pass[] = { LOAD4(2, 1, 0), LOAD4(3, 1, 4), COPY(6, 1), SET(2, 0), CALL(44 /* adjust_head */), SET(0, 2), END };

		program = i < 3 ? new_program(BPF_PROG_TYPE_XDP, 0, 0, code, N(code)) : new_program(BPF_PROG_TYPE_XDP, 0, 0, pass, N(pass));
		link = linked(program, lo, BPF_XDP, 2 /* generic */);
		if (link < 0)
			continue;
		if (pair_of(AF_INET, SOCK_DGRAM, ends, NULL) == 0) {
			carries(ends[0], ends[1], 500);
			carries(ends[0], ends[1], 50);
		}
		close(ends[0]), close(ends[1]);
		size = sizeof(statistics);
		getsockopt(xsk, SOL_XDP, XDP_STATISTICS, &statistics, &size);
		recv(xsk, text, 1, MSG_DONTWAIT);
		send(xsk, NULL, 0, MSG_DONTWAIT);
		close(program);
		close(link);
	}
	close(xsk), close(cpus), close(devices), close(sockets);
	return 0;
}

static char *types_of_kernel;
static size_t types_size;

/* The number of a function or struct in the kernel's own types. */
static unsigned int btf_id(const char *name, unsigned int kind)
{
	struct { uint16_t magic; uint8_t version, flags; uint32_t head, type_at, type_size, string_at, string_size; } *head;
	unsigned int id = 0;
	char *at, *end;

	if (!types_of_kernel) {
		int file = open("/sys/kernel/btf/vmlinux", O_RDONLY);
		ssize_t got;

		types_of_kernel = malloc(16 << 20);
		while (file >= 0 && types_size < 16 << 20 && (got = read(file, types_of_kernel + types_size, (16 << 20) - types_size)) > 0)
			types_size += got;
		close(file);
	}
	head = (void *)types_of_kernel;
	if (types_size < sizeof(*head))
		return 0;
	end = types_of_kernel + head->head + head->type_at + head->type_size;
	for (at = types_of_kernel + head->head + head->type_at; at < end; ) {
		uint32_t *type = (void *)at, of = type[1] >> 24 & 31, members = type[1] & 0xffff;

		id++;
		if (of == kind && !strcmp(types_of_kernel + head->head + head->string_at + type[0], name))
			return id;
		at += 12;
		if (of == 3)
			at += 12;
		else if (of == 1 || of == 14 || of == 17)
			at += 4;
		else
			at += (of == 4 || of == 5 || of == 15 || of == 19 ? 12 : of == 6 || of == 13 ? 8 : 0) * members;
	}
	return 0;
}

static int iterators(void)
{
	static const char *const names[] = { "task", "task_file", "task_vma", "bpf_map", "bpf_prog", "bpf_link", "tcp", "udp", "unix", "netlink", "ipv6_route", "ksym", "bpf_map_elem", "sockmap", "bpf_sk_storage_map", "cgroup" };
	struct bpf_insn code[] = { SET(0, 0), END };
	char name[64];
	unsigned int i;
	int map = new_map(BPF_MAP_TYPE_HASH, 4, 8, 8, 0), rounds, sockets = new_map(BPF_MAP_TYPE_SOCKMAP, 4, 4, 4, 0);
	int storage = new_storage(BPF_MAP_TYPE_SK_STORAGE), key = 1, own = socket(AF_INET, SOCK_DGRAM, 0);

	on_map(BPF_MAP_UPDATE_ELEM, map, &key, text);
	on_map(BPF_MAP_UPDATE_ELEM, storage, &own, &key);
	for (i = 0; i < N(names); i++) {
		union bpf_iter_link_info info = { .map = { .map_fd = !strcmp(names[i], "sockmap") ? sockets : !strcmp(names[i], "bpf_map_elem") ? map : storage } };
		int program, link, iterator;

		snprintf(name, sizeof(name), "bpf_iter_%s", names[i]);
		program = new_program(BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, btf_id(name, 12), code, N(code));
		if (program < 0)
			continue;
		link = bpf(BPF_LINK_CREATE, &(union bpf_attr){ .link_create = { .prog_fd = program, .attach_type = BPF_TRACE_ITER,
			.iter_info = (unsigned long)(i >= 12 && i < 15 ? &info : NULL), .iter_info_len = i >= 12 && i < 15 ? sizeof(info) : 0 } });
		iterator = bpf(BPF_ITER_CREATE, &(union bpf_attr){ .iter_create = { .link_fd = link } });
		for (rounds = 0; rounds < 20 && read(iterator, text, sizeof(text)) > 0; rounds++)
			;
		close(iterator), close(link), close(program);
	}
	close(map), close(sockets), close(storage), close(own);
	return 0;
}

/* Programs on functions, trace points and decisions; what they tell comes over a ring. */
static int traces(void)
{
	int ring = new_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), stacks = new_map(BPF_MAP_TYPE_STACK_TRACE, 4, 80, 64, 0), fds[24], n = 0;
	struct bpf_insn code[] = { COPY(6, 1), MAP(2, stacks), SET(3, 0), CALL(27 /* get_stackid */), CALL(35 /* get_current_task */), CALL(14),
		STORE8(10, -8, 0), COPY(1, 10), ADD(1, -24), SET(2, 16), CALL(16 /* comm */), MAP(1, ring), COPY(2, 10), ADD(2, -8), SET(3, 8), SET(4, 0), CALL(130 /* ringbuf_output */), SET(0, 0), END };
	struct bpf_insn none[] = { SET(0, 0), END };
	static const char *const points[] = { "sched_switch", "sys_enter", "sched_process_fork", "sched_process_exit" };
	static const char *const lsm[] = { "bpf_lsm_file_open", "bpf_lsm_task_alloc", "bpf_lsm_socket_create" };
	unsigned int i;
	pid_t child;

	for (i = 0; i < N(points); i++) {
		fds[n++] = new_program(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0, code, N(code));
		fds[n] = bpf(BPF_RAW_TRACEPOINT_OPEN, &(union bpf_attr){ .raw_tracepoint = { .name = (unsigned long)points[i], .prog_fd = fds[n - 1] } });
		n++;
	}
	for (i = 0; i < N(lsm); i++) {
		fds[n++] = new_program(BPF_PROG_TYPE_LSM, BPF_LSM_MAC, btf_id(lsm[i], 12), none, N(none));
		fds[n] = linked(fds[n - 1], 0, BPF_LSM_MAC, 0);
		n++;
	}
	for (i = BPF_TRACE_FENTRY; i <= BPF_MODIFY_RETURN; i++) {
		fds[n++] = new_program(BPF_PROG_TYPE_TRACING, i, btf_id(i == BPF_MODIFY_RETURN ? "bpf_modify_return_test" : "bpf_fentry_test1", 12), none, N(none));
		fds[n] = bpf(BPF_RAW_TRACEPOINT_OPEN, &(union bpf_attr){ .raw_tracepoint = { .prog_fd = fds[n - 1] } });
		bpf(BPF_PROG_TEST_RUN, &(union bpf_attr){ .test = { .prog_fd = fds[n - 1] } });
		n++;
	}
	child = fork();
	if (child == 0) {
		close(open("/dev/null", O_RDONLY));
		_exit(0);
	}
	usleep(50000);
	bpf(BPF_OBJ_GET_INFO_BY_FD, &(union bpf_attr){ .info = { .bpf_fd = fds[1], .info_len = 200, .info = (unsigned long)memset(text, 0, 200) } });
	bpf(BPF_TASK_FD_QUERY, &(union bpf_attr){ .task_fd_query = { .pid = getpid(), .fd = fds[1], .buf_len = 100, .buf = (unsigned long)text } });
	poll(&(struct pollfd){ .fd = ring, .events = POLLIN }, 1, 0);
	while (n)
		close(fds[--n]);
	close(ring), close(stacks);
	return 0;
}

/* For the verifier: branches, bounds, loops, calls, pointers that are lost; most are let through. */
static int verified(void)
{
	int array = new_map(BPF_MAP_TYPE_ARRAY, 4, 64, 4, 0), tails = new_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0), program, key = 0;
	struct bpf_insn looked[] = { STORE4(10, -4, 1), COPY(2, 10), ADD(2, -4), MAP(1, array), CALL(1), JUMP_EQ(0, 0, 4), LOAD4(1, 0, 8), CODE(0x57, 1, 0, 0, 31), CODE(0x0f, 0, 1, 0, 0), CODE(0x73, 0, 1, 0, 0), SET(0, 0), END };
	struct bpf_insn loops[] = { SET(6, 0), ADD(6, 1), CODE(0xb4, 7, 0, 0, 9), CODE(0x64, 7, 0, 0, 3), CODE(0xc4, 7, 0, 0, 1), CODE(0xa5, 6, 0, -5, 20), COPY(0, 6), END };
	struct bpf_insn calls[] = { SET(1, 5), CODE(0x85, 0, 1, 0, 1), END, COPY(0, 1), CODE(0x67, 0, 0, 0, 3), CODE(0x77, 0, 0, 0, 1), CODE(0x87, 0, 0, 0, 0), CODE(0xdc, 0, 0, 0, 32), CODE(0xbe, 0, 0, 0, 0), END };
	struct bpf_insn jumps[] = { COPY(6, 1), MAP(2, tails), SET(3, 1), CALL(12 /* tail_call */), CALL(7 /* prandom */), CODE(0x65, 0, 0, 2, 5), CODE(0xc5, 0, 0, 1, -5), SET(0, 3), CODE(0xae, 0, 0, 1, 0), CODE(0xa6, 0, 0, 0, 9), SET(0, 0), END };
	struct bpf_insn atomics[] = { SET(1, 1), STORE8(10, -8, 1), CODE(0xdb, 10, 1, -8, 0x01), CODE(0xdb, 10, 1, -8, 0xe1), SET(0, 1), CODE(0xdb, 10, 1, -8, 0xf1), CODE(0xdb, 10, 1, -8, 0x51), SET(0, 0), END };
	struct bpf_insn refused[] = { LOAD4(0, 1, 4000), STORE8(10, 8, 1), END }, data[] = { LOAD4(2, 1, 76), LOAD4(3, 1, 80), COPY(4, 2), ADD(4, 14), CODE(0x2d, 4, 3, 1, 0), CODE(0x69, 0, 2, 12, 0), SET(0, 0), END };
	struct bpf_insn ld_abs[] = { COPY(6, 1), CODE(0x28, 0, 0, 0, 12), CODE(0x50, 0, 0, 0, 3), CODE(0x20, 0, 0, 0, 0), SET(0, 0), END };
	struct { struct bpf_insn *code; unsigned int length; } all[] = { { looked, N(looked) }, { loops, N(loops) }, { calls, N(calls) }, { jumps, N(jumps) }, { atomics, N(atomics) }, { refused, N(refused) }, { data, N(data) }, { ld_abs, N(ld_abs) } };
	static const unsigned char types[] = { BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_LWT_XMIT, BPF_PROG_TYPE_KPROBE };
	unsigned int i, j;

	for (i = 0; i < N(types); i++)
		for (j = 0; j < N(all); j++) {
			program = new_program(types[i], 0, 0, all[j].code, all[j].length);
			if (program < 0)
				continue;
			on_map(BPF_MAP_UPDATE_ELEM, tails, &key, &program);
			bpf(BPF_PROG_TEST_RUN, &(union bpf_attr){ .test = { .prog_fd = program, .data_in = (unsigned long)text, .data_size_in = 100, .data_out = (unsigned long)text, .data_size_out = 100, .repeat = 2 } });
			bpf(BPF_OBJ_GET_INFO_BY_FD, &(union bpf_attr){ .info = { .bpf_fd = program, .info_len = 200, .info = (unsigned long)memset(text, 0, 200) } });
			if (i == 1) {
				int ends[2];

				if (pair_of(AF_INET, SOCK_DGRAM, ends, NULL) == 0) {
					setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_BPF, &program, 4);
					setsockopt(ends[1], SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, 4);
					setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, 4);
					send(ends[0], "x", 1, 0);
					setsockopt(ends[1], SOL_SOCKET, SO_DETACH_FILTER, &program, 4);
				}
				close(ends[0]), close(ends[1]);
			}
			close(program);
		}
	close(array), close(tails);
	return 0;
}

/* Left for tc, ip and iptables. */
static int pinned(void)
{
	static const struct { const char *name; unsigned char type, attach; } kinds[] = { { "cls", BPF_PROG_TYPE_SCHED_CLS, 0 }, { "act", BPF_PROG_TYPE_SCHED_ACT, 0 }, { "xdp", BPF_PROG_TYPE_XDP, 0 },
		{ "lwt_in", BPF_PROG_TYPE_LWT_IN, 0 }, { "lwt_out", BPF_PROG_TYPE_LWT_OUT, 0 }, { "lwt_xmit", BPF_PROG_TYPE_LWT_XMIT, 0 }, { "filter", BPF_PROG_TYPE_SOCKET_FILTER, 0 }, { "lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
		{ "dissect", BPF_PROG_TYPE_FLOW_DISSECTOR, BPF_FLOW_DISSECTOR } };
	unsigned int i;
	int space = open("/proc/self/ns/net", O_RDONLY), ends[2];

	mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
	for (i = 0; i < N(kinds); i++) {
		struct bpf_insn code[] = { SET(0, kinds[i].type == BPF_PROG_TYPE_XDP ? 2 : kinds[i].type == BPF_PROG_TYPE_SK_LOOKUP ? 1 : 0), END };
		int program = new_program(kinds[i].type, kinds[i].attach, 0, code, N(code)), link = -1;

		pin(program, kinds[i].name);
		if (kinds[i].attach)
			link = linked(program, space, kinds[i].attach, 0);
		if (pair_of(AF_INET, i & 1 ? SOCK_STREAM : SOCK_DGRAM, ends, NULL) == 0)
			carries(ends[0], ends[1], 100);
		close(ends[0]), close(ends[1]);
		close(link), close(program);
	}
	close(space);
	return 0;
}

int load_bpf(void)
{
	return apart(sock_maps, 8) + apart(groups, 8) + apart(storages, 4) + apart(packets, 5) + apart(maps, 5) + apart(traces, 6) + apart(verified, 6) + apart(iterators, 8) + apart(pinned, 5);
}
