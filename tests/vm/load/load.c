// SPDX-License-Identifier: Apache-2.0
/*
 * load files DIR | sockets | memory | tasks: many system calls of one kind each, wide rather than
 * deep. What a kernel does not have is left out without a word; what it has must give back what was
 * put in. Exit 1 when it did not.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int wrong = 0;

	signal(SIGPIPE, SIG_IGN);
	alarm(900);
	if (!strcmp(what, "files") && argc > 2)
		wrong = load_files(argv[2]);
	else if (!strcmp(what, "sockets"))
		wrong = load_sockets();
	else if (!strcmp(what, "memory"))
		wrong = load_memory();
	else if (!strcmp(what, "tasks"))
		wrong = load_tasks();
	else
		return 2;
	if (wrong)
		printf("load %s: %d times what came back was wrong\n", what, wrong);
	return wrong ? 1 : 0;
}
