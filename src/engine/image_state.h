// The state field of an image's control header, in the process. Only runs of livecare read it, so
// it is written while the process runs. Errors are those of remote::Memory and remote::Session.
#pragma once

#include "engine/control.h"
#include "remote/session.h"

namespace livecare::engine {

Result<State> read_state(const remote::Memory& memory, remote::RemoteAddress region);
Status write_state(remote::Session& session, remote::RemoteAddress region, State state);

}  // namespace livecare::engine
