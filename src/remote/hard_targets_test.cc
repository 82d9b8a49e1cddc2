// Processes that do not hold still: threads that come and go, vfork, shared memory, signals, stops,
// tracers, seccomp, other programs, sudden ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/clock.h"
#include "remote/borrow.h"
#include "remote/session.h"
#include "remote/status.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

using Work = std::function<Status(StoppedProcess&)>;

Status stop_once(pid_t pid, const Work& work, const StopOptions& options = {}) {
  return with_session(pid, {}, [&](Session& session) -> Status {
    TRY(StopReport report, session.stop(options, work));
    return report.tasks > 0 ? ok_status() : Status(make_error(ErrorCode::internal, "", "none"));
  });
}

// Nothing of the process may change while it is stopped.
Work stands_still(RemotePtr<uint64_t> counter, int us = 3000) {
  return [=](StoppedProcess& process) -> Status {
    TRY(uint64_t before, process.memory().read_value(counter));
    ::usleep(static_cast<useconds_t>(us));
    TRY(uint64_t after, process.memory().read_value(counter));
    EXPECT_EQ(before, after);
    return ok_status();
  };
}

RemotePtr<uint64_t> counter_of(Target& target) {
  return RemotePtr<uint64_t>(std::stoull(target.line(), nullptr, 16));
}

bool advances(pid_t pid, RemotePtr<uint64_t> counter) {
  auto memory = Memory::open(pid);
  if (!memory.ok()) return false;
  uint64_t before = memory->read_value(counter).value();
  for (int i = 0; i < 3000; ++i) {
    ::usleep(1000);
    if (memory->read_value(counter).value() > before) return true;
  }
  return false;
}

TEST(HardTargets, ThreadsThatComeAndGo) {
  Target target = Target::start(R"(
    #include <pthread.h>
    #include <stdio.h>
    unsigned long counter;
    static void *shortly(void *p) { __atomic_add_fetch(&counter, 1, 5); return p; }
    static void *maker(void *p) {
      for (;;) { pthread_t t; if (!pthread_create(&t, 0, shortly, 0)) pthread_join(t, 0); }
      return p;
    }
    int main(void) {
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      pthread_t t; for (int i = 0; i < 3; i++) pthread_create(&t, 0, maker, 0);
      maker(0);
    })");
  auto counter = counter_of(target);
  for (int i = 0; i < 20; ++i) {
    Status outcome = stop_once(target.pid(), stands_still(counter, 1000));
    ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  }
  EXPECT_TRUE(advances(target.pid(), counter));
}

constexpr const char* sharing = R"(
  #include <sched.h>
  #include <signal.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <sys/wait.h>
  #include <unistd.h>
  volatile unsigned long counter;
  static int count(void *p) { for (;;) counter++; return p != 0; }
  int main(void) {
    printf("ready\n%p\n", (void *)&counter); fflush(stdout);
    clone(count, (char *)malloc(65536) + 65536, FLAGS, 0);
    for (;;) pause();
  })";

TEST(HardTargets, AVforkChildIsStoppedWithItsSleepingParent) {
  Target target = Target::start(sharing, {"-DFLAGS=CLONE_VM|CLONE_VFORK|SIGCHLD"});
  auto counter = counter_of(target);
  ASSERT_TRUE(advances(target.pid(), counter));
  bool parent_seen = false;
  Status outcome = stop_once(target.pid(), [&](StoppedProcess& process) -> Status {
    EXPECT_EQ(process.tasks().size(), 2u);
    for (const StoppedTask& task : process.tasks())
      parent_seen |= task.in_vfork && task.tid == target.pid() && task.stack_complete;
    return stands_still(counter)(process);
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(parent_seen);
  EXPECT_TRUE(advances(target.pid(), counter));
}

TEST(HardTargets, AProcessThatSharesTheMemoryIsStopped) {
  Target target = Target::start(sharing, {"-DFLAGS=CLONE_VM|SIGCHLD"});
  auto counter = counter_of(target);
  ASSERT_TRUE(advances(target.pid(), counter));
  Status outcome = stop_once(target.pid(), stands_still(counter));
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(advances(target.pid(), counter));
}

TEST(HardTargets, ProcessesThatAreSpawnedAllTheTime) {
  Target target = Target::start(R"(
    #include <spawn.h>
    #include <stdio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    unsigned long counter;
    int main(void) {
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      char *args[] = {"/bin/true", 0}, *env[] = {0};
      for (;;) {
        pid_t pid; int status;
        if (posix_spawn(&pid, args[0], 0, 0, args, env)) return 1;
        if (waitpid(pid, &status, 0) != pid || status) return 2;
        if ((pid = fork()) == 0) _exit(0);
        if (waitpid(pid, &status, 0) != pid || status) return 3;
        counter++;
      }
    })");
  auto counter = counter_of(target);
  // On a busy machine a child may not come to its exec within the limit: then nothing has happened.
  int too_late = 0;
  for (int i = 0; i < 20; ++i) {
    Status outcome = stop_once(target.pid(), stands_still(counter, 1000));
    bool timed_out = !outcome.ok() && outcome.error().code == ErrorCode::timed_out;
    too_late += timed_out ? 1 : 0;
    ASSERT_TRUE(outcome.ok() || timed_out) << outcome.error().text();
    ASSERT_EQ(target.wait(5), -1) << "the program has seen something";
  }
  EXPECT_LE(too_late, 5);
  EXPECT_TRUE(advances(target.pid(), counter));
}

TEST(HardTargets, EverySignalArrivesOnce) {
  Target target = Target::start(R"(
    #include <signal.h>
    #include <stdio.h>
    #include <unistd.h>
    volatile unsigned long counter;
    static void handler(int s) { (void)s; counter++; }
    int main(void) {
      signal(SIGRTMIN, handler);
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      for (;;) pause();
    })");
  auto counter = counter_of(target);
  uint64_t sent = 0;
  for (int i = 0; i < 10; ++i) {
    Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
      for (int j = 0; j < 5; ++j) {
        TRY(StopReport report, session.stop({}, [&](StoppedProcess&) {
          for (int k = 0; k < 3; ++k) sent += ::kill(target.pid(), SIGRTMIN) == 0;
          return ok_status();
        }));
        sent += ::kill(target.pid(), SIGRTMIN) == 0;
        (void)report;
      }
      return ok_status();
    });
    EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  }
  auto memory = Memory::open(target.pid());
  for (int i = 0; i < 1000 && memory->read_value(counter).value() < sent; ++i) ::usleep(1000);
  EXPECT_EQ(memory->read_value(counter).value(), sent);
}

TEST(HardTargets, AnIgnoredSignalDuringTheSessionIsNotSeen) {
  Target target = Target::start(R"(
    #include <errno.h>
    #include <stdio.h>
    #include <sys/epoll.h>
    int main(void) {
      struct epoll_event e; int ep = epoll_create1(0);
      printf("ready\n"); fflush(stdout);
      int r = epoll_wait(ep, &e, 1, 400);
      printf("%d %d\n", r, r < 0 ? errno : 0);
    })");
  ::usleep(50'000);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    for (int i = 0; i < 10; ++i) {
      ::kill(target.pid(), SIGWINCH);
      TRY_STATUS(session.idle(5000));
    }
    return ok_status();
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_EQ(target.line(), "0 0");
}

TEST(HardTargets, AStoppedProcessStaysStopped) {
  Target target = Target::start(R"(
    #include <stdio.h>
    volatile unsigned long counter;
    int main(void) {
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      for (;;) counter++;
    })");
  auto counter = counter_of(target);
  ::kill(target.pid(), SIGSTOP);
  for (int i = 0; i < 1000 && state_of(target.pid()) != 'T'; ++i) ::usleep(1000);
  ASSERT_EQ(state_of(target.pid()), 'T');
  auto memory = Memory::open(target.pid());
  for (int i = 0; i < 3; ++i) {
    Status outcome = stop_once(target.pid(), stands_still(counter));
    EXPECT_TRUE(outcome.ok()) << outcome.error().text();
    // Let go, a task goes back to its group stop by itself.
    for (int j = 0; j < 1000 && state_of(target.pid()) != 'T'; ++j) ::usleep(1000);
    EXPECT_EQ(state_of(target.pid()), 'T');
    uint64_t before = memory->read_value(counter).value();
    ::usleep(20'000);
    EXPECT_EQ(memory->read_value(counter).value(), before);
  }
  ::kill(target.pid(), SIGCONT);
  EXPECT_TRUE(advances(target.pid(), counter));
}

TEST(HardTargets, ATracedProcessIsRefusedAndTheTracerNamed) {
  Target target = Target::start(
      "#include <stdio.h>\n#include <unistd.h>\n"
      "int main(void) { printf(\"ready\\n\"); fflush(stdout); for (;;) pause(); }");
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr), 0);
  Status outcome = stop_once(target.pid(), [](StoppedProcess&) { return ok_status(); });
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::busy);
  EXPECT_NE(outcome.error().text().find(fmt::format("process {}", ::getpid())), std::string::npos)
      << outcome.error().text();
}

TEST(HardTargets, A32BitProcessIsRefused) {
  // The smallest 32-bit program: mov $29, %eax (pause); int $0x80; jmp back.
  Bytes elf{0x7f, 'E', 'L', 'F', 1, 1, 1};
  elf.resize(52 + 32);
  auto put16 = [&](uint64_t at, uint16_t value) { store_le(elf, at, value); };
  auto put32 = [&](uint64_t at, uint32_t value) { store_le(elf, at, value); };
  put16(16, 2), put16(18, 3), put32(20, 1), put32(24, 0x08048054), put32(28, 52);
  put16(40, 52), put16(42, 32), put16(44, 1);
  put32(52, 1), put32(52 + 8, 0x08048000), put32(52 + 12, 0x08048000);
  put32(52 + 16, 96), put32(52 + 20, 96), put32(52 + 24, 5), put32(52 + 28, 4096);
  for (uint8_t byte : {0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7, 0, 0, 0})
    elf.push_back(static_cast<uint8_t>(byte));
  char name[] = "/tmp/livecare32.XXXXXX";
  int fd = ::mkstemp(name);
  ASSERT_EQ(::write(fd, elf.data(), elf.size()), static_cast<ssize_t>(elf.size()));
  ::fchmod(fd, 0700);
  ::close(fd);
  pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(name, name, nullptr);
    ::pause();  // a kernel without 32-bit support: then this process is a 64-bit one
    ::_exit(1);
  }
  ::usleep(100'000);
  Status outcome = stop_once(pid, [](StoppedProcess&) { return ok_status(); });
  bool executed = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid)) == name;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::unlink(name);
  if (!executed) {
    EXPECT_TRUE(outcome.ok());
    return;
  }
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::unsupported);
  EXPECT_NE(outcome.error().text().find("32-bit"), std::string::npos);
}

TEST(HardTargets, EndsAndOtherProgramsAreNormalOutcomes) {
  for (const char* end : {"_exit(3)", "execl(\"/bin/sleep\", \"sleep\", \"9\", (char *)0)"}) {
    Target target = Target::start(
        fmt::format("#include <stdio.h>\n#include <unistd.h>\n#include <pthread.h>\n"
                    "static void *other(void *p) {{ for (;;) pause(); return p; }}\n"
                    "int main(void) {{ char c; pthread_t t; pthread_create(&t, 0, other, 0);\n"
                    "printf(\"ready\\n\"); fflush(stdout); read(0, &c, 1); {}; }}",
                    end));
    Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
      TRY(StopReport report, session.stop({}, [](StoppedProcess&) { return ok_status(); }));
      EXPECT_EQ(report.tasks, 2u);
      target.send("x");
      TRY_STATUS(session.idle(300'000));
      return ok_status();
    });
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, ErrorCode::process_died) << outcome.error().text();
  }
}

TEST(HardTargets, ASeccompFilterIsSuspendedForABorrowedThread) {
  Target target = Target::start(R"(
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    volatile unsigned long counter;
    int main(void) {
      struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
      struct sock_fprog program = {sizeof code / sizeof *code, code};
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
      for (;;) counter++;
    })");
  auto counter = counter_of(target);
  ASSERT_TRUE(advances(target.pid(), counter));
  EXPECT_EQ(read_status(target.pid())->seccomp, 2);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow({}, [&](BorrowedThread& thread) -> Status {
      TRY(uint64_t page, thread.syscall(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                                                   ~uint64_t{0}, 0}));
      return page != 0 ? ok_status() : Status(make_error(ErrorCode::internal, "", "page"));
    });
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(advances(target.pid(), counter));
}

TEST(HardTargets, TheStopWindowHasAnEnd) {
  // A parent in vfork whose child is not ours to stop: it has executed another program's code but
  // not yet: the child holds still because it is group-stopped before it executes.
  Target target = Target::start(R"(
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    volatile unsigned long counter;
    static int child(void *p) { (void)p; for (;;) pause(); }
    static void *waits(void *p) {
      /* Not CLONE_VM: the child has its own memory, and the parent sleeps uninterruptibly. */
      clone(child, (char *)malloc(65536) + 65536, CLONE_VFORK | SIGCHLD, 0);
      return p;
    }
    int main(void) {
      pthread_t t; pthread_create(&t, 0, waits, 0); usleep(50000);
      printf("ready\n%p\n", (void *)&counter); fflush(stdout);
      for (;;) counter++;
    })");
  auto counter = counter_of(target);
  StopOptions options;
  options.stop_window_us_max = 30'000;
  uint64_t begin = monotonic_us();
  Status outcome = stop_once(
      target.pid(), [](StoppedProcess&) { return ok_status(); }, options);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::timed_out) << outcome.error().text();
  EXPECT_LT(monotonic_us() - begin, 2'000'000u);
  EXPECT_TRUE(advances(target.pid(), counter));
  EXPECT_EQ(read_status(target.pid())->tracer, 0);
}

}  // namespace
}  // namespace livecare::remote
