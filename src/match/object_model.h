// A relocatable object as the matcher sees it: nodes (functions, variables, undefined symbols) and
// what each relocation refers to. A node has one address in the shipped file; what is merged by the
// linker (string literals, constants) or has no name (jump tables) is known by its content instead.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "elf/image.h"
#include "insn/decode.h"

namespace livecare::match {

inline constexpr uint32_t no_node = 0xffff'ffff;

struct Node {
  std::string name;      // of the first symbol
  uint32_t section = 0;  // 0: undefined in the object (or common)
  uint64_t offset = 0;
  uint64_t size = 0;
  bool code = false;
  bool tls = false;
  bool ifunc = false;  // an indirect function: a node of its own, beside that of its resolver
  bool global = false;
  std::vector<uint32_t> symbols;  // aliases: same place
};

// What a relocation really refers to: the addend's instruction bias is taken out.
struct Target {
  enum class What { node, merged, anonymous, absolute };
  What what = What::node;
  uint32_t node = no_node;
  uint32_t section = 0;  // of merged and anonymous
  int64_t offset = 0;    // from the node, or in the section
};

struct DecodedInstruction {
  uint32_t offset = 0;  // from the node's start
  insn::Instruction instruction;
  bool valid = true;  // false: a byte that is no instruction (data in text); length 1
};

class ObjectModel {
 public:
  explicit ObjectModel(const elf::Image& object);

  const elf::Image& object() const { return object_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  uint32_t node_of_symbol(uint32_t symbol) const { return node_of_symbol_[symbol]; }

  // effective_addend: the relocation's addend plus what the CPU adds (see objdiff::resolve).
  Target target(const elf::Relocation& relocation, int64_t effective_addend) const;

  // Relocations with offset in [offset, offset + size) of the section, in order.
  std::vector<const elf::Relocation*> relocations(uint32_t section, uint64_t offset,
                                                  uint64_t size) const;
  // The instructions of a code node.
  std::vector<DecodedInstruction> decode(const Node& node) const;

  // Where the anonymous thing that begins at offset may end: the next named node of the section.
  uint64_t anonymous_end(uint32_t section, uint64_t offset) const;

 private:
  const elf::Image& object_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> node_of_symbol_;
  std::map<uint32_t, std::map<uint64_t, uint32_t>> by_place_;  // section, offset -> node
};

}  // namespace livecare::match
