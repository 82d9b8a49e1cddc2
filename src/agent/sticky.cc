#include "agent/sticky.h"

#include "agent/config_keys.h"
#include "agent/exit.h"
#include "base/log.h"

namespace livecare::agent {

Result<std::string> chosen_prefix(const CommandLine& line, const Config& config) {
  std::string prefix = config.get("PREFIX");
  if (line.has("test")) prefix = "test";
  if (line.has("prefix")) prefix = line.value("prefix");
  if (!find_config_key("PREFIX")->accepts(prefix, today()))
    return bad_usage(prefix, "cannot be a prefix: it is letters, digits, _ and -");
  return prefix;
}

Result<std::optional<Day>> sticky_day(const Config& config) {
  std::string sticky = config.get("STICKY_PATCH");
  if (sticky.empty()) return std::optional<Day>();
  auto day = parse_day(sticky);
  if (!day) return not_in_this_build("STICKY_PATCH=KEY", "registration and licences");
  if (today().number - day->number > sticky_days_max)
    log(LogLevel::warning, "STICKY_PATCH={} is more than {} days ago; newer fixes are held back",
        sticky, sticky_days_max);
  return day;
}

Error not_in_this_build(std::string_view option, std::string_view part) {
  return make_error(ErrorCode::unsupported, option, "{} is not in this build; see kcarectl --help",
                    part);
}

}  // namespace livecare::agent
