// Text as views of its lines; text that may go into a URL or a file name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace livecare {

// Without the line feeds; text that ends in one has no empty line after it.
std::vector<std::string_view> split_lines(std::string_view text);

// Every byte but letters, digits and - . _ ~ becomes %XX (RFC 3986, section 2.3), so that the
// result is one segment of a path; bytes of `kept` stay as they are.
std::string percent_encode(std::string_view text, std::string_view kept = {});

}  // namespace livecare
