// Attaching to a process without disturbing it.
//
// The problem. A tracer must hold every task that can run code in the memory to be patched, must
// not change what the process sees (signals, EINTR, stopped states), and must leave no trace when
// it is killed at any instant.
//
// The idea.
// - PTRACE_SEIZE stops nothing and needs no SIGSTOP. Options are only those that change nothing
// when
//   we die: no EXITKILL, and no TRACECLONE: auto-attached threads would start stopped and each
//   clone() would wait for us. New threads are found by looking instead: before the stop until a
//   look finds no new one, and once more inside the stop, when nobody is left who could create one.
// - That last look must be cheap. The link count of /proc/PID/task is the number of threads (one
//   fstat); only when it differs from what we hold is the directory read. Processes that share the
//   memory (vfork, CLONE_VM) are found by kcmp over all processes before the stop, and inside it
//   over the process IDs given out since (the last one is in /proc/loadavg), which are few.
// - Letting go. PTRACE_DETACH wants a stopped tracee, and stopping is what we avoid. When a tracer
//   *thread* ends, the kernel detaches its tracees where they are. So each session runs on a thread
//   of its own.
// - Signals that arrive meanwhile stop the tracee for us; pump() hands each on at once, and idle()
//   pumps while it waits. Long work between pumps would delay them, so the engine plans first and
//   attaches late.
//
// Limits. A process that shares memory by CLONE_VM without CLONE_VFORK, created in the few
// microseconds between two looks and outside the last_pid window, is found because its creator was
// stopped at the border of user mode, so the child was visible by then.
// kcmp needs CONFIG_KCMP; without it, or where a filter forbids it, the process is refused.
//
// Rejected: the cgroup freezer (moves processes between groups, needs one), SIGSTOP (visible to the
// parent), PTRACE_ATTACH (the same), TRACECLONE (above).
#include "remote/session.h"

#include <fcntl.h>
#include <link.h>
#include <linux/kcmp.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "remote/session_impl.h"
#include "remote/status.h"

namespace livecare::remote {

namespace {

constexpr int looks_max = 64;
constexpr uint64_t idle_slice_us = 500;
constexpr uint64_t timer_period_ns = 2'000'000;
// Process IDs shortly before the last one seen may have been given out but not been visible yet.
constexpr uint64_t pids_in_flight_max = 16;
constexpr uint64_t pids_checked_max = 4096;

int timer_signal() {
  return SIGRTMAX - 3;
}

void ignore_signal(int) {}

// Our own code, into our page tables: what is run for the first time in a stop would fault there.
void touch_code() {
  constexpr int populate_read = 22;  // MADV_POPULATE_READ, since 5.14 (4ca9b3859dac)
  auto touch = [](dl_phdr_info* object, size_t, void*) {
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) continue;
      constexpr uint64_t page_bytes = 4096;
      uint64_t start = (object->dlpi_addr + segment.p_vaddr) & ~(page_bytes - 1);
      uint64_t end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
      ::madvise(reinterpret_cast<void*>(start), end - start, populate_read);
    }
    return 0;
  };
  ::dl_iterate_phdr(touch, nullptr);
}

}  // namespace

WaitTimer::WaitTimer() {
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // no SA_RESTART: waits end with EINTR
  ::sigaction(timer_signal(), &action, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = timer_signal();
  event._sigev_un._tid = ::gettid();
  valid_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  LIVECARE_ASSERT(valid_);
}

WaitTimer::~WaitTimer() {
  ::timer_delete(timer_);
}

void WaitTimer::start() {
  itimerspec when{};
  when.it_value.tv_nsec = when.it_interval.tv_nsec = timer_period_ns;
  ::timer_settime(timer_, 0, &when, nullptr);
}

void WaitTimer::stop() {
  itimerspec never{};
  ::timer_settime(timer_, 0, &never, nullptr);
}

Error SessionImpl::died() const {
  if (executed_)
    return make_error(ErrorCode::process_died, fmt::format("process {}", pid()),
                      "has executed another program meanwhile");
  return make_error(ErrorCode::process_died, fmt::format("process {}", pid()), "has ended");
}

Status SessionImpl::check_alive() const {
  if (dead_ || executed_) return died();
  for (const Tracee& tracee : tracees_)
    if (tracee.tgid == pid() && tracee.state != TraceeState::gone &&
        tracee.state != TraceeState::worker)
      return ok_status();
  return died();
}

std::vector<pid_t> SessionImpl::tids() const {
  std::vector<pid_t> ids;
  for (const Tracee& tracee : tracees_)
    if (tracee.state == TraceeState::running || tracee.state == TraceeState::stopped)
      ids.push_back(tracee.tid);
  return ids;
}

bool SessionImpl::knows(pid_t tid) const {
  return std::any_of(tracees_.begin(), tracees_.end(), [&](const Tracee& tracee) {
    return tracee.tid == tid && tracee.state != TraceeState::gone;
  });
}

Status SessionImpl::adopt(pid_t tgid, pid_t tid, size_t& found) {
  if (knows(tid)) return ok_status();
  Tracee tracee;
  tracee.tgid = tgid;
  tracee.tid = tid;
  TRY(bool alive, seize_if_alive(tracee));
  if (!alive) return ok_status();
  tracees_.push_back(tracee);
  ++found;
  return ok_status();
}

Status SessionImpl::adopt_new(size_t& found) {
  last_pid_seen_ = last_pid();
  strangers_.clear();
  std::erase_if(tracees_, [](const Tracee& t) { return t.state == TraceeState::gone; });
  TRY(std::vector<SharedTask> tasks, read_shared_tasks(pid()));
  tracees_.reserve(tracees_.size() + tasks.size() + 256);
  for (const SharedTask& task : tasks) TRY_STATUS(adopt(task.tgid, task.tid, found));
  return ok_status();
}

bool SessionImpl::is_stranger(pid_t pid) const {
  return std::find(strangers_.begin(), strangers_.end(), pid) != strangers_.end();
}

size_t SessionImpl::threads_known() const {
  return static_cast<size_t>(
      std::count_if(tracees_.begin(), tracees_.end(), [&](const Tracee& tracee) {
        return tracee.tgid == pid() && tracee.state != TraceeState::gone;
      }));
}

uint64_t SessionImpl::last_pid() {
  // "0.00 0.01 0.05 1/123 4567"
  char text[128];
  ssize_t got = ::pread(load_average_.get(), text, sizeof(text), 0);
  if (got <= 0) return 0;
  std::string_view line(text, static_cast<size_t>(got));
  line.remove_prefix(line.rfind(' ') + 1);
  uint64_t value = 0;
  std::from_chars(line.data(), line.data() + line.size(), value);
  return value;
}

Status SessionImpl::adopt_new_quick(size_t& found) {
  struct stat info {};
  if (::fstat(task_directory_.get(), &info) != 0) return died();
  if (info.st_nlink < 2 || info.st_nlink - 2 != threads_known()) {
    for (pid_t tid : read_threads(pid())) TRY_STATUS(adopt(pid(), tid, found));
  }
  uint64_t now = last_pid();
  uint64_t from = last_pid_seen_ > pids_in_flight_max ? last_pid_seen_ - pids_in_flight_max : 1;
  if (now < from || now - from > pids_checked_max) return adopt_new(found);
  for (uint64_t id = from; id <= now; ++id) {
    auto other = static_cast<pid_t>(id);
    if (other == pid() || knows(other) || is_stranger(other)) continue;
    long order = ::syscall(SYS_kcmp, pid(), other, KCMP_VM, 0, 0);
    if (order > 0) strangers_.push_back(other);
    if (order != 0) continue;
    auto status = read_status(other);
    if (!status.ok() || status->tgid == pid()) continue;  // a thread: handled above
    for (pid_t tid : read_threads(status->tgid)) TRY_STATUS(adopt(status->tgid, tid, found));
  }
  last_pid_seen_ = now;
  return ok_status();
}

void SessionImpl::note_stop(Tracee& tracee) {
  if (tracee.kind == StopKind::exec && tracee.tgid == pid()) executed_ = true;
}

Status SessionImpl::attach(const SessionOptions& options) {
  uint64_t deadline = monotonic_us() + options.attach_us_max;
  task_directory_ =
      Fd(::open(fmt::format("/proc/{}/task", pid()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  load_average_ = Fd(::open("/proc/loadavg", O_RDONLY | O_CLOEXEC));
  if (!task_directory_.valid()) return died();
  for (int look = 0; look < looks_max; ++look) {
    size_t found = 0;
    TRY_STATUS(adopt_new(found));
    pump();
    TRY_STATUS(check_alive());
    if (found == 0 || monotonic_us() > deadline) break;  // the stop looks again
  }
  return check_alive();
}

void SessionImpl::pump() {
  for (;;) {
    siginfo_t info;
    info.si_pid = 0;
    if (::waitid(P_ALL, 0, &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG | __WALL | __WNOTHREAD) !=
            0 ||
        info.si_pid == 0)
      return;
    auto found = std::find_if(tracees_.begin(), tracees_.end(), [&](const Tracee& tracee) {
      return tracee.tid == info.si_pid && tracee.state != TraceeState::gone;
    });
    if (found == tracees_.end()) return;  // the end of a process that its parent has yet to see
    if (wait_if_alive(*found, false) == WaitOutcome::gone) {
      if (found->tid != pid()) continue;
      dead_ = true;
      return;
    }
    if (found->state != TraceeState::stopped) return;
    note_stop(*found);
    // A signal that the process ignores would not have interrupted it without a tracer.
    Registers registers{};
    if (found->kind == StopKind::signal && read_registers_if_alive(*found, registers) &&
        was_interrupted(registers) &&
        rewind_call(memory_, found->tgid, found->tid, found->sleep, registers))
      write_registers_if_alive(*found, registers);
    resume(*found);
  }
}

Status SessionImpl::idle(uint64_t us) {
  uint64_t end = monotonic_us() + us;
  for (;;) {
    pump();
    TRY_STATUS(check_alive());
    uint64_t now = monotonic_us();
    if (now >= end) return ok_status();
    ::usleep(static_cast<useconds_t>(std::min(end - now, idle_slice_us)));
  }
}

Status with_session(pid_t pid, const SessionOptions& options,
                    const std::function<Status(Session&)>& work) {
  TRY_STATUS(check_patchable(pid));
  touch_code();
  Status outcome = ok_status();
  pid_t tracer = 0;
  std::thread thread([&] {
    tracer = ::gettid();
    auto memory = Memory::open(pid);
    if (!memory.ok()) {
      outcome = memory.take_error();
      return;
    }
    SessionImpl session(std::move(memory).value());
    outcome = session.attach(options);
    if (outcome.ok()) outcome = work(session);
  });
  thread.join();
  // join() returns when the thread's memory is released; the kernel lets go of its tracees a little
  // later, before the thread leaves the process.
  while (::syscall(SYS_tgkill, ::getpid(), tracer, 0) == 0) ::sched_yield();
  return outcome;
}

}  // namespace livecare::remote
