#include "match/object_model.h"

#include <elf.h>

#include <algorithm>

namespace livecare::match {
namespace {

bool is_local_label(std::string_view name) {
  return name.starts_with(".L");
}

bool is_named_thing(const elf::Symbol& symbol, const elf::Section& section) {
  if (!(section.flags & SHF_ALLOC)) return false;
  if (is_local_label(symbol.name)) return false;
  switch (symbol.type) {
    case STT_FUNC:
    case STT_GNU_IFUNC:
    case STT_OBJECT:
    case STT_TLS:
      return true;
    case STT_NOTYPE:
      return !symbol.name.empty();
    default:
      return false;
  }
}

}  // namespace

ObjectModel::ObjectModel(const elf::Image& object) : object_(object) {
  const auto& symbols = object.symbols();
  node_of_symbol_.assign(symbols.size(), no_node);
  for (const auto& symbol : symbols) {
    if (symbol.index == 0 || symbol.type == STT_SECTION || symbol.type == STT_FILE) continue;
    const bool outside = symbol.is_undefined() || symbol.section == elf::section_common;
    if (!outside &&
        (symbol.section == elf::section_absolute || symbol.section >= object.sections().size() ||
         !is_named_thing(symbol, object.sections()[symbol.section])))
      continue;
    const bool ifunc = symbol.type == STT_GNU_IFUNC;
    // Named constants among merged ones move on their own: they name no place of their section.
    const bool merged = !outside && (object.sections()[symbol.section].flags & SHF_MERGE);
    if (!outside && !ifunc && !merged) {
      auto [place, fresh] = by_place_[symbol.section].emplace(symbol.value, nodes_.size());
      if (!fresh) {
        Node& node = nodes_[place->second];
        node.symbols.push_back(symbol.index);
        node.size = std::max(node.size, symbol.size);
        node.global |= symbol.bind != STB_LOCAL;
        node_of_symbol_[symbol.index] = place->second;
        continue;
      }
    }
    Node node;
    node.name = symbol.name;
    node.size = symbol.size;
    node.tls = symbol.type == STT_TLS;
    node.ifunc = ifunc;
    node.global = symbol.bind != STB_LOCAL;
    node.symbols = {symbol.index};
    if (!outside) {
      node.section = symbol.section;
      node.offset = symbol.value;
      node.code = object.sections()[symbol.section].flags & SHF_EXECINSTR;
    }
    node_of_symbol_[symbol.index] = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back(std::move(node));
  }
  // Assembly often leaves the size out: such a thing reaches to the next one.
  for (auto& [section, places] : by_place_) {
    const uint64_t section_end = object.sections()[section].size;
    for (auto place = places.begin(); place != places.end(); ++place) {
      Node& node = nodes_[place->second];
      auto next = std::next(place);
      const uint64_t limit = next == places.end() ? section_end : next->first;
      if (node.size == 0 && limit > node.offset) node.size = limit - node.offset;
      if (node.offset > section_end || node.size > section_end - node.offset)
        node.size = section_end > node.offset ? section_end - node.offset : 0;
    }
  }
}

Target ObjectModel::target(const elf::Relocation& relocation, int64_t effective_addend) const {
  Target target;
  const auto& symbol = object_.symbols()[relocation.symbol];
  target.node = node_of_symbol_[relocation.symbol];
  target.offset = effective_addend;
  if (target.node != no_node) return target;
  if (symbol.section == elf::section_absolute || symbol.section >= object_.sections().size() ||
      symbol.is_undefined()) {
    target.what = Target::What::absolute;
    target.offset += static_cast<int64_t>(symbol.value);
    return target;
  }
  // A section symbol or a local label: what lies there?
  target.section = symbol.section;
  target.offset += static_cast<int64_t>(symbol.value);
  const auto& section = object_.sections()[symbol.section];
  if (section.flags & SHF_MERGE) {
    target.what = Target::What::merged;
    return target;
  }
  target.what = Target::What::anonymous;
  auto places = by_place_.find(symbol.section);
  if (places == by_place_.end()) return target;
  if (target.offset < 0) {  // `table - 1`: the first thing of the section, if it is one
    const auto& [offset_of_first, first] = *places->second.begin();
    if (offset_of_first != 0) return target;
    target.what = Target::What::node;
    target.node = first;
    return target;
  }
  auto after = places->second.upper_bound(static_cast<uint64_t>(target.offset));
  if (after == places->second.begin()) return target;
  const uint32_t index = std::prev(after)->second;
  const Node& node = nodes_[index];
  const uint64_t end = node.offset + node.size;
  const auto offset = static_cast<uint64_t>(target.offset);
  // One past the end of the last thing of a section can only mean that thing.
  const bool inside = offset < end || end == section.size || node.code;
  if (!inside) return target;
  target.what = Target::What::node;
  target.node = index;
  target.offset = static_cast<int64_t>(offset - node.offset);
  return target;
}

std::vector<const elf::Relocation*> ObjectModel::relocations(uint32_t section, uint64_t offset,
                                                             uint64_t size) const {
  std::vector<const elf::Relocation*> found;
  const auto& all = object_.relocations(section);
  auto first = std::lower_bound(all.begin(), all.end(), offset,
                                [](const auto& r, uint64_t value) { return r.offset < value; });
  for (; first != all.end() && first->offset < offset + size; ++first)
    if (first->type != 0 && first->symbol < object_.symbols().size()) found.push_back(&*first);
  return found;
}

std::vector<DecodedInstruction> ObjectModel::decode(const Node& node) const {
  std::vector<DecodedInstruction> instructions;
  auto code = object_.sections()[node.section].bytes.slice(node.offset, node.size);
  if (!code) return instructions;
  const auto cpu =
      object_.machine() == elf::Machine::x86_64 ? insn::Cpu::x86_64 : insn::Cpu::aarch64;
  for (uint64_t at = 0; at < code->size();) {
    DecodedInstruction entry;
    entry.offset = static_cast<uint32_t>(at);
    auto instruction = insn::decode(cpu, *code->slice(at, code->size() - at));
    if (instruction && instruction->length) {
      entry.instruction = *instruction;
    } else {
      entry.valid = false;
      entry.instruction.length = 1;
    }
    at += entry.instruction.length;
    instructions.push_back(entry);
  }
  return instructions;
}

uint64_t ObjectModel::anonymous_end(uint32_t section, uint64_t offset) const {
  uint64_t end = object_.sections()[section].size;
  auto places = by_place_.find(section);
  if (places == by_place_.end()) return end;
  auto next = places->second.upper_bound(offset);
  return next == places->second.end() ? end : std::min(end, next->first);
}

}  // namespace livecare::match
