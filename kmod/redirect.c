// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a function's entry to its replacement: sites and slots.
 *
 * A site is the entry of one shipped function. ftrace makes the call there a
 * direct call of the site's slot (slots_x86_64.S), when the first patch for that
 * function is staged; registering sleeps and takes milliseconds, so it cannot be
 * part of the stop. What is left for the stop is one byte for each site.
 *
 * ftrace keeps the tracer, function_graph, kprobes and kretprobes working in
 * either order. A second direct user (BPF) or a function that is patched by the
 * kernel's own livepatch is refused by ftrace, and named here. After a refused
 * registration nothing may be unregistered: 6.1 would remove the other user's.
 *
 * ftrace_enabled=0: 5.10 and 6.1 refuse it while we are registered. 6.12 needs
 * FTRACE_OPS_FL_PERMANENT for that, and overwrites the flags at registration, so
 * it is set afterwards. Registering while it is 0 patches nothing and says 0: so
 * that is refused, and the bytes of the entry are read back.
 *
 * A module's exit function has no entry for ftrace (__exit is notrace), and needs
 * none: struct module points to it, and delete_module(2) calls what that says. So
 * the pointer is changed, in the stop as well.
 */
#include <linux/bitmap.h>
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kcare.h"

#if !defined(HAVE_DIRECT_BY_IP) && !defined(HAVE_DIRECT_BY_OPS)
#error "this kernel has no direct calls of ftrace that kcare.ko knows"
#endif

struct kcare_site {
	struct list_head list;
	unsigned long function;
	unsigned long entry;	/* of the call */
	unsigned int slot;
	bool registered;
	bool used[2];		/* the two ways */
#ifdef HAVE_DIRECT_BY_OPS
	struct ftrace_ops ops;
#endif
};

static LIST_HEAD(sites);
static DECLARE_BITMAP(slots_used, KCARE_SLOTS_MAX);

/* Read by the slots: 0 the old function, 1 and 2 the ways. */
u8 kcare_gates[KCARE_SLOTS_MAX] __aligned(64);

#define JUMP_SIZE 5

int kcare_redirect_init(void)
{
	const u8 *slot = kcare_slots;

	/* What the assembler laid out is what is written here later. */
	if (slot[kcare_slot_first_way] != 0xe9 ||
	    slot[kcare_slot_first_way + JUMP_SIZE] != 0xe9 ||
	    kcare_slot_size * KCARE_SLOTS_MAX > kcare_slots_end - kcare_slots) {
		pr_err("slots are not laid out as expected\n");
		return -EINVAL;
	}
	return 0;
}

struct kcare_span kcare_slots_span(void)
{
	return (struct kcare_span){ (unsigned long)kcare_slots, (unsigned long)kcare_slots_end };
}

static unsigned long slot_address(unsigned int slot)
{
	return (unsigned long)kcare_slots + slot * kcare_slot_size;
}

static int write_way(unsigned int slot, unsigned int way, unsigned long target)
{
	unsigned long jump = slot_address(slot) + kcare_slot_first_way + way * JUMP_SIZE;
	s64 distance = target - (jump + JUMP_SIZE);
	s32 value = distance;
	s32 back;

	if (value != distance)
		return -ERANGE;
	mutex_lock(kcare_kernel.text_mutex);
	kcare_kernel.text_poke((void *)(jump + 1), &value, sizeof(value));
	mutex_unlock(kcare_kernel.text_mutex);
	kcare_kernel.text_poke_sync();
	memcpy(&back, (void *)(jump + 1), sizeof(back));
	return back == value ? 0 : -EIO;
}

static int register_site(struct kcare_site *site)
{
	unsigned long target = slot_address(site->slot);
	int error;

#ifdef HAVE_DIRECT_BY_OPS
	error = ftrace_set_filter_ip(&site->ops, site->entry, 0, 0);
	if (error)
		return error;
	error = register_ftrace_direct(&site->ops, target);
	if (error)
		ftrace_free_filter(&site->ops);
	else
		site->ops.flags |= FTRACE_OPS_FL_PERMANENT;
#else
	error = register_ftrace_direct(site->entry, target);
#endif
	site->registered = !error;
	return error;
}

static int unregister_site(struct kcare_site *site)
{
#ifdef HAVE_DIRECT_BY_OPS
	return unregister_ftrace_direct(&site->ops, slot_address(site->slot), true);
#else
	return unregister_ftrace_direct(site->entry, slot_address(site->slot));
#endif
}

static bool reads_call(unsigned long entry, unsigned long *target)
{
	u8 code[JUMP_SIZE];
	s32 distance;

	if (copy_from_kernel_nofault(code, (void *)entry, sizeof(code)) || code[0] != 0xe8)
		return false;
	memcpy(&distance, code + 1, sizeof(distance));
	*target = entry + JUMP_SIZE + distance;
	return true;
}

/*
 * Does a call of the function arrive at our slot? The call at its entry goes there,
 * or to ftrace, when it is traced, which looks up whom to go on to.
 */
static int check_site(const struct kcare_site *site, const char *name,
		      struct kcare_reason *reason)
{
	unsigned long target;

	if (!*kcare_kernel.ftrace_enabled) {
		kcare_say(reason, "%s: kernel.ftrace_enabled is 0; set it to 1", name);
		return -EIO;
	}
	if (kcare_kernel.ftrace_find_rec_direct(site->entry) != slot_address(site->slot)) {
		kcare_say(reason, "%s: ftrace has lost its direct call", name);
		return -EIO;
	}
	if (!reads_call(site->entry, &target)) {
		kcare_say(reason, "%s: there is no call at its entry", name);
		return -EIO;
	}
	return 0;
}

#ifdef CONFIG_MODULE_UNLOAD
/* What the module came with, although another patch may have replaced it. */
static void (*shipped_exit(struct module *mod))(void)
{
	struct kcare_patch *patch;
	unsigned int i;

	list_for_each_entry(patch, &kcare_patches, list)
		for (i = 0; i < patch->n_funcs && patch->redirects; i++)
			if (patch->redirects[i].exits == mod)
				return (void (*)(void))patch->redirects[i].old.start;
	return READ_ONCE(mod->exit);
}

bool kcare_redirect_is_module_exit(const struct kcare_span *old, struct module *mod)
{
	return !kcare_kernel.ftrace_location(old->start) &&
	       old->start == (unsigned long)shipped_exit(mod);
}

int kcare_redirect_exit(struct kcare_redirect *redirect, struct module *mod,
			unsigned long new_address)
{
	redirect->exits = mod;
	redirect->new_exit = (void (*)(void))new_address;
	redirect->open = false;
	return 0;
}

/* It may be about to be called, so neither side may go. */
bool kcare_redirect_is_busy(const struct kcare_redirect *redirect)
{
	return redirect->exits && redirect->exits->state == MODULE_STATE_GOING;
}

static void gate_exit(struct kcare_redirect *redirect, bool on)
{
	if (on)
		WRITE_ONCE(redirect->exits->exit, redirect->new_exit);
	else if (READ_ONCE(redirect->exits->exit) == redirect->new_exit)
		WRITE_ONCE(redirect->exits->exit, (void (*)(void))redirect->old.start);
}

static int check_exit(const struct kcare_redirect *redirect, struct kcare_reason *reason)
{
	if (!redirect->open || READ_ONCE(redirect->exits->exit) == redirect->new_exit)
		return 0;
	kcare_say(reason, "%s: module %s has another exit function than was set", redirect->name,
		  redirect->exits->name);
	return -EIO;
}
#else
bool kcare_redirect_is_module_exit(const struct kcare_span *old, struct module *mod)
{
	return false;
}

int kcare_redirect_exit(struct kcare_redirect *redirect, struct module *mod,
			unsigned long new_address)
{
	return -EOPNOTSUPP;
}

bool kcare_redirect_is_busy(const struct kcare_redirect *redirect)
{
	return false;
}

static void gate_exit(struct kcare_redirect *redirect, bool on)
{
}

static int check_exit(const struct kcare_redirect *redirect, struct kcare_reason *reason)
{
	return 0;
}
#endif

int kcare_redirect_check(const struct kcare_redirect *redirect, struct kcare_reason *reason)
{
	if (redirect->exits)
		return check_exit(redirect, reason);
	return redirect->site ? check_site(redirect->site, redirect->name, reason) : 0;
}

static void say_refused(const struct kcare_site *site, const char *name, int error,
			struct kcare_reason *reason)
{
	unsigned long other = kcare_kernel.ftrace_find_rec_direct(site->entry);

	if (error == -EBUSY && other)
		kcare_say(reason,
			  "%s: is redirected to %pS already (BPF or another patcher); remove that first",
			  name, (void *)other);
	else if (error == -EBUSY)
		kcare_say(reason,
			  "%s: has another IPMODIFY user of ftrace (livepatch?); remove that first",
			  name);
	else
		kcare_say(reason, "%s: ftrace refuses a direct call (%d)", name, error);
}

static struct kcare_site *find_site(unsigned long function)
{
	struct kcare_site *site;

	list_for_each_entry(site, &sites, list)
		if (site->function == function)
			return site;
	return NULL;
}

static struct kcare_site *new_site(const struct kcare_redirect *redirect,
				   struct kcare_reason *reason)
{
	unsigned long entry = kcare_kernel.ftrace_location(redirect->old.start);
	unsigned int slot = find_first_zero_bit(slots_used, KCARE_SLOTS_MAX);
	struct kcare_site *site;

	if (!entry) {
		kcare_say(reason, "%s: has no ftrace entry (notrace?)", redirect->name);
		return ERR_PTR(-EINVAL);
	}
	if (slot >= KCARE_SLOTS_MAX) {
		kcare_say(reason, "%s: all %u slots are in use", redirect->name, KCARE_SLOTS_MAX);
		return ERR_PTR(-ENOSPC);
	}
	site = kzalloc(sizeof(*site), GFP_KERNEL);
	if (!site)
		return ERR_PTR(-ENOMEM);
	set_bit(slot, slots_used);
	site->function = redirect->old.start;
	site->entry = entry;
	site->slot = slot;
	WRITE_ONCE(kcare_gates[slot], 0);
	list_add(&site->list, &sites);
	return site;
}

static void free_site(struct kcare_site *site)
{
	clear_bit(site->slot, slots_used);
	list_del(&site->list);
	kfree(site);
}

/* Stages one function: after it, its gate can be opened. */
int kcare_redirect_add(struct kcare_redirect *redirect, unsigned long new_address,
		       struct kcare_reason *reason)
{
	struct kcare_site *site = find_site(redirect->old.start);
	int error;

	if (!*kcare_kernel.ftrace_enabled) {
		kcare_say(reason, "kernel.ftrace_enabled is 0; set it to 1");
		return -EIO;
	}
	if (!site)
		site = new_site(redirect, reason);
	if (IS_ERR(site))
		return PTR_ERR(site);
	if (site->used[0] && site->used[1]) {
		kcare_say(reason, "%s: two patches for it are loaded; unload the older one",
			  redirect->name);
		return -EBUSY;
	}
	redirect->site = site;
	redirect->entry = site->used[0];
	error = write_way(site->slot, redirect->entry, new_address);
	if (error) {
		kcare_say(reason, "%s: cannot write its jump (%d)", redirect->name, error);
		goto fail;
	}
	if (!site->registered) {
		error = register_site(site);
		if (error) {
			say_refused(site, redirect->name, error, reason);
			goto fail;
		}
	}
	site->used[redirect->entry] = true;
	error = check_site(site, redirect->name, reason);
	if (error) {
		kcare_redirect_remove(redirect, 1);
		return error;
	}
	return 0;

fail:
	redirect->site = NULL;
	if (!site->registered)
		free_site(site);
	return error;
}

/*
 * The gates are closed; but a task may be on its way through ftrace or a slot, so
 * the slots are given away, and the patch's memory is freed, after each task has
 * been seen elsewhere.
 */
void kcare_redirect_remove(struct kcare_redirect *redirects, unsigned int count)
{
	bool wait = false;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct kcare_site *site = redirects[i].site;
		int error;

		redirects[i].exits = NULL;
		if (!site)
			continue;
		site->used[redirects[i].entry] = false;
		if (site->used[0] || site->used[1] || !site->registered)
			continue;
		error = unregister_site(site);
		/* Then the slot stays, closed: it only returns. */
		if (WARN_ON(error))
			pr_err("%s: ftrace keeps its direct call (%d)\n", redirects[i].name, error);
		else
			site->registered = false;
		wait = true;
	}
	if (wait)
		synchronize_rcu_tasks();
	for (i = 0; i < count; i++) {
		struct kcare_site *site = redirects[i].site;

		if (!site)
			continue;
		if (!site->registered && !site->used[0] && !site->used[1])
			free_site(site);
		redirects[i].site = NULL;
	}
}

/*
 * In the stop, or while nobody can come there. The site may be another patch's, too:
 * only its own way is closed.
 */
void kcare_redirect_gate(struct kcare_redirect *redirect, bool on)
{
	u8 way = redirect->entry + 1;
	u8 *gate;

	if (!kcare_redirect_present(redirect))
		return;
	redirect->open = on;
	if (redirect->exits) {
		gate_exit(redirect, on);
		return;
	}
	gate = &kcare_gates[redirect->site->slot];
	if (on)
		WRITE_ONCE(*gate, way);
	else if (READ_ONCE(*gate) == way)
		WRITE_ONCE(*gate, 0);
}
