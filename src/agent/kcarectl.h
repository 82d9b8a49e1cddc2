// kcarectl: the command line that people and scripts use. Its options are those of the field; the
// ones whose part is not in this build answer so, by name.
#pragma once

#include <string>
#include <vector>

namespace livecare::agent {

int run_kcarectl(const std::vector<std::string>& arguments);

}  // namespace livecare::agent
