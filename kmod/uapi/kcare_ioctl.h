/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only WITH Linux-syscall-note */
/*
 * The control device of kcare.ko, /dev/kcare (root only, mode 0600). A patch
 * module is loaded with finit_module(2) first, which stages it: its references
 * are resolved, its functions are registered behind closed gates. Then
 * KCARE_IOC_SWITCH opens the gates of that level and closes those of the level
 * before, in one stop.
 *
 * `size` is sizeof(the struct) as the caller knows it: a longer one with zeroes
 * at the end is accepted, a shorter one of an older tool is filled with zeroes
 * (as clone3(2) does).
 */
#ifndef KCARE_IOCTL_H
#define KCARE_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KCARE_DEVICE		"/dev/kcare"
#define KCARE_ABI_VERSION	1
#define KCARE_MODULE_NAME_MAX	64
#define KCARE_REASON_MAX	3072

enum kcare_freezer {
	KCARE_FREEZER_NONE = 0,
	KCARE_FREEZER_FULL = 1,
	KCARE_FREEZER_SMART = 2,
};

#define KCARE_SWITCH_FORCE	0x1	/* go on when freezing fails; never skips the check */

/*
 * SWITCH: `module` is a staged patch module; UNSWITCH: `module` is "" (all) and
 * the shipped functions come back. EBUSY: tasks stood in the way until
 * timeout_ms was over, `reason` names them with the functions; everything is as
 * it was. After 0 the former level's module can be unloaded.
 */
struct kcare_ioc_switch {
	__u32 size;
	__u32 freezer;		/* enum kcare_freezer */
	__u32 flags;		/* KCARE_SWITCH_* */
	__u32 timeout_ms;	/* 0: 10 s */
	char module[KCARE_MODULE_NAME_MAX];
	/* out */
	__u64 stop_ns;		/* CPUs held, of the attempt that succeeded */
	__u32 attempts;
	__u32 functions;	/* switched */
	__u32 tasks_walked;	/* inside of the stop */
	__u32 reserved;
	char reason[KCARE_REASON_MAX];
};

/*
 * PREFLIGHT: could `module`, which is staged, be switched to now? Nothing is
 * changed. `reason` has one line for each obstacle.
 */
#define KCARE_IOC_MAGIC		0xCA
#define KCARE_IOC_ABI		_IOR(KCARE_IOC_MAGIC, 0, __u32)
#define KCARE_IOC_SWITCH	_IOWR(KCARE_IOC_MAGIC, 1, struct kcare_ioc_switch)
#define KCARE_IOC_UNSWITCH	_IOWR(KCARE_IOC_MAGIC, 2, struct kcare_ioc_switch)
#define KCARE_IOC_PREFLIGHT	_IOWR(KCARE_IOC_MAGIC, 3, struct kcare_ioc_switch)

#endif /* KCARE_IOCTL_H */
