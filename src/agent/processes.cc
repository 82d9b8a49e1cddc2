#include "agent/processes.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "base/file_system.h"

namespace livecare::agent {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kernel_thread_flag = 0x0020'0000;  // PF_KTHREAD of the kernel's sched.h
constexpr std::string_view deleted_mark = " (deleted)";

std::string read_executable(pid_t pid) {
  std::error_code failure;
  std::string link = fs::read_symlink(fmt::format("/proc/{}/exe", pid), failure).native();
  if (link.ends_with(deleted_mark)) link.resize(link.size() - deleted_mark.size());
  return link;
}

}  // namespace

std::optional<Process> parse_stat(const std::string& text) {
  // comm may hold blanks and parentheses; it ends at the last one.
  size_t open = text.find('(');
  size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  Process process;
  process.comm = text.substr(open + 1, close - open - 1);
  std::from_chars(text.data(), text.data() + open, process.pid);
  std::istringstream rest(text.substr(close + 1));
  char state = 0;
  uint64_t flags = 0;
  std::string skipped;
  rest >> state >> process.parent;  // fields 3 and 4 of proc(5)
  for (int field = 5; field <= 8; ++field) rest >> skipped;
  rest >> flags;  // 9
  for (int field = 10; field <= 21; ++field) rest >> skipped;
  rest >> process.start_time;  // 22
  if (!rest || process.pid <= 0) return std::nullopt;
  process.kernel_thread = (flags & kernel_thread_flag) != 0;
  process.dead = state == 'Z' || state == 'X';
  return process;
}

std::optional<Process> read_process(pid_t pid) {
  auto text = read_proc(fmt::format("/proc/{}/stat", pid));
  if (!text.ok()) return std::nullopt;
  auto process = parse_stat(*text);
  if (process) process->executable = read_executable(pid);
  return process;
}

std::vector<Process> user_processes() {
  std::vector<Process> processes;
  std::error_code failure;
  for (fs::directory_iterator entry("/proc", failure);
       !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    std::string name = entry->path().filename().native();
    pid_t pid = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    auto process = read_process(pid);
    if (process && !process->kernel_thread && !process->dead)
      processes.push_back(std::move(*process));
  }
  std::sort(processes.begin(), processes.end(), [](auto& a, auto& b) { return a.pid < b.pid; });
  return processes;
}

}  // namespace livecare::agent
