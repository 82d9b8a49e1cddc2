#include "agent/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/clock.h"

namespace livecare::agent {

namespace {

constexpr unsigned poll_interval_us = 50'000;

std::string holder(int fd) {
  char text[32] = {};
  ssize_t got = ::pread(fd, text, sizeof(text) - 1, 0);
  std::string pid(text, got > 0 ? static_cast<size_t>(got) : 0);
  return pid.substr(0, pid.find('\n'));
}

}  // namespace

Result<Lock> Lock::take(const std::filesystem::path& path, int wait_s) {
  std::error_code failure;
  std::filesystem::create_directories(path.parent_path(), failure);
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd.valid()) return errno_error(path.native(), "cannot open the lock", errno);
  uint64_t deadline_us = monotonic_us() + static_cast<uint64_t>(wait_s) * 1'000'000;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return errno_error(path.native(), "cannot lock", errno);
    if (monotonic_us() >= deadline_us)
      return make_error(ErrorCode::busy, path.native(),
                        "another update (process {}) is running; try again when it is done",
                        holder(fd.get()));
    ::usleep(poll_interval_us);
  }
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return errno_error(path.native(), "cannot write", errno);
  return Lock(std::move(fd));
}

}  // namespace livecare::agent
