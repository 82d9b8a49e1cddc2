#include "trust/tuf/utc_time.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

namespace livecare::trust::tuf {

namespace {

constexpr std::string_view form = "0000-00-00T00:00:00Z";  // 0: a digit; all else stands for itself
constexpr int64_t day_s = 24 * 60 * 60;

bool has_form(std::string_view text) {
  if (text.size() != form.size()) return false;
  for (size_t i = 0; i < form.size(); ++i) {
    bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (form[i] == '0' ? !is_digit : text[i] != form[i]) return false;
  }
  return true;
}

int number(std::string_view digits) {
  int value = 0;
  for (char digit : digits) value = value * 10 + (digit - '0');
  return value;
}

}  // namespace

std::optional<int64_t> parse_utc(std::string_view text) {
  if (!has_form(text)) return std::nullopt;
  std::chrono::year_month_day date{
      std::chrono::year(number(text.substr(0, 4))),
      std::chrono::month(static_cast<unsigned>(number(text.substr(5, 2)))),
      std::chrono::day(static_cast<unsigned>(number(text.substr(8, 2))))};
  int hour = number(text.substr(11, 2)), minute = number(text.substr(14, 2)),
      second = number(text.substr(17, 2));
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * day_s + (hour * 60 + minute) * 60 + second;
}

std::string format_utc(int64_t seconds) {
  int64_t days = seconds / day_s, rest = seconds % day_s;
  if (rest < 0) {
    rest += day_s;
    days -= 1;
  }
  std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     rest / 3600, rest / 60 % 60, rest % 60);
}

}  // namespace livecare::trust::tuf
