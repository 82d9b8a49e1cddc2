// A thread that must not lose its CPU while it holds others. Internal to the room.
#pragma once

#include <sched.h>

namespace livecare::remote {

// The calling thread goes before ordinary ones while this lives; without the right to, nothing
// changes.
class Urgent {
 public:
  Urgent() {
    sched_param urgent{};
    urgent.sched_priority = ::sched_get_priority_min(SCHED_FIFO);
    active_ = ::sched_getparam(0, &before_) == 0 && (policy_ = ::sched_getscheduler(0)) >= 0 &&
              ::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &urgent) == 0;
  }
  ~Urgent() {
    if (active_) ::sched_setscheduler(0, policy_, &before_);
  }
  Urgent(const Urgent&) = delete;
  Urgent& operator=(const Urgent&) = delete;

 private:
  sched_param before_{};
  int policy_ = 0;
  bool active_ = false;
};

}  // namespace livecare::remote
