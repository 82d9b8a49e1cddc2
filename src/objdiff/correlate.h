// Finds which function and variable of the patched object is which one of the original.
#pragma once

#include "objdiff/object_map.h"
#include "objdiff/pairing.h"

namespace livecare::objdiff {

Pairing correlate(const ObjectMap& original, const ObjectMap& patched);

}  // namespace livecare::objdiff
