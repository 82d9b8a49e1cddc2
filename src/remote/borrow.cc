// Running code in another process on one of its own threads.
//
// The problem. mmap, mprotect, __register_frame and the like must be done by the process itself.
// Changing a thread's registers is easy; but if the tool is killed while they are changed, the
// thread must still find back to where it was, with nobody to help.
//
// The idea (signal return). Before a register is touched, a complete signal frame (registers, FPU
// state, signal mask) is written below the red zone of the thread's stack, where a signal could be
// delivered at any time anyway. Then one PTRACE_SETREGS makes the thread begin at `syscall; ret`
// with its stack pointer on that frame, whose first word is the address of `mov $15, %rax;
// syscall`. Whatever happens to us, the thread executes the call, returns into rt_sigreturn and is
// back. In the normal case we see the end of the call (PTRACE_SYSCALL), take the result, run the
// next one, and at last put everything back ourselves.
//
// A system call begins as rt_sigreturn, and becomes the one that is wanted at its entry, where the
// thread stops for us: were we killed before, the thread would do nothing but go back. That matters
// under a seccomp filter: PTRACE_O_SUSPEND_SECCOMP ends with us, and the filter may kill for mmap.
// Left is the time from that change, over the resume, until the thread has passed its filter; it
// cannot be closed, for the kernel asks the filter after it has stopped for the tracer. Likewise a
// function that was called goes on under its filter when we are gone.
//
// Order matters, because each ptrace request may be our last: registers first, then the signal mask
// (all blocked, so that no handler runs in between); on the way back the mask first, then the
// registers. In each state in between the thread runs through rt_sigreturn, which restores both.
//
// A thread that sleeps in a system call is interrupted by our stop. In the frame the call is
// rewound (restarted from its first instruction, with the time that is left); in the normal case
// the thread is brought back to a stop on the border of user mode, gets its exact registers with
// the kernel's own restart code, and the kernel restarts the call, or delivers a signal, as if
// nothing had been.
//
// Functions return through return_pad (borrow.h), which keeps the result in a register. SIGSEGV and
// the other signals of faults are left unblocked: a fault while they are blocked makes the kernel
// reset the program's handler.
//
// A call that does not return in time is broken off: the registers are put back. A thread that is
// in the middle of the loader or the allocator must not be taken out of it, for it would keep the
// lock for ever. Then we wait longer, and at last leave the thread in the call with nothing put
// back: it returns through the pad and the frame, which is all that it needs.
//
// System calls whose effect can be seen from outside need less (Session::make_calls): a thread that
// runs gets one frame for each call and is let go, so that it loses some microseconds and not a
// round through the scheduler for each. It is the way that it would go if we were killed. Threads
// asleep in a system call go the way above: they lose nothing by it, and their call is restarted by
// the kernel itself.
//
// Not borrowed: threads on a signal stack or in a coroutine (no knowing what lies below their stack
// pointer), inside a restartable sequence (it would be resumed in the middle), or under a seccomp
// filter that we may not suspend (it could kill the process half-way).
#include "remote/borrow.h"

#include <linux/rseq.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "remote/borrowed.h"
#include "remote/stack_areas.h"
#include "remote/status.h"

namespace livecare::remote {

namespace {

constexpr uint64_t stack_left_bytes_min = 96 << 10;  // for the frame and what a call needs
constexpr uint64_t user_code_segment = 0x33;         // 64-bit

constexpr int64_t restart_first = -514, restart_last = -512;  // ERESTARTSYS, NOINTR, NOHAND
constexpr int64_t restart_block = -516;

uint64_t bit(int signal) {
  return uint64_t{1} << (signal - 1);
}

uint64_t all_but_faults() {
  return ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGTRAP) | bit(SIGSYS));
}

bool is_fault(int signal) {
  return (all_but_faults() & bit(signal)) == 0;
}

}  // namespace

Status Borrowed::check_place(const Maps& maps) {
  const Registers& r = context_.registers;
  if ((r.cs & 0xffff) != user_code_segment)
    return make_error(ErrorCode::unsupported, name(), "runs 32-bit code");
  RemoteAddress sp(r.rsp);
  const Mapping* stack = maps.find(sp);
  if (stack == nullptr || !stack->writable)
    return make_error(ErrorCode::busy, name(), "has no stack at its stack pointer {:#x}", r.rsp);
  std::optional<RemoteAddress> bottom = stack->range.start;
  if (stack->path != "[stack]")
    bottom = stack_bottom(memory(), *stack, sp, RemoteAddress(r.fs_base));
  if (!bottom) return make_error(ErrorCode::busy, name(), "is on a signal stack or in a coroutine");
  auto left = static_cast<uint64_t>(sp.bytes_from(*bottom));
  if (left < stack_left_bytes_min)
    return make_error(ErrorCode::busy, name(), "has only {} bytes of stack left", left);
  return ok_status();
}

Status Borrowed::check_rseq() {
  // struct ptrace_rseq_configuration, since 5.13 (90f093fa8ea4); older kernels: not registered by
  // any libc either.
  struct {
    uint64_t area;
    uint32_t size, signature, flags, pad;
  } configuration{};
  constexpr int get_rseq_configuration = 0x420f;
  if (::ptrace(static_cast<__ptrace_request>(get_rseq_configuration), tracee_.tid,
               sizeof(configuration), &configuration) <= 0 ||
      configuration.area == 0)
    return ok_status();
  constexpr uint64_t rseq_cs_at = 8;
  TRY(uint64_t section_at,
      memory().read_value(RemotePtr<uint64_t>(configuration.area + rseq_cs_at)));
  if (section_at == 0) return ok_status();
  TRY(rseq_cs section, memory().read_value(RemotePtr<rseq_cs>(section_at)));
  if (context_.registers.rip - section.start_ip < section.post_commit_offset)
    return make_error(ErrorCode::busy, name(), "is in a restartable sequence");
  return ok_status();
}

Result<StoppedTask> Borrowed::as_stopped(const Registers& registers, Bytes& stack) const {
  StoppedTask task;
  task.tgid = tracee_.tgid;
  task.tid = tracee_.tid;
  task.registers = registers;
  auto used =
      StackAreas(maps_).used(RemoteAddress(registers.rsp), RemoteAddress(registers.fs_base));
  if (used) {
    stack = memory().read_prefix(used->start, std::min<uint64_t>(used->size, 8 << 20));
    task.stack_range = *used;
    task.stack_start = used->start;
    task.stack = stack;
    task.stack_complete = stack.size() == used->size;
  }
  return task;
}

Status Borrowed::check_stack() {
  if (!options_.acceptable) return ok_status();
  Bytes stack;
  TRY(StoppedTask task, as_stopped(context_.registers, stack));
  return options_.acceptable(task);
}

bool Borrowed::may_break_off() const {
  if (!options_.may_break_off) return true;
  Registers registers{};
  Bytes stack;
  if (!read_registers_if_alive(tracee_, registers)) return true;
  auto task = as_stopped(registers, stack);
  return task.ok() && options_.may_break_off(*task);
}

// PTRACE_SECCOMP_GET_METADATA answers EINVAL for a thread without a filter; only who may not ask
// has to read /proc, which takes longer.
bool Borrowed::may_be_filtered() const {
  struct {
    uint64_t filter = 0, flags = 0;
  } metadata;
  constexpr int seccomp_get_metadata = 0x420d;
  return filtered_ ||
         ::ptrace(static_cast<__ptrace_request>(seccomp_get_metadata), tracee_.tid,
                  sizeof(metadata), &metadata) != -1 ||
         errno != EINVAL;
}

Status Borrowed::suspend_seccomp() {
  if (!may_be_filtered()) return ok_status();
  auto status = read_status(tracee_.tid);
  if (!status.ok()) return status.take_error();
  if (status->seccomp == 0) return ok_status();
  constexpr uintptr_t options =
      PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
  if (::ptrace(PTRACE_SETOPTIONS, tracee_.tid, nullptr, reinterpret_cast<void*>(options)) != 0)
    return make_error(ErrorCode::refused, name(),
                      "runs under a seccomp filter, which could kill it for what a patch needs, "
                      "and the kernel does not let us suspend it ({}); run with CAP_SYS_ADMIN and "
                      "outside of any seccomp filter",
                      std::strerror(errno));
  seccomp_suspended_ = true;
  return ok_status();
}

Status Borrowed::take() {
  TRY(context_, read_context(tracee_.tid));
  if (Status place = check_place(maps_); !place.ok()) {
    // Its stack may be newer than the maps.
    if (place.error().code != ErrorCode::busy) return place;
    TRY(Maps fresh, Maps::read(tracee_.tgid));
    TRY_STATUS(check_place(fresh));
  }
  TRY_STATUS(check_rseq());
  TRY_STATUS(check_stack());

  // The frame restarts an interrupted call by itself; the normal way back uses the exact registers.
  ThreadContext rewound = context_;
  Registers& r = rewound.registers;
  auto result = static_cast<int64_t>(r.rax);
  if (static_cast<int64_t>(r.orig_rax) >= 0) {
    bool restart = result >= restart_first && result <= restart_last;
    if (result == restart_block) {
      restart = true;
      rewind_timed(memory(), tracee_.tgid, tracee_.tid, tracee_.sleep, r);
    } else if (rewind_call(memory(), tracee_.tgid, tracee_.tid, tracee_.sleep, r)) {
      restart = true;
      context_.registers = r;
    }
    if (restart) {
      r.rax = r.orig_rax;
      r.rip -= 2;
    }
    r.orig_rax = ~uint64_t{0};
    restarts_ = restart;
  }
  RemoteAddress below(context_.registers.rsp - red_zone_bytes - scratch_bytes);
  TRY(frame_, make_signal_frame(rewound, below, gadgets_.sigreturn));
  return_to_ = gadgets_.sigreturn;
  return suspend_seccomp();
}

Status Borrowed::lay_frame() {
  is_laid_ = true;
  return session_.memory().write(frame_.at, frame_.bytes, tracee_.tid);
}

Status Borrowed::set_return(RemoteAddress address) {
  if (return_to_ == address) return ok_status();
  Bytes word;
  append_le(word, address.address());
  TRY_STATUS(session_.memory().write(frame_.at, word, tracee_.tid));
  return_to_ = address;
  return ok_status();
}

Status Borrowed::begin(const Registers& registers, uint64_t mask) {
  LIVECARE_ASSERT(is_laid_);  // were we killed now, it would go back to somewhere else
  if (!write_registers_if_alive(tracee_, registers)) return gone();
  changed_ = true;
  TRY_STATUS(write_signal_mask(tracee_.tid, mask));
  masked_ = true;
  return ok_status();
}

// From the entry of rt_sigreturn to that of another system call, which returns to the frame.
Status Borrowed::become(long number) {
  Registers r{};
  if (!read_registers_if_alive(tracee_, r)) return gone();
  r.orig_rax = static_cast<uint64_t>(number);
  r.rsp = frame_.at.address();
  return write_registers_if_alive(tracee_, r) ? ok_status() : Status(gone());
}

// On to the next entry or exit of a system call. An error leaves the thread stopped, or gone.
Status Borrowed::run_to_syscall_stop(uint64_t deadline_us) {
  int deliver = 0;
  bool interrupted = false;
  session_.timer().start();
  Status outcome = ok_status();
  for (bool go = true;;) {
    if (go && ::ptrace(PTRACE_SYSCALL, tracee_.tid, nullptr, deliver) != 0) {
      outcome = gone();
      break;
    }
    go = false;
    deliver = 0;
    WaitOutcome seen = wait_if_alive(tracee_, true);
    if (seen == WaitOutcome::gone) {
      outcome = gone();
      break;
    }
    if (seen == WaitOutcome::nothing_yet) {
      if (monotonic_us() > deadline_us && !interrupted) {
        interrupt(tracee_);
        interrupted = true;
      }
      continue;
    }
    if (interrupted) {
      in_entry_ = tracee_.kind == StopKind::syscall && !in_entry_;
      outcome = make_error(ErrorCode::timed_out, name(),
                           "a call made in it did not return in time; it was given up");
      break;
    }
    if (tracee_.kind == StopKind::syscall) break;
    if (tracee_.kind == StopKind::signal && is_fault(tracee_.signal)) {
      int signal = std::exchange(tracee_.signal, 0);
      in_entry_ = false;
      outcome = make_error(ErrorCode::refused, name(), "a call made in it raised signal {} ({})",
                           signal, ::strsignal(signal));
      break;
    }
    deliver = tracee_.kind == StopKind::signal ? tracee_.signal : 0;
    go = true;
  }
  session_.timer().stop();
  if (outcome.ok()) in_entry_ = !in_entry_;
  return outcome;
}

Result<uint64_t> Borrowed::syscall(long number, std::initializer_list<uint64_t> arguments) {
  return ptraced_call(number, {arguments.begin(), arguments.size()});
}

Result<uint64_t> Borrowed::ptraced_call(long number, std::span<const uint64_t> arguments) {
  TRY_STATUS(set_return(gadgets_.sigreturn));  // the pad may be what this call unmaps
  // Where the kernel expects the frame: behind the return address.
  Registers r = call_registers(context_.registers, gadgets_.syscall_ret,
                               frame_.at + sizeof(uint64_t), SYS_rt_sigreturn, arguments);
  TRY_STATUS(begin(r, ~uint64_t{0}));
  uint64_t deadline = monotonic_us() + syscall_us_max;
  TRY_STATUS(run_to_syscall_stop(deadline));  // entry
  TRY_STATUS(become(number));
  TRY_STATUS(run_to_syscall_stop(deadline));  // exit
  if (!read_registers_if_alive(tracee_, r)) return gone();
  constexpr int64_t errno_max = 4095;
  auto result = static_cast<int64_t>(r.rax);
  if (result < 0 && result >= -errno_max)
    return make_error(result == -EPERM || result == -EACCES ? ErrorCode::permission : ErrorCode::io,
                      name(), "system call {} made in it failed: {}", number,
                      std::strerror(static_cast<int>(-result)));
  return r.rax;
}

Result<uint64_t> Borrowed::call(RemoteAddress function, RemoteAddress pad,
                                std::initializer_list<uint64_t> arguments) {
  TRY(Bytes there, memory().read(pad, return_pad.size()));
  if (!(ByteView(there) == ByteView(return_pad.data(), return_pad.size())))
    return make_error(ErrorCode::internal, name(), "no return pad at {:#x}", pad.address());
  TRY_STATUS(set_return(pad));
  called_ = true;
  TRY_STATUS(begin(call_registers(context_.registers, function, frame_.at, 0,
                                  {arguments.begin(), arguments.size()}),
                   all_but_faults()));
  return finish_call(pad);
}

Result<uint64_t> Borrowed::finish_call(RemoteAddress pad) {
  constexpr uint64_t pad_syscall_end = 12;
  uint64_t begun = monotonic_us();
  uint64_t deadline = begun + options_.call_us_max;
  for (;;) {
    Status ran = run_to_syscall_stop(deadline);
    if (!ran.ok() && ran.error().code == ErrorCode::timed_out && !may_break_off()) {
      if (deadline - begun >= call_patience * options_.call_us_max) return leave_in_call();
      deadline += options_.call_us_max;
      continue;
    }
    TRY_STATUS(std::move(ran));
    if (!in_entry_) continue;
    Registers r{};
    if (!read_registers_if_alive(tracee_, r)) return gone();
    if (r.rip != pad.address() + pad_syscall_end || r.orig_rax != SYS_rt_sigreturn) continue;
    TRY_STATUS(leave_system_call());
    return r.r12;
  }
}

Error Borrowed::leave_in_call() {
  left_ = true;
  resume(tracee_);
  return make_error(ErrorCode::timed_out, name(),
                    "a call made in it has not returned and may hold locks, so it was not broken "
                    "off; the thread goes on by itself when it returns");
}

// From the entry of a system call to its exit without doing it.
Status Borrowed::leave_system_call() {
  if (!in_entry_) return ok_status();
  Registers r{};
  if (!read_registers_if_alive(tracee_, r)) return gone();
  r.orig_rax = ~uint64_t{0};
  if (!write_registers_if_alive(tracee_, r)) return gone();
  return run_to_syscall_stop(monotonic_us() + syscall_us_max);
}

Status Borrowed::make_calls(std::span<const RemoteSyscall> calls) {
  if (!restarts_ && !seccomp_suspended_ && tracee_.kind == StopKind::trap) return send_off(calls);
  TRY_STATUS(lay_frame());
  for (const RemoteSyscall& call : calls) {
    TRY(uint64_t result, ptraced_call(call.number, call.arguments));
    (void)result;
  }
  return ok_status();
}

// The way that a thread goes when we are killed, taken on purpose.
Status Borrowed::send_off(std::span<const RemoteSyscall> calls) {
  CallChain chain =
      make_call_chain(context_.registers, frame_, gadgets_.syscall_ret, gadgets_.sigreturn, calls);
  TRY_STATUS(session_.memory().write(chain.frames.at, chain.frames.bytes, tracee_.tid));
  if (!write_registers_if_alive(tracee_, chain.begin)) return gone();
  changed_ = true;
  TRY_STATUS(write_signal_mask(tracee_.tid, ~uint64_t{0}));
  resume(tracee_);
  return ok_status();
}

// Brings the thread to a stop on the border of user mode (where the kernel looks at the restart
// code), then: FPU, mask, registers.
void Borrowed::give_back() {
  if (left_) return;
  if (seccomp_suspended_) {
    constexpr uintptr_t options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    ::ptrace(PTRACE_SETOPTIONS, tracee_.tid, nullptr, reinterpret_cast<void*>(options));
  }
  if (tracee_.state != TraceeState::stopped) return;
  if (!changed_) {
    if (was_interrupted(context_.registers)) {
      // take() failed before the frame was made; the program must not see the EINTR.
      rewind_call(memory(), tracee_.tgid, tracee_.tid, tracee_.sleep, context_.registers);
    }
    if (!context_.xstate.empty()) write_registers_if_alive(tracee_, context_.registers);
    resume(tracee_);
    return;
  }
  if (in_entry_ && !leave_system_call().ok() && tracee_.state == TraceeState::gone) return;
  if (tracee_.kind == StopKind::syscall) {
    interrupt(tracee_);
    tracee_.kind = StopKind::trap;
    resume(tracee_);
    session_.timer().start();
    while (wait_if_alive(tracee_, true) == WaitOutcome::nothing_yet) {
    }
    session_.timer().stop();
    if (tracee_.state != TraceeState::stopped) return;
    session_.note_stop(tracee_);
  }
  if (called_ && !write_xstate(tracee_.tid, context_.xstate).ok()) return;
  if (masked_ && !write_signal_mask(tracee_.tid, context_.signal_mask).ok()) return;
  write_registers_if_alive(tracee_, context_.registers);
  resume(tracee_);
}

}  // namespace livecare::remote
