// Functions that are known to be given a line number, and in which argument.
#pragma once

#include <optional>
#include <string_view>

namespace livecare::objdiff {

// Index of the argument (0: the first); empty for any other function.
std::optional<unsigned> line_argument(std::string_view function);

// "lib/url.c": what __FILE__ gives. own_name is the object's source file
// (STT_FILE). Headers do not count: "config.h", 5 may be anything.
bool is_file_name(std::string_view text, std::string_view own_name);

}  // namespace livecare::objdiff
