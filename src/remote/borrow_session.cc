// Which thread of the process is borrowed.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "remote/borrowed.h"
#include "remote/status.h"
#include "remote/urgent.h"

namespace livecare::remote {

namespace {

constexpr uint64_t find_pause_us = 1000;
constexpr useconds_t done_pause_us = 50;
constexpr size_t sleepers_looked_at_max = 64;

// Threads in the order in which they are to be asked: sleepers before those that run, and first
// those whose call is restarted exactly even if we are killed. (A signal that comes at that moment
// can be missed by a sigsuspend, and by a pause, which has that race by itself.)
int rank(const Sleep& sleep) {
  const SleepPlace& place = sleep.place;
  if (!place.asleep) return 2;
  if (sleep.socket.limit_ns != 0) return 3;
  switch (place.number) {
    case SYS_rt_sigsuspend:
    case SYS_ppoll:
    case SYS_pselect6:
    case SYS_restart_syscall:
      return 5;
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_poll:
      return 4;
    case SYS_futex:
      return place.arguments[3] == 0 ? 0 : 4;
    default:
      if (has_time_limit(place)) return 3;
      return may_be_cut_off(place) ? 1 : 0;
  }
}

// Stops one thread. False: not now.
bool stop_one(SessionImpl& session, Tracee& tracee, uint64_t deadline_us) {
  session.pump();
  if (tracee.state != TraceeState::running) return false;
  interrupt(tracee);
  session.timer().start();
  bool stopped = false;
  for (;;) {
    WaitOutcome seen = wait_if_alive(tracee, true);
    if (seen == WaitOutcome::nothing_yet && monotonic_us() < deadline_us) continue;
    stopped = seen == WaitOutcome::stopped;
    break;
  }
  session.timer().stop();
  if (!stopped) return false;
  session.note_stop(tracee);
  // At once: were we killed before, the program would see the EINTR.
  Registers registers{};
  if (read_registers_if_alive(tracee, registers) && was_interrupted(registers) &&
      rewind_call(session.memory(), tracee.tgid, tracee.tid, tracee.sleep, registers))
    write_registers_if_alive(tracee, registers);
  // From a group stop a tracee can be made to run alone; afterwards it is found in it again.
  if (tracee.kind == StopKind::trap || tracee.kind == StopKind::group) return true;
  resume(tracee);  // a signal first, then again
  return false;
}

}  // namespace

Status SessionImpl::with_borrowed(const BorrowOptions& options,
                                  const std::function<Status(Borrowed&)>& use) {
  if (!gadgets_) {
    TRY(gadgets_, find_gadgets(memory_));
    prepare_signal_frames();
  }
  uint64_t deadline = monotonic_us() + options.find_us_max;
  Error last = make_error(ErrorCode::busy, fmt::format("process {}", pid()),
                          "no thread of it could be stopped; try again later");
  for (;;) {
    pump();
    TRY_STATUS(check_alive());
    TRY(Maps maps, Maps::read(pid()));
    std::vector<std::pair<int, pid_t>> candidates;
    size_t looked_at = 0;
    for (Tracee& tracee : tracees_) {
      if (tracee.tgid != pid() || tracee.state != TraceeState::running) continue;
      if (looked_at++ < sleepers_looked_at_max)
        observe_sleep(memory_, tracee.tgid, tracee.tid, tracee.sleep);
      candidates.emplace_back(rank(tracee.sleep), tracee.tid);
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& candidate : candidates) {
      pid_t tid = candidate.second;
      auto found = std::find_if(tracees_.begin(), tracees_.end(),
                                [&](const Tracee& t) { return t.tid == tid; });
      auto status = read_status(tid);
      if (!status.ok()) continue;
      constexpr uint64_t stop_us_max = 50'000;
      Urgent urgent;
      if (!stop_one(*this, *found, std::min(deadline, monotonic_us() + stop_us_max))) continue;
      std::optional<Borrowed> thread;
      thread.emplace(*this, *found, *gadgets_, options, maps, status->seccomp != 0);
      Status taken = thread->take();
      if (taken.ok()) return use(*thread);
      last = taken.take_error();
      thread.reset();
      if (last.code == ErrorCode::process_died) TRY_STATUS(check_alive());
      if (monotonic_us() > deadline) return last;
    }
    if (monotonic_us() > deadline) return last;
    TRY_STATUS(idle(find_pause_us));
  }
}

Status SessionImpl::borrow(const BorrowOptions& options,
                           const std::function<Status(BorrowedThread&)>& work) {
  return with_borrowed(options, [&](Borrowed& thread) -> Status {
    TRY_STATUS(thread.lay_frame());
    return work(thread);
  });
}

Status SessionImpl::write(RemoteAddress to, ByteView bytes) {
  Status written = memory_.write(to, bytes);
  if (written.ok() || written.error().code != ErrorCode::permission) return written;
  return with_borrowed({}, [&](Borrowed& thread) { return thread.write(to, bytes); });
}

Status SessionImpl::make_calls(std::span<const RemoteSyscall> calls,
                               const std::function<bool()>& done) {
  if (calls.empty()) return ok_status();
  TRY_STATUS(with_borrowed({}, [&](Borrowed& thread) { return thread.make_calls(calls); }));
  uint64_t deadline = monotonic_us() + syscall_us_max;
  while (!done()) {
    ::usleep(done_pause_us);  // the CPU may be the one that the thread needs
    pump();
    TRY_STATUS(check_alive());
    if (monotonic_us() > deadline)
      return make_error(ErrorCode::refused, fmt::format("process {}", pid()),
                        "system call {} made in it had no effect (out of memory or of mappings?)",
                        calls.back().number);
  }
  return ok_status();
}

}  // namespace livecare::remote
