// kcarectl: the command line that people and scripts use. Its options are those of the field; the
// ones whose part is not in this build answer so, by name.
#pragma once

#include <string>
#include <vector>

namespace livecare::agent {

enum class KcarectlExit : int {
  done = 0,
  failed = 1,       // a process or a patch; the reasons are on standard error
  usage = 2,        // command line or configuration
  unreachable = 3,  // the patch server
  untrusted = 4,    // a signature is missing, wrong or by an unknown key
  not_in_this_build = 5,
  busy = 6,  // another run holds the lock
};

int run_kcarectl(const std::vector<std::string>& arguments);

}  // namespace livecare::agent
