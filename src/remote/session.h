// An attachment to every task that shares the memory of a process.
//
//   with_session(pid, {}, [&](Session& session) -> Status {
//     TRY_STATUS(session.borrow({}, [&](BorrowedThread& thread) { ...remote system calls... }));
//     TRY(StopReport report, session.stop({}, [&](StoppedProcess& process) { ...check, write...
//     }));
//     ...
//   });
//
// The work runs on a thread of its own, which is the tracer; when it ends the kernel lets go of
// every tracee without stopping it again. Nothing here may be used from another thread.
//
// Being attached does not stop anything, but signals for the process pass through us: do what
// takes long before with_session, and call idle() to wait. Essay: session.cc;
// docs/internals/stop.md.
#pragma once

#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "remote/memory.h"
#include "remote/remote_ptr.h"

namespace livecare::remote {

using Registers = user_regs_struct;

struct SessionOptions {
  uint64_t attach_us_max = 2'000'000;
};

struct StopOptions {
  uint64_t stop_window_us_max = 250'000;  // until everything is stopped; then resumed unchanged
  uint64_t stack_bytes_max = 8 << 20;     // of one thread; a deeper one is not `stack_complete`
  bool read_stacks = true;
  uint64_t* stopped_us = nullptr;  // what the stop took is added to it, also when it fails
};

// One stopped task. Valid inside the callback of stop() or borrow().
struct StoppedTask {
  pid_t tgid = 0;
  pid_t tid = 0;
  bool in_vfork = false;  // asleep in vfork for a child that is stopped: registers are those of
                          // the system call (rip and rsp are right)
  Registers registers{};
  RemoteAddress stack_start;    // = sp (rounded down to 8)
  RemoteRange stack_range;      // sp .. end of the stack
  ByteView stack;               // its content
  bool stack_complete = false;  // false: too deep or unreadable; treat as unsafe
  // When sp is not in the stack that the thread began on (a signal stack, a coroutine): all of that
  // stack, used and unused, or of one larger than stack_bytes_max the upper part, and then
  // `stack_complete` is false. Empty otherwise.
  RemoteAddress home_start;
  ByteView home_stack;
};

class StoppedProcess {
 public:
  virtual ~StoppedProcess() = default;
  virtual std::span<const StoppedTask> tasks() const = 0;
  virtual const Memory& memory() const = 0;
  // Memory::write with the fallback to PTRACE_POKEDATA.
  virtual Status write(RemoteAddress to, ByteView bytes) = 0;
  // The same without reading back, which is up to the caller.
  virtual Status put(RemoteAddress to, ByteView bytes) = 0;
  // Once called, every task is resumed and released for good (detached) when the callback returns.
  virtual void release_after() = 0;
};

struct StopReport {
  uint64_t stop_us = 0;    // first task stopped .. last resumed
  uint64_t gather_us = 0;  // of it: until all were stopped and read
  uint64_t work_us = 0;    // of it: the callback
  uint32_t tasks = 0;
  uint32_t rewound = 0;  // system calls that were rewound so that no EINTR shows
  // The longest time from interrupting such a thread to having rewound it: were we killed in it,
  // the program would see the EINTR.
  uint64_t exposed_us = 0;
};

inline constexpr size_t call_arguments_max = 6;
struct RemoteSyscall {
  long number = 0;
  std::array<uint64_t, call_arguments_max> arguments{};
};

class BorrowedThread;  // remote/borrow.h
struct BorrowOptions {
  uint64_t call_us_max = 2'000'000;  // of one remote call
  uint64_t find_us_max = 2'000'000;  // to find a thread that can be borrowed
  // Not empty: asked for each candidate while it is stopped, with its stack read. An error means
  // "not this one now"; the last one is the reason when none is found.
  std::function<Status(const StoppedTask&)> acceptable;
  // Asked for a call that has not returned in time: whether it can be broken off where it is, for
  // it holds no lock and has nothing half done. Empty: it can. One that cannot is waited for
  // call_patience times as long, then left to finish by itself.
  std::function<bool(const StoppedTask&)> may_break_off;
};
inline constexpr uint64_t call_patience = 5;

class Session {
 public:
  virtual ~Session() = default;
  virtual pid_t pid() const = 0;
  virtual const Memory& memory() const = 0;
  virtual std::vector<pid_t> tids() const = 0;

  // Stops everything, calls work, resumes. The error is work's, or the reason why it could not be
  // stopped (timed_out names the task); in any case everything runs on afterwards.
  virtual Result<StopReport> stop(const StopOptions& options,
                                  const std::function<Status(StoppedProcess&)>& work) = 0;

  // Borrows one thread of the process for remote system calls and calls; the others run on.
  virtual Status borrow(const BorrowOptions& options,
                        const std::function<Status(BorrowedThread&)>& work) = 0;

  // Memory::write; where /proc/PID/mem may not be written, on a thread that is stopped for it.
  virtual Status write(RemoteAddress to, ByteView bytes) = 0;

  // Has one thread make these system calls, in this order. A thread that is asleep is preferred;
  // one that runs is held only until it is sent off: it makes the calls by itself and goes on.
  // Their results are then not known, so `done` looks for their effect; it is asked until it says
  // true.
  virtual Status make_calls(std::span<const RemoteSyscall> calls,
                            const std::function<bool()>& done) = 0;

  // Lets the process run for that long, passing its signals on.
  virtual Status idle(uint64_t us) = 0;
};

// Errors before work is called: permission (who denies it), busy (TracerPid), unsupported (32-bit,
// shadow stacks), process_died.
Status with_session(pid_t pid, const SessionOptions& options,
                    const std::function<Status(Session&)>& work);

}  // namespace livecare::remote
