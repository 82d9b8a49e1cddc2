// Memory of an undone patch is freed only when nobody can reach it.

#include "engine/fixture_test.h"
#include "engine/release.h"

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
#include <sys/wait.h>
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
    if (!strcmp(line, "exit\n")) exit(0);
    if (!strcmp(line, "fork\n")) {
      if (fork() == 0) _exit(0);
      wait(0);
      continue;
    }
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

// What the C library calls back when a process or thread ends or forks: how C++ destroys static and
// thread-local objects, and what atexit(), on_exit() and pthread_atfork() keep. Some of it is
// scrambled with the pointer guard.
struct Registration {
  const char* name;
  const char* source;
  const char* event;
};

class KeepRegistered : public Keep, public ::testing::WithParamInterface<Registration> {};

TEST_P(KeepRegistered, UntilItHasRun) {
  Subject subject({program_});
  auto one = level(std::string(R"(
extern long write(int, const void*, unsigned long);
static void done(void* p) { write(1, "bye\n", 4); }
)") + GetParam().source);
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  subject.ask("forget");
  EXPECT_EQ(state_after_undo(subject), "kept");
  EXPECT_EQ(subject.ask("2"), "2");
  EXPECT_EQ(subject.ask(GetParam().event), "bye");
}

INSTANTIATE_TEST_SUITE_P(CLibrary, KeepRegistered,
                         ::testing::Values(Registration{"ExitHandler", R"(
          extern int __cxa_atexit(void (*)(void*), void*, void*);
          long f(long x) { __cxa_atexit(done, 0, 0); return 1; })",
                                                        "exit"},
                                           Registration{"ExitHandlerWithStatus", R"(
          extern int on_exit(void (*)(int, void*), void*);
          static void with_status(int status, void* p) { done(p); }
          long f(long x) { on_exit(with_status, 0); return 1; })",
                                                        "exit"},
                                           Registration{"ThreadLocalDestructor", R"(
          extern int __cxa_thread_atexit_impl(void (*)(void*), void*, void*);
          extern long (*callback)(long);  // tells the object that registers
          long f(long x) { __cxa_thread_atexit_impl(done, 0, &callback); return 1; })",
                                                        "exit"},
                                           Registration{"ForkHandler", R"(
          extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void*);
          static void forked(void) { done(0); }
          long f(long x) { __register_atfork(forked, 0, 0, 0); return 1; })",
                                                        "fork"}),
                         [](const auto& one) { return one.param.name; });

// A destructor of another library, and only its object is the patch's.
TEST_F(Keep, AnObjectThatIsDestroyedAtTheEnd) {
  Subject subject({program_});
  auto one = level(R"(
extern int __cxa_atexit(int (*)(const char*), const char*, void*);
extern int puts(const char*);
static char object[16] = "bye";
long f(long x) { object[3] = 0; __cxa_atexit(puts, object, 0); return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  subject.ask("forget");
  EXPECT_EQ(state_after_undo(subject), "kept");
  // Used again as it is: it is registered once more, but still there.
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(state_after_undo(subject), "kept");
  EXPECT_EQ(subject.ask("exit"), "bye");
}

TEST_F(Keep, AThreadKeyWithADestructor) {
  Subject subject({program_});
  auto one = level(R"(
extern int pthread_key_create(unsigned*, void (*)(void*));
static void done(void* p) {}
static unsigned key;
long f(long x) { pthread_key_create(&key, done); return 1; }
)");
  ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("1"), "1");
  subject.ask("forget");
  EXPECT_EQ(state_after_undo(subject), "kept");
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

// A process with so much memory that a search would stop it for long: nothing is freed, and nothing
// grows. "N" calls f(N), "mN" has N MiB of heap.
class KeepInALargeProcess : public Keep {
 protected:
  KeepInALargeProcess()
      : large_(shop_.program("large", R"(
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern long f(long);
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    if (line[0] == 'm') { memset(malloc(atol(line + 1) << 20), 1, atol(line + 1) << 20); puts("ok"); }
    else printf("%ld\n", f(atol(line)));
  }
}
)",
                             "-L. -lk -Wl,-rpath,$PWD")) {}

  patchfmt::Patchset returning(int value, const std::string& data = "") {
    return level(data + "long f(long x) { return " + std::to_string(value) + "; }");
  }

  std::filesystem::path large_;
};

TEST_F(KeepInALargeProcess, RoundsUseTheSameImagesAgain) {
  const char* wanted = getenv("LIVECARE_ROUNDS");
  int rounds = wanted != nullptr ? atoi(wanted) : 40;
  Subject subject({large_});
  subject.ask("m400");
  auto one = returning(101), other = returning(102);
  uint64_t bytes = 0;
  size_t mappings = 0;
  for (int i = 0; i < rounds; ++i) {
    auto& patchset = i % 2 == 0 ? one : other;
    auto report = patch(subject.pid(), patchset);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    ASSERT_EQ(subject.ask("1"), i % 2 == 0 ? "101" : "102");
    report = unpatch(subject.pid(), {});
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    ASSERT_EQ(subject.ask("1"), "1");
    if (i < 2) {
      bytes = subject.virtual_bytes();
      mappings = subject.mappings();
      EXPECT_EQ(report.objects.size(), static_cast<size_t>(i + 1));  // kept
    }
    EXPECT_EQ(subject.virtual_bytes(), bytes);
    EXPECT_EQ(subject.mappings(), mappings);
  }
}

TEST_F(KeepInALargeProcess, ManyImagesAreWorthALongerStop) {
  Subject subject({large_});
  subject.ask("m20");
  Limits limits;
  limits.search_us_max = 1;
  limits.search_for_many_us_max = 20'000'000;
  size_t most = 0;
  for (uint32_t i = 0; i < kept_images_many + 2; ++i) {
    ASSERT_EQ(patch(subject.pid(), returning(100 + static_cast<int>(i)), limits).outcome,
              Outcome::patched);
    auto report = unpatch(subject.pid(), {}, limits);
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    most = std::max(most, report.objects.size());
  }
  EXPECT_EQ(most, kept_images_many - 1);
  EXPECT_LT(info(subject.pid()).objects.size(), 4u);
}

TEST_F(KeepInALargeProcess, WhatIsKeptHasALimit) {
  Subject subject({large_});
  subject.ask("m900");  // too much even for a longer search
  std::string room = "char room[24 << 20]; ";
  for (int i = 0; i < 3; ++i) {
    auto report = patch(subject.pid(), returning(100 + i, room));
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  }
  auto report = patch(subject.pid(), returning(103, room));
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::refused);
  EXPECT_NE(report.reason.find("restart"), std::string::npos) << report.reason;
  // What is there already can still be used.
  EXPECT_EQ(patch(subject.pid(), returning(101, room)).outcome, Outcome::patched);
}

}  // namespace
}  // namespace livecare::engine
