// Command lines over getopt_long: named options in a table, errors that name the option. CLI11
// would add 140 KB to each of the two front ends, a third of what the whole agent may take.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace livecare::agent {

enum class Takes { nothing, value, maybe_value };

struct Option {
  std::string_view name;  // without the dashes
  char letter = 0;        // 0: none
  Takes takes = Takes::nothing;
};

struct CommandLine {
  struct Given {
    std::string_view name;  // of the table
    std::optional<std::string> value;
  };
  std::vector<Given> options;  // in the order given
  std::vector<std::string> operands;

  bool has(std::string_view name) const;
  // Of the last one given; empty when not given or without a value.
  std::string value(std::string_view name) const;
  std::vector<std::string> values(std::string_view name) const;
};

// arguments: without the program's name. A maybe_value option takes the next argument as its value
// when that does not begin with a dash (as `--userspace-update libs` of the field does).
Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments,
                                       const std::vector<Option>& table);

}  // namespace livecare::agent
