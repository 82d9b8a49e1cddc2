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
#include "perf/floor.h"
#include "perf/stop_shared.h"
#include "remote/maps.h"
#include "remote/session.h"
#include "remote/stack_scan.h"

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
    std::string program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "stop_target";
    pid_ = ::fork();
    if (pid_ == 0) {
      std::string count = std::to_string(threads);
      ::execl(program.c_str(), program.c_str(), count.c_str(), file.c_str(), nullptr);
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
  // The largest gap that the busy thread saw while action ran.
  double gap_us_during(const std::function<void()>& action) {
    uint32_t request = ++shared_->reset;
    while (shared_->acknowledged != request) ::usleep(10);
    action();
    ::usleep(100);
    return static_cast<double>(shared_->largest_gap_ns) / 1000;
  }

 private:
  pid_t pid_ = -1;
  StopShared* shared_ = nullptr;
  std::optional<TemporaryDirectory> directory_;
};

// A stop as the engine makes it: all tasks, full stack check, one write.
Result<double> stop_us(pid_t pid) {
  double us = 0;
  Status outcome = remote::with_session(pid, {}, [&](remote::Session& session) -> Status {
    TRY(remote::Maps maps, remote::Maps::read(pid));
    remote::RemoteAddress code;
    for (const remote::Mapping& mapping : maps.all())
      if (mapping.executable && code.is_null()) code = mapping.range.start;
    remote::RangeSet set({{code, 16}});
    TRY(remote::StopReport report, session.stop({}, [&](remote::StoppedProcess& process) -> Status {
      for (const remote::StoppedTask& task : process.tasks())
        if (!remote::proved_outside(task, set))
          return make_error(ErrorCode::refused, "benchmark", "stack not proved");
      TRY(Bytes bytes, process.memory().read(code, 8));
      TRY_STATUS(process.write(code, bytes));
      process.release_after();
      return ok_status();
    }));
    us = static_cast<double>(report.stop_us);
    if (getenv("V")) fmt::print(stderr, "{} {} {}\n", report.stop_us, report.gather_us, report.work_us);
    return ok_status();
  });
  if (!outcome.ok()) return outcome.take_error();
  return us;
}

int run(int rounds) {
  fmt::print("{:>8} {:>12} {:>12} {:>8} {:>14} {:>14}\n", "threads", "floor us", "stop us", "ratio",
             "gap floor us", "gap stop us");
  for (int threads : sizes) {
    StopTarget target(threads);
    std::vector<double> floors, stops, floor_gaps, stop_gaps;
    for (int i = 0; i < rounds; ++i) {
      floor_gaps.push_back(target.gap_us_during([&] {
        auto us = floor_us(target.pid());
        LIVECARE_ASSERT(us.ok());
        floors.push_back(*us);
      }));
      stop_gaps.push_back(target.gap_us_during([&] {
        auto us = stop_us(target.pid());
        if (!us.ok()) fmt::print(stderr, "{}\n", us.error().text());
        LIVECARE_ASSERT(us.ok());
        stops.push_back(*us);
      }));
    }
    fmt::print("{:>8} {:>12.0f} {:>12.0f} {:>8.2f} {:>14.0f} {:>14.0f}\n", threads, median(floors),
               median(stops), median(stops) / median(floors), median(floor_gaps),
               median(stop_gaps));
  }
  return 0;
}

}  // namespace
}  // namespace livecare::perf

int main(int argc, char** argv) {
  return livecare::perf::run(argc > 1 ? std::atoi(argv[1]) : livecare::perf::rounds_default);
}
