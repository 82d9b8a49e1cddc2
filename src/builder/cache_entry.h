// One entry of the builder's cache: a directory and its lock.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace livecare::builder {

// $XDG_CACHE_HOME/livecare, or ~/.cache/livecare.
std::filesystem::path default_cache();

// Makes the directory and locks it; waits, with a log line, while another run holds it. The lock is
// inherited by the commands that we start, on purpose: after a kill -9 of the tool the next run
// waits until the orphaned build no longer writes into the entry.
Result<Fd> lock_entry(const std::filesystem::path& entry);

// Empties an entry but for its lock.
Status clear_entry(const std::filesystem::path& entry);

// Writes what the tool carries inside itself (the recorder, the headers) to cache/tools, and
// gives that directory: recorder.so and include/livecare/.
Result<std::filesystem::path> install_tools(const std::filesystem::path& cache);

// Says every now and then that a long stage is still going on.
class Heartbeat {
 public:
  explicit Heartbeat(std::string what);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool is_done_ = false;
  std::thread thread_;
};

// Seconds since it was made.
class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;

 private:
  uint64_t start_us_;
};

}  // namespace livecare::builder
