// Tells words on a stack that are left over from calls which are over.
#pragma once

#include <map>

#include "engine/control.h"
#include "engine/target.h"
#include "remote/stack_scan.h"

namespace livecare::engine {

// For one stop. Essay: stale.cc.
class StaleWords {
 public:
  StaleWords(remote::Unwinder& unwinder, const remote::StoppedProcess& process)
      : unwinder_(unwinder), process_(process) {}

  // Whether the word that was hit cannot be used by anybody, although it points into the image.
  bool is_stale(const remote::PointerHit& hit, const Control& image);

 private:
  const remote::StoppedTask* task_of(const remote::PointerHit& hit) const;
  const remote::StackWalk& walk_of(const remote::StoppedTask& task);

  remote::Unwinder& unwinder_;
  const remote::StoppedProcess& process_;
  std::map<pid_t, remote::StackWalk> walks_;
};

// The instruction before `offset` of `code` is a call.
bool follows_call(ByteView code, uint64_t offset);

}  // namespace livecare::engine
