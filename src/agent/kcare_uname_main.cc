#include <cstdio>

#include "agent/kcare_uname.h"

int main(int argc, char** argv) {
  using namespace livecare;
  auto answer =
      agent::kcare_uname(std::vector<std::string>(argv + 1, argv + argc), *kctl::open_kernel());
  std::fputs(answer.output.c_str(), stdout);
  std::fputs(answer.errors.c_str(), stderr);
  return answer.exit_code;
}
