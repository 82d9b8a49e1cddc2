// What a symbol of a patched object is for the image: a piece of it, a place in the target that was
// proved, or something that the dynamic linker finds by name.
#include <elf.h>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

std::string_view without_version(std::string_view name) {
  return name.substr(0, name.find('@'));
}

bool is_indirection(std::string_view name) {
  return name.starts_with("DW.ref.");
}

// Part of the function that it describes, whatever a compiler calls it (clang gives it a name).
bool is_exception_table(const elf::Image& object, uint32_t section) {
  return object.sections()[section].name.starts_with(".gcc_except_table");
}

bool is_read_only(const elf::Section& section) {
  return !(section.flags & SHF_WRITE) || section.name.starts_with(".data.rel.ro");
}

}  // namespace

uint32_t Linker::intern(patchfmt::Symbol symbol) {
  auto key = std::make_tuple(symbol.kind, symbol.name, symbol.version, symbol.value);
  auto [place, fresh] =
      symbol_index_.emplace(std::move(key), static_cast<uint32_t>(output_.object.symbols.size()));
  if (fresh)
    output_.object.symbols.push_back(std::move(symbol));
  else if (!symbol.weak)
    output_.object.symbols[place->second].weak = false;
  return place->second;
}

uint32_t Linker::symbol_for(const std::string& name, const match::Placement& placement) {
  patchfmt::Symbol symbol;
  switch (placement.kind) {
    case match::Placement::Kind::plain:
      symbol.kind = patchfmt::SymbolKind::target;
      break;
    case match::Placement::Kind::ifunc:
      symbol.kind = patchfmt::SymbolKind::target_ifunc;
      break;
    case match::Placement::Kind::tls:
      symbol.kind = patchfmt::SymbolKind::target_tls;
      break;
  }
  symbol.name = name;
  symbol.value = placement.address;
  symbol.size = placement.size;
  symbol.proof = fmt::format("{}: {}", match::to_string(placement.proof), placement.detail);
  return intern(std::move(symbol));
}

uint32_t Linker::import_symbol(const std::string& name, const std::string& version, bool weak) {
  return intern(
      {.kind = patchfmt::SymbolKind::import, .name = name, .version = version, .weak = weak});
}

uint32_t Linker::original_of(const UnitState& state, const match::Node& node) const {
  const auto& table = state.unit->diff.correlation.original_of_patched;
  for (uint32_t symbol : node.symbols)
    if (symbol < table.size() && table[symbol]) return table[symbol];
  return 0;
}

const Decision& Linker::decide(uint32_t unit, uint32_t node) {
  auto known = units_[unit].decisions.find(node);
  if (known != units_[unit].decisions.end()) return known->second;
  Decision decision = compute(unit, node);
  return units_[unit].decisions.insert_or_assign(node, decision).first->second;
}

Decision Linker::compute(uint32_t unit, uint32_t index) {
  UnitState& state = units_[unit];
  const match::Node& node = state.model->nodes()[index];
  const elf::Symbol& symbol = state.unit->patched->symbols()[node.symbols.front()];
  const std::string name(without_version(node.name));
  auto role_of = state.roles.find(index);
  const Role role = role_of == state.roles.end() ? Role::existing : role_of->second;
  const uint32_t original = original_of(state, node);

  if (role == Role::changed_function) {
    Decision decision = emit(unit, index);
    if (auto outside = existing(unit, index, original)) decision.symbol = outside->symbol;
    return decision;
  }
  if (role != Role::existing || is_indirection(name)) return emit(unit, index);
  if (node.section && is_exception_table(*state.unit->patched, node.section))
    return emit(unit, index);
  if (original)
    if (auto decision = existing(unit, index, original)) return *decision;
  if (!node.section)
    if (auto made = new_globals_.find(name); made != new_globals_.end())
      return decide(made->second.first, made->second.second);
  if (symbol.section == elf::section_common && !original) return emit(unit, index);
  if (node.section && !original) return emit(unit, index);
  if (node.global)
    if (auto decision = by_name(node, name, symbol.bind == STB_WEAK && !node.section))
      return *decision;
  if (node.section && may_copy(state, node, original)) return emit(unit, index);

  auto why = state.map.refusals.find(original);
  std::string reason = why != state.map.refusals.end() ? why->second
                       : node.section
                           ? std::string("its place in the shipped file is not known")
                           : std::string(
                                 "neither the target nor a library that it needs has it; "
                                 "a fix can use only what is loaded already");
  refuse(name, "", fmt::format("is referred to by new code, but cannot be found: {}", reason));
  return {.refused = true};
}

std::optional<Decision> Linker::existing(uint32_t unit, uint32_t index, uint32_t original) {
  const UnitState& state = units_[unit];
  if (auto import = state.map.imports.find(original); import != state.map.imports.end()) {
    // A file's own definition that the shipped code reaches by name can be interposed: keep that.
    Decision decision;
    const auto& mine = state.model->nodes()[index];
    const bool weak =
        !mine.section && state.unit->patched->symbols()[mine.symbols.front()].bind == STB_WEAK;
    decision.symbol = import_symbol(import->second.name, import->second.version, weak);
    return decision;
  }
  auto placement = state.map.placements.find(original);
  if (placement == state.map.placements.end()) return std::nullopt;
  Decision decision;
  decision.symbol = symbol_for(state.model->nodes()[index].name, placement->second);
  return decision;
}

bool Linker::may_copy(const UnitState& state, const match::Node& node, uint32_t original) const {
  const auto& section = state.unit->patched->sections()[node.section];
  if (section.flags & SHF_TLS) return false;
  if (!node.code) return is_read_only(section);
  // Inlined everywhere or dropped, so that there is nothing to refer to; or an inline function
  // that every object may have its own copy of.
  const auto& symbol = state.unit->patched->symbols()[node.symbols.front()];
  return state.map.absent.contains(original) || symbol.bind == STB_WEAK || section.group != 0;
}

std::optional<Decision> Linker::placed_in_another_unit(std::string_view name) {
  for (UnitState& state : units_) {
    if (!state.unit->original) continue;
    for (const auto& symbol : state.unit->original->symbols()) {
      if (symbol.name != name || symbol.is_undefined() || symbol.bind == STB_LOCAL) continue;
      auto placement = state.map.placements.find(symbol.index);
      if (placement == state.map.placements.end()) continue;
      Decision decision;
      decision.symbol = symbol_for(std::string(name), placement->second);
      return decision;
    }
  }
  return std::nullopt;
}

std::optional<Decision> Linker::by_name(const match::Node& node, std::string_view name, bool weak) {
  const std::string text(name);
  Decision decision;
  if (const elf::Symbol* own = versions_.own(name)) {
    if (own->is_undefined() || versions_.preemptible(*own)) {
      decision.symbol = import_symbol(text, std::string(own->version), weak);
      return decision;
    }
    match::Placement placement;
    placement.address = own->value;
    placement.size = own->size;
    placement.detail = "exported by the shipped file";
    if (own->type == STT_TLS) placement.kind = match::Placement::Kind::tls;
    if (own->type == STT_GNU_IFUNC) placement.kind = match::Placement::Kind::ifunc;
    decision.symbol = symbol_for(text, placement);
    return decision;
  }
  if (auto placement = input_.matcher->find_symbol(name); placement.ok()) {
    decision.symbol = symbol_for(text, *placement);
    return decision;
  }
  if (auto elsewhere = placed_in_another_unit(name)) return elsewhere;
  if (node.section) return std::nullopt;
  if (auto found = versions_.provided(name)) {
    decision.symbol = import_symbol(text, found->version, weak);
    return decision;
  }
  if (!weak) return std::nullopt;
  decision.symbol = import_symbol(text, "", true);
  return decision;
}

Decision Linker::emit(uint32_t unit, uint32_t index) {
  UnitState& state = units_[unit];
  const match::Node& node = state.model->nodes()[index];
  const elf::Image& object = *state.unit->patched;
  const elf::Symbol& symbol = object.symbols()[node.symbols.front()];
  Decision decision;
  for (uint32_t alias : node.symbols)
    if (object.symbols()[alias].type == STT_GNU_IFUNC) {
      refuse(node.name, "",
             "the fix adds or changes an indirect function (ifunc); patch what its "
             "resolver chooses instead");
      decision.refused = true;
      return decision;
    }
  // One definition of a global thing, whichever object brings it first.
  if (node.global)
    if (auto made = emitted_globals_.find(node.name); made != emitted_globals_.end()) {
      const Atom& first = atoms_[made->second];
      if (first.unit != unit) {
        if (symbol.bind != STB_WEAK && symbol.bind != STB_GNU_UNIQUE && first.size != node.size)
          refuse(node.name, "", "two objects of the fix define it differently");
        decision.atom = made->second;
        return decision;
      }
    }
  if (symbol.section == elf::section_common) {
    Atom atom;
    atom.name = node.name;
    atom.unit = unit;
    atom.size = node.size;
    atom.alignment = std::max<uint64_t>(symbol.value, 1);
    atom.place = Place::data;
    decision.atom = static_cast<uint32_t>(atoms_.size());
    atoms_.push_back(std::move(atom));
  } else {
    const auto& section = object.sections()[node.section];
    // With function and data sections the section is the thing, alignment padding included.
    const bool alone =
        state.model->anonymous_end(node.section, 0) == section.size && node.offset == 0;
    const uint64_t start = alone ? 0 : node.offset;
    const uint64_t size = alone ? section.size : node.size;
    decision.atom = add_atom(unit, node.section, start, size, node.name);
    decision.atom_offset = static_cast<int64_t>(node.offset - atoms_[*decision.atom].offset);
  }
  if (node.global) emitted_globals_.emplace(node.name, *decision.atom);
  return decision;
}

}  // namespace livecare::builder
