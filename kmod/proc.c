// SPDX-License-Identifier: GPL-2.0-only
/* /proc/kcare: what is in memory, for everybody to read. */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/utsname.h>

#include "kcare.h"

static int show_version(struct seq_file *file, void *unused)
{
	seq_printf(file, "%s abi %u\n", KCARE_VERSION, KCARE_ABI_VERSION);
	return 0;
}

static int show_effective(struct seq_file *file, void *unused)
{
	mutex_lock(&kcare_list_lock);
	seq_printf(file, "%s\n", kcare_active ? kcare_active->effective : init_utsname()->release);
	mutex_unlock(&kcare_list_lock);
	return 0;
}

static int show_cves(struct seq_file *file, void *unused)
{
	const char *it;

	mutex_lock(&kcare_list_lock);
	for (it = kcare_active ? kcare_active->cves : ""; *it; it++)
		seq_putc(file, *it == ' ' ? '\n' : *it);
	if (kcare_active && *kcare_active->cves)
		seq_putc(file, '\n');
	mutex_unlock(&kcare_list_lock);
	return 0;
}

/* MODULE LEVEL NAME applied|staged|kept FUNCTION... */
static int show_patches(struct seq_file *file, void *unused)
{
	const struct kcare_patch *patch;
	unsigned int i;

	mutex_lock(&kcare_list_lock);
	list_for_each_entry(patch, &kcare_patches, list) {
		if (!patch->ready)
			continue;
		seq_printf(file, "%s %u %s %s", patch->mod->name, patch->level, patch->name,
			   patch == kcare_active ? "applied" : patch->kept ? "kept" : "staged");
		for (i = 0; i < patch->n_funcs; i++)
			seq_printf(file, " %s", patch->redirects[i].name);
		seq_putc(file, '\n');
	}
	mutex_unlock(&kcare_list_lock);
	return 0;
}

int kcare_proc_init(void)
{
	struct proc_dir_entry *dir = proc_mkdir("kcare", NULL);

	if (!dir)
		return -ENOMEM;
	if (proc_create_single("version", 0444, dir, show_version) &&
	    proc_create_single("effective_version", 0444, dir, show_effective) &&
	    proc_create_single("cvelist", 0444, dir, show_cves) &&
	    proc_create_single("patches", 0444, dir, show_patches))
		return 0;
	proc_remove(dir);
	return -ENOMEM;
}

void kcare_proc_exit(void)
{
	remove_proc_subtree("kcare", NULL);
}
