// SPDX-License-Identifier: GPL-2.0-only
/* A direct call is registered by address. */
#include <linux/ftrace.h>
int probe(void);
int probe(void)
{
	return register_ftrace_direct(1UL, 1UL) + unregister_ftrace_direct(1UL, 1UL);
}
