#include "agent/kcarectl.h"

int main(int argc, char** argv) {
  return livecare::agent::run_kcarectl(std::vector<std::string>(argv + 1, argv + argc));
}
