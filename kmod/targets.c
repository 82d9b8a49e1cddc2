// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a patch changes: the kernel, and modules, which come and go.
 *
 * A target is attached when its references are written into the patch, the parts
 * of its old functions are known and their entries are redirected. The kernel and
 * the modules that are there are attached when the patch is loaded; a module that
 * comes later when it is COMING: its text is in place and nobody has run in it,
 * so for a patch that is applied the gates are opened without a stop.
 *
 * A module that an applied patch cannot be attached to is not let in: it would run
 * with its old code while the system is said to be patched. For a patch that is
 * only staged it is noted, and the switch is refused.
 *
 * References that the kernel works on when the patch is loaded (of a static key,
 * say) cannot be written later: they are not LATE. Their module has to be there,
 * and stays as long as the patch.
 *
 * Fresh targets. New code that knows another layout of a module's data, or needs
 * what new init code does, must not meet what the old code made. So it is for a
 * module that is loaded under it from the start: for each module that was, the
 * fresh_id is noted, and a switch has to find each loaded module with the number
 * that its own code asks for (0: as shipped).
 */
#include <linux/kallsyms.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kcare.h"

struct kcare_fresh {
	struct list_head list;
	const struct module *mod;
	u64 id;
};

static LIST_HEAD(fresh_modules);

struct kcare_span kcare_module_text(struct module *mod)
{
	struct kcare_span span;

#ifdef HAVE_MODULE_MEM
	span.start = (unsigned long)mod->mem[MOD_TEXT].base;
	span.end = span.start + mod->mem[MOD_TEXT].size;
#else
	span.start = (unsigned long)mod->core_layout.base;
	span.end = span.start + mod->core_layout.text_size;
#endif
	return span;
}

static u64 loaded_as(const struct module *mod)
{
	struct kcare_fresh *it;

	list_for_each_entry(it, &fresh_modules, list)
		if (it->mod == mod)
			return it->id;
	return 0;
}

static int note_fresh(const struct module *mod, u64 id)
{
	struct kcare_fresh *it = kmalloc(sizeof(*it), GFP_KERNEL);

	if (!it)
		return -ENOMEM;
	it->mod = mod;
	it->id = id;
	list_add(&it->list, &fresh_modules);
	return 0;
}

static void forget_fresh(const struct module *mod)
{
	struct kcare_fresh *it, *next;

	list_for_each_entry_safe(it, next, &fresh_modules, list) {
		if (it->mod != mod)
			continue;
		list_del(&it->list);
		kfree(it);
	}
}

/* May `to` be switched to (NULL: the shipped code), with the modules as they were loaded? */
int kcare_fresh_check(const struct kcare_patch *from, const struct kcare_patch *to,
		      struct kcare_reason *reason)
{
	struct kcare_fresh *it;
	unsigned int i;
	int error = 0;

	for (i = 0; to && i < to->n_targets; i++) {
		const struct kcare_target *target = &to->targets[i];

		if (!target->present || !target->mod ||
		    loaded_as(target->mod) == target->object->fresh_id)
			continue;
		kcare_say(reason,
			  "module %s has to be loaded while the patch is applied; unload it first",
			  target->name);
		error = -EBUSY;
	}
	list_for_each_entry(it, &fresh_modules, list) {
		bool named = false;

		for (i = 0; to && i < to->n_targets; i++)
			named |= to->targets[i].mod == it->mod;
		if (named)
			continue;
		kcare_say(reason, "module %s was loaded under %s and needs it; unload it first",
			  it->mod->name, from ? from->mod->name : "another patch");
		error = -EBUSY;
	}
	return error;
}

/* Is it there? When the patch is loaded, and when a kept one comes back, which may hold it. */
int kcare_target_find(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	struct kcare_target *target = &patch->targets[index];
	int error = 0;

	if (!strcmp(target->name, KCARE_VMLINUX) || target->mod) {
		target->present = true;
		return 0;
	}
	mutex_lock(kcare_kernel.module_mutex);
	target->mod = kcare_kernel.find_module(target->name);
	if (target->mod) {
		/* One that is on its way in or out has been past our notifier, perhaps. */
		if (target->mod->state != MODULE_STATE_LIVE)
			error = -EAGAIN;
		else if (target->needed && !try_module_get(target->mod))
			error = -EAGAIN;
		else
			target->present = true;
	}
	if (error)
		target->mod = NULL;
	mutex_unlock(kcare_kernel.module_mutex);
	if (error)
		kcare_say(reason, "module %s is being loaded or unloaded; try again", target->name);
	if (!error && !target->present && target->needed) {
		kcare_say(reason, "module %s is not loaded; load it first", target->name);
		error = -ENOENT;
	}
	return error;
}

static int find_code(const struct kcare_target *target, const struct kcare_symbol *symbol,
		     struct kcare_span *span, struct kcare_reason *reason)
{
	struct kcare_span text = { kcare_kernel.text, kcare_kernel.etext };
	int error = kcare_symbol_find(symbol, target, span, reason);

	if (error)
		return error;
	if (target->mod)
		text = kcare_module_text(target->mod);
	if (span->start >= text.start && span->end <= text.end && span->start < span->end)
		return 0;
	kcare_say(reason, "%s: is no code", (const char *)(unsigned long)symbol->name_ptr);
	return -EINVAL;
}

static int write_reloc(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	const struct kcare_reloc *it = &patch->relocs[index];
	const struct kcare_target *target = &patch->targets[it->symbol.object];
	void *place = (void *)(unsigned long)it->place_ptr;
	int size = kcare_reloc_size(it->type);
	struct kcare_span span;
	u8 bytes[8];
	int error;

	if (!(it->flags & KCARE_RELOC_INIT))
		error = kcare_symbol_find(&it->symbol, target, &span, reason);
	else if (target->mod && target->mod->state == MODULE_STATE_COMING)
		error = kcare_init_symbol_find(&it->symbol, target, &span, reason);
	else
		return 0;
	if (error)
		return error;
	error = kcare_reloc_value(it->type, it->place_ptr, span.start + it->addend, bytes);
	if (error) {
		kcare_say(reason, "reference %u to %s: does not fit into %d bytes", index,
			  (const char *)(unsigned long)it->symbol.name_ptr, size);
		return error;
	}
	if (!memcmp(place, bytes, size))
		return 0;
	mutex_lock(kcare_kernel.text_mutex);
	kcare_kernel.text_poke(place, bytes, size);
	mutex_unlock(kcare_kernel.text_mutex);
	if (!memcmp(place, bytes, size))
		return 0;
	kcare_say(reason, "reference %u: was not written", index);
	return -EIO;
}

static int add_redirect(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	struct kcare_redirect *redirect = &patch->redirects[index];
	const struct kcare_func *func = &patch->funcs[index];
	struct module *mod = patch->targets[func->old.object].mod;
	unsigned int i;
	int error;

	if (redirect->init)
		return 0;
	error = find_code(&patch->targets[func->old.object], &func->old, &redirect->old, reason);
	if (error)
		return error;
	for (i = 0; i < patch->n_funcs; i++) {
		const struct kcare_redirect *other = &patch->redirects[i];

		if (other != redirect && kcare_redirect_present(other) &&
		    other->old.start < redirect->old.end &&
		    other->old.end > redirect->old.start) {
			kcare_say(reason, "%s: overlaps with %s", redirect->name, other->name);
			return -EINVAL;
		}
	}
	if (mod && kcare_redirect_is_module_exit(&redirect->old, mod))
		return kcare_redirect_exit(redirect, mod, func->new_ptr);
	return kcare_redirect_add(redirect, func->new_ptr, reason);
}

int kcare_target_attach(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	const struct kcare_target *target = &patch->targets[index];
	unsigned int i;
	int error;

	error = kcare_build_id_check(target, reason);
	for (i = 0; i < patch->n_relocs && !error; i++) {
		if (patch->relocs[i].symbol.object == index)
			error = write_reloc(patch, i, reason);
		cond_resched();
	}
	kcare_kernel.text_poke_sync();
	for (i = 0; i < patch->n_ranges && !error; i++)
		if (patch->ranges[i].part.object == index)
			error = find_code(target, &patch->ranges[i].part, &patch->parts[i], reason);
	for (i = 0; i < patch->n_funcs && !error; i++)
		if (patch->funcs[i].old.object == index)
			error = add_redirect(patch, i, reason);
	return error;
}

static void remove_redirects(struct kcare_patch *patch, unsigned int index)
{
	unsigned int i, first = patch->n_funcs, last = 0;

	/* One grace period for all neighbours of the same object. */
	for (i = 0; i <= patch->n_funcs; i++) {
		if (i < patch->n_funcs && patch->funcs[i].old.object == index) {
			kcare_redirect_gate(&patch->redirects[i], false);
			first = min(first, i);
			last = i + 1;
		} else if (first < last) {
			kcare_redirect_remove(&patch->redirects[first], last - first);
			first = patch->n_funcs;
			last = 0;
		}
	}
}

/* Also after an attach that failed half way. */
void kcare_target_detach(struct kcare_patch *patch, unsigned int index)
{
	struct kcare_target *target = &patch->targets[index];
	unsigned int i;

	if (!target->present)
		return;
	for (i = 0; i < patch->n_ranges; i++)
		if (patch->ranges[i].part.object == index)
			patch->parts[i] = (struct kcare_span){};
	remove_redirects(patch, index);
	target->present = false;
	/* What the kernel reads of a kept patch, its static branches, goes on pointing there. */
	if (patch->kept && target->needed)
		return;
	if (target->mod && target->needed)
		module_put(target->mod);
	target->mod = NULL;
}

int kcare_hooks_call(struct kcare_patch *patch, u32 when, unsigned int target)
{
	unsigned int i;

	for (i = 0; i < patch->n_hooks; i++) {
		const struct kcare_hook *hook = &patch->hooks[i];
		unsigned long function = hook->function_ptr;

		if (hook->when != when || !patch->targets[hook->object].present ||
		    (target != KCARE_ALL_TARGETS && target != hook->object))
			continue;
		if (when == KCARE_HOOK_PRE_SWITCH) {
			int error = ((int (*)(void))function)();

			if (error)
				return error < 0 ? error : -EINVAL;
		} else {
			((void (*)(void))function)();
		}
	}
	return 0;
}

/* Is the module a patch, or named by one? Without kcare_lock, so that others pass. */
bool kcare_module_concerns(struct module *mod)
{
	struct kcare_patch *patch;
	bool found = false;
	unsigned int i;

	mutex_lock(&kcare_list_lock);
	list_for_each_entry(patch, &kcare_patches, list) {
		if (!patch->ready || patch->mod == mod)
			found = true;
		for (i = 0; i < patch->n_targets && patch->ready; i++)
			if (!strcmp(patch->targets[i].name, mod->name))
				found = true;
	}
	mutex_unlock(&kcare_list_lock);
	return found;
}

static int attach_late(struct kcare_patch *patch, unsigned int index, struct module *mod,
		       struct kcare_reason *reason)
{
	struct kcare_target *target = &patch->targets[index];
	bool applied = patch == kcare_active;
	unsigned int i;
	int error;

	target->mod = mod;
	target->present = true;
	error = kcare_target_attach(patch, index, reason);
	if (!error && applied) {
		error = kcare_hooks_call(patch, KCARE_HOOK_PRE_SWITCH, index);
		if (error)
			kcare_say(reason, "a hook of %s says no (%d)", patch->mod->name, error);
	}
	if (!error && applied && target->object->fresh_id)
		error = note_fresh(mod, target->object->fresh_id);
	if (error) {
		kcare_target_detach(patch, index);
		target->wrong = error;
		return applied ? error : 0;
	}
	if (!applied)
		return 0;
	for (i = 0; i < patch->n_funcs; i++) {
		if (patch->funcs[i].old.object != index)
			continue;
		if (patch->redirects[i].init)
			mod->init = (int (*)(void))(unsigned long)patch->funcs[i].new_ptr;
		kcare_redirect_gate(&patch->redirects[i], true);
	}
	kcare_hooks_call(patch, KCARE_HOOK_POST_SWITCH, index);
	return 0;
}

int kcare_module_coming(struct module *mod, struct kcare_reason *reason)
{
	struct kcare_patch *patch;
	unsigned int i;

	list_for_each_entry(patch, &kcare_patches, list) {
		for (i = 0; i < patch->n_targets && !patch->kept; i++) {
			int error;

			if (patch->targets[i].present || strcmp(patch->targets[i].name, mod->name))
				continue;
			error = attach_late(patch, i, mod, reason);
			if (error) {
				/* It is not GOING for us when we refuse it. */
				kcare_module_going(mod);
				return error;
			}
			if (patch->targets[i].wrong)
				pr_warn("%s does not fit the patch %s, which cannot be applied now: %s\n",
					mod->name, patch->mod->name, reason->text);
		}
	}
	return 0;
}

void kcare_module_going(struct module *mod)
{
	struct kcare_patch *patch;
	unsigned int i;

	list_for_each_entry(patch, &kcare_patches, list) {
		for (i = 0; i < patch->n_targets; i++) {
			struct kcare_target *target = &patch->targets[i];

			if (strcmp(target->name, mod->name))
				continue;
			target->wrong = 0;
			if (!target->present || target->mod != mod)
				continue;
			if (patch == kcare_active)
				kcare_hooks_call(patch, KCARE_HOOK_PRE_UNLOAD, i);
			remove_redirects(patch, i);
			if (patch == kcare_active)
				kcare_hooks_call(patch, KCARE_HOOK_POST_UNLOAD, i);
			kcare_target_detach(patch, i);
		}
	}
	forget_fresh(mod);
}
