// Waits on a socket whose limit of time is the socket's and not the call's. Essay: socket_wait.cc.
// Internal to the room.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "remote/memory.h"
#include "remote/status.h"

namespace livecare::remote {

struct SocketWait {
  uint64_t limit_ns = 0;    // SO_RCVTIMEO or SO_SNDTIMEO, whichever counts; 0: none
  uint64_t begun_ns = 0;    // CLOCK_MONOTONIC; when the program made the call
  int64_t over_result = 0;  // what the call returns when the time is over
};

// Of a thread that sleeps there; limit_ns is 0 when it is no such wait, or may not be asked.
SocketWait socket_wait(pid_t pid, const SleepPlace& place);

// A note of when a call began, for the next stop of it, in the scratch bytes of the thread's stack.
// voluntary: the context switches that the thread will have when it sleeps in it again.
void write_begin(const Memory& memory, const SleepPlace& place, uint64_t voluntary,
                 uint64_t begun_ns);
std::optional<uint64_t> read_begin(const Memory& memory, const SleepPlace& place,
                                   uint64_t voluntary);

}  // namespace livecare::remote
