// The tool is killed at every step of a patch and of an undo; the process runs on each time, and
// the next run puts things right.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "engine/fixture_test.h"
#include "engine/steps.h"
#include "remote/seccomp_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

int steps_left = 0;
std::string_view step_to_die_at;

void die_at_step(std::string_view step) {
  if (--steps_left == 0 || step == step_to_die_at) kill(getpid(), SIGKILL);
}

void die_in_the_stop(std::string_view step) {
  if (step == "stopped" || step == "state" || step == "bytes") die_at_step(step);
}

// Runs `work` in a child that is killed at its n-th step. False: it ended before.
template <class Work>
bool killed_at(int n, Work work, StepHook hook = die_at_step) {
  pid_t child = fork();
  if (child == 0) {
    steps_left = n;
    step_hook = hook;
    work();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

class Killed : public ::testing::Test {
 protected:
  Killed() {
    first_ = shop_.library("libone.so",
                           "__attribute__((noinline)) int one(int x)"
                           " { asm volatile(\"nop;nop;nop\"); return x + 1; }");
    second_ = shop_.library("libtwo.so",
                            "__attribute__((noinline)) int two(int x)"
                            " { asm volatile(\"nop;nop;nop\"); return x + 2; }");
    program_ = shop_.program("prog", R"(
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
extern int one(int), two(int);
static void* loop(void* unused) { for (;;) { one(1); two(2); if (unused) usleep(100); } }
int main() {
  char line[64];
  pthread_t thread;
  setvbuf(stdout, 0, _IOLBF, 0);
  for (long i = 0; i < 3; ++i) pthread_create(&thread, 0, loop, (void*)i);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) printf("%d %d\n", one(10), two(10));
}
)",
                             "-L. -lone -ltwo -pthread -Wl,-rpath,$PWD");
  }

  patchfmt::Patchset level(uint32_t number) {
    std::string value = std::to_string(number * 100);
    return make_patchset(
        {make_object(shop_, first_, "int one(int x) { return x + " + value + "; }", {"one"}),
         make_object(shop_, second_, "int two(int x) { return x + " + value + "; }", {"two"})},
        number);
  }

  Workshop shop_;
  std::filesystem::path first_, second_, program_;
};

TEST_F(Killed, WhilePatching) {
  Subject subject({program_});
  auto one = level(1);
  size_t mappings = subject.mappings();
  for (int n = 1;; ++n) {
    bool killed = killed_at(n, [&] { (void)patch(subject.pid(), one); });
    ASSERT_TRUE(subject.alive()) << "step " << n;
    std::string answer = subject.ask("x");
    auto seen = info(subject.pid());
    auto mended = unpatch(subject.pid(), {});
    ASSERT_NE(mended.outcome, Outcome::failed) << "step " << n << ": " << mended.reason;
    EXPECT_EQ(subject.ask("x"), "11 12") << "step " << n;
    EXPECT_EQ(info(subject.pid()).reason, "") << "step " << n;
    if (!killed) {
      EXPECT_EQ(answer, "110 110");
      EXPECT_GT(n, 15);
      break;
    }
  }
  // At most a kept image.
  EXPECT_LE(subject.mappings(), mappings + 8);
}

// Memory that was mapped and has no header yet is found by the record that was made before.
TEST_F(Killed, BetweenTheMappingAndItsHeader) {
  Subject subject({program_});
  auto one = level(1);
  for (std::string_view step : {"intent", "mapped", "header body", "header", "protected"}) {
    size_t mappings = subject.mappings();
    uint64_t bytes = subject.virtual_bytes();
    step_to_die_at = step;
    ASSERT_TRUE(killed_at(0, [&] { (void)patch(subject.pid(), one); })) << step;
    step_to_die_at = {};
    if (step != "intent") {
      EXPECT_GT(subject.virtual_bytes(), bytes) << step;
    }
    auto mended = unpatch(subject.pid(), {});
    ASSERT_NE(mended.outcome, Outcome::failed) << step << ": " << mended.reason;
    EXPECT_NE(mended.reason, "") << step;
    EXPECT_EQ(subject.virtual_bytes(), bytes) << step;
    // The first time, the ELF header's page becomes one of its own.
    EXPECT_LE(subject.mappings(), mappings) << step;
    EXPECT_EQ(unpatch(subject.pid(), {}).reason, "nothing to undo") << step;
    EXPECT_EQ(subject.ask("x"), "11 12") << step;
  }
}

TEST_F(Killed, AMappingOfTheProgramIsLeftAlone) {
  Subject subject({program_});
  step_to_die_at = "intent";
  auto one = level(1);
  ASSERT_TRUE(killed_at(0, [&] { (void)patch(subject.pid(), one); }));
  step_to_die_at = {};
  // What the record means is not there; the program has something else near it.
  size_t mappings = subject.mappings();
  EXPECT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_GT(subject.mappings(), mappings);
  EXPECT_EQ(subject.ask("x"), "110 110");
}

TEST_F(Killed, WhilePatchingAndPatchedByTheNextRun) {
  Subject subject({program_});
  auto one = level(1);
  for (int n = 1;; ++n) {
    bool killed = killed_at(n, [&] { (void)patch(subject.pid(), one); });
    auto again = patch(subject.pid(), one);
    ASSERT_NE(again.outcome, Outcome::failed) << "step " << n << ": " << again.reason;
    ASSERT_EQ(subject.ask("x"), "110 110") << "step " << n;
    ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
    ASSERT_EQ(subject.ask("x"), "11 12") << "step " << n;
    if (!killed) break;
  }
}

TEST_F(Killed, WhileReplacingALevel) {
  Subject subject({program_});
  auto one = level(1);
  auto two = level(2);
  for (int n = 1;; ++n) {
    ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
    bool killed = killed_at(n, [&] { (void)patch(subject.pid(), two); });
    ASSERT_TRUE(subject.alive()) << "step " << n;
    auto again = patch(subject.pid(), two);
    ASSERT_NE(again.outcome, Outcome::failed) << "step " << n << ": " << again.reason;
    ASSERT_EQ(subject.ask("x"), "210 210") << "step " << n;
    auto undone = unpatch(subject.pid(), {});
    ASSERT_EQ(undone.outcome, Outcome::unpatched) << "step " << n << ": " << undone.reason;
    ASSERT_EQ(subject.ask("x"), "11 12") << "step " << n;
    if (!killed) break;
  }
}

TEST_F(Killed, WhileUndoing) {
  Subject subject({program_});
  auto one = level(1);
  for (int n = 1;; ++n) {
    ASSERT_NE(patch(subject.pid(), one).outcome, Outcome::failed) << "step " << n;
    ASSERT_EQ(subject.ask("x"), "110 110") << "step " << n;
    bool killed = killed_at(n, [&] { (void)unpatch(subject.pid(), {}); });
    ASSERT_TRUE(subject.alive()) << "step " << n;
    auto again = unpatch(subject.pid(), {});
    ASSERT_NE(again.outcome, Outcome::failed) << "step " << n << ": " << again.reason;
    ASSERT_EQ(subject.ask("x"), "11 12") << "step " << n;
    if (!killed) break;
  }
}

// Where /proc/PID/mem may not be written, everything goes through a stopped thread: what is mended
// as well.
TEST_F(Killed, MendedWithoutProcMem) {
  Subject subject({program_});
  auto one = level(1);
  auto two = level(2);
  for (int n = 1;; ++n) {
    ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
    bool killed = killed_at(
        n, [&] { (void)patch(subject.pid(), two); }, die_in_the_stop);
    pid_t child = fork();
    if (child == 0) {
      remote::testing::forbid_system_call(SYS_pwrite64);
      auto again = patch(subject.pid(), two);
      auto undone = unpatch(subject.pid(), {});
      if (undone.outcome != Outcome::unpatched) puts(undone.reason.c_str());
      _exit(again.outcome == Outcome::failed || undone.outcome != Outcome::unpatched);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "step " << n;
    ASSERT_EQ(subject.ask("x"), "11 12") << "step " << n;
    if (!killed) break;
  }
}

// A callee that only its own file calls, whose parameter changes from a number to a pointer: the
// shipped caller with the new callee crashes, so no kill may leave that mix.
class KilledBetweenCallerAndCallee : public ::testing::Test {
 protected:
  void run(const std::string& shipped, const std::string& fixed,
           const std::vector<std::string>& order) {
    Workshop shop;
    auto library = shop.library("libpair.so", shipped);
    auto program = shop.program("prog", R"(
#include <pthread.h>
#include <stdio.h>
extern long caller(long);
static void* loop(void* unused) {
  for (;;) { caller(1); for (volatile int i = 0; i < 200; ++i) {} }
  return unused;
}
int main() {
  char line[64];
  pthread_t thread;
  setvbuf(stdout, 0, _IOLBF, 0);
  pthread_create(&thread, 0, loop, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) printf("%ld\n", caller(10));
}
)",
                                "-L. -lpair -pthread -Wl,-rpath,$PWD");
    auto fix = make_patchset({make_object(shop, library, fixed, order)});
    Subject subject({program});
    std::string before = subject.ask("x");
    for (int n = 1;; ++n) {
      bool killed = killed_at(
          n, [&] { (void)patch(subject.pid(), fix); }, die_in_the_stop);
      std::string answer = subject.ask("x");
      ASSERT_TRUE(answer == before || answer == "110") << "patching, step " << n << ": " << answer;
      ASSERT_NE(patch(subject.pid(), fix).outcome, Outcome::failed) << "step " << n;
      ASSERT_EQ(subject.ask("x"), "110") << "step " << n;
      bool undo_killed = killed_at(
          n, [&] { (void)unpatch(subject.pid(), {}); }, die_in_the_stop);
      answer = subject.ask("x");
      ASSERT_TRUE(answer == before || answer == "110") << "undoing, step " << n << ": " << answer;
      ASSERT_NE(unpatch(subject.pid(), {}).outcome, Outcome::failed) << "step " << n;
      ASSERT_EQ(subject.ask("x"), before) << "step " << n;
      if (!killed && !undo_killed) break;
    }
  }
};

constexpr const char* shipped_pair = R"(
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long x) {
  asm volatile("nop;nop;nop;nop"); return x + 1;
}
__attribute__((noinline)) long caller(long x) {
  asm volatile("nop;nop;nop;nop"); return callee(x) + 2;
}
)";
constexpr const char* fixed_pair = R"(
__attribute__((noinline, noipa, visibility("hidden"))) long callee(const long* x) {
  return *x + 60;
}
__attribute__((noinline)) long caller(long x) { return callee(&x) + 40; }
)";

TEST_F(KilledBetweenCallerAndCallee, WhicheverTheFileNamesFirst) {
  run(shipped_pair, fixed_pair, {"callee", "caller"});
  run(shipped_pair, fixed_pair, {"caller", "callee"});
}

TEST_F(KilledBetweenCallerAndCallee, WhereTheBranchIsWhereTheJumpGoes) {
  constexpr const char* shipped = R"(
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long x) {
  asm volatile("nop;nop;nop;nop"); return x + 1;
}
asm(".globl caller\n.type caller, @function\n.p2align 4\n"
    "caller: jmp callee\n nop\n nop\n nop\n.size caller, .-caller");
)";
  run(shipped, fixed_pair, {"callee", "caller"});
  run(shipped, fixed_pair, {"caller", "callee"});
}

TEST_F(KilledBetweenCallerAndCallee, FunctionsThatCallEachOther) {
  constexpr const char* shipped = R"(
long caller(long);
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long x, long depth);
static __attribute__((noinline, noipa)) long inner(long x, long depth) {
  asm volatile("nop;nop;nop;nop"); return callee(x, depth - 1) + 1;
}
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long x, long depth) {
  asm volatile("nop;nop;nop;nop"); return depth > 0 ? inner(x, depth) : x;
}
__attribute__((noinline)) long caller(long x) {
  asm volatile("nop;nop;nop;nop"); return callee(x, 3) + 1;
}
)";
  constexpr const char* fixed = R"(
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long* x, long depth);
__attribute__((noinline, noipa)) long inner(long* x, long depth) {
  return callee(x, depth - 1) + 1;
}
__attribute__((noinline, noipa, visibility("hidden"))) long callee(long* x, long depth) {
  return depth > 0 ? inner(x, depth) : *x + 57;
}
__attribute__((noinline)) long caller(long x) { return callee(&x, 3) + 40; }
)";
  run(shipped, fixed, {"inner", "callee", "caller"});
  run(shipped, fixed, {"caller", "callee", "inner"});
}

}  // namespace
}  // namespace livecare::engine
