// What a patchset means for one process: which loaded objects it applies to and which bytes would
// change. Made while the process runs; everything that can be refused is refused here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/resolve.h"
#include "engine/target.h"
#include "patchfmt/patch.h"

namespace livecare::engine {

struct PlannedObject {
  const patchfmt::Object* patch = nullptr;  // of the patchset that the plan was made from
  remote::LoadedObject object;
  std::optional<Control> current;          // the level that is live in this object now
  std::vector<Control> kept;               // undone images of the same level, candidates for reuse
  std::vector<ControlFunction> functions;  // new_address holds an offset in the image still
  Resolution resolution;
};

struct Plan {
  std::vector<PlannedObject> objects;  // empty: nothing to do
  std::string nothing_to_do;           // then: why
};

// Errors: conflict (somebody else's bytes, a higher level, another patchset of the same level),
// refused, unsupported.
Result<Plan> make_plan(const Target& target, const patchfmt::Patchset& patchset);

}  // namespace livecare::engine
