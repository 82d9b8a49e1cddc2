#pragma once

#include <string_view>

namespace livecare::agent {

std::string_view version();

}  // namespace livecare::agent
