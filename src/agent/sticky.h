// What --prefix and STICKY_PATCH mean for an update, of the kernel or of user space.
#pragma once

#include <optional>
#include <string>

#include "agent/config.h"
#include "agent/date.h"
#include "agent/options.h"

namespace livecare::agent {

// --prefix, --test, else PREFIX.
Result<std::string> chosen_prefix(const CommandLine& line, const Config& config);
// STICKY_PATCH; empty: the newest.
Result<std::optional<Day>> sticky_day(const Config& config);

Error not_in_this_build(std::string_view option, std::string_view part);

}  // namespace livecare::agent
