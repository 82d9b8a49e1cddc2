#include "remote/status.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "remote/seccomp_test.h"
#include "remote/target_test.h"

namespace livecare::remote {
namespace {

constexpr const char* waiting = R"(
  #include <stdio.h>
  #include <unistd.h>
  int main(void) { printf("ready\n"); fflush(stdout); for (;;) pause(); })";

// Runs work in a child; true when it returned true.
bool in_child(const std::function<bool()>& work) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Status, WithoutKcmpNobodyIsTakenForUnshared) {
  Target target = Target::start(waiting);
  ASSERT_TRUE(read_shared_tasks(target.pid()).ok());
  EXPECT_TRUE(in_child([&] {
    testing::forbid_system_call(SYS_kcmp);
    auto tasks = read_shared_tasks(target.pid());
    return !tasks.ok() && tasks.error().code == ErrorCode::unsupported &&
           tasks.error().message.find("CONFIG_KCMP") != std::string::npos;
  }));
}

TEST(Status, AnotherRunOfOursIsNoDebugger) {
  Target target = Target::start(waiting);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  pid_t other = ::fork();
  if (other == 0) {
    ::prctl(PR_SET_NAME, "libcare-server");
    ::ptrace(PTRACE_SEIZE, target.pid(), nullptr, nullptr);
    (void)!::write(ends[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ends[0], &byte, 1), 1);
  Status refused = check_patchable(target.pid());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::busy);
  EXPECT_NE(refused.error().message.find("another run of livecare"), std::string::npos)
      << refused.error().text();
  EXPECT_EQ(refused.error().message.find("debugger"), std::string::npos);
  ::kill(other, SIGKILL);
  ::waitpid(other, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace livecare::remote
