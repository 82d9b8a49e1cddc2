// Signal handlers: pointers into the process that only its kernel holds.
#pragma once

#include <span>
#include <vector>

#include "engine/control.h"
#include "remote/session.h"

namespace livecare::engine {

// The addresses of all signal handlers of the process. Uses the scratch area of one of the images;
// empty when none of them has one yet (then no code of them has run).
Result<std::vector<uint64_t>> signal_handlers(remote::Session& session,
                                              std::span<const Control> images);

}  // namespace livecare::engine
