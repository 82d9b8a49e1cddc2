// Each system call that signal(7) says is never restarted, in a program that is stopped again and
// again: it must see no EINTR, wait as long as it asked for, and get what arrives meanwhile.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/clock.h"
#include "remote/borrow.h"
#include "remote/session.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

constexpr int wait_ms = 300;
constexpr int late_ms = 250;  // a loaded machine

// setup: declarations and set-up in main; call: an expression of type long that waits WAIT ms for
// an event; event: what makes it happen, in another thread.
struct Case {
  const char* name;
  const char* globals;
  const char* setup;
  const char* call;
  const char* event;
  long timed_out;  // value of the expression when the time is over; LONG_MIN: it has no limit
  int timeout_errno;
  long arrived;
};

constexpr const char* head = R"(
  #define _GNU_SOURCE
  #include <errno.h>
  #include <netinet/in.h>
  #include <poll.h>
  #include <pthread.h>
  #include <signal.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>
  #include <sys/epoll.h>
  #include <sys/eventfd.h>
  #include <sys/ipc.h>
  #include <sys/mman.h>
  #include <sys/msg.h>
  #include <sys/select.h>
  #include <sys/sem.h>
  #include <sys/socket.h>
  #include <sys/syscall.h>
  #include <sys/time.h>
  #include <sys/un.h>
  #include <time.h>
  #include <unistd.h>
  #include <linux/aio_abi.h>
  #include <linux/futex.h>
  #include <linux/time_types.h>
  static long wait_for = WAIT;
  static struct timespec span(void) {
    return (struct timespec){wait_for / 1000, wait_for % 1000 * 1000000};
  }
  static double now(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
  }
  static pthread_t main_thread;
)";

constexpr const char* tail = R"(
  static void *later(void *p) { usleep(WAIT * 1000); EVENT; return p; }
  int main(void) {
    main_thread = pthread_self();
    SETUP;
    printf("ready\n"); fflush(stdout);
    if (TIMED) {
      double begin = now(); errno = 0; long r = CALL; int e = errno;
      printf("%ld %d %.0f\n", r, e, now() - begin); fflush(stdout);
    }
    wait_for = 20000;
    pthread_t t; pthread_create(&t, 0, later, 0);
    double begin = now(); errno = 0; long r = CALL; int e = errno;
    printf("%ld %d %.0f\n", r, e, now() - begin); fflush(stdout);
    pthread_join(t, 0);
    return 0;
  }
)";

// What a program prints.
struct Seen {
  long value = 0;
  int error = -1;
  long ms = -1;
};

// Stops the process, and borrows its threads, until it prints a line.
Seen disturb(Target& target, bool borrow) {
  Seen seen;
  uint64_t end = monotonic_us() + 15'000'000;
  int stops = 0;
  while (monotonic_us() < end) {
    Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
      for (int i = 0; i < 3; ++i) {
        TRY(StopReport report, session.stop({}, [](StoppedProcess&) { return ok_status(); }));
        stops += report.tasks > 0;
        if (borrow) {
          TRY_STATUS(session.borrow({}, [&](BorrowedThread& thread) -> Status {
            TRY(uint64_t pid, thread.syscall(SYS_getpid, {}));
            return static_cast<pid_t>(pid) == target.pid()
                       ? ok_status()
                       : Status(make_error(ErrorCode::internal, "", "pid"));
          }));
        }
        TRY_STATUS(session.idle(10'000));
      }
      return ok_status();
    });
    std::string text = target.line(0);
    if (!text.empty()) {
      std::istringstream(text) >> seen.value >> seen.error >> seen.ms;
      break;
    }
    EXPECT_TRUE(outcome.ok()) << outcome.error().text();
    if (!outcome.ok()) break;
    ::usleep(10'000);
  }
  EXPECT_GT(stops, 2);
  return seen;
}

std::string source_of(const Case& one) {
  auto define = [](std::string_view name, std::string_view value) {
    return fmt::format("#define {} {}\n", name, value);
  };
  bool timed = one.timed_out != LONG_MIN;
  return define("WAIT", std::to_string(wait_ms)) + define("EVENT", one.event) +
         define("SETUP", one.setup) + define("CALL", one.call) +
         define("TIMED", timed ? "1" : "0") + head + one.globals + tail;
}

void check(const Case& one, bool borrow) {
  SCOPED_TRACE(one.name);
  Target target = Target::start(source_of(one));
  if (one.timed_out != LONG_MIN) {
    Seen seen = disturb(target, borrow);
    EXPECT_EQ(seen.value, one.timed_out);
    EXPECT_EQ(seen.error, one.timeout_errno);
    EXPECT_GE(seen.ms, wait_ms - 2);
    EXPECT_LE(seen.ms, wait_ms + late_ms);
  }
  Seen seen = disturb(target, borrow);
  EXPECT_EQ(seen.value, one.arrived);
  EXPECT_EQ(seen.error, 0);
  EXPECT_GE(seen.ms, wait_ms - 50);
  EXPECT_LE(seen.ms, wait_ms + late_ms);
  EXPECT_EQ(target.wait(), 0);
}

constexpr const char* event_fd =
    "static int fd, ep; static struct epoll_event ev, got;\n"
    "static sigset_t set; static struct timespec ts;\n";
constexpr const char* event_fd_setup =
    "fd = eventfd(0, 0); ep = epoll_create1(0); ev.events = EPOLLIN; epoll_ctl(ep, 1, fd, &ev); "
    "sigemptyset(&set)";
constexpr const char* event_fd_event =
    "{ unsigned long one = 1; if (write(fd, &one, 8) != 8) abort(); }";
constexpr const char* semaphore =
    "static int id; static struct sembuf down = {0, -1, 0}, up = {0, 1, 0};\n"
    "static struct timespec ts;\n";
constexpr const char* semaphore_setup = "id = semget(IPC_PRIVATE, 1, 0600)";
constexpr const char* semaphore_event = "semop(id, &up, 1); usleep(50000); semctl(id, 0, IPC_RMID)";
constexpr const char* signal_wait =
    "static sigset_t set; static struct timespec ts; static siginfo_t info;\n";
constexpr const char* signal_wait_setup =
    "sigemptyset(&set); sigaddset(&set, SIGUSR2); sigprocmask(SIG_BLOCK, &set, 0)";
constexpr const char* queue =
    "static int id; static struct { long type; char text[8]; } m = {1, \"x\"};\n";
constexpr const char* futex_word = "static int word; static struct timespec ts;\n";

const Case epoll_cases[] = {
    {"epoll_wait", event_fd, event_fd_setup, "epoll_wait(ep, &got, 1, wait_for)", event_fd_event, 0,
     0, 1},
    {"epoll_pwait", event_fd, event_fd_setup, "epoll_pwait(ep, &got, 1, wait_for, &set)",
     event_fd_event, 0, 0, 1},
    {"epoll_pwait2", event_fd, event_fd_setup,
     "(ts = span(), syscall(441, ep, &got, 1, &ts, &set, 8))", event_fd_event, 0, 0, 1},
};

const Case ipc_cases[] = {
    {"semop", semaphore, semaphore_setup, "semop(id, &down, 1)", semaphore_event, LONG_MIN, 0, 0},
    {"semtimedop", semaphore, semaphore_setup, "(ts = span(), semtimedop(id, &down, 1, &ts))",
     semaphore_event, -1, EAGAIN, 0},
    {"msgrcv", queue, "id = msgget(IPC_PRIVATE, 0600)", "msgrcv(id, &m, 8, 0, 0)",
     "msgsnd(id, &m, 8, 0); usleep(50000); msgctl(id, IPC_RMID, 0)", LONG_MIN, 0, 8},
    {"msgsnd", queue, "id = msgget(IPC_PRIVATE, 0600); while (msgsnd(id, &m, 8, IPC_NOWAIT) == 0)",
     "msgsnd(id, &m, 8, 0)",
     "{ char b[64]; msgrcv(id, b, 8, 0, 0); usleep(50000); msgctl(id, IPC_RMID, 0); }", LONG_MIN, 0,
     0},
};

const Case signal_cases[] = {
    {"sigtimedwait", signal_wait, signal_wait_setup,
     "(ts = span(), sigtimedwait(&set, &info, &ts))", "pthread_kill(main_thread, SIGUSR2)", -1,
     EAGAIN, SIGUSR2},
    {"sigwaitinfo", signal_wait, signal_wait_setup, "sigwaitinfo(&set, &info)",
     "pthread_kill(main_thread, SIGUSR2)", LONG_MIN, 0, SIGUSR2},
};

// The limit of 20 seconds (SO_RCVTIMEO, SO_SNDTIMEO) is what makes the kernel answer EINTR.
constexpr const char* sockets =
    "static int s[2], l; static char b[4096]; static struct timeval tv = {20, 0};\n"
    "static struct iovec iov = {b, 1}; static struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = "
    "1};\n"
    "static struct sockaddr_un name; static socklen_t len = sizeof name;\n"
    "static void limit(int fd) { setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);\n"
    "  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv); }\n"
    "static void put(void) { if (write(s[1], b, 1) != 1) abort(); }\n"
    "static void drain(void) { for (int i = 0; i < 200; i++) if (recv(s[1], b, 4096, MSG_DONTWAIT) "
    "< 0) break; }\n"
    "static void fill(void) { while (send(s[0], b, 4096, MSG_DONTWAIT) > 0); }\n"
    "static void hear(void) { l = socket(AF_UNIX, SOCK_STREAM, 0); name.sun_family = AF_UNIX;\n"
    "  bind(l, (void *)&name, 2); getsockname(l, (void *)&name, &len); listen(l, 0); limit(l); }\n"
    "static int reach(void) { int c = socket(AF_UNIX, SOCK_STREAM, 0); limit(c);\n"
    "  return connect(c, (void *)&name, len); }\n";
constexpr const char* pair_setup = "socketpair(AF_UNIX, SOCK_STREAM, 0, s); limit(s[0])";
constexpr const char* full_setup = "socketpair(AF_UNIX, SOCK_STREAM, 0, s); limit(s[0]); fill()";

const Case socket_cases[] = {
    {"read", sockets, pair_setup, "read(s[0], b, 1)", "put()", LONG_MIN, 0, 1},
    {"recv", sockets, pair_setup, "recv(s[0], b, 1, 0)", "put()", LONG_MIN, 0, 1},
    {"recvmsg", sockets, pair_setup, "recvmsg(s[0], &msg, 0)", "put()", LONG_MIN, 0, 1},
    {"write", sockets, full_setup, "write(s[0], b, 1)", "drain()", LONG_MIN, 0, 1},
    {"send", sockets, full_setup, "send(s[0], b, 1, 0)", "drain()", LONG_MIN, 0, 1},
    {"sendmsg", sockets, full_setup, "sendmsg(s[0], &msg, 0)", "drain()", LONG_MIN, 0, 1},
    {"accept", sockets, "hear()", "(accept(l, 0, 0) > 0)", "reach()", LONG_MIN, 0, 1},
    {"connect", sockets, "hear(); reach()", "reach()", "accept(l, 0, 0)", LONG_MIN, 0, 0},
};

// The limit of the socket is that of the test: it counts from the call, not from the last stop.
constexpr const char* within =
    "(tv.tv_sec = wait_for / 1000, tv.tv_usec = wait_for % 1000 * 1000, ";
const std::string limited_calls[] = {
    within + std::string("limit(s[0]), recv(s[0], b, 1, 0))"),
    within + std::string("limit(s[0]), send(s[0], b, 1, 0))"),
    within + std::string("limit(l), (accept(l, 0, 0) > 0 ? 1 : -1))"),
    within + std::string("reach())"),
};
const Case limited_cases[] = {
    {"recv", sockets, pair_setup, limited_calls[0].c_str(), "put()", -1, EAGAIN, 1},
    {"send", sockets, full_setup, limited_calls[1].c_str(), "drain()", -1, EAGAIN, 1},
    {"accept", sockets, "hear()", limited_calls[2].c_str(), "(tv.tv_sec = 20, reach())", -1, EAGAIN,
     1},
    {"connect", sockets, "hear(); reach()", limited_calls[3].c_str(), "accept(l, 0, 0)", -1, EAGAIN,
     0},
};

const Case aio_cases[] = {
    {"io_getevents",
     "static aio_context_t ctx; static struct io_event got[1]; static int fd;\n"
     "static struct timespec ts; static struct iocb cb, *cbs[1] = {&cb};\n",
     "syscall(SYS_io_setup, 4, &ctx); fd = eventfd(0, 0); cb.aio_fildes = fd; "
     "cb.aio_lio_opcode = 5; cb.aio_buf = POLLIN; syscall(SYS_io_submit, ctx, 1, cbs)",
     "(ts = span(), syscall(SYS_io_getevents, ctx, 1, 1, got, &ts))", event_fd_event, 0, 0, 1},
};

// The kernel restarts these by itself; we must not spoil it.
const Case restarted_cases[] = {
    {"poll", "static struct pollfd p; static int fd;\n",
     "fd = p.fd = eventfd(0, 0); p.events = POLLIN", "poll(&p, 1, wait_for)", event_fd_event, 0, 0,
     1},
    {"ppoll", "static struct pollfd p; static int fd; static struct timespec ts;\n",
     "fd = p.fd = eventfd(0, 0); p.events = POLLIN", "(ts = span(), ppoll(&p, 1, &ts, 0))",
     event_fd_event, 0, 0, 1},
    {"futex", futex_word, "", "(ts = span(), syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, 0, 0))",
     "syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0)", -1, ETIMEDOUT, 0},
    {"pause", "static void handler(int s) { (void)s; }\n", "signal(SIGUSR1, handler)",
     "(pause() == -1 && errno == EINTR ? errno = 0, 1L : 2L)", "pthread_kill(main_thread, SIGUSR1)",
     LONG_MIN, 0, 1},
};

TEST(Rewind, Epoll) {
  for (const Case& one : epoll_cases) check(one, false);
}
TEST(Rewind, SystemVIpc) {
  for (const Case& one : ipc_cases) check(one, false);
}
TEST(Rewind, SignalWaits) {
  for (const Case& one : signal_cases) check(one, false);
}
TEST(Rewind, Sockets) {
  for (const Case& one : socket_cases) check(one, false);
}
TEST(Rewind, SocketsWithALimit) {
  for (const Case& one : limited_cases) check(one, false);
}

// What a single stop costs: the wait is longer by what it had waited before, and no more.
TEST(Rewind, ALimitOfASocketBeginsAnewOnce) {
  Case one = limited_cases[0];
  Target target = Target::start(source_of(one));
  ::usleep(wait_ms / 2 * 1000);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    TRY(StopReport report, session.stop({}, [](StoppedProcess&) { return ok_status(); }));
    EXPECT_EQ(report.rewound, 1u);
    return ok_status();
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  Seen seen;
  std::istringstream(target.line()) >> seen.value >> seen.error >> seen.ms;
  EXPECT_EQ(seen.value, -1);
  EXPECT_EQ(seen.error, EAGAIN);
  EXPECT_GE(seen.ms, wait_ms - 2);
  EXPECT_LE(seen.ms, wait_ms + wait_ms / 2 + late_ms);
}

TEST(Rewind, AsynchronousIo) {
  for (const Case& one : aio_cases) check(one, false);
}
TEST(Rewind, CallsThatTheKernelRestarts) {
  for (const Case& one : restarted_cases) check(one, false);
}

// A thread that would show EINTR if we were killed is not left so while all others are stopped.
TEST(Rewind, ThreadsAreNotExposedForLong) {
  Target target = Target::start(R"(
    #include <pthread.h>
    #include <stdio.h>
    #include <sys/epoll.h>
    #include <unistd.h>
    static void *wait_long(void *p) {
      struct epoll_event event;
      int ep = epoll_create1(0);
      for (;;) if (epoll_wait(ep, &event, 1, -1) < 0) { printf("EINTR\n"); fflush(stdout); }
      return p;
    }
    int main(void) {
      pthread_t thread;
      for (int i = 0; i < 100; i++) pthread_create(&thread, 0, wait_long, 0);
      usleep(50000);
      printf("ready\n"); fflush(stdout);
      for (;;) pause();
    })",
                                {"-lpthread"});
  std::vector<uint64_t> exposed, gathered;
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    for (int i = 0; i < 31; ++i) {
      TRY(StopReport report, session.stop({}, [](StoppedProcess&) { return ok_status(); }));
      EXPECT_EQ(report.rewound, 100u);
      exposed.push_back(report.exposed_us);
      gathered.push_back(report.gather_us);
      TRY_STATUS(session.idle(5'000));
    }
    return ok_status();
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  std::sort(exposed.begin(), exposed.end());
  std::sort(gathered.begin(), gathered.end());
  // The shortest of each: whoever else wants the CPU only adds to them.
  EXPECT_LT(exposed[0], gathered[0] / 2);
  RecordProperty("exposed_us", static_cast<int>(exposed[15]));
  RecordProperty("gathered_us", static_cast<int>(gathered[15]));
  EXPECT_EQ(target.line(50), "");
}

// The borrowed thread is the one that waits, or the other one; both must not notice.
TEST(Rewind, BorrowedThreads) {
  for (const Case& one : epoll_cases) check(one, true);
  for (const Case& one : signal_cases) check(one, true);
  for (const Case& one : restarted_cases) check(one, true);
  check(ipc_cases[1], true);
}

}  // namespace
}  // namespace livecare::remote
