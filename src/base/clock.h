// The monotonic clock in nanoseconds and microseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace livecare {

inline uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

inline uint64_t monotonic_us() {
  return monotonic_ns() / 1000;
}

}  // namespace livecare
