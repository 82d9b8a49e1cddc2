// Functions called in the target, and calls that go wrong.
#include "remote/borrow.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "remote/maps.h"
#include "remote/session.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

// Counts in main, and offers functions.
constexpr const char* functions = R"(
  #include <errno.h>
  #include <signal.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>
  #include <unistd.h>
  volatile unsigned long counter;
  volatile int handled;
  static void handler(int s) { (void)s; handled++; }
  __attribute__((noinline)) double add(long a, long b, long c, long d, long e, long f) {
    volatile double x = a; char *text = malloc(100000);
    snprintf(text, 100000, "%.3f", x); free(text);
    handled = a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
    return x;
  }
  long sum(long a, long b, long c, long d, long e, long f) { add(a, b, c, d, e, f); return handled; }
  void fault(void) { *(volatile int *)8 = 1; }
  void never(void) { for (;;) ; }
  int main(void) {
    signal(SIGSEGV, handler);
    printf("ready\n%p %p %p %p\n", (void *)&counter, (void *)sum, (void *)fault, (void *)never);
    fflush(stdout);
    volatile double value = 1.5;
    for (;;) { counter++; value = value * 2 / 2; if (value != 1.5) abort(); }
  })";

struct Addresses {
  RemotePtr<uint64_t> counter;
  RemoteAddress sum, fault, never;
};

Addresses addresses_of(Target& target) {
  uint64_t words[4] = {};
  std::string line = target.line();
  EXPECT_EQ(
      std::sscanf(line.c_str(), "%lx %lx %lx %lx", &words[0], &words[1], &words[2], &words[3]), 4);
  return {RemotePtr<uint64_t>(words[0]), RemoteAddress(words[1]), RemoteAddress(words[2]),
          RemoteAddress(words[3])};
}

Result<RemoteAddress> put_pad(BorrowedThread& thread) {
  TRY(uint64_t page, thread.syscall(SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC,
                                               MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0}));
  TRY_STATUS(thread.write(RemoteAddress(page), ByteView(return_pad.data(), return_pad.size())));
  return RemoteAddress(page);
}

bool advances(pid_t pid, RemotePtr<uint64_t> counter) {
  auto memory = Memory::open(pid);
  uint64_t before = memory->read_value(counter).value();
  for (int i = 0; i < 3000; ++i) {
    ::usleep(1000);
    auto now = memory->read_value(counter);
    if (!now.ok()) return false;
    if (*now > before) return true;
  }
  return false;
}

TEST(Borrow, CallsAFunctionWithArguments) {
  Target target = Target::start(functions);
  Addresses at = addresses_of(target);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow({}, [&](BorrowedThread& thread) -> Status {
      TRY(RemoteAddress pad, put_pad(thread));
      for (uint64_t i = 0; i < 3; ++i) {
        TRY(uint64_t sum, thread.call(at.sum, pad, {i, 2, 3, 4, 5, 6}));
        EXPECT_EQ(sum, i + 4 + 9 + 16 + 25 + 36);
      }
      return ok_status();
    });
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(advances(target.pid(), at.counter));
}

TEST(Borrow, AFaultInTheCallIsAnErrorAndNothingElse) {
  Target target = Target::start(functions);
  Addresses at = addresses_of(target);
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow({}, [&](BorrowedThread& thread) -> Status {
      TRY(RemoteAddress pad, put_pad(thread));
      auto failed = thread.call(at.fault, pad, {});
      EXPECT_FALSE(failed.ok());
      TRY(uint64_t sum, thread.call(at.sum, pad, {1, 0, 0, 0, 0, 0}));
      EXPECT_EQ(sum, 1u);
      return ok_status();
    });
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(advances(target.pid(), at.counter));
}

TEST(Borrow, ACallThatDoesNotReturnIsGivenUp) {
  Target target = Target::start(functions);
  Addresses at = addresses_of(target);
  BorrowOptions options;
  options.call_us_max = 50'000;
  uint64_t begin = monotonic_us();
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow(options, [&](BorrowedThread& thread) -> Status {
      TRY(RemoteAddress pad, put_pad(thread));
      auto failed = thread.call(at.never, pad, {});
      EXPECT_FALSE(failed.ok());
      if (!failed.ok()) {
        EXPECT_EQ(failed.error().code, ErrorCode::timed_out);
      }
      return ok_status();
    });
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_LT(monotonic_us() - begin, 3'000'000u);
  EXPECT_TRUE(advances(target.pid(), at.counter));
}

TEST(Borrow, TheCallerDecidesWhichThread) {
  Target target = Target::start(functions);
  Addresses at = addresses_of(target);
  BorrowOptions options;
  options.find_us_max = 500'000;
  int asked = 0;
  options.acceptable = [&](const StoppedTask& task) -> Status {
    ++asked;
    EXPECT_TRUE(task.stack_complete);
    return make_error(ErrorCode::busy, "thread", "not this one");
  };
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow(options, [&](BorrowedThread&) { return ok_status(); });
  });
  ASSERT_FALSE(outcome.ok());
  EXPECT_NE(outcome.error().text().find("not this one"), std::string::npos);
  EXPECT_GT(asked, 1);
  EXPECT_TRUE(advances(target.pid(), at.counter));
}

TEST(Borrow, AThreadThatRunsMakesCallsByItself) {
  Target target = Target::start(functions);
  Addresses at = addresses_of(target);
  constexpr uint64_t bytes = 3 * 4096;
  Status outcome = with_session(target.pid(), {}, [&](Session& session) -> Status {
    TRY(Maps before, Maps::read(target.pid()));
    RemoteAddress place = before.find_gap({at.sum, 1}, bytes).value();
    auto protections = [&] {
      std::string text;
      auto maps = Maps::read(target.pid());
      for (int64_t page = 0; page < 3; ++page) {
        const Mapping* mapping = maps.ok() ? maps->find(place + page * 4096) : nullptr;
        text += mapping == nullptr    ? '-'
                : mapping->executable ? 'x'
                : mapping->writable   ? 'w'
                                      : 'r';
      }
      return text;
    };
    auto map = [&](uint64_t first, uint64_t size, int protection) {
      return RemoteSyscall{SYS_mmap,
                           {place.address() + first, size, static_cast<uint64_t>(protection),
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~uint64_t{0}, 0}};
    };
    for (int i = 0; i < 20; ++i) {
      const RemoteSyscall make[] = {map(0, bytes, PROT_READ),
                                    map(4096, 4096, PROT_READ | PROT_EXEC),
                                    map(8192, 4096, PROT_READ | PROT_WRITE)};
      TRY_STATUS(session.make_calls(make, [&] { return protections() == "rxw"; }));
      const RemoteSyscall take[] = {{SYS_munmap, {place.address(), bytes}}};
      TRY_STATUS(session.make_calls(take, [&] { return protections() == "---"; }));
    }
    const RemoteSyscall wrong[] = {{SYS_munmap, {1, 1}}};
    EXPECT_FALSE(session.make_calls(wrong, [] { return false; }).ok());
    return ok_status();
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  EXPECT_TRUE(advances(target.pid(), at.counter));
}

// From the first moment that we have it: were we killed later, the program would see EINTR.
TEST(Borrow, ACallIsRewoundBeforeTheThreadIsLookedAt) {
  Target target = Target::start(R"(
    #include <stdio.h>
    #include <sys/epoll.h>
    int main(void) {
      int ep = epoll_create1(0); struct epoll_event event;
      printf("ready\n"); fflush(stdout);
      for (;;) if (epoll_wait(ep, &event, 1, -1) < 0) { printf("EINTR\n"); fflush(stdout); }
    })");
  ::usleep(20'000);
  BorrowOptions options;
  uint64_t rax = 0;
  options.acceptable = [&](const StoppedTask& task) -> Status {
    Registers now{};
    EXPECT_EQ(::ptrace(PTRACE_GETREGS, task.tid, nullptr, &now), 0);
    rax = now.rax;
    return ok_status();
  };
  Status outcome = with_session(target.pid(), {}, [&](Session& session) {
    return session.borrow(options, [](BorrowedThread&) { return ok_status(); });
  });
  EXPECT_TRUE(outcome.ok()) << outcome.error().text();
  constexpr int64_t erestartnohand = 514;
  EXPECT_EQ(static_cast<int64_t>(rax), -erestartnohand);
  EXPECT_EQ(target.line(50), "");
}

}  // namespace
}  // namespace livecare::remote
