// livecare-tuf: the client of update repositories as a program of its own, to look at a repository
// by hand and to be judged by the conformance suite of The Update Framework
// (https://github.com/theupdateframework/tuf-conformance, CLIENT-CLI.md). The agent uses the same
// code through trust/tuf/updater.h.
#pragma once

#include <string>
#include <vector>

namespace livecare::agent {

// Exit code 0, or 1 with the reason on standard error.
int run_tuf_command(const std::vector<std::string>& arguments);

}  // namespace livecare::agent
