// Which atom of the patched object is which atom of the original.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "objdiff/object_map.h"

namespace livecare::objdiff {

struct Pairing {
  std::vector<AtomId> original_of;  // by patched atom; no_atom: new
  std::vector<AtomId> patched_of;   // by original atom; no_atom: removed
  // Patched writable variables that may be one of several originals; value: what was tried.
  std::map<AtomId, std::string> ambiguous;
  // Patched atoms whose name is an alias of an original atom that another patched atom has.
  std::map<AtomId, AtomId> split_alias;

  void pair(AtomId original, AtomId patched) {
    original_of[patched] = original;
    patched_of[original] = patched;
  }
  bool paired_original(AtomId original) const { return patched_of[original] != no_atom; }
  bool paired_patched(AtomId patched) const { return original_of[patched] != no_atom; }
};

}  // namespace livecare::objdiff
