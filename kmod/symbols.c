// SPDX-License-Identifier: GPL-2.0-only
/*
 * Symbols that the kernel does not export, for kcare.ko itself and for patches.
 *
 * For ourselves: a kprobe can be placed by name on any function, and then knows
 * its address. So kallsyms_lookup_name is found, and everything else through it.
 * What is needed and not there makes kcare.ko refuse to load, by name.
 *
 * For patches: a name alone proves nothing, 300 names of Debian's 6.1 are there
 * more than once. A place in the kernel is _text and an offset that the builder
 * took from the very vmlinux (its build-ID is compared), and kallsyms has to know
 * that name at that address. A place in a module is the n-th symbol of its name
 * by address, in the module with that build-ID.
 *
 * Per-CPU variables are addresses from 0 where the kernel's linker puts them
 * there: the offset from _text as linked is negative, KASLR does not move them.
 */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/uaccess.h>
#include <asm/page.h>

#include "kcare.h"

struct kcare_kernel kcare_kernel;

static unsigned long find_lookup(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long address;
	int error;

	error = register_kprobe(&probe);
	if (error) {
		pr_err("cannot find kallsyms_lookup_name with a kprobe (%d)\n", error);
		return 0;
	}
	address = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
#ifdef CONFIG_X86_KERNEL_IBT
	/* The probe sits behind the endbr64. */
	if (*(u32 *)(address - 4) == 0xfa1e0ff3)
		address -= 4;
#endif
	return address;
}

struct wanted {
	const char *name;
	void *where;
	bool needed;
	const char *later_name;
};

#define NEEDED(symbol) { #symbol, &kcare_kernel.symbol, true }
#define OPTIONAL(symbol) { #symbol, &kcare_kernel.symbol, false }

static const struct wanted wanted[] = {
	NEEDED(kallsyms_lookup_size_offset),
	NEEDED(kallsyms_on_each_symbol),
	NEEDED(find_module),
	NEEDED(module_mutex),
	NEEDED(modules),
	NEEDED(__module_text_address),
	NEEDED(text_poke),
	{ "text_poke_sync", &kcare_kernel.text_poke_sync, true, "smp_text_poke_sync_each_cpu" },
	NEEDED(text_mutex),
	NEEDED(ftrace_location),
	NEEDED(ftrace_find_rec_direct),
	NEEDED(ftrace_enabled),
	NEEDED(stack_trace_save_tsk_reliable),
	NEEDED(stop_machine_cpuslocked),
	NEEDED(stop_sched_class),
	OPTIONAL(freeze_processes),
	OPTIONAL(freeze_timeout_msecs),
	OPTIONAL(thaw_processes),
	{ "_text", &kcare_kernel.text, true },
	{ "_etext", &kcare_kernel.etext, true },
	{ "_end", &kcare_kernel.end, true },
	{ "__init_begin", &kcare_kernel.init_begin, true },
	{ "__init_end", &kcare_kernel.init_end, true },
	{ "__per_cpu_start", &kcare_kernel.per_cpu_start, false },
	{ "__per_cpu_end", &kcare_kernel.per_cpu_end, false },
	{ "__start_notes", &kcare_kernel.notes_start, true },
	{ "__stop_notes", &kcare_kernel.notes_end, true },
};

int kcare_symbols_init(void)
{
	unsigned long address = find_lookup();
	unsigned int i;

	if (!address)
		return -ENOENT;
	kcare_kernel.kallsyms_lookup_name = (void *)address;
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		address = kcare_kernel.kallsyms_lookup_name(wanted[i].name);
		if (!address && wanted[i].later_name)
			address = kcare_kernel.kallsyms_lookup_name(wanted[i].later_name);
		if (!address && wanted[i].needed) {
			pr_err("this kernel has no %s\n", wanted[i].name);
			return -ENOENT;
		}
		*(unsigned long *)wanted[i].where = address;
	}
	return 0;
}

#define NOTE_BUILD_ID 3

/* The build-ID in a block of ELF notes; NULL: there is none. */
static const u8 *find_build_id(const u8 *notes, size_t size, size_t *id_size)
{
	while (size >= sizeof(struct elf64_note)) {
		const struct elf64_note *note = (const void *)notes;
		size_t name = ALIGN((size_t)note->n_namesz, 4);
		size_t desc = ALIGN((size_t)note->n_descsz, 4);

		size -= sizeof(*note);
		notes += sizeof(*note);
		if (name > size || desc > size - name)
			return NULL;
		if (note->n_type == NOTE_BUILD_ID && note->n_namesz == 4 &&
		    !memcmp(notes, "GNU", 4)) {
			*id_size = note->n_descsz;
			return notes + name;
		}
		notes += name + desc;
		size -= name + desc;
	}
	return NULL;
}

/*
 * A module's notes have no name in memory, and its sysfs files come after COMING.
 * So the whole note, with the build-ID that it has to have, is looked for in the
 * module's read-only memory, where the loader puts it.
 */
static bool module_has_note(struct module *mod, const u8 *note, size_t size)
{
#ifdef HAVE_MODULE_MEM
	const u8 *start = mod->mem[MOD_RODATA].base;
	const u8 *end = start + mod->mem[MOD_RODATA].size;
#else
	const u8 *start = mod->core_layout.base;
	const u8 *end = start + mod->core_layout.ro_size;
#endif
	for (; start && start + size <= end; start += 4)
		if (!memcmp(start, note, size))
			return true;
	return false;
}

/* The object's build-ID is the one that the patch was made for. */
int kcare_build_id_check(const struct kcare_target *target, struct kcare_reason *reason)
{
	const struct kcare_object *object = target->object;
	struct {
		struct elf64_note head;
		char owner[4];
		u8 id[KCARE_BUILD_ID_MAX];
	} note = {
		.head = { 4, object->build_id_size, NOTE_BUILD_ID },
		.owner = "GNU",
	};
	size_t size = 0;
	const u8 *id;

	if (target->mod) {
		memcpy(note.id, object->build_id, object->build_id_size);
		if (module_has_note(target->mod, (const u8 *)&note,
				    offsetof(typeof(note), id) + object->build_id_size))
			return 0;
		kcare_say(reason,
			  "module %s is not the one with build-id %*phN that the patch was made for",
			  target->name, (int)object->build_id_size, object->build_id);
		return -EINVAL;
	}
	id = find_build_id(kcare_kernel.notes_start,
			   kcare_kernel.notes_end - kcare_kernel.notes_start, &size);
	if (id && size == object->build_id_size && !memcmp(id, object->build_id, size))
		return 0;
	kcare_say(reason, "the kernel has build-id %*phN, the patch was made for %*phN",
		  (int)(id ? size : 0), id, (int)object->build_id_size, object->build_id);
	return -EINVAL;
}

struct name_at {
	const char *name;
	unsigned long address;
	bool found;
};

#ifdef HAVE_SYMBOL_WALK_MODULE
static int match_name(void *data, const char *name, struct module *mod, unsigned long address)
#else
static int match_name(void *data, const char *name, unsigned long address)
#endif
{
	struct name_at *wanted_name = data;

	wanted_name->found = address == wanted_name->address &&
			     !strcmp(name, wanted_name->name);
	return wanted_name->found;
}

/* Does kallsyms know that name at that address? It may know others there, too. */
static bool name_is_at(const char *name, unsigned long address)
{
	struct name_at wanted_name = { .name = name, .address = address };
	unsigned long size, offset;
	char first[KSYM_SYMBOL_LEN];

	if (kcare_kernel.kallsyms_lookup_size_offset(address, &size, &offset) && offset)
		return false;
	if (kcare_kernel.kallsyms_lookup_name(name) == address)
		return true;
	if (sprint_symbol_no_offset(first, address) > 0 && !strcmp(first, name))
		return true;
	kcare_kernel.kallsyms_on_each_symbol(match_name, &wanted_name);
	return wanted_name.found;
}

static int find_in_kernel(const struct kcare_symbol *symbol, const char *name,
			  struct kcare_span *span, struct kcare_reason *reason)
{
	unsigned long address = kcare_kernel.text + symbol->offset;
	unsigned long size = symbol->size, known = 0, offset = 0;

	if (symbol->offset >= kcare_kernel.end - kcare_kernel.text) {
#ifdef __START_KERNEL
		address = __START_KERNEL + symbol->offset;
#endif
		if (address >= kcare_kernel.per_cpu_end ||
		    kcare_kernel.per_cpu_end > kcare_kernel.text) {
			kcare_say(reason, "%s: offset %#llx is outside of the kernel", name,
				  symbol->offset);
			return -EINVAL;
		}
	} else if (address >= kcare_kernel.init_begin && address < kcare_kernel.init_end &&
		   !(address >= kcare_kernel.per_cpu_start &&
		     address < kcare_kernel.per_cpu_end)) {
		kcare_say(reason, "%s: lies in init memory, which is gone", name);
		return -EINVAL;
	}
	if (!name_is_at(name, address)) {
		/* Without KALLSYMS_ALL only text has names. */
		if (IS_ENABLED(CONFIG_KALLSYMS_ALL) || address < kcare_kernel.etext) {
			kcare_say(reason, "%s: kallsyms knows no such symbol at _text+%#llx",
				  name, symbol->offset);
			return -EINVAL;
		}
	} else if (kcare_kernel.kallsyms_lookup_size_offset(address, &known, &offset)) {
		/* In data, a label may lie inside of another object. */
		if (known && size > known && address < kcare_kernel.etext) {
			kcare_say(reason, "%s: kallsyms says %lu bytes, the patch %lu", name,
				  known, size);
			return -EINVAL;
		}
		size = max(size, known);
	}
	span->start = address;
	span->end = address + size;
	return 0;
}

/* Symbols of per-CPU variables have the address that each CPU's offset is added to. */
static bool lies_in_module(unsigned long address, const struct module *mod, bool init)
{
	if (init)
		return within_module(address, mod) && !within_module_core(address, mod);
#ifdef CONFIG_SMP
	if (address - (unsigned long)mod->percpu < mod->percpu_size)
		return true;
#endif
	return within_module_core(address, mod);
}

/*
 * Symbols of that name, by rising address: there are few, so the position-th is
 * found by looking for the next higher one, position times.
 */
static int find_in_module(const struct kcare_symbol *symbol, bool init,
			  const struct kcare_target *target, struct kcare_span *span,
			  struct kcare_reason *reason)
{
	const char *name = (const char *)(unsigned long)symbol->name_ptr;
	const struct elf64_sym *best = NULL;
	const struct mod_kallsyms *all;
	unsigned long last = 0;
	unsigned int i, rank = 0, count = 0;

	if (symbol->offset) {
		kcare_say(reason, "%s:%s: has an offset, which is for the kernel", target->name,
			  name);
		return -EINVAL;
	}
	mutex_lock(kcare_kernel.module_mutex);
	all = rcu_dereference_protected(target->mod->kallsyms, 1);
	do {
		best = NULL;
		count = 0;
		for (i = 0; i < all->num_symtab; i++) {
			const struct elf64_sym *it = &all->symtab[i];

			/* Init code is there while the module is COMING, and not counted. */
			if (it->st_shndx == SHN_UNDEF ||
			    !lies_in_module(it->st_value, target->mod, init) ||
			    strcmp(all->strtab + it->st_name, name))
				continue;
			count++;
			if (it->st_value > last && (!best || it->st_value < best->st_value))
				best = it;
		}
		rank++;
		if (best)
			last = best->st_value;
	} while (best && rank < symbol->position);
	if (best) {
		span->start = best->st_value;
		span->end = best->st_value + best->st_size;
	}
	mutex_unlock(kcare_kernel.module_mutex);

	if (!best || (!symbol->position && count != 1)) {
		kcare_say(reason, "%s:%s: there are %u of that name, the patch wants %u",
			  target->name, name, count, symbol->position);
		return -EINVAL;
	}
	if (symbol->size && symbol->size != span->end - span->start) {
		kcare_say(reason, "%s:%s: has %lu bytes, the patch says %llu", target->name, name,
			  span->end - span->start, symbol->size);
		return -EINVAL;
	}
	return 0;
}

int kcare_symbol_find(const struct kcare_symbol *symbol, const struct kcare_target *target,
		      struct kcare_span *span, struct kcare_reason *reason)
{
	const char *name = (const char *)(unsigned long)symbol->name_ptr;

	if (target->mod)
		return find_in_module(symbol, false, target, span, reason);
	return find_in_kernel(symbol, name, span, reason);
}

int kcare_init_symbol_find(const struct kcare_symbol *symbol, const struct kcare_target *target,
			   struct kcare_span *span, struct kcare_reason *reason)
{
	return find_in_module(symbol, true, target, span, reason);
}
