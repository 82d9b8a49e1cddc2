// The code of one function, and which of the numbers in it are line numbers. Borrows the map.
#pragma once

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "objdiff/object_map.h"

namespace livecare::objdiff {

// What speaks for a number being a line number, wherever it is handed to.
struct LineProof {
  bool known_callee = true;  // every function that gets it is known to take a line number there
  bool behind_file = true;   // it always comes right behind the name of this source file
};

class LineCode {
 public:
  LineCode(const ObjectMap& map, AtomId id);

  bool complete() const { return complete_; }  // decoded to its end
  const std::vector<CodeInstruction>& instructions() const { return instructions_; }
  // Bytes of an instruction, references masked.
  ByteView masked(const CodeInstruction& instruction) const {
    return *ByteView(masked_).slice(instruction.offset, instruction.length);
  }
  // What proves that the immediate of instruction number i is a line number; empty if nothing does.
  std::optional<LineProof> line_number(size_t i);

 private:
  @ @DECL @ @
};

}  // namespace livecare::objdiff
