// Time that the calling thread has spent on a CPU: what work costs, whatever else the machine does.
#pragma once

#include <cstdint>
#include <ctime>

namespace livecare::remote {

inline uint64_t cpu_time_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace livecare::remote
