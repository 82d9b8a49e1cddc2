// The image's .eh_frame: the entries of the patched objects' own tables for exactly the functions
// that are in the image, with their CIEs, exception tables and personality routines.
//
// An entry is copied byte by byte; its three kinds of pointers (start of the code, exception table,
// personality) are relocations of the object and become fixups like any other. Only the link from
// an FDE to its CIE is an offset that has to be written anew.
#include <elf.h>

#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

using patchfmt::RelocationKind;

constexpr uint64_t header_bytes = 8;  // length, then CIE pointer (zero in a CIE)

// DW_EH_PE_omit, DW_EH_PE_udata4, DW_EH_PE_indirect | DW_EH_PE_pcrel | DW_EH_PE_sdata4
constexpr uint8_t encoding_omitted = 0xff, encoding_absolute4 = 0x03;
constexpr uint8_t encoding_indirect_relative4 = 0x9b;

}  // namespace

void Linker::index_unwind(UnitState& state) {
  const elf::Image& object = *state.unit->patched;
  const elf::Section* section = object.section(".eh_frame");
  if (!section) return;
  state.eh_frame = section->index;
  const ByteView bytes = section->bytes;
  for (uint64_t at = 0; at + header_bytes <= bytes.size();) {
    const uint64_t length = *bytes.read<uint32_t>(at);
    const uint64_t id = *bytes.read<uint32_t>(at + 4);
    if (length == 0 || length < 4 || length > bytes.size() - at - 4) break;
    if (id == 0) {
      state.cies[at] = length + 4;
    } else if (id <= at + 4) {
      // The first relocation of an FDE is the start of its code.
      auto relocations = state.model->relocations(section->index, at + header_bytes, 8);
      if (!relocations.empty()) {
        const auto& symbol = object.symbols()[relocations[0]->symbol];
        if (symbol.section < object.sections().size())
          state.fdes[symbol.section].push_back({at, length + 4, at + 4 - id});
      }
    }
    at += length + 4;
  }
}

void Linker::add_unwind(uint32_t index) {
  const uint32_t unit = atoms_[index].unit;
  UnitState& state = units_[unit];
  auto fdes = state.fdes.find(atoms_[index].section);
  if (fdes == state.fdes.end()) return;
  const elf::Image& object = *state.unit->patched;
  for (const FdeSource& fde : fdes->second) {
    auto relocations = state.model->relocations(state.eh_frame, fde.offset + header_bytes,
                                                fde.size - header_bytes);
    if (relocations.empty()) continue;
    const uint64_t start = object.symbols()[relocations[0]->symbol].value +
                           static_cast<uint64_t>(relocations[0]->addend);
    const Atom& atom = atoms_[index];
    if (start < atom.offset || start >= atom.offset + atom.size) continue;
    fdes_.push_back({unit, fde});
    // Its exception table has to come along; build_eh_frame() asks again when all is known.
    for (size_t i = 1; i < relocations.size(); ++i) {
      const Reached table = reach(index, *relocations[i], 0, Use::address);
      if (table.ok && table.dest.what == Dest::What::atom)
        exception_tables_.emplace(table.dest.index, static_cast<uint64_t>(table.addend));
    }
  }
}

// Programs at fixed addresses name the types that they catch by four bytes of address. A type of a
// library that the program did not know before is further away: such tables name words that hold
// the addresses instead, as those of libraries do.
bool Linker::lower_type_entry(uint32_t index, const elf::Relocation& relocation) {
  const auto& section = object_of(index).sections()[atoms_[index].section];
  if (!section.name.starts_with(".gcc_except_table")) return false;
  Reached type = reach(index, relocation, 0, Use::address);
  if (!type.ok) return true;
  const uint32_t word = got_entry({{RelocationKind::absolute64, 0, type.dest, type.addend}});
  atoms_[index].fixups.push_back(
      {RelocationKind::pc32, relocation.offset - atoms_[index].offset, {Dest::What::got, word}, 0});
  indirect_types_.insert(index);
  return true;
}

void Linker::adapt_exception_tables() {
  for (const auto& [index, start] : exception_tables_) {
    if (!indirect_types_.contains(index)) continue;
    Bytes& table = atoms_[index].content;
    // The header: encoding of the landing pads' base (left out), encoding of the types.
    if (start + 2 > table.size() || table[start] != encoding_omitted ||
        (table[start + 1] != encoding_omitted && table[start + 1] != encoding_absolute4))
      refuse(atoms_[index].name, "", "is an exception table of an unknown form");
    else if (table[start + 1] == encoding_absolute4)
      table[start + 1] = encoding_indirect_relative4;
  }
}

uint32_t Linker::build_eh_frame() {
  const auto index = static_cast<uint32_t>(atoms_.size());
  Atom table;
  table.name = ".eh_frame";
  table.alignment = 8;
  table.place = Place::rodata;
  atoms_.push_back(std::move(table));
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> cie_places;
  auto append = [&](uint32_t unit, uint64_t offset, uint64_t size) {
    const UnitState& state = units_[unit];
    const ByteView bytes = state.unit->patched->sections()[state.eh_frame].bytes;
    const uint64_t at = atoms_[index].content.size();
    const ByteView entry = *bytes.slice(offset, size);
    auto& content = atoms_[index].content;
    content.insert(content.end(), entry.begin(), entry.end());
    // lower() speaks of an atom that is a piece of a section: lend it this entry's place.
    atoms_[index].unit = unit;
    atoms_[index].section = state.eh_frame;
    atoms_[index].offset = offset - at;
    for (const auto* relocation : state.model->relocations(state.eh_frame, offset, size))
      lower(index, *relocation, relocation->offset, relocation->offset);
    return at;
  };
  for (const FdeOut& fde : fdes_) {
    auto [cie, fresh] = cie_places.emplace(std::make_pair(fde.unit, fde.source.cie), 0);
    if (fresh) {
      auto size = units_[fde.unit].cies.find(fde.source.cie);
      if (size == units_[fde.unit].cies.end()) {
        refuse("", ".eh_frame", "is damaged: an entry has no common part");
        break;
      }
      cie->second = append(fde.unit, fde.source.cie, size->second);
    }
    const uint64_t at = append(fde.unit, fde.source.offset, fde.source.size);
    store_le(atoms_[index].content, at + 4, static_cast<uint32_t>(at + 4 - cie->second));
  }
  add_base_unwind(index);
  if (!atoms_[index].content.empty()) append_le(atoms_[index].content, uint32_t{0});
  atoms_[index].offset = 0;
  atoms_[index].size = atoms_[index].content.size();
  return index;
}

}  // namespace livecare::builder
