#include "remote/status.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/fd.h"
#include "base/file_system.h"
#include "remote/memory.h"

namespace livecare::remote {

namespace {

constexpr std::string_view server_comm = "libcare-server";  // the program that uses this room
constexpr uint32_t pf_exiting = 0x4;
constexpr uint32_t pf_io_worker = 0x10;
constexpr uint32_t pf_user_worker = 0x4000;  // vhost and the like, since 6.4
constexpr uint32_t pf_kthread = 0x00200000;

Error died(pid_t pid) {
  return make_error(ErrorCode::process_died, fmt::format("process {}", pid), "has ended");
}

std::string_view after(std::string_view text, std::string_view key) {
  size_t at = text.starts_with(key) ? 0 : text.find(fmt::format("\n{}", key));
  if (at == std::string_view::npos) return {};
  if (at != 0) ++at;
  text.remove_prefix(at + key.size());
  text = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text;
}

template <class T>
T number(std::string_view text, int base = 10) {
  T value{};
  if (base == 16 && text.starts_with("0x")) text.remove_prefix(2);
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> found;
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return found;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
      found.push_back(number<pid_t>(entry->d_name));
  }
  ::closedir(dir);
  return found;
}

// The flags word (PF_*) and the state of /proc/TID/stat.
uint32_t task_flags(std::string_view stat) {
  size_t at = stat.rfind(')');
  if (at == std::string_view::npos) return 0;
  stat.remove_prefix(at);
  constexpr int fields_before = 7;  // ") S ppid pgrp session tty tpgid "
  for (int field = 0; field < fields_before; ++field)
    stat.remove_prefix(std::min(stat.find(' '), stat.size() - 1) + 1);
  return number<uint32_t>(stat);
}

Status check_elf_class(pid_t pid) {
  std::string object = fmt::format("process {}", pid);
  std::string path = fmt::format("/proc/{}/exe", pid);
  Fd exe(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<uint8_t, 20> header{};
  if (!exe.valid()) {
    if (errno == ENOENT) return died(pid);
    return errno_error(path, "cannot open", errno);
  }
  if (::pread(exe.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size()) ||
      std::memcmp(header.data(), "\177ELF", 4) != 0)
    return make_error(ErrorCode::unsupported, object, "its executable is not an ELF file");
  if (header[4] != 2)
    return make_error(ErrorCode::unsupported, object,
                      "is a 32-bit process; only 64-bit processes can be patched");
  return ok_status();
}

}  // namespace

Result<TaskStatus> read_status(pid_t tid) {
  auto text = read_proc(fmt::format("/proc/{}/status", tid));
  if (!text.ok()) {
    if (text.error().code == ErrorCode::process_died) return died(tid);
    return text.take_error();
  }
  TaskStatus status;
  status.comm = after(*text, "Name:");
  std::string_view state = after(*text, "State:");
  status.state = state.empty() ? '?' : state.front();
  status.tgid = number<pid_t>(after(*text, "Tgid:"));
  status.parent = number<pid_t>(after(*text, "PPid:"));
  status.tracer = number<pid_t>(after(*text, "TracerPid:"));
  status.threads = number<uint32_t>(after(*text, "Threads:"));
  status.virtual_bytes = number<uint64_t>(after(*text, "VmSize:")) * 1024;
  status.seccomp = number<int>(after(*text, "Seccomp:"));
  std::string_view features = after(*text, "x86_Thread_features:");
  status.shadow_stack = features.find("shstk") != std::string_view::npos;
  status.switches = number<uint64_t>(after(*text, "voluntary_ctxt_switches:")) +
                    number<uint64_t>(after(*text, "nonvoluntary_ctxt_switches:"));
  return status;
}

Result<SleepPlace> read_sleep_place(pid_t pid, pid_t tid) {
  TRY(std::string text, read_proc(fmt::format("/proc/{}/task/{}/syscall", pid, tid)));
  SleepPlace place;
  if (text.starts_with("running")) return place;
  std::array<uint64_t, 9> words{};
  std::string_view rest = text;
  size_t count = 0;
  place.number = number<int64_t>(rest);
  while (count < words.size()) {
    size_t space = rest.find(' ');
    if (space == std::string_view::npos) break;
    rest.remove_prefix(space + 1);
    words[count++] = number<uint64_t>(rest, 16);
  }
  if (place.number < 0) {  // "-1 sp pc": asleep, but in no system call (a page fault)
    place.sp = words[0];
    place.pc = words[1];
    return place;
  }
  if (count < 8)
    return make_error(ErrorCode::invalid_input, fmt::format("thread {}", tid),
                      "cannot understand /proc/PID/syscall '{}'", text);
  place.asleep = true;
  std::copy_n(words.begin(), 6, place.arguments);
  place.sp = words[6];
  place.pc = words[7];
  return place;
}

std::vector<pid_t> read_threads(pid_t pid) {
  std::vector<pid_t> threads = numbers_in(fmt::format("/proc/{}/task", pid));
  std::sort(threads.begin(), threads.end());
  return threads;
}

Result<std::vector<SharedTask>> read_shared_tasks(pid_t pid) {
  std::vector<SharedTask> tasks;
  for (pid_t tid : read_threads(pid)) tasks.push_back({pid, tid});
  if (tasks.empty()) return died(pid);
  // Where kcmp does not work at all, a process that shares the memory would be taken for another.
  // A single refusal is of a process that we may not trace: it is not the one that we do trace.
  if (::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_VM, 0, 0) != 0)
    return make_error(ErrorCode::unsupported, fmt::format("process {}", pid),
                      "cannot be proved to share its memory with no other process: kcmp() fails "
                      "({}); it needs CONFIG_KCMP, and no seccomp filter (of a container) that "
                      "forbids it",
                      std::strerror(errno));
  for (pid_t other : numbers_in("/proc")) {
    if (other == pid) continue;
    if (::syscall(SYS_kcmp, pid, other, KCMP_VM, 0, 0) != 0) continue;  // another memory, or gone
    for (pid_t tid : read_threads(other)) tasks.push_back({other, tid});
  }
  return tasks;
}

TaskKind task_kind(pid_t pid, pid_t tid) {
  auto stat = read_proc(fmt::format("/proc/{}/task/{}/stat", pid, tid));
  if (!stat.ok()) return TaskKind::ended;
  size_t at = stat->rfind(')');
  char state = at + 2 < stat->size() ? (*stat)[at + 2] : 'X';
  uint32_t flags = task_flags(*stat);
  if (state == 'Z' || state == 'X' || (flags & pf_exiting) != 0) return TaskKind::ended;
  if ((flags & (pf_kthread | pf_io_worker | pf_user_worker)) != 0) return TaskKind::kernel_worker;
  return TaskKind::ordinary;
}

Error traced_error(std::string_view object, pid_t tracer) {
  auto status = read_status(tracer);
  std::string comm = status.ok() ? status->comm : "?";
  pid_t process = status.ok() ? status->tgid : tracer;
  if (comm == server_comm && process != ::getpid())
    return make_error(ErrorCode::busy, object,
                      "is being worked on by another run of livecare (process {}, {}); try again "
                      "when it is done",
                      process, comm);
  return make_error(ErrorCode::busy, object,
                    "is being traced by process {} ({}); end that debugger or tracer first",
                    process, comm);
}

Status check_patchable(pid_t pid) {
  std::string object = fmt::format("process {}", pid);
  TRY(TaskStatus status, read_status(pid));
  if (status.tgid != pid)
    return make_error(ErrorCode::invalid_input, object, "is a thread of process {}; name that",
                      status.tgid);
  object += fmt::format(" ({})", status.comm);
  if (status.state == 'Z' || status.state == 'X')
    return make_error(ErrorCode::process_died, object, "has ended (zombie)");
  auto stat = read_proc(fmt::format("/proc/{}/stat", pid));
  if (!stat.ok()) return died(pid);
  uint32_t flags = task_flags(*stat);
  if ((flags & pf_kthread) != 0)
    return make_error(ErrorCode::unsupported, object, "is a kernel thread");
  if ((flags & pf_exiting) != 0) return died(pid);
  if (status.tracer != 0) return traced_error(object, status.tracer);
  if (status.shadow_stack)
    return make_error(ErrorCode::unsupported, object,
                      "runs with user shadow stacks (CET), under which nothing can be called in "
                      "it; restart it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
  TRY_STATUS(check_elf_class(pid));
  TRY(Memory memory, Memory::open(pid));
  return ok_status();
}

}  // namespace livecare::remote
