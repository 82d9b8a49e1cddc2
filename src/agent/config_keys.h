// The keys of kcare.conf: what each may hold and what it is when it is not there.
// Pure, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/date.h"

namespace livecare::agent {

inline constexpr int64_t sticky_days_max = 60;

struct ConfigKey {
  std::string_view name;
  std::string_view default_value;
  std::string_view allowed;  // for messages: "YES or NO"
  bool (*accepts)(std::string_view value, Day now);
};

const ConfigKey* find_config_key(std::string_view name);

// YES/NO, True/False, 1/0 in any case.
std::optional<bool> parse_boolean(std::string_view text);

}  // namespace livecare::agent
