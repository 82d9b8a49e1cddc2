// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which tasks have run? So that inside the stop only those are looked at again.
 *
 * A probe on sched_switch collects both tasks of every context switch into a set.
 * A task that is not in the set when the machine stops has been asleep since the
 * watch began, with the same stack as the walk before the stop saw. Everything
 * that is behind that "since":
 *
 * - The watch is switched on while tasks run: a task on a CPU at that time is
 *   collected when it leaves the CPU, at the latest for the thread that stops it.
 * - A switch that was past its tracepoint when the watch began has not yet saved
 *   its stack pointer: kcare_tasks_watch() waits with synchronize_rcu() (switches
 *   run with preemption off), and only then the walk may begin.
 * - A tracepoint is silent on a CPU that is going off line: the caller holds
 *   cpus_read_lock() from the watch to the end of the stop.
 * - A child that never ran has only the kernel's return path on its stack.
 * - A task that is exiting drops out of the list of tasks, and may still sleep: so
 *   a probe on sched_process_exit collects these for as long as we are at work.
 *   Those that were past it are taken from the list of tasks by PF_EXITING, and
 *   those that had left the list, too, are waited for with synchronize_rcu_tasks():
 *   do_exit() marks itself for that before it leaves the list, until its very end.
 * - The thread that stops the machine was switched in, so it must be in the set:
 *   kcare_tasks_complete() asks, inside the stop, and so notices a tracepoint that
 *   does not fire.
 *
 * The set is a hash table with open addressing and an array in order of arrival,
 * of a size fixed beforehand: when it is full, the attempt fails. Comparing each
 * task's switch counters instead would make the stop grow with their number.
 *
 * The same probe sees the stop as the tasks see it: on every CPU from the switch
 * to the stopper thread to the switch back.
 */
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/vmalloc.h>
#include <trace/events/sched.h>

#include "kcare.h"

#define SET_BITS_MIN	12
#define SET_BITS_MAX	20
#define SET_STEPS_MAX	64

struct set {
	struct task_struct **table;
	struct task_struct **items;
	unsigned int bits;
	atomic_t count;
	bool full;
	bool open;
};

static struct set ran, exiting;
static struct tracepoint *switch_point, *exit_point;

struct held {
	u64 since;
	u64 longest;
};

static DEFINE_PER_CPU(struct held, held);
static bool hold_watched;

static bool set_make(struct set *set, unsigned int bits)
{
	set->bits = bits;
	set->table = vzalloc(sizeof(*set->table) << bits);
	set->items = vzalloc(sizeof(*set->items) << bits);
	atomic_set(&set->count, 0);
	set->full = false;
	return set->table && set->items;
}

static unsigned int set_size(const struct set *set)
{
	return min_t(unsigned int, atomic_read(&set->count), 1U << set->bits);
}

/* No probe is at work any more, or the set was not opened since. */
static void set_clear(struct set *set)
{
	unsigned int i, size = set_size(set);

	for (i = 0; i < size; i++)
		put_task_struct(set->items[i]);
	memset(set->table, 0, sizeof(*set->table) << set->bits);
	atomic_set(&set->count, 0);
	set->full = false;
}

static void set_free(struct set *set)
{
	if (set->table && set->items)
		set_clear(set);
	vfree(set->table);
	vfree(set->items);
	set->table = NULL;
	set->items = NULL;
}

/* In the scheduler, interrupts off; several CPUs at once. */
static void set_add(struct set *set, struct task_struct *task)
{
	unsigned int mask = (1U << set->bits) - 1;
	unsigned int at = hash_ptr(task, set->bits), i, index;

	for (i = 0; i < SET_STEPS_MAX; i++, at = (at + 1) & mask) {
		struct task_struct *there = READ_ONCE(set->table[at]);

		if (!there)
			there = cmpxchg(&set->table[at], NULL, task);
		if (there == task)
			return;
		if (there)
			continue;
		index = atomic_fetch_inc(&set->count);
		if (index > mask)
			break;
		get_task_struct(task);
		set->items[index] = task;
		return;
	}
	WRITE_ONCE(set->full, true);
}

static bool set_has(const struct set *set, const struct task_struct *task)
{
	unsigned int mask = (1U << set->bits) - 1;
	unsigned int at = hash_ptr(task, set->bits), i;

	for (i = 0; i < SET_STEPS_MAX; i++, at = (at + 1) & mask) {
		struct task_struct *there = READ_ONCE(set->table[at]);

		if (!there || there == task)
			return there;
	}
	return false;
}

static void note_hold(struct task_struct *prev, struct task_struct *next)
{
	struct held *here = this_cpu_ptr(&held);
	u64 now = ktime_get_mono_fast_ns();

	if ((const void *)prev->sched_class == kcare_kernel.stop_sched_class && here->since) {
		here->longest = max(here->longest, now - here->since);
		here->since = 0;
	}
	if ((const void *)next->sched_class == kcare_kernel.stop_sched_class)
		here->since = now;
}

static void note_switch(struct task_struct *prev, struct task_struct *next)
{
	if (READ_ONCE(ran.open)) {
		set_add(&ran, prev);
		set_add(&ran, next);
	}
	if (READ_ONCE(hold_watched))
		note_hold(prev, next);
}

#if defined(HAVE_SWITCH_STATE_LAST)
static void on_switch(void *data, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
#elif defined(HAVE_SWITCH_STATE_SECOND)
static void on_switch(void *data, bool preempt, unsigned int prev_state,
		      struct task_struct *prev, struct task_struct *next)
#else
static void on_switch(void *data, bool preempt, struct task_struct *prev,
		      struct task_struct *next)
#endif
{
	note_switch(prev, next);
}

#ifdef HAVE_EXIT_GROUP_DEAD
static void on_exit(void *data, struct task_struct *task, bool group_dead)
#else
static void on_exit(void *data, struct task_struct *task)
#endif
{
	if (READ_ONCE(exiting.open))
		set_add(&exiting, task);
}

static void find_point(struct tracepoint *point, void *data)
{
	/* The types of the handlers are compared with the kernel's own. */
	check_trace_callback_type_sched_switch(on_switch);
	check_trace_callback_type_sched_process_exit(on_exit);
	if (!strcmp(point->name, "sched_switch"))
		switch_point = point;
	else if (!strcmp(point->name, "sched_process_exit"))
		exit_point = point;
}

int kcare_tasks_init(void)
{
	for_each_kernel_tracepoint(find_point, NULL);
	if (switch_point && exit_point)
		return 0;
	pr_err("this kernel has no tracepoint sched_switch or sched_process_exit\n");
	return -ENOENT;
}

static unsigned int wanted_bits(void)
{
	struct task_struct *process, *thread;
	unsigned int count = 0;

	rcu_read_lock();
	for_each_process_thread(process, thread)
		count++;
	rcu_read_unlock();
	/* A quarter full at most when all of them run. */
	return clamp_t(unsigned int, ilog2(count + 1) + 3, SET_BITS_MIN, SET_BITS_MAX);
}

static void collect_exiting(void)
{
	struct task_struct *process, *thread;

	rcu_read_lock();
	for_each_process_thread(process, thread)
		if (READ_ONCE(thread->flags) & PF_EXITING)
			set_add(&exiting, thread);
	rcu_read_unlock();
}

/* Sleeps; afterwards every task that is exiting is known. */
int kcare_tasks_begin(struct kcare_reason *reason)
{
	unsigned int bits = wanted_bits();
	int error = -ENOMEM;

	if (!set_make(&ran, bits) || !set_make(&exiting, bits))
		goto no_memory;
	error = tracepoint_probe_register(exit_point, on_exit, NULL);
	if (error)
		goto no_memory;
	error = tracepoint_probe_register(switch_point, on_switch, NULL);
	if (error) {
		tracepoint_probe_unregister(exit_point, on_exit, NULL);
		tracepoint_synchronize_unregister();
		goto no_memory;
	}
	WRITE_ONCE(exiting.open, true);
	/* Whoever passed the tracepoint without being seen has its flag set by now. */
	tracepoint_synchronize_unregister();
	collect_exiting();
	synchronize_rcu_tasks();
	return 0;

no_memory:
	kcare_say(reason, "cannot watch the scheduler (%d)", error);
	set_free(&ran);
	set_free(&exiting);
	return error;
}

void kcare_tasks_end(void)
{
	WRITE_ONCE(ran.open, false);
	WRITE_ONCE(exiting.open, false);
	tracepoint_probe_unregister(switch_point, on_switch, NULL);
	tracepoint_probe_unregister(exit_point, on_exit, NULL);
	tracepoint_synchronize_unregister();
	set_free(&ran);
	set_free(&exiting);
}

/* Needs cpus_read_lock() until kcare_tasks_unwatch(). */
void kcare_tasks_watch(void)
{
	WRITE_ONCE(ran.open, false);
	synchronize_rcu();
	set_clear(&ran);
	smp_wmb();	/* the probes see an empty set, or a closed one */
	WRITE_ONCE(ran.open, true);
	synchronize_rcu();
}

void kcare_tasks_unwatch(void)
{
	WRITE_ONCE(ran.open, false);
}

/* In the stop: nothing was missed. */
bool kcare_tasks_complete(void)
{
	return READ_ONCE(ran.open) && !READ_ONCE(ran.full) && READ_ONCE(exiting.open) &&
	       !READ_ONCE(exiting.full) && set_has(&ran, current);
}

struct task_struct *kcare_tasks_ran(unsigned int index)
{
	return index < set_size(&ran) ? ran.items[index] : NULL;
}

struct task_struct *kcare_tasks_exiting(unsigned int index)
{
	return index < set_size(&exiting) ? exiting.items[index] : NULL;
}

bool kcare_tasks_has_run(struct task_struct *task)
{
	return set_has(&ran, task);
}

void kcare_tasks_note(struct task_struct *task)
{
	set_add(&ran, task);
}

#define HOLD_POLLS_MAX 100

void kcare_hold_begin(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&held, cpu), 0, sizeof(struct held));
	WRITE_ONCE(hold_watched, true);
}

void kcare_hold_end(struct kcare_hold *hold)
{
	unsigned int polls;
	int cpu;

	hold->ns = 0;
	for_each_online_cpu(cpu) {
		struct held *there = per_cpu_ptr(&held, cpu);

		/* The last ones are on their way out of the stop. */
		for (polls = 0; READ_ONCE(there->since) && polls < HOLD_POLLS_MAX; polls++)
			usleep_range(50, 100);
		hold->ns = max(hold->ns, READ_ONCE(there->longest));
	}
	WRITE_ONCE(hold_watched, false);
}
