// Functions that have to run in the process itself: registering with its unwinder, hooks of the
// patch, resolvers of ifuncs, loading a block of new thread-local data. All of them run on a
// borrowed thread whose proven stack holds no allocator, loader or unwinder frame.
#pragma once

#include <functional>

#include "engine/plan.h"
#include "engine/target.h"
#include "remote/borrow.h"

namespace livecare::engine {

// Prepares a borrow that makes calls: only on a thread whose stack is walked to its root and holds
// no frame of the allocator, the dynamic linker or the unwinder; and a call that does not return is
// broken off only where it holds no lock. `target` outlives the options.
Status allow_calls(Target& target, remote::BorrowOptions& options);

// Whether anything of that kind is needed between writing an image and the switch.
bool needs_calls(const Target& target, const PlannedObject& planned);

// Runs the hooks of that kind in order; the first that returns non-zero is an error with its name.
Status run_hooks(remote::BorrowedThread& thread, const Control& control, patchfmt::HookWhen when);
bool has_hooks(const Control& control, patchfmt::HookWhen when);

// Calls the resolvers of resolution.ifuncs and fills in their values.
Status call_ifuncs(remote::BorrowedThread& thread, const Control& control, Resolution& resolution);

}  // namespace livecare::engine
