// Since when a thread has been asleep. Essay: sleep_time.cc. Internal to the room.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "remote/memory.h"
#include "remote/socket_wait.h"
#include "remote/status.h"

namespace livecare::remote {

// A thread seen before the stop.
struct Sleep {
  SleepPlace place;        // asleep is false: it was running
  uint64_t since_ns = 0;   // CLOCK_MONOTONIC; when it fell asleep, else when first seen asleep
  uint64_t voluntary = 0;  // voluntary context switches then
  SocketWait socket;       // of a call under SO_RCVTIMEO or SO_SNDTIMEO
};

// Looks at a thread that is not stopped. Since when it sleeps is only found out for a call with a
// limit of time.
void observe_sleep(const Memory& memory, pid_t pid, pid_t tid, Sleep& sleep);

// How long the thread had been asleep when it was stopped, `before` being what observe_sleep saw.
// Zero when it has moved since then: it was awake a moment ago.
uint64_t slept_ns(pid_t pid, pid_t tid, const Sleep& before);

}  // namespace livecare::remote
