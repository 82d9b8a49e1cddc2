// Progress and diagnostics on standard error; results go to standard output elsewhere.
// Thread-safe. The level is process-wide, set once by main (LOGLEVEL, --verbose, --quiet).
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace livecare {

enum class LogLevel { error, warning, info, debug };

void set_log_level(LogLevel level);
LogLevel log_level();
void log_line(LogLevel level, std::string_view text);

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (level <= log_level()) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace livecare
