// SPDX-License-Identifier: GPL-2.0-only
/* sched_switch(preempt, prev_state, prev, next) (fa2c3254d7cf) */
#include <linux/mm.h>
#include <linux/module.h>
#include <trace/events/sched.h>
static void handler(void *data, bool preempt, unsigned int prev_state,
		    struct task_struct *prev, struct task_struct *next)
{
}

void probe(void);
void probe(void)
{
	check_trace_callback_type_sched_switch(handler);
}
