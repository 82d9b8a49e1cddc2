// libcare-ctl, the low-level tool: patch, unpatch and info of named processes or all of them.
#pragma once

#include <string>
#include <vector>

namespace livecare::agent {

// 0: all fine; 1: a process could not be patched, unpatched or read; 2: usage or input refused
// before any process was touched.
inline constexpr int ctl_exit_failed = 1;
inline constexpr int ctl_exit_refused = 2;

int run_libcare_ctl(const std::vector<std::string>& arguments);

}  // namespace livecare::agent
