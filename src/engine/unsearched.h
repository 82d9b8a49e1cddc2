// Memory that a search for pointers can leave out.
#pragma once

#include <vector>

#include "remote/maps.h"
#include "remote/session.h"

namespace livecare::engine {

// In a stop: the dead part of every task's stack (what calls that are over left below the stack
// pointer and its red zone), and private pages that the process never touched.
std::vector<remote::RemoteRange> unsearched_ranges(const remote::StoppedProcess& process,
                                                   const remote::Maps& maps);

}  // namespace livecare::engine
