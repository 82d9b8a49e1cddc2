// What lies below a thread's stack pointer is dead, and what lies between its frames can be told
// from the frames: but only when the thread runs on a stack of its own, from the bottom of that
// stack to its first function. A stack pointer can be anywhere: on a signal stack or in a coroutine
// in the middle of the heap, with live objects below it; in a coroutine whose stack is an array in
// a frame of main; on a stack that the program gave to pthread_attr_setstack, from a block of the
// heap. So four things are proved:
//
//   1. Where the stack lies. The first thread's is the mapping [stack], which the kernel merges
//      with nothing. For others the C library has written it down (remote/stack_areas.cc).
//   2. The walk ends in the thread's first function, not in that of a coroutine: for the first
//      thread where the kernel put the arguments (startstack of /proc/PID/stat), for others in code
//      that goes on to end the thread by the system call exit, as clone's child does.
//   3. The walk stays on one stack: no signal frame, and each frame above the one that it called.
//   4. No other task has its stack pointer there (a child in vfork has).
#include "engine/own_stack.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/file_system.h"
#include "remote/stack_areas.h"

namespace livecare::engine {
namespace {

using remote::Frame;
using remote::Mapping;
using remote::RemoteAddress;
using remote::StoppedTask;

constexpr uint64_t root_to_arguments_bytes_max = 256;
constexpr size_t thread_end_bytes_max = 24;

uint64_t start_of_arguments(pid_t pid) {
  auto text = read_proc("/proc/" + std::to_string(pid) + "/stat");
  if (!text.ok()) return 0;
  std::istringstream fields(text->substr(text->rfind(')') + 1));
  std::string field;
  constexpr int first_field = 3, startstack = 28;
  for (int i = first_field; i <= startstack; ++i) fields >> field;
  return std::strtoull(field.c_str(), nullptr, 10);
}

bool begins_first_thread(pid_t pid, const Frame& root) {
  return start_of_arguments(pid) - root.sp.address() <= root_to_arguments_bytes_max;
}

// mov $60, %eax (or %al); syscall
bool ends_the_thread(const remote::Memory& memory, const Frame& root) {
  Bytes code = memory.read_prefix(root.pc, thread_end_bytes_max);
  constexpr std::array<uint8_t, 2> call = {0x0f, 0x05}, short_number = {0xb0, 60};
  constexpr std::array<uint8_t, 5> number = {0xb8, 60, 0, 0, 0};
  auto end = std::search(code.begin(), code.end(), call.begin(), call.end());
  if (end == code.end()) return false;
  return std::search(code.begin(), end, number.begin(), number.end()) != end ||
         std::search(code.begin(), end, short_number.begin(), short_number.end()) != end;
}

bool stays_on_one_stack(const std::vector<Frame>& frames) {
  for (size_t i = 0; i + 1 < frames.size(); ++i)
    if (frames[i + 1].sp.bytes_from(frames[i].sp) <= 0 || frames[i + 1].exact) return false;
  return !frames.empty();
}

}  // namespace

bool begins_thread(const remote::Memory& memory, const StoppedTask& task, const Frame& frame) {
  return task.tid == memory.pid() ? begins_first_thread(memory.pid(), frame)
                                  : ends_the_thread(memory, frame);
}

std::optional<OwnStack> prove_own_stack(remote::Unwinder& unwinder,
                                        const remote::StoppedProcess& process,
                                        const remote::Maps& maps, const StoppedTask& task) {
  const remote::Memory& memory = process.memory();
  if (task.in_vfork || task.tgid != memory.pid() || !task.home_stack.empty()) return std::nullopt;
  uint64_t sp = task.registers.rsp;
  const Mapping* mapping = maps.find(RemoteAddress(sp));
  if (mapping == nullptr) return std::nullopt;
  bool first = task.tid == task.tgid;
  OwnStack own;
  if (first) {
    if (mapping->path != "[stack]") return std::nullopt;
    own.bottom = mapping->range.start.address();
  } else {
    auto bottom = remote::stack_bottom(memory, *mapping, RemoteAddress(sp),
                                       RemoteAddress(task.registers.fs_base));
    if (!bottom) return std::nullopt;
    own.bottom = bottom->address();
  }
  remote::StackWalk walk = unwinder.walk(task);
  if (!walk.complete || !stays_on_one_stack(walk.frames)) return std::nullopt;
  if (!begins_thread(memory, task, walk.frames.back())) return std::nullopt;
  own.frames = std::move(walk.frames);
  for (const StoppedTask& other : process.tasks())
    if (&other != &task && other.registers.rsp - own.bottom < own.top() - own.bottom)
      return std::nullopt;
  return own;
}

}  // namespace livecare::engine
