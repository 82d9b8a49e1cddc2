/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A patch written by hand, as the builder would write it: /proc/cmdline says TEXT
 * behind what it says anyway, and from LEVEL 2 on /proc/version is patched, too.
 * It needs saved_command_line, which is not exported, once through a pointer and
 * once by the code itself. place.h is made from the guest's kallsyms and notes.
 * WRONG_* make one that has to be refused.
 */
#include <linux/elf.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "kcare_patch.h"
#include "place.h"

#ifndef WRONG_RELEASE
#define WRONG_RELEASE PLACE_RELEASE
#endif
#ifndef WRONG_MAGIC
#define WRONG_MAGIC KCARE_PATCH_MAGIC
#endif
#ifndef WRONG_OFFSET
#define WRONG_OFFSET 0
#endif
#ifndef WRONG_OBJECT
#define WRONG_OBJECT 0
#endif
#ifndef WRONG_OBJECT_NAME
#define WRONG_OBJECT_NAME KCARE_VMLINUX
#endif
#ifndef WRONG_BUILD_ID
#define WRONG_BUILD_ID PLACE_BUILD_ID
#endif
#ifndef WRONG_NAME
#define WRONG_NAME "cmdline_proc_show"
#endif
#ifndef WRONG_SIZE
#define WRONG_SIZE 0
#endif
#ifndef WRONG_PLACE
#define WRONG_PLACE 0
#endif
#ifndef WRONG_TYPE
#define WRONG_TYPE R_X86_64_64
#endif
#ifndef WRONG_NEW
#define WRONG_NEW new_cmdline_proc_show
#endif
#ifndef WRONG_RANGES
#define WRONG_RANGES 0
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef HOOK_SAYS
#define HOOK_SAYS 0
#endif

static char **saved_by_pointer;

extern char saved_place[];

static noinline __used int new_cmdline_proc_show(struct seq_file *file, void *unused)
{
	char **saved;

	/* lea saved_command_line(%rip), %rax; the distance is written by kcare.ko */
	asm(".byte 0x48, 0x8d, 0x05\n\t"
	    ".globl saved_place\n"
	    "saved_place: .long 0" : "=a" (saved));
	seq_puts(file, *saved);
	seq_puts(file, saved == saved_by_pointer ? " " TEXT "\n" : " torn\n");
#ifdef SLEEPS
	{
		unsigned long end = jiffies + SLEEPS * HZ;

		while (time_before(jiffies, end))
			schedule_timeout_interruptible(HZ / 10);
	}
#endif
	return 0;
}

#if LEVEL >= 2
static noinline __used int new_version_proc_show(struct seq_file *file, void *unused)
{
	seq_puts(file, "version " TEXT "\n");
	return 0;
}
#endif

static int before(void)
{
	pr_info(TEXT ": the switch comes\n");
	return HOOK_SAYS;
}

static void after(void)
{
	pr_info(TEXT ": the unload is over\n");
}

#define POINTER(object) ((unsigned long)(object))
#define SECTION(name) __used __section(name) __aligned(8)

static const char s_name[] SECTION(".kcare.strings") = "K20261126_0" __stringify(LEVEL);
static const char s_release[] SECTION(".kcare.strings") = WRONG_RELEASE;
static const char s_effective[] SECTION(".kcare.strings") = PLACE_RELEASE "+" TEXT;
static const char s_cves[] SECTION(".kcare.strings") = "CVE-2026-0001 CVE-2026-000" __stringify(LEVEL);
static const char s_object[] SECTION(".kcare.strings") = WRONG_OBJECT_NAME;
static const char s_show[] SECTION(".kcare.strings") = WRONG_NAME;
static const char s_version[] SECTION(".kcare.strings") = "version_proc_show";
static const char s_saved[] SECTION(".kcare.strings") = "saved_command_line";

static const struct kcare_patch_head kcare_head SECTION(KCARE_SEC_HEAD) = {
	.magic = WRONG_MAGIC,
	.version = KCARE_PATCH_VERSION,
	.level = LEVEL,
	.flags = FLAGS,
	.name_ptr = POINTER(s_name),
	.release_ptr = POINTER(s_release),
	.effective_ptr = POINTER(s_effective),
	.cves_ptr = POINTER(s_cves),
};

static const struct kcare_object kcare_objects[] SECTION(KCARE_SEC_OBJECTS) = {
	{
		.name_ptr = POINTER(s_object),
		.build_id = WRONG_BUILD_ID,
		.build_id_size = 20,
	},
};

static const struct kcare_func kcare_funcs[] SECTION(KCARE_SEC_FUNCS) = {
	{
		.old = {
			.name_ptr = POINTER(s_show),
			.object = WRONG_OBJECT,
			.offset = PLACE_CMDLINE + WRONG_OFFSET,
			.size = WRONG_SIZE,
		},
		.new_ptr = POINTER(WRONG_NEW),
		.new_size = 16,
		.range_count = WRONG_RANGES,
	},
#if LEVEL >= 2
	{
		.old = { .name_ptr = POINTER(s_version), .offset = PLACE_VERSION },
		.new_ptr = POINTER(new_version_proc_show),
		.new_size = 16,
	},
#endif
};

static const struct kcare_reloc kcare_relocs[] SECTION(KCARE_SEC_RELOCS) = {
	{
		.place_ptr = POINTER(&saved_by_pointer) + WRONG_PLACE,
		.symbol = { .name_ptr = POINTER(s_saved), .offset = PLACE_SAVED },
		.type = WRONG_TYPE,
	},
	{
		.place_ptr = POINTER(saved_place),
		.symbol = { .name_ptr = POINTER(s_saved), .offset = PLACE_SAVED },
		.addend = -4,
		.type = R_X86_64_PC32,
	},
};

static const struct kcare_hook kcare_hooks[] SECTION(KCARE_SEC_HOOKS) = {
	{ .function_ptr = POINTER(before), .when = KCARE_HOOK_PRE_SWITCH },
	{ .function_ptr = POINTER(after), .when = KCARE_HOOK_POST_UNLOAD },
};

MODULE_DESCRIPTION("livecare: a patch for the tests of kcare.ko");
MODULE_LICENSE("GPL");
