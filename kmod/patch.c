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

DEFINE_MUTEX(kcare_lock);
DEFINE_MUTEX(kcare_list_lock);
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

static struct kcare_span module_text(struct module *mod)
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
		const Elf_Sym *it = &all->symtab[i];

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
	    head->flags) {
		kcare_say(reason, "format %#x.%u.%#x is not known; a newer kcare.ko is needed",
			  head->magic, head->version, head->flags);
		return -EINVAL;
	}
	patch->level = head->level;
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
	int error;

	patch->targets = kcalloc(table->count, sizeof(*patch->targets), GFP_KERNEL);
	if (!patch->targets)
		return -ENOMEM;
	for (i = 0; i < table->count; i++) {
		const char *name = string_at(patch->mod, objects[i].name_ptr, MODULE_NAME_LEN);

		if (!name || !*name || !is_printable(name) || objects[i].reserved ||
		    !objects[i].build_id_size || objects[i].build_id_size > KCARE_BUILD_ID_MAX) {
			kcare_say(reason, "object %u is malformed", i);
			return -EINVAL;
		}
		if (!strcmp(name, patch->mod->name)) {
			kcare_say(reason, "it names itself as an object");
			return -EINVAL;
		}
		error = kcare_target_get(&objects[i], &patch->targets[i], reason);
		if (error)
			return error;
		patch->n_targets++;
	}
	return 0;
}

static int find_symbol(struct kcare_patch *patch, const struct kcare_symbol *symbol,
		       struct kcare_span *span, struct kcare_reason *reason)
{
	const char *name = string_at(patch->mod, symbol->name_ptr, KSYM_NAME_LEN);

	if (!name || !*name || !is_printable(name) || symbol->object >= patch->n_targets) {
		kcare_say(reason, "a symbol's name or object is malformed");
		return -EINVAL;
	}
	return kcare_symbol_find(symbol, &patch->targets[symbol->object], span, reason);
}

static bool target_has_text(const struct kcare_target *target, const struct kcare_span *span)
{
	struct kcare_span text = { kcare_kernel.text, kcare_kernel.etext };

	if (target->mod)
		text = module_text(target->mod);
	return span->start >= text.start && span->end <= text.end && span->start < span->end;
}

/*
 * CPUs that wait in a stop call these: they would be changed under their feet.
 * What is on the stack of the CPU that holds the stop is checked like any task.
 */
static const char *const not_patchable[] = {
	"multi_cpu_stop", "stop_machine_yield", "touch_nmi_watchdog",
	"rcu_momentary_dyntick_idle", "rcu_momentary_eqs",
};

static int read_parts(struct kcare_patch *patch, const struct table *table,
		      struct kcare_reason *reason)
{
	const struct kcare_range *ranges = table->start;
	unsigned int i;
	int error;

	patch->parts = kcalloc(table->count, sizeof(*patch->parts), GFP_KERNEL);
	if (!patch->parts)
		return -ENOMEM;
	for (i = 0; i < table->count; i++) {
		error = find_symbol(patch, &ranges[i].part, &patch->parts[i], reason);
		if (error)
			return error;
		if (!target_has_text(&patch->targets[ranges[i].part.object], &patch->parts[i])) {
			kcare_say(reason, "range %u is no code", i);
			return -EINVAL;
		}
		patch->n_parts++;
	}
	return 0;
}

static int read_func(struct kcare_patch *patch, const struct kcare_func *func,
		     struct kcare_reason *reason)
{
	struct kcare_redirect *redirect = &patch->redirects[patch->n_redirects];
	unsigned int i;
	int error;

	error = find_symbol(patch, &func->old, &redirect->old, reason);
	if (error)
		return error;
	redirect->name = (const char *)(unsigned long)func->old.name_ptr;
	if (!target_has_text(&patch->targets[func->old.object], &redirect->old)) {
		kcare_say(reason, "%s: is no code", redirect->name);
		return -EINVAL;
	}
	for (i = 0; i < ARRAY_SIZE(not_patchable); i++) {
		if (!strcmp(redirect->name, not_patchable[i])) {
			kcare_say(reason, "%s: runs while everything is stopped; cannot be patched",
				  redirect->name);
			return -EINVAL;
		}
	}
	if (!is_text(patch, func->new_ptr, func->new_size)) {
		kcare_say(reason, "%s: its replacement is no code of the patch", redirect->name);
		return -EINVAL;
	}
	if (func->range_first > patch->n_parts ||
	    func->range_count > patch->n_parts - func->range_first) {
		kcare_say(reason, "%s: its ranges are not there", redirect->name);
		return -EINVAL;
	}
	for (i = 0; i < patch->n_redirects; i++) {
		if (patch->redirects[i].old.start < redirect->old.end &&
		    patch->redirects[i].old.end > redirect->old.start) {
			kcare_say(reason, "%s: overlaps with %s", redirect->name,
				  patch->redirects[i].name);
			return -EINVAL;
		}
	}
	return 0;
}

static int read_relocs(struct kcare_patch *patch, const struct table *table,
		       struct kcare_reason *reason)
{
	const struct kcare_reloc *relocs = table->start;
	unsigned int i;

	for (i = 0; i < table->count; i++) {
		const struct kcare_reloc *it = &relocs[i];
		int size = kcare_reloc_size(it->type);
		struct kcare_span span;
		u8 bytes[8];
		int error;

		if (it->flags & ~KCARE_RELOC_LATE || !size) {
			kcare_say(reason, "reference %u: type %u with flags %#x is not known", i,
				  it->type, it->flags);
			return -EINVAL;
		}
		if (!lies_within(patch->mod, it->place_ptr, size)) {
			kcare_say(reason, "reference %u lies outside of the patch", i);
			return -EINVAL;
		}
		error = find_symbol(patch, &it->symbol, &span, reason);
		if (error)
			return error;
		error = kcare_reloc_value(it->type, it->place_ptr, span.start + it->addend, bytes);
		if (error) {
			kcare_say(reason, "reference %u to %s: does not fit into %d bytes", i,
				  (const char *)(unsigned long)it->symbol.name_ptr, size);
			return error;
		}
		mutex_lock(kcare_kernel.text_mutex);
		kcare_kernel.text_poke((void *)(unsigned long)it->place_ptr, bytes, size);
		mutex_unlock(kcare_kernel.text_mutex);
		if (memcmp((void *)(unsigned long)it->place_ptr, bytes, size)) {
			kcare_say(reason, "reference %u: was not written", i);
			return -EIO;
		}
		cond_resched();
	}
	kcare_kernel.text_poke_sync();
	return 0;
}

static int read_hooks(struct kcare_patch *patch, const struct table *table,
		      struct kcare_reason *reason)
{
	const struct kcare_hook *hooks = table->start;
	unsigned int i;

	for (i = 0; i < table->count; i++) {
		if (hooks[i].when > KCARE_HOOK_POST_UNLOAD ||
		    hooks[i].object >= patch->n_targets ||
		    !is_text(patch, hooks[i].function_ptr, 1)) {
			kcare_say(reason, "hook %u is malformed", i);
			return -EINVAL;
		}
	}
	patch->hooks = hooks;
	patch->n_hooks = table->count;
	return 0;
}

int kcare_patch_hooks(struct kcare_patch *patch, u32 when)
{
	unsigned int i;

	for (i = 0; i < patch->n_hooks; i++) {
		unsigned long function = patch->hooks[i].function_ptr;

		if (patch->hooks[i].when != when)
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

static void free_patch(struct kcare_patch *patch)
{
	unsigned int i;

	kcare_redirect_remove(patch->redirects, patch->n_redirects);
	for (i = 0; i < patch->n_targets; i++)
		kcare_target_put(&patch->targets[i]);
	kfree(patch->targets);
	kfree(patch->redirects);
	kfree(patch->parts);
	kfree(patch);
}

static int read_patch(struct kcare_patch *patch, const struct kcare_patch_head *head,
		      struct kcare_reason *reason)
{
	struct table objects, funcs, ranges, relocs, hooks;
	struct module *mod = patch->mod;
	unsigned int i;
	int error;

	error = find_table(mod, KCARE_SYM_OBJECTS, sizeof(struct kcare_object), KCARE_OBJECTS_MAX,
			   &objects, reason) ?:
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
	error = read_head(patch, head, reason) ?: read_objects(patch, &objects, reason) ?:
		read_parts(patch, &ranges, reason) ?: read_hooks(patch, &hooks, reason) ?:
		read_relocs(patch, &relocs, reason);
	if (error)
		return error;

	patch->redirects = kcalloc(funcs.count, sizeof(*patch->redirects), GFP_KERNEL);
	if (!patch->redirects)
		return -ENOMEM;
	for (i = 0; i < funcs.count; i++) {
		const struct kcare_func *func = (const struct kcare_func *)funcs.start + i;

		error = read_func(patch, func, reason) ?:
			kcare_redirect_add(&patch->redirects[i], func->new_ptr, reason);
		if (error)
			return error;
		patch->n_redirects++;
	}
	return 0;
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
	patch->text = module_text(mod);
	error = read_patch(patch, head, reason);
	if (error) {
		free_patch(patch);
		module_put(THIS_MODULE);
		return error;
	}
	mutex_lock(&kcare_list_lock);
	list_add_tail(&patch->list, &kcare_patches);
	mutex_unlock(&kcare_list_lock);
	return 0;
}

void kcare_patch_unload(struct module *mod)
{
	struct kcare_patch *patch = kcare_patch_find(mod->name);

	if (!patch || patch->mod != mod)
		return;
	/* A switched patch holds a reference to its module, so it does not come here. */
	WARN_ON(patch == kcare_active);
	mutex_lock(&kcare_list_lock);
	list_del(&patch->list);
	mutex_unlock(&kcare_list_lock);
	free_patch(patch);
	module_put(THIS_MODULE);
}
