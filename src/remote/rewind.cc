#include "remote/rewind.h"

#include <sys/syscall.h>

#include <cerrno>

namespace livecare::remote {

namespace {

constexpr uint64_t erestartnohand = 514;  // include/linux/errno.h, never seen by user space

bool returns_eintr(uint64_t number) {
  switch (number) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_rt_sigtimedwait:
    case SYS_io_getevents:
    case SYS_io_pgetevents:
    case SYS_io_uring_enter:
    case SYS_msgsnd:
    case SYS_msgrcv:
    case SYS_futex_waitv:
    case SYS_read:
    case SYS_readv:
    case SYS_write:
    case SYS_writev:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
      return true;
    default:
      return false;
  }
}

}  // namespace

void observe_sleep(pid_t pid, pid_t tid, Sleep& sleep) {
  auto place = read_sleep_place(pid, tid);
  sleep.place = place.ok() ? *place : SleepPlace();
}

bool was_interrupted(const Registers& registers) {
  return static_cast<int64_t>(registers.orig_rax) >= 0 &&
         static_cast<int64_t>(registers.rax) == -EINTR && returns_eintr(registers.orig_rax);
}

bool rewind_call(const Memory&, pid_t, pid_t, const Sleep&, Registers& registers) {
  if (!was_interrupted(registers)) return false;
  registers.rax = -erestartnohand;
  return true;
}

void rewind_timed(const Memory&, const Sleep&, Registers&) {}

}  // namespace livecare::remote
