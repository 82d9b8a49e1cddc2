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

/* A setting in /proc/sys/DIRECTORY/NAME while the patch is applied, an int from `least` to `most`.
 * It needs <linux/sysctl.h>. Values do not survive an unload or the next level; kcarectl loads
 * /etc/sysconfig/kcare/sysctl.conf with each level.
 *   static int limit = 10;
 *   LIVECARE_SYSCTL("kernel", kcare_limit, limit, 0, 100);
 * Kernels that find the size of the table by themselves want no empty entry at its end.
 */
#ifdef register_sysctl
#define LIVECARE_SYSCTL_END_
#else
#define LIVECARE_SYSCTL_END_ \
  , {}
#endif
#define LIVECARE_SYSCTL(directory, name, variable, least, most)                                \
  static int livecare_sysctl_least_##name = (least);                                           \
  static int livecare_sysctl_most_##name = (most);                                             \
  static struct ctl_table livecare_sysctl_##name[] = {                                         \
      {.procname = #name,                                                                      \
       .data = &(variable),                                                                    \
       .maxlen = sizeof(int),                                                                  \
       .mode = 0644,                                                                           \
       .proc_handler = proc_dointvec_minmax,                                                   \
       .extra1 = &livecare_sysctl_least_##name,                                                \
       .extra2 = &livecare_sysctl_most_##name} LIVECARE_SYSCTL_END_};                          \
  static struct ctl_table_header* livecare_sysctl_header_##name;                               \
  static int livecare_sysctl_begin_##name(void) {                                              \
    livecare_sysctl_header_##name = register_sysctl(directory, livecare_sysctl_##name);        \
    return 0;                                                                                  \
  }                                                                                            \
  static int livecare_sysctl_end_##name(void) {                                                \
    if (livecare_sysctl_header_##name) unregister_sysctl_table(livecare_sysctl_header_##name); \
    livecare_sysctl_header_##name = (void*)0;                                                  \
    return 0;                                                                                  \
  }                                                                                            \
  LIVECARE_POST_SWITCH(livecare_sysctl_begin_##name);                                          \
  LIVECARE_PRE_UNLOAD(livecare_sysctl_end_##name)

/* A fix that an admin can switch off: 1 in /proc/sys/kernel/kcare_NAME disables it.
 *   LIVECARE_SWITCH(tcp_limit);
 *   if (!LIVECARE_IS_OFF(tcp_limit) && ...)
 */
#define LIVECARE_SWITCH(name)        \
  static int livecare_switch_##name; \
  LIVECARE_SYSCTL("kernel", kcare_##name, livecare_switch_##name, 0, 1)
#define LIVECARE_IS_OFF(name) READ_ONCE(livecare_switch_##name)

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
