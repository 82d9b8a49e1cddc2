// Names the points between which a transaction can be cut off. A test sets a hook that kills the
// tool at the n-th point, so that every in-between state is tried on a real process.
#pragma once

#include <string_view>

namespace livecare::engine {

using StepHook = void (*)(std::string_view step);

// Null in the product. Set before the first call into the engine; not thread-safe.
inline StepHook step_hook = nullptr;

inline void step(std::string_view name) {
  if (step_hook != nullptr) step_hook(name);
}

}  // namespace livecare::engine
