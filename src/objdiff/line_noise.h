// Two functions that differ only in line numbers handed to a reporting function are the same.
#pragma once

#include "objdiff/object_map.h"

namespace livecare::objdiff {

// Both atoms are code of one size with references in the same places. True only if every byte that
// differs belongs to a line number (see line_noise.cc for what counts as one).
bool only_line_numbers_differ(const ObjectMap& original, AtomId original_id,
                              const ObjectMap& patched, AtomId patched_id);

}  // namespace livecare::objdiff
