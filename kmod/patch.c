// SPDX-License-Identifier: GPL-2.0-only
/*
 * A patch module, from its bytes to a list of redirects.
 *
 * The notifier comes when the module's memory is in place and relocated, and
 * before the kernel has looked at static keys and calls: so what our table writes
 * is there in time. Section names are gone by then, sections are found by a
 * symbol (uapi/kcare_patch.h). Nothing in them is trusted: the module may be
 * signed by somebody who made a mistake.
 */
#include <linux/kallsyms.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <linux/vmalloc.h>
#include <generated/utsrelease.h>

#include "kcare.h"

DEFINE_MUTEX(kcare_lock);	/* loading, switching, unloading: kcare.h */
DEFINE_MUTEX(kcare_list_lock);	/* changes of the list and of who is active: kcare.h */
LIST_HEAD(kcare_patches);
struct kcare_patch *kcare_active;

void kcare_say(struct kcare_reason *reason, const char *format, ...)
{
	va_list args;
	size_t used = reason->used;

	if (used + 1 >= reason->size)
		return;
	if (used)
		reason->text[used++] = '\n';
	va_start(args, format);
	used += vscnprintf(reason->text + used, reason->size - used, format, args);
	va_end(args);
	reason->used = used;
}

static bool lies_within(struct module *mod, unsigned long start, unsigned long size)
{
	return size && start + size > start && within_module_core(start, mod) &&
	       within_module_core(start + size - 1, mod);
}

static bool is_text(const struct kcare_patch *patch, u64 start, u64 size)
{
	return start >= patch->text.start && start < patch->text.end && size &&
	       size <= patch->text.end - start;
}

/* A string of the module; NULL: it has no end in there, or is too long. */
static const char *string_at(struct module *mod, u64 address, size_t max)
{
	size_t i;

	for (i = 0; i < max; i++) {
		if (!within_module_core(address + i, mod))
			return NULL;
		if (!*(const char *)(unsigned long)(address + i))
			return (const char *)(unsigned long)address;
	}
	return NULL;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

/* An array of the module: found by a symbol, which has the size of the section. */
struct table {
	const void *start;
	unsigned int count;
};

static int find_table(struct module *mod, const char *symbol, size_t entry, unsigned int max,
		      struct table *table, struct kcare_reason *reason)
{
	const struct mod_kallsyms *all = rcu_dereference_protected(mod->kallsyms, 1);
	unsigned int i;

	table->start = NULL;
	table->count = 0;
	for (i = 1; i < all->num_symtab; i++) {
		const struct elf64_sym *it = &all->symtab[i];

		if (it->st_shndx == SHN_UNDEF || strcmp(all->strtab + it->st_name, symbol))
			continue;
		if (table->start) {
			kcare_say(reason, "%s: is there twice", symbol);
			return -EINVAL;
		}
		if (!it->st_size && !max)
			return 0;
		if (it->st_size % entry || it->st_size / entry > max ||
		    (it->st_size && !lies_within(mod, it->st_value, it->st_size)) ||
		    it->st_value % __alignof__(u64)) {
			kcare_say(reason, "%s: %llu bytes at a wrong place, or too many (limit %u)",
				  symbol, (u64)it->st_size, max);
			return -EINVAL;
		}
		table->start = (const void *)(unsigned long)it->st_value;
		table->count = it->st_size / entry;
	}
	return 0;
}

const struct kcare_patch_head *kcare_patch_head(struct module *mod, struct kcare_reason *reason)
{
	struct table table;

	if (find_table(mod, KCARE_SYM_HEAD, sizeof(struct kcare_patch_head), 1, &table, reason))
		return ERR_PTR(-EINVAL);
	return table.count ? table.start : NULL;
}

struct kcare_patch *kcare_patch_find(const char *module)
{
	struct kcare_patch *patch;

	list_for_each_entry(patch, &kcare_patches, list)
		if (!strcmp(patch->mod->name, module))
			return patch;
	return NULL;
}

static int read_head(struct kcare_patch *patch, const struct kcare_patch_head *head,
		     struct kcare_reason *reason)
{
	const char *release = string_at(patch->mod, head->release_ptr, __NEW_UTS_LEN + 1);

	if (head->magic != KCARE_PATCH_MAGIC || head->version != KCARE_PATCH_VERSION ||
	    head->flags & ~KCARE_PATCH_STAYS) {
		kcare_say(reason, "format %#x.%u.%#x is not known; a newer kcare.ko is needed",
			  head->magic, head->version, head->flags);
		return -EINVAL;
	}
	patch->level = head->level;
	patch->stays = head->flags & KCARE_PATCH_STAYS;
	patch->name = string_at(patch->mod, head->name_ptr, KCARE_NAME_MAX);
	patch->effective = string_at(patch->mod, head->effective_ptr, __NEW_UTS_LEN + 1);
	patch->cves = string_at(patch->mod, head->cves_ptr, KCARE_STRING_MAX);
	if (!patch->name || !patch->effective || !patch->cves || !release || !*patch->name ||
	    !is_printable(patch->name) || !is_printable(patch->effective) ||
	    !is_printable(patch->cves) || !is_printable(release)) {
		kcare_say(reason, "a string of its head is missing, too long or not printable");
		return -EINVAL;
	}
	if (strcmp(release, init_utsname()->release)) {
		kcare_say(reason, "made for kernel %s, this is %s", release,
			  init_utsname()->release);
		return -EINVAL;
	}
	return 0;
}

static int read_objects(struct kcare_patch *patch, const struct table *table,
			struct kcare_reason *reason)
{
	const struct kcare_object *objects = table->start;
	unsigned int i;

	patch->targets = kcalloc(table->count, sizeof(*patch->targets), GFP_KERNEL);
	if (!patch->targets)
		return -ENOMEM;
	patch->n_targets = table->count;
	for (i = 0; i < table->count; i++) {
		const char *name = string_at(patch->mod, objects[i].name_ptr, MODULE_NAME_LEN);

		if (!name || !*name || !is_printable(name) || objects[i].reserved ||
		    !objects[i].build_id_size || objects[i].build_id_size > KCARE_BUILD_ID_MAX ||
		    !strcmp(name, patch->mod->name) ||
		    (objects[i].fresh_id && !strcmp(name, KCARE_VMLINUX))) {
			kcare_say(reason, "object %u is malformed", i);
			return -EINVAL;
		}
		patch->targets[i].object = &objects[i];
		patch->targets[i].name = name;
	}
	return 0;
}

static bool is_symbol(const struct kcare_patch *patch, const struct kcare_symbol *symbol)
{
	const char *name = string_at(patch->mod, symbol->name_ptr, KSYM_NAME_LEN);

	return name && *name && is_printable(name) && symbol->object < patch->n_targets;
}

/*
 * CPUs that wait in a stop call these: they would be changed under their feet.
 * What is on the stack of the CPU that holds the stop is checked like any task.
 */
static const char *const not_patchable[] = {
	"multi_cpu_stop", "stop_machine_yield", "touch_nmi_watchdog",
	"rcu_momentary_dyntick_idle", "rcu_momentary_eqs", "rcu_preempt_deferred_qs",
	"rcu_preempt_need_deferred_qs", "rcu_preempt_deferred_qs_irqrestore",
};

static int read_func(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	const struct kcare_func *func = &patch->funcs[index];
	unsigned int i;

	if (!is_symbol(patch, &func->old)) {
		kcare_say(reason, "function %u: its name or object is malformed", index);
		return -EINVAL;
	}
	patch->redirects[index].name = (const char *)(unsigned long)func->old.name_ptr;
	for (i = 0; i < ARRAY_SIZE(not_patchable); i++) {
		if (!strcmp(patch->redirects[index].name, not_patchable[i])) {
			kcare_say(reason, "%s: runs while everything is stopped; cannot be patched",
				  not_patchable[i]);
			return -EINVAL;
		}
	}
	if (func->flags & ~KCARE_FUNC_INIT || func->reserved ||
	    (func->flags && !patch->targets[func->old.object].object->fresh_id)) {
		kcare_say(reason, "%s: its flags %#x are not known, or not for its object",
			  patch->redirects[index].name, func->flags);
		return -EINVAL;
	}
	patch->redirects[index].init = func->flags & KCARE_FUNC_INIT;
	if (!is_text(patch, func->new_ptr, func->new_size)) {
		kcare_say(reason, "%s: its replacement is no code of the patch",
			  patch->redirects[index].name);
		return -EINVAL;
	}
	if (func->range_first > patch->n_ranges ||
	    func->range_count > patch->n_ranges - func->range_first) {
		kcare_say(reason, "%s: its ranges are not there", patch->redirects[index].name);
		return -EINVAL;
	}
	return 0;
}

static bool lies_in_table(unsigned long place, const void *start, size_t size)
{
	return place - (unsigned long)start < size;
}

/* Places that the kernel works on as soon as we are done: they cannot be LATE. */
static bool is_read_now(const struct module *mod, unsigned long place)
{
	bool found = false;

#ifdef CONFIG_JUMP_LABEL
	found |= lies_in_table(place, mod->jump_entries,
			       mod->num_jump_entries * sizeof(*mod->jump_entries));
#endif
#ifdef CONFIG_HAVE_STATIC_CALL_INLINE
	found |= lies_in_table(place, mod->static_call_sites,
			       mod->num_static_call_sites * sizeof(*mod->static_call_sites));
#endif
	return found;
}

static int read_reloc(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason)
{
	const struct kcare_reloc *it = &patch->relocs[index];
	int size = kcare_reloc_size(it->type);

	if (it->flags & ~(KCARE_RELOC_LATE | KCARE_RELOC_INIT) || !size ||
	    it->flags == KCARE_RELOC_INIT) {
		kcare_say(reason, "reference %u: type %u with flags %#x is not known", index,
			  it->type, it->flags);
		return -EINVAL;
	}
	if (!lies_within(patch->mod, it->place_ptr, size)) {
		kcare_say(reason, "reference %u lies outside of the patch", index);
		return -EINVAL;
	}
	if (!is_symbol(patch, &it->symbol)) {
		kcare_say(reason, "reference %u: its name or object is malformed", index);
		return -EINVAL;
	}
	if (it->flags & KCARE_RELOC_INIT &&
	    !patch->targets[it->symbol.object].object->fresh_id) {
		kcare_say(reason, "reference %u: is to what is gone", index);
		return -EINVAL;
	}
	if (!(it->flags & KCARE_RELOC_LATE) || is_read_now(patch->mod, it->place_ptr))
		patch->targets[it->symbol.object].needed = true;
	return 0;
}

/* Everything that can be said without looking at the objects. */
static int read_entries(struct kcare_patch *patch, struct kcare_reason *reason)
{
	unsigned int i;
	int error = 0;

	for (i = 0; i < patch->n_ranges; i++) {
		if (!is_symbol(patch, &patch->ranges[i].part)) {
			kcare_say(reason, "range %u: its name or object is malformed", i);
			return -EINVAL;
		}
	}
	for (i = 0; i < patch->n_hooks; i++) {
		if (patch->hooks[i].when > KCARE_HOOK_POST_UNLOAD ||
		    patch->hooks[i].object >= patch->n_targets ||
		    !is_text(patch, patch->hooks[i].function_ptr, 1)) {
			kcare_say(reason, "hook %u is malformed", i);
			return -EINVAL;
		}
	}
	for (i = 0; i < patch->n_funcs && !error; i++)
		error = read_func(patch, i, reason);
	for (i = 0; i < patch->n_relocs && !error; i++)
		error = read_reloc(patch, i, reason);
	return error;
}

static void set_ready(struct kcare_patch *patch, bool ready)
{
	mutex_lock(&kcare_list_lock);
	patch->ready = ready;
	mutex_unlock(&kcare_list_lock);
}

static void free_patch(struct kcare_patch *patch)
{
	unsigned int i;

	/* A module that goes meanwhile waits for kcare_lock, until it is redirected no more. */
	set_ready(patch, false);
	for (i = 0; i < patch->n_targets; i++)
		kcare_target_detach(patch, i);
	mutex_lock(&kcare_list_lock);
	list_del(&patch->list);
	mutex_unlock(&kcare_list_lock);
	kfree(patch->targets);
	kfree(patch->redirects);
	kfree(patch->parts);
	kfree(patch);
	module_put(THIS_MODULE);
}

static int read_tables(struct kcare_patch *patch, struct table *objects,
		       struct kcare_reason *reason)
{
	struct table funcs, ranges, relocs, hooks;
	struct module *mod = patch->mod;
	int error;

	error = find_table(mod, KCARE_SYM_OBJECTS, sizeof(struct kcare_object), KCARE_OBJECTS_MAX,
			   objects, reason) ?:
		find_table(mod, KCARE_SYM_FUNCS, sizeof(struct kcare_func), KCARE_FUNCS_MAX,
			   &funcs, reason) ?:
		find_table(mod, KCARE_SYM_RANGES, sizeof(struct kcare_range), KCARE_RANGES_MAX,
			   &ranges, reason) ?:
		find_table(mod, KCARE_SYM_RELOCS, sizeof(struct kcare_reloc), KCARE_RELOCS_MAX,
			   &relocs, reason) ?:
		find_table(mod, KCARE_SYM_HOOKS, sizeof(struct kcare_hook), KCARE_HOOKS_MAX,
			   &hooks, reason);
	if (error)
		return error;
	patch->redirects = kcalloc(funcs.count, sizeof(*patch->redirects), GFP_KERNEL);
	patch->parts = kcalloc(ranges.count, sizeof(*patch->parts), GFP_KERNEL);
	if (!patch->redirects || !patch->parts)
		return -ENOMEM;
	patch->funcs = funcs.start;
	patch->n_funcs = funcs.count;
	patch->ranges = ranges.start;
	patch->n_ranges = ranges.count;
	patch->relocs = relocs.start;
	patch->n_relocs = relocs.count;
	patch->hooks = hooks.start;
	patch->n_hooks = hooks.count;
	return 0;
}

static int attach_targets(struct kcare_patch *patch, struct kcare_reason *reason)
{
	unsigned int i;
	int error = 0;

	for (i = 0; i < patch->n_targets && !error; i++)
		error = kcare_target_find(patch, i, reason);
	for (i = 0; i < patch->n_targets && !error; i++)
		if (patch->targets[i].present)
			error = kcare_target_attach(patch, i, reason);
	return error;
}

static void set_kept(struct kcare_patch *patch, bool kept)
{
	mutex_lock(&kcare_list_lock);
	patch->kept = kept;
	mutex_unlock(&kcare_list_lock);
}

/* Back among the staged ones, as it was when it was COMING. */
int kcare_patch_restage(struct kcare_patch *patch, struct kcare_reason *reason)
{
	int error = attach_targets(patch, reason);

	if (error)
		kcare_patch_keep(patch);
	else
		set_kept(patch, false);
	return error;
}

/* No redirect is left of it, only its memory. */
void kcare_patch_keep(struct kcare_patch *patch)
{
	unsigned int i;

	set_kept(patch, true);
	for (i = 0; i < patch->n_targets; i++)
		kcare_target_detach(patch, i);
}

static int read_patch(struct kcare_patch *patch, const struct kcare_patch_head *head,
		      struct kcare_reason *reason)
{
	struct table objects;

	return read_tables(patch, &objects, reason) ?: read_head(patch, head, reason) ?:
	       read_objects(patch, &objects, reason) ?: read_entries(patch, reason) ?:
	       attach_targets(patch, reason);
}

int kcare_patch_load(struct module *mod, struct kcare_reason *reason)
{
	const struct kcare_patch_head *head = kcare_patch_head(mod, reason);
	struct kcare_patch *patch;
	int error;

	if (IS_ERR_OR_NULL(head))
		return PTR_ERR_OR_ZERO(head);
	if (!try_module_get(THIS_MODULE))
		return -EBUSY;
	patch = kzalloc(sizeof(*patch), GFP_KERNEL);
	if (!patch) {
		module_put(THIS_MODULE);
		return -ENOMEM;
	}
	patch->mod = mod;
	patch->text = kcare_module_text(mod);
	/* In the list first: a module that comes meanwhile waits for kcare_lock. */
	mutex_lock(&kcare_list_lock);
	list_add_tail(&patch->list, &kcare_patches);
	mutex_unlock(&kcare_list_lock);

	error = read_patch(patch, head, reason);
	if (error) {
		free_patch(patch);
		return error;
	}
	set_ready(patch, true);
	return 0;
}

void kcare_patch_unload(struct module *mod)
{
	struct kcare_patch *patch = kcare_patch_find(mod->name);

	if (!patch || patch->mod != mod)
		return;
	/* An applied or kept patch holds a reference to its module, so it does not come here. */
	WARN_ON(patch == kcare_active || patch->kept);
	free_patch(patch);
}
