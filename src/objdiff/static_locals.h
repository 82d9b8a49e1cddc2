// Correlates writable variables whose names carry a number that the compiler chose.
#pragma once

#include <string>
#include <vector>

#include "objdiff/object_map.h"
#include "objdiff/pairing.h"

namespace livecare::objdiff {

// Variables of one name key, on both sides, that are not paired yet.
struct VariableGroup {
  std::string key;
  std::vector<AtomId> original;
  std::vector<AtomId> patched;
};

// Pairs what can be proved; whatever is left of a group that has members on both sides is entered
// in pairing.ambiguous. All functions must be paired already.
void pair_static_locals(const ObjectMap& original, const ObjectMap& patched,
                        const std::vector<VariableGroup>& groups, Pairing& pairing);

}  // namespace livecare::objdiff
