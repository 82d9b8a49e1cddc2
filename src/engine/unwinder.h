// The process's own unwinder and our images. Essay: unwinder.cc.
#pragma once

#include "engine/control.h"
#include "engine/target.h"
#include "remote/borrow.h"

namespace livecare::engine {

// Refused: an object of the process has an unwinder of its own linked in.
Status check_unwinders(const Target& target);

// Whether there is one to register with, or one will be needed.
bool wants_registration(const Target& target, uint32_t name_space);
bool can_register_now(const Target& target, const Control& control);

// Makes frames of the image known to libgcc's unwinder, where one is loaded. Afterwards
// control.unwinder_deregister says how to undo it, in memory as well. Does nothing for an image
// that is registered already.
Status register_unwind_info(remote::BorrowedThread& thread, const Target& target, Control& control);
Result<bool> is_registered(const remote::Memory& memory, const Control& control);
Status deregister_unwind_info(remote::BorrowedThread& thread, const Control& control);

}  // namespace livecare::engine
