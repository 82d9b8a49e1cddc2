// SPDX-License-Identifier: Apache-2.0
/*
 * spin CPU COMMAND...: runs COMMAND on the other CPUs, and meanwhile looks at the clock on this one all
 * the time: the last line says the largest gap in ns.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int cpu = argc > 2 ? atoi(argv[1]) : -1, status = 0, i;
	uint64_t last, time, largest = 0;
	cpu_set_t set;
	pid_t child;

	if (cpu < 0)
		return 2;
	child = fork();
	CPU_ZERO(&set);
	for (i = 0; i < CPU_SETSIZE; i++)
		if ((i == cpu) == (child != 0))
			CPU_SET(i, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return 2;
	if (!child) {
		usleep(20000);	/* until the other one spins */
		execv(argv[2], argv + 2);
		_exit(127);
	}
	setpriority(PRIO_PROCESS, 0, -20);
	usleep(10000);
	for (last = now(); waitpid(child, &status, WNOHANG) == 0; last = time) {
		time = now();
		if (time - last > largest)
			largest = time - last;
	}
	printf("largest_gap_ns=%llu\n", (unsigned long long)largest);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
