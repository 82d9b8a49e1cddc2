// What a reference in the shipped file means: an address, a GOT word, a PLT stub, a literal.
#include <elf.h>

#include <algorithm>

#include "match/walk.h"

namespace livecare::match {
namespace {

constexpr int content_depth_max = 6;  // tables of pointers to tables of pointers ...
constexpr uint64_t path_bytes_max = 4096;
// gcc's undefined-behaviour sanitizer in a kernel: file, line, column, types.
constexpr std::string_view sanitizer_record = ".data..Lubsan_data";

std::string_view without_version(std::string_view name) {
  return name.substr(0, name.find('@'));
}

}  // namespace

bool Comparer::Walk::refers_to(uint64_t at, const elf::Relocation& relocation,
                               int64_t effective_addend, uint64_t value, int depth) {
  const Target target = model.target(relocation, effective_addend);
  switch (target.what) {
    case Target::What::merged:
      return merged_content(at, target.section, target.offset, value);
    case Target::What::anonymous:
      return anonymous_content(at, target.section, target.offset, value, depth);
    case Target::What::absolute:
      return true;
    case Target::What::node:
      break;
  }
  if (auto slot = shipped.plt_slot(value))
    return refers_through_slot(at, relocation, effective_addend, *slot, depth);
  result.claims.push_back({.what = Claim::What::address,
                           .node = target.node,
                           .offset = target.offset,
                           .value = value,
                           .at = at});
  return true;
}

bool Comparer::Walk::refers_to_import(uint64_t at, const elf::Relocation& relocation,
                                      int64_t effective_addend, const elf::Symbol& symbol) {
  const Target target = model.target(relocation, effective_addend);
  if (target.what != Target::What::node)
    return differ(at, "refers to {} where the object refers to something of its own", symbol.name);
  const Node& node = model.nodes()[target.node];
  bool named = false;
  for (uint32_t index : node.symbols)
    named |= without_version(model.object().symbols()[index].name) == symbol.name;
  if (!named || target.offset != 0)
    return differ(at, "refers to {} where the object refers to {}", symbol.name, node.name);
  ++result.strong;
  result.claims.push_back({.what = Claim::What::import,
                           .node = target.node,
                           .value = 0,
                           .name = symbol.name,
                           .version = symbol.version,
                           .at = at});
  return true;
}

bool Comparer::Walk::refers_through_slot(uint64_t at, const elf::Relocation& relocation,
                                         int64_t effective_addend, uint64_t slot, int depth) {
  const elf::Relocation* dynamic = shipped.dynamic_at(slot);
  if (!dynamic) {
    auto word = bytes(slot, 8);
    if (!word) return differ(at, "refers to a GOT word at {:#x} that is not in the file", slot);
    const uint64_t value = *word->read<uint64_t>(0);
    const bool weak = model.object().symbols()[relocation.symbol].bind == STB_WEAK;
    if (value == 0 && weak) return true;
    // A position-independent file has a relocation for every address.
    if (shipped.file().kind() != elf::Kind::executable)
      return differ(at, "the GOT word at {:#x} has no dynamic relocation", slot);
    return refers_to(at, relocation, effective_addend, value, depth);
  }
  const auto addend = static_cast<uint64_t>(dynamic->addend);
  switch (dynamic->type) {
    case R_X86_64_RELATIVE:
      return refers_to(at, relocation, effective_addend, addend, depth);
    case R_X86_64_IRELATIVE: {
      const Target target = model.target(relocation, effective_addend);
      if (target.what != Target::What::node || target.offset != 0)
        return differ(at, "refers to an indirect function where the object does not");
      result.claims.push_back(
          {.what = Claim::What::ifunc, .node = target.node, .value = addend, .at = at});
      return true;
    }
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
    case R_X86_64_64:
      if (const elf::Symbol* symbol = shipped.symbol_of(*dynamic))
        return refers_to_import(at, relocation, effective_addend, *symbol);
      [[fallthrough]];
    default:
      return differ(at, "the GOT word at {:#x} has dynamic relocation type {}", slot,
                    dynamic->type);
  }
}

bool Comparer::Walk::refers_to_tls(uint64_t at, const elf::Relocation& relocation,
                                   int64_t effective_addend, uint64_t offset) {
  const Target target = model.target(relocation, effective_addend);
  if (target.what == Target::What::absolute) return true;
  if (target.what != Target::What::node)
    return differ(at, "refers to a thread-local variable that the object does not name");
  result.claims.push_back({.what = Claim::What::tls,
                           .node = target.node,
                           .offset = target.offset,
                           .value = offset,
                           .at = at});
  return true;
}

bool Comparer::Walk::refers_through_tls_slot(uint64_t at, const elf::Relocation& relocation,
                                             uint64_t slot) {
  const elf::Relocation* dynamic = shipped.dynamic_at(slot);
  if (!dynamic) return differ(at, "the GOT word at {:#x} has no dynamic relocation", slot);
  if (const elf::Symbol* symbol = shipped.symbol_of(*dynamic)) {
    if (!refers_to_import(at, relocation, 0, *symbol)) return false;
    return symbol->is_undefined() || refers_to_tls(at, relocation, 0, symbol->value);
  }
  if (dynamic->type == R_X86_64_TPOFF64 || dynamic->type == R_X86_64_TLSDESC)
    return refers_to_tls(at, relocation, 0, static_cast<uint64_t>(dynamic->addend));
  if (dynamic->type != R_X86_64_DTPMOD64)
    return differ(at, "the GOT word at {:#x} is not of a thread-local variable", slot);
  // The module's own variable: the second word holds the offset, already linked.
  auto word = bytes(slot + 8, 8);
  if (!word) return differ(at, "the GOT pair at {:#x} is not in the file", slot);
  return refers_to_tls(at, relocation, 0, *word->read<uint64_t>(0));
}

// Is the string there a path whose last parts are the tail, which ends in a zero?
bool Comparer::Walk::ends_in(uint64_t address, ByteView tail) const {
  for (uint64_t size = 1; size <= path_bytes_max; ++size) {
    auto text = bytes(address, size);
    if (!text) return false;
    if (text->data()[size - 1] != 0) continue;
    return size > tail.size() && text->data()[size - tail.size() - 1] == '/' &&
           *text->slice(size - tail.size(), tail.size()) == tail;
  }
  return false;
}

bool Comparer::Walk::merged_content(uint64_t at, uint32_t section, int64_t offset, uint64_t value) {
  const auto& home = model.object().sections()[section];
  const uint64_t entry = std::max<uint64_t>(home.entry_size, 1);
  if (offset < 0 || static_cast<uint64_t>(offset) >= home.size)
    return differ(at, "refers past the literals of {}", home.name);
  const auto start = static_cast<uint64_t>(offset);
  uint64_t end = start - start % entry + entry;
  if (home.flags & SHF_STRINGS) {
    auto is_end = [&](uint64_t character) {
      for (uint64_t i = 0; i < entry; ++i)
        if (home.bytes.data()[character + i]) return false;
      return true;
    };
    uint64_t character = start;
    while (character + entry <= home.size && !is_end(character)) character += entry;
    end = character + entry;
  }
  auto ours = home.bytes.slice(start, std::min(end, home.size) - start);
  auto theirs = bytes(value, ours->size());
  const bool same_path = in_record && (home.flags & SHF_STRINGS) && ends_in(value, *ours);
  if (!same_path && (!theirs || !(*theirs == *ours)))
    return differ(at, "refers to other content at {:#x} than the object's {}+{:#x}", value,
                  home.name, start);
  ++result.strong;
  return true;
}

bool Comparer::Walk::anonymous_content(uint64_t at, uint32_t section, int64_t offset,
                                       uint64_t value, int depth) {
  const auto& home = model.object().sections()[section];
  if (offset < 0 || static_cast<uint64_t>(offset) > home.size)
    return differ(at, "refers outside of section {}", home.name);
  if (depth >= content_depth_max) return true;
  const auto start = static_cast<uint64_t>(offset);
  uint64_t end = model.anonymous_end(section, start);
  if (auto known = anchors.find(section); known != anchors.end()) {
    auto next = known->second.upper_bound(start);
    if (next != known->second.end()) end = std::min(end, next->first);
  }
  // Where a kernel was built is part of the paths in such records, and of nothing else.
  const bool outer = in_record;
  in_record = home.name.starts_with(sanitizer_record);
  const bool same = data_bytes(section, start, end - start, value, depth + 1, true);
  in_record = outer;
  return same;
}

bool Comparer::Walk::data_bytes(uint32_t section, uint64_t offset, uint64_t size, uint64_t address,
                                int depth, bool anchored) {
  const auto& home = model.object().sections()[section];
  if (size == 0) return true;
  auto theirs = bytes(address, size);
  if (home.type == SHT_NOBITS) {
    // Zero-initialised: either beyond the file, or zeros in it.
    const elf::Section* place = shipped.section_at(address);
    if (!place || address + size > place->address + place->size)
      return differ(address, "no section of the shipped file holds {} bytes there", size);
    if (theirs && std::any_of(theirs->begin(), theirs->end(), [](uint8_t b) { return b != 0; }))
      return differ(address, "the shipped variable is not zero-initialised");
    return true;
  }
  auto ours = home.bytes.slice(offset, size);
  if (!ours || !theirs) return differ(address, "no initialised data there in the shipped file");
  uint64_t done = 0;
  auto plain_until = [&](uint64_t end) {
    for (; done < end; ++done)
      if (ours->data()[done] != theirs->data()[done])
        return differ(address + done, "data differs from the object's {}+{:#x}", home.name,
                      offset + done);
    return true;
  };
  for (const elf::Relocation* relocation : model.relocations(section, offset, size)) {
    const uint64_t place = relocation->offset - offset;
    const uint64_t width =
        relocation->type == R_X86_64_64 || relocation->type == R_X86_64_PC64 ? 8 : 4;
    if (place + width > size || !plain_until(place))
      return result.reason.empty() ? differ(address, "a relocation straddles the end") : false;
    if (!data_word(*relocation, address + place, place, address, depth, anchored)) return false;
    ++result.relocations;
    done = place + width;
  }
  if (!plain_until(size)) return false;
  result.fixed_bytes += static_cast<uint32_t>(size);
  return true;
}

bool Comparer::Walk::data_word(const elf::Relocation& relocation, uint64_t place,
                               uint64_t offset_in_data, uint64_t address, int depth,
                               bool anchored) {
  const bool dynamic = shipped.dynamic_at(place) != nullptr;
  switch (relocation.type) {
    case R_X86_64_64:
      if (dynamic || shipped.file().kind() != elf::Kind::executable)
        return refers_through_slot(place, relocation, relocation.addend, place, depth);
      return refers_to(place, relocation, relocation.addend, *bytes(place, 8)->read<uint64_t>(0),
                       depth);
    case R_X86_64_32:
      return refers_to(place, relocation, relocation.addend, *bytes(place, 4)->read<uint32_t>(0),
                       depth);
    case R_X86_64_32S:
      return refers_to(place, relocation, relocation.addend,
                       static_cast<uint64_t>(int64_t{*bytes(place, 4)->read<int32_t>(0)}), depth);
    case R_X86_64_PC32:
    case R_X86_64_PLT32: {
      const int64_t value = *bytes(place, 4)->read<int32_t>(0);
      // An entry of a jump table is a label minus the table's start.
      if (anchored)
        return refers_to(place, relocation,
                         relocation.addend - static_cast<int64_t>(offset_in_data),
                         address + static_cast<uint64_t>(value), depth);
      return refers_to(place, relocation, relocation.addend, place + static_cast<uint64_t>(value),
                       depth);
    }
    case R_X86_64_PC64:
      return refers_to(place, relocation, relocation.addend,
                       place + *bytes(place, 8)->read<uint64_t>(0), depth);
    default:
      return differ(place, "relocation type {} in data is not understood", relocation.type);
  }
}

}  // namespace livecare::match
