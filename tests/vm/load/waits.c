// SPDX-License-Identifier: Apache-2.0
/* What waits: futexes with heirs of priority, robust lists, queues, semaphores, epoll, threads that die. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "load.h"

static uint32_t *words; /* shared: plain, two with an owner, requeue target */
enum { PLAIN, FIRST, SECOND, TARGET, COUNT, ENDED };

static long futex(uint32_t *word, int operation, uint32_t value, void *limit, uint32_t *other, uint32_t more)
{
	return syscall(SYS_futex, word, operation, value, limit, other, more);
}

static struct timespec from_now(int clock, long ms)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += ms % 1000 * 1000000;
	at.tv_sec += ms / 1000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static int lock_pi(uint32_t *word, long ms)
{
	struct timespec limit = from_now(CLOCK_REALTIME, ms);
	uint32_t none = 0;

	if (__atomic_compare_exchange_n(word, &none, (uint32_t)syscall(SYS_gettid), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return 0;
	return futex(word, FUTEX_LOCK_PI, 0, &limit, NULL, 0) ? errno : 0;
}

static void unlock_pi(uint32_t *word)
{
	uint32_t own = (uint32_t)syscall(SYS_gettid);

	if (!__atomic_compare_exchange_n(word, &own, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
}

static void of_priority(int priority)
{
	struct sched_param parameter = { priority };

	sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &parameter);
}

/* All count under one lock, some give up, some change their priority while they wait. */
static void *counts(void *argument)
{
	long number = (long)argument;
	int i;

	of_priority((int)number % 3 * 5);
	for (i = 0; i < 30; i++) {
		if (lock_pi(&words[FIRST], number == 3 ? 1 : 3000))
			continue;
		words[COUNT]++;
		if (i % 8 == 0)
			usleep(2000);
		__atomic_add_fetch(&words[ENDED], 1, __ATOMIC_SEQ_CST);
		unlock_pi(&words[FIRST]);
	}
	return NULL;
}

static void *crosses(void *argument)
{
	(void)argument;
	lock_pi(&words[SECOND], 1000);
	usleep(20000);
	/* One of the two is told that this is a deadlock. */
	if (lock_pi(&words[FIRST], 300) == 0)
		unlock_pi(&words[FIRST]);
	unlock_pi(&words[SECOND]);
	return NULL;
}

static void *requeued(void *argument)
{
	struct timespec limit = from_now(CLOCK_MONOTONIC, argument ? 20 : 2000);

	of_priority(argument ? 3 : 7);
	if (futex(&words[PLAIN], FUTEX_WAIT_REQUEUE_PI, 0, &limit, &words[TARGET], 0) == 0)
		unlock_pi(&words[TARGET]);
	return NULL;
}

static int heirs(void)
{
	pthread_t all[6];
	struct timespec soon = { 0, 2000000 };
	long i;
	int wrong = 0;

	for (i = 0; i < 5; i++)
		pthread_create(&all[i], NULL, counts, (void *)i);
	for (i = 0; i < 20; i++) {
		struct sched_param parameter = { 1 + (int)i % 9 };

		pthread_setschedparam(all[i % 5], SCHED_FIFO, &parameter);
		futex(&words[FIRST], FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0) == 0 ? unlock_pi(&words[FIRST]) : (void)usleep(1000);
	}
	for (i = 0; i < 5; i++)
		pthread_join(all[i], NULL);
	wrong += words[COUNT] != words[ENDED];

	if (lock_pi(&words[FIRST], 1000) == 0) {
		pthread_create(&all[0], NULL, crosses, NULL);
		usleep(10000);
		if (lock_pi(&words[SECOND], 300) == 0)
			unlock_pi(&words[SECOND]);
		lock_pi(&words[FIRST], 10);
		unlock_pi(&words[FIRST]);
		pthread_join(all[0], NULL);
	}

	for (i = 0; i < 4; i++)
		pthread_create(&all[i], NULL, requeued, (void *)(i % 2));
	usleep(50000);
	if (lock_pi(&words[TARGET], 1000) == 0) {
		futex(&words[PLAIN], FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &words[TARGET], 0);
		futex(&words[PLAIN], FUTEX_CMP_REQUEUE_PI, 1, (void *)10, &words[TARGET], 0);
		usleep(10000);
		unlock_pi(&words[TARGET]);
	}
	for (i = 0; i < 4; i++)
		pthread_join(all[i], NULL);

	futex(&words[PLAIN], FUTEX_WAIT, 0, &soon, NULL, 0);
	futex(&words[PLAIN], FUTEX_WAIT_BITSET, 0, NULL, NULL, 0);
	futex(&words[PLAIN], FUTEX_WAKE_BITSET, 1, NULL, NULL, 5);
	futex(&words[PLAIN], FUTEX_CMP_REQUEUE, 1, (void *)1, &words[TARGET], 0);
	futex(&words[PLAIN], FUTEX_WAKE_OP, 1, (void *)1, &words[TARGET], FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0));
	return wrong;
}

static int waits_on_many(void)
{
	struct { uint64_t value, address; uint32_t flags, reserved; } many[2] = { { 0, (unsigned long)&words[PLAIN], 2, 0 }, { 0, (unsigned long)&words[COUNT], 2, 0 } };
	struct timespec limit = from_now(CLOCK_MONOTONIC, 30);

	words[PLAIN] = words[COUNT] = 0;
	if (fork() == 0) {
		usleep(5000);
		futex(&words[COUNT], FUTEX_WAKE, 1, NULL, NULL, 0);
		_exit(0);
	}
	syscall(449 /* futex_waitv */, many, 2, 0, &limit, CLOCK_MONOTONIC);
	wait(NULL);
	return 0;
}

/* Owners that die, with a word in their robust list, one of them while others wait. */
static int robust(void)
{
	struct { struct robust_list *next; long offset; struct robust_list *pending; } head;
	struct robust_list entry;
	uint32_t *word = &words[SECOND];
	pid_t child, waiter;
	int wrong = 0, i;

	for (i = 0; i < 2; i++) {
		*word = 0;
		child = fork();
		if (child == 0) {
			head.next = &entry;
			entry.next = (void *)&head;
			head.offset = (char *)word - (char *)&entry;
			head.pending = NULL;
			syscall(SYS_set_robust_list, &head, sizeof(head));
			lock_pi(word, 1000);
			usleep(60000);
			if (i)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		usleep(20000);
		waiter = fork();
		if (waiter == 0)
			_exit(lock_pi(word, 2000) == 0 ? 0 : 1);
		waitpid(child, NULL, 0);
		waitpid(waiter, NULL, 0);
		wrong += !(*word & FUTEX_OWNER_DIED) && *word != 0 && i > 5;
	}
	return wrong;
}

static int queues(void)
{
	struct mq_attr attributes = { .mq_maxmsg = 3, .mq_msgsize = 64 }, old;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	mqd_t queue = mq_open("/load.w", O_CREAT | O_RDWR, 0600, &attributes);
	struct timespec limit = from_now(CLOCK_REALTIME, 1000);
	struct { long type; char text[1000]; } message = { 1, "" }, got;
	int sysv = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 4, 0600), i, wrong = 0;
	struct sembuf down[2] = { { 0, -2, SEM_UNDO }, { 1, 0, 0 } }, up = { 0, 2, SEM_UNDO };
	unsigned short values[4] = { 0, 0, 3, 4 };
	char text[100];
	struct seminfo info;
	struct msginfo messages;

	signal(SIGUSR1, SIG_IGN);
	mq_notify(queue, &event);
	if (fork() == 0) {
		for (i = 0; i < 6; i++)
			mq_timedsend(queue, "12345", 5, i, &limit);
		for (i = 0; i < 20; i++) {
			memset(message.text, i, sizeof(message.text));
			message.type = 1 + i % 3;
			msgsnd(sysv, &message, 900, 0);
		}
		semop(set, &up, 1);
		_exit(0);
	}
	usleep(30000);
	for (i = 0; i < 6; i++)
		wrong += mq_timedreceive(queue, text, 100, NULL, &limit) == 5 && memcmp(text, "12345", 5);
	mq_setattr(queue, &(struct mq_attr){ .mq_flags = O_NONBLOCK }, &old);
	mq_receive(queue, text, 100, NULL);
	msgrcv(sysv, &got, 10, 0, MSG_NOERROR | 040000 /* MSG_COPY */ | IPC_NOWAIT);
	for (i = 0; i < 20; i++)
		msgrcv(sysv, &got, 1000, i % 2 ? -3 : 0, i % 5 ? 0 : MSG_NOERROR | IPC_NOWAIT);
	semtimedop(set, down, 2, &(struct timespec){ 1, 0 });
	semctl(set, 0, SETALL, values);
	semctl(set, 2, GETNCNT);
	semctl(set, 2, SETVAL, 7);
	semctl(0, 0, SEM_INFO, &info);
	msgctl(0, MSG_INFO, (void *)&messages);
	close(open("/proc/sysvipc/sem", O_RDONLY));
	wait(NULL);
	semctl(set, 0, IPC_RMID);
	msgctl(sysv, IPC_RMID, NULL);
	mq_close(queue);
	mq_unlink("/load.w");
	return wrong;
}

static void *sleeper(void *argument)
{
	sigset_t set;
	int number;

	(void)argument;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigwait(&set, &number);
	return NULL;
}

/* Signals to groups, threads and pid fds; a thread that executes; stops and continues; a dump of the dead. */
static int signals(void)
{
	sigset_t set, all;
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
	pthread_t thread;
	int fd, status, pidfd, i;
	struct signalfd_siginfo told;
	pid_t child;

	sigaltstack(&stack, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfillset(&all);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	pthread_create(&thread, NULL, sleeper, NULL);
	usleep(5000);
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
	child = fork();
	if (child == 0) {
		pthread_create(&thread, NULL, sleeper, NULL);
		usleep(30000);
		execl("/bin/sh", "sh", "-c", "kill -STOP $$; kill -SEGV $$", NULL);
		_exit(1);
	}
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	usleep(10000);
	syscall(424 /* pidfd_send_signal */, pidfd, SIGSTOP, NULL, 0);
	waitpid(child, &status, WUNTRACED);
	kill(child, SIGCONT);
	waitpid(child, &status, WCONTINUED);
	for (i = 0; i < 100 && waitpid(child, &status, WUNTRACED | WNOHANG) <= 0; i++)
		usleep(10000);
	syscall(448 /* process_mrelease */, pidfd, 0);
	kill(child, SIGCONT);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	read(fd, &told, sizeof(told));
	close(fd);
	close(pidfd);
	/* A child of clone3 in a set of ids, a reaper of orphans, one whose parent's end it hears. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child = fork();
	if (child == 0) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			usleep(20000);
			_exit(0);
		}
		_exit(0);
	}
	usleep(40000);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int chains(void)
{
	int outer = epoll_create1(0), inner = epoll_create1(0), counters[8], i, timer, wrong = 0;
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE }, got[8];
	struct timespec limit = { 0, 5000000 };
	pid_t child;

	epoll_ctl(outer, EPOLL_CTL_ADD, inner, &(struct epoll_event){ .events = EPOLLIN });
	epoll_ctl(inner, EPOLL_CTL_ADD, outer, &(struct epoll_event){ .events = EPOLLIN });
	for (i = 0; i < 8; i++) {
		counters[i] = eventfd(0, i % 2 ? EFD_SEMAPHORE : 0);
		event.events = i % 2 ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN | EPOLLONESHOT | EPOLLWAKEUP;
		epoll_ctl(inner, EPOLL_CTL_ADD, counters[i], &event);
	}
	child = fork();
	if (child == 0) {
		epoll_wait(outer, got, 8, 100);
		_exit(0);
	}
	usleep(5000);
	eventfd_write(counters[0], 5);
	eventfd_write(counters[1], 5);
	wrong += epoll_wait(inner, got, 8, 1000) < 1;
	syscall(441 /* epoll_pwait2 */, outer, got, 8, &limit, NULL, 0);
	event.events = EPOLLIN;
	epoll_ctl(inner, EPOLL_CTL_MOD, counters[0], &event);
	for (i = 0; i < 8; i++)
		i % 3 ? close(counters[i]) : epoll_ctl(inner, EPOLL_CTL_DEL, counters[i], NULL);
	timer = open("/proc/self/timers", O_RDONLY);
	close(timer), close(inner), close(outer);
	waitpid(child, NULL, 0);
	return wrong;
}

static int shared(void)
{
	words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return heirs() + waits_on_many() + robust();
}

int load_waits(void)
{
	return apart(shared, 12) + apart(queues, 6) + apart(signals, 6) + apart(chains, 4);
}
