// What record/recorder.c wrote: one Call for every compiler, assembler, linker, archiver and file
// mover of a build, in the order in which they started.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace livecare::builder {

struct Call {
  uint64_t pid = 0;
  uint64_t parent = 0;
  std::string directory;
  std::string executable;                          // /proc/self/exe
  std::vector<std::string> arguments;              // [0] as called; response files expanded
  std::map<std::string, std::string> environment;  // the variables that compilers read
};

// A record cut short at the end of the file (the build was killed) is left out; damage elsewhere
// is an error.
Result<std::vector<Call>> read_record(ByteView bytes, std::string_view name);

// Splits the content of a response file as gcc does: blanks, quotes, backslashes.
std::vector<std::string> split_response(std::string_view text);

}  // namespace livecare::builder
