// libcare-server's work: one request, one answer line per process as soon as it is done. The only
// code of the agent that leads to ptrace, through the engine.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "patchfmt/patch.h"

namespace livecare::agent {

// The seam to the engine: libcare-server fills it with the real one, tests with a fake.
struct EngineCalls {
  std::function<engine::ProcessReport(pid_t, const patchfmt::Patchset&, const engine::Limits&)>
      patch;
  std::function<engine::ProcessReport(pid_t, const std::vector<std::string>&,
                                      const engine::Limits&)>
      unpatch;
  std::function<engine::ProcessReport(pid_t)> info;
  std::function<Result<std::vector<engine::LoadedObject>>(pid_t)> loaded_objects;
};

struct ServerOutput {
  std::function<void(const std::string&)> line;  // without the newline
  std::function<bool()> should_stop;             // asked between processes: a signal is pending
};

// Returns the exit code of libcare-server: 0 the request was carried out (single processes may have
// failed: see their lines), 2 it was refused before any process was touched.
int serve(std::string_view request_text, const EngineCalls& engine, const ServerOutput& output);

}  // namespace livecare::agent
