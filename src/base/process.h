// Runs another program and waits for it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace livecare {

struct Command {
  std::vector<std::string> arguments;              // arguments[0] is looked up in PATH
  std::filesystem::path directory;                 // empty: the caller's
  std::map<std::string, std::string> environment;  // added to the caller's
  std::string input;                               // given as standard input
  std::filesystem::path output_file;               // not empty: stdout and stderr go there
};

struct CommandResult {
  int exit_code = 0;   // 128 + signal when it was killed
  std::string output;  // standard output (empty when output_file is set), bounded by 256 MiB
  std::string errors;  // standard error, bounded likewise
};

// The error is for a program that could not be started; a non-zero exit is a value.
Result<CommandResult> run(const Command& command);

// As run(), but a non-zero exit is an error that quotes the last lines of standard error.
Result<std::string> run_checked(const Command& command);

}  // namespace livecare
