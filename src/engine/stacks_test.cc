// Threads on stacks that are not where a stack is expected: coroutines and signal stacks in one
// mapping with other stacks, stacks that the program chose itself.
#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

// Three stacks in one mapping, lowest first. A line is "WHAT N": with stack N
//   start  run f in a coroutine on it, until it yields
//   go     resume that coroutine
//   on     read further lines in a coroutine on it
//   signal read further lines in a signal handler on it
//   back   leave the innermost of these
//   thread start a thread on the stack N % 10 (9: one of the C library's) that runs f, and in it
//          sleeps in a coroutine on the stack N / 10 (0: does not)
//   small  start a sleeping thread on a quarter of it, the upper one
//   f      run f(N)
//   arrays two coroutines whose stacks are arrays in this frame: f in the lower one, until it
//          yields; then read further lines in the upper one
constexpr const char* program_source = R"(
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
extern long f(long);
enum { room = 128 << 10 };
static char* stacks;
static ucontext_t callers[8], coroutines[8];
static int current;
static int pipe_ends[2];
void yield(void) { int me = current; swapcontext(&coroutines[me], &callers[me]); current = me; }
static void run_f(int n) { f(3); f(3); for (;;) yield(); }
static void sleep_here(int n) { char c; puts("on"); read(pipe_ends[0], &c, 1); }
static void make(int n, char* stack, void (*code)(int), int argument) {
  getcontext(&coroutines[n]);
  coroutines[n].uc_stack.ss_sp = stack;
  coroutines[n].uc_stack.ss_size = room;
  coroutines[n].uc_link = &callers[n];
  makecontext(&coroutines[n], (void (*)(void))code, 1, argument);
}
static void enter(int n) { int me = current; current = n; swapcontext(&callers[n], &coroutines[n]); current = me; }
static volatile int sleeper;
void nap(void) {  // called by f of the thread: to a coroutine, which sleeps
  if (!sleeper) return;
  make(7, stacks + sleeper * room, sleep_here, 0);
  enter(7);
}
// Leaves its words where later calls do not come to.
static __attribute__((noinline)) long deep(long n) {
  volatile char bytes[16384];
  bytes[n] = 1;
  return f(n) + bytes[n] - 1;
}
static void* body(void* unused) { deep(1); puts("on"); for (;;) pause(); }
static void loop(int);
static void handler(int s) { loop(1); }
static __attribute__((noinline)) void arrays(void) {
  char lower[2 * room];  // whichever order the compiler chooses: both halves
  make(5, lower, run_f, 0);
  make(6, lower + room, loop, 1);
  enter(5);
  enter(6);
}
static void loop(int nested) {
  char line[64], what[16];
  if (nested) puts("on");
  while (fgets(line, sizeof line, stdin)) {
    int n = 0;
    sscanf(line, "%15s %d", what, &n);
    if (!strcmp(what, "start")) { make(n, stacks + n * room, run_f, 0); enter(n); puts("back"); }
    else if (!strcmp(what, "go")) { enter(n); puts("back"); }
    else if (!strcmp(what, "on")) { make(n, stacks + n * room, loop, 1); enter(n); }
    else if (!strcmp(what, "signal")) {
      stack_t stack = {.ss_sp = stacks + n * room, .ss_size = room};
      struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
      sigaltstack(&stack, 0);
      sigaction(SIGUSR1, &action, 0);
      raise(SIGUSR1);
    }
    else if (!strcmp(what, "back")) { puts("back"); return; }
    else if (!strcmp(what, "arrays")) arrays();
    else if (!strcmp(what, "thread")) {
      pthread_t thread;
      pthread_attr_t attributes;
      sleeper = n / 10;
      pthread_attr_init(&attributes);
      if (n % 10 != 9) pthread_attr_setstack(&attributes, stacks + n % 10 * room, room);
      pthread_create(&thread, &attributes, body, 0);
    }
    else if (!strcmp(what, "small")) {
      pthread_t thread;
      pthread_attr_t attributes;
      pthread_attr_init(&attributes);
      pthread_attr_setstack(&attributes, stacks + (n + 1) * room - room / 4, room / 4);
      pthread_create(&thread, &attributes, body, 0);
    }
    else if (!strcmp(what, "f")) { printf("%ld\n", deep(n)); }
  }
}
int main() {
  setvbuf(stdout, 0, _IOLBF, 0);
  pipe(pipe_ends);
  stacks = mmap(0, 3 * room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  puts("ready");
  for (;;) loop(0);
}
)";

class Stacks : public ::testing::Test {
 protected:
  Stacks() {
    library_ = shop_.library("libs.so", R"(
extern void nap(void);
__attribute__((noinline)) long f(long x) { nap(); asm volatile("nop;nop;nop;nop"); return x + 1; }
)");
    program_ = shop_.program("prog", program_source, "-rdynamic -L. -ls -pthread -Wl,-rpath,$PWD");
    yielding_ = make_patchset({make_object(
        shop_, library_, "extern void yield(void); long f(long x) { yield(); return x; }", {"f"})});
    plain_ = make_patchset({make_object(
        shop_, library_, "extern void nap(void); long f(long x) { nap(); return x; }", {"f"})});
  }

  static std::string state_after_undo(Subject& subject) {
    auto report = unpatch(subject.pid(), {});
    EXPECT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    return report.objects.empty() ? "gone" : report.objects[0].state;
  }

  // A thread is inside of f, whatever stack it is on.
  void refuses(const std::string& line) {
    Subject subject({program_});
    EXPECT_EQ(subject.ask(line), "on");
    Limits limits;
    limits.leave_wait_us_max = 100'000;
    auto report = patch(subject.pid(), plain_, limits);
    EXPECT_EQ(report.outcome, Outcome::failed) << line;
    EXPECT_EQ(report.code, ErrorCode::busy) << report.reason;
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
  patchfmt::Patchset yielding_, plain_;
};

// The image must stay: a coroutine is suspended in it. (When that lies above the running one, the
// undo is refused beforehand, for it might be what the thread comes back to.)
void expect_kept(Subject& subject, const std::string& coroutine) {
  Limits limits;
  limits.leave_wait_us_max = 100'000;
  auto report = unpatch(subject.pid(), {}, limits);
  EXPECT_TRUE(report.outcome == Outcome::unpatched || report.code == ErrorCode::busy)
      << report.reason;
  ASSERT_FALSE(report.objects.empty()) << coroutine;
  EXPECT_EQ(report.objects[0].state, report.outcome == Outcome::unpatched ? "kept" : "live");
  EXPECT_EQ(subject.ask("go " + coroutine), "back");  // through the new f
  EXPECT_EQ(subject.ask("go " + coroutine), "back");
}

TEST_F(Stacks, ACoroutineBelowTheRunningOneKeepsTheImage) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), yielding_).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("start 0"), "back");
  EXPECT_EQ(subject.ask("on 2"), "on");
  expect_kept(subject, "0");
}

TEST_F(Stacks, ACoroutineAboveTheRunningOneKeepsTheImage) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), yielding_).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("start 2"), "back");
  EXPECT_EQ(subject.ask("on 0"), "on");
  expect_kept(subject, "2");
}

TEST_F(Stacks, ACoroutineBelowASignalStackKeepsTheImage) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), yielding_).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("start 0"), "back");
  EXPECT_EQ(subject.ask("signal 2"), "on");
  expect_kept(subject, "0");
}

TEST_F(Stacks, ACoroutineAboveASignalStackKeepsTheImage) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), yielding_).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("start 2"), "back");
  EXPECT_EQ(subject.ask("signal 0"), "on");
  expect_kept(subject, "2");
}

TEST_F(Stacks, CoroutinesInAFrameOfMainKeepTheImage) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), yielding_).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("arrays"), "on");
  expect_kept(subject, "5");
}

TEST_F(Stacks, AThreadInACoroutineIsStillInsideOnItsOwnStack) {
  refuses("thread 20");  // the coroutine above, in the same mapping
  refuses("thread 12");  // below
  refuses("thread 29");  // elsewhere
}

TEST_F(Stacks, ASmallStackInALargerMappingIsNotBorrowed) {
  Subject subject({program_});
  EXPECT_EQ(subject.ask("small 0"), "on");
  EXPECT_EQ(subject.ask("on 2"), "on");  // the first thread cannot be borrowed either
  auto report = patch(subject.pid(), plain_);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::busy) << report.reason;
  EXPECT_EQ(subject.ask("back"), "back");
  report = patch(subject.pid(), plain_);
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
}

TEST_F(Stacks, WhatIsLeftOverOnStacksOfThreadsKeepsNothing) {
  for (const char* line : {"f 4", "thread 1", "thread 9"}) {  // main, setstack, the library's own
    Subject subject({program_});
    ASSERT_EQ(patch(subject.pid(), plain_).outcome, Outcome::patched);
    subject.ask(line);
    EXPECT_EQ(state_after_undo(subject), "gone") << line;
  }
}

}  // namespace
}  // namespace livecare::engine
