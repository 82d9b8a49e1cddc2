// SPDX-License-Identifier: GPL-2.0-only
/*
 * The switch from one level to another, or to none.
 *
 * An attempt has three parts:
 *
 * 1. The watch begins: from here on it is known who runs (tasks.c).
 * 2. The walk over all tasks, while the machine works. Somebody who sleeps in code
 *    that goes away will still sleep there in a moment, so then the attempt ends
 *    here, without a stop; but one that ran since may be somewhere else by now, so
 *    every fourth attempt goes on in spite of it.
 * 3. The stop: every CPU is in a loop with interrupts off. Only tasks that ran
 *    since the watch began, those that are exiting, and the ones that stood in the
 *    way in the walk are looked at. If nobody is in the way, the gates of all
 *    functions are flipped, and that is the instant of the switch.
 *
 * What "in the way" means: an address on the stack in the old code of a function
 * of either level (with its .cold and other parts), in a slot, or anywhere in the
 * code of the level that goes: helpers may be there by a tail call, without the
 * function that called them.
 *
 * An NMI is not held off by the stop: a function that NMI handlers call may see
 * the flip in its middle, as with the kernel's own livepatch.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "kcare.h"

#define STOP_ANYWAY	4	/* each so-manieth attempt ignores who ran since */
#define PAUSE_MS	10
#define PAUSE_MS_MAX	200

struct attempt {
	struct kcare_patch *from;
	struct kcare_patch *to;
	struct kcare_code code;
	struct kcare_obstacle obstacles[KCARE_OBSTACLES_MAX];
	unsigned int n_obstacles;
	unsigned int walked;
	bool too_many;
	const char *trouble;
};

static void add_old_code(struct kcare_code *code, const struct kcare_patch *patch)
{
	unsigned int i;

	for (i = 0; i < patch->n_funcs; i++)
		if (kcare_redirect_present(&patch->redirects[i]))
			code->spans[code->n_spans++] = patch->redirects[i].old;
	for (i = 0; i < patch->n_ranges; i++)
		if (patch->parts[i].start)
			code->spans[code->n_spans++] = patch->parts[i];
}

static int make_code(struct attempt *attempt)
{
	unsigned int count = 2;

	if (attempt->from)
		count += attempt->from->n_funcs + attempt->from->n_ranges;
	if (attempt->to)
		count += attempt->to->n_funcs + attempt->to->n_ranges;
	attempt->code.spans = kcalloc(count, sizeof(*attempt->code.spans), GFP_KERNEL);
	if (!attempt->code.spans)
		return -ENOMEM;
	if (attempt->from) {
		add_old_code(&attempt->code, attempt->from);
		attempt->code.spans[attempt->code.n_spans++] = attempt->from->text;
	}
	if (attempt->to)
		add_old_code(&attempt->code, attempt->to);
	attempt->code.spans[attempt->code.n_spans++] = kcare_slots_span();
	kcare_code_sort(&attempt->code);
	return 0;
}

static void drop_obstacles(struct attempt *attempt)
{
	unsigned int i;

	for (i = 0; i < attempt->n_obstacles; i++)
		if (attempt->obstacles[i].task)
			put_task_struct(attempt->obstacles[i].task);
	attempt->n_obstacles = 0;
	attempt->too_many = false;
	attempt->trouble = NULL;
}

/*
 * Part 2, for one task. One that sleeps goes on sleeping: nobody wakes it up without
 * its pi_lock. One that waits for a CPU may get it at any time, so it counts as one
 * that ran; one on a CPU will be in the set when it has left it.
 */
static bool is_safe_asleep(struct attempt *attempt, struct task_struct *task,
			   struct kcare_obstacle *obstacle)
{
	unsigned long flags;
	bool safe = true;

	raw_spin_lock_irqsave(&task->pi_lock, flags);
	if (task_is_running(task))
		kcare_tasks_note(task);
	/* Pairs with finish_task(): off the CPU, its stack pointer is saved. */
	else if (!smp_load_acquire(&task->on_cpu))
		safe = kcare_stack_check(&attempt->code, task, obstacle);
	raw_spin_unlock_irqrestore(&task->pi_lock, flags);
	return safe;
}

/* Part 2. true: go on to the stop. */
static bool walk_before(struct attempt *attempt, bool anyway)
{
	struct task_struct *process, *thread;
	bool asleep = false;

	rcu_read_lock();
	for_each_process_thread(process, thread) {
		struct kcare_obstacle obstacle;

		if (is_safe_asleep(attempt, thread, &obstacle))
			continue;
		if (!kcare_tasks_has_run(thread))
			asleep = true;
		if (attempt->n_obstacles == KCARE_OBSTACLES_MAX) {
			attempt->too_many = true;
			goto out;
		}
		get_task_struct(thread);
		attempt->obstacles[attempt->n_obstacles++] = obstacle;
	}
out:
	rcu_read_unlock();
	return !attempt->too_many && (!attempt->n_obstacles || (anyway && !asleep));
}

/* In the stop: stays in the list of obstacles when it is in the way. */
static void walk_stopped(struct attempt *attempt, struct task_struct *task)
{
	struct kcare_obstacle obstacle;

	if (task != current && READ_ONCE(task->on_cpu)) {
		/* The other CPUs wait in the same place as this one, which is looked at. */
		if ((const void *)task->sched_class == kcare_kernel.stop_sched_class)
			return;
		attempt->trouble = "a task runs while everything is stopped";
		return;
	}
	attempt->walked++;
	if (kcare_stack_check(&attempt->code, task, &obstacle))
		return;
	if (attempt->n_obstacles == KCARE_OBSTACLES_MAX) {
		attempt->too_many = true;
		return;
	}
	get_task_struct(task);
	attempt->obstacles[attempt->n_obstacles++] = obstacle;
}

static void flip(struct attempt *attempt)
{
	unsigned int i;

	if (attempt->from)
		for (i = 0; i < attempt->from->n_funcs; i++)
			kcare_redirect_gate(&attempt->from->redirects[i], false);
	if (attempt->to)
		for (i = 0; i < attempt->to->n_funcs; i++)
			kcare_redirect_gate(&attempt->to->redirects[i], true);
}

static bool is_busy(const struct kcare_patch *patch)
{
	unsigned int i;

	for (i = 0; patch && i < patch->n_funcs; i++)
		if (kcare_redirect_is_busy(&patch->redirects[i]))
			return true;
	return false;
}

static int in_stop(void *data)
{
	struct attempt *attempt = data;
	struct task_struct *task;
	unsigned int i;

	attempt->walked = 0;
	if (!kcare_tasks_complete()) {
		attempt->trouble = "more tasks ran than could be noted";
		return -EAGAIN;
	}
	for (i = 0; (task = kcare_tasks_ran(i)); i++)
		walk_stopped(attempt, task);
	for (i = 0; (task = kcare_tasks_exiting(i)); i++)
		if (!kcare_tasks_has_run(task))
			walk_stopped(attempt, task);
	if (is_busy(attempt->from) || is_busy(attempt->to))
		attempt->trouble = "a module whose exit function is replaced is being unloaded";
	if (attempt->n_obstacles || attempt->too_many || attempt->trouble)
		return -EAGAIN;
	flip(attempt);
	return 0;
}

static int try_once(struct attempt *attempt, struct kcare_ioc_switch *arg)
{
	bool anyway = arg->attempts % STOP_ANYWAY == 0;
	struct kcare_hold hold;
	int error = -EAGAIN;

	arg->attempts++;
	drop_obstacles(attempt);
	cpus_read_lock();
	kcare_tasks_watch();
	if (walk_before(attempt, anyway)) {
		/* All of them ran since, so the stop will come to them. */
		drop_obstacles(attempt);
		kcare_hold_begin();
		error = kcare_kernel.stop_machine_cpuslocked(in_stop, attempt, NULL);
		kcare_hold_end(&hold);
		if (!error) {
			arg->stop_ns = hold.ns;
			arg->tasks_walked = attempt->walked;
		}
	}
	kcare_tasks_unwatch();
	cpus_read_unlock();
	return error;
}

static void say_obstacles(const struct attempt *attempt, struct kcare_reason *reason)
{
	unsigned int i;

	if (attempt->trouble)
		kcare_say(reason, "%s", attempt->trouble);
	for (i = 0; i < attempt->n_obstacles; i++) {
		const struct kcare_obstacle *it = &attempt->obstacles[i];

		if (it->address)
			kcare_say(reason, "%s (pid %d) is in %ps", it->comm, it->pid,
				  (void *)it->address);
		else
			kcare_say(reason, "%s (pid %d): its stack cannot be proved safe", it->comm,
				  it->pid);
	}
	if (attempt->too_many)
		kcare_say(reason, "and more");
}

static int try_until(struct attempt *attempt, struct kcare_ioc_switch *arg,
		     struct kcare_reason *reason)
{
	u32 timeout = arg->timeout_ms ?: KCARE_TIMEOUT_MS;
	u64 end = ktime_get_ns() + (u64)timeout * NSEC_PER_MSEC;
	unsigned int pause = PAUSE_MS;
	bool frozen = false, tried = false;
	int error;

	for (;;) {
		bool wanted = arg->freezer == KCARE_FREEZER_FULL ||
			      (arg->freezer == KCARE_FREEZER_SMART && arg->attempts);

		if (wanted && !tried) {
			tried = true;
			error = kcare_freeze(reason);
			frozen = !error;
			if (error && !(arg->flags & KCARE_SWITCH_FORCE))
				break;
		}
		error = try_once(attempt, arg);
		if (error != -EAGAIN)
			break;
		if (ktime_get_ns() >= end) {
			say_obstacles(attempt, reason);
			error = -EBUSY;
			break;
		}
		if (msleep_interruptible(pause) && signal_pending(current)) {
			kcare_say(reason, "interrupted");
			error = -EINTR;
			break;
		}
		pause = min(pause * 2, (unsigned int)PAUSE_MS_MAX);
		if (attempt->trouble) {
			kcare_tasks_end();
			error = kcare_tasks_begin(reason);
			if (error)
				goto out;
		}
	}
	kcare_tasks_end();
out:
	if (frozen)
		kcare_thaw();
	return error;
}

static int check_entries(const struct kcare_patch *patch, struct kcare_reason *reason)
{
	int error = 0;
	unsigned int i;

	for (i = 0; i < patch->n_targets; i++) {
		if (patch->targets[i].wrong) {
			kcare_say(reason,
				  "module %s is not what the patch was made for; see the kernel's log",
				  patch->targets[i].name);
			error = patch->targets[i].wrong;
		}
	}
	for (i = 0; i < patch->n_funcs; i++)
		error = kcare_redirect_check(&patch->redirects[i], reason) ?: error;
	return error;
}

static unsigned int count_present(const struct kcare_patch *patch)
{
	unsigned int i, count = 0;

	for (i = 0; i < patch->n_funcs; i++)
		count += kcare_redirect_present(&patch->redirects[i]);
	return count;
}

static int switch_levels(struct kcare_patch *from, struct kcare_patch *to,
			 struct kcare_ioc_switch *arg, struct kcare_reason *reason)
{
	struct attempt *attempt = kzalloc(sizeof(*attempt), GFP_KERNEL);
	int error;

	if (!attempt)
		return -ENOMEM;
	attempt->from = from;
	attempt->to = to;
	error = make_code(attempt);
	if (!error)
		error = kcare_tasks_begin(reason);
	if (!error)
		error = try_until(attempt, arg, reason);
	if (!error && to)
		to->ran = true;
	drop_obstacles(attempt);
	kfree(attempt->code.spans);
	kfree(attempt);
	return error;
}

/* The opposite of enter(). */
static void leave(struct kcare_patch *patch)
{
	if (patch->stays && patch->ran)
		kcare_patch_keep(patch);
	else
		module_put(patch->mod);
}

static int enter(struct kcare_patch *to, struct kcare_reason *reason)
{
	int error;

	if (to->kept) {
		error = kcare_patch_restage(to, reason);
		if (error)
			return error;
	} else if (!try_module_get(to->mod)) {
		kcare_say(reason, "%s: is being unloaded", to->mod->name);
		return -ENOENT;
	}
	error = kcare_fresh_check(kcare_active, to, reason) ?: check_entries(to, reason);
	if (!error) {
		error = kcare_hooks_call(to, KCARE_HOOK_PRE_SWITCH, KCARE_ALL_TARGETS);
		if (error)
			kcare_say(reason, "%s: its hook before the switch says no (%d)",
				  to->mod->name, error);
	}
	if (error)
		leave(to);
	return error;
}

static void set_active(struct kcare_patch *patch)
{
	mutex_lock(&kcare_list_lock);
	kcare_active = patch;
	mutex_unlock(&kcare_list_lock);
}

/* After the gates are open: an entry that was lost takes all of the level back. */
static int verify(struct kcare_patch *from, struct kcare_patch *to, struct kcare_ioc_switch *arg,
		  struct kcare_reason *reason)
{
	int error = to ? check_entries(to, reason) : 0;

	if (!error)
		return 0;
	pr_err("%s: entries were lost during the switch, it is undone\n", to->mod->name);
	if (switch_levels(to, from, arg, reason)) {
		pr_err("%s: and cannot be undone\n", to->mod->name);
		kcare_say(reason, "and cannot be undone: some functions are patched, some not");
		return 0;
	}
	return error;
}

/*
 * to is NULL for the shipped functions. When the switch does not happen, each hook
 * that ran before it is answered by its opposite.
 */
int kcare_switch(struct kcare_patch *to, struct kcare_ioc_switch *arg, struct kcare_reason *reason)
{
	struct kcare_patch *from = kcare_active;
	int error;

	if (to == from) {
		kcare_say(reason, "nothing to switch");
		return to ? -EALREADY : 0;
	}
	if (to && to->mod->state != MODULE_STATE_LIVE) {
		kcare_say(reason, "%s: is not loaded completely", to->mod->name);
		return -EAGAIN;
	}
	error = to ? enter(to, reason) : kcare_fresh_check(from, NULL, reason);
	if (error)
		return error;
	if (from)
		kcare_hooks_call(from, KCARE_HOOK_PRE_UNLOAD, KCARE_ALL_TARGETS);

	error = switch_levels(from, to, arg, reason) ?: verify(from, to, arg, reason);
	if (error) {
		if (to) {
			kcare_hooks_call(to, KCARE_HOOK_POST_UNLOAD, KCARE_ALL_TARGETS);
			leave(to);
		}
		if (from)
			kcare_hooks_call(from, KCARE_HOOK_POST_SWITCH, KCARE_ALL_TARGETS);
		return error;
	}
	set_active(to);
	arg->functions = count_present(to ?: from);
	if (to)
		kcare_hooks_call(to, KCARE_HOOK_POST_SWITCH, KCARE_ALL_TARGETS);
	if (from) {
		kcare_hooks_call(from, KCARE_HOOK_POST_UNLOAD, KCARE_ALL_TARGETS);
		leave(from);
	}
	return 0;
}

static int look_ahead(struct kcare_patch *to, struct kcare_reason *reason)
{
	struct attempt *attempt;
	int error;

	error = kcare_fresh_check(kcare_active, to, reason) ?: check_entries(to, reason);
	if (error)
		return error;
	attempt = kzalloc(sizeof(*attempt), GFP_KERNEL);
	if (!attempt)
		return -ENOMEM;
	attempt->from = kcare_active;
	attempt->to = to;
	error = make_code(attempt);
	if (!error)
		error = kcare_tasks_begin(reason);
	if (!error) {
		cpus_read_lock();
		kcare_tasks_watch();
		if (!walk_before(attempt, false))
			error = -EBUSY;
		kcare_tasks_unwatch();
		cpus_read_unlock();
		kcare_tasks_end();
		say_obstacles(attempt, reason);
	}
	drop_obstacles(attempt);
	kfree(attempt->code.spans);
	kfree(attempt);
	return error;
}

int kcare_preflight(struct kcare_patch *to, struct kcare_reason *reason)
{
	bool kept = to->kept;
	int error = kept ? kcare_patch_restage(to, reason) : 0;

	if (to == kcare_active)
		return -EALREADY;
	if (error)
		return error;
	error = look_ahead(to, reason);
	if (kept)
		kcare_patch_keep(to);
	return error;
}
