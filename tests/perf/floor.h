// The floor of a stop by ptrace: interrupt every thread, wait for it, read registers and 2 KiB of
// stack, continue. What nobody who holds all threads with their registers can do without.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace livecare::perf {

// Attaches (not counted), stops once, lets go. Microseconds from the first interrupt to the last
// continue.
Result<double> floor_us(pid_t pid);

}  // namespace livecare::perf
