/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For kernels that livecare-build knows nothing of: functions that everything goes
 * through are patched. A replacement goes on into the shipped function, behind the
 * call at its entry: so tasks are in new and in old code, and sleep there. As in
 * kernel_stress, /proc/cmdline and zram's disksize end in TEXT, and pipe_write() is
 * patched from LEVEL 2 on only.
 */
#include <linux/device.h>
#include <linux/elf.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/openat2.h>
#include <linux/seq_file.h>

#include "kcare_patch.h"
#include "place.h"

/* Of the call at a function's entry. */
#define ENTRY_SIZE 5

static char **saved;
static int *major;
static long (*open_body)(int dfd, const char __user *filename, struct open_how *how);
static int (*send_body)(struct sock *sk, struct msghdr *msg, size_t size);
#if LEVEL >= 2
static ssize_t (*pipe_body)(struct kiocb *iocb, struct iov_iter *from);
#endif

static noinline __used int new_cmdline_proc_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%s " TEXT "\n", *saved);
	return 0;
}

static noinline __used long new_do_sys_openat2(int dfd, const char __user *filename,
					       struct open_how *how)
{
	long fd = open_body(dfd, filename, how);

	barrier();	/* no tail call: this frame stays on the stack */
	return fd;
}

/* A tail call: this one does not. */
static noinline __used int new_tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)
{
	return send_body(sk, msg, size);
}

#if LEVEL >= 2
static noinline __used ssize_t new_pipe_write(struct kiocb *iocb, struct iov_iter *from)
{
	ssize_t written = pipe_body(iocb, from);

	barrier();
	return written;
}
#endif

static noinline __used ssize_t new_disksize_show(struct device *dev,
						 struct device_attribute *attr, char *buf)
{
	return sprintf(buf, "%d " TEXT "\n", *major);
}

static int before(void)
{
	return 0;
}

static void after(void)
{
}

#define POINTER(object) ((unsigned long)(object))
#define SECTION(name) __used __section(name) __aligned(8)

static const char s_name[] SECTION(".kcare.strings") = "K20261126_0" __stringify(LEVEL);
static const char s_release[] SECTION(".kcare.strings") = PLACE_RELEASE;
static const char s_effective[] SECTION(".kcare.strings") = PLACE_RELEASE "+" TEXT;
static const char s_cves[] SECTION(".kcare.strings") = "CVE-2026-0001 CVE-2026-000" __stringify(LEVEL);
static const char s_vmlinux[] SECTION(".kcare.strings") = KCARE_VMLINUX;
static const char s_zram[] SECTION(".kcare.strings") = "zram";
static const char s_show[] SECTION(".kcare.strings") = "cmdline_proc_show";
static const char s_open[] SECTION(".kcare.strings") = "do_sys_openat2";
static const char s_send[] SECTION(".kcare.strings") = "tcp_sendmsg";
static const char s_disksize[] SECTION(".kcare.strings") = "disksize_show";
static const char s_saved[] SECTION(".kcare.strings") = "saved_command_line";
static const char s_major[] SECTION(".kcare.strings") = "zram_major";
#if LEVEL >= 2
static const char s_pipe[] SECTION(".kcare.strings") = "pipe_write";
#endif

static const struct kcare_patch_head kcare_head SECTION(KCARE_SEC_HEAD) = {
	.magic = KCARE_PATCH_MAGIC,
	.version = KCARE_PATCH_VERSION,
	.level = LEVEL,
	.name_ptr = POINTER(s_name),
	.release_ptr = POINTER(s_release),
	.effective_ptr = POINTER(s_effective),
	.cves_ptr = POINTER(s_cves),
};

static const struct kcare_object kcare_objects[] SECTION(KCARE_SEC_OBJECTS) = {
	{ .name_ptr = POINTER(s_vmlinux), .build_id = PLACE_BUILD_ID, .build_id_size = 20 },
	{ .name_ptr = POINTER(s_zram), .build_id = PLACE_ZRAM_BUILD_ID, .build_id_size = 20 },
};

#define FUNC(name, place, new) \
	{ .old = { .name_ptr = POINTER(name), .offset = place }, .new_ptr = POINTER(new), .new_size = 16 }

static const struct kcare_func kcare_funcs[] SECTION(KCARE_SEC_FUNCS) = {
	FUNC(s_show, PLACE_CMDLINE, new_cmdline_proc_show),
	FUNC(s_open, PLACE_OPEN, new_do_sys_openat2),
	FUNC(s_send, PLACE_SEND, new_tcp_sendmsg),
#if LEVEL >= 2
	FUNC(s_pipe, PLACE_PIPE, new_pipe_write),
#endif
	{
		.old = { .name_ptr = POINTER(s_disksize), .object = 1 },
		.new_ptr = POINTER(new_disksize_show),
		.new_size = 16,
	},
};

#define RELOC(name, place, pointer, add) \
	{ .place_ptr = POINTER(&(pointer)), .symbol = { .name_ptr = POINTER(name), .offset = place }, \
	  .addend = add, .type = R_X86_64_64 }

static const struct kcare_reloc kcare_relocs[] SECTION(KCARE_SEC_RELOCS) = {
	RELOC(s_saved, PLACE_SAVED, saved, 0),
	RELOC(s_open, PLACE_OPEN, open_body, ENTRY_SIZE),
	RELOC(s_send, PLACE_SEND, send_body, ENTRY_SIZE),
#if LEVEL >= 2
	RELOC(s_pipe, PLACE_PIPE, pipe_body, ENTRY_SIZE),
#endif
	{
		.place_ptr = POINTER(&major),
		.symbol = { .name_ptr = POINTER(s_major), .object = 1, .size = 4 },
		.type = R_X86_64_64,
		.flags = KCARE_RELOC_LATE,
	},
};

static const struct kcare_hook kcare_hooks[] SECTION(KCARE_SEC_HOOKS) = {
	{ .function_ptr = POINTER(before), .when = KCARE_HOOK_PRE_SWITCH },
	{ .function_ptr = POINTER(after), .when = KCARE_HOOK_POST_UNLOAD },
	{ .function_ptr = POINTER(before), .when = KCARE_HOOK_PRE_SWITCH, .object = 1 },
	{ .function_ptr = POINTER(after), .when = KCARE_HOOK_POST_UNLOAD, .object = 1 },
};

MODULE_DESCRIPTION("livecare: a patch of busy functions, for the tests of kcare.ko");
MODULE_LICENSE("GPL");
