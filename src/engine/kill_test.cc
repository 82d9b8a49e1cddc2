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

void die_at_step(std::string_view) {
  if (--steps_left == 0) kill(getpid(), SIGKILL);
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
  // At most the mappings that were made before their header, and a kept image.
  EXPECT_LE(subject.mappings(), mappings + 16);
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
