#include "objdiff/function_code.h"

#include <algorithm>

#include "objdiff/compare.h"

namespace livecare::objdiff {

FunctionCode::FunctionCode(const ObjectMap& map, AtomId id)
    : map_(map), id_(id), masked_(masked_bytes(map, id)) {
  ByteView code = map.bytes(atom());
  uint32_t at = 0;
  while (at < code.size()) {
    auto instruction = decode_code(map.image().machine(), code, at);
    if (!instruction) break;
    numbers_[at] = instructions_.size();
    instructions_.push_back(*instruction);
    at += instruction->length;
  }
  complete_ = at == code.size();
}

ByteView FunctionCode::masked(const CodeInstruction& instruction) const {
  return *ByteView(masked_).slice(instruction.offset, instruction.length);
}

const Ref* FunctionCode::ref_in(const CodeInstruction& instruction) const {
  const auto& refs = atom().refs;
  auto found =
      std::lower_bound(refs.begin(), refs.end(), instruction.offset,
                       [](const Ref& ref, uint32_t offset) { return ref.offset < offset; });
  bool inside = found != refs.end() && found->offset < instruction.offset + instruction.length;
  return inside ? &*found : nullptr;
}

std::optional<size_t> FunctionCode::number_at(int64_t offset) const {
  auto found = offset < 0 ? numbers_.end() : numbers_.find(static_cast<uint32_t>(offset));
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

std::optional<size_t> FunctionCode::jump_target(const CodeInstruction& instruction) const {
  bool jumps =
      instruction.flow == insn::Flow::jump || instruction.flow == insn::Flow::conditional_jump;
  if (!jumps || ref_in(instruction)) return std::nullopt;
  return number_at(relative_target(map_.image().machine(), instruction));
}

bool FunctionCode::clobbers_arguments(const CodeInstruction& call) const {
  const Ref* ref = ref_in(call);
  if (!ref || ref->target != Ref::Target::atom || ref->atom == no_atom) return true;
  const auto& refs = map_.atom(ref->atom).refs;
  return std::any_of(refs.begin(), refs.end(), [&](const Ref& r) {
    return r.target == Ref::Target::external && r.pc_relative;
  });
}

}  // namespace livecare::objdiff
