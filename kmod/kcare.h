/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of kcare.ko share. One mutex, kcare_lock, orders loading,
 * switching and unloading of patches; everything here needs it held unless it
 * says otherwise.
 */
#ifndef KCARE_H
#define KCARE_H

#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/types.h>

#include "uapi/kcare_ioctl.h"
#include "uapi/kcare_patch.h"

#undef pr_fmt
#define pr_fmt(fmt) "kcare: " fmt

#ifndef task_is_running
#define task_is_running(task)	(READ_ONCE((task)->state) == TASK_RUNNING)
#endif

#define KCARE_VERSION		"0.1"

#define KCARE_SLOTS_MAX		1024	/* as in slots_x86_64.S */
#define KCARE_OBJECTS_MAX	256
#define KCARE_FUNCS_MAX		KCARE_SLOTS_MAX
#define KCARE_RANGES_MAX	4096
#define KCARE_RELOCS_MAX	65536
#define KCARE_HOOKS_MAX		256
#define KCARE_STRING_MAX	16384	/* the list of CVEs */
#define KCARE_FRAMES_MAX	256
#define KCARE_OBSTACLES_MAX	16
#define KCARE_TIMEOUT_MS	10000
#define KCARE_TIMEOUT_MS_MAX	600000

/* A part of the address space; end is the first byte behind it. */
struct kcare_span {
	unsigned long start;
	unsigned long end;
};

/* The kernel or a module that a patch names. */
struct kcare_target {
	const struct kcare_object *object;
	const char *name;
	struct module *mod;	/* NULL: the kernel, or absent */
	bool present;
	bool needed;		/* it has references that cannot wait: held while present */
	int wrong;		/* why it could not be attached when it came */
};

struct kcare_site;

struct kcare_redirect {
	struct kcare_site *site;	/* NULL: the module is absent, or exits is set */
	struct module *exits;	/* old is the exit function of this module: it has no site */
	void (*new_exit)(void);
	bool init;	/* KCARE_FUNC_INIT: nothing to do but when the module comes */
	bool open;
	struct kcare_span old;
	const char *name;
	unsigned int entry;	/* which of the site's two ways */
};

/* One patch module, from COMING to GOING. Its strings are the module's. */
struct kcare_patch {
	struct list_head list;
	struct module *mod;
	u32 level;
	const char *name;
	const char *effective;
	const char *cves;
	struct kcare_span text;

	bool ready;		/* false: being read, or taken apart */
	bool stays;		/* KCARE_PATCH_STAYS */
	bool ran;		/* its gates have been open */
	bool kept;		/* ran and stays: only its memory is there; holds mod */

	struct kcare_target *targets;
	unsigned int n_targets;
	const struct kcare_func *funcs;
	struct kcare_redirect *redirects;	/* one for each of funcs */
	unsigned int n_funcs;
	const struct kcare_range *ranges;
	struct kcare_span *parts;	/* .cold and the like, one for each of ranges */
	unsigned int n_ranges;
	const struct kcare_reloc *relocs;
	unsigned int n_relocs;
	const struct kcare_hook *hooks;
	unsigned int n_hooks;
};

extern struct mutex kcare_lock;
/* These are changed with kcare_list_lock, too, so that readers need not wait for a switch. */
extern struct mutex kcare_list_lock;
extern struct list_head kcare_patches;
extern struct kcare_patch *kcare_active;

/*
 * Why something is refused: a text for the caller of the ioctl and the kernel's
 * log. Lines are added until it is full.
 */
struct kcare_reason {
	char *text;
	size_t used;
	size_t size;
};

__printf(2, 3) void kcare_say(struct kcare_reason *reason, const char *format, ...);

/* patch.c */
struct kcare_patch *kcare_patch_find(const char *module);
const struct kcare_patch_head *kcare_patch_head(struct module *mod, struct kcare_reason *reason);
int kcare_patch_load(struct module *mod, struct kcare_reason *reason);
void kcare_patch_unload(struct module *mod);
int kcare_patch_restage(struct kcare_patch *patch, struct kcare_reason *reason);
void kcare_patch_keep(struct kcare_patch *patch);

/* targets.c */
#define KCARE_ALL_TARGETS UINT_MAX
int kcare_target_find(struct kcare_patch *patch, unsigned int index, struct kcare_reason *reason);
int kcare_target_attach(struct kcare_patch *patch, unsigned int index,
			struct kcare_reason *reason);
void kcare_target_detach(struct kcare_patch *patch, unsigned int index);
int kcare_module_coming(struct module *mod, struct kcare_reason *reason);
void kcare_module_going(struct module *mod);
int kcare_fresh_check(const struct kcare_patch *from, const struct kcare_patch *to,
		      struct kcare_reason *reason);
bool kcare_module_concerns(struct module *mod);
struct kcare_span kcare_module_text(struct module *mod);
int kcare_hooks_call(struct kcare_patch *patch, u32 when, unsigned int target);

/* symbols.c */
struct kcare_kernel {
	unsigned long (*kallsyms_lookup_name)(const char *name);
	int (*kallsyms_lookup_size_offset)(unsigned long address, unsigned long *size,
					   unsigned long *offset);
#ifdef HAVE_SYMBOL_WALK_MODULE
	int (*kallsyms_on_each_symbol)(int (*fn)(void *data, const char *name, struct module *mod,
						 unsigned long address), void *data);
#else
	int (*kallsyms_on_each_symbol)(int (*fn)(void *data, const char *name,
						 unsigned long address), void *data);
#endif
	struct module *(*find_module)(const char *name);
	struct module *(*__module_text_address)(unsigned long address);
	void *(*text_poke)(void *address, const void *code, size_t size);
	void (*text_poke_sync)(void);
	struct mutex *text_mutex;	/* the kernel's: text_poke */
	struct mutex *module_mutex;	/* the kernel's: find_module, modules */
	struct list_head *modules;
	unsigned long (*ftrace_location)(unsigned long address);
	unsigned long (*ftrace_find_rec_direct)(unsigned long address);
	int *ftrace_enabled;
	int (*stack_trace_save_tsk_reliable)(struct task_struct *task, unsigned long *store,
					     unsigned int size);
	int (*stop_machine_cpuslocked)(int (*fn)(void *data), void *data,
				       const struct cpumask *cpus);
	const void *stop_sched_class;
	int (*freeze_processes)(void);
	unsigned int *freeze_timeout_msecs;
	void (*thaw_processes)(void);
	unsigned long text;		/* _text */
	unsigned long etext;
	unsigned long end;
	unsigned long init_begin;
	unsigned long init_end;
	unsigned long per_cpu_start;
	unsigned long per_cpu_end;
	const u8 *notes_start;
	const u8 *notes_end;
};

extern struct kcare_kernel kcare_kernel;

int kcare_symbols_init(void);
int kcare_build_id_check(const struct kcare_target *target, struct kcare_reason *reason);
int kcare_symbol_find(const struct kcare_symbol *symbol, const struct kcare_target *target,
		      struct kcare_span *span, struct kcare_reason *reason);
/* The same among what is gone when the module is loaded; it is COMING. */
int kcare_init_symbol_find(const struct kcare_symbol *symbol, const struct kcare_target *target,
			   struct kcare_span *span, struct kcare_reason *reason);

/* relocs_*.c */
int kcare_reloc_size(u32 type);		/* bytes written, 0: unknown type */
int kcare_reloc_value(u32 type, unsigned long place, unsigned long value, u8 *bytes);

/* redirect.c */
int kcare_redirect_init(void);
int kcare_redirect_add(struct kcare_redirect *redirect, unsigned long new_address,
		       struct kcare_reason *reason);
int kcare_redirect_exit(struct kcare_redirect *redirect, struct module *mod,
			unsigned long new_address);
bool kcare_redirect_is_module_exit(const struct kcare_span *old, struct module *mod);
bool kcare_redirect_is_busy(const struct kcare_redirect *redirect);	/* in the stop */
void kcare_redirect_remove(struct kcare_redirect *redirects, unsigned int count);
int kcare_redirect_check(const struct kcare_redirect *redirect, struct kcare_reason *reason);
void kcare_redirect_gate(struct kcare_redirect *redirect, bool on);	/* in the stop */
struct kcare_span kcare_slots_span(void);

static inline bool kcare_redirect_present(const struct kcare_redirect *redirect)
{
	return redirect->site || redirect->exits;
}

/* tasks.c */
struct kcare_hold {
	u64 ns;		/* the longest time that one CPU was taken from its tasks */
};

int kcare_tasks_init(void);
int kcare_tasks_begin(struct kcare_reason *reason);
void kcare_tasks_end(void);
void kcare_tasks_watch(void);
void kcare_tasks_unwatch(void);
bool kcare_tasks_complete(void);
struct task_struct *kcare_tasks_ran(unsigned int index);
struct task_struct *kcare_tasks_exiting(unsigned int index);
bool kcare_tasks_has_run(struct task_struct *task);
void kcare_tasks_note(struct task_struct *task);	/* as if it had run; interrupts off */
void kcare_hold_begin(void);
void kcare_hold_end(struct kcare_hold *hold);

/* slots_*.S */
extern u8 kcare_slots[], kcare_slots_end[];
extern const u32 kcare_slot_size, kcare_slot_first_way;
extern u8 kcare_gates[];

/* stacks.c */
struct kcare_obstacle {
	struct task_struct *task;	/* held by whoever collected it */
	char comm[TASK_COMM_LEN];
	pid_t pid;
	unsigned long address;		/* 0: the stack cannot be proved safe */
};

/* The code that nobody may be in, sorted, without overlap. */
struct kcare_code {
	struct kcare_span *spans;
	unsigned int n_spans;
};

void kcare_code_sort(struct kcare_code *code);
/* true: safe, if the task neither runs nor wakes up meanwhile; any context */
bool kcare_stack_check(const struct kcare_code *code, struct task_struct *task,
		       struct kcare_obstacle *obstacle);

/* freezer.c */
void kcare_lock_wait(void);
int kcare_lock_killable(void);
int kcare_freeze(struct kcare_reason *reason);
void kcare_thaw(void);

/* switch.c */
int kcare_switch(struct kcare_patch *to, struct kcare_ioc_switch *arg,
		 struct kcare_reason *reason);
int kcare_preflight(struct kcare_patch *to, struct kcare_reason *reason);

int kcare_control_init(void);
void kcare_control_exit(void);
int kcare_proc_init(void);
void kcare_proc_exit(void);

#endif /* KCARE_H */
