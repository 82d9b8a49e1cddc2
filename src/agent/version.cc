#include "agent/version.h"

namespace livecare::agent {

std::string_view version() {
  return LIVECARE_VERSION;
}

}  // namespace livecare::agent
