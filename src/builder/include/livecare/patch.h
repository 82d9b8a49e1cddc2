/* For authors of live patches: what a fix can say beside the code that it changes. Plain C and C++,
 * header only; the builder puts it on the include path when it compiles a fix. The guide is
 * docs/patch-authors-guide.md.
 */
#ifndef LIVECARE_PATCH_H
#define LIVECARE_PATCH_H

#include <stddef.h>
#include <stdlib.h>

#define LIVECARE_JOIN2_(a, b) a##b
#define LIVECARE_JOIN_(a, b) LIVECARE_JOIN2_(a, b)
#define LIVECARE_HIDDEN_ __attribute__((weak, visibility("hidden")))

/* Hooks: `int fn(void)`, run once in the target process, on one of its threads. Non-zero from a
 * PRE hook stops the step and leaves the process as it was. Several are allowed; order: as written.
 */
#define LIVECARE_HOOK_(when, fn)                                        \
  static int (*const LIVECARE_JOIN_(livecare_##when##_hook_, fn))(void) \
      __attribute__((section(".livecare.hook." #when), used)) = fn
#define LIVECARE_PRE_SWITCH(fn) LIVECARE_HOOK_(pre_switch, fn)
#define LIVECARE_POST_SWITCH(fn) LIVECARE_HOOK_(post_switch, fn)
#define LIVECARE_PRE_UNDO(fn) LIVECARE_HOOK_(pre_undo, fn)
#define LIVECARE_POST_UNDO(fn) LIVECARE_HOOK_(post_undo, fn)

/* A new variable that keeps its value when a higher level of the patch replaces this one; found by
 * its name and size, so both must stay. At file scope:
 *   static unsigned long refused LIVECARE_KEEP;
 */
#define LIVECARE_KEEP __attribute__((section(".livecare.keep")))

/* The fix changes the initialiser of `var`, and running processes shall keep the value they have.
 */
#define LIVECARE_DATA_KEEP(var)                                \
  static const char LIVECARE_JOIN_(livecare_data_keep_, var)[] \
      __attribute__((section(".livecare.data_keep"), used)) = #var

/* The fix changes the layout of a type, "struct x" or "enum y", and its author has made sure that
 * no object of it that is alive meets code of the other layout (only local variables, say).
 */
#define LIVECARE_LAYOUT_OK(type)                                       \
  static const char LIVECARE_JOIN_(livecare_layout_ok_, __COUNTER__)[] \
      __attribute__((section(".livecare.layout_ok"), used)) = type

/* A new thread-local variable for functions that use thread-local variables of the target as well:
 *   static LIVECARE_THREAD_LOCAL int depth;
 */
#define LIVECARE_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

/* Shadow data: fields for a structure that must not grow. They hang on the structure's address and
 * an identifier of the fix's choice, and survive a change of level. Threads may call these at the
 * same time, signal handlers may not. Every alloc needs its free where the structure goes.
 */
struct livecare_shadow_entry_ {
  struct livecare_shadow_entry_* next;
  const void* object;
  unsigned long id;
  size_t size;
  /* the author's data follow, aligned as calloc aligns */
} __attribute__((aligned(16)));

enum { LIVECARE_SHADOW_BUCKETS_ = 1024 };

struct livecare_shadow_table_ {
  unsigned char lock;
  struct livecare_shadow_entry_* buckets[LIVECARE_SHADOW_BUCKETS_];
};

#ifdef __cplusplus
extern "C" {
#endif

/* One table for all source files of a fix, and the same one for all levels. */
LIVECARE_HIDDEN_ struct livecare_shadow_table_* livecare_shadow_head_ LIVECARE_KEEP = 0;

static __inline__ struct livecare_shadow_table_* livecare_shadow_lock_(void) {
  struct livecare_shadow_table_* table = __atomic_load_n(&livecare_shadow_head_, __ATOMIC_ACQUIRE);
  if (!table) {
    struct livecare_shadow_table_* fresh =
        (struct livecare_shadow_table_*)calloc(1, sizeof(struct livecare_shadow_table_));
    if (!fresh) return 0;
    if (__atomic_compare_exchange_n(&livecare_shadow_head_, &table, fresh, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
      table = fresh;
    else
      free(fresh);
  }
  while (__atomic_test_and_set(&table->lock, __ATOMIC_ACQUIRE)) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  return table;
}

static __inline__ void livecare_shadow_unlock_(struct livecare_shadow_table_* table) {
  __atomic_clear(&table->lock, __ATOMIC_RELEASE);
}

static __inline__ struct livecare_shadow_entry_** livecare_shadow_find_(
    struct livecare_shadow_table_* table, const void* object, unsigned long id) {
  unsigned long hash = ((unsigned long)object >> 4) * 0x9e3779b97f4a7c15ul + id;
  struct livecare_shadow_entry_** place =
      &table->buckets[(hash ^ (hash >> 32)) % LIVECARE_SHADOW_BUCKETS_];
  while (*place && ((*place)->object != object || (*place)->id != id)) place = &(*place)->next;
  return place;
}

/* The shadow of `object`, or NULL when it has none (it was made before the patch). */
LIVECARE_HIDDEN_ void* livecare_shadow_get(const void* object, unsigned long id) {
  struct livecare_shadow_table_* table;
  struct livecare_shadow_entry_* entry;
  if (!__atomic_load_n(&livecare_shadow_head_, __ATOMIC_ACQUIRE)) return 0;
  table = livecare_shadow_lock_();
  if (!table) return 0;
  entry = *livecare_shadow_find_(table, object, id);
  livecare_shadow_unlock_(table);
  return entry ? (void*)(entry + 1) : 0;
}

/* The shadow of `object`, made with `size` zero bytes when it has none; NULL without memory, or
 * when there is one of another size. */
LIVECARE_HIDDEN_ void* livecare_shadow_alloc(const void* object, unsigned long id, size_t size) {
  struct livecare_shadow_entry_** place;
  struct livecare_shadow_entry_* entry;
  struct livecare_shadow_entry_* fresh =
      size < (size_t)1 << 32
          ? (struct livecare_shadow_entry_*)calloc(1, sizeof(struct livecare_shadow_entry_) + size)
          : 0;
  struct livecare_shadow_table_* table = livecare_shadow_lock_();
  if (!table) {
    free(fresh);
    return 0;
  }
  place = livecare_shadow_find_(table, object, id);
  entry = *place;
  if (!entry && fresh) {
    fresh->object = object;
    fresh->id = id;
    fresh->size = size;
    *place = entry = fresh;
    fresh = 0;
  }
  livecare_shadow_unlock_(table);
  free(fresh);
  return entry && entry->size == size ? (void*)(entry + 1) : 0;
}

LIVECARE_HIDDEN_ void livecare_shadow_free(const void* object, unsigned long id) {
  struct livecare_shadow_table_* table;
  struct livecare_shadow_entry_** place;
  struct livecare_shadow_entry_* entry;
  if (!__atomic_load_n(&livecare_shadow_head_, __ATOMIC_ACQUIRE)) return;
  table = livecare_shadow_lock_();
  if (!table) return;
  place = livecare_shadow_find_(table, object, id);
  entry = *place;
  if (entry) *place = entry->next;
  livecare_shadow_unlock_(table);
  free(entry);
}

#ifdef __cplusplus
}
#endif

#endif
