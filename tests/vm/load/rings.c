// SPDX-License-Identifier: Apache-2.0
/* io_uring: every operation, inline, queued and linked, in rings of every kind. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "load.h"

#define ENTRIES 32
#define SQE128 (1U << 10)
#define CQE32 (1U << 11)

struct ring {
	int fd;
	unsigned int flags, *sq_head, *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	char *sqes, *cqes;
};

static char file_name[64];
static char data[8192], back[8192];

static int ring_open(struct ring *ring, unsigned int flags)
{
	struct io_uring_params parameters = { .flags = flags, .sq_thread_idle = 20 };
	char *rings;

	ring->flags = flags;
	ring->fd = (int)syscall(__NR_io_uring_setup, ENTRIES, &parameters);
	if (ring->fd < 0)
		return -1;
	rings = mmap(NULL, parameters.cq_off.cqes + parameters.cq_entries * 32 + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		     ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, parameters.sq_entries * (flags & SQE128 ? 128 : 64), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring->fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || (void *)ring->sqes == MAP_FAILED)
		return -1;
	ring->sq_head = (void *)(rings + parameters.sq_off.head);
	ring->sq_tail = (void *)(rings + parameters.sq_off.tail);
	ring->sq_mask = (void *)(rings + parameters.sq_off.ring_mask);
	ring->sq_array = (void *)(rings + parameters.sq_off.array);
	ring->sq_flags = (void *)(rings + parameters.sq_off.flags);
	ring->cq_head = (void *)(rings + parameters.cq_off.head);
	ring->cq_tail = (void *)(rings + parameters.cq_off.tail);
	ring->cq_mask = (void *)(rings + parameters.cq_off.ring_mask);
	ring->cqes = rings + parameters.cq_off.cqes;
	return 0;
}

static struct io_uring_sqe *push(struct ring *ring, int op, int fd, const void *address, unsigned int length, unsigned long long offset)
{
	unsigned int tail = *ring->sq_tail, slot = tail & *ring->sq_mask;
	struct io_uring_sqe *entry = (void *)(ring->sqes + slot * (ring->flags & SQE128 ? 128 : 64));

	memset(entry, 0, sizeof(*entry));
	entry->opcode = op;
	entry->fd = fd;
	entry->addr = (unsigned long)address;
	entry->len = length;
	entry->off = offset;
	entry->user_data = op + 1000;
	ring->sq_array[slot] = slot;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	return entry;
}

/* Submits what was pushed and takes what comes within some milliseconds; returns the last result. */
static int run(struct ring *ring, unsigned int want)
{
	struct __kernel_timespec limit = { 0, 30000000 };
	struct io_uring_getevents_arg argument = { .ts = (unsigned long)&limit };
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, pushed = *ring->sq_tail - *ring->sq_head;
	int result = -1;

	if (*ring->sq_flags & IORING_SQ_NEED_WAKEUP || ring->flags & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	syscall(__NR_io_uring_enter, ring->fd, pushed, want, flags, &argument, sizeof(argument));
	while (*ring->cq_head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *entry = (void *)(ring->cqes + (*ring->cq_head & *ring->cq_mask) * (ring->flags & CQE32 ? 32 : 16));

		result = entry->res;
		__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
	}
	return result;
}

static int one(struct ring *ring, unsigned int how, struct io_uring_sqe *entry)
{
	entry->flags |= how;
	return run(ring, 1);
}

static int on_files(struct ring *ring, unsigned int how)
{
	int file = open(file_name, O_RDWR | O_CREAT | O_TRUNC, 0600), wrong = 0, ends[2], ends2[2], got;
	struct iovec parts[2] = { { data, 1000 }, { data + 1000, 3096 } }, back_parts[1] = { { back, 4096 } };
	struct io_uring_sqe *entry;
	struct open_how open_how = { .flags = O_RDONLY };
	struct statx status;
	char other[80], third[80];

	snprintf(other, sizeof(other), "%s.2", file_name);
	snprintf(third, sizeof(third), "%s.3", file_name);
	got = one(ring, how, push(ring, IORING_OP_WRITEV, file, parts, 2, 0));
	memset(back, 0, sizeof(back));
	if (got == 4096 && one(ring, how, push(ring, IORING_OP_READV, file, back_parts, 1, 0)) == 4096)
		wrong += !!memcmp(data, back, 4096);
	if (one(ring, how, push(ring, IORING_OP_WRITE, file, data + 100, 4096, 4096)) == 4096) {
		if (one(ring, how, push(ring, IORING_OP_READ, file, back, 4096, 4096)) == 4096)
			wrong += !!memcmp(data + 100, back, 4096);
	}
	one(ring, how, push(ring, IORING_OP_FSYNC, file, NULL, 0, 0));
	one(ring, how, push(ring, IORING_OP_SYNC_FILE_RANGE, file, NULL, 4096, 0));
	one(ring, how, push(ring, IORING_OP_FALLOCATE, file, (void *)8192, 0, 8192));
	one(ring, how, push(ring, IORING_OP_FADVISE, file, NULL, 4096, 0));
	one(ring, how, push(ring, IORING_OP_MADVISE, -1, back, 4096, 0));
	push(ring, IORING_OP_STATX, AT_FDCWD, file_name, 0x7ff, (unsigned long)&status)->statx_flags = 0;
	run(ring, 1);
	entry = push(ring, IORING_OP_FSETXATTR, file, "user.load", 4, (unsigned long)"data");
	entry->addr3 = (unsigned long)"";
	run(ring, 1);
	one(ring, how, push(ring, IORING_OP_FGETXATTR, file, "user.load", 100, (unsigned long)back));
	entry = push(ring, IORING_OP_GETXATTR, 0, "user.load", 100, (unsigned long)back);
	entry->addr3 = (unsigned long)file_name;
	run(ring, 1);
	got = one(ring, how, push(ring, IORING_OP_OPENAT, AT_FDCWD, file_name, 0, 0));
	one(ring, how, push(ring, IORING_OP_CLOSE, got, NULL, 0, 0));
	got = one(ring, how, push(ring, IORING_OP_OPENAT2, AT_FDCWD, file_name, sizeof(open_how), (unsigned long)&open_how));
	one(ring, how, push(ring, IORING_OP_CLOSE, got, NULL, 0, 0));
	one(ring, how, push(ring, IORING_OP_LINKAT, AT_FDCWD, file_name, AT_FDCWD, (unsigned long)other));
	one(ring, how, push(ring, IORING_OP_RENAMEAT, AT_FDCWD, other, AT_FDCWD, (unsigned long)third));
	one(ring, how, push(ring, IORING_OP_UNLINKAT, AT_FDCWD, third, 0, 0));
	one(ring, how, push(ring, IORING_OP_SYMLINKAT, AT_FDCWD, "nowhere", 0, (unsigned long)other));
	one(ring, how, push(ring, IORING_OP_UNLINKAT, AT_FDCWD, other, 0, 0));
	one(ring, how, push(ring, IORING_OP_MKDIRAT, AT_FDCWD, other, 0700, 0));
	entry = push(ring, IORING_OP_UNLINKAT, AT_FDCWD, other, 0, 0);
	entry->unlink_flags = AT_REMOVEDIR;
	run(ring, 1);
	if (pipe(ends) == 0 && pipe(ends2) == 0) {
		entry = push(ring, IORING_OP_SPLICE, ends[1], NULL, 1000, (unsigned long long)-1);
		entry->splice_fd_in = file;
		entry->splice_off_in = 0;
		one(ring, how, entry);
		entry = push(ring, IORING_OP_TEE, ends2[1], NULL, 1000, 0);
		entry->splice_fd_in = ends[0];
		one(ring, how, entry);
		close(ends[0]), close(ends[1]), close(ends2[0]), close(ends2[1]);
	}
	close(file);
	unlink(file_name);
	return wrong;
}

static int on_sockets(struct ring *ring, unsigned int how)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct iovec part = { data, 1000 }, back_part = { back, 1000 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 }, back_message = { .msg_iov = &back_part, .msg_iovlen = 1 };
	struct epoll_event event = { .events = EPOLLIN };
	int listening = one(ring, 0, push(ring, IORING_OP_SOCKET, AF_INET, NULL, 0, SOCK_STREAM)), client, peer = -1, wrong = 0;
	int multiplexer = epoll_create1(0);
	socklen_t size = sizeof(address);
	struct io_uring_sqe *entry;

	if (listening < 0)
		listening = socket(AF_INET, SOCK_STREAM, 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 5) ||
	    getsockname(listening, (struct sockaddr *)&address, &size))
		return 0;
	push(ring, IORING_OP_ACCEPT, listening, NULL, 0, 0);
	run(ring, 0);
	push(ring, IORING_OP_CONNECT, client, &address, 0, sizeof(address))->flags = how;
	run(ring, 2);
	push(ring, IORING_OP_ACCEPT, listening, NULL, 0, 0)->ioprio = IORING_ACCEPT_MULTISHOT;
	run(ring, 0);
	close(client);
	client = socket(AF_INET, SOCK_STREAM, 0);
	connect(client, (struct sockaddr *)&address, sizeof(address));
	peer = run(ring, 1);
	if (peer > 2) {
		one(ring, how, push(ring, IORING_OP_SENDMSG, client, &message, 1, 0));
		memset(back, 0, 1000);
		if (one(ring, how, push(ring, IORING_OP_RECVMSG, peer, &back_message, 1, 0)) == 1000)
			wrong += !!memcmp(data, back, 1000);
		push(ring, IORING_OP_POLL_ADD, peer, NULL, 0, 0)->poll32_events = POLLIN;
		push(ring, IORING_OP_RECV, peer, back, 1000, 0);
		run(ring, 0);
		one(ring, how, push(ring, IORING_OP_SEND, client, data, 1000, 0));
		run(ring, 1);
		one(ring, how, push(ring, IORING_OP_SEND_ZC, client, data, 1000, 0));
		one(ring, how, push(ring, IORING_OP_SENDMSG_ZC, client, &message, 1, 0));
		one(ring, how, push(ring, IORING_OP_EPOLL_CTL, multiplexer, &event, EPOLL_CTL_ADD, peer));
		/* Receive into a buffer of a provided group, in many shots. */
		push(ring, IORING_OP_PROVIDE_BUFFERS, 4, back, 1000, 0)->buf_group = 3;
		run(ring, 1);
		entry = push(ring, IORING_OP_RECV, peer, NULL, 0, 0);
		entry->flags = IOSQE_BUFFER_SELECT;
		entry->buf_group = 3;
		entry->ioprio = IORING_RECV_MULTISHOT;
		run(ring, 1);
		push(ring, IORING_OP_REMOVE_BUFFERS, 4, NULL, 0, 0)->buf_group = 3;
		run(ring, 1);
		one(ring, how, push(ring, IORING_OP_SHUTDOWN, client, NULL, SHUT_WR, 0));
		entry = push(ring, IORING_OP_ASYNC_CANCEL, -1, (void *)(unsigned long)(IORING_OP_ACCEPT + 1000), 0, 0);
		entry->cancel_flags = IORING_ASYNC_CANCEL_ALL;
		run(ring, 2);
	}
	close(peer), close(client), close(listening), close(multiplexer);
	return wrong;
}

static void on_time(struct ring *ring, unsigned int how)
{
	struct __kernel_timespec soon = { 0, 2000000 }, late = { 5, 0 };
	int ends[2], counter = eventfd(0, 0);
	struct io_uring_sqe *entry;

	push(ring, IORING_OP_TIMEOUT, -1, &soon, 1, 0)->flags = how;
	run(ring, 1);
	push(ring, IORING_OP_TIMEOUT, -1, &late, 1, 0);
	push(ring, IORING_OP_TIMEOUT, -1, &late, 1, 3)->user_data = 7;
	run(ring, 0);
	entry = push(ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)7UL, 0, (unsigned long)&soon);
	entry->timeout_flags = IORING_TIMEOUT_UPDATE;
	push(ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)(unsigned long)(IORING_OP_TIMEOUT + 1000), 0, 0);
	run(ring, 3);
	if (pipe(ends))
		return;
	push(ring, IORING_OP_READ, ends[0], back, 100, 0)->flags = IOSQE_IO_LINK | how;
	push(ring, IORING_OP_LINK_TIMEOUT, -1, &soon, 1, 0);
	run(ring, 2);
	push(ring, IORING_OP_POLL_ADD, ends[0], NULL, IORING_POLL_ADD_MULTI, 0)->poll32_events = POLLIN;
	push(ring, IORING_OP_READ, counter, back, 8, 0)->flags = IOSQE_ASYNC;
	run(ring, 0);
	write(ends[1], data, 10);
	entry = push(ring, IORING_OP_POLL_REMOVE, -1, (void *)(unsigned long)(IORING_OP_POLL_ADD + 1000), IORING_POLL_UPDATE_EVENTS, 0);
	entry->poll32_events = POLLIN | POLLHUP;
	run(ring, 1);
	push(ring, IORING_OP_POLL_REMOVE, -1, (void *)(unsigned long)(IORING_OP_POLL_ADD + 1000), 0, 0);
	push(ring, IORING_OP_NOP, -1, NULL, 0, 0)->flags = IOSQE_IO_DRAIN;
	push(ring, IORING_OP_NOP, -1, NULL, 0, 0)->flags = IOSQE_IO_HARDLINK;
	push(ring, IORING_OP_MSG_RING, ring->fd, NULL, 5, 6);
	push(ring, IORING_OP_ASYNC_CANCEL, counter, NULL, 0, 0)->cancel_flags = IORING_ASYNC_CANCEL_FD;
	push(ring, IORING_OP_URING_CMD, ends[0], NULL, 0, 0);
	run(ring, 5);
	close(ends[0]), close(ends[1]), close(counter);
}

static int registered(struct ring *ring)
{
	int files[4] = { open(file_name, O_RDWR | O_CREAT, 0600), eventfd(0, 0), -1, -1 }, wrong = 0, node;
	struct iovec buffers[2] = { { data, 4096 }, { back, 4096 } };
	struct io_uring_files_update update = { .offset = 1, .fds = (unsigned long)files };
	unsigned int workers[2] = { 1, 1 };
	struct io_uring_buf_reg group = { .ring_entries = 8, .bgid = 9 };
	struct io_uring_sync_cancel_reg cancel = { .fd = -1, .flags = IORING_ASYNC_CANCEL_ANY, .timeout = { -1, -1 } };
	struct { struct io_uring_probe head; struct io_uring_probe_op more[64]; } probe = { 0 };
	struct io_uring_sqe *entry;
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PROBE, &probe, 64);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, buffers, 2);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES, files, 4);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_EVENTFD, &files[1], 1);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
	entry = push(ring, IORING_OP_WRITE_FIXED, 0, data, 4096, 0);
	entry->flags = IOSQE_FIXED_FILE;
	if (run(ring, 1) == 4096) {
		memset(back, 0, 4096);
		entry = push(ring, IORING_OP_READ_FIXED, 0, back, 4096, 0);
		entry->flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
		entry->buf_index = 1;
		if (run(ring, 1) == 4096)
			wrong = !!memcmp(back, data, 4096);
	}
	one(ring, 0, push(ring, IORING_OP_FILES_UPDATE, -1, files, 1, 2));
	entry = push(ring, IORING_OP_OPENAT, AT_FDCWD, file_name, 0, 0);
	entry->file_index = 4;
	run(ring, 1);
	entry = push(ring, IORING_OP_CLOSE, 0, NULL, 0, 0);
	entry->file_index = 4;
	run(ring, 1);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES_UPDATE, &update, 2);
	group.ring_addr = (unsigned long)memory;
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PBUF_RING, &group, 1);
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_PBUF_RING, &group, 1);
	node = (int)syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PERSONALITY, NULL, 0);
	entry = push(ring, IORING_OP_NOP, -1, NULL, 0, 0);
	entry->personality = node;
	run(ring, 1);
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_PERSONALITY, NULL, node);
	syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_SYNC_CANCEL, &cancel, 1);
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_EVENTFD, NULL, 0);
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_FILES, NULL, 0);
	close(files[0]), close(files[1]);
	munmap(memory, 4096);
	return wrong;
}

static unsigned int ring_flags;

static int ring_of_a_kind(void)
{
	struct ring ring;
	char text[500];
	int wrong = 0, info;

	if (ring_open(&ring, ring_flags))
		return 0;
	if (ring_flags & IORING_SETUP_R_DISABLED)
		syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	wrong += on_files(&ring, 0) + on_sockets(&ring, 0);
	on_time(&ring, 0);
	wrong += registered(&ring);
	wrong += on_files(&ring, IOSQE_ASYNC) + on_sockets(&ring, IOSQE_ASYNC);
	on_time(&ring, IOSQE_ASYNC);
	snprintf(text, sizeof(text), "/proc/self/fdinfo/%d", ring.fd);
	info = open(text, O_RDONLY);
	read(info, text, sizeof(text));
	close(info);
	if (ring_flags & IORING_SETUP_SQPOLL) /* idle, and woken again */
		usleep(60000), one(&ring, 0, push(&ring, IORING_OP_NOP, -1, NULL, 0, 0));
	/* The last ones are left to the end of the ring. */
	push(&ring, IORING_OP_POLL_ADD, ring.fd, NULL, 0, 0)->poll32_events = POLLIN;
	push(&ring, IORING_OP_READ, 0, back, 1, 0)->flags = IOSQE_ASYNC;
	run(&ring, 0);
	close(ring.fd);
	return wrong;
}

int load_rings(void)
{
	static const unsigned int kinds[] = { 0, IORING_SETUP_SQPOLL, IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_R_DISABLED | SQE128 | CQE32, IORING_SETUP_IOPOLL };
	int wrong = 0;
	unsigned int i;

	snprintf(file_name, sizeof(file_name), "/tmp/load.ring.%d", getpid());
	for (i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 100);
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		ring_flags = kinds[i];
		wrong += apart(ring_of_a_kind, 5);
	}
	return wrong;
}
