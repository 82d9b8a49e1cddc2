// What the two ways of preparing a tree share: the recorded build and the pairing after it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "builder/build_space.h"
#include "builder/prepared_tree.h"

namespace livecare::builder {

// Lets the build see its tree as `wanted` if that can be done here (see build_space.h).
void choose_path(PreparedTree& tree, const std::string& wanted);

// Runs one step of a build with the recorder loaded; output is appended to entry/build.log.
// The exit code is the value; only a command that could not be started is an error.
Result<int> run_recorded(const BuildSpace& space, const std::filesystem::path& entry,
                         const std::filesystem::path& recorder, std::vector<std::string> arguments,
                         std::map<std::string, std::string> environment, bool clear_environment,
                         std::function<bool()> keep_going = {});

struct Shipped {
  std::filesystem::path path;
  std::string package;  // "libcurl4 7.88.1-10+deb12u5"
};

// Fills tree.targets and tree.unpaired from the files that the recorded build linked.
Status pair_targets(PreparedTree& tree, const std::vector<Shipped>& shipped);

// The last lines of the build log that look like the failure.
std::string quote_log(const std::filesystem::path& log_file);

}  // namespace livecare::builder
