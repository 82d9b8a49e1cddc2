/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Not a patch: loaded with symbol=NAME it says in the kernel's log how long a call of that function takes, as
 * of a show() of a seq_file, mean of many with interrupts off; and is not loaded then (-EAGAIN).
 */
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#define CALLS 2000

static char *symbol;
module_param(symbol, charp, 0);

static char buffer[PAGE_SIZE];

static int __init begin(void)
{
	static struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	static struct seq_file file = { .buf = buffer, .size = sizeof(buffer) };
	unsigned long (*look_up)(const char *name);
	int (*call)(struct seq_file *file, void *unused);
	unsigned long flags;
	u64 start, end;
	int i;

	if (!symbol || register_kprobe(&probe))
		return -EINVAL;
	look_up = (void *)probe.addr;
	unregister_kprobe(&probe);
	call = (void *)look_up(symbol);
	if (!call)
		return -ENOENT;
	local_irq_save(flags);
	start = ktime_get_mono_fast_ns();
	for (i = 0; i < CALLS; i++) {
		file.count = 0;
		call(&file, NULL);
	}
	end = ktime_get_mono_fast_ns();
	local_irq_restore(flags);
	pr_info("call: %s %llu\n", symbol, div_u64(end - start, CALLS));
	return -EAGAIN;
}

module_init(begin);
MODULE_DESCRIPTION("livecare: what a call costs, for the tests of kcare.ko");
MODULE_LICENSE("GPL");
