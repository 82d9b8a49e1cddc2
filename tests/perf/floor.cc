#include "perf/floor.h"

#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "remote/status.h"

namespace livecare::perf {

namespace {

constexpr size_t stack_bytes = 2048;

Result<double> measure(pid_t pid) {
  std::vector<pid_t> tids = remote::read_threads(pid);
  for (pid_t tid : tids)
    if (::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0)
      return errno_error("floor", "cannot seize", errno);
  std::vector<user_regs_struct> registers(tids.size());
  std::vector<uint8_t> stacks(tids.size() * stack_bytes);
  uint64_t begin = monotonic_ns();
  for (pid_t tid : tids) ::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  for (size_t i = 0; i < tids.size(); ++i) {
    int status = 0;
    if (::waitpid(tids[i], &status, __WALL) != tids[i])
      return errno_error("floor", "cannot wait", errno);
    ::ptrace(PTRACE_GETREGS, tids[i], nullptr, &registers[i]);
    iovec local{stacks.data() + i * stack_bytes, stack_bytes};
    iovec there{reinterpret_cast<void*>(registers[i].rsp), stack_bytes};
    ::process_vm_readv(pid, &local, 1, &there, 1, 0);
  }
  for (pid_t tid : tids) ::ptrace(PTRACE_CONT, tid, nullptr, nullptr);
  return static_cast<double>(monotonic_ns() - begin) / 1000;
}

}  // namespace

Result<double> floor_us(pid_t pid) {
  Result<double> result = 0.0;
  std::thread thread([&] { result = measure(pid); });
  thread.join();
  while (true) {  // until the kernel has let go
    auto status = remote::read_status(pid);
    if (!status.ok() || status->tracer == 0) return result;
  }
}

}  // namespace livecare::perf
