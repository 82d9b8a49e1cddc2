// SPDX-License-Identifier: GPL-2.0-only
/* fix_effect NAME: asks the kernel what fixes/NAME.patch changes, and says "shipped" or "fixed". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define EXEC_RESTRICT_FILE 0x100
#define HOW_BYTES 8192 /* more than a page */

/* A description that is longer than a page, zeros behind what the kernel knows. */
static int openat2_fixed(void)
{
	static char how[HOW_BYTES];
	long fd = syscall(SYS_openat2, AT_FDCWD, "/", how, sizeof(how));

	return fd >= 0 ? 0 : errno == E2BIG ? 1 : -1;
}

static int pagemap_fixed(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || ioctl(fd, _IO('?', 99), 0) == 0)
		return -1;
	return errno == EINVAL ? 0 : errno == ENOTTY ? 1 : -1;
}

static int securebits_fixed(void)
{
	int bits;

	if (prctl(PR_SET_SECUREBITS, EXEC_RESTRICT_FILE) || unshare(CLONE_NEWUSER))
		return -1;
	bits = prctl(PR_GET_SECUREBITS);
	return bits < 0 ? -1 : bits == EXEC_RESTRICT_FILE;
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	int fixed = -1;

	if (!strcmp(name, "openat2"))
		fixed = openat2_fixed();
	else if (!strcmp(name, "pagemap"))
		fixed = pagemap_fixed();
	else if (!strcmp(name, "securebits"))
		fixed = securebits_fixed();
	if (fixed < 0) {
		perror("fix_effect");
		return 1;
	}
	puts(fixed ? "fixed" : "shipped");
	return 0;
}
