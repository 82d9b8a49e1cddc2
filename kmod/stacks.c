// SPDX-License-Identifier: GPL-2.0-only
/*
 * May this task's code be changed? Only when the kernel's reliable unwinder gets
 * through its whole stack, and no address on it lies in code that is going away.
 * An error of the unwinder, a stack too deep for the buffer, an address that a
 * tracer put there and the unwinder did not see through: all of that is "no".
 *
 * A task that is in TASK_RUNNING and in a function with a return probe is "no", too:
 * the kernel's list of the replaced return addresses may only be read of one that
 * sleeps, and warns otherwise (rethook_find_ret_addr()), even if everything is stopped.
 */
#include <linux/kallsyms.h>
#include <linux/sort.h>

#include "kcare.h"

static int compare_spans(const void *left, const void *right)
{
	const struct kcare_span *a = left, *b = right;

	return a->start < b->start ? -1 : a->start > b->start;
}

void kcare_code_sort(struct kcare_code *code)
{
	unsigned int from, to = 0;

	sort(code->spans, code->n_spans, sizeof(*code->spans), compare_spans, NULL);
	for (from = 0; from < code->n_spans; from++) {
		struct kcare_span *last = to ? &code->spans[to - 1] : NULL;

		if (last && code->spans[from].start <= last->end)
			last->end = max(last->end, code->spans[from].end);
		else
			code->spans[to++] = code->spans[from];
	}
	code->n_spans = to;
}

/*
 * A return address may be the first byte behind a function that ends in a call of
 * something that does not return: so the end counts as inside.
 */
static bool code_has(const struct kcare_code *code, unsigned long address)
{
	unsigned int low = 0, high = code->n_spans;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (code->spans[middle].end < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < code->n_spans && address >= code->spans[low].start;
}

static bool can_be_walked(struct task_struct *task)
{
#ifdef CONFIG_RETHOOK
	return task == current || !task_is_running(task) || llist_empty(&task->rethooks);
#else
	return true;
#endif
}

bool kcare_stack_check(const struct kcare_code *code, struct task_struct *task,
		       struct kcare_obstacle *obstacle)
{
	/* One walk at a time: kcare_lock is held, by the caller or by who stopped us. */
	static unsigned long store[KCARE_FRAMES_MAX];
	int count = -EBUSY, i;

	if (can_be_walked(task))
		count = kcare_kernel.stack_trace_save_tsk_reliable(task, store, KCARE_FRAMES_MAX);
	obstacle->address = 0;
	for (i = 0; i < count; i++) {
		if (code_has(code, store[i])) {
			obstacle->address = store[i];
			break;
		}
	}
	if (count >= 0 && !obstacle->address)
		return true;
	obstacle->task = task;
	obstacle->pid = task->pid;
	memcpy(obstacle->comm, task->comm, sizeof(obstacle->comm));
	obstacle->comm[sizeof(obstacle->comm) - 1] = 0;
	return false;
}
