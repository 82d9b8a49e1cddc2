// SPDX-License-Identifier: GPL-2.0-only
/* kallsyms_on_each_symbol's callback is given the module (until 3703bd54cd37). */
#include <linux/kallsyms.h>
static int handler(void *data, const char *name, struct module *mod, unsigned long address)
{
	return 0;
}

int probe(void);
int probe(void)
{
	return kallsyms_on_each_symbol(handler, NULL);
}
