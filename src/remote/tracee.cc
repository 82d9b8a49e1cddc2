#include "remote/tracee.h"

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/file_system.h"
#include "remote/status.h"

namespace livecare::remote {

namespace {

void* as_data(int value) {
  return reinterpret_cast<void*>(static_cast<intptr_t>(value));
}

bool is_stop_signal(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

void classify(Tracee& tracee, int status) {
  int signal = status & 0xff;
  int event = status >> 8;
  tracee.state = TraceeState::stopped;
  tracee.signal = 0;
  if (event == PTRACE_EVENT_STOP) {
    tracee.kind = is_stop_signal(signal) ? StopKind::group : StopKind::trap;
    tracee.interrupt_due = false;
  } else if (event == PTRACE_EVENT_EXEC) {
    tracee.kind = StopKind::exec;
  } else if (event != 0) {
    tracee.kind = StopKind::trap;
  } else if (signal == (SIGTRAP | 0x80)) {
    tracee.kind = StopKind::syscall;
  } else {
    tracee.kind = StopKind::signal;
    tracee.signal = signal;
  }
}

Error seize_error(const Tracee& tracee, int saved_errno) {
  std::string object = fmt::format("thread {} of process {}", tracee.tid, tracee.tgid);
  if (saved_errno != EPERM && saved_errno != EACCES)
    return errno_error(object, "cannot be traced", saved_errno);
  auto status = read_status(tracee.tid);
  if (status.ok() && status->tracer != 0) return traced_error(object, status->tracer);
  auto scope = read_proc("/proc/sys/kernel/yama/ptrace_scope");
  if (scope.ok() && scope->starts_with('3'))
    return make_error(ErrorCode::permission, object,
                      "cannot be traced: kernel.yama.ptrace_scope is 3, which forbids it to "
                      "everybody until the next boot");
  return make_error(
      ErrorCode::permission, object,
      "cannot be traced: the kernel denies it; CAP_SYS_PTRACE in the user namespace "
      "of the process is needed, and no security module or seccomp filter in the way");
}

}  // namespace

Result<bool> seize_if_alive(Tracee& tracee) {
  constexpr uintptr_t options = PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
  if (::ptrace(PTRACE_SEIZE, tracee.tid, nullptr, reinterpret_cast<void*>(options)) == 0) {
    tracee.state = TraceeState::running;
    return true;
  }
  int saved = errno;
  tracee.state = TraceeState::gone;
  if (saved == ESRCH) return false;
  switch (task_kind(tracee.tgid, tracee.tid)) {
    case TaskKind::ended:
      return false;
    case TaskKind::kernel_worker:
      tracee.state = TraceeState::worker;
      return true;
    case TaskKind::ordinary:
      break;
  }
  return seize_error(tracee, saved);
}

void interrupt(Tracee& tracee) {
  if (::ptrace(PTRACE_INTERRUPT, tracee.tid, nullptr, nullptr) == 0) tracee.interrupt_due = true;
}

WaitOutcome wait_if_alive(Tracee& tracee, bool blocking) {
  siginfo_t info;
  info.si_pid = 0;
  int options = WSTOPPED | WEXITED | WNOWAIT | __WALL | (blocking ? 0 : WNOHANG);
  if (::waitid(P_PID, static_cast<id_t>(tracee.tid), &info, options) != 0) {
    if (errno == EINTR) {
      // A first thread that was killed is a zombie, but not reported as long as others of its
      // process have not been waited for; and that is up to us too.
      auto status = read_status(tracee.tid);
      bool ended = !status.ok() || status->state == 'Z' || status->state == 'X';
      if (!ended) return WaitOutcome::nothing_yet;
    }
    tracee.state = TraceeState::gone;
    return WaitOutcome::gone;
  }
  if (info.si_pid == 0) return WaitOutcome::nothing_yet;
  if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) {
    tracee.state = TraceeState::gone;
    // What has ended is reaped by its tracer, and the kernel then tells the real parent; only when
    // that parent is ourselves it must stay for whoever waits for it.
    auto status = read_status(tracee.tid);
    if (tracee.tid != tracee.tgid || !status.ok() || status->parent != ::getpid())
      ::waitid(P_PID, static_cast<id_t>(tracee.tid), &info, WEXITED | WNOHANG | __WALL);
    return WaitOutcome::gone;
  }
  classify(tracee, info.si_status);
  return WaitOutcome::stopped;
}

bool read_registers_if_alive(const Tracee& tracee, Registers& registers) {
  return ::ptrace(PTRACE_GETREGS, tracee.tid, nullptr, &registers) == 0;
}

bool write_registers_if_alive(const Tracee& tracee, const Registers& registers) {
  return ::ptrace(PTRACE_SETREGS, tracee.tid, nullptr, &registers) == 0;
}

void resume(Tracee& tracee) {
  if (tracee.state != TraceeState::stopped) return;
  tracee.state = TraceeState::running;
  auto request = tracee.kind == StopKind::group ? PTRACE_LISTEN : PTRACE_CONT;
  // It fails only for a task that was killed meanwhile: the next wait sees its end.
  ::ptrace(request, tracee.tid, nullptr, as_data(tracee.signal));
}

void detach(Tracee& tracee) {
  if (tracee.state != TraceeState::stopped) return;
  tracee.state = TraceeState::gone;
  ::ptrace(PTRACE_DETACH, tracee.tid, nullptr, as_data(tracee.signal));
}

}  // namespace livecare::remote
