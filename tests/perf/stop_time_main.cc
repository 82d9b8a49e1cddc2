// How long a process stands still while it is being patched, beside the floor of the same run.
// Usage: stop_time [ROUNDS]
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/file_system.h"
#include "engine/engine.h"
#include "perf/floor.h"
#include "perf/stop_patch.h"
#include "perf/stop_shared.h"

namespace livecare::perf {
namespace {

constexpr int rounds_default = 21;
constexpr int sizes[] = {1, 16, 64, 783};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class StopTarget {
 public:
  explicit StopTarget(int threads) {
    directory_.emplace(std::move(TemporaryDirectory::make("stop_time").value()));
    std::string file = directory_->path() / "shared";
    int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    LIVECARE_ASSERT(fd >= 0 && ::ftruncate(fd, sizeof(StopShared)) == 0);
    shared_ = static_cast<StopShared*>(
        ::mmap(nullptr, sizeof(StopShared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ::close(fd);
    program_ = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "stop_target";
    pid_ = ::fork();
    if (pid_ == 0) {
      std::string count = std::to_string(threads);
      ::execl(program_.c_str(), program_.c_str(), count.c_str(), file.c_str(), nullptr);
      ::_exit(127);
    }
    while (shared_->ready == 0) {
      ::usleep(1000);
      LIVECARE_ASSERT(::waitpid(pid_, nullptr, WNOHANG) == 0);
    }
  }
  ~StopTarget() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(shared_, sizeof(StopShared));
  }
  StopTarget(const StopTarget&) = delete;
  StopTarget& operator=(const StopTarget&) = delete;

  pid_t pid() const { return pid_; }
  const std::string& program() const { return program_; }
  // The largest gap that the busy thread saw while action ran.
  double gap_us_during(const std::function<void()>& action) {
    begin_gap();
    action();
    return gap_us();
  }
  void begin_gap() {
    uint32_t request = ++shared_->reset;
    while (shared_->acknowledged != request) ::usleep(10);
  }
  double gap_us() const {
    ::usleep(100);  // the thread may have been the last to run on
    return static_cast<double>(shared_->largest_gap_ns) / 1000;
  }
  // Nanoseconds of one call, mean of many; value is what they came to.
  double call_ns(int& value) {
    constexpr uint32_t calls = 2'000'000;
    shared_->calls_wanted = calls;
    while (shared_->calls_wanted != 0) ::usleep(100);
    value = shared_->last_value;
    return static_cast<double>(shared_->calls_ns) / calls;
  }

 private:
  std::string program_;
  pid_t pid_ = -1;
  StopShared* shared_ = nullptr;
  std::optional<TemporaryDirectory> directory_;
};

struct PatchTimes {
  double patch_us = 0;
  double unpatch_us = 0;
};

// One patch and its undoing by the engine, with the full check of every stack.
Result<PatchTimes> patch_and_unpatch(pid_t pid, const patchfmt::Patchset& patchset,
                                     const std::function<void()>& between) {
  PatchTimes times;
  engine::ProcessReport patched = engine::patch(pid, patchset);
  if (patched.outcome != engine::Outcome::patched)
    return make_error(ErrorCode::internal, "patch", "{}: {}", to_string(patched.outcome),
                      patched.reason);
  times.patch_us = static_cast<double>(patched.stop_us);
  between();
  engine::ProcessReport undone = engine::unpatch(pid, {});
  if (undone.outcome != engine::Outcome::unpatched)
    return make_error(ErrorCode::internal, "unpatch", "{}: {}", to_string(undone.outcome),
                      undone.reason);
  times.unpatch_us = static_cast<double>(undone.stop_us);
  return times;
}

struct Row {
  std::vector<double> floor, patch, unpatch, gap_floor, gap_patch, gap_unpatch;

  void print(int threads) const {
    double stop = median(floor), gap = median(gap_floor);
    fmt::print(
        "{:>8} {:>8.0f} {:>8.0f} {:>6.2f} {:>8.0f} {:>6.2f} {:>9.0f} {:>8.0f} {:>6.2f} {:>8.0f} "
        "{:>6.2f}\n",
        threads, stop, median(patch), median(patch) / stop, median(unpatch), median(unpatch) / stop,
        gap, median(gap_patch), median(gap_patch) / gap, median(gap_unpatch),
        median(gap_unpatch) / gap);
  }
};

Status measure(int threads, int rounds, Row& row) {
  StopTarget target(threads);
  TRY(patchfmt::Patchset patchset, stop_target_patch(target.program()));
  for (int i = 0; i < rounds; ++i) {
    Status outcome = ok_status();
    row.gap_floor.push_back(target.gap_us_during([&] {
      auto us = floor_us(target.pid());
      if (us.ok()) row.floor.push_back(*us);
      if (!us.ok()) outcome = us.take_error();
    }));
    row.gap_unpatch.push_back(target.gap_us_during([&] {
      auto times = patch_and_unpatch(target.pid(), patchset, [&] {
        row.gap_patch.push_back(target.gap_us());
        target.begin_gap();
      });
      if (!times.ok()) {
        outcome = times.take_error();
        return;
      }
      row.patch.push_back(times->patch_us);
      row.unpatch.push_back(times->unpatch_us);
    }));
    if (!outcome.ok()) return outcome;
  }
  return ok_status();
}

// Calls before, while patched, and after.
Status measure_calls(int rounds) {
  StopTarget target(1);
  TRY(patchfmt::Patchset patchset, stop_target_patch(target.program()));
  std::vector<double> before, patched;
  int value_before = 0, value_patched = 0;
  for (int i = 0; i < rounds; ++i) {
    before.push_back(target.call_ns(value_before));
    auto times = patch_and_unpatch(target.pid(), patchset,
                                   [&] { patched.push_back(target.call_ns(value_patched)); });
    if (!times.ok()) return times.take_error();
  }
  if (value_before == value_patched)
    return make_error(ErrorCode::internal, "stop_target", "the patch has no effect");
  fmt::print("one call: {:.2f} ns before, {:.2f} ns patched (one jump: {:+.2f} ns)\n",
             median(before), median(patched), median(patched) - median(before));
  return ok_status();
}

int run(int rounds) {
  fmt::print(
      "stop: first thread stopped to last resumed; gap: the busy thread's largest one (us)\n"
      "{:>8} {:>8} {:>8} {:>6} {:>8} {:>6} {:>9} {:>8} {:>6} {:>8} {:>6}\n",
      "threads", "floor", "patch", "ratio", "unpatch", "ratio", "gap floor", "patch", "ratio",
      "unpatch", "ratio");
  for (int threads : sizes) {
    Row row;
    Status outcome = measure(threads, rounds, row);
    if (!outcome.ok()) {
      fmt::print(stderr, "stop_time: {}\n", outcome.error().text());
      return 1;
    }
    row.print(threads);
  }
  Status outcome = measure_calls(rounds);
  if (outcome.ok()) return 0;
  fmt::print(stderr, "stop_time: {}\n", outcome.error().text());
  return 1;
}

}  // namespace
}  // namespace livecare::perf

int main(int argc, char** argv) {
  return livecare::perf::run(argc > 1 ? std::atoi(argv[1]) : livecare::perf::rounds_default);
}
