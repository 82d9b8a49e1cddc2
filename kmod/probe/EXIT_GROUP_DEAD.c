// SPDX-License-Identifier: GPL-2.0-only
/* sched_process_exit(task, group_dead) */
#include <linux/mm.h>
#include <linux/module.h>
#include <trace/events/sched.h>
static void handler(void *data, struct task_struct *task, bool group_dead)
{
}

void probe(void);
void probe(void)
{
	check_trace_callback_type_sched_process_exit(handler);
}
