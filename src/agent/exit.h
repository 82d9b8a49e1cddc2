// How kcarectl ends, and what it says on standard error when that is not well.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace livecare::agent {

enum class KcarectlExit : int {
  done = 0,
  failed = 1,       // a process or a patch; the reasons are on standard error
  usage = 2,        // command line or configuration
  unreachable = 3,  // the patch server
  untrusted = 4,    // a signature is missing, wrong or by an unknown key
  not_in_this_build = 5,
  busy = 6,  // another run holds the lock, or somebody is in the way of a switch
};

KcarectlExit complain(const Error& error);
KcarectlExit complain(const std::vector<std::string>& failures);
// The same for an error of fetching from the patch server.
KcarectlExit complain_of_server(const Error& error);
Error bad_usage(std::string_view object, std::string_view problem);

}  // namespace livecare::agent
