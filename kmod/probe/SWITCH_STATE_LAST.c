// SPDX-License-Identifier: GPL-2.0-only
/* sched_switch(preempt, prev, next, prev_state) (9c2136be0878) */
#include <linux/mm.h>
#include <linux/module.h>
#include <trace/events/sched.h>
static void handler(void *data, bool preempt, struct task_struct *prev,
		    struct task_struct *next, unsigned int prev_state)
{
}

void probe(void);
void probe(void)
{
	check_trace_callback_type_sched_switch(handler);
}
