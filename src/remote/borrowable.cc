// Where code of ours may run in a process: on a thread that is in nobody's critical section.
//
// Registering unwind tables and loading a library take locks and allocate. A thread that was
// stopped inside the allocator, the dynamic linker or the unwinder holds such locks, or has left
// their data half-way; a call made on it would deadlock or corrupt. So the whole proven stack is
// looked at. Other threads that hold a lock do no harm: they run on, and the call waits for them.
#include <algorithm>
#include <array>
#include <string_view>

#include "remote/unwind.h"

namespace livecare::remote {

namespace {

constexpr std::array<std::string_view, 3> objects_not_to_be_in = {"ld-linux", "ld-musl",
                                                                  "libgcc_s.so"};
constexpr std::array<std::string_view, 5> allocators = {"libjemalloc", "libtcmalloc", "libmimalloc",
                                                        "libhoard", "libtbbmalloc"};
constexpr std::array<std::string_view, 44> functions_not_to_be_in = {"malloc",
                                                                     "free",
                                                                     "calloc",
                                                                     "realloc",
                                                                     "memalign",
                                                                     "aligned_alloc",
                                                                     "posix_memalign",
                                                                     "valloc",
                                                                     "pvalloc",
                                                                     "reallocarray",
                                                                     "malloc_trim",
                                                                     "mallopt",
                                                                     "malloc_info",
                                                                     "cfree",
                                                                     "__libc_malloc",
                                                                     "__libc_free",
                                                                     "__libc_calloc",
                                                                     "__libc_realloc",
                                                                     "__libc_memalign",
                                                                     "__malloc_fork_lock_parent",
                                                                     "dlopen",
                                                                     "dlclose",
                                                                     "dlsym",
                                                                     "dlvsym",
                                                                     "dlerror",
                                                                     "dlmopen",
                                                                     "dladdr",
                                                                     "dl_iterate_phdr",
                                                                     "_dl_find_object",
                                                                     "__libc_dlopen_mode",
                                                                     "__tls_get_addr",
                                                                     "_Unwind_RaiseException",
                                                                     "_Unwind_Resume",
                                                                     "_Unwind_Backtrace",
                                                                     "_Unwind_Find_FDE",
                                                                     "__register_frame",
                                                                     "__register_frame_info",
                                                                     "__deregister_frame_info",
                                                                     "__cxa_throw",
                                                                     "__cxa_allocate_exception",
                                                                     "fork",
                                                                     "_Fork",
                                                                     "exit",
                                                                     "pthread_create"};

}  // namespace

Status check_borrowable(const StackWalk& walk) {
  if (!walk.complete)
    return make_error(ErrorCode::busy, "stack", "cannot be walked to its end: {}", walk.why);
  for (const Frame& frame : walk.frames) {
    auto in_object = [&](std::string_view name) { return frame.object.starts_with(name); };
    bool bad = std::any_of(objects_not_to_be_in.begin(), objects_not_to_be_in.end(), in_object) ||
               std::any_of(allocators.begin(), allocators.end(), in_object) ||
               std::find(functions_not_to_be_in.begin(), functions_not_to_be_in.end(),
                         frame.symbol) != functions_not_to_be_in.end();
    if (bad)
      return make_error(ErrorCode::busy, "stack",
                        "the thread is in {}, where nothing else may be called", frame.text());
  }
  return ok_status();
}

}  // namespace livecare::remote
