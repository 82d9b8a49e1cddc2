/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A patch of the module zram, which may come later: its disksize says zram's major
 * number, a static variable of the module.
 */
#include <linux/device.h>
#include <linux/elf.h>
#include <linux/module.h>

#include "kcare_patch.h"
#include "place.h"

#ifndef FLAGS
#define FLAGS 0
#endif
#ifndef LATE
#define LATE KCARE_RELOC_LATE
#endif
#ifndef ZRAM_BUILD_ID
#define ZRAM_BUILD_ID PLACE_ZRAM_BUILD_ID
#endif
#ifndef ZRAM_POSITION
#define ZRAM_POSITION 0
#endif

static int *major;

static noinline __used ssize_t new_disksize_show(struct device *dev,
						 struct device_attribute *attr, char *buf)
{
	return sprintf(buf, "major %d\n", *major);
}

static int before(void)
{
	pr_info("zram is patched\n");
	return 0;
}

static void after(void)
{
	pr_info("zram is not patched\n");
}

#define POINTER(object) ((unsigned long)(object))
#define SECTION(name) __used __section(name) __aligned(8)

static const char s_name[] SECTION(".kcare.strings") = "K20261126_09";
static const char s_release[] SECTION(".kcare.strings") = PLACE_RELEASE;
static const char s_cves[] SECTION(".kcare.strings") = "";
static const char s_object[] SECTION(".kcare.strings") = "zram";
static const char s_show[] SECTION(".kcare.strings") = "disksize_show";
static const char s_major[] SECTION(".kcare.strings") = "zram_major";

static const struct kcare_patch_head kcare_head SECTION(KCARE_SEC_HEAD) = {
	.magic = KCARE_PATCH_MAGIC,
	.version = KCARE_PATCH_VERSION,
	.level = 9,
	.flags = FLAGS,
	.name_ptr = POINTER(s_name),
	.release_ptr = POINTER(s_release),
	.effective_ptr = POINTER(s_release),
	.cves_ptr = POINTER(s_cves),
};

static const struct kcare_object kcare_objects[] SECTION(KCARE_SEC_OBJECTS) = {
	{
		.name_ptr = POINTER(s_object),
		.build_id = ZRAM_BUILD_ID,
		.build_id_size = 20,
	},
};

static const struct kcare_func kcare_funcs[] SECTION(KCARE_SEC_FUNCS) = {
	{
		.old = { .name_ptr = POINTER(s_show), .position = ZRAM_POSITION },
		.new_ptr = POINTER(new_disksize_show),
		.new_size = 16,
	},
};

static const struct kcare_reloc kcare_relocs[] SECTION(KCARE_SEC_RELOCS) = {
	{
		.place_ptr = POINTER(&major),
		.symbol = { .name_ptr = POINTER(s_major), .size = 4 },
		.type = R_X86_64_64,
		.flags = LATE,
	},
};

static const struct kcare_hook kcare_hooks[] SECTION(KCARE_SEC_HOOKS) = {
	{ .function_ptr = POINTER(before), .when = KCARE_HOOK_PRE_SWITCH },
	{ .function_ptr = POINTER(after), .when = KCARE_HOOK_POST_UNLOAD },
};

MODULE_DESCRIPTION("livecare: a patch for the tests of kcare.ko");
MODULE_LICENSE("GPL");
