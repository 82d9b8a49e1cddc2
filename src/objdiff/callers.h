// Who calls a function of an object, and whether all that is done with it is calling it. And, of
// Linux objects, which functions begin with a call that ftrace can redirect.
#pragma once

#include <optional>
#include <set>
#include <vector>

#include "objdiff/object_map.h"
#include "objdiff/parts.h"

namespace livecare::objdiff {

// The functions (parents of parts) that call or jump to the start of `function`, itself left out.
// Empty optional: its address is taken, or somebody refers to its middle.
std::optional<std::set<AtomId>> callers_of(const ObjectMap& map, const Parts& parts,
                                           AtomId function);

// Empty when nothing in the object can be traced, or when the object says nothing about it. What is
// gone after a start is none: ftrace forgets it then, and whoever is registered there does not.
Result<std::set<AtomId>> traced_functions(const ObjectMap& map);

// Tables of the places that ftrace may redirect; one that is a function's entry lies within its
// first bytes.
bool is_ftrace_table(std::string_view section);
inline constexpr uint64_t ftrace_entry_window_bytes = 16;

}  // namespace livecare::objdiff
