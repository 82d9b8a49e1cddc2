// Memory that a search for pointers can leave out. What is dead on the stacks is not among it: that
// takes a proof (stale.cc), which is only worth its time for words that were found.
#pragma once

#include <vector>

#include "base/fd.h"
#include "remote/maps.h"
#include "remote/remote_ptr.h"

namespace livecare::engine {

class Unsearched {
 public:
  explicit Unsearched(pid_t pid);

  // Private pages that the process never touched. False: it took more than us_max of CPU (a process
  // can reserve terabytes).
  bool add_untouched(const remote::Maps& maps, uint64_t us_max,
                     std::vector<remote::RemoteRange>& out);

 private:
  bool add_untouched(const remote::Mapping& mapping, uint64_t deadline_us,
                     std::vector<remote::RemoteRange>& out);

  Fd pagemap_;
  std::vector<uint64_t> entries_;  // room to read them into
};

}  // namespace livecare::engine
