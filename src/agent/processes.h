// The processes of this host, as /proc shows them. Anything may vanish at any moment: then it is
// simply not in the answer.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace livecare::agent {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  uint64_t start_time = 0;  // clock ticks since boot; with pid it names a process for ever
  std::string comm;
  std::string executable;  // link of /proc/PID/exe without " (deleted)", empty when unreadable
  bool kernel_thread = false;
  bool dead = false;  // a zombie
};

std::optional<Process> read_process(pid_t pid);
// Of the text of /proc/PID/stat; executable stays empty.
std::optional<Process> parse_stat(const std::string& text);
// Living processes with an address space of their own, in order of pid.
std::vector<Process> user_processes();

}  // namespace livecare::agent
