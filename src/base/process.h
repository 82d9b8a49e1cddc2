// Runs another program and waits for it.
#pragma once

#include <filesystem>
#include <functional>
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
  // Runs in the child before it changes its directory and becomes the program (namespaces); must
  // not take locks. Gives 0, or an errno that run() reports as "cannot start".
  std::function<int()> in_child;
  // Asked about once a second while the program runs; false ends it and all that it started.
  std::function<bool()> keep_going;
};

struct CommandResult {
  int exit_code = 0;       // 128 + signal when it was killed
  bool was_ended = false;  // by keep_going
  std::string output;      // standard output (empty when output_file is set), bounded by 256 MiB
  std::string errors;      // standard error, bounded likewise
};

// The error is for a program that could not be started; a non-zero exit is a value.
Result<CommandResult> run(const Command& command);

// As run(), but a non-zero exit is an error that quotes the last lines of standard error.
Result<std::string> run_checked(const Command& command);

}  // namespace livecare
