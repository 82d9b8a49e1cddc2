// SPDX-License-Identifier: GPL-2.0-only
/* /dev/kcare; uapi/kcare_ioctl.h says what it does. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kcare.h"

/* Up to here every caller knows the struct. */
#define ARG_SIZE_MIN offsetofend(struct kcare_ioc_switch, reserved)

static int read_arg(struct kcare_ioc_switch *arg, void __user *user, u32 *size)
{
	int error;

	if (get_user(*size, (u32 __user *)user))
		return -EFAULT;
	if (*size < ARG_SIZE_MIN || *size > PAGE_SIZE)
		return -EINVAL;
	error = copy_struct_from_user(arg, sizeof(*arg), user, *size);
	if (error)
		return error;
	if (arg->freezer > KCARE_FREEZER_SMART || arg->flags & ~KCARE_SWITCH_FORCE ||
	    arg->reserved || arg->timeout_ms > KCARE_TIMEOUT_MS_MAX ||
	    strnlen(arg->module, sizeof(arg->module)) == sizeof(arg->module))
		return -EINVAL;
	arg->stop_ns = 0;
	arg->attempts = 0;
	arg->functions = 0;
	arg->tasks_walked = 0;
	memset(arg->reason, 0, sizeof(arg->reason));
	return 0;
}

static int act(unsigned int command, struct kcare_ioc_switch *arg)
{
	struct kcare_reason reason = { .text = arg->reason, .size = sizeof(arg->reason) };
	struct kcare_patch *patch = kcare_patch_find(arg->module);

	if (command == KCARE_IOC_UNSWITCH) {
		if (arg->module[0])
			return -EINVAL;
		return kcare_switch(NULL, arg, &reason);
	}
	if (!patch) {
		kcare_say(&reason, "%s: no such patch is loaded", arg->module);
		return -ENOENT;
	}
	return command == KCARE_IOC_SWITCH ? kcare_switch(patch, arg, &reason) :
					     kcare_preflight(patch, &reason);
}

static long on_switch(unsigned int command, void __user *user)
{
	struct kcare_ioc_switch *arg;
	u32 size;
	int error;

	if (!capable(CAP_SYS_MODULE))
		return -EPERM;
	arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	if (!arg)
		return -ENOMEM;
	error = read_arg(arg, user, &size);
	if (!error) {
		error = kcare_lock_killable();
		if (!error) {
			error = act(command, arg);
			mutex_unlock(&kcare_lock);
		}
		if (copy_to_user(user, arg, min_t(size_t, size, sizeof(*arg))) && !error)
			error = -EFAULT;
	}
	kfree(arg);
	return error;
}

static long on_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	switch (command) {
	case KCARE_IOC_ABI:
		return put_user((u32)KCARE_ABI_VERSION, (u32 __user *)user);
	case KCARE_IOC_SWITCH:
	case KCARE_IOC_UNSWITCH:
	case KCARE_IOC_PREFLIGHT:
		return on_switch(command, (void __user *)user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = on_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kcare",
	.fops = &operations,
	.mode = 0600,
};

int kcare_control_init(void)
{
	return misc_register(&device);
}

void kcare_control_exit(void)
{
	misc_deregister(&device);
}
