#include "engine/calls.h"

#include "engine/layout.h"
#include "engine/unwinder.h"

namespace livecare::engine {
namespace {

using remote::BorrowedThread;
using remote::RemoteAddress;

RemoteAddress pad_in(const Control& control) {
  return RemoteAddress(stubs_of(control));
}
}  // namespace

Result<std::function<Status(const remote::StoppedTask&)>> proved_free_stack(Target& target) {
  TRY(remote::Unwinder * unwinder, target.unwinder());
  return std::function<Status(const remote::StoppedTask&)>(
      [unwinder](const remote::StoppedTask& task) {
        return remote::check_borrowable(unwinder->walk(task));
      });
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
