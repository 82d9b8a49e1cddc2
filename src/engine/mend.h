// Transactions of an earlier run that was killed: what they left and how they are ended.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/intent.h"
#include "engine/target.h"
#include "engine/transition.h"
#include "remote/session.h"

namespace livecare::engine {

struct Leftovers {
  Transition transition;            // a stop that ends what was cut off; may be empty
  std::vector<StateChange> states;  // to be written without a stop
  std::vector<Control> release;     // afterwards nobody can reach these
  std::vector<Intent> intents;      // blocks that were being mapped
  std::vector<std::string> found;   // for people; empty: nothing was cut off
};

// From headers alone. `release` also has images that are merely kept, which is nothing cut off.
Leftovers find_leftovers(const FoundImages& images);
// Also sees live images whose library was unloaded (and perhaps loaded again, at the same place).
Leftovers find_leftovers(const Target& target);

// Ends them. The snapshot of `target` is old afterwards.
Status mend(remote::Session& session, Target& target, const Leftovers& leftovers,
            const Limits& limits, TransitionReport& report);

}  // namespace livecare::engine
