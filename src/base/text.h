// Text as views of its lines.
#pragma once

#include <string_view>
#include <vector>

namespace livecare {

// Without the line feeds; text that ends in one has no empty line after it.
std::vector<std::string_view> split_lines(std::string_view text);

}  // namespace livecare
