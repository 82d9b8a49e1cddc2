// Instructions that every process has somewhere in its code and that a borrowed thread needs.
// Internal to the room.
#pragma once

#include "base/result.h"
#include "remote/memory.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

struct Gadgets {
  RemoteAddress syscall_ret;  // syscall; ret
  RemoteAddress sigreturn;    // mov $15, %rax; syscall
};

// Looks in libc, then in everything else that is executable and not writable.
Result<Gadgets> find_gadgets(const Memory& memory);

}  // namespace livecare::remote
