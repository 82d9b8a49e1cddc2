// What /proc says about a process or a thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace livecare::remote {

struct TaskStatus {
  std::string comm;
  char state = '?';  // R S D T t Z X I
  pid_t tgid = 0;
  pid_t parent = 0;
  pid_t tracer = 0;
  uint32_t threads = 0;
  uint64_t virtual_bytes = 0;  // VmSize
  int seccomp = 0;             // 0 none, 1 strict, 2 filter
  bool shadow_stack = false;   // CET user shadow stack is on
  uint64_t switches = 0;       // voluntary + involuntary
};

// tid may be a process (then its first thread). process_died when it is gone.
Result<TaskStatus> read_status(pid_t tid);

// Where a thread is asleep: /proc/PID/task/TID/syscall.
struct SleepPlace {
  bool asleep = false;  // false: running, or not in a system call
  int64_t number = -1;
  uint64_t arguments[6] = {};
  uint64_t sp = 0, pc = 0;
  friend bool operator==(const SleepPlace&, const SleepPlace&) = default;
};
Result<SleepPlace> read_sleep_place(pid_t pid, pid_t tid);

std::vector<pid_t> read_threads(pid_t pid);  // empty when it is gone

// Every thread of every process that shares the memory of pid: its own threads, vfork children that
// have not executed yet, and CLONE_VM processes. First the threads of pid itself.
struct SharedTask {
  pid_t tgid = 0;
  pid_t tid = 0;
};
Result<std::vector<SharedTask>> read_shared_tasks(pid_t pid);

// Why a task that cannot be traced cannot be.
enum class TaskKind { ordinary, kernel_worker, ended };
TaskKind task_kind(pid_t pid, pid_t tid);

// busy: somebody traces `object` already. Names the tracer, and tells a debugger from another run
// of ours, whose program is libcare-server.
Error traced_error(std::string_view object, pid_t tracer);

// Whether a patch may be tried at all; says what is in the way: 32-bit, zombie, kernel thread,
// already traced (by whom), user shadow stacks, no right to ptrace.
Status check_patchable(pid_t pid);

}  // namespace livecare::remote
