/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What a kernel patch says to kcare.ko: allocated, read-only sections of the
 * patch module, written by the builder (livecare-build kernel), read when the
 * module is COMING. The file itself is never altered after it was signed.
 *
 * Every section is an array of one struct. Fields called *_ptr hold an address
 * after the kernel's loader has relocated the module (R_X86_64_64,
 * R_AARCH64_ABS64); strings are NUL-terminated and lie in the module. Numbers
 * have the byte order of the machine. kcare.ko trusts none of it: indices,
 * counts, strings and places are checked against the module's memory first.
 */
#ifndef KCARE_PATCH_H
#define KCARE_PATCH_H

#include <linux/types.h>

#define KCARE_PATCH_MAGIC	0x5043434bu	/* "KCCP" */
#define KCARE_PATCH_VERSION	2

#define KCARE_SEC_HEAD		".kcare.head"
#define KCARE_SEC_OBJECTS	".kcare.objects"
#define KCARE_SEC_FUNCS		".kcare.funcs"
#define KCARE_SEC_RANGES	".kcare.ranges"
#define KCARE_SEC_RELOCS	".kcare.relocs"
#define KCARE_SEC_HOOKS		".kcare.hooks"
#define KCARE_SEC_STRINGS	".kcare.strings"

/*
 * The kernel has dropped the names of sections when the module is COMING. So each
 * section (strings apart) has a symbol at its beginning, with a size (st_size)
 * that is the section's. Its binding does not matter, but it must not be stripped.
 */
#define KCARE_SYM_HEAD		"kcare_head"
#define KCARE_SYM_OBJECTS	"kcare_objects"
#define KCARE_SYM_FUNCS		"kcare_funcs"
#define KCARE_SYM_RANGES	"kcare_ranges"
#define KCARE_SYM_RELOCS	"kcare_relocs"
#define KCARE_SYM_HOOKS		"kcare_hooks"

#define KCARE_NAME_MAX		128
#define KCARE_BUILD_ID_MAX	32
/* The object with this name is the kernel itself. */
#define KCARE_VMLINUX		"vmlinux"

/*
 * New functions or variables of it may be pointed to by what outlives it (a timer, a list, a
 * table): once it has been switched to, its memory stays until the next boot, and is used again
 * when it comes back.
 */
#define KCARE_PATCH_STAYS	0x1

/* .kcare.head: exactly one */
struct kcare_patch_head {
	__u32 magic;
	__u32 version;
	__u32 level;
	__u32 flags;		/* KCARE_PATCH_* */
	__u64 name_ptr;		/* of the patchset, "K20261126_01" */
	__u64 release_ptr;	/* uname -r of the kernel it was made for */
	__u64 effective_ptr;	/* what kcare-uname -r says while it is applied */
	__u64 cves_ptr;		/* separated by single spaces, may be "" */
};

/* .kcare.objects: the kernel and the modules whose code or data it names */
struct kcare_object {
	__u64 name_ptr;		/* KCARE_VMLINUX, or a module's name ('_', no '-') */
	/*
	 * Not 0: only for a module that is loaded while this patch, or one with the same
	 * number, is applied: its data have another layout, or what runs when it is loaded
	 * changed. Such a patch is neither applied nor taken back over the module's head.
	 */
	__u64 fresh_id;
	__u8 build_id[KCARE_BUILD_ID_MAX];
	__u32 build_id_size;	/* never 0 */
	__u32 reserved;
};

/*
 * A place in a shipped object. In the kernel: `offset` from _text, and a symbol
 * of that name must be there where kallsyms knows it. In a module: the
 * `position`-th symbol (from 1, in ascending order of address; 0: the only
 * one) of that name, `offset` bytes of `size` known to be right.
 */
struct kcare_symbol {
	__u64 name_ptr;
	__u32 object;		/* index into .kcare.objects */
	__u32 position;
	__u64 offset;		/* the kernel: st_value - _text, modulo 2^64; a module: 0 */
	__u64 size;		/* st_size; 0: unknown */
};

/* .kcare.funcs: one for each function that is redirected */
struct kcare_func {
	struct kcare_symbol old;
	__u64 new_ptr;
	__u64 new_size;
	__u32 range_first;	/* further code of the old function (.cold): .kcare.ranges */
	__u32 range_count;
	__u32 flags;		/* KCARE_FUNC_* */
	__u32 reserved;
};

/* What its module runs when it is loaded: redirected while it is loaded, of fresh objects only. */
#define KCARE_FUNC_INIT		0x1

/* .kcare.ranges */
struct kcare_range {
	struct kcare_symbol part;
};

/* How a reference is written. Values of the psABIs' relocation types. */
/* .kcare.relocs: references that the kernel's loader cannot resolve */
struct kcare_reloc {
	__u64 place_ptr;
	struct kcare_symbol symbol;
	__s64 addend;
	__u32 type;		/* R_X86_64_64, _PC32, _PLT32, _32S, ...; R_AARCH64_* */
	__u32 flags;		/* KCARE_RELOC_* */
};

/*
 * The symbol's object is a module that need not be loaded: the reference is
 * resolved when it comes. Without it, the module has to be there.
 */
#define KCARE_RELOC_LATE	0x1
/* The symbol is gone when its module is loaded: resolved while it is; of fresh objects only. */
#define KCARE_RELOC_INIT	0x2

/* .kcare.hooks: functions of the patch module, called in the order of the file */
enum kcare_hook_when {
	KCARE_HOOK_PRE_SWITCH = 0,	/* int f(void): not 0 ends the switch */
	KCARE_HOOK_POST_SWITCH = 1,	/* void f(void) */
	KCARE_HOOK_PRE_UNLOAD = 2,	/* void f(void) */
	KCARE_HOOK_POST_UNLOAD = 3,	/* void f(void) */
};

struct kcare_hook {
	__u64 function_ptr;
	__u32 when;
	__u32 object;		/* called while it is loaded */
};

#endif /* KCARE_PATCH_H */
