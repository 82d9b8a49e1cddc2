#include "base/log.h"

#include <gtest/gtest.h>

#include <sstream>
#include <thread>
#include <vector>

namespace livecare {
namespace {

// Lines of many threads come out whole, and the level may change meanwhile.
TEST(Log, KeepsLinesWholeBetweenThreads) {
  constexpr int threads = 8;
  constexpr int lines_each = 200;
  testing::internal::CaptureStderr();
  std::vector<std::thread> running;
  for (int i = 0; i < threads; i++) {
    running.emplace_back([i] {
      for (int j = 0; j < lines_each; j++) {
        set_log_level(j % 2 == 0 ? LogLevel::info : LogLevel::warning);
        log(LogLevel::warning, "thread {} says {}", i, std::string(50, 'x'));
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  set_log_level(LogLevel::info);
  std::istringstream captured(testing::internal::GetCapturedStderr());
  int count = 0;
  for (std::string line; std::getline(captured, line); count++) {
    EXPECT_EQ(line.substr(0, 16), "warning: thread ");
    EXPECT_EQ(line.size(), std::string("warning: thread 0 says ").size() + 50) << line;
  }
  EXPECT_EQ(count, threads * lines_each);
}

TEST(Log, LeavesOutWhatIsBelowTheLevel) {
  set_log_level(LogLevel::warning);
  testing::internal::CaptureStderr();
  log(LogLevel::info, "quiet");
  log(LogLevel::error, "loud");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "error: loud\n");
  set_log_level(LogLevel::info);
}

}  // namespace
}  // namespace livecare
