// What lies between us and a process: uprobes of others on its code, a PID namespace, a
// /proc/PID/mem that may not be written.
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/fixture_test.h"
#include "remote/seccomp_test.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

class Others : public ::testing::Test {
 protected:
  Others() {
    library_ = shop_.library("libo.so", R"(
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); return x + 1; }
)");
    program_ = shop_.program("prog", R"(
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
extern int f(int);
static void* loop(void* unused) { for (;;) { f(1); usleep(100); } return unused; }
int main() {
  char line[64];
  pthread_t thread;
  setvbuf(stdout, 0, _IOLBF, 0);
  pthread_create(&thread, 0, loop, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) printf("%d\n", f(0));
}
)",
                             "-L. -lo -pthread -Wl,-rpath,$PWD");
    one_ = make_patchset({make_object(shop_, library_, "int f(int x) { return 100; }", {"f"})});
  }

  // A file descriptor that holds a uprobe on f's entry, or -1 where the kernel has none.
  int set_uprobe() const {
    int type = 0;
    if (!(std::ifstream("/sys/bus/event_source/devices/uprobe/type") >> type)) return -1;
    std::string path = library_.native();
    perf_event_attr attributes{};
    attributes.type = static_cast<uint32_t>(type);
    attributes.size = sizeof(attributes);
    attributes.config1 = reinterpret_cast<uint64_t>(path.c_str());
    attributes.config2 = one_.objects[0].functions[0].address;  // = its offset in the file
    return static_cast<int>(
        syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
  }

  void patch_and_undo(Subject& subject, pid_t pid) {
    auto report = patch(pid, one_);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    EXPECT_EQ(report.threads, 2u);
    EXPECT_EQ(subject.ask("x"), "100");
    report = unpatch(pid, {});
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    EXPECT_EQ(subject.ask("x"), "1");
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
  patchfmt::Patchset one_;
};

TEST_F(Others, AUprobeOnTheEntryIsSeenAndRefused) {
  Subject subject({program_});
  int probe = set_uprobe();
  ASSERT_GE(probe, 0) << "this test needs a kernel with uprobes (CONFIG_UPROBE_EVENTS) and root";
  auto report = patch(subject.pid(), one_);
  EXPECT_EQ(report.outcome, Outcome::failed);
  EXPECT_EQ(report.code, ErrorCode::conflict);
  EXPECT_NE(report.reason.find("a breakpoint or uprobe lies on function f"), std::string::npos)
      << report.reason;
  EXPECT_EQ(subject.ask("x"), "1");
  close(probe);
  patch_and_undo(subject, subject.pid());
}

TEST_F(Others, InAPidNamespaceOfItsOwn) {
  Subject subject({"/usr/bin/unshare", "-pfm", "--mount-proc", "--kill-child", program_});
  pid_t inside = 0;
  std::string parent = std::to_string(subject.pid());
  std::ifstream("/proc/" + parent + "/task/" + parent + "/children") >> inside;
  ASSERT_GT(inside, 0);
  patch_and_undo(subject, inside);
}

TEST_F(Others, WithoutProcMem) {
  Subject subject({program_});
  for (bool undo : {false, true}) {
    pid_t child = fork();
    if (child == 0) {
      remote::testing::forbid_system_call(SYS_pwrite64);
      auto report = undo ? unpatch(subject.pid(), {}) : patch(subject.pid(), one_);
      if (report.outcome == Outcome::failed) puts(report.reason.c_str());
      _exit(report.outcome != (undo ? Outcome::unpatched : Outcome::patched));
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(subject.ask("x"), undo ? "1" : "100");
  }
  EXPECT_TRUE(info(subject.pid()).objects.empty());
}

}  // namespace
}  // namespace livecare::engine
