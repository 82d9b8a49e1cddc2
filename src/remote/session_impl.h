// The inside of a Session, shared by session.cc (attach, signals), stop.cc and borrow.cc.
#pragma once

#include <csignal>
#include <ctime>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "remote/gadgets.h"
#include "remote/maps.h"
#include "remote/session.h"
#include "remote/stack_areas.h"
#include "remote/tracee.h"

namespace livecare::remote {

// Interrupts blocking waits of this thread at regular times, so that they can have a limit.
class WaitTimer {
 public:
  WaitTimer();
  ~WaitTimer();
  WaitTimer(const WaitTimer&) = delete;
  WaitTimer& operator=(const WaitTimer&) = delete;
  void start();
  void stop();

 private:
  timer_t timer_{};
  bool valid_ = false;
};

class Borrowed;

class SessionImpl final : public Session {
 public:
  explicit SessionImpl(Memory memory) : memory_(std::move(memory)) {}

  // Attaches to every task; see session.cc.
  Status attach(const SessionOptions& options);

  pid_t pid() const override { return memory_.pid(); }
  const Memory& memory() const override { return memory_; }
  std::vector<pid_t> tids() const override;
  Result<StopReport> stop(const StopOptions& options,
                          const std::function<Status(StoppedProcess&)>& work) override;
  Status borrow(const BorrowOptions& options,
                const std::function<Status(BorrowedThread&)>& work) override;
  Status write(RemoteAddress to, ByteView bytes) override;
  Status make_calls(std::span<const RemoteSyscall> calls,
                    const std::function<bool()>& done) override;
  Status idle(uint64_t us) override;

  // --- for stop.cc and borrow.cc ---
  // Handles what tracees have reported; never blocks.
  void pump();
  // Attaches to tasks that are not known yet, by a full look at /proc. Adds the number found.
  Status adopt_new(size_t& found);
  // The same in the middle of a stop: only looks when counters say that there may be some.
  Status adopt_new_quick(size_t& found);
  Status check_alive() const;
  Error died() const;

  std::vector<Tracee>& tracees() { return tracees_; }
  WaitTimer& timer() { return timer_; }
  void note_stop(Tracee& tracee);  // exec, end of the process

 private:
  Status adopt(pid_t tgid, pid_t tid, size_t& found);
  // Stops threads until one can be borrowed, and uses that.
  Status with_borrowed(const BorrowOptions& options, const std::function<Status(Borrowed&)>& use);
  bool knows(pid_t tid) const;
  bool is_stranger(pid_t pid) const;
  size_t threads_known() const;
  uint64_t last_pid();

  Memory memory_;
  std::vector<Tracee> tracees_;
  WaitTimer timer_;
  Fd task_directory_;
  Fd load_average_;
  std::optional<Gadgets> gadgets_;  // found once
  uint64_t last_pid_seen_ = 0;
  std::vector<pid_t> strangers_;  // among the last process IDs: known to have memory of their own
  bool dead_ = false;
  bool executed_ = false;
};

}  // namespace livecare::remote
