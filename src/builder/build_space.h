// Runs the commands of a recorded build where the build is meant to have its tree.
//
// Paths end up in binaries (__FILE__, assert, "compiler: gcc -ffile-prefix-map=/build/..."), so a
// tree in the cache has to be built under the path that the shipped files were built under. Each
// command runs in a private mount namespace in which that path is the tree: bound over the
// directory when there is one, else in a root directory of ours that has everything of the real one
// and the path besides. Nobody else sees it and nothing has to be undone; a process that is killed
// takes its namespace with it. Needs root or unprivileged user namespaces; without either the tree
// is built where it lies, and the match room decides.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "builder/record.h"

namespace livecare::builder {

class BuildSpace {
 public:
  // root: the tree on disk; root_seen: its path for the commands (may be the same); scratch: an
  // existing empty directory, mounted upon inside the namespace.
  BuildSpace(std::filesystem::path root, std::string root_seen,
             const std::filesystem::path& scratch);

  // Whether commands can run in it here; tries.
  bool works() const;

  // command.directory is a path as the build sees it. With clear_environment nothing of the
  // caller's environment is passed on.
  Result<CommandResult> run(Command command, bool clear_environment) const;

  // The recorded call's program, directory and environment with other arguments.
  Result<CommandResult> run_again(const Call& call,
                                  const std::vector<std::string>& arguments) const;

 private:
  std::filesystem::path root_;
  std::string root_seen_;
  std::function<int()> enter_;  // empty: no namespace needed
};

}  // namespace livecare::builder
