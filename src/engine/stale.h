// Tells words on a stack that are left over from calls which are over.
#pragma once

#include <map>

#include "engine/control.h"
#include "engine/own_stack.h"
#include "engine/target.h"
#include "remote/stack_scan.h"

namespace livecare::engine {

// For one stop; maps: from shortly before it. Essay: stale.cc.
class StaleWords {
 public:
  StaleWords(remote::Unwinder& unwinder, const remote::StoppedProcess& process,
             const remote::Maps& maps);

  // Whether the word that was hit cannot be used by anybody, although it points into the image.
  bool is_stale(const remote::PointerHit& hit, const Control& image);

 private:
  struct Known {
    const remote::StoppedTask* task = nullptr;
    bool asked = false;
    std::optional<OwnStack> stack;
  };
  const OwnStack* stack_with(uint64_t address);

  remote::Unwinder& unwinder_;
  const remote::StoppedProcess& process_;
  const remote::Maps& maps_;
  std::multimap<uint64_t, Known> tasks_;  // by the start of the mapping that they run on
  uint64_t deadline_us_ = 0;
};

// The instruction before `offset` of `code` is a call.
bool follows_call(ByteView code, uint64_t offset);

}  // namespace livecare::engine
