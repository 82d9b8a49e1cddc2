// One task under PTRACE_SEIZE: its stops, and how it goes on from each. Internal to the room.
//
// Stops are waited for with WNOWAIT: the kernel then keeps the stop's signal, so that a tracee
// whose tracer is killed at that moment still gets the signal that it was stopped with. (A plain
// wait clears it, and the signal would be lost.)
//
// All functions must be called on the thread that seized the task.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "remote/rewind.h"
#include "remote/session.h"

namespace livecare::remote {

enum class TraceeState : uint8_t {
  running,
  stopped,
  gone,    // has exited
  worker,  // a kernel worker (io_uring, vhost) in the thread list: never runs code of the process
};

enum class StopKind : uint8_t {
  trap,     // PTRACE_INTERRUPT, or the start of an auto-attached task
  signal,   // about to receive `signal`
  group,    // SIGSTOP and the like: stays stopped when we let go
  syscall,  // entry or exit, after PTRACE_SYSCALL
  exec,     // another program now
};

struct Tracee {
  pid_t tgid = 0;
  pid_t tid = 0;
  TraceeState state = TraceeState::running;
  StopKind kind = StopKind::trap;
  int signal = 0;              // of StopKind::signal: to be given back
  bool interrupt_due = false;  // PTRACE_INTERRUPT sent and its trap not seen yet
  Sleep sleep;                 // what the last look before the stop saw
};

enum class WaitOutcome { stopped, nothing_yet, gone };

// Seizes; ok(false) when the task has ended meanwhile. An error for a task that cannot be traced.
Result<bool> seize_if_alive(Tracee& tracee);

void interrupt(Tracee& tracee);

// Waits for the next stop. blocking: until a stop or a signal for us (then nothing_yet).
WaitOutcome wait_if_alive(Tracee& tracee, bool blocking);

bool read_registers_if_alive(const Tracee& tracee, Registers& registers);
bool write_registers_if_alive(const Tracee& tracee, const Registers& registers);

// Lets a stopped tracee go on as if we had not been there: its signal is delivered, a group stop
// lasts.
void resume(Tracee& tracee);
// The same, and gives the tracee up.
void detach(Tracee& tracee);

}  // namespace livecare::remote
