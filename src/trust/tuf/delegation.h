// Which delegated roles may speak about a target path. Pure; safe in any thread.
#pragma once

#include <string>
#include <vector>

#include "trust/tuf/metadata.h"

namespace livecare::trust::tuf {

// Shell patterns by segments: * any bytes, ? one character, [a-z] and [!a-z] one of a set; none of
// them takes a slash, and a leading dot is nothing special. Time is at most the product of the
// sizes.
bool path_matches(std::string_view pattern, std::string_view path);

struct RoleForPath {
  std::string name;
  const RoleKeys* keys = nullptr;  // lives as long as the delegations
  bool terminating = false;
};

// In the order in which they are to be asked.
std::vector<RoleForPath> roles_for_path(const Delegations& delegations, std::string_view path);

}  // namespace livecare::trust::tuf
