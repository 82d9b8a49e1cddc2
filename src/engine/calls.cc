#include "engine/calls.h"

#include <sys/syscall.h>

#include <algorithm>

#include "engine/layout.h"
#include "engine/unwinder.h"

namespace livecare::engine {
namespace {

using remote::BorrowedThread;
using remote::RemoteAddress;

RemoteAddress pad_in(const Control& control) {
  return RemoteAddress(stubs_of(control));
}

bool is_of_image(const remote::Frame& frame) {
  return frame.object.empty() || frame.object.starts_with(image_name_prefix);
}

// A call that is to be broken off: where would that leave locks behind? Not in the patch's own
// code, nor where that sleeps for a time; nor where libgcc's registration waits for its one lock,
// which is the first thing that it does. Everywhere else it might.
bool holds_no_lock(const remote::StackWalk& walk, const remote::Registers& registers) {
  constexpr std::ptrdiff_t sleep_frames_max = 3;  // usleep, nanosleep, clock_nanosleep
  const auto& frames = walk.frames;
  auto own = std::find_if(frames.begin(), frames.end(), is_of_image);
  if (own != frames.end() && own == frames.begin()) return true;
  auto number = static_cast<int64_t>(registers.orig_rax);
  auto in_libc = [](const remote::Frame& frame) {
    return frame.object.starts_with("libc.") || frame.object.starts_with("libc-") ||
           frame.object.starts_with("ld-musl");
  };
  if (number == SYS_nanosleep || number == SYS_clock_nanosleep || number == SYS_pause)
    return own != frames.end() && own - frames.begin() <= sleep_frames_max &&
           std::all_of(frames.begin(), own, in_libc);
  auto libgcc = std::find_if(frames.begin(), frames.end(), [](const remote::Frame& frame) {
    return frame.object.starts_with("libgcc_s");
  });
  return number == SYS_futex && libgcc != frames.end() && libgcc != frames.begin() &&
         libgcc->symbol.find("register_frame") != std::string::npos &&
         std::prev(libgcc)->symbol.ends_with("pthread_mutex_lock");
}

}  // namespace

Status allow_calls(Target& target, remote::BorrowOptions& options) {
  TRY(remote::Unwinder * unwinder, target.unwinder());
  options.acceptable = [unwinder](const remote::StoppedTask& task) {
    return remote::check_borrowable(unwinder->walk(task));
  };
  options.may_break_off = [unwinder](const remote::StoppedTask& task) {
    return holds_no_lock(unwinder->walk(task), task.registers);
  };
  return ok_status();
}

bool needs_calls(const Target& target, const PlannedObject& planned) {
  for (const patchfmt::Hook& hook : planned.patch->hooks)
    if (hook.when == patchfmt::HookWhen::before_switch) return true;
  return planned.patch->eh_frame_size != 0 && wants_registration(target, planned.object.name_space);
}

bool has_hooks(const Control& control, patchfmt::HookWhen when) {
  for (const patchfmt::Hook& hook : control.hooks)
    if (hook.when == when) return true;
  return false;
}

Status run_hooks(BorrowedThread& thread, const Control& control, patchfmt::HookWhen when) {
  for (const patchfmt::Hook& hook : control.hooks) {
    if (hook.when != when) continue;
    TRY(uint64_t result,
        thread.call(RemoteAddress(control.image + hook.offset), pad_in(control), {}));
    auto code = static_cast<int32_t>(result);
    if (code != 0)
      return make_error(ErrorCode::refused, control.soname, "hook {} of the patch returned {}",
                        hook.name, code);
  }
  return ok_status();
}

Status call_ifuncs(BorrowedThread& thread, const Control& control, Resolution& resolution) {
  for (const Resolution::Ifunc& ifunc : resolution.ifuncs) {
    TRY(uint64_t chosen, thread.call(ifunc.resolver, pad_in(control), {}));
    if (chosen == 0)
      return make_error(ErrorCode::refused, control.soname,
                        "the ifunc resolver at {:#x} chose nothing", ifunc.resolver.address());
    resolution.values[ifunc.symbol].address = chosen;
  }
  return ok_status();
}

}  // namespace livecare::engine
