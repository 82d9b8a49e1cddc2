/* SPDX-License-Identifier: GPL-2.0-only */
/* A direct call of ftrace at /proc/cmdline, as BPF makes them; it only returns. */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>

extern void direct_slot(void);

asm(".pushsection .text, \"ax\"\n\t"
    ".type direct_slot, @function\n\t"
    ".globl direct_slot\n"
    "direct_slot:\n\t"
    "ret\n\t"
    "int3\n\t"
    ".size direct_slot, . - direct_slot\n\t"
    ".popsection");

static unsigned long entry;
#ifdef BY_OPS
static struct ftrace_ops ops;
#endif

static int __init begin(void)
{
	struct kprobe probe = { .symbol_name = "cmdline_proc_show" };
	int error = register_kprobe(&probe);

	if (error)
		return error;
	entry = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
#ifdef BY_OPS
	error = ftrace_set_filter_ip(&ops, entry, 0, 0);
	return error ? error : register_ftrace_direct(&ops, (unsigned long)direct_slot);
#else
	return register_ftrace_direct(entry, (unsigned long)direct_slot);
#endif
}

static void __exit end(void)
{
#ifdef BY_OPS
	unregister_ftrace_direct(&ops, (unsigned long)direct_slot, true);
#else
	unregister_ftrace_direct(entry, (unsigned long)direct_slot);
#endif
	synchronize_rcu_tasks();
}

module_init(begin);
module_exit(end);
MODULE_DESCRIPTION("livecare: another user of direct calls, for the tests of kcare.ko");
MODULE_LICENSE("GPL");
