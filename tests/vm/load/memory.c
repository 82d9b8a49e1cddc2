// SPDX-License-Identifier: Apache-2.0
/* Mappings, and what happens to their pages. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define MIB (1UL << 20)
#define SIZE (16 * MIB)

static int of_pages(char *map, size_t size)
{
	int wrong = 0;
	size_t i;

	for (i = 0; i < size; i += 4096)
		map[i] = (char)(i >> 12);
	for (i = 0; i < size; i += 4096)
		wrong += map[i] != (char)(i >> 12);
	return wrong;
}

static int advised(char *map, int shared)
{
	static const int advice[] = { MADV_HUGEPAGE, MADV_MERGEABLE, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_FREE, MADV_COLLAPSE,
				      MADV_UNMERGEABLE, MADV_NOHUGEPAGE, 101 /* SOFT_OFFLINE */, MADV_POPULATE_WRITE };
	static unsigned char present[SIZE / 4096];
	int wrong = of_pages(map, SIZE);
	unsigned int i;
	char *moved;

	for (i = 0; i < sizeof(advice) / sizeof(*advice); i++) {
		madvise(map + i * MIB, advice[i] == 101 /* SOFT_OFFLINE */ ? 4096 : 4 * MIB, advice[i]);
		usleep(20000);
	}
	mincore(map, SIZE, present);
	wrong += of_pages(map, SIZE);
	mprotect(map + MIB, MIB, PROT_READ);
	mprotect(map + MIB, MIB, PROT_READ | PROT_WRITE);
	mlock(map, 2 * MIB);
	munlock(map, 2 * MIB);
	madvise(map + 3 * MIB, MIB, MADV_DONTNEED);
	wrong += !shared && map[3 * MIB] != 0;
	if (fork() == 0) {
		of_pages(map, SIZE / 2);
		_exit(0);
	}
	wrong += of_pages(map, SIZE);
	wait(NULL);
	moved = mremap(map, SIZE, 2 * SIZE, MREMAP_MAYMOVE);
	if (moved != MAP_FAILED)
		munmap(moved, 2 * SIZE);
	return wrong;
}

static void faults_of_users(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	char *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = { .range = { (unsigned long)map, MIB }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	static char page[4096];
	struct uffdio_copy copy = { .dst = (unsigned long)map, .src = (unsigned long)page, .len = 4096 };
	struct uffdio_zeropage zero = { .range = { (unsigned long)map + 4096, 4096 } };

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0) {
		ioctl(fd, UFFDIO_COPY, &copy);
		ioctl(fd, UFFDIO_ZEROPAGE, &zero);
		ioctl(fd, UFFDIO_UNREGISTER, &range.range);
	}
	close(fd);
	munmap(map, MIB);
}

static int others(void)
{
	int file = memfd_create("load", MFD_ALLOW_SEALING), wrong = 0, huge, secret = (int)syscall(447, 0);
	char *map, *twin;
	struct iovec here, there;
	static char copy[4096];
	unsigned long nodes = 1;

	if (ftruncate(file, SIZE) == 0) {
		map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		twin = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, file, 0);
		wrong += of_pages(map, SIZE) + !!memcmp(map, twin, SIZE);
		here = (struct iovec){ copy, sizeof(copy) };
		there = (struct iovec){ map + 8 * 4096, sizeof(copy) };
		if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(copy))
			wrong += copy[0] != 8;
		syscall(SYS_mbind, map, SIZE, 1, &nodes, 8, 2);
		syscall(SYS_migrate_pages, 0, 8, &nodes, &nodes);
		fallocate(file, 3, MIB, MIB);
		munmap(twin, SIZE);
		wrong += advised(map, 1);
	}
	fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK);
	close(file);
	huge = memfd_create("huge", MFD_HUGETLB);
	if (huge >= 0 && ftruncate(huge, 4 * MIB) == 0) {
		map = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
		if (map != MAP_FAILED) {
			wrong += of_pages(map, 4 * MIB);
			if (fork() == 0)
				_exit(of_pages(map, 4 * MIB));
			wait(NULL);
			munmap(map, 4 * MIB);
		}
		fallocate(huge, 3, 0, 2 * MIB);
	}
	close(huge);
	close(secret);
	return wrong;
}

int load_memory(void)
{
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = advised(map, 0);

	faults_of_users();
	mlockall(MCL_CURRENT | MCL_FUTURE);
	munlockall();
	return wrong + others();
}
