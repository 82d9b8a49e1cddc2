// The tool is killed at every step of a patch and of an undo; the process runs on each time, and
// the next run puts things right.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "engine/fixture_test.h"
#include "engine/steps.h"

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

// Runs `work` in a child that is killed at its n-th step. False: it ended before.
template <class Work>
bool killed_at(int n, Work work) {
  pid_t child = fork();
  if (child == 0) {
    steps_left = n;
    step_hook = die_at_step;
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

}  // namespace
}  // namespace livecare::engine
