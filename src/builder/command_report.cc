#include "builder/command_report.h"

#include "base/log.h"
#include "builder/user_command.h"

namespace livecare::builder {

int fail(const Error& error) {
  log(LogLevel::error, "{}", error.text());
  return error.code == ErrorCode::refused ? exit_refused : exit_error;
}

std::string refusal_text(const objdiff::Refusal& refusal) {
  std::string text;
  if (!refusal.function.empty()) text += refusal.function + ": ";
  if (!refusal.section.empty()) text += "(" + refusal.section + ") ";
  return text + refusal.reason;
}

void say_seconds(const std::map<std::string, double>& stages, double total) {
  std::string text;
  for (const auto& [stage, seconds] : stages)
    text += fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", stage, seconds);
  log(LogLevel::info, "{:.1f} s ({})", total, text);
}

}  // namespace livecare::builder
