// The first proof: a rebuilt, unstripped file has the loadable content of the shipped one.
#pragma once

#include <string>

#include "elf/image.h"

namespace livecare::match {

struct Identity {
  bool identical = false;
  bool same_build_id = false;
  uint32_t sections_equal = 0;
  std::string why;  // one sentence: what is equal, or which sections differ
};

Identity compare_files(const elf::Image& shipped, const elf::Image& rebuilt);

}  // namespace livecare::match
