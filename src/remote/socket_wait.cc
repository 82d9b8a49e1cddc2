// A call on a socket with SO_RCVTIMEO or SO_SNDTIMEO ends with EINTR when it is interrupted. Its
// limit of time is a property of the socket, so a rewound call waits for the whole of it again.
//
// What is done. Where the call is known to have waited for its limit, it is not made again but
// returns what it would have returned (EAGAIN, for a TCP connect EINPROGRESS). Otherwise it is
// made again. When it began is noted on the thread's stack, below the red zone, where nothing is
// written while the thread sleeps; so a later stop, also of another run of ours, counts from the
// begin and not from the stop before. The note counts only for the same sleep: same call, PC, SP,
// arguments, and exactly the context switches that one stop makes.
//
// What is left. A wait that was stopped may be longer than its limit by the time that it had waited
// before the last stop; so less than twice the limit, however many stops there are. A TCP connect
// that was rewound and then runs into its limit says EALREADY instead of EINPROGRESS.
//
// Rejected, because what they risk is worse than a late time-out:
// - To shorten the socket's limit until the thread sleeps again. If we are killed meanwhile, the
//   socket has the shorter one for ever; and others who share it wait for too short a time.
// - To have the thread wait in ppoll with the rest of the time, and then make the call with
//   MSG_DONTWAIT. After a signal with a handler the program would see EAGAIN instead of EINTR;
//   a seccomp filter may kill it for ppoll; and the stack under that wait is none that can be
//   walked.
// - Not to interrupt such threads: one that wakes up while jumps are written may execute a jump
//   that is half there.
#include "remote/socket_wait.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "remote/rewind.h"

namespace livecare::remote {

namespace {

constexpr uint64_t note_mark = 0x6e6967654264764c;
constexpr int64_t note_at = 192;  // in the scratch bytes; the times of other calls lie before
constexpr uint64_t ns_per_s = 1'000'000'000;
constexpr uint64_t ns_per_us = 1000;

struct Note {
  uint64_t mark = note_mark;
  uint64_t number = 0;
  uint64_t voluntary = 0;
  uint64_t begun_ns = 0;
};

// SO_RCVTIMEO, SO_SNDTIMEO, or 0 for a call that waits on no socket.
int option_of(int64_t number) {
  switch (number) {
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
      return SO_RCVTIMEO;
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_connect:
      return SO_SNDTIMEO;
    default:
      return 0;
  }
}

RemoteAddress note_address(const SleepPlace& place) {
  return RemoteAddress(place.sp - red_zone_bytes - scratch_bytes) + note_at;
}

}  // namespace

SocketWait socket_wait(pid_t pid, const SleepPlace& place) {
  SocketWait wait;
  int option = place.asleep ? option_of(place.number) : 0;
  if (option == 0) return wait;
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return wait;
  Fd socket(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), place.arguments[0], 0)));
  timeval limit{};
  socklen_t size = sizeof(limit);
  if (!socket.valid() || ::getsockopt(socket.get(), SOL_SOCKET, option, &limit, &size) != 0)
    return wait;
  int domain = 0;
  size = sizeof(domain);
  bool in_progress = place.number == SYS_connect &&
                     ::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                     domain != AF_UNIX;
  wait.limit_ns = static_cast<uint64_t>(limit.tv_sec) * ns_per_s +
                  static_cast<uint64_t>(limit.tv_usec) * ns_per_us;
  wait.over_result = in_progress ? -EINPROGRESS : -EAGAIN;
  return wait;
}

void write_begin(const Memory& memory, const SleepPlace& place, uint64_t voluntary,
                 uint64_t begun_ns) {
  Bytes note;
  append_le(note, note_mark);
  append_le(note, static_cast<uint64_t>(place.number));
  append_le(note, voluntary);
  append_le(note, begun_ns);
  (void)memory.put(note_address(place), note);  // without it the wait is longer
}

std::optional<uint64_t> read_begin(const Memory& memory, const SleepPlace& place,
                                   uint64_t voluntary) {
  auto note = memory.read_value(note_address(place).cast<Note>());
  bool counts = note.ok() && note->mark == note_mark && voluntary != 0 &&
                note->number == static_cast<uint64_t>(place.number) && note->voluntary == voluntary;
  return counts ? std::optional(note->begun_ns) : std::nullopt;
}

}  // namespace livecare::remote
