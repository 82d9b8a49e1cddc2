// Programs that meet their unwinder late, never, or have one of their own.
#include "engine/fixture_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Unwinding : public ::testing::Test {
 protected:
  Unwinding() {
    library_ = shop_.library("libu.so", R"(
extern void inner(int);
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); inner(x); return x; }
)");
  }

  // "N" calls f(N), which calls inner(N) of the program; "l" loads libgcc_s.
  std::filesystem::path program(const std::string& inner, const std::string& flags = "") {
    return shop_.program("prog", R"(
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern int f(int);
)" + inner + R"(
static void* thread(void* number) { f((long)number); return 0; }
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    if (line[0] == 'l') { puts(dlopen("libgcc_s.so.1", RTLD_NOW) ? "loaded" : dlerror()); continue; }
    pthread_t id;
    void* result = 0;
    pthread_create(&id, 0, thread, (void*)atol(line));
    if (atol(line) == 1) { usleep(50000); MAYBE_CANCEL(id); }
    pthread_join(id, &result);
    puts(result == PTHREAD_CANCELED ? "cancelled" : "returned");
  }
}
)",
                         "-rdynamic -L. -lu -pthread -Wl,-rpath,$PWD " + flags);
  }

  patchfmt::Patchset one() {
    return make_patchset({make_object(
        shop_, library_, "extern void inner(int); int f(int x) { inner(x); return x + 1; }", {"f"},
        "-fexceptions -fasynchronous-unwind-tables")});
  }
  static bool has_libgcc(const Subject& subject) {
    auto objects = loaded_objects(subject.pid());
    for (const LoadedObject& object : *objects)
      if (object.path.find("libgcc_s.so.1") != std::string::npos) return true;
    return false;
  }

  Workshop shop_;
  std::filesystem::path library_;
};

TEST_F(Unwinding, ACancelledThreadUnwindsThroughNewCode) {
  auto path = program(
      "#define MAYBE_CANCEL pthread_cancel\n"
      "void inner(int x) { if (x == 1) sleep(30); }\n");
  Subject subject({path});
  EXPECT_FALSE(has_libgcc(subject));
  auto report = patch(subject.pid(), one());
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_TRUE(has_libgcc(subject));
  EXPECT_EQ(subject.ask("2"), "returned");
  EXPECT_EQ(subject.ask("1"), "cancelled");
  EXPECT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("1"), "cancelled");
}

TEST_F(Unwinding, AnUnwinderThatIsLoadedLaterIsToldByTheNextRun) {
  auto path = program(
      "#define MAYBE_CANCEL(id) ((void)id)\n"
      "static int hits;\n"
      "static int step(void* context, void* unused) { Dl_info info; (void)unused;\n"
      "  void* (*ip)(void*) = dlsym(RTLD_DEFAULT, \"_Unwind_GetIP\");\n"
      "  if (dladdr((void*)ip(context), &info) == 0 || !info.dli_sname) ++hits;\n"
      "  return 0; }\n"
      "void inner(int x) { int (*walk)(void*, void*);\n"
      "  void* library = dlopen(\"libgcc_s.so.1\", RTLD_NOLOAD | RTLD_NOW | RTLD_GLOBAL);\n"
      "  if (!library) return;\n"
      "  *(void**)&walk = dlsym(library, \"_Unwind_Backtrace\");\n"
      "  hits = 0; walk(step, 0); printf(\"%d frames without a name\\n\", hits); }\n");
  Subject subject({path});
  auto patchset = one();
  ASSERT_EQ(patch(subject.pid(), patchset).outcome, Outcome::patched);
  EXPECT_FALSE(has_libgcc(subject));
  EXPECT_EQ(subject.ask("l"), "loaded");
  auto again = patch(subject.pid(), patchset);
  EXPECT_EQ(again.outcome, Outcome::unchanged) << again.reason;
  // Now the walk goes through f, whose new code has no name, to the thread's start.
  std::string frames = subject.ask("2");
  EXPECT_NE(frames.find("frames without a name"), std::string::npos) << frames;
  EXPECT_GE(atoi(frames.c_str()), 2) << frames;
  EXPECT_EQ(subject.read_line(), "returned");
  auto undone = unpatch(subject.pid(), {});
  EXPECT_EQ(undone.outcome, Outcome::unpatched) << undone.reason;
  subject.ask("2");
  EXPECT_EQ(subject.read_line(), "returned");
}

TEST_F(Unwinding, AStaticUnwinderIsRefusedByName) {
  shop_.library("libstatic.so", R"(
// C++
#include <stdexcept>
extern "C" int static_throw() { try { throw std::runtime_error("x"); } catch (...) { return 1; } }
)",
                "-static-libgcc -static-libstdc++");
  auto path = program(
      "#define MAYBE_CANCEL(id) ((void)id)\n"
      "extern int static_throw(void);\nvoid inner(int x) { (void)x; static_throw(); }\n",
      "-lstatic");
  Subject subject({path});
  auto report = patch(subject.pid(), one());
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(to_string(report.code), to_string(ErrorCode::refused));
  EXPECT_NE(report.reason.find("libstatic.so"), std::string::npos) << report.reason;
  EXPECT_EQ(subject.ask("2"), "returned");
}

TEST_F(Unwinding, AStaticProgram) {
  auto path = shop_.program("static", R"(
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); return x; }
int main() {
  char line[64];
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) printf("%d\n", f(atoi(line)));
}
)",
                            "-static -fno-pie -no-pie");
  Subject subject({path});
  auto patchset =
      make_patchset({make_object(shop_, path, "int f(int x) { return x + 100; }", {"f"})});
  auto report = patch(subject.pid(), patchset);
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("1"), "101");
  ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("1"), "1");
}

}  // namespace
}  // namespace livecare::engine
