#include "match/shipped_index.h"

#include <elf.h>

#include <algorithm>

namespace livecare::match {

ShippedIndex::ShippedIndex(const elf::Image& file) : file_(file), ranges_(fde_ranges(file)) {
  for (const auto& section : file.sections())
    if ((section.flags & SHF_ALLOC) && section.size && !(section.flags & SHF_TLS))
      by_address_.push_back(&section);
  std::sort(by_address_.begin(), by_address_.end(),
            [](const auto* a, const auto* b) { return a->address < b->address; });
  for (const auto& relocation : file.dynamic_relocations())
    dynamic_.emplace(relocation.offset, &relocation);
  for (const auto& range : ranges_) starts_.push_back(range.address);
  for (const auto& symbol : file.dynamic_symbols()) {
    if (symbol.name.empty()) continue;
    names_[symbol.name].push_back(&symbol);
    const bool code = symbol.type == STT_FUNC || symbol.type == STT_GNU_IFUNC;
    if (!code || symbol.is_undefined()) continue;
    starts_.push_back(symbol.value);
    exported_.emplace(symbol.value, &symbol);
  }
  std::sort(starts_.begin(), starts_.end());
  starts_.erase(std::unique(starts_.begin(), starts_.end()), starts_.end());
}

const elf::Relocation* ShippedIndex::dynamic_at(uint64_t address) const {
  auto found = dynamic_.find(address);
  return found == dynamic_.end() ? nullptr : found->second;
}

const elf::Symbol* ShippedIndex::symbol_of(const elf::Relocation& relocation) const {
  const auto& symbols = file_.dynamic_symbols();
  if (relocation.symbol == 0 || relocation.symbol >= symbols.size()) return nullptr;
  return &symbols[relocation.symbol];
}

std::optional<uint64_t> ShippedIndex::plt_slot(uint64_t address) const {
  const elf::Section* section = section_at(address);
  if (!section || !section->name.starts_with(".plt")) return std::nullopt;
  const uint64_t start = address - section->address;
  uint64_t at = start;
  // endbr64 and the bnd prefix come before the jump in stubs for CET.
  if (section->bytes.read<uint32_t>(at) == 0xfa1e0ff3u) at += 4;
  if (section->bytes.read<uint8_t>(at) == uint8_t{0xf2}) at += 1;
  if (section->bytes.read<uint16_t>(at) != uint16_t{0x25ff}) return std::nullopt;
  auto displacement = section->bytes.read<int32_t>(at + 2);
  if (!displacement) return std::nullopt;
  return section->address + at + 6 + static_cast<uint64_t>(int64_t{*displacement});
}

std::vector<const elf::Symbol*> ShippedIndex::exported_at(uint64_t address) const {
  std::vector<const elf::Symbol*> found;
  auto [first, last] = exported_.equal_range(address);
  for (; first != last; ++first) found.push_back(first->second);
  return found;
}

const elf::Section* ShippedIndex::section_at(uint64_t address) const {
  auto after = std::upper_bound(
      by_address_.begin(), by_address_.end(), address,
      [](uint64_t value, const auto* section) { return value < section->address; });
  if (after == by_address_.begin()) return nullptr;
  const elf::Section* section = *std::prev(after);
  return address - section->address < section->size ? section : nullptr;
}

bool ShippedIndex::is_code(uint64_t address) const {
  const elf::Section* section = section_at(address);
  return section && (section->flags & SHF_EXECINSTR);
}

const CodeRange* ShippedIndex::range_at(uint64_t address) const {
  auto found = std::lower_bound(
      ranges_.begin(), ranges_.end(), address,
      [](const CodeRange& range, uint64_t value) { return range.address < value; });
  return found != ranges_.end() && found->address == address ? &*found : nullptr;
}

const std::vector<const elf::Symbol*>& ShippedIndex::dynamic_symbols(std::string_view name) const {
  static const std::vector<const elf::Symbol*> none;
  auto found = names_.find(name);
  return found == names_.end() ? none : found->second;
}

std::optional<uint64_t> ShippedIndex::tls_size() const {
  for (const auto& segment : file_.segments())
    if (segment.type == PT_TLS) return segment.memory_size;
  return std::nullopt;
}

std::optional<int64_t> ShippedIndex::local_exec_base() const {
  for (const auto& segment : file_.segments()) {
    if (segment.type != PT_TLS) continue;
    const uint64_t alignment = segment.alignment ? segment.alignment : 1;
    const uint64_t rounded = (segment.memory_size + alignment - 1) / alignment * alignment;
    return -static_cast<int64_t>(rounded);
  }
  return std::nullopt;
}

}  // namespace livecare::match
