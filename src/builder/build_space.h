// Runs the commands of a recorded build where the build saw its tree.
//
// Paths end up in binaries (__FILE__, assert), so a copy of a --source tree has to be built under
// the path of the original. Where the kernel allows it, each command runs in a private mount
// namespace with the copy bound over the original path; nobody else sees that, and nothing has to
// be undone. Otherwise the tree is built where it lies and the match room decides.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "builder/record.h"

namespace livecare::builder {

// True when a directory can be bound over another one in a private namespace here.
bool can_bind_directories();

class BuildSpace {
 public:
  BuildSpace(std::filesystem::path root, std::string root_seen)
      : root_(std::move(root)), root_seen_(std::move(root_seen)) {}

  // command.directory is a path as the build sees it. With clear_environment nothing of the
  // caller's environment is passed on.
  Result<CommandResult> run(Command command, bool clear_environment) const;

  // The recorded call's program, directory and environment with other arguments ([0] is kept).
  Result<CommandResult> run_again(const Call& call,
                                  const std::vector<std::string>& arguments) const;

 private:
  std::filesystem::path root_;
  std::string root_seen_;
};

}  // namespace livecare::builder
