// What new code may refer to: imports, ifuncs, thread-local variables, exceptions.
#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Symbols : public ::testing::Test {
 protected:
  // A library of `source` with `int f(int)`; the program prints f(N) for each line "N", from its
  // main thread, from one that is older than the patch and from a new one.
  void build(const std::string& source, const std::string& flags = "") {
    library_ = shop_.library("libs.so", source, flags);
    program_ = shop_.program("prog", R"(
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
extern int f(int);
static int number, result;
static sem_t go, done;
static void* old_thread(void* unused) {
  for (;;) { while (sem_wait(&go)) {} result = f(number); sem_post(&done); }
  return unused;
}
static void* new_thread(void* unused) { result = f(number); return unused; }
int main() {
  char line[64];
  pthread_t thread;
  setvbuf(stdout, 0, _IOLBF, 0);
  sem_init(&go, 0, 0); sem_init(&done, 0, 0);
  pthread_create(&thread, 0, old_thread, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    number = atoi(line);
    int first = f(number);
    sem_post(&go); while (sem_wait(&done)) {}
    int second = result;
    pthread_create(&thread, 0, new_thread, 0);
    pthread_join(thread, 0);
    printf("%d %d %d\n", first, second, result);
  }
}
)",
                             "-L. -ls -pthread -Wl,-rpath,$PWD");
  }

  patchfmt::Patchset level(uint32_t number, const std::string& source,
                           const std::string& flags = "") {
    return make_patchset({make_object(shop_, library_, source, {"f"}, flags)}, number);
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
};

TEST_F(Symbols, NewImportsFromLoadedLibraries) {
  build("int f(int x) { asm volatile(\"nop;nop;nop;nop\"); return x; }");
  Subject subject({program_});
  EXPECT_EQ(subject.ask("3"), "3 3 3");
  // strtol is a function, strrchr an ifunc, environ a variable that the program may have copied.
  auto report = patch(subject.pid(), level(1, R"(
#include <stdlib.h>
#include <string.h>
extern char** environ;
int f(int x) {
  static const char text[] = "12a34a";
  return (int)strtol(text, 0, 10) + (int)(strrchr(text, 'a') - text) * 100 + (environ != 0) * 1000;
}
)"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("3"), "1512 1512 1512");
}

TEST_F(Symbols, WeakImportsMayBeMissing) {
  build("int f(int x) { asm volatile(\"nop;nop;nop;nop\"); return x; }");
  Subject subject({program_});
  auto report = patch(subject.pid(), level(1, R"(
extern int absent(void) __attribute__((weak));
int f(int x) { return absent ? absent() : 77; }
)"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("3"), "77 77 77");
}

TEST_F(Symbols, PreloadedLibrariesInterpose) {
  build("int f(int x) { asm volatile(\"nop;nop;nop;nop\"); return x; }");
  auto preload = shop_.library("libpre.so", "int abs(int x) { return 4242; }", "-fno-builtin");
  Subject subject({"/usr/bin/env", "LD_PRELOAD=" + preload.string(), program_});
  auto report = patch(subject.pid(),
                      level(1, "int abs(int); int f(int x) { return abs(x); }", "-fno-builtin"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("3"), "4242 4242 4242");
}

TEST_F(Symbols, IfuncsOfTheTarget) {
  build(R"(
static int chosen(int x) { asm volatile(""); return x + 40; }
static int (*resolver(void))(int) { return chosen; }
__attribute__((visibility("hidden"))) int pick(int x) __attribute__((ifunc("resolver")));
int f(int x) { return pick(x) + 1; }
)");
  Subject subject({program_});
  EXPECT_EQ(subject.ask("1"), "42 42 42");
  auto report =
      patch(subject.pid(), level(1,
                                 "extern int pick(int) __attribute__((visibility(\"hidden\")));"
                                 "int f(int x) { return pick(x) + 1000; }",
                                 "-fno-plt"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("1"), "1041 1041 1041");
}

TEST_F(Symbols, ThreadLocalVariablesOfTheTarget) {
  build("__thread int counter; int f(int x) { return counter += x; }");
  Subject subject({program_});
  EXPECT_EQ(subject.ask("1"), "1 1 1");
  EXPECT_EQ(subject.ask("1"), "2 2 1");
  auto report =
      patch(subject.pid(),
            level(1, "extern __thread int counter; int f(int x) { return counter += 100; }"));
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("1"), "102 102 100");
  ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("1"), "103 103 1");
}

TEST_F(Symbols, NewThreadLocalVariables) {
  build("int f(int x) { asm volatile(\"nop;nop;nop;nop\"); return x; }");
  for (const char* model : {"initial-exec", "global-dynamic"}) {
    SCOPED_TRACE(model);
    Subject subject({program_});
    auto one = level(1,
                     "__thread int mine = 7; __thread char room[100]; int f(int x)"
                     " { room[x] = 1; return mine += x; }",
                     "-ftls-model=" + std::string(model));
    auto report = patch(subject.pid(), one);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    EXPECT_EQ(subject.ask("1"), "8 8 8");
    EXPECT_EQ(subject.ask("1"), "9 9 8");
    size_t mappings = subject.mappings();
    for (int i = 0; i < 5; ++i) {  // the block stays and is used again
      ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
      EXPECT_EQ(subject.ask("1"), "1 1 1");
      ASSERT_EQ(patch(subject.pid(), one).outcome, Outcome::patched);
    }
    EXPECT_LE(subject.mappings(), mappings + 1);
    EXPECT_EQ(subject.ask("1"), "10 10 8");
  }
}

TEST_F(Symbols, EachLevelHasItsOwnNewThreadLocalVariables) {
  build("int f(int x) { asm volatile(\"nop;nop;nop;nop\"); return x; }");
  for (const char* model : {"initial-exec", "global-dynamic"}) {
    SCOPED_TRACE(model);
    const std::string flags = "-ftls-model=" + std::string(model);
    Subject subject({program_});
    const char* one = "__thread int mine = 7; int f(int x) { return mine += x; }";
    const char* two =
        "__thread long pad[100] = {5}; __thread int mine = 70;"
        " int f(int x) { return mine += x + (pad[99]++ == 0); }";
    ASSERT_EQ(patch(subject.pid(), level(1, one, flags)).outcome, Outcome::patched);
    EXPECT_EQ(subject.ask("1"), "8 8 8");
    auto report = patch(subject.pid(), level(2, two, flags));
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    EXPECT_EQ(subject.ask("1"), "72 72 72");
    ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
    ASSERT_EQ(patch(subject.pid(), level(1, one, flags)).outcome, Outcome::patched);
    EXPECT_EQ(subject.ask("1"), "9 9 8");
  }
}

TEST_F(Symbols, ExceptionsAndBacktracesGoThroughNewCode) {
  library_ = shop_.library("libx.so", R"(
extern "C" { void thrower(int); }
extern "C" __attribute__((noinline)) int through(int x) {
  asm volatile("nop;nop;nop;nop");
  return x;
}
// C++
)");
  program_ = shop_.program("prog", R"(
// C++
#include <execinfo.h>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
extern "C" int through(int);
extern "C" int thrower(int x) {
  void* frames[64];
  if (x == 2) return backtrace(frames, 64);
  if (x == 1) throw std::runtime_error("thrown");
  return 5;
}
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    try { printf("%d\n", through(atoi(line))); }
    catch (const std::exception& error) { puts(error.what()); }
  }
}
)",
                           "-rdynamic -L. -lx -Wl,-rpath,$PWD");
  Subject subject({program_});
  EXPECT_EQ(subject.ask("1"), "1");
  auto one = make_patchset({make_object(shop_, library_, R"(
int thrower(int);
int through(int x) { int y = thrower(x); return y + 1; }
)",
                                        {"through"}, "-fexceptions -fasynchronous-unwind-tables")});
  for (int i = 0; i < 3; ++i) {
    auto report = patch(subject.pid(), one);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    EXPECT_EQ(subject.ask("0"), "6");
    EXPECT_EQ(subject.ask("1"), "thrown");
    EXPECT_GE(atoi(subject.ask("2").c_str()), 5);
    EXPECT_EQ(subject.ask("1"), "thrown");
    auto undone = unpatch(subject.pid(), {});
    ASSERT_EQ(undone.outcome, Outcome::unpatched) << undone.reason;
    EXPECT_TRUE(undone.objects.empty()) << undone.objects[0].state;
    EXPECT_EQ(subject.ask("1"), "1");
  }
}

}  // namespace
}  // namespace livecare::engine
