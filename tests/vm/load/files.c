// SPDX-License-Identifier: Apache-2.0
/* One file system: data, names, attributes, locks, holes, maps, notifications. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "load.h"

#define BLOCK 65536
#define FILES 40

static char block[BLOCK], back[BLOCK];

static int same(int file, off_t at)
{
	return pread(file, back, BLOCK, at) == BLOCK && !memcmp(block, back, BLOCK);
}

static int data_of(const char *name)
{
	int file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644), wrong = 0, i;
	struct iovec parts[2] = { { block, BLOCK / 2 }, { block + BLOCK / 2, BLOCK / 2 } };
	struct stat status;
	char *map;

	if (file < 0)
		return 0;
	for (i = 0; i < BLOCK; i++)
		block[i] = (char)(i * 7 + i / 256);
	for (i = 0; i < 16; i++)
		if (pwritev(file, parts, 2, (off_t)i * BLOCK) != BLOCK)
			goto out;
	fdatasync(file);
	for (i = 0; i < 16; i++)
		wrong += !same(file, (off_t)i * BLOCK);
	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, file, 3 * BLOCK);
	if (map != MAP_FAILED) {
		wrong += !!memcmp(map, block, BLOCK);
		map[17] = 'x';
		msync(map, BLOCK, MS_SYNC);
		if (pread(file, back, 18, 3 * BLOCK) == 18)
			wrong += back[17] != 'x';
		map[17] = block[17];
		madvise(map, BLOCK, MADV_DONTNEED);
		munmap(map, BLOCK);
	}
	fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * BLOCK, BLOCK);
	fallocate(file, FALLOC_FL_ZERO_RANGE, 6 * BLOCK, BLOCK);
	fallocate(file, 0, 16 * BLOCK, 4 * BLOCK);
	fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 8 * BLOCK, BLOCK);
	fallocate(file, FALLOC_FL_INSERT_RANGE, 8 * BLOCK, BLOCK);
	lseek(file, 0, SEEK_HOLE);
	lseek(file, 5 * BLOCK, SEEK_DATA);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	sync_file_range(file, 0, BLOCK, SYNC_FILE_RANGE_WRITE);
	wrong += !same(file, BLOCK);
	if (ftruncate(file, 2 * BLOCK + 100) == 0 && fstat(file, &status) == 0)
		wrong += status.st_size != 2 * BLOCK + 100;
	fsync(file);
out:
	close(file);
	return wrong;
}

static int copies_of(const char *name, const char *other)
{
	int from = open(name, O_RDWR), to = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2], wrong = 0;
	off_t at = 0;

	if (from < 0 || to < 0)
		return 0;
	if (ioctl(to, FICLONE, from) == 0)
		wrong += !same(to, BLOCK);
	if (ftruncate(to, 0) == 0 && sendfile(to, from, &at, 2 * BLOCK) == 2 * BLOCK)
		wrong += !same(to, BLOCK);
	if (pipe(pipes) == 0) {
		loff_t in = 0, out = 0;

		if (splice(from, &in, pipes[1], NULL, 4096, 0) == 4096)
			splice(pipes[0], NULL, to, &out, 4096, 0);
		close(pipes[0]);
		close(pipes[1]);
	}
	if (copy_file_range(from, NULL, to, NULL, BLOCK, 0) == BLOCK)
		fsync(to);
	close(to);
	to = open(other, O_RDWR | O_DIRECT);
	if (to >= 0) {
		char *aligned = aligned_alloc(4096, BLOCK);

		memcpy(aligned, block, BLOCK);
		if (pwrite(to, aligned, BLOCK, 0) == BLOCK && pread(to, aligned, BLOCK, 0) == BLOCK)
			wrong += !!memcmp(aligned, block, BLOCK);
		free(aligned);
		close(to);
	}
	close(from);
	return wrong;
}

static void attributes_of(const char *name)
{
	struct { struct fiemap head; struct fiemap_extent extents[8]; } map = { .head = { .fm_length = ~0ULL, .fm_extent_count = 8 } };
	struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };
	struct fsxattr extended;
	struct statx status;
	char text[512];
	int file = open(name, O_RDWR), flags = 0, version;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 100 };

	setxattr(name, "user.one", "value", 5, 0);
	setxattr(name, "trusted.two", block, 200, 0);
	setxattr(name, "security.three", block, 20, 0);
	listxattr(name, text, sizeof(text));
	getxattr(name, "user.one", text, sizeof(text));
	getxattr(name, "system.posix_acl_access", text, sizeof(text));
	removexattr(name, "user.one");
	chmod(name, 0640);
	chown(name, 1, 1);
	utimensat(AT_FDCWD, name, times, 0);
	statx(AT_FDCWD, name, AT_STATX_FORCE_SYNC, STATX_ALL, &status);
	if (file < 0)
		return;
	ioctl(file, FS_IOC_GETFLAGS, &flags);
	flags |= FS_NOATIME_FL;
	ioctl(file, FS_IOC_SETFLAGS, &flags);
	ioctl(file, FS_IOC_FSGETXATTR, &extended);
	ioctl(file, FS_IOC_GETVERSION, &version);
	ioctl(file, FS_IOC_FIEMAP, &map);
	fcntl(file, F_SETLK, &lock);
	fcntl(file, F_OFD_SETLK, &lock);
	fcntl(file, F_GETLK, &lock);
	flock(file, LOCK_EX | LOCK_NB);
	flock(file, LOCK_UN);
	fcntl(file, F_SETLEASE, F_RDLCK);
	fcntl(file, F_SETLEASE, F_UNLCK);
	close(file);
}

static int names(void)
{
	struct { struct file_handle handle; unsigned char bytes[MAX_HANDLE_SZ]; } handle = { .handle = { .handle_bytes = MAX_HANDLE_SZ } };
	struct dirent *entry;
	char name[300];
	int i, mount, seen = 0, watch = inotify_init1(IN_NONBLOCK), file;
	int group = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
	DIR *directory;

	inotify_add_watch(watch, ".", IN_ALL_EVENTS);
	if (group >= 0)
		fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN | FAN_CLOSE | FAN_EVENT_ON_CHILD, AT_FDCWD, ".");
	mkdir("names", 0755);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "names/%0*d", i * 3 % 100 + 4, i);
		file = open(name, O_CREAT | O_WRONLY | O_EXCL, 0644);
		if (file >= 0 && write(file, name, 40) == 40)
			seen++;
		close(file);
	}
	directory = opendir("names");
	while (directory && (entry = readdir(directory)))
		seen -= entry->d_name[0] != '.';
	if (directory)
		closedir(directory);
	mkdir("names/below", 0755);
	mkdir("names/below/deep", 0755);
	if (symlink("names", "link") == 0)
		readlink("link", name, sizeof(name));
	link("names/0000", "hard");
	mknod("fifo", S_IFIFO | 0644, 0);
	mknod("device", S_IFCHR | 0644, 0x103);
	rename("names/0000", "names/below/moved");
	syscall(SYS_renameat2, AT_FDCWD, "names/below/moved", AT_FDCWD, "hard", 2 /* RENAME_EXCHANGE */);
	rename("names/below", "below");
	name_to_handle_at(AT_FDCWD, "below", &handle.handle, &mount, 0);
	file = open(".", O_RDONLY | O_DIRECTORY);
	close(open_by_handle_at(file, &handle.handle, O_RDONLY));
	fsync(file);
	syncfs(file);
	close(file);
	close(open(".", O_TMPFILE | O_RDWR, 0600));
	read(watch, name, sizeof(name));
	read(group, name, sizeof(name));
	close(watch);
	close(group);
	return seen != 0;
}

static void clear(void)
{
	system("rm -rf names below link hard fifo device");
}

int load_files(const char *directory)
{
	struct statfs status;
	int wrong;

	if (chdir(directory))
		return 1;
	statfs(".", &status);
	wrong = data_of("data");
	wrong += copies_of("data", "copy");
	attributes_of("data");
	attributes_of(".");
	wrong += names();
	wrong += data_of("copy");
	clear();
	unlink("data");
	unlink("copy");
	sync();
	return wrong;
}
