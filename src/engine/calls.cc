#include "engine/calls.h"

#include "engine/layout.h"
#include "engine/steps.h"

namespace livecare::engine {
namespace {

using remote::BorrowedThread;
using remote::RemoteAddress;
using remote::RemotePtr;

constexpr std::string_view unwinder_soname = "libgcc_s.so.1";

RemoteAddress pad_in(const Control& control) {
  return RemoteAddress(stubs_of(control));
}
RemoteAddress flag_stub_in(const Control& control) {
  return RemoteAddress(stubs_of(control) + flag_stub_offset);
}

struct UnwinderEntry {
  RemoteAddress add, remove;  // __register_frame_info, __deregister_frame_info
};

// The unwinder of the target's name space; the first one when its own has none.
std::optional<UnwinderEntry> find_unwinder(const Target& target, uint32_t name_space) {
  std::optional<UnwinderEntry> found;
  for (const remote::LoadedObject& object : target.loaded().objects()) {
    if (object.name() != unwinder_soname) continue;
    auto add = target.loaded().find_in(object, "__register_frame_info");
    auto remove = target.loaded().find_in(object, "__deregister_frame_info");
    if (!add || !remove) continue;
    if (object.name_space == name_space) return UnwinderEntry{add->address, remove->address};
    if (!found) found = UnwinderEntry{add->address, remove->address};
  }
  return found;
}

uint32_t name_space_of(const Target& target, const Control& control) {
  const remote::LoadedObject* object = target.object_of(control);
  return object != nullptr ? object->name_space : 0;
}

// function(a, b) in the process, then *flag = value: both happen or, if the call is not begun,
// none.
Status call_with_flag(BorrowedThread& thread, const Control& control, RemoteAddress function,
                      uint64_t a, uint64_t b, uint64_t value) {
  TRY(uint64_t result, thread.call(flag_stub_in(control), pad_in(control),
                                   {a, b, function.address(), unwinder_flag_of(control), value}));
  (void)result;
  return ok_status();
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
  if (!planned.resolution.ifuncs.empty() || planned.patch->new_tls_size != 0) return true;
  for (const patchfmt::Hook& hook : planned.patch->hooks)
    if (hook.when == patchfmt::HookWhen::before_switch) return true;
  return planned.patch->eh_frame_size != 0 &&
         find_unwinder(target, planned.object.name_space).has_value();
}

Result<bool> is_registered(const remote::Memory& memory, const Control& control) {
  if (control.unwinder_deregister == 0) return false;
  TRY(uint64_t flag, memory.read_value(RemotePtr<uint64_t>(unwinder_flag_of(control))));
  return flag != 0;
}

Status register_unwind_info(BorrowedThread& thread, const Target& target, Control& control) {
  if (control.eh_frame_size == 0) return ok_status();
  TRY(bool registered, is_registered(thread.memory(), control));
  auto unwinder = find_unwinder(target, name_space_of(target, control));
  if (registered || !unwinder) return ok_status();
  control.unwinder_deregister = unwinder->remove.address();
  TRY_STATUS(thread.write(RemoteAddress(control.region.address + control_unwinder_offset),
                          encode_transaction(control)));
  step("unwinder known");
  TRY_STATUS(call_with_flag(thread, control, unwinder->add, control.eh_frame,
                            unwinder_object_of(control), 1));
  step("registered");
  return ok_status();
}

Status deregister_unwind_info(BorrowedThread& thread, const Control& control) {
  TRY(bool registered, is_registered(thread.memory(), control));
  if (!registered) return ok_status();
  TRY_STATUS(call_with_flag(thread, control, RemoteAddress(control.unwinder_deregister),
                            control.eh_frame, 0, 0));
  step("deregistered");
  return ok_status();
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
