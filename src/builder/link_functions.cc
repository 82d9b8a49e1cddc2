// What is written into the target: which shipped functions are redirected, and whether the jump has
// room at their entries.
#include <elf.h>

#include <algorithm>

#include "builder/link_plan.h"
#include "insn/decode.h"

namespace livecare::builder {
namespace {

constexpr uint64_t jump_bytes = 5;
constexpr uint64_t endbr_bytes = 4;
constexpr uint64_t entry_bytes_max = 64;

std::string_view without_version(std::string_view name) {
  return name.substr(0, name.find('@'));
}

uint64_t overwritten_end(const patchfmt::FunctionPatch& patch) {
  const ByteView entry(patch.entry_bytes);
  const bool endbr = entry.read<uint32_t>(0) == 0xfa1e0ff3u;
  return patch.address + (endbr ? endbr_bytes : 0) + jump_bytes;
}

// Calls visit(from, to) for every direct jump or call in [address, address + size).
template <class Visit>
void for_each_jump(const elf::Image& file, uint64_t address, uint64_t size, Visit visit) {
  auto code = file.at_address(address, size);
  if (!code) return;
  for (uint64_t at = 0; at < size;) {
    auto instruction = insn::decode(insn::Cpu::x86_64, *code->slice(at, size - at));
    if (!instruction || !instruction->length) {
      ++at;
      continue;
    }
    at += instruction->length;
    const bool direct = instruction->flow == insn::Flow::jump ||
                        instruction->flow == insn::Flow::conditional_jump ||
                        instruction->flow == insn::Flow::call;
    if (direct && instruction->pc_relative_width)
      visit(address + at - instruction->length,
            address + at + static_cast<uint64_t>(instruction->displacement));
  }
}

}  // namespace

void Linker::patch_function(uint32_t unit, const objdiff::Function& function) {
  UnitState& state = units_[unit];
  if (!function.patched_symbol || !function.original_symbol) return;
  auto placement = state.map.placements.find(function.original_symbol);
  const uint32_t node = state.model->node_of_symbol(function.patched_symbol);
  if (node == match::no_node) return refuse(function.name, "", "has no symbol in the new object");
  if (placement == state.map.placements.end()) {
    // Not in the shipped file at all: its callers, which have it inlined, changed with it.
    if (state.map.absent.contains(function.original_symbol)) return;
    auto why = state.map.refusals.find(function.original_symbol);
    return refuse(
        function.name, "",
        fmt::format("cannot be replaced: {}",
                    why == state.map.refusals.end() ? "its place is not known" : why->second));
  }
  if (!placement->second.content_proved || placement->second.kind != match::Placement::Kind::plain)
    return refuse(function.name, "",
                  "cannot be replaced: the shipped file's copy of it is not the one that this "
                  "object was made with");
  const auto& mine = state.unit->original->symbols()[function.original_symbol];
  for (const auto& symbol : state.unit->original->symbols())
    if (symbol.type == STT_GNU_IFUNC && symbol.section == mine.section &&
        symbol.value == mine.value)
      return refuse(function.name, "",
                    fmt::format("chose the code of {} when the process started and is not asked "
                                "again; patch what it chooses instead",
                                symbol.name));
  patchfmt::FunctionPatch patch;
  patch.name = function.name;
  patch.address = placement->second.address;
  patch.size = placement->second.size;
  patch.proof =
      fmt::format("{}: {}", match::to_string(placement->second.proof), placement->second.detail);
  patch.ranges.push_back({patch.address, patch.size});
  for (uint32_t part : function.original_parts) {
    auto place = state.map.placements.find(part);
    if (place == state.map.placements.end()) {
      auto why = state.map.refusals.find(part);
      return refuse(function.name, "",
                    fmt::format("its part {} was not found, so nobody can tell whether a thread is "
                                "in it: {}",
                                state.unit->original->symbols()[part].name,
                                why == state.map.refusals.end() ? "" : why->second));
    }
    patch.ranges.push_back({place->second.address, place->second.size});
  }
  auto entry = input_.shipped->at_address(patch.address, std::min(patch.size, entry_bytes_max));
  if (!entry) return refuse(function.name, "", "lies outside of the shipped file");
  patch.entry_bytes = entry->copy();
  if (!check_entry(function, patch) || !check_folded(unit, function, patch.address)) return;
  const Decision decision = decide(unit, node);
  if (decision.refused || !decision.atom) return;
  for (const PendingPatch& other : patches_)
    if (other.patch.address == patch.address) {  // an alias
      if (other.atom != *decision.atom)
        refuse(function.name, "",
               fmt::format("and {} share their shipped code but not their new "
                           "code",
                           other.patch.name));
      return;
    }
  patches_.push_back({std::move(patch), *decision.atom, decision.atom_offset});
}

bool Linker::check_entry(const objdiff::Function& function, const patchfmt::FunctionPatch& patch) {
  const uint64_t end = overwritten_end(patch);
  if (patch.address + patch.size < end) {
    refuse(function.name, "",
           fmt::format("has {} bytes in the shipped file: no room for the jump, which needs {}; "
                       "patch its callers instead",
                       patch.size, end - patch.address));
    return false;
  }
  return true;
}

bool Linker::check_folded(uint32_t unit, const objdiff::Function& function, uint64_t address) {
  const UnitState& state = units_[unit];
  const elf::Image& original = *state.unit->original;
  const auto& mine = original.symbols()[function.original_symbol];
  for (const auto& [symbol, placement] : state.map.placements) {
    const auto& other = original.symbols()[symbol];
    if (placement.address != address || placement.kind != match::Placement::Kind::plain ||
        !placement.content_proved || other.is_undefined() ||
        (other.section == mine.section && other.value == mine.value))
      continue;
    refuse(function.name, "",
           fmt::format("shares its shipped code with {} (folded by the linker), which must not "
                       "change with it",
                       other.name));
    return false;
  }
  // Other objects' functions, when the names are known.
  if (!input_.rebuilt || !input_.matcher->rebuilt_is_identical()) return true;
  std::set<std::string_view> aliases;
  for (const auto& symbol : original.symbols())
    if (symbol.section == mine.section && symbol.value == mine.value)
      aliases.insert(without_version(symbol.name));
  for (const auto& symbol : input_.rebuilt->symbols())
    if (symbol.type == STT_FUNC && symbol.value == address && !symbol.is_undefined() &&
        !symbol.name.empty() && !aliases.contains(without_version(symbol.name))) {
      refuse(function.name, "",
             fmt::format("shares its shipped code with {} of another object", symbol.name));
      return false;
    }
  return true;
}

void Linker::check_jumps_into_entries() {
  // Nobody is in the old code when the jumps are written, but a suspended context (a coroutine, a
  // jmp_buf) may come back to it later; its loops must find whole instructions. And no other
  // function may jump past another's entry.
  std::map<uint64_t, size_t> by_end;  // end of the overwritten bytes -> patch
  for (size_t i = 0; i < patches_.size(); ++i) by_end[overwritten_end(patches_[i].patch)] = i;
  std::set<size_t> hit;
  auto visit = [&](uint64_t from, uint64_t to) {
    auto patch = by_end.upper_bound(to);
    if (patch == by_end.end() || to <= patches_[patch->second].patch.address) return;
    if (!hit.insert(patch->second).second) return;
    refuse(patches_[patch->second].patch.name, "",
           fmt::format("the shipped code at {:#x} jumps to {:#x}, between the bytes that the "
                       "redirection replaces; patch its callers instead",
                       from, to));
  };
  for (const auto& section : input_.shipped->sections())
    if ((section.flags & SHF_EXECINSTR) && section.type == SHT_PROGBITS)
      for_each_jump(*input_.shipped, section.address, section.size, visit);
}

}  // namespace livecare::builder
