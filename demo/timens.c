// SPDX-License-Identifier: Apache-2.0
// Asks for a time namespace with an offset of -1 nanoseconds, which is none, ten times a
// second, and says what the kernel said.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// -1, for a kernel that looks at it as a signed number only after it has compared it.
static const char offset[] = "monotonic 0 18446744073709551615\n";

int main(void)
{
	for (int number = 1;; number++) {
		// A namespace whose offset was taken cannot be given another one before somebody enters it.
		if (unshare(CLONE_NEWTIME) != 0) {
			perror("unshare");
			return 1;
		}
		int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			perror("/proc/self/timens_offsets");
			return 1;
		}
		ssize_t written = write(fd, offset, sizeof(offset) - 1);
		int error = errno;
		close(fd);
		printf("PID %d, try %d: an offset of -1 ns is %s%s\n", getpid(), number,
		       written > 0 ? "accepted" : "refused: ", written > 0 ? "" : strerror(error));
		fflush(stdout);
		usleep(100000);
	}
}
