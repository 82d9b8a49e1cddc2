// SPDX-License-Identifier: Apache-2.0
/* A file system of a program: the other end of /dev/fuse, with files in memory, used like any other. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define NODES 200
#define BYTES (1 << 20)

static struct { char name[64]; unsigned long parent, size; unsigned int mode, uid; char *data; } nodes[NODES];
static char request[(1 << 17) + 4096], reply[(1 << 17) + 4096];

static void attributes_of(unsigned long id, struct fuse_attr *to)
{
	memset(to, 0, sizeof(*to));
	to->ino = id;
	to->size = nodes[id].size;
	to->blocks = nodes[id].size / 512;
	to->mode = nodes[id].mode;
	to->nlink = 1;
	to->uid = nodes[id].uid;
	to->blksize = 4096;
}

static unsigned long find(unsigned long parent, const char *name)
{
	unsigned long id;

	for (id = 2; id < NODES; id++)
		if (nodes[id].mode && nodes[id].parent == parent && !strcmp(nodes[id].name, name))
			return id;
	return 0;
}

static unsigned long make(unsigned long parent, const char *name, unsigned int mode)
{
	unsigned long id;

	for (id = 2; id < NODES; id++)
		if (!nodes[id].mode) {
			snprintf(nodes[id].name, sizeof(nodes[id].name), "%s", name);
			nodes[id].parent = parent;
			nodes[id].mode = mode;
			nodes[id].size = 0;
			nodes[id].data = calloc(1, BYTES);
			return id;
		}
	return 0;
}

static int entry(unsigned long id, struct fuse_entry_out *to)
{
	if (!id)
		return -ENOENT;
	memset(to, 0, sizeof(*to));
	to->nodeid = id;
	to->generation = 1;
	to->entry_valid = to->attr_valid = 1;
	attributes_of(id, &to->attr);
	return sizeof(*to);
}

static int list(unsigned long parent, const struct fuse_read_in *asked, int plus, char *to)
{
	unsigned long id;
	unsigned int used = 0, size;

	for (id = asked->offset < 2 ? 2 : asked->offset; id < NODES; id++) {
		struct fuse_direntplus *full = (void *)(to + used);
		struct fuse_dirent *plain = plus ? &full->dirent : (void *)full;

		if (!nodes[id].mode || nodes[id].parent != parent)
			continue;
		size = (unsigned int)((plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + strlen(nodes[id].name) + 7) & ~7U;
		if (used + size > asked->size)
			break;
		memset(full, 0, size);
		if (plus)
			entry(id, &full->entry_out);
		plain->ino = id;
		plain->off = id + 1;
		plain->type = nodes[id].mode >> 12;
		plain->namelen = (unsigned int)strlen(nodes[id].name);
		memcpy(plain->name, nodes[id].name, plain->namelen);
		used += size;
	}
	return (int)used;
}

/* The length of the reply, or a negative error. */
static int answer(const struct fuse_in_header *head, const void *body, void *to)
{
	unsigned long id = head->nodeid < NODES ? head->nodeid : 0, other;
	const char *name = body;

	switch (head->opcode) {
	case FUSE_INIT: {
		const struct fuse_init_in *in = body;
		struct fuse_init_out *out = memset(to, 0, sizeof(*out));

		out->major = FUSE_KERNEL_VERSION;
		out->minor = FUSE_KERNEL_MINOR_VERSION;
		out->max_readahead = in->max_readahead;
		out->flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS | FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_ATOMIC_O_TRUNC | FUSE_HANDLE_KILLPRIV);
		out->max_write = 1 << 17;
		out->max_pages = 32;
		out->max_background = 16;
		return sizeof(*out);
	}
	case FUSE_LOOKUP:
		return entry(find(id, name), to);
	case FUSE_GETATTR:
	case FUSE_SETATTR: {
		const struct fuse_setattr_in *in = body;
		struct fuse_attr_out *out = memset(to, 0, sizeof(*out));

		if (head->opcode == FUSE_SETATTR) {
			if (in->valid & FATTR_MODE)
				nodes[id].mode = in->mode;
			if (in->valid & FATTR_UID)
				nodes[id].uid = in->uid;
			if (in->valid & FATTR_SIZE && in->size <= BYTES) {
				if (in->size < nodes[id].size && nodes[id].data)
					memset(nodes[id].data + in->size, 0, nodes[id].size - in->size);
				nodes[id].size = in->size;
			}
		}
		attributes_of(id, &out->attr);
		return sizeof(*out);
	}
	case FUSE_MKNOD:
		return entry(make(id, name + sizeof(struct fuse_mknod_in), ((struct fuse_mknod_in *)body)->mode), to);
	case FUSE_MKDIR:
		return entry(make(id, name + sizeof(struct fuse_mkdir_in), ((struct fuse_mkdir_in *)body)->mode | S_IFDIR), to);
	case FUSE_SYMLINK:
		other = make(id, name, S_IFLNK | 0777);
		nodes[other].size = strlen(strcpy(nodes[other].data, name + strlen(name) + 1));
		return entry(other, to);
	case FUSE_READLINK:
		memcpy(to, nodes[id].data, nodes[id].size);
		return (int)nodes[id].size;
	case FUSE_CREATE: {
		int length = entry(make(id, name + sizeof(struct fuse_create_in), ((struct fuse_create_in *)body)->mode), to);

		memset((char *)to + length, 0, sizeof(struct fuse_open_out));
		return length + (int)sizeof(struct fuse_open_out);
	}
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		other = find(id, name);
		if (!other)
			return -ENOENT;
		nodes[other].parent = 0;
		nodes[other].name[0] = 0;
		return 0;
	case FUSE_RENAME:
	case FUSE_RENAME2: {
		unsigned long to_id = *(const unsigned long *)body;
		const char *from = name + (head->opcode == FUSE_RENAME ? 8 : 16), *target = from + strlen(from) + 1;

		other = find(to_id, target);
		if (other)
			nodes[other].parent = 0, nodes[other].name[0] = 0;
		other = find(id, from);
		snprintf(nodes[other].name, sizeof(nodes[other].name), "%s", target);
		nodes[other].parent = to_id;
		return 0;
	}
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		memset(to, 0, sizeof(struct fuse_open_out));
		((struct fuse_open_out *)to)->open_flags = id % 5 == 4 ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE;
		return sizeof(struct fuse_open_out);
	case FUSE_READ: {
		const struct fuse_read_in *in = body;
		unsigned long left = in->offset < nodes[id].size ? nodes[id].size - in->offset : 0;

		if (left > in->size)
			left = in->size;
		memcpy(to, nodes[id].data + in->offset, left);
		return (int)left;
	}
	case FUSE_WRITE: {
		const struct fuse_write_in *in = body;

		if (in->offset + in->size > BYTES)
			return -ENOSPC;
		memcpy(nodes[id].data + in->offset, in + 1, in->size);
		if (nodes[id].size < in->offset + in->size)
			nodes[id].size = in->offset + in->size;
		memset(to, 0, sizeof(struct fuse_write_out));
		((struct fuse_write_out *)to)->size = in->size;
		return sizeof(struct fuse_write_out);
	}
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		return list(id, body, head->opcode == FUSE_READDIRPLUS, to);
	case FUSE_STATFS:
		memset(to, 0, sizeof(struct fuse_statfs_out));
		((struct fuse_statfs_out *)to)->st.bsize = 4096;
		((struct fuse_statfs_out *)to)->st.blocks = 10000;
		return sizeof(struct fuse_statfs_out);
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		return -ENODATA;
	case FUSE_RELEASE: case FUSE_RELEASEDIR: case FUSE_FLUSH: case FUSE_FSYNC: case FUSE_FSYNCDIR: case FUSE_ACCESS: case FUSE_DESTROY:
		return 0;
	}
	return -ENOSYS;
}

static void serve(int device)
{
	struct pollfd ready = { .fd = device, .events = POLLIN };

	nodes[1].mode = S_IFDIR | 0755;
	alarm(30);
	while (poll(&ready, 1, 20000) > 0) {
		ssize_t got = read(device, request, sizeof(request));
		struct fuse_in_header *head = (void *)request;
		struct fuse_out_header *out = (void *)reply;
		int length;

		if (got < (ssize_t)sizeof(*head)) {
			if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
				continue;
			break;
		}
		if (head->opcode == FUSE_FORGET || head->opcode == FUSE_BATCH_FORGET || head->opcode == FUSE_INTERRUPT)
			continue;
		length = answer(head, head + 1, out + 1);
		out->unique = head->unique;
		out->error = length < 0 ? length : 0;
		out->len = (unsigned int)sizeof(*out) + (length < 0 ? 0 : (unsigned int)length);
		write(device, reply, out->len);
	}
	_exit(0);
}

static int served(void)
{
	int device = open("/dev/fuse", O_RDWR), wrong = 0;
	char options[100];
	pid_t server;

	mkdir("/tmp/load/fuse", 0755);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", device);
	if (device < 0 || mount("load", "/tmp/load/fuse", "fuse.load", 0, options))
		return 0;
	server = fork();
	if (server == 0)
		serve(device);
	close(device);
	wrong = load_deep("/tmp/load/fuse") + load_files("/tmp/load/fuse");
	chdir("/");
	/* The last calls are cut off by the end of the server. */
	kill(server, SIGKILL);
	access("/tmp/load/fuse/x", R_OK);
	waitpid(server, NULL, 0);
	umount2("/tmp/load/fuse", MNT_DETACH);
	return wrong;
}

int load_fuse(void)
{
	return apart(served, 25);
}
