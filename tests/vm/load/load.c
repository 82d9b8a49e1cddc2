// SPDX-License-Identifier: Apache-2.0
/*
 * load files DIR | deep DIR | mount TYPE SOURCE DIR OPTIONS | PART: many system calls of one kind each, wide rather than deep. What a kernel does
 * not have is left out without a word; what it has must give back what was put in. Exit 1 when it
 * did not.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
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

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} parts[] = { { "sockets", load_sockets }, { "memory", load_memory }, { "tasks", load_tasks }, { "rings", load_rings } };
	const char *what = argc > 1 ? argv[1] : "";
	int wrong = -1;
	unsigned int i;

	signal(SIGPIPE, SIG_IGN);
	alarm(900);
	if (!strcmp(what, "mount") && argc > 5)
		return mount(argv[3], argv[4], argv[2], 0, argv[5]) ? 1 : 0;
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
