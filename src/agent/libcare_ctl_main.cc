#include "agent/ctl.h"

int main(int argc, char** argv) {
  return livecare::agent::run_libcare_ctl(std::vector<std::string>(argv + 1, argv + argc));
}
