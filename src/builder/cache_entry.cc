#include "builder/cache_entry.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/log.h"
#include "builder/embedded.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr auto heartbeat_interval = std::chrono::seconds(30);

Status write_when_different(const fs::path& path, ByteView bytes) {
  auto before = read_file(path);
  if (before.ok() && ByteView(*before) == bytes) return ok_status();
  return write_file_atomic(path, bytes, 0755);
}

}  // namespace

fs::path default_cache() {
  if (const char* directory = std::getenv("XDG_CACHE_HOME"); directory && *directory)
    return fs::path(directory) / "livecare";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/root") / ".cache" / "livecare";
}

Result<Fd> lock_entry(const fs::path& entry) {
  std::error_code failure;
  fs::create_directories(entry, failure);
  if (failure)
    return make_error(ErrorCode::io, entry.native(), "cannot make it: {}", failure.message());
  fs::path path = entry / "lock";
  // No O_CLOEXEC: see the header.
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT, 0644));
  if (!fd.valid()) return errno_error(path.native(), "cannot open", errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return errno_error(path.native(), "cannot lock", errno);
  log(LogLevel::info, "{}: waiting for another livecare-build (or its build) to finish with it",
      entry.native());
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return errno_error(path.native(), "cannot lock", errno);
  return fd;
}

Status clear_entry(const fs::path& entry) {
  std::error_code failure;
  fs::directory_iterator end;
  for (fs::directory_iterator at(entry, failure); !failure && at != end; at.increment(failure)) {
    if (at->path().filename() == "lock") continue;
    std::error_code removal;
    fs::remove_all(at->path(), removal);
    if (removal)
      return make_error(ErrorCode::io, at->path().native(), "cannot remove it: {}",
                        removal.message());
  }
  return ok_status();
}

Result<fs::path> install_tools(const fs::path& cache) {
  fs::path tools = cache / "tools";
  TRY_STATUS(write_when_different(tools / "recorder.so", embedded_recorder()));
  TRY_STATUS(write_when_different(tools / "include/livecare/patch.h", embedded_patch_header()));
  TRY_STATUS(write_when_different(tools / "include/livecare/kernel_patch.h",
                                  embedded_kernel_patch_header()));
  return tools;
}

Heartbeat::Heartbeat(std::string what)
    : thread_([this, what = std::move(what)] {
        Stopwatch watch;
        std::unique_lock guard(mutex_);
        while (!done_.wait_for(guard, heartbeat_interval, [this] { return is_done_; }))
          log(LogLevel::info, "  {} ... {:.0f} s", what, watch.seconds());
      }) {}

Heartbeat::~Heartbeat() {
  {
    std::lock_guard guard(mutex_);
    is_done_ = true;
  }
  done_.notify_all();
  thread_.join();
}

Stopwatch::Stopwatch() : start_us_(monotonic_us()) {}

double Stopwatch::seconds() const {
  return static_cast<double>(monotonic_us() - start_us_) / 1e6;
}

}  // namespace livecare::builder
