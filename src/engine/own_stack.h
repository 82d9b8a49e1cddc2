// The stack that a thread began on, for a thread that is proved to run on it now. Essay:
// own_stack.cc.
#pragma once

#include <optional>
#include <vector>

#include "engine/target.h"
#include "remote/maps.h"
#include "remote/session.h"

namespace livecare::engine {

struct OwnStack {
  uint64_t bottom = 0;                // its lowest address
  std::vector<remote::Frame> frames;  // innermost first; their stack pointers grow

  uint64_t top() const { return frames.back().sp.address(); }  // of what the frames use
};

// The frame is that of the thread's first function, and not of a coroutine's: see own_stack.cc.
bool begins_thread(const remote::Memory& memory, const remote::StoppedTask& task,
                   const remote::Frame& frame);

// In a stop; maps: from shortly before it. Empty: not proved.
std::optional<OwnStack> prove_own_stack(remote::Unwinder& unwinder,
                                        const remote::StoppedProcess& process,
                                        const remote::Maps& maps, const remote::StoppedTask& task);

}  // namespace livecare::engine
