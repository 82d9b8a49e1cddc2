// SPDX-License-Identifier: Apache-2.0
/*
 * load files DIR | deep DIR | mount TYPE SOURCE DIR OPTIONS | datagram ADDRESS PORT | PART:
 * many system calls of one kind each, wide rather than deep. What a kernel does
 * not have is left out without a word; what it has must give back what was put in. Exit 1 when it
 * did not.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

int apart(int (*function)(void), unsigned int seconds)
{
	pid_t child = fork();
	unsigned int waited_ms;
	int status;

	if (child == 0) {
		setpgid(0, 0);
		alarm(seconds);
		_exit(function());
	}
	for (waited_ms = 0; child > 0 && waited_ms < seconds * 1000; waited_ms += 10) {
		if (waitpid(child, &status, WNOHANG) == child) {
			kill(-child, SIGKILL);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
		}
		usleep(10000);
	}
	kill(-child, SIGKILL);
	/* One that does not die at once is left alone. */
	for (waited_ms = 0; waited_ms < 1000 && waitpid(child, NULL, WNOHANG) == 0; waited_ms += 10)
		usleep(10000);
	return 0;
}

/* What comes from the input, as one datagram; an answer is waited for a little. */
static int datagram(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port)) };
	struct timeval limit = { 0, 100000 };
	char text[4000];
	ssize_t got = read(0, text, sizeof(text));
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (got <= 0 || sendto(fd, text, got, 0, (struct sockaddr *)&to, sizeof(to)) != got)
		return 1;
	return recv(fd, text, sizeof(text), 0) < 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} parts[] = { { "sockets", load_sockets }, { "memory", load_memory }, { "tasks", load_tasks }, { "rings", load_rings }, { "waits", load_waits }, { "bpf", load_bpf }, { "hid", load_hid },
		    { "talks", load_talks }, { "fuse", load_fuse }, { "kvm", load_kvm } };
	const char *what = argc > 1 ? argv[1] : "";
	int wrong = -1;
	unsigned int i;

	signal(SIGPIPE, SIG_IGN);
	alarm(900);
	if (!strcmp(what, "mount") && argc > 5)
		return mount(argv[3], argv[4], argv[2], 0, argv[5]) ? 1 : 0;
	if (!strcmp(what, "datagram") && argc > 3)
		return datagram(argv[2], argv[3]);
	if (!strcmp(what, "files") && argc > 2)
		wrong = load_files(argv[2]);
	if (!strcmp(what, "deep") && argc > 2)
		wrong = load_deep(argv[2]);
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (!strcmp(what, parts[i].name))
			wrong = parts[i].run();
	if (wrong < 0)
		return 2;
	if (wrong)
		printf("load %s: %d times what came back was wrong\n", what, wrong);
	return wrong ? 1 : 0;
}
