/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own livepatch of /proc/cmdline: another patcher. */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int klp_cmdline_proc_show(struct seq_file *file, void *unused)
{
	seq_puts(file, "livepatched\n");
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klp_cmdline_proc_show },
	{}
};

static struct klp_object objects[] = {
	{ .funcs = funcs },
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init begin(void)
{
	return klp_enable_patch(&patch);
}

static void __exit end(void)
{
}

module_init(begin);
module_exit(end);
MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("livecare: another patcher, for the tests of kcare.ko");
MODULE_LICENSE("GPL");
