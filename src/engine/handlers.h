// Signal handlers: pointers into the process that only its kernel holds.
#pragma once

#include "engine/control.h"
#include "remote/borrow.h"

namespace livecare::engine {

// A signal whose handler lies in the image, 0: none. Uses the scratch area of the image.
Result<int> handler_inside(remote::BorrowedThread& thread, const Control& control);

}  // namespace livecare::engine
