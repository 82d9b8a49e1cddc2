#include "agent/date.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace livecare::agent {

namespace {

namespace chrono = std::chrono;

std::optional<int> number(std::string_view digits) {
  int value = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<Day> make_day(std::string_view year, std::string_view month, std::string_view day) {
  auto y = number(year), m = number(month), d = number(day);
  if (!y || !m || !d) return std::nullopt;
  if (year.size() == 2) *y += 2000;
  chrono::year_month_day date{chrono::year(*y), chrono::month(static_cast<unsigned>(*m)),
                              chrono::day(static_cast<unsigned>(*d))};
  if (!date.ok()) return std::nullopt;
  return Day{chrono::sys_days(date).time_since_epoch().count()};
}

}  // namespace

Day today() {
  auto days = chrono::floor<chrono::days>(chrono::system_clock::now());
  return Day{days.time_since_epoch().count()};
}

std::optional<Day> parse_day(std::string_view text) {
  if (text.size() == 6 || text.size() == 8)
    return make_day(text.substr(4), text.substr(2, 2), text.substr(0, 2));
  return day_of_time(text.size() == 10 ? text : "");
}

std::optional<Day> day_of_time(std::string_view time) {
  if (time.size() < 10 || time[4] != '-' || time[7] != '-') return std::nullopt;
  return make_day(time.substr(0, 4), time.substr(5, 2), time.substr(8, 2));
}

std::string to_string(Day day) {
  chrono::year_month_day date{chrono::sys_days(chrono::days(day.number))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace livecare::agent
