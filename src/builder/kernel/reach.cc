#include <elf.h>

#include "builder/kernel/extractor.h"
#include "objdiff/kernel_tables.h"
#include "objdiff/names.h"

namespace livecare::builder {
namespace {

bool is_code(const elf::Image& image, const elf::Symbol& symbol) {
  return symbol.section < image.sections().size() &&
         (image.sections()[symbol.section].flags & SHF_EXECINSTR);
}

bool is_gone_after_boot(std::string_view section) {
  return objdiff::is_init_section(section) || objdiff::is_exit_section(section);
}

}  // namespace

bool Extractor::is_branch(const elf::Relocation& relocation) const {
  return relocation.type == R_X86_64_PLT32;
}

// Not: the kernel's own tables, a call or jump, a load or store that addresses by the instruction
// pointer.
bool Extractor::takes_address(uint32_t unit, const elf::Relocation& relocation, uint32_t in_section,
                              Use use) const {
  if (use != Use::address) return false;
  const elf::Section& section = units_[unit].unit->patched->sections()[in_section];
  if (relocation.type != R_X86_64_PC32 || !(section.flags & SHF_EXECINSTR)) return true;
  constexpr uint8_t lea = 0x8d;  // opcode, ModRM, displacement
  auto opcode = relocation.offset >= 2 ? section.bytes.slice(relocation.offset - 2, 1)
                                       : std::optional<ByteView>();
  return !opcode || opcode->begin()[0] == lea;
}

Extractor::Reached Extractor::in_piece(uint32_t piece, uint64_t section_offset) {
  Reached out;
  out.what = Reached::What::inside;
  out.place = pieces_[piece].place;
  out.place.offset += section_offset - pieces_[piece].offset;
  return out;
}

Extractor::Reached Extractor::place_in(const ShippedObject& home, uint64_t address,
                                       std::string_view name, const std::string& owner) {
  std::string_view section = home.section_at(address);
  if (home.is_vmlinux() && is_gone_after_boot(section)) {
    refuse(owner, section, fmt::format("refers to {}, which is gone after the start", name));
    return {};
  }
  auto symbol = home.symbol_at(address, name);
  if (!symbol.ok()) {
    refuse(owner, "", symbol.error().text());
    return {};
  }
  Reached out;
  out.what = Reached::What::outside;
  out.home = &home;
  out.symbol = std::move(symbol).value();
  if (objdiff::is_init_section(section)) {
    out.init = true;
    image_.fresh[home.name()].insert(fmt::format("{} is needed, which runs only then", name));
    if (out.symbol.position != 0)
      refuse(owner, section, fmt::format("refers to {}, of which there are several", name));
  }
  return out;
}

// A symbol that another object defines.
Extractor::Reached Extractor::reach_undefined(uint32_t unit, uint32_t index,
                                              const std::string& owner) {
  const KernelUnit& from = *units_[unit].unit;
  std::string_view name = from.patched->symbols()[index].name;
  if (auto fresh = new_globals_.find(name); fresh != new_globals_.end()) {
    const UnitState& other = units_[fresh->second.unit];
    if (other.unit->home == from.home) {
      const elf::Symbol& symbol = other.unit->patched->symbols()[fresh->second.symbol];
      if (is_code(*other.unit->patched, symbol)) {
        const objdiff::Function& function = *other.fresh.at(fresh->second.symbol);
        uint32_t piece = function_piece(fresh->second.unit, function.patched, function.name);
        Reached out = in_piece(piece, symbol.value);
        out.fresh = name;
        return out;
      }
      Reached out =
          in_piece(piece_for(fresh->second.unit, {symbol.section, symbol.value, symbol.size},
                             std::string(name)),
                   symbol.value);
      out.fresh = name;
      return out;
    }
  }
  // What the proof of the original says about the very symbol.
  uint32_t original = from.diff.correlation.original_of_patched[index];
  auto placement = from.map.placements.find(original);
  bool placed = original != 0 && placement != from.map.placements.end();
  if (!from.home->is_vmlinux()) {
    bool own = placed ? from.home->section_at(placement->second.address) != ".outside"
                      : from.home->global(name).has_value();
    if (own) {
      uint64_t address = placed ? placement->second.address : *from.home->global(name);
      return place_in(*from.home, address, name, owner);
    }
  }
  if (input_.exported->loader_finds(name)) {
    Reached out;
    out.what = Reached::What::exported;
    out.name = name;
    return out;
  }
  const ExportedSymbol* exported = input_.exported->find(name);
  if (exported && exported->owner != vmlinux_name) {
    auto module = input_.open_module(module_name(exported->owner));
    auto address = module.ok() ? (*module)->global(name) : std::nullopt;
    if (address) return place_in(**module, *address, name, owner);
    refuse(owner, "",
           fmt::format("refers to {} of the module {}, which is not found there", name,
                       exported->owner));
    return {};
  }
  if (from.home->is_vmlinux() && placed)
    return place_in(*from.home, placement->second.address, name, owner);
  if (from.home->is_vmlinux() || exported) {
    if (auto address = input_.vmlinux->global(name))
      return place_in(*input_.vmlinux, *address, name, owner);
  }
  refuse(
      owner, "",
      fmt::format("refers to {}, which is {}", name,
                  from.home->is_vmlinux() ? "not one symbol of the shipped kernel"
                                          : "not exported to modules, so the fix would not link"));
  return {};
}

Extractor::Reached Extractor::reach_shipped(uint32_t unit, uint32_t patched_symbol,
                                            const std::string& owner) {
  const KernelUnit& from = *units_[unit].unit;
  const elf::Symbol& symbol = from.patched->symbols()[patched_symbol];
  uint32_t original = from.diff.correlation.original_of_patched[patched_symbol];
  auto placement = from.map.placements.find(original);
  if (original == 0 || placement == from.map.placements.end()) {
    auto why = from.map.refusals.find(original);
    refuse(owner, "",
           fmt::format("refers to {}, whose place in the shipped {} is not proved: {}", symbol.name,
                       from.home->name(),
                       why == from.map.refusals.end() ? "nothing that was compared refers to it"
                                                      : why->second));
    return {};
  }
  return place_in(*from.home, placement->second.address, from.original->symbols()[original].name,
                  owner);
}

Extractor::Reached Extractor::reach_code(uint32_t unit, uint32_t index, int64_t offset, Use use,
                                         const std::string& owner) {
  UnitState& state = units_[unit];
  const elf::Symbol& symbol = state.unit->patched->symbols()[index];
  auto piece_of = [&](const objdiff::Extent& extent) {
    return in_piece(function_piece(unit, extent, symbol.name), symbol.value);
  };
  if (auto fresh = state.fresh.find(index); fresh != state.fresh.end()) {
    Reached out = piece_of(fresh->second->patched);
    if (offset == 0) out.fresh = symbol.name;
    return out;
  }
  if (state.parts.contains(index)) return piece_of({symbol.section, symbol.value, symbol.size});
  if (auto changed = state.changed.find(index); changed != state.changed.end()) {
    // Its address, as anybody may keep it, is that of the shipped one; a place inside of it, and
    // what the kernel's tables say about it, is in the new code.
    if (use != Use::address || offset != 0) return piece_of(changed->second->patched);
  }
  return reach_shipped(unit, index, owner);
}

// The code's own entry of a table, which is emitted before the code's references are looked at: a
// WARN with arguments gives its entry of the bug table to the function that prints.
Extractor::Reached Extractor::reach_entry(uint32_t unit, uint32_t section, int64_t offset,
                                          const std::string& owner) {
  auto found = entry_places_.find(std::tuple(unit, section, static_cast<uint64_t>(offset)));
  if (found == entry_places_.end()) {
    refuse(owner, units_[unit].unit->patched->sections()[section].name,
           "refers to an entry that is about other code");
    return {};
  }
  Reached out;
  out.what = Reached::What::inside;
  out.place = found->second;
  return out;
}

Extractor::Reached Extractor::reach_data(uint32_t unit, uint32_t index, const std::string& owner) {
  UnitState& state = units_[unit];
  const elf::Image& patched = *state.unit->patched;
  const elf::Symbol& symbol = patched.symbols()[index];
  const elf::Section& section = patched.sections()[symbol.section];
  auto emitted = [&] {
    auto extent = state.resolver->extent_at(symbol.section, symbol.value);
    objdiff::Extent whole =
        extent ? *extent : objdiff::Extent{symbol.section, symbol.value, symbol.size};
    return in_piece(piece_for(unit, whole, std::string(symbol.name)), symbol.value);
  };
  if (state.emitted_data.contains(index)) {
    Reached out = emitted();
    if (!objdiff::is_compiler_constant(symbol.name)) out.fresh = symbol.name;
    return out;
  }
  // Its static key would be freed with the module: the patch has a descriptor of its own.
  if (section.name == objdiff::dynamic_debug_section && !state.unit->home->is_vmlinux())
    return emitted();
  uint32_t original = state.unit->diff.correlation.original_of_patched[index];
  bool placed = original != 0 && state.unit->map.placements.contains(original);
  // A constant of the compiler's: its content is all there is. A lock class has none.
  bool copied = (!(section.flags & SHF_WRITE) && objdiff::is_compiler_constant(symbol.name)) ||
                (symbol.type == STT_OBJECT && symbol.size == 0);
  if (!placed && copied) return emitted();
  return reach_shipped(unit, index, owner);
}

Extractor::Reached Extractor::reach(uint32_t unit, const elf::Relocation& relocation,
                                    uint32_t in_section, Use use, const std::string& owner) {
  UnitState& state = units_[unit];
  const elf::Image& patched = *state.unit->patched;
  objdiff::Reference reference = state.resolver->resolve(relocation, in_section);
  const elf::Symbol& named = patched.symbols()[relocation.symbol];
  if (reference.what == objdiff::Reference::What::nothing) return {};
  if (reference.what == objdiff::Reference::What::anonymous) {
    const elf::Section& section = patched.sections()[reference.section];
    if (objdiff::kernel_table(section.name)) {
      Reached out = reach_entry(unit, reference.section, reference.offset, owner);
      // As for every reference: the place of the symbol that it is counted from.
      out.place.offset += named.value - static_cast<uint64_t>(reference.offset);
      out.symbol_value = named.value;
      return out;
    }
    auto extent =
        state.resolver->extent_at(reference.section, static_cast<uint64_t>(reference.offset));
    bool plain = !(section.flags & (SHF_EXECINSTR | SHF_WRITE)) ||
                 section.name == objdiff::feature_test_section ||
                 objdiff::is_sanitizer_record(section.name);
    if (!extent || !plain || reference.offset < 0) {
      refuse(owner, section.name,
             "refers to code or writable data that has no symbol; leave what uses it as it is");
      return {};
    }
    Reached out = in_piece(piece_for(unit, *extent, owner), named.value);
    out.symbol_value = named.value;
    return out;
  }
  const elf::Symbol& symbol = patched.symbols()[reference.symbol];
  Reached out;
  if (symbol.is_undefined()) return reach_undefined(unit, reference.symbol, owner);
  if (symbol.section == elf::section_absolute || symbol.section == elf::section_common ||
      symbol.section >= patched.sections().size()) {
    refuse(owner, "", fmt::format("refers to {}, which lies in no section", symbol.name));
    return {};
  }
  if (is_code(patched, symbol))
    out = reach_code(unit, reference.symbol, reference.offset, use, owner);
  else
    out = reach_data(unit, reference.symbol, owner);
  // The relocation may count from the section's start instead.
  out.symbol_value = symbol.value;
  return out;
}

void Extractor::relocate(uint32_t unit, const elf::Relocation& relocation, uint32_t in_section,
                         SectionPlace place, Use use, const std::string& owner) {
  if (relocation.type == R_X86_64_NONE) return;
  const elf::Image& patched = *units_[unit].unit->patched;
  const elf::Symbol& named = patched.symbols()[relocation.symbol];
  switch (relocation.type) {
    case R_X86_64_64:
    case R_X86_64_32:
    case R_X86_64_32S:
    case R_X86_64_PC32:
    case R_X86_64_PC64:
    case R_X86_64_PLT32:
      break;
    default:
      refuse(owner, patched.sections()[in_section].name,
             fmt::format("relocation type {} is not known in kernels", relocation.type));
      return;
  }
  size_t refused_before = image_.refused.size();
  Reached reached = reach(unit, relocation, in_section, use, owner);
  // In the units of the target symbol: named.value is 0 for section symbols.
  int64_t addend = relocation.addend;
  if (!named.is_undefined())
    addend += static_cast<int64_t>(named.value) - static_cast<int64_t>(reached.symbol_value);
  switch (reached.what) {
    case Reached::What::refused:
      if (image_.refused.size() == refused_before)
        refuse(owner, patched.sections()[in_section].name,
               fmt::format("a reference to {} cannot be resolved", named.name));
      return;
    case Reached::What::inside:
      if (!reached.fresh.empty() && takes_address(unit, relocation, in_section, use))
        image_.given_away.insert(reached.fresh);
      image_.object.section(place.section)
          .relocations.push_back({place.offset, relocation.type,
                                  image_.object.section_symbol(reached.place.section),
                                  addend + static_cast<int64_t>(reached.place.offset)});
      return;
    case Reached::What::exported: {
      auto [symbol, fresh] = exported_symbols_.emplace(reached.name, 0);
      if (fresh)
        symbol->second = image_.object.add_symbol(
            {reached.name, STB_GLOBAL, STT_NOTYPE, STV_DEFAULT, elf::section_undefined, 0, 0});
      image_.object.section(place.section)
          .relocations.push_back({place.offset, relocation.type, symbol->second, addend});
      return;
    }
    case Reached::What::outside:
      image_.references.push_back(
          {place, reached.home, reached.symbol, addend, relocation.type, reached.init});
      return;
  }
}

}  // namespace livecare::builder
