#include "agent/tuf_command.h"

int main(int argc, char** argv) {
  return livecare::agent::run_tuf_command(std::vector<std::string>(argv + 1, argv + argc));
}
