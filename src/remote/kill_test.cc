// The tool is killed before each of its system calls that touch the target; the target must go on,
// with every register as it was.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <optional>
#include <utility>

#include "remote/borrow.h"
#include "remote/maps.h"
#include "remote/session.h"
#include "remote/status.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

bool touches_target(uint64_t number) {
  return number == SYS_ptrace || number == SYS_waitid || number == SYS_pwrite64 ||
         number == SYS_process_vm_readv;
}

// The last requests of ptrace, to know where the tool was killed.
struct Requests {
  uint64_t before_last = 0, last = 0;

  void see(const __ptrace_syscall_info& info) {
    if (info.entry.nr != SYS_ptrace) return;
    before_last = std::exchange(last, info.entry.args[0]);
  }
  // From the change of a system call's number at its entry until the thread runs on: the window
  // that borrow.cc tells of.
  bool in_window(const __ptrace_syscall_info& info) const {
    if (info.entry.nr == SYS_ptrace)
      return info.entry.args[0] == PTRACE_SYSCALL && last == PTRACE_SETREGS;
    return info.entry.nr == SYS_waitid && last == PTRACE_SYSCALL && before_last == PTRACE_SETREGS;
  }
};

// Runs work in a child and kills that at the entry of its n-th system call that touches the target.
// False: it came to its end before.
bool killed_at(int n, const std::function<bool()>& work, bool* in_window = nullptr) {
  Requests requests;
  pid_t tool = ::fork();
  if (tool == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(tool, &status, 0), tool);
  ::ptrace(PTRACE_SETOPTIONS, tool, nullptr,
           PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  ::ptrace(PTRACE_SYSCALL, tool, nullptr, nullptr);
  for (;;) {
    pid_t task = ::waitpid(-1, &status, __WALL);
    if (task < 0) return false;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (task != tool) continue;
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
      return false;
    }
    int signal = WSTOPSIG(status);
    int deliver = 0;
    if (signal == (SIGTRAP | 0x80)) {
      __ptrace_syscall_info info{};
      ::ptrace(static_cast<__ptrace_request>(PTRACE_GET_SYSCALL_INFO), task, sizeof(info), &info);
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY && touches_target(info.entry.nr) && --n == 0) {
        if (in_window != nullptr) *in_window = requests.in_window(info);
        ::kill(tool, SIGKILL);
        while (::waitpid(-1, &status, __WALL) != tool || !WIFSIGNALED(status)) {
        }  // its threads must be reaped before it
        return true;
      }
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY) requests.see(info);
    } else if (signal != SIGTRAP && signal != SIGSTOP) {
      deliver = signal;
    }
    ::ptrace(PTRACE_SYSCALL, task, nullptr, deliver);
  }
}

// Keeps known values in registers of every kind and counts; dies when one has changed.
constexpr const char* registers_program = R"(
  #include <stdint.h>
  #include <stdio.h>
  #include <stdlib.h>
  volatile unsigned long counter;
  int main(void) {
    printf("ready\n%p\n", (void *)&counter); fflush(stdout);
    for (;;) {
      uint64_t bad = 0, rounds = 100000;
      asm volatile(
        "mov $0x1111, %%rbx\n mov $0x2222, %%rcx\n mov $0x3333, %%rdx\n mov $0x4444, %%rsi\n"
        "mov $0x5555, %%rdi\n mov $0x6666, %%r8\n mov $0x7777, %%r9\n mov $0x8888, %%r10\n"
        "mov $0x9999, %%r11\n mov $0xaaaa, %%r12\n mov $0xbbbb, %%r13\n mov $0xcccc, %%r14\n"
        "movq $0x7e57, -16(%%rsp)\n"  /* in the red zone */
        "movq %%rbx, %%xmm3\n movq %%r14, %%xmm15\n fld1\n"
        "1: dec %1\n jnz 1b\n"
        "xor $0x1111, %%rbx\n or %%rbx, %0\n xor $0x2222, %%rcx\n or %%rcx, %0\n"
        "xor $0x3333, %%rdx\n or %%rdx, %0\n xor $0x4444, %%rsi\n or %%rsi, %0\n"
        "xor $0x5555, %%rdi\n or %%rdi, %0\n xor $0x6666, %%r8\n or %%r8, %0\n"
        "xor $0x7777, %%r9\n or %%r9, %0\n xor $0x8888, %%r10\n or %%r10, %0\n"
        "xor $0x9999, %%r11\n or %%r11, %0\n xor $0xaaaa, %%r12\n or %%r12, %0\n"
        "xor $0xbbbb, %%r13\n or %%r13, %0\n xor $0xcccc, %%r14\n or %%r14, %0\n"
        "mov -16(%%rsp), %%rbx\n xor $0x7e57, %%rbx\n or %%rbx, %0\n"
        "movq %%xmm3, %%rbx\n xor $0x1111, %%rbx\n or %%rbx, %0\n"
        "movq %%xmm15, %%rbx\n xor $0xcccc, %%rbx\n or %%rbx, %0\n"
        "fistpll -24(%%rsp)\n mov -24(%%rsp), %%rbx\n xor $1, %%rbx\n or %%rbx, %0\n"
        : "+r"(bad), "+r"(rounds) :
        : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
          "xmm3", "xmm15", "memory", "cc");
      if (bad) abort();
      counter++;
    }
  })";

// Sleeps in a call that only the restart block can restart.
constexpr const char* sleeping_program = R"(
  #include <poll.h>
  #include <stdio.h>
  volatile unsigned long counter;
  int main(void) {
    printf("ready\n%p\n", (void *)&counter); fflush(stdout);
    for (;;) { poll(0, 0, 5); counter++; }
  })";

// Sleeps in turn in two calls that look alike from outside, with other values in its registers;
// dies when it comes back with those of the other one.
constexpr const char* alternating_program = R"(
  #include <stdint.h>
  #include <stdio.h>
  #include <stdlib.h>
  volatile unsigned long counter, expected;
  int main(void) {
    printf("ready\n%p\n", (void *)&counter); fflush(stdout);
    for (;; counter++) {
      uint64_t value = expected = counter % 2 ? 0x1111 : 0x2222, result;
      asm volatile("mov %1, %%r12\n mov $7, %%eax\n xor %%edi, %%edi\n xor %%esi, %%esi\n"
                   "mov $3, %%edx\n syscall\n mov %%r12, %0\n"
                   : "=r"(result) : "r"(value)
                   : "rax", "rdi", "rsi", "rdx", "rcx", "r11", "r12", "memory");
      if (result != expected) abort();
    }
  })";

// A borrow with system calls, and a stop.
Status call_in(BorrowedThread& thread) {
  TRY(uint64_t page, thread.syscall(SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC,
                                               MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0}));
  TRY_STATUS(thread.write(RemoteAddress(page), ByteView(return_pad.data(), return_pad.size())));
  const uint8_t return_42[] = {0xb8, 42, 0, 0, 0, 0xc3};
  TRY_STATUS(thread.write(RemoteAddress(page + 64), ByteView(return_42, sizeof(return_42))));
  TRY(uint64_t value, thread.call(RemoteAddress(page + 64), RemoteAddress(page), {}));
  TRY(uint64_t gone, thread.syscall(SYS_munmap, {page, 4096}));
  if (value == 42 && gone == 0) return ok_status();
  return make_error(ErrorCode::internal, "call", "returned {}", value);
}

bool make_calls_in(pid_t pid) {
  Status outcome = with_session(pid, {}, [](Session& session) {
    const RemoteSyscall calls[] = {{SYS_getpid, {}}, {SYS_gettid, {}}};
    return session.make_calls(calls, [] { return true; });
  });
  if (!outcome.ok()) fmt::print(stderr, "{}\n", outcome.error().text());
  return outcome.ok();
}

bool work_on(pid_t pid) {
  Status outcome = with_session(pid, {}, [&](Session& session) -> Status {
    Status called = session.borrow({}, call_in);
    if (!called.ok()) return called;
    const RemoteSyscall calls[] = {{SYS_getpid, {}}, {SYS_gettid, {}}, {SYS_getuid, {}}};
    TRY_STATUS(session.make_calls(calls, [] { return true; }));
    TRY(StopReport report, session.stop({}, [](StoppedProcess&) { return ok_status(); }));
    return report.tasks == 1 ? ok_status() : Status(make_error(ErrorCode::internal, "", "tasks"));
  });
  if (!outcome.ok()) fmt::print(stderr, "{}\n", outcome.error().text());
  return outcome.ok();
}

std::string blocked_signals(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("SigBlk:")) return line.substr(8);
  return "?";
}

void survive(const char* program, bool (*work)(pid_t) = work_on, int steps_min = 40) {
  Target target = Target::start(program);
  RemotePtr<uint64_t> counter(std::stoull(target.line(), nullptr, 16));
  auto memory = Memory::open(target.pid());
  ASSERT_TRUE(memory.ok());
  int n = 1;
  for (;; ++n) {
    ASSERT_LT(n, 2000);
    bool killed = killed_at(n, [&] { return work(target.pid()); });
    auto before = memory->read_value(counter);
    ASSERT_TRUE(before.ok()) << "step " << n;
    bool moved = false;
    for (int i = 0; i < 5000 && !moved; ++i) {
      ::usleep(1000);
      auto now = memory->read_value(counter);
      moved = now.ok() && *now > *before + 1;
    }
    ASSERT_TRUE(moved) << "stands still after step " << n << ", state " << state_of(target.pid());
    EXPECT_EQ(blocked_signals(target.pid()), "0000000000000000") << "step " << n;
    EXPECT_EQ(read_status(target.pid())->tracer, 0);
    if (!killed) break;
  }
  EXPECT_GT(n, steps_min);
}

TEST(Killed, ABusyThreadGoesOnWithItsRegisters) {
  survive(registers_program);
}

TEST(Killed, ASleepingThreadGoesOn) {
  survive(sleeping_program);
}

// A frame that an earlier run left on its stack is another sleep's.
TEST(Killed, ASleepingThreadThatMakesCallsGoesOnWhereItIs) {
  for (int round = 0; round < 4; ++round) survive(alternating_program, make_calls_in, 10);
}

// Its filter kills for the very calls that we make while the filter is suspended.
constexpr const char* confined_program = R"(
  #include <linux/filter.h>
  #include <linux/seccomp.h>
  #include <poll.h>
  #include <stddef.h>
  #include <stdio.h>
  #include <sys/prctl.h>
  #include <sys/syscall.h>
  volatile unsigned long counter;
  int main(void) {
    struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {5, code};
    setvbuf(stdout, 0, _IONBF, 0);
    printf("ready\n%p\n", (void *)&counter);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    for (;;) { poll(0, 0, 1); counter++; }
  })";

TEST(Killed, AFilterThatKillsForOurCallsMeetsNoneOfThem) {
  std::optional<Target> target;
  std::optional<Memory> memory;
  RemotePtr<uint64_t> counter;
  int in_window = 0;
  for (int n = 1; n < 2000; ++n) {
    if (!target) {
      target.emplace(Target::start(confined_program));
      counter = RemotePtr<uint64_t>(std::stoull(target->line(), nullptr, 16));
      while (read_status(target->pid())->seccomp == 0) ::usleep(1000);
      memory.emplace(*Memory::open(target->pid()));
    }
    bool window = false;
    bool killed = killed_at(
        n, [&] { return work_on(target->pid()); }, &window);
    in_window += window ? 1 : 0;
    uint64_t before = memory->read_value(counter).ok() ? *memory->read_value(counter) : 0;
    bool moved = false;
    for (int i = 0; i < 5000 && !moved; ++i) {
      auto now = memory->read_value(counter);
      if (!now.ok()) break;
      moved = *now > before + 1;
      ::usleep(1000);
    }
    EXPECT_TRUE(moved || window) << "killed by its filter at step " << n;
    if (!moved) {
      target.reset();
      memory.reset();
    }
    if (!killed) break;
  }
  EXPECT_GT(in_window, 0);
  // Two of the steps for each of the calls, and for leaving one; a wait that the timer ends is one
  // more.
  EXPECT_LE(in_window, 3 * 6);
}

}  // namespace
}  // namespace livecare::remote
