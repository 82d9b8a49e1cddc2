#include <signal.h>
#include <sys/wait.h>

#include <unistd.h>

#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

const char* const library_source = R"(
#include <string.h>
#include <unistd.h>
static __attribute__((noinline)) int helper(int x) { asm volatile(""); return x * 3; }
__attribute__((noinline)) int answer(int x) { return helper(x) + 1; }
int (*answer_pointer)(int) = answer;
__attribute__((noinline)) int other(const char* text) { return (int)strlen(text) + helper(1); }
__attribute__((noinline)) int sleeper(int seconds) { sleep(seconds); asm volatile(""); return 7; }
)";

// Commands: "a N" answer; "p N" by pointer; "o TEXT" other; "t N" starts N threads that call answer
// in a loop; "c" how many calls they made, "w" how many were neither old nor new; "s" sleeper in a
// thread; "q" quits.
const char* const program_source = R"(
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern int answer(int); extern int (*answer_pointer)(int); extern int other(const char*);
extern int sleeper(int);
static volatile unsigned long calls, wrong;
static void* loop(void* unused) {
  for (;;) {
    for (volatile int i = 0; i < 300; ++i) {}
    int value = answer(5);
    if (value != 16 && value != 115 && value != 215) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (unused) usleep(50);
  }
}
static void* sleep_in(void* seconds) { sleeper((long)seconds); return 0; }
int main() {
  char line[256];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    long number = atol(line + 1);
    pthread_t thread;
    switch (line[0]) {
      case 'a': printf("%d\n", answer(number)); break;
      case 'p': printf("%d\n", answer_pointer(number)); break;
      case 'o': line[strcspn(line, "\n")] = 0; printf("%d\n", other(line + 2)); break;
      case 't': for (long i = 0; i < number; ++i) pthread_create(&thread, 0, loop, (void*)(i % 2)); puts("ok"); break;
      case 'c': printf("%lu\n", calls); break;
      case 'w': printf("%lu\n", wrong); break;
      case 's': pthread_create(&thread, 0, sleep_in, (void*)number); puts("ok"); break;
      case 'q': return 0;
    }
  }
}
)";

const char* const patch_source = R"(
#include <string.h>
extern int helper(int) __attribute__((visibility("hidden")));
int answer(int x) { return helper(x) + 100; }
int other(const char* text) { return (int)strlen(text) * 1000 + (strchr(text, 'x') != 0); }
)";

class Transaction : public ::testing::Test {
 protected:
  Transaction()
      : library_(shop_.library("libt.so", library_source)),
        program_(shop_.program("prog", program_source,
                               "-L. -lt -pthread -Wl,--no-as-needed -lgcc_s -Wl,-rpath,$PWD")) {}

  patchfmt::Patchset level(uint32_t number, const std::string& source,
                           const std::vector<std::string>& replaced) {
    return make_patchset({make_object(shop_, library_, source, replaced)}, number);
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
};

TEST_F(Transaction, PatchesAndUnpatchesARunningProcess) {
  Subject subject({program_});
  EXPECT_EQ(subject.ask("a 5"), "16");
  auto report = patch(subject.pid(), level(1, patch_source, {"answer", "other"}));
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  ASSERT_EQ(report.objects.size(), 1u);
  EXPECT_EQ(report.objects[0].state, "live");
  EXPECT_EQ(report.objects[0].functions, 2u);
  EXPECT_EQ(report.objects[0].cves, std::vector<std::string>{"CVE-2026-1"});
  EXPECT_GT(report.stop_us, 0u);
  EXPECT_EQ(subject.ask("a 5"), "115");
  EXPECT_EQ(subject.ask("p 5"), "115");
  EXPECT_EQ(subject.ask("o axa"), "3001");
  auto again = patch(subject.pid(), level(1, patch_source, {"answer", "other"}));
  EXPECT_EQ(again.outcome, Outcome::unchanged) << again.reason;
  auto undone = unpatch(subject.pid(), {});
  EXPECT_EQ(undone.outcome, Outcome::unpatched) << undone.reason;
  EXPECT_TRUE(undone.objects.empty() || undone.objects[0].state == "kept");
  EXPECT_EQ(subject.ask("a 5"), "16");
  EXPECT_EQ(subject.ask("o axa"), "6");
  EXPECT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unchanged);
}

TEST_F(Transaction, BusyThreadsSeeOldOrNewOnly) {
  Subject subject({program_});
  subject.ask("t 8");
  auto one = level(1, patch_source, {"answer", "other"});
  for (int i = 0; i < 20; ++i) {
    auto report = patch(subject.pid(), one);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason << " after " << report.attempts;
    ASSERT_EQ(subject.ask("a 5"), "115");
    report = unpatch(subject.pid(), {});
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    ASSERT_EQ(subject.ask("a 5"), "16");
  }
  EXPECT_EQ(subject.ask("w"), "0");
}

TEST_F(Transaction, SeveralToolsAtOnceDoNotMixUp) {
  Subject subject({program_});
  subject.ask("t 2");
  auto one = level(1, patch_source, {"answer", "other"});
  std::vector<pid_t> tools;
  for (int i = 0; i < 4; ++i) {
    pid_t tool = fork();
    if (tool == 0) {
      for (int k = 0; k < 8; ++k) {
        auto report = (i + k) % 2 == 0 ? patch(subject.pid(), one) : unpatch(subject.pid(), {});
        bool fine = report.outcome != Outcome::failed || report.code == ErrorCode::busy;
        if (!fine) fprintf(stderr, "%s\n", report.reason.c_str());
        if (!fine) _exit(1);
      }
      _exit(0);
    }
    tools.push_back(tool);
  }
  for (pid_t tool : tools) {
    int status = 0;
    waitpid(tool, &status, 0);
    EXPECT_EQ(status, 0);
  }
  ASSERT_TRUE(subject.alive());
  EXPECT_NE(unpatch(subject.pid(), {}).outcome, Outcome::failed);
  EXPECT_EQ(subject.ask("a 5"), "16");
  EXPECT_EQ(subject.ask("w"), "0");
  EXPECT_EQ(info(subject.pid()).reason, "");
}

TEST_F(Transaction, RoundsDoNotGrowTheProcess) {
  const char* wanted = getenv("LIVECARE_ROUNDS");
  int rounds = wanted != nullptr ? atoi(wanted) : 60;
  Subject subject({program_});
  subject.ask("t 4");
  auto one = level(1, patch_source, {"answer", "other"});
  auto round = [&] {
    auto report = patch(subject.pid(), one);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    report = unpatch(subject.pid(), {});
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
  };
  for (int i = 0; i < 5; ++i) round();
  uint64_t bytes = subject.virtual_bytes();
  size_t mappings = subject.mappings();
  for (int i = 0; i < rounds && !HasFatalFailure(); ++i) round();
  // A single image may be kept at either moment.
  EXPECT_LE(subject.virtual_bytes(), bytes + (256 << 10));
  EXPECT_LE(subject.mappings(), mappings + 6);
  EXPECT_EQ(subject.ask("w"), "0");
  EXPECT_EQ(subject.ask("a 5"), "16");
}

}  // namespace
}  // namespace livecare::engine
