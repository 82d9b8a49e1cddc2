// Which compile made which object of which binary: a replay of the recorded calls.
//
// The calls are replayed in order over a map from path to what the file there was made from:
// a compile puts an object, ar an archive of them, ld or the driver a linked file, mv and cp carry
// what a path holds to another path. Temporary names that are used again (foo.o for the static and
// the PIC object, foo.so.new) therefore do not mix anything up.
// Paths are absolute and lexically normal, as the build saw them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "builder/command_line.h"
#include "builder/record.h"

namespace livecare::builder {

// One source compiled to one object by one call.
struct CompileUnit {
  uint32_t call = 0;    // index into the record
  std::string source;   // absolute; "-" for standard input
  std::string spelled;  // as the command line names it
  std::string object;   // absolute
  Language language = Language::c;
};

// How a unit belongs to a linked file.
struct UnitUse {
  uint32_t unit = 0;
  bool certain = true;  // false: a member of an archive from which the linker takes what it needs
};

struct LinkedFile {
  std::string path;  // where the build left it
  std::vector<UnitUse> units;
  std::vector<std::string> unknown;  // inputs inside the tree that no recorded call made
};

class BuildGraph {
 public:
  // tree: paths of inputs outside of it (crt1.o, libgcc.a) are not reported as unknown.
  static BuildGraph replay(const std::vector<Call>& calls, const std::string& tree);

  const std::vector<CompileUnit>& units() const { return units_; }
  // Programs and shared objects, by path.
  const std::vector<LinkedFile>& linked() const { return linked_; }

 private:
  struct Node;
  struct Replay;
  std::vector<CompileUnit> units_;
  std::vector<LinkedFile> linked_;
};

}  // namespace livecare::builder
