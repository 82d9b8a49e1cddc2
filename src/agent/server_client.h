// A front end's side of libcare-server: find it, run it with one request, read its lines.
#pragma once

#include <filesystem>
#include <vector>

#include "agent/paths.h"
#include "agent/request.h"

namespace livecare::agent {

struct Answer {
  std::vector<Json> lines;          // one per process
  Json unreadable = Json::array();  // pid and comm of processes that may not be looked into
  bool nothing_examined = false;    // of all: not one process could be looked into
  bool interrupted = false;
};

// override (from --server) wins; else libcare-server beside the calling program, else the one of
// paths.libexec.
Result<std::filesystem::path> find_server(const Paths& paths,
                                          const std::filesystem::path& override_path);

// An error means that no process was touched (code of the server's own error), or that the server
// did not live to the end of the request (internal).
Result<Answer> ask_server(const std::filesystem::path& server, const Request& request);

// A sentence about the processes that may not be looked into; empty when there are none.
std::string unreadable_warning(const Answer& answer);

}  // namespace livecare::agent
