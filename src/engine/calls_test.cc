// Calls in the process that do not return in time.
#include "base/clock.h"
#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Calls : public ::testing::Test {
 protected:
  Calls() {
    library_ = shop_.library("libcalls.so", R"(
#include <pthread.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); return x + 1; }
// As the loader, the allocator and libgcc do: something half done, under a lock.
__attribute__((noinline)) int locked(int ms) {
  pthread_mutex_lock(&lock);
  usleep(ms * 1000);
  pthread_mutex_unlock(&lock);
  return 0;
}
)");
    program_ = shop_.program("prog", R"(
#include <stdio.h>
extern int f(int), locked(int);
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) { locked(0); printf("%d\n", f(0)); }
}
)",
                             "-L. -lcalls -pthread -Wl,-rpath,$PWD");
    limits_.remote_call_us_max = 100'000;
  }

  patchfmt::Patchset with_hook(const std::string& body) {
    return make_patchset(
        {make_object(shop_, library_,
                     "extern int locked(int), usleep(unsigned);\n"
                     "int f(int x) { return 100; } int hook_before_switch(void) { " +
                         body + " return 0; }",
                     {"f"})});
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
  Limits limits_;
};

TEST_F(Calls, OneThatLoopsOrSleepsInThePatchIsBrokenOff) {
  for (const char* body : {"for (;;) asm volatile(\"\");", "usleep(20000000);"}) {
    Subject subject({program_});
    uint64_t begun = monotonic_us();
    auto report = patch(subject.pid(), with_hook(body), limits_);
    EXPECT_EQ(report.outcome, Outcome::failed);
    EXPECT_EQ(report.code, ErrorCode::timed_out) << report.reason;
    EXPECT_LT(monotonic_us() - begun, 15'000'000u);
    EXPECT_EQ(subject.ask("x"), "1");
    EXPECT_TRUE(info(subject.pid()).objects.empty());
  }
}

TEST_F(Calls, OneThatHoldsALockIsWaitedFor) {
  Subject subject({program_});
  auto report = patch(subject.pid(), with_hook("locked(250);"), limits_);
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("x"), "100");
}

TEST_F(Calls, OneThatHoldsALockForeverIsLeftToFinishByItself) {
  Subject subject({program_});
  auto slow = with_hook("locked(3000);");
  auto report = patch(subject.pid(), slow, limits_);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::timed_out) << report.reason;
  EXPECT_NE(report.reason.find("goes on by itself"), std::string::npos) << report.reason;
  // The thread is still in it, and so is what it returns through.
  ASSERT_EQ(info(subject.pid()).objects.size(), 1u);
  EXPECT_EQ(subject.ask("x"), "1");  // it has returned, the lock is free, nothing was switched
  Limits patient;
  patient.remote_call_us_max = 5'000'000;
  report = patch(subject.pid(), slow, patient);
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("x"), "100");
  EXPECT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("x"), "1");
  EXPECT_TRUE(info(subject.pid()).objects.empty());
}

}  // namespace
}  // namespace livecare::engine
