// Memory that a search for pointers can leave out.
#pragma once

#include <vector>

#include "remote/maps.h"
#include "remote/session.h"

namespace livecare::engine {

// In a stop: private pages that the process never touched. What is dead on the stacks is not among
// them: that takes a proof (stale.cc), which is only worth its time for words that were found.
std::vector<remote::RemoteRange> unsearched_ranges(const remote::StoppedProcess& process,
                                                   const remote::Maps& maps);

}  // namespace livecare::engine
