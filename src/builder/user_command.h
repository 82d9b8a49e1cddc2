// The commands of livecare-build that drive a build: user, prepare, fetch.
// They write their result to `out`, progress and reasons to the log, and give the exit code.
#pragma once

#include <ostream>
#include <string>

#include "builder/make_patch.h"
#include "builder/prepare.h"

namespace livecare::builder {

inline constexpr int exit_made = 0;
inline constexpr int exit_error = 1;
inline constexpr int exit_refused = 2;

struct UserRequest {
  std::string package;  // NAME=VERSION, or:
  SourceBuild source;   // a tree, a command, targets
  PatchOptions patch;
  PrepareOptions prepare;
  bool json = false;
};
int user_command(const UserRequest& request, std::ostream& out);

int prepare_command(const std::string& package, const PrepareOptions& options, bool json,
                    std::ostream& out);
int fetch_command(const std::string& package, const std::string& directory,
                  const PrepareOptions& options, std::ostream& out);

}  // namespace livecare::builder
