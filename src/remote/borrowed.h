// The inside of BorrowedThread, shared by borrow.cc (one thread, once it is stopped) and
// borrow_session.cc (which thread that is). Essay: borrow.cc.
#pragma once

#include <span>
#include <string>

#include "remote/borrow.h"
#include "remote/gadgets.h"
#include "remote/session_impl.h"
#include "remote/signal_frame.h"

namespace livecare::remote {

inline constexpr uint64_t syscall_us_max = 1'000'000;

class Borrowed final : public BorrowedThread {
 public:
  Borrowed(SessionImpl& session, Tracee& tracee, const Gadgets& gadgets,
           const BorrowOptions& options, const Maps& maps, bool filtered)
      : session_(session),
        tracee_(tracee),
        gadgets_(gadgets),
        options_(options),
        maps_(maps),
        filtered_(filtered) {}
  ~Borrowed() override { give_back(); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  // The thread is stopped. Looks whether it can be borrowed, and makes its frame; changes nothing.
  Status take();
  // Before calls are made in it: puts the frame below the red zone of the stack.
  Status lay_frame();
  // Makes the calls; see Session::make_calls.
  Status make_calls(std::span<const RemoteSyscall> calls);

  pid_t tid() const override { return tracee_.tid; }
  const Memory& memory() const override { return session_.memory(); }
  Result<uint64_t> syscall(long number, std::initializer_list<uint64_t> arguments) override;
  Result<uint64_t> call(RemoteAddress function, RemoteAddress pad,
                        std::initializer_list<uint64_t> arguments) override;
  Status write(RemoteAddress to, ByteView bytes) override {
    return session_.memory().write(to, bytes, tracee_.tid);
  }

 private:
  Status check_place(const Maps& maps);
  Status send_off(std::span<const RemoteSyscall> calls);
  bool may_be_filtered() const;
  Status check_rseq();
  Status check_stack();
  Result<StoppedTask> as_stopped(const Registers& registers, Bytes& stack) const;
  bool may_break_off() const;
  Status suspend_seccomp();
  Status begin(const Registers& registers, uint64_t mask);
  Status become(long number);
  Result<uint64_t> ptraced_call(long number, std::span<const uint64_t> arguments);
  Status run_to_syscall_stop(uint64_t deadline_us);
  Status set_return(RemoteAddress address);
  Result<uint64_t> finish_call(RemoteAddress pad);
  Error leave_in_call();
  Status leave_system_call();
  void give_back();
  Error gone() const { return session_.died(); }
  std::string name() const {
    return fmt::format("thread {} of process {}", tracee_.tid, tracee_.tgid);
  }

  SessionImpl& session_;
  Tracee& tracee_;
  const Gadgets& gadgets_;
  const BorrowOptions& options_;
  const Maps& maps_;       // read before the thread was stopped
  const bool filtered_;    // the same: under a seccomp filter
  ThreadContext context_;  // exact, as to be put back
  SignalFrame frame_;
  RemoteAddress return_to_;
  bool restarts_ = false;  // goes on with a system call that was interrupted
  bool is_laid_ = false;   // the frame is in its memory
  bool changed_ = false;   // registers are not the thread's own
  bool masked_ = false;
  bool called_ = false;    // FPU state may be different
  bool in_entry_ = false;  // stopped at the entry of a system call
  bool left_ = false;      // in a call that goes on without us
  bool seccomp_suspended_ = false;
};

}  // namespace livecare::remote
