// The record of a block of address space that is about to be mapped, so that it is known whose it
// is before there is anything in it. Essay: intent.cc.
#pragma once

#include <vector>

#include "engine/control.h"
#include "engine/target.h"
#include "remote/session.h"

namespace livecare::engine {

struct Intent {
  remote::RemoteAddress headers;  // of the object whose record it is
  ControlPart region;
};

// Before and after. An object whose header has no room is mapped for without a record.
Status write_intent(remote::Session& session, const remote::LoadedObject& object,
                    const ControlPart& region);
Status clear_intent(remote::Session& session, const remote::LoadedObject& object);

// Records that a killed run left.
std::vector<Intent> find_intents(const Target& target);

// Unmaps what was mapped for the record and never got a header, and clears the record.
Status end_intent(remote::Session& session, const Target& target, const Intent& intent);

}  // namespace livecare::engine
