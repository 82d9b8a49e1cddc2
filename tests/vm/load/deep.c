// SPDX-License-Identifier: Apache-2.0
/*
 * One file system, what few programs ask of it: locks that collide, leases, ACLs and other special
 * attributes, handles, clones, direct I/O, quota, freezing, verity, encryption, swap, and the ioctls
 * that change nothing without a meaning.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fsmap.h>
#include <linux/fsverity.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "load.h"

static const char *directory;
static char block[1 << 16], back[1 << 16];

static void ignore(int number) { (void)number; }

static int lock(int file, int command, short type, off_t start, off_t length)
{
	struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };

	return fcntl(file, command, &range);
}

static int locks(void)
{
	int file = open("lock", O_RDWR | O_CREAT, 0644), other, wrong = 0, status = 0;
	struct sigaction action = { .sa_handler = ignore };
	pid_t child;

	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGIO, &action, NULL);
	if (file < 0)
		return 0;
	write(file, block, 1000);
	if (lock(file, F_SETLK, F_WRLCK, 0, 100))
		return 0;
	lock(file, F_SETLK, F_RDLCK, 50, 20);
	lock(file, F_SETLK, F_UNLCK, 10, 10);
	lock(file, F_SETLK, F_WRLCK, 300, 0);
	child = fork();
	if (child == 0) {
		other = open("lock", O_RDWR);
		alarm(2);
		/* In the way, so it must not be had; then one that comes when the parent gives it up. */
		if (lock(other, F_SETLK, F_WRLCK, 0, 5) == 0)
			_exit(1);
		lock(other, F_GETLK, F_WRLCK, 300, 5);
		lock(other, F_SETLKW, F_RDLCK, 400, 5);
		lock(other, F_OFD_SETLKW, F_WRLCK, 12, 3);
		flock(other, LOCK_EX);
		_exit(0);
	}
	usleep(100000);
	lock(file, F_SETLK, F_UNLCK, 0, 0);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status))
		wrong += WEXITSTATUS(status);
	lock(file, F_OFD_SETLK, F_WRLCK, 0, 10);
	lock(file, F_OFD_GETLK, F_RDLCK, 0, 10);
	flock(file, LOCK_SH);
	other = open("lock", O_RDONLY);
	flock(other, LOCK_EX | LOCK_NB);
	flock(file, LOCK_UN);
	close(other);
	close(file);
	/* A lease, broken by another one's open. */
	file = open("lock", O_RDONLY);
	fcntl(file, F_SETSIG, SIGIO);
	fcntl(file, F_SETOWN, getpid());
	if (fcntl(file, F_SETLEASE, F_RDLCK) == 0) {
		child = fork();
		if (child == 0)
			_exit(open("lock", O_WRONLY | O_NONBLOCK) >= 0);
		usleep(50000);
		fcntl(file, F_GETLEASE);
		fcntl(file, F_SETLEASE, F_UNLCK);
		waitpid(child, NULL, 0);
	}
	fcntl(open(".", O_RDONLY), F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT);
	close(open("noted", O_CREAT | O_WRONLY, 0600));
	unlink("noted");
	close(file);
	unlink("lock");
	return wrong;
}

static int attributes(void)
{
	static const unsigned char acl[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 7, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
					     16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255 };
	static const char *const names[] = { "user.one", "user.two", "trusted.three", "security.four", "system.posix_acl_access",
		"system.posix_acl_default", "system.nfs4_acl", "system.cifs_acl", "system.smb3_acl", "system.smb3_ntsd_full",
		"user.cifs.dosattrib", "user.cifs.creationtime", "system.cifs_ntsd", "security.capability", "security.selinux",
		"btrfs.compression", "security.ima", "security.evm", "user.overlay.origin" };
	static const char capability[20] = { 1, 0, 0, 2, 1 };
	int wrong = 0, file = open("named", O_RDWR | O_CREAT, 0644);
	unsigned int i;
	ssize_t got;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *to = strstr(names[i], "default") ? "." : "named";

		got = getxattr(to, names[i], back, sizeof(back));
		if (got > 0)
			setxattr(to, names[i], back, got, 0);
		if (!strncmp(names[i], "user.", 5) && setxattr(to, names[i], block, 200 + i * 900, 0) == 0)
			if (getxattr(to, names[i], back, sizeof(back)) == 200 + (int)i * 900)
				wrong += !!memcmp(block, back, 200);
		if (strstr(names[i], "posix_acl"))
			setxattr(to, names[i], acl, sizeof(acl), 0);
		if (strstr(names[i], "capability"))
			setxattr(to, names[i], capability, sizeof(capability), 0);
		if (strstr(names[i], "btrfs"))
			setxattr(to, names[i], "zstd", 4, 0);
	}
	setxattr("named", "user.large", block, 30000, XATTR_CREATE);
	setxattr("named", "user.large", block, 3000, XATTR_REPLACE);
	access("named", W_OK);
	if (fork() == 0) {
		setgid(50);
		setuid(7);
		open("named", O_RDONLY);
		open("named", O_WRONLY);
		_exit(chmod("named", 0600) == 0);
	}
	wait(NULL);
	mkdir("heir", 0755);
	close(open("heir/file", O_CREAT | O_WRONLY, 0666));
	listxattr("named", back, sizeof(back));
	chmod("named", 0601);
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		removexattr("named", names[i]);
		removexattr(".", names[i]);
	}
	unlink("heir/file");
	rmdir("heir");
	close(file);
	unlink("named");
	return wrong;
}

static int copies(void)
{
	int one = open("one", O_RDWR | O_CREAT | O_TRUNC, 0600), two = open("two", O_RDWR | O_CREAT | O_TRUNC, 0600), direct, wrong = 0, i;
	struct file_clone_range range = { .src_fd = one, .src_length = 1 << 16, .dest_offset = 1 << 17 };
	struct { struct file_dedupe_range head; struct file_dedupe_range_info info; } same = { { .src_length = 1 << 16, .dest_count = 1 }, { .dest_fd = two } };
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE };
	off_t from = 0;
	char *aligned;

	if (one < 0 || two < 0)
		return 0;
	for (i = 0; i < 8; i++)
		write(one, block, sizeof(block));
	if (ioctl(two, FICLONE, one) == 0) {
		pread(two, back, sizeof(back), 3 << 16);
		wrong += !!memcmp(back, block, sizeof(block));
		pwrite(two, "x", 1, 70000);
		ioctl(two, FICLONERANGE, &range);
		fsync(two);
	}
	if (copy_file_range(one, &from, two, &(off_t){ 0 }, 1 << 16, 0) == 1 << 16) {
		pread(two, back, sizeof(back), 0);
		wrong += !!memcmp(back, block, sizeof(block));
	}
	ioctl(one, FIDEDUPERANGE, &same);
	for (i = 0; i < 8; i++)
		fallocate(two, modes[i], 1 << 16, 1 << 16);
	pwrite(two, block, 5000, (1 << 20) + 77);
	lseek(two, 0, SEEK_HOLE);
	lseek(two, 1 << 17, SEEK_DATA);
	fsync(two);
	direct = open("one", O_RDWR | O_DIRECT | O_SYNC);
	aligned = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (direct >= 0 && pread(direct, aligned, 1 << 16, 1 << 16) == 1 << 16)
		wrong += !!memcmp(aligned, block, 1 << 16);
	pwrite(direct, aligned, 1 << 14, 1 << 20);
	pwrite(direct, aligned, 100, 1 << 20);
	ftruncate(one, 12345);
	ftruncate(one, 1 << 21);
	syscall(SYS_readahead, one, 0, 1 << 16);
	close(direct);
	close(one);
	close(two);
	one = open(".", O_TMPFILE | O_RDWR, 0600);
	if (one >= 0) {
		snprintf(back, sizeof(back), "/proc/self/fd/%d", one);
		linkat(AT_FDCWD, back, AT_FDCWD, "three", AT_SYMLINK_FOLLOW);
		close(one);
	}
	syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE);
	syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "white", RENAME_WHITEOUT);
	unlink("one"), unlink("two"), unlink("three"), unlink("white");
	munmap(aligned, 1 << 16);
	return wrong;
}

static void handles(void)
{
	struct { struct file_handle head; unsigned char more[128]; } handle = { { .handle_bytes = 128 }, { 0 } };
	int at, root = open(".", O_RDONLY), file;

	close(open("handled", O_CREAT | O_WRONLY, 0600));
	if (name_to_handle_at(AT_FDCWD, "handled", &handle.head, &at, 0) == 0) {
		file = open_by_handle_at(root, &handle.head, O_RDONLY);
		close(file);
		unlink("handled");
		close(open_by_handle_at(root, &handle.head, O_RDONLY));
	}
	handle.head.handle_bytes = 128;
	mkdir("sub", 0700);
	if (name_to_handle_at(AT_FDCWD, "sub", &handle.head, &at, 0) == 0) {
		sync();
		close(open_by_handle_at(root, &handle.head, O_RDONLY | O_DIRECTORY));
	}
	rmdir("sub");
	close(root);
}

static void whole(void)
{
	int root = open(".", O_RDONLY), file = open("swap", O_RDWR | O_CREAT, 0600), i;
	struct fstrim_range all = { .len = -1ULL };
	struct { struct fsmap_head head; struct fsmap more[50]; } map = { { .fmh_count = 50 } };
	struct fsxattr extra;
	struct fsverity_enable_arg verity = { .version = 1, .hash_algorithm = 1, .block_size = 4096 };
	struct { struct fsverity_digest head; char more[64]; } digest = { { .digest_size = 64 } };
	struct fscrypt_policy_v2 policy = { .version = 2, .contents_encryption_mode = 1, .filenames_encryption_mode = 4 };
	struct { struct fscrypt_add_key_arg head; char raw[64]; } key = { .head = { .key_spec = { .type = 2 }, .raw_size = 64 } };
	struct fscrypt_get_key_status_arg status = { 0 };
	struct fscrypt_remove_key_arg remove = { 0 };
	unsigned int version = 0, flags = 0;
	char label[256];

	ioctl(root, FITRIM, &all);
	map.head.fmh_keys[1] = (struct fsmap){ .fmr_device = -1U, .fmr_flags = -1U, .fmr_physical = -1ULL, .fmr_owner = -1ULL, .fmr_offset = -1ULL };
	ioctl(root, FS_IOC_GETFSMAP, &map);
	ioctl(root, FS_IOC_GETFSLABEL, label);
	ioctl(root, FS_IOC_SETFSLABEL, "load");
	ioctl(file, FS_IOC_GETVERSION, &version);
	if (ioctl(file, FS_IOC_FSGETXATTR, &extra) == 0) {
		extra.fsx_projid = 42;
		ioctl(file, FS_IOC_FSSETXATTR, &extra);
	}
	for (i = 1; i < 32; i++) {
		if (ioctl(file, FS_IOC_GETFLAGS, &flags))
			break;
		flags ^= 1U << i;
		ioctl(file, FS_IOC_SETFLAGS, &flags);
		flags ^= 1U << i;
		ioctl(file, FS_IOC_SETFLAGS, &flags);
	}
	for (i = 0; i < 64; i++)
		write(file, block, 4096 * 4);
	fsync(file);
	quotactl(QCMD(Q_SYNC, USRQUOTA), NULL, 0, NULL);
	for (i = 0; i < 3; i++) {
		struct dqblk limits = { 0 };
		char text[400];

		syscall(443 /* quotactl_fd */, root, QCMD(Q_GETQUOTA, i), 0, &limits);
		limits.dqb_bhardlimit = 100000;
		limits.dqb_valid = QIF_LIMITS;
		syscall(443, root, QCMD(Q_SETQUOTA, i), 5, &limits);
		syscall(443, root, QCMD(Q_GETINFO, i), 0, text);
		syscall(443, root, QCMD(Q_GETNEXTQUOTA, i), 0, text);
		syscall(443, root, QCMD(0x5803 /* Q_XGETQUOTA */, i), 0, text);
		syscall(443, root, QCMD(0x5805 /* Q_XGETQSTAT */, i), 0, text);
	}
	if (pwrite(file, "\1\0\0\0\x3f\0\0\0\0\0\0\0", 12, 1024) == 12 && pwrite(file, "SWAPSPACE2", 10, 4086) == 10) {
		fsync(file);
		swapon("swap", SWAP_FLAG_DISCARD);
		swapoff("swap");
	}
	close(file);
	if (ioctl(root, FIFREEZE, 0) == 0)
		ioctl(root, FITHAW, 0);
	file = open("swap", O_RDONLY);
	ioctl(file, FS_IOC_ENABLE_VERITY, &verity);
	ioctl(file, FS_IOC_MEASURE_VERITY, &digest);
	read(file, back, sizeof(back));
	close(file);
	unlink("swap");
	if (ioctl(root, FS_IOC_ADD_ENCRYPTION_KEY, &key) == 0 && mkdir("secret", 0700) == 0) {
		memcpy(policy.master_key_identifier, key.head.key_spec.u.identifier, 16);
		file = open("secret", O_RDONLY);
		ioctl(file, FS_IOC_SET_ENCRYPTION_POLICY, &policy);
		close(file);
		file = open("secret/file with a long name", O_RDWR | O_CREAT, 0600);
		write(file, block, 30000);
		symlink("somewhere else", "secret/link");
		readlink("secret/link", label, sizeof(label));
		close(file);
		sync();
		status.key_spec = remove.key_spec = key.head.key_spec;
		ioctl(root, FS_IOC_GET_ENCRYPTION_KEY_STATUS, &status);
		ioctl(root, FS_IOC_REMOVE_ENCRYPTION_KEY, &remove);
		system("ls -la secret > /dev/null; rm -r secret");
	}
	syscall(SYS_syncfs, root);
	close(root);
}

static int ioctls(void)
{
	/* Those that only ask, of the file systems there are: ext4 'f', xfs and f2fs 'X', f2fs 0xf5, btrfs 0x94, fat 'r'. */
	static const unsigned char types[] = { 'f', 'X', 0xf5, 0x94, 'r', 'v', 0xcf };
	static char memory[65536];
	int root = open(".", O_RDONLY);
	unsigned int i, number;

	for (i = 0; i < sizeof(types); i++)
		for (number = 0; number < 125; number++) { /* 125 shuts some of them down */
			memset(memory, 0, 256);
			ioctl(root, _IOC(_IOC_READ, types[i], number, 8), memory);
			ioctl(root, _IOC(_IOC_READ, types[i], number, 4), memory);
		}
	close(root);
	return 0;
}

static int of_data(void)
{
	return copies();
}

static int of_rest(void)
{
	handles();
	whole();
	return ioctls();
}

int load_deep(const char *where)
{
	unsigned int i;
	int wrong, root;

	directory = where;
	for (i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 5 + i / 300);
	if (chdir(directory))
		return 0;
	wrong = apart(locks, 8) + apart(attributes, 8) + apart(of_data, 10) + apart(of_rest, 10);
	/* In case it was ended between freezing and this. */
	root = open(".", O_RDONLY);
	ioctl(root, FITHAW, 0);
	close(root);
	return wrong;
}
