// Nothing that we do may show as EINTR.
//
// The problem. PTRACE_INTERRUPT wakes a sleeping thread. Most system calls are then restarted by
// the kernel itself when the thread goes on, but those of signal(7)'s list end with EINTR (-4 in
// rax, the call's number still in orig_rax): epoll_wait, semop, sigtimedwait, io_getevents, socket
// calls under SO_RCVTIMEO or SO_SNDTIMEO, and some more. A program that has no signal handlers does
// not expect it.
//
// The idea. A stopped thread is on the border of user mode, where the kernel decides about
// restarting from the code in rax. Replacing -EINTR by -ERESTARTNOHAND there makes the kernel do
// exactly the right thing by itself: without a handler to run it sets rax and rip back and restarts
// the call; when a real signal with a handler has arrived at the same moment, it runs the handler
// and the call returns EINTR, as it would have without us. Temporary signal masks (epoll_pwait) are
// restored by the same path. No instruction pointer is moved by us, and the kernel's own restart
// codes are left alone.
//
// Time. A restarted call begins its time-out anew, so what has been slept is subtracted: in the
// register (milliseconds of epoll_wait, rounded up: never early), or in a copy of the timespec in
// the bytes below the red zone, to which the argument then points. The caller's own timespec may be
// constant and is never written. (The kernel copies it at the start of the call. Those bytes are
// overwritten only by a signal handler, after which the call is not restarted.) The argument
// registers keep the changed values when the call returns; the ABI calls them clobbered by a
// function call, and the C libraries' wrappers do not use them afterwards.
//
// Sockets. The time of SO_RCVTIMEO is not an argument: see socket_wait.cc.
//
// Calls that the kernel restarts through its restart block (nanosleep, poll, futex with a relative
// time) need nothing in a stop. Only when the registers of such a thread are going to be kept in a
// signal frame (borrow.cc) they are treated likewise, by rewind_timed.
//
// Not rewound: ioctl and anything unknown, where EINTR may be the driver's own answer, nor
// KVM_RUN, which every VMM calls in a loop and for which EINTR means "look at your events, call
// again".
#include "remote/rewind.h"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "base/clock.h"

namespace livecare::remote {

namespace {

constexpr uint64_t erestartnohand = 514;  // include/linux/errno.h; user space never sees it
constexpr uint64_t ns_per_s = 1'000'000'000;
constexpr uint64_t ns_per_ms = 1'000'000;
constexpr uint32_t io_uring_ext_arg = 8;         // IORING_ENTER_EXT_ARG
constexpr uint32_t io_uring_abs_timer = 1 << 5;  // IORING_ENTER_ABS_TIMER

// Where a call has its limit of time.
enum class Time : uint8_t {
  none,
  milliseconds,  // in the argument itself
  timespec,      // relative, pointed to by the argument
  io_uring,      // relative timespec pointed to by struct io_uring_getevents_arg
};

struct Call {
  uint64_t number;
  bool eintr;  // ends with EINTR when interrupted; else by its restart block
  Time time;
  uint8_t argument;  // that holds the time, from 0
};

constexpr Call calls[] = {
    {SYS_epoll_wait, true, Time::milliseconds, 3},
    {SYS_epoll_pwait, true, Time::milliseconds, 3},
    {SYS_epoll_pwait2, true, Time::timespec, 3},
    {SYS_semop, true, Time::none, 0},
    {SYS_semtimedop, true, Time::timespec, 3},
    {SYS_rt_sigtimedwait, true, Time::timespec, 2},
    {SYS_io_getevents, true, Time::timespec, 4},
    {SYS_io_pgetevents, true, Time::timespec, 4},
    {SYS_io_uring_enter, true, Time::io_uring, 4},
    {SYS_msgsnd, true, Time::none, 0},
    {SYS_msgrcv, true, Time::none, 0},
    {SYS_futex_waitv, true, Time::none, 0},  // absolute
    {SYS_read, true, Time::none, 0},
    {SYS_readv, true, Time::none, 0},
    {SYS_write, true, Time::none, 0},
    {SYS_writev, true, Time::none, 0},
    {SYS_recvfrom, true, Time::none, 0},
    {SYS_recvmsg, true, Time::none, 0},
    {SYS_recvmmsg, true, Time::timespec, 4},
    {SYS_sendto, true, Time::none, 0},
    {SYS_sendmsg, true, Time::none, 0},
    {SYS_sendmmsg, true, Time::none, 0},
    {SYS_accept, true, Time::none, 0},
    {SYS_accept4, true, Time::none, 0},
    {SYS_connect, true, Time::none, 0},
    {SYS_poll, false, Time::milliseconds, 2},
    {SYS_nanosleep, false, Time::timespec, 0},
    {SYS_clock_nanosleep, false, Time::timespec, 2},
    {SYS_futex, false, Time::timespec, 3},
};

const Call* find_call(uint64_t number) {
  for (const Call& call : calls)
    if (call.number == number) return &call;
  return nullptr;
}

using Arguments = std::array<uint64_t, 6>;

Arguments arguments_of(const Registers& r) {
  return {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9};
}

void set_argument(Registers& r, unsigned index, uint64_t value) {
  unsigned long long* places[] = {&r.rdi, &r.rsi, &r.rdx, &r.r10, &r.r8, &r.r9};
  *places[index] = value;
}

// Whether the call has a limit of time that is relative to its start.
bool has_time(const Call& call, const Arguments& arguments) {
  uint64_t value = arguments[call.argument];
  switch (call.time) {
    case Time::none:
      return false;
    case Time::milliseconds:
      return static_cast<int32_t>(value) > 0;
    case Time::timespec:
      if (call.number == SYS_futex && (arguments[1] & 0x7f) != 0) return false;  // not FUTEX_WAIT
      if (call.number == SYS_clock_nanosleep && (arguments[1] & TIMER_ABSTIME) != 0) return false;
      return value != 0;
    case Time::io_uring:
      return (arguments[3] & io_uring_ext_arg) != 0 && (arguments[3] & io_uring_abs_timer) == 0 &&
             value != 0;
  }
  return false;
}

struct KernelTime {  // struct __kernel_timespec
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
};

KernelTime less(KernelTime time, uint64_t ns) {
  auto whole = static_cast<int64_t>(ns / ns_per_s);
  auto rest = static_cast<int64_t>(ns % ns_per_s);
  time.seconds -= whole;
  time.nanoseconds -= rest;
  if (time.nanoseconds < 0) {
    time.nanoseconds += ns_per_s;
    --time.seconds;
  }
  return time.seconds < 0 ? KernelTime() : time;
}

// A reduced copy of the timespec at `from`, in the scratch bytes at `to`.
bool put_reduced(const Memory& memory, RemoteAddress from, RemoteAddress to, uint64_t slept) {
  auto time = memory.read_value(from.cast<KernelTime>());
  if (!time.ok() || time->seconds < 0) return false;
  KernelTime left = less(*time, slept);
  Bytes bytes;
  append_le(bytes, left.seconds);
  append_le(bytes, left.nanoseconds);
  return memory.write(to, bytes).ok();
}

void reduce_time(const Memory& memory, const Call& call, uint64_t slept, Registers& registers) {
  uint64_t value = arguments_of(registers)[call.argument];
  // Two places, for the time may already be in one of them from the stop before.
  RemoteAddress scratch(registers.rsp - red_zone_bytes - scratch_bytes);
  if (scratch.address() <= value && value < scratch.address() + 64) scratch = scratch + 64;
  switch (call.time) {
    case Time::none:
      return;
    case Time::milliseconds: {
      uint64_t limit = static_cast<uint32_t>(value) * ns_per_ms;
      uint64_t left = slept < limit ? (limit - slept + ns_per_ms - 1) / ns_per_ms : 0;
      set_argument(registers, call.argument, left);
      return;
    }
    case Time::timespec:
      if (put_reduced(memory, RemoteAddress(value), scratch, slept))
        set_argument(registers, call.argument, scratch.address());
      return;
    case Time::io_uring: {
      // sigmask, sigmask_sz, min_wait_usec, ts
      constexpr size_t argument_bytes = 24, time_at = 16;
      auto argument = memory.read(RemoteAddress(value), argument_bytes);
      if (!argument.ok()) return;
      RemoteAddress time(*ByteView(*argument).read<uint64_t>(time_at));
      RemoteAddress copy = scratch + argument_bytes;
      if (time.is_null() || !put_reduced(memory, time, copy, slept)) return;
      store_le(*argument, time_at, copy.address());
      if (memory.write(scratch, *argument).ok())
        set_argument(registers, call.argument, scratch.address());
      return;
    }
  }
}

// Whether `before` is what the registers come out of.
bool same_call(const Sleep& before, const Registers& registers) {
  const SleepPlace& place = before.place;
  if (!place.asleep || static_cast<uint64_t>(place.number) != registers.orig_rax ||
      place.sp != registers.rsp || place.pc != registers.rip)
    return false;
  Arguments arguments = arguments_of(registers);
  return std::equal(arguments.begin(), arguments.end(), place.arguments);
}

void rewind_time(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before, const Call& call,
                 Registers& registers) {
  if (!has_time(call, arguments_of(registers)) || !same_call(before, registers)) return;
  uint64_t slept = slept_ns(pid, tid, before);
  if (slept != 0) reduce_time(memory, call, slept, registers);
}

}  // namespace

bool was_interrupted(const Registers& registers) {
  if (static_cast<int64_t>(registers.orig_rax) < 0 || static_cast<int64_t>(registers.rax) != -EINTR)
    return false;
  const Call* call = find_call(registers.orig_rax);
  return call != nullptr && call->eintr;
}

bool has_time_limit(const SleepPlace& place) {
  const Call* call = find_call(static_cast<uint64_t>(place.number));
  if (call == nullptr) return false;
  Arguments arguments;
  std::copy(std::begin(place.arguments), std::end(place.arguments), arguments.begin());
  return has_time(*call, arguments);
}

bool may_be_cut_off(const SleepPlace& place) {
  const Call* call = find_call(static_cast<uint64_t>(place.number));
  return place.asleep && call != nullptr && call->eintr;
}

namespace {

// Whether the call has waited for as long as its socket says.
bool is_over(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
             const Registers& registers) {
  const SocketWait& wait = before.socket;
  if (wait.limit_ns == 0 || !same_call(before, registers)) return false;
  if (slept_ns(pid, tid, before) == 0) return false;
  if (monotonic_ns() - wait.begun_ns >= wait.limit_ns) return true;
  // Has stopped once since then; when it sleeps again, that is one more.
  write_begin(memory, before.place, before.voluntary + 2, wait.begun_ns);
  return false;
}

}  // namespace

bool rewind_call(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
                 Registers& registers) {
  if (!was_interrupted(registers)) return false;
  if (is_over(memory, pid, tid, before, registers)) {
    registers.rax = static_cast<uint64_t>(before.socket.over_result);
    return true;
  }
  rewind_time(memory, pid, tid, before, *find_call(registers.orig_rax), registers);
  registers.rax = -erestartnohand;
  return true;
}

void rewind_timed(const Memory& memory, pid_t pid, pid_t tid, const Sleep& before,
                  Registers& registers) {
  const Call* call = find_call(registers.orig_rax);
  if (call != nullptr && !call->eintr) rewind_time(memory, pid, tid, before, *call, registers);
}

}  // namespace livecare::remote
