// Memory of an undone patch is freed only when nobody can reach it.

#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Keep : public ::testing::Test {
 protected:
  Keep() {
    library_ = shop_.library("libk.so", R"(
__attribute__((noinline)) long f(long x) { asm volatile("nop;nop;nop;nop"); return x; }
)");
    program_ = shop_.program("prog", R"(
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
extern long f(long);
long (*callback)(long);
jmp_buf* jump;
ucontext_t main_context, coroutine;
static char coroutine_stack[65536];
void yield(void) { swapcontext(&coroutine, &main_context); }
// Left-over words on the stack would keep the patch as well.
static __attribute__((noinline)) void scrub(void) {
  volatile char room[16384];
  for (unsigned i = 0; i < sizeof room; ++i) room[i] = 0;
}
static void run_coroutine(void) { f(3); f(3); for (;;) yield(); }
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "forget\n")) { callback = 0; jump = 0; scrub(); puts("ok"); continue; }
    if (!strcmp(line, "callback\n")) { printf("%ld\n", callback(5)); continue; }
    if (!strcmp(line, "handler\n")) { signal(SIGUSR1, SIG_DFL); scrub(); puts("ok"); continue; }
    if (!strcmp(line, "raise\n")) { raise(SIGUSR1); puts("ok"); continue; }
    if (!strcmp(line, "start\n")) {
      getcontext(&coroutine);
      coroutine.uc_stack.ss_sp = coroutine_stack;
      coroutine.uc_stack.ss_size = sizeof coroutine_stack;
      makecontext(&coroutine, run_coroutine, 0);
    }
    if (!strcmp(line, "start\n") || !strcmp(line, "go\n")) {
      swapcontext(&main_context, &coroutine);
      puts("back");
      continue;
    }
    printf("%ld\n", f(atol(line)));
  }
}
)",
                             "-rdynamic -L. -lk -Wl,-rpath,$PWD");
  }

  patchfmt::Patchset level(const std::string& source) {
    return make_patchset({make_object(shop_, library_, source, {"f"})});
  }

  static std::string state_after_undo(Subject& subject) {
    auto report = unpatch(subject.pid(), {});
    EXPECT_TRUE(report.outcome == Outcome::unpatched || report.outcome == Outcome::unchanged)
        << report.reason;
    return report.objects.empty() ? "gone" : report.objects[0].state;
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
};

TEST_F(Keep, AStoredFunctionPointer) {
  Subject subject({program_});
  auto one = level(R"(
extern long (*callback)(long);
static long called(long x) { return x * 11; }
long f(long x) { callback = called; return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  EXPECT_EQ(state_after_undo(subject), "kept");
  EXPECT_EQ(subject.ask("callback"), "55");  // still there
  size_t mappings = subject.mappings();
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.mappings(), mappings);  // used again
  EXPECT_EQ(subject.ask("2"), "1");
  subject.ask("forget");
  EXPECT_EQ(state_after_undo(subject), "gone");
  EXPECT_LT(subject.mappings(), mappings);
}

TEST_F(Keep, AKeptImageGoesWithTheNextUndo) {
  Subject subject({program_});
  auto one = level(R"(
extern long (*callback)(long);
static long called(long x) { return x * 11; }
long f(long x) { callback = called; return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  subject.ask("1");
  EXPECT_EQ(state_after_undo(subject), "kept");
  subject.ask("forget");
  EXPECT_EQ(state_after_undo(subject), "gone");
}

TEST_F(Keep, ASavedJump) {
  Subject subject({program_});
  auto one = level(R"(
#include <setjmp.h>
extern jmp_buf* jump;
static jmp_buf buffer;
extern void* malloc(unsigned long);
long f(long x) { jump = malloc(sizeof buffer); if (setjmp(*jump)) return 2; return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  EXPECT_EQ(state_after_undo(subject), "kept");
}

TEST_F(Keep, ASuspendedCoroutine) {
  Subject subject({program_});
  auto one = level("extern void yield(void); long f(long x) { yield(); return 1; }");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("start"), "back");  // suspended inside of the new f
  EXPECT_EQ(state_after_undo(subject), "kept");
  EXPECT_EQ(subject.ask("go"), "back");  // returns through it
  EXPECT_EQ(subject.ask("go"), "back");
  EXPECT_EQ(subject.ask("7"), "7");
}

TEST_F(Keep, ASignalHandler) {
  Subject subject({program_});
  auto one = level(R"(
#include <signal.h>
static volatile int seen;
static void on_signal(int number) { seen = number; }
long f(long x) { signal(SIGUSR1, on_signal); return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  EXPECT_EQ(state_after_undo(subject), "kept");
  EXPECT_EQ(subject.ask("raise"), "ok");
  EXPECT_EQ(subject.ask("handler"), "ok");
  EXPECT_EQ(state_after_undo(subject), "gone");
}

}  // namespace
}  // namespace livecare::engine
