// The one lock that orders everything which changes something: kcarectl now, the daemon and cron
// later. Held as long as the object lives; the kernel drops it when the holder dies.
#pragma once

#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace livecare::agent {

inline constexpr int lock_wait_s_max = 60;

class Lock {
 public:
  // Waits up to wait_s for another holder; then busy, naming its pid.
  static Result<Lock> take(const std::filesystem::path& path, int wait_s = lock_wait_s_max);

 private:
  explicit Lock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace livecare::agent
