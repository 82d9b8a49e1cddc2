#include "remote/session.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "remote/borrow.h"
#include "remote/maps.h"
#include "remote/status.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

constexpr const char* counting = R"(
  #include <pthread.h>
  #include <stdio.h>
  #include <unistd.h>
  volatile unsigned long counter;
  static void *sleeper(void *p) { pause(); return p; }
  int main(void) {
    for (int i = 0; i < 5; i++) { pthread_t t; pthread_create(&t, 0, sleeper, 0); }
    printf("ready\n"); printf("%p\n", (void *)&counter); fflush(stdout);
    for (;;) counter++;
  })";

RemotePtr<uint64_t> address_line(Target& target) {
  return RemotePtr<uint64_t>(std::stoull(target.line(), nullptr, 16));
}

uint64_t value_at(pid_t pid, RemotePtr<uint64_t> at) {
  auto memory = Memory::open(pid);
  if (!memory.ok()) return 0;
  auto value = memory->read_value(at);
  return value.ok() ? *value : 0;
}

TEST(Session, StopsEveryThreadAndLetsThemRunOn) {
  Target target = Target::start(counting);
  auto counter = address_line(target);
  uint64_t first = 0, second = 1, threads = 0;
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    for (int i = 0; i < 3; ++i) {
      TRY(StopReport report, session.stop({}, [&](StoppedProcess& process) -> Status {
        threads = process.tasks().size();
        TRY(first, process.memory().read_value(counter));
        ::usleep(2000);
        TRY(second, process.memory().read_value(counter));
        for (const StoppedTask& task : process.tasks()) {
          EXPECT_TRUE(task.stack_complete);
          EXPECT_GT(task.stack.size(), 64u);
        }
        return ok_status();
      }));
      EXPECT_EQ(report.tasks, 6u);
      EXPECT_GT(report.stop_us, 2000u);
    }
    return ok_status();
  });
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_EQ(threads, 6u);
  EXPECT_EQ(first, second);
  uint64_t before = value_at(target.pid(), counter);
  ::usleep(20000);
  EXPECT_GT(value_at(target.pid(), counter), before);
  EXPECT_EQ(read_status(target.pid())->tracer, 0);
}

TEST(Session, RunsSystemCallsOnABorrowedThread) {
  Target target = Target::start(counting);
  auto counter = address_line(target);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow({}, [&](BorrowedThread& thread) -> Status {
      TRY(uint64_t pid, thread.syscall(SYS_getpid, {}));
      EXPECT_EQ(static_cast<pid_t>(pid), target.pid());
      TRY(uint64_t page, thread.syscall(SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC,
                                                   MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0}));
      TRY_STATUS(thread.write(RemoteAddress(page), ByteView("code")));
      auto failed = thread.syscall(SYS_munmap, {1, 2, 0});
      EXPECT_FALSE(failed.ok());
      TRY(Maps maps, Maps::read(target.pid()));
      EXPECT_NE(maps.find(RemoteAddress(page)), nullptr);
      TRY_STATUS(thread.syscall(SYS_munmap, {page, 4096}).ok()
                     ? ok_status()
                     : Status(make_error(ErrorCode::io, "", "munmap")));
      return ok_status();
    });
  });
  ASSERT_TRUE(outcome.ok()) << outcome.error().text();
  uint64_t before = value_at(target.pid(), counter);
  ::usleep(20000);
  EXPECT_GT(value_at(target.pid(), counter), before);
  for (pid_t tid : read_threads(target.pid())) {
    EXPECT_EQ(read_status(tid)->tracer, 0);
    if (tid != target.pid()) {
      EXPECT_EQ(read_sleep_place(target.pid(), tid)->number, SYS_pause);
    }
  }
}

}  // namespace
}  // namespace livecare::remote
