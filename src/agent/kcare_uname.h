// kcare-uname: uname(1) with the release that the running kernel is as safe as.
#pragma once

#include <string>
#include <vector>

#include "kctl/kernel.h"

namespace livecare::agent {

struct UnameAnswer {
  int exit_code = 0;
  std::string output, errors;
};

UnameAnswer kcare_uname(const std::vector<std::string>& arguments, const kctl::Kernel& kernel);

}  // namespace livecare::agent
