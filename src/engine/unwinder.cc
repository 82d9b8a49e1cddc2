// Exceptions, pthread_cancel and backtrace() of the process walk through frames of our images only
// when its unwinder knows their unwind tables. An image is no object of the dynamic linker, so they
// are registered by hand: __register_frame_info of libgcc_s, called on a borrowed thread through a
// stub that sets a flag in the image's own page (layout.h), so that a later run knows for sure.
//
// A C program often has no unwinder loaded. libc loads libgcc_s itself when pthread_cancel,
// pthread_exit or backtrace is called first; so when an object of the process refers to one of
// them, we have libc's dlopen load it now, which the process would do anyway. When it cannot be
// found, libc could not either. In the other processes libgcc_s can only come with a library that
// the program loads later; the next run of ours on that process registers then (transaction.cc).
//
// Code that has libgcc's unwinder linked in statically (-static-libgcc) has tables of its own which
// cannot be reached from outside. From gcc 12 on it shows by a reference to _dl_find_object, which
// nobody else uses. An exception that passes through both would end the process, so such a process
// is refused. Older ones use dl_iterate_phdr, as many other things do; they cannot be told apart
// and get the benefit of the doubt: exceptions that cross libraries need the shared libgcc_s.
#include "engine/unwinder.h"

#include <elf.h>

#include <algorithm>
#include <array>

#include "engine/layout.h"
#include "engine/loader.h"
#include "engine/steps.h"

namespace livecare::engine {
namespace {

using remote::BorrowedThread;
using remote::LoadedObject;
using remote::RemoteAddress;
using remote::RemotePtr;

constexpr std::string_view unwinder_soname = "libgcc_s.so.1";
constexpr std::string_view static_unwinder_sign = "_dl_find_object";
constexpr std::array<std::string_view, 3> unwinder_users = {"pthread_cancel", "pthread_exit",
                                                            "backtrace"};
constexpr uint64_t string_table_bytes_max = 64 << 20;

struct UnwinderEntry {
  RemoteAddress add, remove;  // __register_frame_info, __deregister_frame_info
};

// The unwinder of the target's name space; the first one when its own has none.
std::optional<UnwinderEntry> find_unwinder(const Target& target, uint32_t name_space) {
  std::optional<UnwinderEntry> found;
  for (const LoadedObject& object : target.loaded().objects()) {
    if (object.name() != unwinder_soname) continue;
    auto add = target.loaded().find_in(object, "__register_frame_info");
    auto remove = target.loaded().find_in(object, "__deregister_frame_info");
    if (!add || !remove) continue;
    if (object.name_space == name_space) return UnwinderEntry{add->address, remove->address};
    if (!found) found = UnwinderEntry{add->address, remove->address};
  }
  return found;
}

// The libraries that make up the C library and the compiler's: they define these names.
bool is_of_the_system(const LoadedObject& object) {
  std::string name = object.name();
  return name == unwinder_soname || name.starts_with("libc.so.") ||
         name.starts_with("libpthread.so.") || name.starts_with("ld-linux") ||
         name.starts_with("linux-vdso") || name.starts_with("libstdc++.so.") ||
         name.starts_with("[vdso]");
}

// The object's dynamic string table, which holds every name that it refers to.
Bytes dynamic_strings(const remote::Memory& memory, const LoadedObject& object) {
  uint64_t address = 0, size = 0;
  for (const elf::Segment& segment : object.segments) {
    if (segment.type != PT_DYNAMIC) continue;
    Bytes dynamic = memory.read_prefix(RemoteAddress(object.bias + segment.address),
                                       std::min<uint64_t>(segment.memory_size, 1 << 16));
    for (uint64_t at = 0; at + 16 <= dynamic.size(); at += 16) {
      uint64_t tag = *ByteView(dynamic).read<uint64_t>(at);
      uint64_t value = *ByteView(dynamic).read<uint64_t>(at + 8);
      if (tag == DT_STRTAB) address = value < object.bias ? value + object.bias : value;
      if (tag == DT_STRSZ) size = value;
      if (tag == DT_NULL) break;
    }
  }
  if (address == 0 || size == 0 || size > string_table_bytes_max) return {};
  return memory.read_prefix(RemoteAddress(address), size);
}

bool holds_name(ByteView strings, std::string_view name) {
  std::string whole = '\0' + std::string(name) + '\0';
  return strings.as_text().find(whole) != std::string_view::npos;
}

bool refers_to_any(const Target& target, const LoadedObject& object,
                   std::span<const std::string_view> names) {
  Bytes strings = dynamic_strings(target.memory(), object);
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return holds_name(strings, name); });
}

uint32_t name_space_of(const Target& target, const Control& control) {
  const LoadedObject* object = target.object_of(control);
  return object != nullptr ? object->name_space : 0;
}

bool will_load_unwinder(const Target& target) {
  const auto& objects = target.loaded().objects();
  return target.loaded().by_name("libc.so.6") != nullptr &&
         std::any_of(objects.begin(), objects.end(), [&](const LoadedObject& object) {
           return !is_of_the_system(object) && refers_to_any(target, object, unwinder_users);
         });
}

// Loads libgcc_s as libc would; empty when it is not to be found.
Result<std::optional<UnwinderEntry>> load_unwinder(BorrowedThread& thread, const Target& target,
                                                   const Control& control) {
  TRY(uint64_t handle, load_library(thread, target, control, std::string(unwinder_soname)));
  step("unwinder loaded");
  if (handle == 0) return std::optional<UnwinderEntry>();
  TRY(Target now, Target::open(target.pid()));
  return find_unwinder(now, 0);
}

// function(a, b) in the process, then *flag = value: both happen or, if the call is not begun,
// none.
Status call_with_flag(BorrowedThread& thread, const Control& control, RemoteAddress function,
                      uint64_t a, uint64_t b, uint64_t value) {
  TRY(uint64_t result, thread.call(RemoteAddress(stubs_of(control) + flag_stub_offset),
                                   RemoteAddress(stubs_of(control)),
                                   {a, b, function.address(), unwinder_flag_of(control), value}));
  (void)result;
  return ok_status();
}

}  // namespace

Status check_unwinders(const Target& target) {
  for (const LoadedObject& object : target.loaded().objects())
    if (!is_of_the_system(object) &&
        refers_to_any(target, object, std::span(&static_unwinder_sign, 1)))
      return make_error(ErrorCode::refused, object.name(),
                        "has libgcc's unwinder linked in (-static-libgcc), to which new code "
                        "cannot be made known; exceptions through it would end the process");
  return ok_status();
}

bool wants_registration(const Target& target, uint32_t name_space) {
  return find_unwinder(target, name_space).has_value() || will_load_unwinder(target);
}

bool can_register_now(const Target& target, const Control& control) {
  if (control.state != State::live || control.eh_frame_size == 0) return false;
  auto registered = is_registered(target.memory(), control);
  return registered.ok() && !*registered &&
         find_unwinder(target, name_space_of(target, control)).has_value();
}

Result<bool> is_registered(const remote::Memory& memory, const Control& control) {
  if (control.unwinder_deregister == 0) return false;
  TRY(uint64_t flag, memory.read_value(RemotePtr<uint64_t>(unwinder_flag_of(control))));
  return flag != 0;
}

Status register_unwind_info(BorrowedThread& thread, const Target& target, Control& control) {
  if (control.eh_frame_size == 0) return ok_status();
  TRY(bool registered, is_registered(thread.memory(), control));
  if (registered) return ok_status();
  auto unwinder = find_unwinder(target, name_space_of(target, control));
  if (!unwinder && will_load_unwinder(target)) {
    TRY(unwinder, load_unwinder(thread, target, control));
  }
  if (!unwinder) return ok_status();
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

}  // namespace livecare::engine
