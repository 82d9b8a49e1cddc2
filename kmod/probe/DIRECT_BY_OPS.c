// SPDX-License-Identifier: GPL-2.0-only
/* A direct call is registered by ftrace_ops (f64dd4627ec6). */
#include <linux/ftrace.h>
int probe(struct ftrace_ops *ops);
int probe(struct ftrace_ops *ops)
{
	return register_ftrace_direct(ops, 1UL) + unregister_ftrace_direct(ops, 1UL, true);
}
