// SPDX-License-Identifier: GPL-2.0-only
/*
 * Freezing the user's threads takes them out of every system call they sleep in. While
 * they are frozen nobody is served, so it must not take long: the kernel's own limit of
 * 20 s is lowered meanwhile. And whoever waits for kcare_lock must not be the one that
 * cannot be frozen: the holder of the lock is who freezes. So everybody waits in small
 * steps, and freezes in between.
 */
#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/sched/signal.h>

#include "kcare.h"

#define LOCK_PAUSE_MS	5
#define FREEZE_MS_MAX	1000

/*
 * For notifiers of modules, which hold the chain of notifiers: so not try_to_freeze(),
 * for which that is a fault. Here it is none: whoever freezes thaws again without the chain.
 */
void kcare_lock_wait(void)
{
	while (!mutex_trylock(&kcare_lock)) {
		if (freezing(current))
			__refrigerator(false);
		msleep(LOCK_PAUSE_MS);
	}
}

int kcare_lock_killable(void)
{
	while (!mutex_trylock(&kcare_lock)) {
		try_to_freeze();
		msleep(LOCK_PAUSE_MS);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

int kcare_freeze(struct kcare_reason *reason)
{
	unsigned int *limit = kcare_kernel.freeze_timeout_msecs;
	unsigned int before = limit ? *limit : 0;
	int error;

	if (!kcare_kernel.freeze_processes || !kcare_kernel.thaw_processes || !limit) {
		kcare_say(reason, "this kernel cannot freeze tasks");
		return -EOPNOTSUPP;
	}
	WRITE_ONCE(*limit, min_t(unsigned int, before, FREEZE_MS_MAX));
	error = kcare_kernel.freeze_processes();
	WRITE_ONCE(*limit, before);
	if (error)
		kcare_say(reason,
			  "the tasks cannot be frozen (%d): the kernel's log names those that go on",
			  error);
	return error;
}

void kcare_thaw(void)
{
	kcare_kernel.thaw_processes();
}
