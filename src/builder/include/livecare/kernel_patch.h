/* For authors of kernel patches: what a fix can say beside the code that it changes. Header only;
 * the builder puts it on the include path when it compiles a fix. The guide is
 * docs/patch-authors-guide.md.
 */
#ifndef LIVECARE_KERNEL_PATCH_H
#define LIVECARE_KERNEL_PATCH_H

#define LIVECARE_JOIN2_(a, b) a##b
#define LIVECARE_JOIN_(a, b) LIVECARE_JOIN2_(a, b)

/* Hooks, called by kcare.ko in the order of the files and of the lines. Not 0 from a PRE_SWITCH
 * hook ends the switch and leaves the kernel as it was; what the others give is not looked at.
 *   static int prepare(void) { ... }
 *   LIVECARE_PRE_SWITCH(prepare);
 */
#define LIVECARE_HOOK_(when, fn)                                        \
  static int (*const LIVECARE_JOIN_(livecare_##when##_hook_, fn))(void) \
      __attribute__((section(".livecare.hook." #when), used)) = fn
#define LIVECARE_PRE_SWITCH(fn) LIVECARE_HOOK_(pre_switch, fn)
#define LIVECARE_POST_SWITCH(fn) LIVECARE_HOOK_(post_switch, fn)
#define LIVECARE_PRE_UNLOAD(fn) LIVECARE_HOOK_(pre_unload, fn)
#define LIVECARE_POST_UNLOAD(fn) LIVECARE_HOOK_(post_unload, fn)

/* The fix changes the initialiser of `var`, and running kernels shall keep the value they have. */
#define LIVECARE_DATA_KEEP(var)                                \
  static const char LIVECARE_JOIN_(livecare_data_keep_, var)[] \
      __attribute__((section(".livecare.data_keep"), used)) = #var

/* The fix changes the layout of a type, "struct x" or "enum y", and its author has made sure that
 * no object of it that is alive meets code of the other layout.
 */
#define LIVECARE_LAYOUT_OK(type)                                       \
  static const char LIVECARE_JOIN_(livecare_layout_ok_, __COUNTER__)[] \
      __attribute__((section(".livecare.layout_ok"), used)) = type

#endif
