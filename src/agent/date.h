// Calendar days in UTC, as sticky dates and patch times use them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace livecare::agent {

struct Day {
  int64_t number = 0;  // days since 1970-01-01
  friend bool operator==(Day a, Day b) { return a.number == b.number; }
  friend bool operator<(Day a, Day b) { return a.number < b.number; }
  friend bool operator<=(Day a, Day b) { return a.number <= b.number; }
  friend bool operator>=(Day a, Day b) { return a.number >= b.number; }
};

Day today();
// DDMMYY, DDMMYYYY or YYYY-MM-DD of an existing day.
std::optional<Day> parse_day(std::string_view text);
// The day of "2026-11-22 04:30:00".
std::optional<Day> day_of_time(std::string_view time);
std::string to_string(Day day);  // YYYY-MM-DD

}  // namespace livecare::agent
