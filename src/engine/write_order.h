// The order in which a transition writes its jumps. Essay: write_order.cc.
#pragma once

#include "engine/transition.h"
#include "remote/memory.h"

namespace livecare::engine {

// Sorts transition.bytes so that whoever is left with a part of them written meets no caller and
// callee that do not fit, and numbers groups of functions that call each other. Reads code: to be
// called before the stop.
Status order_writes(const remote::Memory& memory, Transition& transition);

// For tests. before[i]: what must be written before i. The result is a permutation; group[i] of two
// is the same when each must come before the other.
struct WriteOrder {
  std::vector<size_t> order;
  std::vector<uint32_t> group;
};
WriteOrder sort_by_constraints(const std::vector<std::vector<size_t>>& before);

}  // namespace livecare::engine
