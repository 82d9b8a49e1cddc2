// SPDX-License-Identifier: Apache-2.0
/* sleepers N: N processes that sleep. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1;

	while (count-- > 0)
		if (fork() == 0)
			for (;;)
				pause();
	for (;;)
		pause();
}
