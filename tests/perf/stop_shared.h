// What stop_time and its target tell each other, in a shared page: no system calls in the target.
#pragma once

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

struct StopShared {
  std::atomic<uint32_t> ready;
  std::atomic<uint32_t> reset;         // count up: the largest gap begins anew
  std::atomic<uint32_t> acknowledged;  // of reset
  std::atomic<uint64_t> largest_gap_ns;
  std::atomic<uint32_t> calls_wanted;  // set: the target calls stop_target_work so often, then 0
  std::atomic<uint64_t> calls_ns;
  std::atomic<int> last_value;
};

inline uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}
