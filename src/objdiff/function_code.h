// One function's instructions, with what they refer to and where they jump. Borrows the map.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "objdiff/object_map.h"

namespace livecare::objdiff {

class FunctionCode {
 public:
  FunctionCode(const ObjectMap& map, AtomId id);

  const ObjectMap& map() const { return map_; }
  AtomId id() const { return id_; }
  const Atom& atom() const { return map_.atom(id_); }
  bool complete() const { return complete_; }  // decoded to its end
  const std::vector<CodeInstruction>& instructions() const { return instructions_; }
  // Bytes of an instruction, references masked.
  ByteView masked(const CodeInstruction& instruction) const;

  const Ref* ref_in(const CodeInstruction& instruction) const;
  // Number of the instruction at an offset; empty when none begins there.
  std::optional<size_t> number_at(int64_t offset) const;
  // Where a direct jump inside the function leads.
  std::optional<size_t> jump_target(const CodeInstruction& instruction) const;
  // After the call argument registers hold nothing that the caller can rely on. A function of this
  // object may be known to leave them alone (-fipa-ra), unless it calls out itself.
  bool clobbers_arguments(const CodeInstruction& call) const;

 private:
  const ObjectMap& map_;
  AtomId id_;
  Bytes masked_;
  std::vector<CodeInstruction> instructions_;
  std::map<uint32_t, size_t> numbers_;
  bool complete_ = false;
};

}  // namespace livecare::objdiff
