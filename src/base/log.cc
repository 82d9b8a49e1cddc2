#include "base/log.h"

#include <atomic>
#include <cstdio>

namespace livecare {

namespace {
std::atomic<LogLevel> current_level{LogLevel::info};
}

void set_log_level(LogLevel level) {
  current_level = level;
}
LogLevel log_level() {
  return current_level;
}

void log_line(LogLevel level, std::string_view text) {
  static constexpr std::string_view prefixes[] = {"error: ", "warning: ", "", "debug: "};
  fmt::print(stderr, "{}{}\n", prefixes[static_cast<int>(level)], text);
}

}  // namespace livecare
