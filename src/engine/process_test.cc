// Processes in every state: each is patched, or left alone for a reason that is said.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/process.h"
#include "engine/fixture_test.h"
#include "remote/status.h"

namespace livecare::engine {
namespace {

using testing::make_object;
using testing::make_patchset;
using testing::Subject;
using testing::Workshop;

const char* const library_source = R"(
#include <unistd.h>
__attribute__((noinline)) int f(int x) { asm volatile("nop;nop;nop;nop"); return x + 1; }
__attribute__((noinline)) int nap(int ms) { usleep(ms * 1000); asm volatile(""); return 7; }
)";

// "f" prints f(0); everything else is a mode that the test wants.
const char* const program_source = R"(
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern int f(int), nap(int);
static int (*other)(int);
static void* napper(void* ms) { nap((long)ms); return 0; }
static void* ended(void* unused) { return unused; }
static void* maker(void* unused) {
  for (;;) { pthread_t t; if (pthread_create(&t, 0, ended, 0) == 0) pthread_join(t, 0); f(1); }
  return unused;
}
static int shares(void* unused) { for (;;) { f(1); usleep(100); } return unused != 0; }
static void deny(int number) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {4, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) puts("no seccomp");
}
int main() {
  char line[512];
  pthread_t thread;
  setvbuf(stdout, 0, _IOLBF, 0);
  puts("ready");
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    long number = strchr(line, ' ') ? atol(strchr(line, ' ')) : 0;
    if (!strcmp(line, "f")) printf("%d\n", f(0));
    else if (!strcmp(line, "other")) printf("%d\n", other(0));
    else if (!strncmp(line, "nap", 3)) { pthread_create(&thread, 0, napper, (void*)number); puts("ok"); }
    else if (!strcmp(line, "threads")) { for (int i = 0; i < 3; ++i) pthread_create(&thread, 0, maker, 0); puts("ok"); }
    else if (!strcmp(line, "fork")) { pid_t p = fork(); if (p) printf("%d\n", p); else for (;;) pause(); }
    else if (!strcmp(line, "vfork")) { puts("ok"); if (vfork() == 0) { usleep(400000); _exit(0); } }
    else if (!strcmp(line, "clone")) { void* s = malloc(1 << 16); printf("%d\n", clone(shares, (char*)s + (1 << 16), CLONE_VM | SIGCHLD, 0)); }
    else if (!strncmp(line, "deny", 4)) { deny(number); puts("ok"); }
    else if (!strncmp(line, "dlmopen", 7)) { void* h = dlmopen(LM_ID_NEWLM, line + 8, RTLD_NOW); other = h ? (int (*)(int))dlsym(h, "f") : 0; puts(other ? "ok" : dlerror()); }
    else if (!strncmp(line, "dlopen", 6)) { void* h = dlopen(line + 7, RTLD_NOW); other = h ? (int (*)(int))dlsym(h, "g") : 0; printf("%p\n", h); }
    else if (!strncmp(line, "dlclose", 7)) { printf("%d\n", dlclose((void*)strtoul(line + 8, 0, 16))); }
    else if (!strncmp(line, "chroot", 6)) printf("%d\n", chroot(line + 7));
    else if (!strcmp(line, "leave")) exit(0);
    else puts("?");
  }
}
)";

class Process : public ::testing::Test {
 protected:
  Process()
      : library_(shop_.library("libp.so", library_source)),
        program_(shop_.program("prog", program_source, "-L. -lp -pthread -Wl,-rpath,$PWD")) {}

  patchfmt::Patchset one() {
    return make_patchset({make_object(shop_, library_, "int f(int x) { return x + 100; }", {"f"})});
  }
  patchfmt::Patchset nap() {
    return make_patchset({make_object(shop_, library_, "int nap(int x) { return x; }", {"nap"})});
  }
  static void expect_patched(Subject& subject, const patchfmt::Patchset& patchset) {
    auto report = patch(subject.pid(), patchset);
    ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
    EXPECT_EQ(subject.ask("f"), "100");
    report = unpatch(subject.pid(), {});
    ASSERT_EQ(report.outcome, Outcome::unpatched) << report.reason;
    EXPECT_EQ(subject.ask("f"), "1");
  }
  static void expect_refused(const ProcessReport& report, ErrorCode code, const std::string& word) {
    EXPECT_EQ(report.outcome, Outcome::failed);
    EXPECT_EQ(to_string(report.code), to_string(code)) << report.reason;
    EXPECT_NE(report.reason.find(word), std::string::npos) << report.reason;
  }

  Workshop shop_;
  std::filesystem::path library_, program_;
};

TEST_F(Process, AThreadThatLeavesIsWaitedFor) {
  Subject subject({program_});
  subject.ask("nap 700");
  auto report = patch(subject.pid(), nap());
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_GT(report.attempts, 1u);
  EXPECT_GT(report.total_us, 300'000u);
}

TEST_F(Process, AThreadThatNeverLeavesIsNamedWithItsFrames) {
  Subject subject({program_});
  subject.ask("nap 60000");
  Limits limits;
  limits.leave_wait_us_max = 300'000;
  auto report = patch(subject.pid(), nap(), limits);
  expect_refused(report, ErrorCode::busy, "nap");
  ASSERT_EQ(report.in_the_way.size(), 1u);
  EXPECT_EQ(report.in_the_way[0].function, "nap");
  EXPECT_NE(report.in_the_way[0].tid, subject.pid());
  std::string frames;
  for (const std::string& frame : report.in_the_way[0].frames) frames += frame + "\n";
  EXPECT_NE(frames.find("nap"), std::string::npos) << frames;
  EXPECT_TRUE(info(subject.pid()).objects.empty());
  EXPECT_EQ(subject.ask("f"), "1");
}

TEST_F(Process, ThreadsBeingCreatedWhileAttaching) {
  Subject subject({program_});
  subject.ask("threads");
  for (int i = 0; i < 5; ++i) expect_patched(subject, one());
}

TEST_F(Process, AForkedChildIsPatchedAndUnpatchedByItself) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), one()).outcome, Outcome::patched);
  pid_t child = atoi(subject.ask("fork").c_str());
  auto seen = info(child);
  ASSERT_EQ(seen.objects.size(), 1u) << seen.reason;
  EXPECT_EQ(seen.objects[0].state, "live");
  auto undone = unpatch(child, {});
  EXPECT_EQ(undone.outcome, Outcome::unpatched) << undone.reason;
  EXPECT_TRUE(undone.objects.empty());
  EXPECT_EQ(subject.ask("f"), "100");
  kill(child, SIGKILL);
}

TEST_F(Process, AVforkParentAndItsChildAreStoppedTogether) {
  Subject subject({program_});
  subject.ask("vfork");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  auto report = patch(subject.pid(), one());
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("f"), "100");
}

TEST_F(Process, AProcessThatSharesTheMemoryIsStoppedToo) {
  Subject subject({program_});
  pid_t other = atoi(subject.ask("clone").c_str());
  ASSERT_GT(other, 0);
  auto report = patch(subject.pid(), one());
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(report.threads, 2u);
  EXPECT_EQ(subject.ask("f"), "100");
  EXPECT_EQ(unpatch(other, {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("f"), "1");
  kill(other, SIGKILL);
}

TEST_F(Process, AStoppedProcessIsPatchedAndStaysStopped) {
  Subject subject({program_});
  subject.kill(SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
  auto report = patch(subject.pid(), one());
  EXPECT_EQ(report.outcome, Outcome::patched) << report.reason;
  char state = 0;  // let go, a thread goes back to its group stop by itself
  for (int i = 0; i < 1000 && state != 'T'; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    state = remote::read_status(subject.pid())->state;
  }
  EXPECT_EQ(state, 'T');
  subject.kill(SIGCONT);
  EXPECT_EQ(subject.ask("f"), "100");
}

TEST_F(Process, ATracedProcessIsRefusedAndTheTracerNamed) {
  Subject subject({program_});
  ASSERT_EQ(ptrace(PTRACE_SEIZE, subject.pid(), 0, 0), 0);
  expect_refused(patch(subject.pid(), one()), ErrorCode::busy, std::to_string(getpid()));
  ASSERT_EQ(ptrace(PTRACE_INTERRUPT, subject.pid(), 0, 0), 0);
  waitpid(subject.pid(), nullptr, 0);
  ASSERT_EQ(ptrace(PTRACE_DETACH, subject.pid(), 0, 0), 0);
  expect_patched(subject, one());
}

TEST_F(Process, SeccompFiltersAreWorkedWith) {
  Subject subject({program_});
  subject.ask("deny " + std::to_string(SYS_memfd_create));
  expect_patched(subject, one());
  subject.ask("deny " + std::to_string(SYS_mprotect));  // as MemoryDenyWriteExecute does
  expect_patched(subject, one());
  subject.ask("deny " + std::to_string(SYS_mmap));  // filters are suspended for our own calls
  expect_patched(subject, one());
}

TEST_F(Process, EveryCopyOfALibraryIsPatched) {
  Subject subject({program_});
  ASSERT_EQ(subject.ask("dlmopen " + library_.string()), "ok");
  auto report = patch(subject.pid(), one());
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(report.objects.size(), 2u);
  EXPECT_EQ(subject.ask("f"), "100");
  EXPECT_EQ(subject.ask("other"), "100");
  ASSERT_EQ(unpatch(subject.pid(), {}).outcome, Outcome::unpatched);
  EXPECT_EQ(subject.ask("other"), "1");
}

TEST_F(Process, ADeletedOrReplacedLibraryFile) {
  auto patchset = one();
  Subject deleted({program_});
  shop_.shell("cp libp.so keep; rm libp.so; cp keep libp.so");
  expect_patched(deleted, patchset);
  Subject replaced({program_});
  shop_.shell("echo other > new; mv new libp.so");
  expect_patched(replaced, patchset);
  shop_.shell("mv keep libp.so");
}

TEST_F(Process, AnUnloadedLibraryTakesItsPatchAlong) {
  auto plugin = shop_.library("libg.so",
                              "__attribute__((noinline)) int g(int x)"
                              " { asm volatile(\"nop;nop;nop;nop\"); return x + 1; }");
  auto patchset =
      make_patchset({make_object(shop_, plugin, "int g(int x) { return x + 100; }", {"g"})});
  Subject subject({program_});
  std::string handle = subject.ask("dlopen " + plugin.string());
  ASSERT_EQ(patch(subject.pid(), patchset).outcome, Outcome::patched);
  EXPECT_EQ(subject.ask("other"), "100");
  ASSERT_EQ(subject.ask("dlclose " + handle), "0");
  subject.ask("dlopen " + plugin.string());  // often at the same address
  EXPECT_EQ(subject.ask("other"), "1");
  auto again = patch(subject.pid(), patchset);
  EXPECT_EQ(again.outcome, Outcome::patched) << again.reason;
  EXPECT_EQ(subject.ask("other"), "100");
  EXPECT_EQ(again.objects.size(), 1u);
}

TEST_F(Process, InAChrootWithoutProcOrLibraries) {
  Subject subject({program_});
  std::filesystem::create_directories(shop_.path("empty"));
  ASSERT_EQ(subject.ask("chroot " + shop_.path("empty").string()), "0");
  expect_patched(subject, one());
}

TEST_F(Process, NewThreadLocalDataInAChrootWithoutProc) {
  std::filesystem::create_directories(shop_.path("jail/tmp"));
  auto patchset = make_patchset(
      {make_object(shop_, library_, "__thread int mine = 50; int f(int x) { return ++mine; }",
                   {"f"}, "-ftls-model=initial-exec")});
  Subject subject({program_});
  ASSERT_EQ(subject.ask("chroot " + shop_.path("jail").string()), "0");
  auto report = patch(subject.pid(), patchset);
  ASSERT_EQ(report.outcome, Outcome::patched) << report.reason;
  EXPECT_EQ(subject.ask("f"), "51");
  EXPECT_TRUE(std::filesystem::is_empty(shop_.path("jail/tmp")));
  // Nowhere to put a file: refused, and nothing is left behind.
  std::filesystem::create_directories(shop_.path("empty"));
  Subject other({program_});
  ASSERT_EQ(other.ask("chroot " + shop_.path("empty").string()), "0");
  report = patch(other.pid(), patchset);
  expect_refused(report, ErrorCode::refused, "livecare-tls");
  EXPECT_TRUE(report.objects.empty());
  EXPECT_EQ(other.ask("f"), "1");
}

TEST_F(Process, A32BitProcessIsRefused) {
  // A 32-bit program without a C library: pause() for ever.
  shop_.shell(
      "printf '.globl _start\\n_start: mov $29,%%eax\\nint $0x80\\njmp _start\\n' > p.s && "
      "as --32 p.s -o p.o && ld -m elf_i386 p.o -o p32");
  pid_t child = fork();
  if (child == 0) {
    execl(shop_.path("p32").c_str(), "p32", nullptr);
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  expect_refused(patch(child, one()), ErrorCode::unsupported, "32-bit");
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(Process, AZombieOrNobodyHasDied) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(patch(child, one()).code, ErrorCode::process_died);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(patch(child, one()).code, ErrorCode::process_died);
  EXPECT_EQ(unpatch(child, {}).code, ErrorCode::process_died);
  EXPECT_EQ(info(child).code, ErrorCode::process_died);
}

TEST_F(Process, MayDieAtAnyMoment) {
  auto patchset = one();
  for (int i = 0; i < 40; ++i) {
    Subject subject({program_});
    subject.ask("threads");
    std::thread killer([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(600 * i));
      subject.kill(SIGKILL);
    });
    auto report = patch(subject.pid(), patchset);
    if (report.outcome == Outcome::failed) {
      EXPECT_EQ(to_string(report.code), to_string(ErrorCode::process_died)) << report.reason;
    }
    killer.join();
  }
}

TEST_F(Process, PtraceDeniedIsAClearError) {
  auto patchset = one();
  Subject subject({program_});
  pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    auto report = patch(subject.pid(), patchset);
    _exit(report.outcome == Outcome::failed && report.code == ErrorCode::permission ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Process, InfoNeverStopsOrWrites) {
  Subject subject({program_});
  ASSERT_EQ(patch(subject.pid(), one()).outcome, Outcome::patched);
  ASSERT_EQ(ptrace(PTRACE_SEIZE, subject.pid(), 0, 0), 0);  // somebody else has it
  auto seen = info(subject.pid());
  ASSERT_EQ(seen.objects.size(), 1u);
  EXPECT_EQ(seen.objects[0].state, "live");
  EXPECT_NE(seen.objects[0].info.find("CVE-2026-1"), std::string::npos) << seen.objects[0].info;
  EXPECT_EQ(seen.stop_us, 0u);
}

}  // namespace
}  // namespace livecare::engine
