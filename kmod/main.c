// SPDX-License-Identifier: GPL-2.0-only
/*
 * kcare.ko: switches patch modules into the running kernel.
 *
 *	symbols.c	what the kernel does not export
 *	patch.c		a patch module's bytes, checked
 *	targets.c	the kernel and modules that come and go
 *	relocs_*.c	references, for each CPU
 *	slots_*.S	code between entry and replacement
 *	redirect.c	sites, ftrace
 *	tasks.c		who ran
 *	stacks.c	who is where
 *	switch.c	the switch
 *	control.c	/dev/kcare
 *	proc.c		/proc/kcare
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kcare.h"

#define REFUSAL_MAX 1024

static int on_module(struct notifier_block *block, unsigned long event, void *data)
{
	struct kcare_reason reason = {};
	struct module *mod = data;
	int error;

	if (event == MODULE_STATE_GOING && kcare_module_concerns(mod)) {
		kcare_lock_wait();
		kcare_module_going(mod);
		kcare_patch_unload(mod);
		mutex_unlock(&kcare_lock);
	}
	if (event != MODULE_STATE_COMING ||
	    (!kcare_patch_head(mod, &reason) && !kcare_module_concerns(mod)))
		return NOTIFY_DONE;

	reason.text = kzalloc(REFUSAL_MAX, GFP_KERNEL);
	if (!reason.text)
		return notifier_from_errno(-ENOMEM);
	reason.size = REFUSAL_MAX;
	kcare_lock_wait();
	error = kcare_module_coming(mod, &reason) ?: kcare_patch_load(mod, &reason);
	mutex_unlock(&kcare_lock);
	if (error)
		pr_err("%s is refused (%d): %s\n", mod->name, error, reason.text);
	kfree(reason.text);
	return notifier_from_errno(error);
}

static struct notifier_block notifier = {
	.notifier_call = on_module,
	.priority = INT_MAX,
};

/*
 * Another live patcher: both would believe to know what the other changes. What the
 * kernel's own livepatch does to a function is refused by ftrace, too; others write
 * jumps of their own, and nobody would notice.
 */
static bool __init is_patcher(const struct module *mod)
{
	static const char *const prefixes[] __initconst = { "ksplice", "kpatch", "kgraft", "kgr_" };
	unsigned int i;

#ifdef CONFIG_LIVEPATCH
	if (mod->klp)
		return true;
#endif
	for (i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(mod->name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static int __init find_other_patcher(void)
{
	const struct module *mod;
	int error = 0;

	mutex_lock(kcare_kernel.module_mutex);
	list_for_each_entry(mod, kcare_kernel.modules, list) {
		if (is_patcher(mod)) {
			pr_err("%s of another live patcher is loaded; unload it\n", mod->name);
			error = -EBUSY;
		}
	}
	mutex_unlock(kcare_kernel.module_mutex);
	return error;
}

static int __init kcare_init(void)
{
	int error;

	error = kcare_symbols_init() ?: find_other_patcher() ?: kcare_redirect_init() ?:
		kcare_tasks_init() ?: kcare_proc_init();
	if (error)
		return error;
	error = register_module_notifier(&notifier);
	if (error)
		goto no_notifier;
	error = kcare_control_init();
	if (error)
		goto no_control;
	return 0;

no_control:
	unregister_module_notifier(&notifier);
no_notifier:
	kcare_proc_exit();
	return error;
}

static void __exit kcare_exit(void)
{
	/* Every patch holds a reference, so there is none. */
	kcare_control_exit();
	unregister_module_notifier(&notifier);
	kcare_proc_exit();
	/* Nobody is left on the way back from a slot. */
	synchronize_rcu_tasks();
}

module_init(kcare_init);
module_exit(kcare_exit);
MODULE_DESCRIPTION("livecare: switches patches into the running kernel");
MODULE_VERSION(KCARE_VERSION);
MODULE_LICENSE("GPL");
