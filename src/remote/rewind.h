// System calls that a stop interrupts and that the kernel does not restart by itself: rewound, with
// the time that is left. Essay: rewind.cc. Internal to the room.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "remote/memory.h"
#include "remote/session.h"
#include "remote/status.h"

namespace livecare::remote {

// A thread seen asleep before the stop.
struct Sleep {
  SleepPlace place;
  uint64_t since_ns = 0;  // CLOCK_MONOTONIC; when it went to sleep, or when we first saw it asleep
  uint64_t runs = 0;      // times it was put on a CPU, until then; 0: unknown
};

// Looks at a running thread; keeps what it knew when the thread has not moved since.
void observe_sleep(pid_t pid, pid_t tid, Sleep& sleep);

// Whether the call that the registers come out of ended with EINTR only because the thread was
// stopped (or has a real signal coming, which the kernel then gives its EINTR).
bool was_interrupted(const Registers& registers);

// Makes a call that was_interrupted() start again with the time that is left, in the registers and
// if need be below the red zone of the stack. Changes nothing for any other. True when it did.
bool rewind_call(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
                 Registers& registers);

// Registers that come out of a call with ERESTART_RESTARTBLOCK (nanosleep, poll, futex): reduces
// the time in them by what has passed, so that the call can be made again from its first
// instruction.
void rewind_timed(const Memory& memory, const Sleep& before, Registers& registers);

}  // namespace livecare::remote
