// SPDX-License-Identifier: Apache-2.0
/* Processes and what they share: signals, timers, IPC, namespaces, tracing, BPF, keys, io_uring. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

static void *thread(void *lock)
{
	int i;

	for (i = 0; i < 500; i++) {
		pthread_mutex_lock(lock);
		sched_yield();
		pthread_mutex_unlock(lock);
	}
	return NULL;
}

static void threads(void)
{
	pthread_mutexattr_t attributes;
	pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, heir;
	pthread_t all[4];
	int i;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&heir, &attributes);
	for (i = 0; i < 4; i++)
		pthread_create(&all[i], NULL, thread, i % 2 ? &plain : &heir);
	for (i = 0; i < 4; i++)
		pthread_join(all[i], NULL);
}

static void scheduling(void)
{
	struct { unsigned int size, policy; unsigned long flags; int nice; unsigned int priority; unsigned long runtime, deadline, period; }
	deadline = { 48, 6, 0, 0, 0, 10000000, 30000000, 30000000 };
	struct sched_param real = { 10 };
	cpu_set_t cpus;
	volatile long spin;

	if (fork() == 0) {
		sched_setscheduler(0, SCHED_FIFO, &real);
		for (spin = 0; spin < 100000; spin++)
			;
		sched_setscheduler(0, SCHED_RR, &real);
		sched_yield();
		syscall(SYS_sched_setattr, 0, &deadline, 0);
		sched_yield();
		usleep(50000);
		real.sched_priority = 0;
		sched_setscheduler(0, SCHED_BATCH, &real);
		sched_setscheduler(0, SCHED_IDLE, &real);
		CPU_ZERO(&cpus);
		CPU_SET(1, &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
		CPU_SET(0, &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
		prctl(PR_SCHED_CORE, 1, 0, 0, 0);
		setpriority(PRIO_PROCESS, 0, 5);
		_exit(0);
	}
	wait(NULL);
}

static void handler(int number) { (void)number; }

static void signals_and_time(void)
{
	struct itimerspec soon = { { 0, 2000000 }, { 0, 1000000 } };
	struct itimerval real = { { 0, 2000 }, { 0, 1000 } };
	struct sigaction action = { .sa_handler = handler };
	int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID, CLOCK_BOOTTIME_ALARM };
	unsigned long expired;
	timer_t timer;
	sigset_t set;
	unsigned int i;

	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 6; i++) {
		struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
		int fd = timerfd_create(clocks[i], TFD_NONBLOCK);
		struct timespec now;

		clock_gettime(clocks[i], &now);
		clock_getres(clocks[i], &now);
		if (timer_create(clocks[i], &event, &timer) == 0) {
			timer_settime(timer, 0, &soon, NULL);
			usleep(6000);
			timer_gettime(timer, &soon);
			timer_delete(timer);
		}
		timerfd_settime(fd, 0, &soon, NULL);
		usleep(3000);
		read(fd, &expired, 8);
		close(fd);
	}
	setitimer(ITIMER_VIRTUAL, &real, NULL);
	setitimer(ITIMER_PROF, &(struct itimerval){ 0 }, NULL);
	setitimer(ITIMER_VIRTUAL, &(struct itimerval){ 0 }, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	close(signalfd(-1, &set, 0));
	sigqueue(getpid(), SIGUSR1, (union sigval){ 7 });
	sigtimedwait(&set, NULL, &(struct timespec){ 0, 1000000 });
}

static void ipc(void)
{
	int queue = msgget(IPC_PRIVATE, 0600), memory = shmget(IPC_PRIVATE, 100000, 0600), semaphore = semget(IPC_PRIVATE, 3, 0600);
	struct { long type; char text[3000]; } message = { 1, "hello" };
	struct sembuf ups[2] = { { 0, 2, SEM_UNDO }, { 1, 1, 0 } };
	struct mq_attr attributes = { .mq_maxmsg = 4, .mq_msgsize = 100 };
	mqd_t posix = mq_open("/load", O_CREAT | O_RDWR, 0600, &attributes);
	char text[100], *at = shmat(memory, NULL, 0);

	msgsnd(queue, &message, 2500, 0);
	msgrcv(queue, &message, 3000, 0, IPC_NOWAIT);
	if (at != (char *)-1) {
		at[5000] = 1;
		shmdt(at);
	}
	semop(semaphore, ups, 2);
	semtimedop(semaphore, &(struct sembuf){ 2, -1, 0 }, 1, &(struct timespec){ 0, 1000000 });
	mq_send(posix, "x", 1, 1);
	mq_receive(posix, text, 100, NULL);
	mq_close(posix);
	mq_unlink("/load");
	msgctl(queue, IPC_RMID, NULL);
	shmctl(memory, IPC_RMID, NULL);
	semctl(semaphore, 0, IPC_RMID);
}

static int events(void)
{
	int waiting = epoll_create1(0), event = eventfd(0, EFD_NONBLOCK), inner = epoll_create1(0), pipes[2], wrong = 0;
	struct epoll_event want = { .events = EPOLLIN | EPOLLET }, got[4];
	unsigned long one = 1;
	char text[100];

	epoll_ctl(waiting, EPOLL_CTL_ADD, event, &want);
	epoll_ctl(waiting, EPOLL_CTL_ADD, inner, &want);
	write(event, &one, 8);
	wrong += epoll_wait(waiting, got, 4, 100) != 1;
	if (pipe2(pipes, O_NONBLOCK) == 0) {
		fcntl(pipes[1], F_SETPIPE_SZ, 1 << 17);
		write(pipes[1], "hello", 5);
		wrong += read(pipes[0], text, 100) != 5;
		close(pipes[0]);
		close(pipes[1]);
	}
	close(inner);
	close(event);
	close(waiting);
	return wrong;
}

static void traced(void)
{
	pid_t child = fork();
	int status, pidfd;

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		getppid();
		_exit(3);
	}
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD);
	ptrace(PTRACE_SYSCALL, child, 0, 0);
	waitpid(child, &status, 0);
	ptrace(PTRACE_PEEKUSER, child, 8, 0);
	ptrace(PTRACE_SINGLESTEP, child, 0, 0);
	waitpid(child, &status, 0);
	syscall(SYS_kcmp, getpid(), child, 0, 1, 1);
	close((int)syscall(SYS_pidfd_getfd, pidfd, 1, 0));
	ptrace(PTRACE_DETACH, child, 0, 0);
	syscall(SYS_waitid, 3, pidfd, NULL, WEXITED, NULL);
	close(pidfd);
}

static void namespaces(void)
{
	if (fork() == 0) {
		unshare(CLONE_NEWUSER);
		unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWPID | CLONE_NEWTIME);
		if (fork() == 0) {
			sethostname("inside", 6);
			_exit(socket(2, 2, 0) < 0);
		}
		wait(NULL);
		_exit(0);
	}
	wait(NULL);
}

static void programs_of_bpf(void)
{
	struct bpf_insn code[] = {
		{ .code = 0xb7, .dst_reg = 0, .imm = 1 }, { .code = 0x07, .dst_reg = 0, .imm = 5 },
		{ .code = 0x55, .dst_reg = 0, .off = 1, .imm = 6 }, { .code = 0xb7, .dst_reg = 0, .imm = 0 }, { .code = 0x95 },
	};
	static char log[65536], packet[64];
	int types[] = { BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_TRACEPOINT }, map, program;
	unsigned int i, key = 0;
	unsigned long value = 5;

	for (i = 1; i < 30; i++) {
		union bpf_attr attributes = { .map_type = i, .key_size = i == BPF_MAP_TYPE_RINGBUF || i == BPF_MAP_TYPE_QUEUE ? 0 : 4,
					      .value_size = i == BPF_MAP_TYPE_RINGBUF ? 0 : 8, .max_entries = 4096 };

		map = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
		if (map < 0)
			continue;
		attributes = (union bpf_attr){ .map_fd = map, .key = (unsigned long)&key, .value = (unsigned long)&value };
		syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attributes, sizeof(attributes));
		syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attributes, sizeof(attributes));
		syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, &attributes, sizeof(attributes));
		close(map);
	}
	for (i = 0; i < 4; i++) {
		union bpf_attr attributes = { .prog_type = types[i], .insns = (unsigned long)code, .insn_cnt = 5, .license = (unsigned long)"GPL",
					      .log_level = 2, .log_size = sizeof(log), .log_buf = (unsigned long)log };

		program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
		if (program < 0)
			continue;
		attributes = (union bpf_attr){ .test = { .prog_fd = program, .data_in = (unsigned long)packet, .data_size_in = 64, .repeat = 3 } };
		syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof(attributes));
		close(program);
	}
}

static void counters(void)
{
	unsigned int i;

	for (i = 0; i < 12; i++) {
		struct perf_event_attr attributes = { .type = i < 10 ? PERF_TYPE_SOFTWARE : PERF_TYPE_TRACEPOINT, .size = sizeof(attributes),
						      .config = i, .sample_period = 1000, .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_CALLCHAIN };
		int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
		char *map, value[64];

		if (fd < 0)
			continue;
		map = mmap(NULL, 9 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
		usleep(2000);
		read(fd, value, sizeof(value));
		if (map != MAP_FAILED)
			munmap(map, 9 * 4096);
		close(fd);
	}
}

static void keys(void)
{
	long ring = syscall(SYS_add_key, "keyring", "load", NULL, 0, -2), key, other;
	char text[200];

	key = syscall(SYS_add_key, "user", "one", "secret", 6, ring);
	syscall(SYS_add_key, "logon", "load:two", "secret", 6, ring);
	other = syscall(SYS_add_key, "big_key", "three", text, 150, ring);
	syscall(SYS_keyctl, 11 /* READ */, key, text, sizeof(text));
	syscall(SYS_keyctl, 6 /* DESCRIBE */, key, text, sizeof(text));
	syscall(SYS_keyctl, 2 /* UPDATE */, key, "other", 5);
	syscall(SYS_keyctl, 10 /* SEARCH */, ring, "user", "one", 0);
	syscall(SYS_keyctl, 5 /* SETPERM */, key, 0x3f3f0000);
	syscall(SYS_keyctl, 15 /* SET_TIMEOUT */, key, 100);
	syscall(SYS_keyctl, 11, ring, text, sizeof(text));
	syscall(SYS_keyctl, 3 /* REVOKE */, key);
	syscall(SYS_keyctl, 21 /* INVALIDATE */, other);
	syscall(SYS_keyctl, 7 /* CLEAR */, ring);
}

static void rings(void)
{
	static const unsigned char codes[] = { IORING_OP_NOP, IORING_OP_OPENAT, IORING_OP_STATX, IORING_OP_READ, IORING_OP_TIMEOUT, IORING_OP_POLL_ADD,
					       IORING_OP_PROVIDE_BUFFERS, IORING_OP_SOCKET, IORING_OP_ASYNC_CANCEL, IORING_OP_FSYNC, IORING_OP_EPOLL_CTL };
	struct io_uring_params parameters = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 32, &parameters), file = open("/proc/self/stat", O_RDONLY);
	struct io_uring_sqe *entries;
	static char text[4096];
	struct iovec part = { text, sizeof(text) };
	struct timespec soon = { 0, 1000000 };
	unsigned int i, *tail, *array, mask;
	char *ring;

	if (fd < 0)
		return;
	ring = mmap(NULL, parameters.sq_off.array + 32 * 4 + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	entries = mmap(NULL, 32 * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (ring == MAP_FAILED || entries == MAP_FAILED)
		return;
	tail = (unsigned int *)(ring + parameters.sq_off.tail);
	array = (unsigned int *)(ring + parameters.sq_off.array);
	mask = *(unsigned int *)(ring + parameters.sq_off.ring_mask);
	syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &part, 1);
	syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, &file, 1);
	for (i = 0; i < sizeof(codes); i++) {
		struct io_uring_sqe *it = &entries[*tail & mask];

		memset(it, 0, sizeof(*it));
		it->opcode = codes[i];
		it->fd = codes[i] == IORING_OP_PROVIDE_BUFFERS ? 2 : file;
		it->addr = (unsigned long)(codes[i] == IORING_OP_TIMEOUT ? (void *)&soon : (void *)text);
		it->len = codes[i] == IORING_OP_TIMEOUT ? 1 : 100;
		it->flags = i % 3 == 0 ? IOSQE_ASYNC : 0;
		array[*tail & mask] = *tail & mask;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	}
	syscall(SYS_io_uring_enter, fd, sizeof(codes), 3, IORING_ENTER_GETEVENTS, NULL, 0);
	usleep(5000);
	close(fd);
	close(file);
}

static void terminals(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), slave, unlock = 0, number = 0, line;
	char name[32], text[64];
	struct termios attributes;

	if (master < 0)
		return;
	ioctl(master, TIOCSPTLCK, &unlock);
	ioctl(master, TIOCGPTN, &number);
	snprintf(name, sizeof(name), "/dev/pts/%d", number);
	slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	tcgetattr(slave, &attributes);
	write(master, "hello\n", 6);
	read(slave, text, sizeof(text));
	for (line = 1; line < 30; line++)
		if (ioctl(slave, TIOCSETD, &line) == 0)
			write(master, "\x7e\x01\x02\x7e", 4);
	line = 0;
	ioctl(slave, TIOCSETD, &line);
	close(slave);
	close(master);
}

static void limits(void)
{
	struct { unsigned long access; } rules = { 1 };
	struct { unsigned short code; unsigned char jt, jf; unsigned int k; } allow = { 6, 0, 0, 0x7fff0000 };
	struct { unsigned short size; void *filter; } program = { 1, &allow };
	int set = (int)syscall(444, &rules, sizeof(rules), 0);

	if (fork() == 0) {
		struct rlimit small = { 1000000, 1000000 };

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		syscall(446, set, 0);
		prctl(PR_SET_SECCOMP, 2, &program);
		prctl(PR_SET_NAME, "load");
		setrlimit(RLIMIT_FSIZE, &small);
		syscall(SYS_membarrier, 16, 0, 0);
		syscall(SYS_rseq, NULL, 0, 0, 0);
		open("/etc/passwd", O_RDONLY);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	wait(NULL);
	close(set);
}

int load_tasks(void)
{
	int wrong = events();

	threads();
	scheduling();
	signals_and_time();
	ipc();
	traced();
	namespaces();
	programs_of_bpf();
	counters();
	keys();
	rings();
	terminals();
	limits();
	return wrong;
}
