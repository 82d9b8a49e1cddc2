// System calls that a stop interrupts and that the kernel does not restart by itself: rewound, with
// the time that is left. Essay: rewind.cc. Internal to the room.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "remote/memory.h"
#include "remote/session.h"
#include "remote/sleep_time.h"
#include "remote/status.h"

namespace livecare::remote {

// Below the red zone of the stack; where reduced times are put.
inline constexpr uint64_t red_zone_bytes = 128;
inline constexpr uint64_t scratch_bytes = 256;

// Whether a call has a limit of time that begins when it is made (for observe_sleep).
bool has_time_limit(const SleepPlace& place);

// Whether a thread that sleeps there comes out with EINTR when it is interrupted, or may.
bool may_be_cut_off(const SleepPlace& place);

// Whether the call that the registers come out of ended with EINTR only because the thread was
// stopped (or has a real signal coming, which the kernel then gives its EINTR).
bool was_interrupted(const Registers& registers);

// Makes a call that was_interrupted() start again with the time that is left, in the registers and
// if need be in the scratch bytes of the stack; or return, when the time of its socket is over.
// Changes nothing for any other. True when it did.
bool rewind_call(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
                 Registers& registers);

// Registers that come out of a call with ERESTART_RESTARTBLOCK (nanosleep, poll, futex): reduces
// the time in them by what has passed, so that the call can be made again from its first
// instruction.
void rewind_timed(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
                  Registers& registers);

}  // namespace livecare::remote
