// What a run tells about a process.
#pragma once

#include "engine/engine.h"

namespace livecare::engine {

// Fills in what is in memory now and, for a failed status, outcome, code and reason.
void complete_report(pid_t pid, ProcessReport& report, const Status& status);

}  // namespace livecare::engine
